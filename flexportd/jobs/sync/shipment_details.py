"""The own responses of shipments, which tell more than their entries in the list: fetched once, and when they change.

What is to be fetched is stored (`core.shipment_details`), so a restart loses nothing; the requests are last in rank.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from flexportd.clock import stamp
from flexportd.core.importer.importer import ImportSummary
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.flexport.errors import FlexportError, UnauthorisedError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

NAME = "shipment_details"

_BATCH_SIZE = 100  # shipments that are looked up together
_CONCURRENCY = 2  # requests under way: lists and people keep their places
_STALE_RETRY = timedelta(minutes=10)  # after a response older than what is stored
_MAX_REFUSED = 20  # shipments of one run before the first that comes
_FAILURE_RETRY = timedelta(hours=6)  # after one that cannot be read, or a 404: the full sync judges what is gone


class ShipmentDetailsJob:
    """The job `shipment_details`."""

    def __init__(self, reach: SyncDeps, chosen: Callable[[], Sequence[str]]) -> None:
        """`chosen` are the resources that are synced; none: all."""
        self._reach = reach
        self._chosen = chosen
        self._refusals: list[FlexportError] = []  # the last of a single shipment in this run, if there was any

    async def run(self, job: JobRun) -> str:
        """Fetch all that is due. Raises FlexportError when Flexport cannot be asked, and StoppedError."""
        domain, chosen = self._reach.registry["shipments"], self._chosen()
        if chosen and domain.name not in chosen:
            return "Shipments are not synced ([sync] resources)"
        latest = stamp(self._reach.clock.now() + _FAILURE_RETRY)
        await self._reach.db.write(lambda tx: tx.shipment_details.make_due(latest))
        fetched = failed = 0
        self._refusals.clear()
        while due := await self._due():
            left = list(reversed(due))
            results = await asyncio.gather(
                *(self._work(domain, left, job) for _ in range(_CONCURRENCY)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                fetched, failed = fetched + result[0], failed + result[1]
            if self._refusals and failed >= _MAX_REFUSED and not fetched:
                raise self._refusals[-1]  # it is not about the single shipment
        waiting = await self._reach.db.read(lambda tx: tx.shipment_details.count_pending())
        parts = [f"{fetched:,} fetched"] + ([f"{failed:,} failed"] if failed else [])
        return ", ".join([*parts, *([f"{waiting:,} to be fetched later"] if waiting else [])])

    async def _due(self) -> list[int]:
        now = self._reach.clock.stamp()
        return await self._reach.db.read(lambda tx: tx.shipment_details.due(now, _BATCH_SIZE))

    async def _work(self, domain: ResourceType, left: list[int], job: JobRun) -> tuple[int, int]:
        """Fetch one after the other until none is left; how many came and how many failed."""
        fetched = failed = 0
        while left:
            job.check_stop()
            if await self._fetch(domain, left.pop()):
                fetched += 1
            else:
                failed += 1
        return fetched, failed

    async def _fetch(self, domain: ResourceType, shipment: int) -> bool:
        reach = self._reach
        start, cause = await reach.intake.request_start(), ChangeCause(reach.clock.stamp(), "sync")
        try:
            found = await reach.client.get(LISTS[domain.object_name].path, str(shipment), "details")
        except UnauthorisedError:
            raise
        except FlexportError as error:
            # It must not stand before all others the next time.
            await reach.db.write(self._postpone(shipment, _FAILURE_RETRY if error.permanent else _STALE_RETRY))
            if not error.permanent:
                raise
            log.warning("shipment_fetch_failed", shipment_id=shipment, reason=str(error))
            self._refusals[:] = [error]
            return False
        answered = reach.intake.make_batch(domain, [found.text], (found.started_at, found.date), start)

        def note(tx: Transaction, taken: ImportSummary) -> None:
            # Of one that was taken in, nothing is pending any more.
            self._postpone(shipment, _FAILURE_RETRY if taken.failed else _STALE_RETRY)(tx)

        taken = await reach.intake.import_batch(answered, cause, note)
        return not taken.failed

    def _postpone(self, shipment: int, wait: timedelta) -> Callable[[Transaction], None]:
        until = stamp(self._reach.clock.now() + wait)
        return lambda tx: tx.shipment_details.postpone(shipment, until)
