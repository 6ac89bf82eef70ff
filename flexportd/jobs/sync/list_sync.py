"""One pass over a whole list: every object compared, the books closed, what is missing judged."""

import msgspec
import structlog

from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import Domain
from flexportd.errors import FlexportdError
from flexportd.flexport.errors import (
    ForbiddenAtFlexportError,
    NotFoundAtFlexportError,
    RejectedError,
    UnauthorisedError,
)
from flexportd.jobs.job import JobRun, StoppedError, unexpected
from flexportd.jobs.sync.deps import Reach
from flexportd.jobs.sync.page_reader import Place, Reading
from flexportd.jobs.sync.removals import Judging
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run

log = structlog.get_logger(__name__)

_READINGS = 2  # how often a list is read whose books do not close

_CLOSED = (UnauthorisedError, ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError)


class Pass:
    """Brings one resource up to its whole list, within a run; resumes where it stopped."""

    def __init__(self, reach: Reach, run: Run) -> None:
        self._reach = reach
        self._run = run
        self._judging = Judging(reach, run)

    async def go(self, domain: Domain, job: JobRun) -> None:
        """Read and judge; the receipt says how it ended. Raises StoppedError alone."""
        receipt = await self._receipt(domain)
        if receipt.state not in ("waiting", "running"):
            return  # before the restart
        try:
            end = await self._whole(domain, receipt, job)
        except StoppedError:
            raise
        except _CLOSED as error:
            # An error inside a 200 says nothing of what the account may do.
            closed = error.status >= 400
            end = await self._unavailable(domain, str(error)) if closed else ReceiptEnd("failed", str(error))
        except FlexportdError as error:
            end = ReceiptEnd("failed", str(error))
        except Exception as error:
            log.exception("list_sync_failed", resource=domain.name, run_id=self._run.id)
            end = ReceiptEnd("failed", unexpected(error))
        at = self._reach.clock.stamp()
        await self._reach.db.write(lambda tx: tx.sync.end_receipt(self._run.id, domain.name, at, end))
        log.info("list_sync_finished", resource=domain.name, run_id=self._run.id, state=end.state, reason=end.reason)

    async def _whole(self, domain: Domain, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        for reading in range(1, _READINGS + 1):
            place = await self._place(domain, receipt, anew=reading > 1 or receipt.state == "waiting")
            await Reading(self._reach, domain, self._run, {}).go(job, place)
            receipt = await self._receipt(domain)
            wrong = imbalance(receipt)
            if wrong is None:
                return await self._judging.judge(domain, receipt, job)
        return ReceiptEnd("failed", f"{wrong}; nothing was removed")

    async def _place(self, domain: Domain, receipt: Receipt, *, anew: bool) -> Place:
        """The first page, or the one after the last that is behind us."""
        run_id, at = self._run.id, self._reach.clock.stamp()
        if anew:
            await self._reach.db.write(lambda tx: tx.sync.start(run_id, domain.name, at))
            return Place()
        seen = await self._reach.db.read(lambda tx: tx.sync.seen(run_id, domain.name))
        return Place(receipt.next_page, frozenset(seen))

    async def _receipt(self, domain: Domain) -> Receipt:
        return await self._reach.db.read(lambda tx: tx.sync.receipt(self._run.id, domain.name))

    async def _unavailable(self, domain: Domain, reason: str) -> ReceiptEnd:
        at = self._reach.clock.stamp()
        await self._reach.db.write(lambda tx: tx.sync.unavailable(domain.name, at, reason))
        return ReceiptEnd("unavailable", reason)


def imbalance(receipt: Receipt) -> str | None:
    """Why the books do not close; None when they do, or when Flexport does not say how long its list is."""
    if receipt.total is None:
        return None
    skips: dict[str, int] = msgspec.json.decode(receipt.skips)
    distinct = receipt.objects - skips.get(REPEATED, 0)
    # Whether a row that comes twice is counted twice is for Flexport to know.
    if receipt.total in (receipt.objects, distinct):
        return None
    return f"Flexport reports a total of {receipt.total}, but its pages contained {distinct}"
