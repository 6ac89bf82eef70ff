"""What a complete list does not have: missing first, gone after two passes, and a person's matter when it is much.

A list's silence is weak evidence: rows are skipped when a list moves while it is read, filters change, lists come back
empty or cut. So nothing is removed because of one list, nor because of one that lacks a good part of what we know.
"""

import msgspec
import structlog

from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.flexport.errors import ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MISSED_PASSES = 2  # complete passes without an object before it counts as gone
REVIEW_COUNT = 10  # objects that may vanish together whatever their share
REVIEW_SHARE = 0.05  # of a resource, that may vanish together
_MAX_VERIFIED = 50  # objects that are asked for one by one before they are removed


class RemovalDetector:
    """Judges the resources of one run."""

    def __init__(self, reach: SyncDeps, run: Run) -> None:
        self._reach = reach
        self._run = run

    async def detect(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        """Compare what a complete pass saw with what is known; the end of the receipt."""
        as_of, started_at = receipt.as_of or "", receipt.started_at or ""

        def read(tx: Transaction) -> tuple[list[Key], int, bool, int]:
            missing = tx.sync.missing(domain.table, receipt.run_id, as_of, started_at)
            named = (
                len(tx.sync.seen_keys(receipt.run_id, domain.name)) if missing and receipt.failed else receipt.objects
            )
            return missing, tx.sync.count_live(domain.table), tx.sync.has_missing(domain.name), named

        missing, live, before, named = await self._reach.db.read(read)
        if missing and (receipt.objects == 0 or (len(missing) > REVIEW_COUNT and len(missing) > REVIEW_SHARE * live)):
            return await self._hold(domain, receipt, missing, live)
        gone = await self._count_missing(domain, receipt, missing) if missing or before else []
        hidden = receipt.objects - msgspec.json.decode(receipt.skips).get(REPEATED, 0) - named
        if hidden > 0 and not self._can_verify(domain, gone):
            gone = []  # any of them may be one of those
        removed = await self._remove(domain, gone, as_of, job)
        reason = f"{len(missing)} missing, {removed} removed" if missing or removed else None
        if reason and hidden > 0:
            reason += f"; {hidden:,} {'row' if hidden == 1 else 'rows'} without a readable ID"
        return ReceiptEnd("complete", reason, len(missing), removed)

    async def _hold(self, domain: ResourceType, receipt: Receipt, missing: list[Key], live: int) -> ReceiptEnd:
        def work(tx: Transaction) -> None:
            tx.sync.clear_seen(receipt.run_id, domain.name)
            tx.sync.hold(domain.name, missing, receipt.as_of or "")

        await self._reach.db.write(work)
        lacks = f"{len(missing)} of {live} known items are missing from the list"
        what = "The list is empty" if receipt.objects == 0 else lacks
        reason = f"{what}. Nothing was removed. If they are really gone, run: flexportd sync accept {domain.route}"
        log.warning("list_sync_held", resource=domain.name, missing=len(missing), known=live)
        return ReceiptEnd("held", reason, len(missing))

    async def _count_missing(self, domain: ResourceType, receipt: Receipt, missing: list[Key]) -> list[Key]:
        """Keep the count of passes; what has been missed often enough."""

        def work(tx: Transaction) -> list[Key]:
            tx.sync.clear_seen(receipt.run_id, domain.name)
            tx.sync.add_missing(domain.name, missing, receipt.as_of or "")
            tx.sync.release(domain.name)
            return tx.sync.missing_for(domain.name, MISSED_PASSES)

        # An object that was missed before may have come back, or be removed already: only what is missing now counts.
        now = set(missing)
        return [key for key in await self._reach.db.write(work) if key in now]

    @staticmethod
    def _can_verify(domain: ResourceType, gone: list[Key]) -> bool:
        """Whether Flexport can be asked for each of them."""
        return LISTS[domain.object_name].has_detail and len(gone) <= _MAX_VERIFIED

    async def _remove(self, domain: ResourceType, gone: list[Key], as_of: str, job: JobRun) -> int:
        """Remove what is gone, a few after a last question for each; how many."""
        if not gone:
            await self._mark_complete(domain)
            return 0
        sure = [] if self._can_verify(domain, gone) else gone
        for key in gone if not sure else ():
            job.check_stop()
            if await self._is_gone(domain, key):
                sure = [*sure, key]
        removed = await self._reach.intake.remove(domain, sure, as_of, self._cause())
        await self._mark_complete(domain)
        return removed

    async def _is_gone(self, domain: ResourceType, key: Key) -> bool:
        """Whether Flexport shows an object no more. Raises FlexportError when it cannot be asked."""
        start = await self._reach.intake.request_start()
        try:
            found = await self._reach.client.get(LISTS[domain.object_name].path, str(key), "sync")
        except (NotFoundAtFlexportError, ForbiddenAtFlexportError, RejectedError):
            return True
        intake, times = self._reach.intake, (found.started_at, found.date)
        await intake.import_batch(intake.make_batch(domain, [found.text], times, start), self._cause())
        await self._reach.db.write(lambda tx: tx.sync.clear_missing(domain.name, [key]))
        return False

    async def _mark_complete(self, domain: ResourceType) -> None:
        at = self._reach.clock.stamp()

        def work(tx: Transaction) -> None:
            receipt = tx.sync.receipt(self._run.id, domain.name)
            tx.sync.mark_complete(receipt, at)
            tx.unreadable.delete_unseen(domain.name, receipt.started_at or "")

        await self._reach.db.write(work)

    def _cause(self) -> ChangeCause:
        return ChangeCause(self._reach.clock.stamp(), "sync", run=(self._run.id, self._run.started_at))
