"""What is known of each job: in memory for those who ask, on disk for the next start."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError
from flexportd.jobs.job import Cause, Outcome
from flexportd.storage.database import Database
from flexportd.storage.repositories.jobs import JobRunRow, JobState
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MAX_MESSAGE = 2000  # characters of a message that are kept
FAILING = 3  # failures in a row that somebody should know of
_INTERRUPTED_MESSAGE = "The daemon ended during the run (detected at the next start)"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run, and the sentence about it."""

    outcome: Outcome
    message: str | None = None


def end_run(run: JobRunRow, ending: RunResult, at: str, seconds: float | None) -> JobRunRow:
    """The run as it ended."""
    message = None if ending.message is None else ending.message[:MAX_MESSAGE]
    return msgspec.structs.replace(run, ended_at=at, seconds=seconds, outcome=ending.outcome, message=message)


def state_after(state: JobState, run: JobRunRow) -> JobState:
    """What is known of a job after one more run of it has ended.

    A run that the daemon's stop or death broke off is due at once; not so when that or failing is all it does.
    """
    failed = run.outcome in ("failed", "timed_out", "interrupted")
    in_a_row = state.consecutive_failures + 1 if failed else 0 if run.outcome == "done" else state.consecutive_failures
    broken_off = run.outcome == "cancelled" or (run.outcome == "interrupted" and in_a_row < FAILING)
    return msgspec.structs.replace(
        state,
        next_due_at=run.ended_at if broken_off and not state.paused else state.next_due_at,
        last_started_at=run.started_at,
        last_ended_at=run.ended_at,
        last_outcome=run.outcome,
        last_message=run.message,
        last_seconds=run.seconds,
        last_success_at=run.ended_at if run.outcome == "done" else state.last_success_at,
        runs=state.runs + 1,
        failures=state.failures + failed,
        consecutive_failures=in_a_row,
    )


class JobStore:
    """The states of the jobs. What cannot be written for now is kept and written later."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._states: dict[str, JobState] = {}
        self._unsaved: dict[str, JobRunRow | None] = {}
        self._last_id = 0

    async def load(self, names: Iterable[str]) -> None:
        """Take up what the last process left; runs that it did not end are `interrupted`."""
        at = self._clock.stamp()

        def work(tx: Transaction) -> tuple[dict[str, JobState], list[JobRunRow], int]:
            states = {state.name: state for state in tx.jobs.states()}
            open_runs = tx.jobs.open_runs()
            for run in open_runs:
                broken = end_run(run, RunResult("interrupted", _INTERRUPTED_MESSAGE), at, None)
                states[run.job] = state_after(states.get(run.job) or JobState(run.job), broken)
                tx.jobs.put(states[run.job], broken)
            return states, open_runs, tx.jobs.last_run_id()

        states, interrupted, self._last_id = await self._db.write(work)
        for run in interrupted:
            log.warning("job_interrupted", job=run.job, started_at=run.started_at)
        self._states = {name: states.get(name) or JobState(name) for name in names}

    def __getitem__(self, name: str) -> JobState:
        """What is known of a job."""
        return self._states[name]

    def change(self, name: str, **fields: Any) -> None:
        """Note something; it is on disk after `save`."""
        self._states[name] = msgspec.structs.replace(self._states[name], **fields)
        self._unsaved.setdefault(name, None)

    def begin(self, name: str, cause: Cause) -> JobRunRow:
        """A new run of a job; it is on disk after `save`."""
        self._last_id += 1
        run = JobRunRow(self._last_id, name, cause, self._clock.stamp())
        self._unsaved[name] = run
        return run

    def end(self, run: JobRunRow, ending: RunResult, seconds: float) -> None:
        """Note what became of a run; it is on disk after `save`."""
        done = end_run(run, ending, self._clock.stamp(), round(seconds, 3))
        self._states[run.job] = state_after(self._states[run.job], done)
        self._unsaved[run.job] = done

    async def save(self, name: str) -> None:
        """Write what is new of a job. Raises UnavailableError; it is then still unsaved."""
        state, run = self._states[name], self._unsaved.pop(name, None)
        try:
            await self._db.write(lambda tx: tx.jobs.put(state, run))
        except UnavailableError:
            # A newer state of the run, noted meanwhile, goes before this one.
            self._unsaved[name] = self._unsaved.get(name) or run
            raise

    async def save_all(self) -> None:
        """Write what is new, as far as that is possible now."""
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and it is tried again
            for name in list(self._unsaved):
                await self.save(name)

    async def recent_runs(self, name: str) -> list[JobRunRow]:
        """The last runs of a job, newest first, with the one under way."""
        kept = await self._db.read(lambda tx: tx.jobs.recent_runs(name))
        unsaved = self._unsaved.get(name)
        if unsaved is None:
            return kept
        return [unsaved, *(run for run in kept if run.id != unsaved.id)]
