"""Which jobs there are, when each is due, and that none runs beside itself."""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.errors import ConflictError, NotFoundError, UnavailableError
from flexportd.escape import closest_match
from flexportd.jobs.job import Cause, Every, Job, Schedule
from flexportd.jobs.job_store import FAILING, JobStore
from flexportd.jobs.run import ActiveRun
from flexportd.jobs.serialize import serialize_job, serialize_run
from flexportd.jobs.timer import Timer, next_time
from flexportd.storage.database import Database
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

SPREAD = 15.0  # seconds within which missed runs begin, so that not all begin at once
STOP_TIMEOUT = 5.0  # seconds for runs to end by themselves
_CANCEL_TIMEOUT = 5.0  # seconds for runs to end once cancelled
_LATE = timedelta(seconds=30)  # after it was due, from which on a run was missed
_POLL_INTERVAL = 5.0  # seconds between looks at the clock
_FAST_POLL_INTERVAL = 0.5  # by a faster clock than the machine's, by which no alarm rings
_MIN_INTERVAL = 15.0  # seconds of the machine between two runs by a faster clock


@dataclass(slots=True)
class _Entry:
    job: Job
    cause: Cause = "schedule"  # of the run that its alarm will begin
    running: ActiveRun | None = None


class Scheduler:
    """Starts jobs when they are due, or when somebody asks; the runs belong to `tasks`.

    The wall clock decides. Timers stand still while a machine sleeps, so `tick` looks at the clock every few seconds.
    """

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, *, spread: float = SPREAD) -> None:
        self._store = JobStore(db, clock)
        self._clock = clock
        self._tasks = tasks
        self._spread = spread
        self._timer = Timer(self._on_due)
        self._look = _POLL_INTERVAL if clock.speed == 1 else _FAST_POLL_INTERVAL
        self._entries: dict[str, _Entry] = {}
        self._stopping = False

    def add(self, *jobs: Job) -> None:
        """Make jobs known, before `start`. Raises ValueError when a name is taken."""
        for job in jobs:
            if job.name in self._entries:
                raise ValueError(f"there are two jobs called {job.name}")
            self._entries[job.name] = _Entry(replace(job, schedule=self._adjust_to_speed(job.schedule)))

    async def start(self) -> None:
        """Take up where the last process ended, and set the alarms."""
        await self._store.load(self._entries)
        self._timer.start(silent=self._clock.machine is not self._clock)  # they ring by the machine's clock
        now = self._clock.now()
        for name, entry in self._entries.items():
            entry.cause, due = self._first(entry.job, now)
            self._timer.add(name, entry.job.schedule, entry.job.jitter, due)
            self._store.change(name, next_due_at=_stamp(due))
        self._tasks.start("job_scheduler", self._watch)

    def wind_down(self) -> None:
        """From now on nothing begins, and runs under way are asked to end."""
        self._stopping = True
        self._timer.stop()
        for running in self._active_runs():
            running.request_stop()

    async def stop(self, grace: float = STOP_TIMEOUT) -> None:
        """Wait for runs under way, then cancel them; safe before any start and twice. The store must still be open."""
        self.wind_down()
        await _all_ended(self._active_runs(), grace)
        for running in self._active_runs():
            running.cancel()
        await _all_ended(self._active_runs(), _CANCEL_TIMEOUT)
        if self._active_runs():
            log.error("job_stop_timed_out", jobs=[running.row.job for running in self._active_runs()])
        await self._store.save_all()

    async def run_now(self, name: str) -> dict[str, Any]:
        """Run a job, paused or not; its document as the run begins.

        Raises NotFoundError, ConflictError when it runs already, UnavailableError when its beginning cannot be kept.
        """
        entry = self._entry(name)
        if entry.running is not None:
            raise ConflictError(f"job {name} is already running, since {entry.running.row.started_at}")
        if self._stopping:
            raise UnavailableError("the daemon is stopping; no new job is started")
        running = self._begin(entry, "manual")
        await running.started.wait()
        if running.error is not None:
            raise running.error
        if entry.cause != "schedule":  # this run stands in for the one that is due soon after the start
            entry.cause = "schedule"
            self._set_due(entry, next_time(entry.job.schedule, self._clock.now(), entry.job.jitter))
        return serialize_job(entry.job, self._store[name], running.row)

    def start_if_idle(self, name: str) -> None:
        """Begin a job that is due, unless it runs already, is paused, or the daemon stops. Raises NotFoundError."""
        entry = self._entry(name)
        if entry.running is None and not self._stopping and not self._store[name].paused:
            self._begin(entry, "schedule")

    async def set_paused(self, name: str, *, paused: bool) -> dict[str, Any]:
        """Hold a job, or let it go on; survives restarts. A run under way goes on to its end.

        Raises NotFoundError, and UnavailableError when it cannot be kept: nothing has changed then.
        """
        entry = self._entry(name)
        if self._store[name].paused != paused:
            self._apply_paused(entry, paused=paused)
            try:
                await self._store.save(name)
            except UnavailableError:
                self._apply_paused(entry, paused=not paused)
                raise
            log.info("job_paused" if paused else "job_resumed", job=name)
        return self._serialize(entry)

    def reschedule(self, name: str, schedule: Schedule) -> None:
        """Another schedule from now on, counted from the last run. Raises NotFoundError; ValueError for never."""
        entry, schedule = self._entry(name), self._adjust_to_speed(schedule)
        if entry.job.schedule == schedule:
            return
        job = replace(entry.job, schedule=schedule)
        if self._store[name].paused:
            due = None
        elif entry.cause == "schedule":
            due = self._next(job, entry.running)
        else:
            due = self._timer.next_due(name)  # what was missed stays due
        entry.job = job
        self._timer.change(name, schedule, job.jitter, due)
        self._store.change(name, next_due_at=_stamp(due))

    def reschedule_all(self, jobs: Iterable[Job]) -> None:
        """Apply the schedules of these jobs."""
        for job in jobs:
            self.reschedule(job.name, job.schedule)

    def tick(self) -> None:
        """Begin what is due by the wall clock, which may have jumped either way; at most one run a job."""
        now = self._clock.now()
        for name, entry in self._entries.items():
            due = self._timer.next_due(name)
            if due is None:
                continue
            if due <= now:
                self._timer.reset(name, next_time(entry.job.schedule, now, entry.job.jitter))
                self._on_due(name)
            elif due > self._latest(entry.job, now):
                self._set_due(entry, next_time(entry.job.schedule, now, entry.job.jitter))

    async def wait_until_idle(self, name: str) -> None:
        """Wait until no run of this job is under way. Raises NotFoundError."""
        entry = self._entry(name)
        if entry.running is not None:
            await entry.running.ended.wait()

    def list_jobs(self) -> list[dict[str, Any]]:
        """Every job, in the order of their declaration."""
        return [self._serialize(entry) for entry in self._entries.values()]

    async def detail(self, name: str) -> dict[str, Any]:
        """One job with its last runs, newest first. Raises NotFoundError."""
        entry = self._entry(name)
        runs = await self._store.recent_runs(name)
        return self._serialize(entry) | {"recent_runs": [serialize_run(run) for run in runs]}

    def as_of(self) -> str | None:
        """When the newest run began or ended; None before any."""
        moments = [self._store[name].last_ended_at for name in self._entries]
        moments += [running.row.started_at for running in self._active_runs()]
        return max((moment for moment in moments if moment is not None), default=None)

    def problems(self) -> list[str]:
        """Jobs that fail again and again, one sentence each; paused ones are not counted."""
        states = [self._store[name] for name in self._entries]
        return [
            f"Job {state.name} has failed {state.consecutive_failures} times in a row: {state.last_message}"
            for state in states
            if state.consecutive_failures >= FAILING and not state.paused
        ]

    # --- when ---

    def _adjust_to_speed(self, schedule: Schedule) -> Schedule:
        """By a clock that is faster than the machine's, an interval that the machine can keep."""
        if self._clock.speed == 1 or not isinstance(schedule, Every):
            return schedule
        return Every(max(schedule.seconds, _MIN_INTERVAL * self._clock.speed))

    def _first(self, job: Job, now: datetime) -> tuple[Cause, datetime | None]:
        """Why and when a job is due for the first time in this process."""
        state = self._store[job.name]
        if state.paused:
            return "schedule", None
        known = None if state.next_due_at is None else parse(state.next_due_at)
        if job.at_start == "always" or (job.at_start == "first" and known is None):
            return "start", now + self._spread_delay(job)
        if known is not None and known <= now:
            return "catch_up", now + self._spread_delay(job)
        due = next_time(job.schedule, now, job.jitter)
        return "schedule", due if known is None else min(known, due)

    def _next(self, job: Job, running: ActiveRun | None) -> datetime:
        """When a job is due that was held, or has another schedule: counted from its last run."""
        now = self._clock.now()
        last = self._store[job.name].last_started_at if running is None else running.row.started_at
        if isinstance(job.schedule, Every) and last is not None:
            return max(next_time(job.schedule, min(parse(last), now), job.jitter), now + self._spread_delay(job))
        return next_time(job.schedule, now, job.jitter)

    def _latest(self, job: Job, now: datetime) -> datetime:
        """No alarm is set for later than this, unless the clock was ahead when it was set."""
        return next_time(job.schedule, now) + timedelta(seconds=job.jitter + self._spread + 1)

    def _spread_delay(self, job: Job) -> timedelta:
        most = min(self._spread, job.schedule.seconds / 2) if isinstance(job.schedule, Every) else self._spread
        return timedelta(seconds=random.uniform(0, most))  # noqa: S311 (jitter)

    def _apply_paused(self, entry: _Entry, *, paused: bool) -> None:
        entry.cause = "schedule"
        self._store.change(entry.job.name, paused=paused)
        self._set_due(entry, None if paused else self._next(entry.job, entry.running))

    def _set_due(self, entry: _Entry, due: datetime | None) -> None:
        self._timer.reset(entry.job.name, due)
        self._store.change(entry.job.name, next_due_at=_stamp(due))

    # --- runs ---

    def _on_due(self, name: str) -> None:
        """An alarm rang; it is set for the next time already."""
        entry, state, now = self._entries[name], self._store[name], self._clock.now()
        if self._stopping or state.paused:  # since it rang
            return
        self._store.change(name, next_due_at=_stamp(self._timer.next_due(name)))
        missed = state.next_due_at is not None and now - parse(state.next_due_at) > _LATE * self._clock.speed
        if entry.cause == "schedule" and missed:
            entry.cause = "catch_up"
            soon = self._spread_delay(entry.job)
            if soon:
                self._set_due(entry, now + soon)
                return
        cause, entry.cause = entry.cause, "schedule"
        if entry.running is not None:
            self._store.change(name, skipped=state.skipped + 1)
        else:
            self._begin(entry, cause)

    def _begin(self, entry: _Entry, cause: Cause) -> ActiveRun:
        running = entry.running = ActiveRun(entry.job, cause, self._store)

        async def carry_out() -> None:
            try:
                await running.execute()
            finally:
                entry.running = None

        self._tasks.start(f"job-{entry.job.name}", carry_out, vital=False)
        return running

    def _active_runs(self) -> list[ActiveRun]:
        return [entry.running for entry in self._entries.values() if entry.running is not None]

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._look)
            self.tick()
            await self._store.save_all()

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            near = closest_match(name, self._entries)
            guess = "" if near is None else f"; did you mean {near}?"
            known = f"there are {', '.join(self._entries) or 'none'}"
            raise NotFoundError(f"there is no job {name[:50]!r}{guess or ';'} {known}")
        return self._entries[name]

    def _serialize(self, entry: _Entry) -> dict[str, Any]:
        return serialize_job(entry.job, self._store[entry.job.name], entry.running.row if entry.running else None)


async def _all_ended(running: Iterable[ActiveRun], grace: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            for run in running:
                await run.ended.wait()


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)
