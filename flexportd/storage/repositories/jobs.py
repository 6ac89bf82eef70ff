"""What the scheduler knows of its jobs, and their last runs."""

import sqlite3

import msgspec

from flexportd.storage.named_sql import queries

KEPT_RUNS = 100  # runs of each job that are kept


class JobState(msgspec.Struct, frozen=True):
    """What is known of one job; `last_…` are of the last run that has ended. Times are stamps."""

    name: str
    paused: bool = False
    next_due_at: str | None = None
    last_started_at: str | None = None
    last_ended_at: str | None = None
    last_outcome: str | None = None
    last_message: str | None = None
    last_seconds: float | None = None
    last_success_at: str | None = None
    runs: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    skipped: int = 0


class JobRunRow(msgspec.Struct, frozen=True):
    """One run; without `ended_at` it is under way. `seconds` is None where it cannot be known."""

    id: int
    job: str
    cause: str
    started_at: str
    ended_at: str | None = None
    seconds: float | None = None
    outcome: str | None = None
    message: str | None = None


class Jobs:
    """Reads and writes `jobs` and `job_runs`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("jobs")

    def states(self) -> list[JobState]:
        """What is known of every job that ever ran here, declared today or not."""
        rows = self._raw.execute(self._sql["states"])
        return [JobState(name, bool(paused), *rest) for name, paused, *rest in rows]

    def put(self, state: JobState, run: JobRunRow | None = None) -> None:
        """Keep what is known of a job, and a run of it that began or ended; the oldest runs leave."""
        self._raw.execute(self._sql["put_state"], msgspec.structs.astuple(state))
        if run is not None:
            self._raw.execute(self._sql["put_run"], msgspec.structs.astuple(run))
            self._raw.execute(self._sql["trim"], (run.job, KEPT_RUNS))

    def open_runs(self) -> list[JobRunRow]:
        """The runs that never ended, oldest first."""
        return [JobRunRow(*row) for row in self._raw.execute(self._sql["open"])]

    def recent_runs(self, job: str, limit: int = KEPT_RUNS) -> list[JobRunRow]:
        """The newest runs of one job, newest first."""
        return [JobRunRow(*row) for row in self._raw.execute(self._sql["recent"], (job, limit))]

    def last_run_id(self) -> int:
        """The highest number that a kept run has; 0 when none is kept."""
        return int(self._raw.execute(self._sql["last_run_id"]).fetchone()[0])
