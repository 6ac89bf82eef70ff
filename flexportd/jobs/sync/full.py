"""The full sync: every list read whole, several side by side, in one run that survives restarts."""

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

KEPT_SYNC_RUNS = 200  # runs whose receipts are kept


class FullSync:
    """The job `full_sync`. `chosen` gives the resources that the settings name; none: all are read."""

    def __init__(self, reach: SyncDeps, chosen: Callable[[], Sequence[str]]) -> None:
        self._reach = reach
        self._chosen = chosen
        self._number = 0
        self._known = asyncio.Event()  # while a run goes on

    @property
    def current(self) -> int | None:
        """The number of the run that goes on; None between runs."""
        return self._number if self._known.is_set() else None

    @property
    def last(self) -> int:
        """The number of the run that goes on, or of the last one; 0 before the first of this process."""
        return self._number

    async def wait_started(self, before: int) -> int:
        """The number of the run that is about to begin, or has begun since `last` was `before`.

        Raises UnavailableError when none comes about.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                while self._number == before and not self._known.is_set():
                    await self._known.wait()
        except TimeoutError:
            raise UnavailableError("the sync did not start; see flexportd jobs show full_sync") from None
        return self._number

    async def run(self, job: JobRun) -> str:
        """Go on with the run that a restart broke off, or begin one. Raises SyncFailedError, StoppedError."""
        run = await self._reach.db.read(lambda tx: tx.sync.running("full"))
        if run is None:
            run = await self._begin(job)
        else:
            log.info("sync_resumed", run_id=run.id, started_at=run.started_at)
        self._number = run.id
        self._known.set()
        try:
            return await self._execute(run, job)
        finally:
            self._known.clear()

    async def _execute(self, run: Run, job: JobRun) -> str:
        receipts = await self._reach.db.read(lambda tx: tx.sync.receipts(run.id))
        wanted = {receipt.resource for receipt in receipts}
        await self._read_all(run, [domain for domain in self._reach.registry if domain.name in wanted], job)
        return await finish(self._reach, run)

    async def _begin(self, job: JobRun) -> Run:
        by_hand, now = job.cause == "manual", self._reach.clock.now()
        chosen = self._chosen()

        def work(tx: Transaction) -> Run | None:
            states = tx.sync.list_states()
            due = []
            for domain in self._reach.registry:
                state, every = states.get(domain.name), LISTS[domain.object_name].interval
                complete_at = None if state is None else state.complete_at
                # One that is yet to come was noted by a clock that has been set back since.
                late = complete_at is None or not timedelta() <= now - parse(complete_at) < every
                if (by_hand or late) and (not chosen or domain.name in chosen):
                    due.append(domain.name)
            run_id = tx.sync.begin("full", "manual" if by_hand else "schedule", self._reach.clock.stamp(), due)
            tx.sync.delete_old_runs("full", KEPT_SYNC_RUNS, 50)
            return tx.sync.run(run_id)

        run = await self._reach.db.write(work)
        assert run is not None
        log.info("sync_started", run_id=run.id, cause=run.cause)
        return run

    async def _read_all(self, run: Run, domains: Sequence[ResourceType], job: JobRun) -> None:
        room = asyncio.Semaphore(CONCURRENT_LISTS)
        one_pass = ListSync(self._reach, run)

        async def one(domain: ResourceType) -> None:
            async with room:
                job.check_stop()
                await one_pass.run(domain, job)

        outcomes = await asyncio.gather(*(one(domain) for domain in domains), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
