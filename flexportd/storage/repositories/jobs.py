"""The scheduler's jobs, and their last runs."""

import msgspec

from flexportd.storage.statements import Repository

KEPT_RUNS = 100  # runs of each job that are kept


class JobState(msgspec.Struct, frozen=True):
    """The state of one job; `last_…` are of the last run that has ended. Times are stamps."""

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
    """One run; it is still running without `ended_at`. `seconds` is None if the time is unknown."""

    id: int
    job: str
    cause: str
    started_at: str
    ended_at: str | None = None
    seconds: float | None = None
    outcome: str | None = None
    message: str | None = None


class Jobs(Repository):
    """Reads and writes `jobs` and `job_runs`."""

    family = "jobs"

    def states(self) -> list[JobState]:
        """The state of every job that ever ran here, even if it is no longer defined."""
        return [JobState(name, bool(paused), *rest) for name, paused, *rest in self._run("states")]

    def put(self, state: JobState, run: JobRunRow | None = None) -> None:
        """Store the state of a job, and a run of it that began or ended; the oldest runs are deleted."""
        self._run("put_state", *msgspec.structs.astuple(state))
        if run is not None:
            self._run("put_run", *msgspec.structs.astuple(run))
            self._run("trim", run.job, KEPT_RUNS)

    def open_runs(self) -> list[JobRunRow]:
        """The runs that never ended, oldest first."""
        return self._all(JobRunRow, "unfinished")

    def recent_runs(self, job: str, limit: int = KEPT_RUNS) -> list[JobRunRow]:
        """The newest runs of one job, newest first."""
        return self._all(JobRunRow, "recent", job, limit)

    def last_run_id(self) -> int:
        """The highest id of a stored run; 0 without one."""
        return self._count("last_run_id")
