"""What a complete list does not have: missing first, gone after two passes, and a person's matter when it is much.

A list's silence is weak evidence: rows are skipped when a list moves while it is read, filters change, lists come back
empty or cut. So nothing is removed because of one list, nor because of one that lacks a good part of what we know.
"""

import msgspec
import structlog

from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import Domain
from flexportd.core.unit_of_work import Cause
from flexportd.flexport.errors import ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import Reach
from flexportd.storage.repositories.resources import Key
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

PASSES = 2  # complete passes without an object before it counts as gone
FEW = 10  # objects that may vanish together whatever their share
SHARE = 0.05  # of a resource, that may vanish together
_ASKED_FOR = 50  # objects that are asked for one by one before they are removed


class Judging:
    """Judges the resources of one run."""

    def __init__(self, reach: Reach, run: Run) -> None:
        self._reach = reach
        self._run = run

    async def judge(self, domain: Domain, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        """Compare what a complete pass saw with what is known; the end of the receipt."""
        as_of, started_at = receipt.as_of or "", receipt.started_at or ""

        def read(tx: Session) -> tuple[list[Key], int, bool, int]:
            missing = tx.sync.missing(domain.table, receipt.run_id, as_of, started_at)
            named = len(tx.sync.seen(receipt.run_id, domain.name)) if missing and receipt.failed else receipt.objects
            return missing, tx.sync.live(domain.table), tx.sync.any_missing(domain.name), named

        missing, live, before, named = await self._reach.db.read(read)
        if missing and (receipt.objects == 0 or (len(missing) > FEW and len(missing) > SHARE * live)):
            return await self._hold(domain, receipt, missing, live)
        gone = await self._note(domain, receipt, missing) if missing or before else []
        hidden = receipt.objects - msgspec.json.decode(receipt.skips).get(REPEATED, 0) - named
        if hidden > 0 and not self._is_few(domain, gone):
            gone = []  # any of them may be one of those
        removed = await self._remove(domain, gone, as_of, job)
        reason = f"{len(missing)} missing, {removed} removed" if missing or removed else None
        if reason and hidden > 0:
            reason += f"; {hidden:,} {'row' if hidden == 1 else 'rows'} without a readable ID"
        return ReceiptEnd("complete", reason, len(missing), removed)

    async def _hold(self, domain: Domain, receipt: Receipt, missing: list[Key], live: int) -> ReceiptEnd:
        def work(tx: Session) -> None:
            tx.sync.seen_again(receipt.run_id, domain.name)
            tx.sync.hold(domain.name, missing, receipt.as_of or "")

        await self._reach.db.write(work)
        lacks = f"{len(missing)} of {live} known items are missing from the list"
        what = "The list is empty" if receipt.objects == 0 else lacks
        reason = f"{what}. Nothing was removed. If they are really gone, run: flexportd sync accept {domain.route}"
        log.warning("list_sync_held", resource=domain.name, missing=len(missing), known=live)
        return ReceiptEnd("held", reason, len(missing))

    async def _note(self, domain: Domain, receipt: Receipt, missing: list[Key]) -> list[Key]:
        """Keep the count of passes; what has been missed often enough."""

        def work(tx: Session) -> list[Key]:
            tx.sync.seen_again(receipt.run_id, domain.name)
            tx.sync.missed(domain.name, missing, receipt.as_of or "")
            tx.sync.release(domain.name)
            return tx.sync.gone(domain.name, PASSES)

        # An object that was missed before may have come back, or be removed already: only what is missing now counts.
        now = set(missing)
        return [key for key in await self._reach.db.write(work) if key in now]

    @staticmethod
    def _is_few(domain: Domain, gone: list[Key]) -> bool:
        """Whether Flexport can be asked for each of them."""
        return LISTS[domain.object_name].shows and len(gone) <= _ASKED_FOR

    async def _remove(self, domain: Domain, gone: list[Key], as_of: str, job: JobRun) -> int:
        """Remove what is gone, a few after a last question for each; how many."""
        if not gone:
            await self._complete(domain)
            return 0
        sure = [] if self._is_few(domain, gone) else gone
        for key in gone if not sure else ():
            job.go_on()
            if await self._is_gone(domain, key):
                sure = [*sure, key]
        removed = await self._reach.intake.remove(domain, sure, as_of, self._cause())
        await self._complete(domain)
        return removed

    async def _is_gone(self, domain: Domain, key: Key) -> bool:
        """Whether Flexport shows an object no more. Raises FlexportError when it cannot be asked."""
        start = await self._reach.intake.request_start()
        try:
            found = await self._reach.client.one(LISTS[domain.object_name].path, str(key), "sync")
        except (NotFoundAtFlexportError, ForbiddenAtFlexportError, RejectedError):
            return True
        intake, times = self._reach.intake, (found.started_at, found.date)
        await intake.take(intake.answered(domain, [found.text], times, start), self._cause())
        await self._reach.db.write(lambda tx: tx.sync.found(domain.name, [key]))
        return False

    async def _complete(self, domain: Domain) -> None:
        at = self._reach.clock.stamp()

        def work(tx: Session) -> None:
            receipt = tx.sync.receipt(self._run.id, domain.name)
            tx.sync.completed(receipt, at)
            tx.unreadable.forget(domain.name, receipt.started_at or "")

        await self._reach.db.write(work)

    def _cause(self) -> Cause:
        return Cause(self._reach.clock.stamp(), "sync", run=(self._run.id, self._run.started_at))
