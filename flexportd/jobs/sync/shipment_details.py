"""Fetching shipments one by one, since their own responses hold more than list entries: once, and when they change.

What is due is stored (`core.importer.list_entries`), so a restart loses nothing; the requests have lowest priority.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from flexportd.clock import stamp
from flexportd.core.importer.batch_import import ImportResult
from flexportd.core.resources.resource_type import ResourceType
from flexportd.flexport.errors import FlexportError, UnauthorisedError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.run import SyncDeps
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

NAME = "shipment_details"

_BATCH_SIZE = 100  # shipments that are looked up together
_CONCURRENCY = 2  # concurrent requests: lists and people come first
_STALE_RETRY = timedelta(minutes=10)  # after a response older than what is stored
_MAX_REFUSED = 20  # shipments that fail in one run before the first one succeeds
_FAILURE_RETRY = timedelta(hours=6)  # after one that cannot be read, or a 404: the full sync judges what is gone


class ShipmentDetailsJob:
    """The job `shipment_details`."""

    def __init__(self, deps: SyncDeps) -> None:
        self._deps = deps
        self._refusals: list[FlexportError] = []  # the last one of this run, if any

    async def run(self, job: JobRun) -> str:
        """Fetch all that is due. Raises FlexportError when Flexport is not available, and StoppedError."""
        domain = self._deps.registry["shipments"]
        if not self._deps.options.includes(domain):
            return "Shipments are not synced ([sync] resources)"
        latest = stamp(self._deps.clock.now() + _FAILURE_RETRY)
        await self._deps.db.write(lambda tx: tx.shipment_details.make_due(latest))
        fetched = failed = 0
        self._refusals.clear()
        while due := await self._deps.db.read(
            lambda tx: tx.shipment_details.due(self._deps.clock.stamp(), _BATCH_SIZE)
        ):
            left = list(reversed(due))
            results = await asyncio.gather(
                *(self._work(domain, left, job) for _ in range(_CONCURRENCY)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                fetched, failed = fetched + result[0], failed + result[1]
            if self._refusals and failed >= _MAX_REFUSED and not fetched:
                raise self._refusals[-1]  # the reason is not the single shipment
        waiting = await self._deps.db.read(lambda tx: tx.shipment_details.count_pending())
        parts = [f"{fetched:,} fetched"] + ([f"{failed:,} failed"] if failed else [])
        return ", ".join([*parts, *([f"{waiting:,} to be fetched later"] if waiting else [])])

    async def _work(self, domain: ResourceType, left: list[int], job: JobRun) -> tuple[int, int]:
        """Fetch one after the other until none is left; returns how many were fetched and how many failed."""
        outcomes: list[bool] = []
        while left:
            job.check_stop()
            outcomes.append(await self._fetch(domain, left.pop()))
        return outcomes.count(True), outcomes.count(False)

    async def _fetch(self, domain: ResourceType, shipment: int) -> bool:
        deps = self._deps
        start, cause = await deps.importer.request_start(), deps.cause()
        try:
            found = await deps.client.get(LISTS[domain.object_name].path, str(shipment), "details")
        except UnauthorisedError:
            raise
        except FlexportError as error:
            # It must not come first again next time.
            await deps.db.write(self._postpone(shipment, _FAILURE_RETRY if error.permanent else _STALE_RETRY))
            if not error.permanent:
                raise
            log.warning("shipment_fetch_failed", shipment_id=shipment, reason=str(error))
            self._refusals[:] = [error]
            return False
        comparison = await deps.importer.compare(domain, [found.text], (found.started_at, found.date), start)

        def postpone(tx: Transaction, _: int, result: ImportResult) -> None:
            # After a complete import nothing is pending any more.
            self._postpone(shipment, _FAILURE_RETRY if result.failed else _STALE_RETRY)(tx)

        (result,) = await deps.importer.apply([comparison], cause, postpone)
        return not result.failed

    def _postpone(self, shipment: int, wait: timedelta) -> Callable[[Transaction], None]:
        until = stamp(self._deps.clock.now() + wait)
        return lambda tx: tx.shipment_details.postpone(shipment, until)
