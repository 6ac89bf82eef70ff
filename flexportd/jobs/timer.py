"""When jobs are due: APScheduler behind the few calls that are needed.

It only fires a callback that returns at once. It would cancel its own runs at shutdown, and it does not record them.
Its jobs are in memory; what must survive a restart is in our table.
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

# A late timer fires whatever its age (by default it is dropped after one second), once for all that were missed.
_DEFAULTS = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


class Timer:
    """One timer a job, on the wall clock. `on_due` is called on the event loop with the job's name."""

    def __init__(self, on_due: OnDue) -> None:
        # It logs each timer that is set or fires; the scheduler logs what matters.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._on_due = on_due
        self._scheduler: Any = AsyncIOScheduler(timezone=UTC, job_defaults=_DEFAULTS)
        self._running = False

    def start(self, *, silent: bool = False) -> None:
        """Start firing; a silent timer only says when jobs are due."""
        self._scheduler.start(paused=silent)
        self._running = True

    def stop(self) -> None:
        """Stop firing; safe before any start and twice."""
        if self._running:
            self._running = False
            # The shutdown comes with the next turn of the loop; until then, nothing may fire.
            self._scheduler.pause()
            self._scheduler.shutdown(wait=False)

    def add(self, name: str, schedule: Schedule, jitter: float, at: datetime | None) -> None:
        """Set a timer for `at`, and from then on by the schedule; None holds it."""

        async def fire() -> None:
            # A coroutine function, since anything else would be called on another thread.
            self._on_due(name)

        self._scheduler.add_job(fire, _trigger(schedule, jitter), id=name, name=name, next_run_time=at)

    def change(self, name: str, schedule: Schedule, jitter: float, at: datetime | None) -> None:
        """Change the schedule of a job."""
        if self._running:
            self._scheduler.modify_job(name, trigger=_trigger(schedule, jitter), next_run_time=at)

    def reset(self, name: str, at: datetime | None) -> None:
        """Fire at this time instead, and from then on by the schedule; None holds it."""
        if self._running:
            self._scheduler.modify_job(name, next_run_time=at)

    def next_due(self, name: str) -> datetime | None:
        """When it fires next, in UTC; None while held or stopped."""
        due: datetime | None = self._scheduler.get_job(name).next_run_time if self._running else None
        return due


def next_time(schedule: Schedule, moment: datetime, jitter: float = 0.0) -> datetime:
    """When a job is due next after `moment`. Raises ValueError if never."""
    due: datetime | None = _trigger(schedule, jitter).get_next_fire_time(moment, moment)
    if due is None:
        raise ValueError(f"{schedule} never comes")
    return due


def _trigger(schedule: Schedule, jitter: float) -> Any:
    if isinstance(schedule, Every):
        return IntervalTrigger(seconds=schedule.seconds, timezone=UTC, jitter=jitter or None)
    trigger = CronTrigger.from_crontab(schedule.line, timezone=UTC)
    trigger.jitter = jitter or None
    return trigger
