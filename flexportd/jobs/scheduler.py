"""Runs jobs when they are due or requested, and none concurrently with itself; a run's start and result are on disk."""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.triggers.cron import CronTrigger

from flexportd.clock import Clock, parse, stamp
from flexportd.errors import ConflictError, FlexportdError, NotFoundError, UnavailableError
from flexportd.escape import closest_match
from flexportd.jobs.job import Cause, Every, Job, JobRun, Schedule, StoppedError, duration, unexpected_message
from flexportd.jobs.job_store import FAILING, JobStore, RunResult, serialize_job, serialize_run
from flexportd.storage.database import Database
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

SPREAD = 15.0  # seconds over which missed runs are spread
STOP_TIMEOUT = 5.0  # seconds for runs to end on request
_CANCEL_TIMEOUT = 5.0  # seconds for runs to end once cancelled
_LATE = timedelta(seconds=30)  # after which a run that was due counts as missed
_POLL_INTERVAL = 5.0  # seconds between checks of the clock, at most: it may jump
_FAST_POLL_INTERVAL = 0.5  # with a simulated clock
_MIN_WAIT = 0.02  # seconds: a simulated clock moves in steps
_CANCELLED = RunResult("cancelled", "The daemon was stopped during the run")
_MIN_INTERVAL = 15.0  # real seconds between two runs with a faster clock


