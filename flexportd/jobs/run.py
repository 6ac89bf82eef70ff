"""One run of a job, from its beginning on disk to its end on disk."""

import asyncio
import contextlib
from typing import Any

import structlog

from flexportd.errors import FlexportdError, UnavailableError
from flexportd.jobs.job import Cause, Job, JobRun, StoppedError, duration, unexpected
from flexportd.jobs.job_store import Book, Ending

log = structlog.get_logger(__name__)

_STOPPED = Ending("cancelled", "The daemon was stopped during the run")


class Running:
    """A run under way. `begun` is set once it is on disk, or `refusal` says why it cannot be; `ended` at its end."""

    def __init__(self, job: Job, cause: Cause, book: Book) -> None:
        self.row = book.begin(job.name, cause)
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.refusal: UnavailableError | None = None
        self._job = job
        self._book = book
        self._run = JobRun(job.name, self.row.id, cause)
        self._task: asyncio.Task[Any] | None = None

    async def carry_out(self) -> None:
        """Run the job to its end, whatever that is; only being cancelled is raised."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        began, before, ending = loop.time(), self._book[self._job.name], _STOPPED
        try:
            await self._book.save(self._job.name)
            self.begun.set()
            ending = await self._attempt()
        except UnavailableError as error:
            # A run that could not be seen after a crash does not begin; what it would do needs the disk as well.
            self.refusal, ending = error, Ending("failed", str(error))
        finally:
            self._book.end(self.row, ending, loop.time() - began)
            _tell(self._job.name, before.consecutive_failures, ending)
            try:
                await asyncio.shield(self._save())
            finally:
                self.begun.set()
                self.ended.set()

    def ask_to_stop(self) -> None:
        """The job may end early, at a point of its own choice."""
        self._run.stopping.set()

    def cancel(self) -> None:
        """End it where it is."""
        if self._task is not None:
            self._task.cancel()

    async def _save(self) -> None:
        with contextlib.suppress(UnavailableError):  # the book keeps it, and tries again
            await self._book.save(self._job.name)

    async def _attempt(self) -> Ending:
        limit = asyncio.timeout(self._job.limit)
        try:
            async with limit:
                return Ending("done", await self._job.run(self._run))
        except StoppedError as error:
            return Ending("cancelled", str(error))
        except FlexportdError as error:
            return Ending("failed", str(error))
        except asyncio.CancelledError:
            if self._task is not None and self._task.cancelling():
                raise
            return Ending("failed", "The job was cancelled internally")
        except Exception as error:
            if limit.expired():
                return Ending("timed_out", f"The job exceeded its time limit of {duration(self._job.limit)}")
            log.exception("job_crashed", job=self._job.name)
            return Ending("failed", unexpected(error))


def _tell(job: str, failures: int, ending: Ending) -> None:
    """Log the edge: the first failure and the recovery, not each of many."""
    if ending.outcome in ("failed", "timed_out") and not failures:
        log.warning("job_failed", job=job, outcome=ending.outcome, reason=ending.message)
    elif ending.outcome == "done" and failures:
        log.info("job_recovered", job=job, failures=failures)
