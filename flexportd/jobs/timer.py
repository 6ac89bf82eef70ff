"""When jobs are due: APScheduler behind the few calls that we need of it.

It only rings: what it runs is a call of ours that returns at once. Its own runs would be cancelled by its shutdown, and
it does not remember them. Jobs are in its memory; what must survive a restart is in our table.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from flexportd.jobs.job import Every, Schedule

OnDue = Callable[[str], None]

# A late alarm rings whatever its age (the default drops it after one second), and once for all that were missed.
_DEFAULTS = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


class Timer:
    """One alarm a job, on the wall clock. `ring` is called on the event loop with the job's name."""

    def __init__(self, ring: OnDue) -> None:
        # It tells of each alarm set and rung; what matters of that is told by the book of jobs.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._fire = ring
        self._scheduler: Any = AsyncIOScheduler(timezone=UTC, job_defaults=_DEFAULTS)
        self._running = False

    def start(self, *, silent: bool = False) -> None:
        """From now on due alarms ring; silent ones only tell when they are due."""
        self._scheduler.start(paused=silent)
        self._running = True

    def stop(self) -> None:
        """No alarm rings any more; safe before any start and twice."""
        if self._running:
            self._running = False
            # The shutdown itself comes with the next turn of the loop; until then nothing is looked at.
            self._scheduler.pause()
            self._scheduler.shutdown(wait=False)

    def add(self, name: str, schedule: Schedule, jitter: float, at: datetime | None) -> None:
        """Set an alarm for `at` and from then on by its schedule; None holds it."""

        async def rung() -> None:
            # A coroutine function: anything else would be called on another thread.
            self._fire(name)

        self._scheduler.add_job(rung, _trigger(schedule, jitter), id=name, name=name, next_run_time=at)

    def change(self, name: str, schedule: Schedule, jitter: float, at: datetime | None) -> None:
        """Another schedule for a job that is known."""
        if self._running:
            self._scheduler.modify_job(name, trigger=_trigger(schedule, jitter), next_run_time=at)

    def reset(self, name: str, at: datetime | None) -> None:
        """Ring at this time instead, and from then on by the schedule; None holds it."""
        if self._running:
            self._scheduler.modify_job(name, next_run_time=at)

    def next_due(self, name: str) -> datetime | None:
        """When it rings next, in UTC; None while held or stopped."""
        found: datetime | None = self._scheduler.get_job(name).next_run_time if self._running else None
        return found


def next_time(schedule: Schedule, moment: datetime, jitter: float = 0.0) -> datetime:
    """When a job is due that was due at `moment`. Raises ValueError when that is never."""
    found: datetime | None = _trigger(schedule, jitter).get_next_fire_time(moment, moment)
    if found is None:
        raise ValueError(f"{schedule} never comes")
    return found


def _trigger(schedule: Schedule, jitter: float) -> Any:
    if isinstance(schedule, Every):
        return IntervalTrigger(seconds=schedule.seconds, timezone=UTC, jitter=jitter or None)
    trigger = CronTrigger.from_crontab(schedule.line, timezone=UTC)
    trigger.jitter = jitter or None
    return trigger