class ActiveRun:
    """A running job. `started` is set once its start is on disk or `error` says why it is not; `ended` at its end."""

    def __init__(self, job: Job, cause: Cause, store: JobStore) -> None:
        self.row = store.begin(job.name, cause)
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: UnavailableError | None = None
        self._job = job
        self._store = store
        self._run = JobRun(job.name, self.row.id, cause)
        self._task: asyncio.Task[Any] | None = None

    async def execute(self) -> None:
        """Run the job to its end, however it ends; only a cancellation is raised."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        began, before, ending = loop.time(), self._store[self._job.name], _CANCELLED
        try:
            await self._store.save(self._job.name)
            self.started.set()
            ending = await self._attempt()
        except UnavailableError as error:
            # A run that would leave no trace after a crash does not start; its work needs the disk as well.
            self.error, ending = error, RunResult("failed", str(error))
        finally:
            self._store.end(self.row, ending, loop.time() - began)
            _log_result(self._job.name, before.consecutive_failures, ending)
            try:
                # What cannot be saved now is kept by the store, which tries again.
                await asyncio.shield(self._store.save_all())
            finally:
                self.started.set()
                self.ended.set()

    def request_stop(self) -> None:
        """Let the job end early, at a point of its choice."""
        self._run.stopping.set()

    def cancel(self) -> None:
        """Cancel it where it is."""
        if self._task is not None:
            self._task.cancel()

    async def _attempt(self) -> RunResult:
        limit = asyncio.timeout(self._job.limit)
        try:
            async with limit:
                return RunResult("done", await self._job.run(self._run))
        except StoppedError as error:
            return RunResult("cancelled", str(error))
        except FlexportdError as error:
            return RunResult("failed", str(error))
        except asyncio.CancelledError:
            if self._task is not None and self._task.cancelling():
                raise
            return RunResult("failed", "The job was cancelled internally")
        except Exception as error:
            if limit.expired():
                return RunResult("timed_out", f"The job exceeded its time limit of {duration(self._job.limit)}")
            log.exception("job_crashed", job=self._job.name)
            return RunResult("failed", unexpected_message(error))


def _log_result(job: str, failures: int, ending: RunResult) -> None:
    """Log the first failure and the recovery, not each of many."""
    if ending.outcome in ("failed", "timed_out") and not failures:
        log.warning("job_failed", job=job, outcome=ending.outcome, reason=ending.message)
    elif ending.outcome == "done" and failures:
        log.info("job_recovered", job=job, failures=failures)


@dataclass(slots=True)
class _Entry:
    job: Job
    due: datetime | None = None  # None: paused
    cause: Cause = "schedule"  # of the run that will be due
    running: ActiveRun | None = None


class Scheduler:
    """Starts jobs when they are due or requested; the runs belong to `tasks`.

    The wall clock decides. Timers stop while a machine sleeps, so the clock is checked every few seconds.
    """

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, *, spread: float = SPREAD) -> None:
        self._store = JobStore(db, clock)
        self._clock = clock
        self._tasks = tasks
        self._spread = spread
        self._look = _POLL_INTERVAL if clock.speed == 1 else _FAST_POLL_INTERVAL
        self._entries: dict[str, _Entry] = {}
        self._stopping = False

    def add(self, *jobs: Job) -> None:
        """Register jobs, before `start`. Raises ValueError when a name is taken."""
        for job in jobs:
            if job.name in self._entries:
                raise ValueError(f"there are two jobs called {job.name}")
            self._entries[job.name] = _Entry(replace(job, schedule=self._adjust_to_speed(job.schedule)))

    async def start(self) -> None:
        """Continue where the last process ended."""
        await self._store.load(self._entries)
        now = self._clock.now()
        for entry in self._entries.values():
            entry.cause, due = self._first(entry.job, now)
            self._set_due(entry, due)
        self._tasks.start("job_scheduler", self._watch)

    def wind_down(self) -> None:
        """Start nothing any more, and request current runs to end."""
        self._stopping = True
        for running in self._active_runs():
            running.request_stop()

    async def stop(self, grace: float = STOP_TIMEOUT) -> None:
        """Wait for current runs, then cancel them; safe before any start and twice. The database must still be open."""
        self.wind_down()
        await _all_ended(self._active_runs(), grace)
        for running in self._active_runs():
            running.cancel()
        await _all_ended(self._active_runs(), _CANCEL_TIMEOUT)
        if self._active_runs():
            log.error("job_stop_timed_out", jobs=[running.row.job for running in self._active_runs()])
        await self._store.save_all()

    async def run_now(self, name: str) -> dict[str, Any]:
        """Run a job, paused or not; its document at the start of the run.

        Raises NotFoundError, ConflictError when it is running, UnavailableError when its start cannot be stored.
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
        if entry.cause != "schedule":  # this run replaces the one that is due soon after the start
            entry.cause = "schedule"
            self._set_due(entry, next_time(entry.job.schedule, self._clock.now(), entry.job.jitter))
        return serialize_job(entry.job, self._store[name], running.row)

    def start_if_idle(self, name: str) -> None:
        """Start a job unless it is running or paused, or the daemon stops. Raises NotFoundError."""
        entry = self._entry(name)
        if entry.running is None and not self._stopping and not self._store[name].paused:
            self._begin(entry, "schedule")

    async def set_paused(self, name: str, *, paused: bool) -> dict[str, Any]:
        """Pause or resume a job; kept across restarts. A current run finishes.

        Raises NotFoundError, and UnavailableError when it cannot be stored: nothing has changed then.
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
        """Change the schedule, counted from the last run. Raises NotFoundError; ValueError if it is never due."""
        entry, schedule = self._entry(name), self._adjust_to_speed(schedule)
        if entry.job.schedule == schedule:
            return
        entry.job = replace(entry.job, schedule=schedule)
        if entry.cause == "schedule" and not self._store[name].paused:  # a missed run stays due
            self._set_due(entry, self._next(entry))

    def reschedule_all(self, jobs: Iterable[Job]) -> None:
        """Apply the schedules of these jobs."""
        for job in jobs:
            self.reschedule(job.name, job.schedule)

    def tick(self) -> None:
        """Start what is due by the wall clock, which may have jumped either way; at most one run a job."""
        now = self._clock.now()
        for entry in self._entries.values():
            if self._stopping or entry.due is None:
                continue
            if entry.due <= now:
                self._start_due(entry, entry.due, now)
            else:  # no due time is later than this, unless the clock was ahead when it was set
                latest = next_time(entry.job.schedule, now) + timedelta(seconds=entry.job.jitter + self._spread + 1)
                if entry.due > latest:
                    self._set_due(entry, next_time(entry.job.schedule, now, entry.job.jitter))

    async def wait_until_idle(self, name: str) -> None:
        """Wait until this job is not running. Raises NotFoundError."""
        entry = self._entry(name)
        if entry.running is not None:
            await entry.running.ended.wait()

    def list_jobs(self) -> list[dict[str, Any]]:
        """All jobs, in the order of registration."""
        return [self._serialize(entry) for entry in self._entries.values()]

    async def detail(self, name: str) -> dict[str, Any]:
        """One job with its last runs, newest first. Raises NotFoundError."""
        entry = self._entry(name)
        runs = await self._store.recent_runs(name)
        return self._serialize(entry) | {"recent_runs": [serialize_run(run) for run in runs]}

    def as_of(self) -> str | None:
        """When the newest run started or ended; None before any."""
        moments = [self._store[name].last_ended_at for name in self._entries]
        moments += [running.row.started_at for running in self._active_runs()]
        return max((moment for moment in moments if moment is not None), default=None)

    def problems(self) -> list[str]:
        """A sentence for each job that fails repeatedly and is not paused."""
        states = [self._store[name] for name in self._entries]
        return [
            f"Job {state.name} has failed {state.consecutive_failures} times in a row: {state.last_message}"
            for state in states
            if state.consecutive_failures >= FAILING and not state.paused
        ]

    def _adjust_to_speed(self, schedule: Schedule) -> Schedule:
        """With a clock faster than the machine's, an interval that the machine can keep."""
        if self._clock.speed == 1 or not isinstance(schedule, Every):
            return schedule
        return Every(max(schedule.seconds, _MIN_INTERVAL * self._clock.speed))

    def _first(self, job: Job, now: datetime) -> tuple[Cause, datetime | None]:
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

    def _next(self, entry: _Entry) -> datetime:
        """When a job is due that was paused or rescheduled, counted from its last run."""
        job, now = entry.job, self._clock.now()
        last = self._store[job.name].last_started_at if entry.running is None else entry.running.row.started_at
        if isinstance(job.schedule, Every) and last is not None:
            return max(next_time(job.schedule, min(parse(last), now), job.jitter), now + self._spread_delay(job))
        return next_time(job.schedule, now, job.jitter)

    def _spread_delay(self, job: Job) -> timedelta:
        most = min(self._spread, job.schedule.seconds / 2) if isinstance(job.schedule, Every) else self._spread
        return timedelta(seconds=random.uniform(0, most))  # noqa: S311 (jitter)

    def _apply_paused(self, entry: _Entry, *, paused: bool) -> None:
        entry.cause = "schedule"
        self._store.change(entry.job.name, paused=paused)
        self._set_due(entry, None if paused else self._next(entry))

    def _set_due(self, entry: _Entry, due: datetime | None) -> None:
        entry.due = due
        self._store.change(entry.job.name, next_due_at=None if due is None else stamp(due))

    def _start_due(self, entry: _Entry, due: datetime, now: datetime) -> None:
        job = entry.job
        following = next_time(job.schedule, due, job.jitter)
        self._set_due(entry, following if following > now else next_time(job.schedule, now, job.jitter))
        if entry.cause == "schedule" and now - due > _LATE * self._clock.speed:
            entry.cause = "catch_up"
            soon = self._spread_delay(job)
            if soon:
                self._set_due(entry, now + soon)
                return
        cause, entry.cause = entry.cause, "schedule"
        if entry.running is not None:
            self._store.change(job.name, skipped=self._store[job.name].skipped + 1)
        else:
            self._begin(entry, cause)

    def _begin(self, entry: _Entry, cause: Cause) -> ActiveRun:
        running = entry.running = ActiveRun(entry.job, cause, self._store)

        async def execute() -> None:
            try:
                await running.execute()
            finally:
                entry.running = None

        self._tasks.start(f"job-{entry.job.name}", execute, vital=False)
        return running

    def _active_runs(self) -> list[ActiveRun]:
        return [entry.running for entry in self._entries.values() if entry.running is not None]

    async def _watch(self) -> None:
        while True:
            waits = [self._clock.until(entry.due) for entry in self._entries.values() if entry.due is not None]
            await self._clock.sleep(max(_MIN_WAIT, min([self._look, *waits])))
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


def next_time(schedule: Schedule, moment: datetime, jitter: float = 0.0) -> datetime:
    """When a job is due next after `moment`. Raises ValueError if never."""
    if isinstance(schedule, Every):
        due: datetime | None = moment + timedelta(seconds=schedule.seconds)
    else:
        due = CronTrigger.from_crontab(schedule.line, timezone=UTC).get_next_fire_time(moment, moment)
    if due is None:
        raise ValueError(f"{schedule} never comes")
    return due + timedelta(seconds=random.uniform(0, jitter))  # noqa: S311 (spreads the load)
