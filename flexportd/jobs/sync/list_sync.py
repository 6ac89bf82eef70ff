"""One pass over a whole list: every object compared, the books closed, what is missing judged."""

import msgspec
import structlog

from flexportd.core.importer.compare import REPEATED
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import FlexportdError
from flexportd.flexport.errors import (
    ForbiddenAtFlexportError,
    NotFoundAtFlexportError,
    RejectedError,
    UnauthorisedError,
)
from flexportd.jobs.job import JobRun, StoppedError, unexpected_message
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.jobs.sync.page_reader import ListReader, Position
from flexportd.jobs.sync.removals import RemovalDetector
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run

log = structlog.get_logger(__name__)

MAX_PASSES = 2  # how often a list is read whose books do not close

_ACCESS_ERRORS = (UnauthorisedError, ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError)


class ListSync:
    """Brings one resource up to its whole list, within a run; resumes where it stopped."""

    def __init__(self, reach: SyncDeps, run: Run) -> None:
        self._reach = reach
        self._run = run
        self._judging = RemovalDetector(reach, run)

    async def run(self, domain: ResourceType, job: JobRun) -> None:
        """Read and judge; the receipt says how it ended. Raises StoppedError alone."""
        receipt = await self._receipt(domain)
        if receipt.state not in ("waiting", "running"):
            return  # before the restart
        try:
            end = await self._read_list(domain, receipt, job)
        except StoppedError:
            raise
        except _ACCESS_ERRORS as error:
            # An error inside a 200 says nothing of what the account may do.
            closed = error.status >= 400
            end = await self._unavailable(domain, str(error)) if closed else ReceiptEnd("failed", str(error))
        except FlexportdError as error:
            end = ReceiptEnd("failed", str(error))
        except Exception as error:
            log.exception("list_sync_failed", resource=domain.name, run_id=self._run.id)
            end = ReceiptEnd("failed", unexpected_message(error))
        at = self._reach.clock.stamp()
        await self._reach.db.write(lambda tx: tx.sync.end_receipt(self._run.id, domain.name, at, end))
        log.info("list_sync_finished", resource=domain.name, run_id=self._run.id, state=end.state, reason=end.reason)

    async def _read_list(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        for reading in range(1, MAX_PASSES + 1):
            place = await self._position(domain, receipt, anew=reading > 1 or receipt.state == "waiting")
            await ListReader(self._reach, domain, self._run, {}).run(job, place)
            receipt = await self._receipt(domain)
            wrong = imbalance(receipt)
            if wrong is None:
                return await self._judging.detect(domain, receipt, job)
        return ReceiptEnd("failed", f"{wrong}; nothing was removed")

    async def _position(self, domain: ResourceType, receipt: Receipt, *, anew: bool) -> Position:
        """The first page, or the one after the last that is behind us."""
        run_id, at = self._run.id, self._reach.clock.stamp()
        if anew:
            await self._reach.db.write(lambda tx: tx.sync.start(run_id, domain.name, at))
            return Position()
        seen = await self._reach.db.read(lambda tx: tx.sync.seen_keys(run_id, domain.name))
        return Position(receipt.next_page, frozenset(seen))

    async def _receipt(self, domain: ResourceType) -> Receipt:
        return await self._reach.db.read(lambda tx: tx.sync.receipt(self._run.id, domain.name))

    async def _unavailable(self, domain: ResourceType, reason: str) -> ReceiptEnd:
        at = self._reach.clock.stamp()
        await self._reach.db.write(lambda tx: tx.sync.mark_unavailable(domain.name, at, reason))
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
