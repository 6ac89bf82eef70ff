"""The state and runs of each job: in memory for readers, on disk for the next start."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError
from flexportd.jobs.job import Cause, Job, Outcome
from flexportd.storage.database import Database
from flexportd.storage.repositories.jobs import JobRunRow, JobState
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MAX_MESSAGE = 2000  # characters of a message that are stored
_COUNTERS = ("last_success_at", "runs", "failures", "consecutive_failures", "skipped")
FAILING = 3  # failures in a row that count as a problem
_INTERRUPTED_MESSAGE = "The daemon ended during the run (detected at the next start)"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, and a sentence about it."""

    outcome: Outcome
    message: str | None = None


def end_run(run: JobRunRow, ending: RunResult, at: str, seconds: float | None) -> JobRunRow:
    """The row of a run that has ended."""
    message = None if ending.message is None else ending.message[:MAX_MESSAGE]
    return msgspec.structs.replace(run, ended_at=at, seconds=seconds, outcome=ending.outcome, message=message)


def state_after(state: JobState, run: JobRunRow) -> JobState:
    """The state of a job after one more run has ended.

    A run that the end of the daemon interrupted is due again at once, unless the job only fails or is interrupted.
    """
    failed = run.outcome in ("failed", "timed_out", "interrupted")
    consecutive = 0 if run.outcome == "done" else state.consecutive_failures + failed
    interrupted = run.outcome == "cancelled" or (run.outcome == "interrupted" and consecutive < FAILING)
    return msgspec.structs.replace(
        state,
        next_due_at=run.ended_at if interrupted and not state.paused else state.next_due_at,
        last_started_at=run.started_at,
        last_ended_at=run.ended_at,
        last_outcome=run.outcome,
        last_message=run.message,
        last_seconds=run.seconds,
        last_success_at=run.ended_at if run.outcome == "done" else state.last_success_at,
        runs=state.runs + 1,
        failures=state.failures + failed,
        consecutive_failures=consecutive,
    )


class JobStore:
    """The states of the jobs. Changes that cannot be written are kept and written later."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._states: dict[str, JobState] = {}
        self._unsaved: dict[str, JobRunRow | None] = {}
        self._last_id = 0

    async def load(self, names: Iterable[str]) -> None:
        """Read what the last process wrote; runs that it did not end are `interrupted`."""
        at = self._clock.stamp()

        def work(tx: Transaction) -> tuple[dict[str, JobState], list[JobRunRow], int]:
            states = {state.name: state for state in tx.jobs.states()}
            open_runs = tx.jobs.open_runs()
            for run in open_runs:
                ended = end_run(run, RunResult("interrupted", _INTERRUPTED_MESSAGE), at, None)
                states[run.job] = state_after(states.get(run.job) or JobState(run.job), ended)
                tx.jobs.put(states[run.job], ended)
            return states, open_runs, tx.jobs.last_run_id()

        states, interrupted, self._last_id = await self._db.write(work)
        for run in interrupted:
            log.warning("job_interrupted", job=run.job, started_at=run.started_at)
        self._states = {name: states.get(name) or JobState(name) for name in names}

    def __getitem__(self, name: str) -> JobState:
        """The state of a job."""
        return self._states[name]

    def change(self, name: str, **fields: Any) -> None:
        """Change fields of a job's state; they are on disk after `save`."""
        self._states[name] = msgspec.structs.replace(self._states[name], **fields)
        self._unsaved.setdefault(name, None)

    def begin(self, name: str, cause: Cause) -> JobRunRow:
        """Start a run of a job; it is on disk after `save`."""
        self._last_id += 1
        run = JobRunRow(self._last_id, name, cause, self._clock.stamp())
        self._unsaved[name] = run
        return run

    def end(self, run: JobRunRow, ending: RunResult, seconds: float) -> None:
        """End a run; its result is on disk after `save`."""
        done = end_run(run, ending, self._clock.stamp(), round(seconds, 3))
        self._states[run.job] = state_after(self._states[run.job], done)
        self._unsaved[run.job] = done

    async def save(self, name: str) -> None:
        """Write the changes of a job. Raises UnavailableError; they are then still unsaved."""
        state, run = self._states[name], self._unsaved.pop(name, None)
        try:
            await self._db.write(lambda tx: tx.jobs.put(state, run))
        except UnavailableError:
            # A newer state of the run has precedence over this one.
            self._unsaved[name] = self._unsaved.get(name) or run
            raise

    async def save_all(self) -> None:
        """Write all changes, as far as the disk allows."""
        with contextlib.suppress(UnavailableError):  # the writer logs it, and it is tried again
            for name in list(self._unsaved):
                await self.save(name)

    async def recent_runs(self, name: str) -> list[JobRunRow]:
        """The last runs of a job, newest first, including the current one."""
        stored = await self._db.read(lambda tx: tx.jobs.recent_runs(name))
        unsaved = self._unsaved.get(name)
        if unsaved is None:
            return stored
        return [unsaved, *(run for run in stored if run.id != unsaved.id)]


def serialize_job(job: Job, state: JobState, running: JobRunRow | None) -> dict[str, Any]:
    """A job as the API shows it; `running` is the current run or null, `last_run` the last that has ended or null."""
    last = {
        name: getattr(state, f"last_{name}") for name in ("started_at", "ended_at", "seconds", "outcome", "message")
    }
    return {
        "id": job.name,
        "title": job.title,
        "schedule": str(job.schedule),
        "paused": state.paused,
        "running": running and {"id": str(running.id), "since": running.started_at, "cause": running.cause},
        "next_run_at": state.next_due_at,
        "last_run": None if state.last_ended_at is None else last,
        **{name: getattr(state, name) for name in _COUNTERS},
    }


def serialize_run(run: JobRunRow) -> dict[str, Any]:
    """One run as the API shows it; while it is running it has neither end nor outcome."""
    row = msgspec.structs.asdict(run)
    del row["job"]
    return row | {"id": str(run.id)}
