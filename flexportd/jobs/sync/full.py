"""The full sync: reads every list completely, several concurrently, in one run that survives restarts.

Every object is compared, the counts of a list are checked, missing objects are detected.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from flexportd.clock import is_within
from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import UnavailableError
from flexportd.flexport.errors import (
    ForbiddenAtFlexportError,
    NotFoundAtFlexportError,
    RejectedError,
    UnauthorisedError,
)
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.page_reader import ListReader
from flexportd.jobs.sync.removals import RemovalDetector
from flexportd.jobs.sync.run import SyncDeps, end_of_list, finish
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

CONCURRENT_LISTS = 3  # lists that are read at once
_START_TIMEOUT = 15.0  # seconds until a run has its number
_KEPT_RUNS = 200  # runs whose receipts are kept
MAX_PASSES = 2  # how often a list is read whose counts do not balance

_ACCESS_ERRORS = (UnauthorisedError, ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError)


class FullSync:
    """The job `full_sync`."""

    def __init__(self, deps: SyncDeps) -> None:
        self._deps = deps
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
            receipts = await self._deps.db.read(lambda tx: tx.sync.receipts(run.id))
            wanted = {receipt.resource for receipt in receipts}
            await self._read_all(run, [domain for domain in self._deps.registry if domain.name in wanted], job)
            return await finish(self._deps, run)
        finally:
            self._running.clear()

    async def _begin(self, job: JobRun) -> Run:
        deps, is_manual, now = self._deps, job.cause == "manual", self._deps.clock.now()

        def work(tx: Transaction, at: str) -> Run | None:
            states = tx.sync.list_states()
            due = [
                domain.name
                for domain in deps.registry
                if deps.options.includes(domain)
                and (
                    is_manual
                    or (state := states.get(domain.name)) is None
                    or not is_within(state.complete_at, now, LISTS[domain.object_name].interval)
                )
            ]
            run_id = tx.sync.begin("full", "manual" if is_manual else "schedule", at, due)
            tx.sync.delete_old_runs("full", _KEPT_RUNS, 50)
            return tx.sync.run(run_id)

        run = await deps.write(work)
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


class ListSync:
    """Syncs whole lists within one run; resumes where it stopped."""

    def __init__(self, deps: SyncDeps, run: Run) -> None:
        self._deps = deps
        self._run = run
        self._removals = RemovalDetector(deps, run)

    async def run(self, domain: ResourceType, job: JobRun) -> None:
        """Sync the list of a resource; its receipt has the result. Raises only StoppedError."""
        receipt = await self._receipt(domain)
        if receipt.state not in ("waiting", "running"):
            return  # finished before the restart
        end = await end_of_list(self._read_list(domain, receipt, job), self._run, domain.name)
        await self._deps.write(lambda tx, at: tx.sync.end_receipt(self._run.id, domain.name, at, end))
        log.info("list_sync_finished", resource=domain.name, run_id=self._run.id, state=end.state, reason=end.reason)

    async def _read_list(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        try:
            return await self._read_balanced(domain, receipt, job)
        except _ACCESS_ERRORS as error:
            if error.response.status < 400:  # an error inside a 200 says nothing about what the account may read
                raise
            reason = str(error)
            await self._deps.write(lambda tx, at: tx.sync.mark_unavailable(domain.name, at, reason))
            return ReceiptEnd("unavailable", reason)

    async def _read_balanced(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        run_id, problem = self._run.id, None
        for attempt in range(MAX_PASSES):
            reader = ListReader(self._deps, domain, self._run, {})
            if attempt or receipt.state == "waiting":
                await self._deps.write(lambda tx, at: tx.sync.start(run_id, domain.name, at))
                await reader.run(job)
            else:  # after a restart: from the page after the last complete one
                seen = await self._deps.db.read(lambda tx: tx.sync.seen_keys(run_id, domain.name))
                await reader.run(job, receipt.next_page, seen)
            receipt = await self._receipt(domain)
            problem = imbalance(receipt)
            if problem is None:
                return await self._removals.detect(domain, receipt, job)
        return ReceiptEnd("failed", f"{problem}; nothing was removed")

    async def _receipt(self, domain: ResourceType) -> Receipt:
        return await self._deps.db.read(lambda tx: tx.sync.receipt(self._run.id, domain.name))


def imbalance(receipt: Receipt) -> str | None:
    """Why the counts of a receipt do not balance; None if they do, or if Flexport gives no total."""
    if receipt.total is None:
        return None
    skips: dict[str, int] = msgspec.json.decode(receipt.skips)
    distinct = receipt.objects - skips.get(REPEATED, 0)
    # Flexport may count a row that comes twice once or twice.
    if receipt.total in (receipt.objects, distinct):
        return None
    return f"Flexport reports a total of {receipt.total}, but its pages contained {distinct}"
