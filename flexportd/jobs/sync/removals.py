"""Removals: objects missing from complete lists count as gone after two passes; large removals wait for confirmation.

Absence from a list is weak evidence: rows are skipped when a list changes while it is read, filters change, lists come
back empty or truncated. So nothing is removed because of one list, nor of one that lacks many known objects.
"""

import msgspec
import structlog

from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import ResourceType
from flexportd.flexport.errors import ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.run import SyncDeps
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MISSED_PASSES = 2  # complete passes without an object before it counts as gone
REVIEW_COUNT = 10  # objects that may disappear together without a review, whatever their share
REVIEW_SHARE = 0.05  # share of a resource that may disappear together without a review
_MAX_VERIFIED = 50  # objects that are fetched one by one before they are removed


class RemovalDetector:
    """Detects the removals of one run."""

    def __init__(self, deps: SyncDeps, run: Run) -> None:
        self._deps = deps
        self._run = run

    async def detect(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        """Compare what a complete pass saw with the store; returns the end of the receipt."""
        as_of, started_at = receipt.as_of or "", receipt.started_at or ""

        def read(tx: Transaction) -> tuple[list[Key], int, bool, int]:
            missing, identified = tx.sync.missing(domain.table, receipt.run_id, as_of, started_at), receipt.objects
            if missing and receipt.failed:
                identified = len(tx.sync.seen_keys(receipt.run_id, domain.name))
            return missing, tx.sync.count_live(domain.table), tx.sync.has_missing(domain.name), identified

        missing, live, before, identified = await self._deps.db.read(read)
        if missing and (receipt.objects == 0 or (len(missing) > REVIEW_COUNT and len(missing) > REVIEW_SHARE * live)):
            return await self._hold(domain, receipt, missing, live)
        gone = await self._count_missing(domain, receipt, missing) if missing or before else []
        hidden = receipt.objects - msgspec.json.decode(receipt.skips).get(REPEATED, 0) - identified
        if hidden > 0 and not self._can_verify(domain, gone):
            gone = []  # any of them may be one of the unreadable rows
        removed = await self._remove(domain, gone, as_of, job)
        reason = f"{len(missing)} missing, {removed} removed" if missing or removed else None
        if reason and hidden > 0:
            reason += f"; {hidden:,} {'row' if hidden == 1 else 'rows'} without a readable ID"
        return ReceiptEnd("complete", reason, len(missing), removed)

    async def _hold(self, domain: ResourceType, receipt: Receipt, missing: list[Key], live: int) -> ReceiptEnd:
        def work(tx: Transaction) -> None:
            tx.sync.clear_seen(receipt.run_id, domain.name)
            tx.sync.hold(domain.name, missing, receipt.as_of or "")

        await self._deps.db.write(work)
        some = f"{len(missing)} of {live} known items are missing from the list"
        problem = "The list is empty" if receipt.objects == 0 else some
        reason = f"{problem}. Nothing was removed. If they are really gone, run: flexportd sync accept {domain.route}"
        log.warning("list_sync_held", resource=domain.name, missing=len(missing), known=live)
        return ReceiptEnd("held", reason, len(missing))

    async def _count_missing(self, domain: ResourceType, receipt: Receipt, missing: list[Key]) -> list[Key]:
        """Count the passes; returns the objects that were missing often enough."""

        def work(tx: Transaction) -> list[Key]:
            tx.sync.clear_seen(receipt.run_id, domain.name)
            tx.sync.add_missing(domain.name, missing, receipt.as_of or "")
            tx.sync.release(domain.name)
            return tx.sync.missing_for(domain.name, MISSED_PASSES)

        # An object that was missing before may be back, or removed already: only what is missing now counts.
        now = set(missing)
        return [key for key in await self._deps.db.write(work) if key in now]

    @staticmethod
    def _can_verify(domain: ResourceType, gone: list[Key]) -> bool:
        return LISTS[domain.object_name].has_detail and len(gone) <= _MAX_VERIFIED

    async def _remove(self, domain: ResourceType, gone: list[Key], as_of: str, job: JobRun) -> int:
        """Remove what is gone, each of a few after a last fetch; returns how many."""
        confirmed = gone
        if self._can_verify(domain, gone):
            confirmed = []
            for key in gone:
                job.check_stop()
                if await self._is_gone(domain, key):
                    confirmed.append(key)
        removed = await self._deps.importer.remove(domain, confirmed, as_of, self._deps.cause(self._run))
        await self._mark_complete(domain)
        return removed

    async def _is_gone(self, domain: ResourceType, key: Key) -> bool:
        """Whether Flexport no longer returns an object; if it does, the object is imported. Raises FlexportError."""
        importer = self._deps.importer
        start = await importer.request_start()
        try:
            found = await self._deps.client.get(LISTS[domain.object_name].path, str(key), "sync")
        except (NotFoundAtFlexportError, ForbiddenAtFlexportError, RejectedError):
            return True
        comparison = await importer.compare(domain, [found.text], (found.started_at, found.date), start)
        await importer.apply([comparison], self._deps.cause(self._run))
        await self._deps.db.write(lambda tx: tx.sync.clear_missing(domain.name, [key]))
        return False

    async def _mark_complete(self, domain: ResourceType) -> None:
        def work(tx: Transaction, at: str) -> None:
            receipt = tx.sync.receipt(self._run.id, domain.name)
            tx.sync.mark_complete(receipt, at)
            tx.unreadable.delete_unseen(domain.name, receipt.started_at or "")

        await self._deps.write(work)
