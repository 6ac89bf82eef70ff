"""One run of a job, from its start to its result, both on disk."""

import asyncio
import contextlib
from typing import Any

import structlog

from flexportd.errors import FlexportdError, UnavailableError
from flexportd.jobs.job import Cause, Job, JobRun, StoppedError, duration, unexpected_message
from flexportd.jobs.job_store import JobStore, RunResult

log = structlog.get_logger(__name__)

_CANCELLED = RunResult("cancelled", "The daemon was stopped during the run")


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
                await asyncio.shield(self._save())
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

    async def _save(self) -> None:
        with contextlib.suppress(UnavailableError):  # the store keeps it, and tries again
            await self._store.save(self._job.name)

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
