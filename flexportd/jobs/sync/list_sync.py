"""Syncing one whole list: every object is compared, the counts are checked, missing objects are detected."""

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
from flexportd.jobs.sync.page_reader import ListReader
from flexportd.jobs.sync.removals import RemovalDetector
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run

log = structlog.get_logger(__name__)

MAX_PASSES = 2  # how often a list is read whose counts do not balance

_ACCESS_ERRORS = (UnauthorisedError, ForbiddenAtFlexportError, NotFoundAtFlexportError, RejectedError)


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
        try:
            end = await self._read_list(domain, receipt, job)
        except StoppedError:
            raise
        except _ACCESS_ERRORS as error:
            # An error inside a 200 says nothing about what the account may read.
            is_refused = error.response.status >= 400
            end = await self._unavailable(domain, str(error)) if is_refused else ReceiptEnd("failed", str(error))
        except FlexportdError as error:
            end = ReceiptEnd("failed", str(error))
        except Exception as error:
            log.exception("list_sync_failed", resource=domain.name, run_id=self._run.id)
            end = ReceiptEnd("failed", unexpected_message(error))
        at = self._deps.clock.stamp()
        await self._deps.db.write(lambda tx: tx.sync.end_receipt(self._run.id, domain.name, at, end))
        log.info("list_sync_finished", resource=domain.name, run_id=self._run.id, state=end.state, reason=end.reason)

    async def _read_list(self, domain: ResourceType, receipt: Receipt, job: JobRun) -> ReceiptEnd:
        run_id, problem = self._run.id, None
        for attempt in range(MAX_PASSES):
            reader, at = ListReader(self._deps, domain, self._run, {}), self._deps.clock.stamp()
            if attempt or receipt.state == "waiting":
                await self._deps.db.write(lambda tx: tx.sync.start(run_id, domain.name, at))  # noqa: B023 (awaited)
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

    async def _unavailable(self, domain: ResourceType, reason: str) -> ReceiptEnd:
        at = self._deps.clock.stamp()
        await self._deps.db.write(lambda tx: tx.sync.mark_unavailable(domain.name, at, reason))
        return ReceiptEnd("unavailable", reason)


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
