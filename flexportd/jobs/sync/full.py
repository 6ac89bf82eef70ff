"""The full sync: reads every list completely, several concurrently, in one run that survives restarts."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from flexportd.clock import parse
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import UnavailableError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.jobs.sync.list_sync import ListSync
from flexportd.jobs.sync.result import finish
from flexportd.storage.repositories.sync import Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

CONCURRENT_LISTS = 3  # lists that are read at once
_START_TIMEOUT = 15.0  # seconds until a run has its number
_KEPT_RUNS = 200  # runs whose receipts are kept


class FullSync:
    """The job `full_sync`. `selected` returns the resources that the settings name; none: all."""

    def __init__(self, deps: SyncDeps, selected: Callable[[], Sequence[str]]) -> None:
        self._deps = deps
        self._selected = selected
        self._number = 0
        self._running = asyncio.Event()

    @property
    def current(self) -> int | None:
        """The number of the current run; None between runs."""
        return self._number if self._running.is_set() else None

    @property
    def last(self) -> int:
        """The number of the current or the last run; 0 before the first one of this process."""
        return self._number

    async def wait_started(self, before: int) -> int:
        """The number of the run that starts, or has started since `last` was `before`.

        Raises UnavailableError if none starts in time.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                while self._number == before and not self._running.is_set():
                    await self._running.wait()
        except TimeoutError:
            raise UnavailableError("the sync did not start; see flexportd jobs show full_sync") from None
        return self._number

    async def run(self, job: JobRun) -> str:
        """Resume the run that a restart interrupted, or begin one. Raises SyncFailedError, StoppedError."""
        run = await self._deps.db.read(lambda tx: tx.sync.running("full"))
        if run is None:
            run = await self._begin(job)
        else:
            log.info("sync_resumed", run_id=run.id, started_at=run.started_at)
        self._number = run.id
        self._running.set()
        try:
            return await self._execute(run, job)
        finally:
            self._running.clear()

    async def _execute(self, run: Run, job: JobRun) -> str:
        receipts = await self._deps.db.read(lambda tx: tx.sync.receipts(run.id))
        wanted = {receipt.resource for receipt in receipts}
        await self._read_all(run, [domain for domain in self._deps.registry if domain.name in wanted], job)
        return await finish(self._deps, run)

    async def _begin(self, job: JobRun) -> Run:
        is_manual, now = job.cause == "manual", self._deps.clock.now()
        selected = self._selected()

        def work(tx: Transaction) -> Run | None:
            states = tx.sync.list_states()
            due = []
            for domain in self._deps.registry:
                state, every = states.get(domain.name), LISTS[domain.object_name].interval
                complete_at = None if state is None else state.complete_at
                # A time in the future was noted by a clock that has been set back since.
                is_due = complete_at is None or not timedelta() <= now - parse(complete_at) < every
                if (is_manual or is_due) and (not selected or domain.name in selected):
                    due.append(domain.name)
            run_id = tx.sync.begin("full", "manual" if is_manual else "schedule", self._deps.clock.stamp(), due)
            tx.sync.delete_old_runs("full", _KEPT_RUNS, 50)
            return tx.sync.run(run_id)

        run = await self._deps.db.write(work)
        assert run is not None
        log.info("sync_started", run_id=run.id, cause=run.cause)
        return run

    async def _read_all(self, run: Run, domains: Sequence[ResourceType], job: JobRun) -> None:
        slots = asyncio.Semaphore(CONCURRENT_LISTS)
        list_sync = ListSync(self._deps, run)

        async def sync(domain: ResourceType) -> None:
            async with slots:
                job.check_stop()
                await list_sync.run(domain, job)

        outcomes = await asyncio.gather(*(sync(domain) for domain in domains), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
