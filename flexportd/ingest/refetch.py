"""Refetches objects: after an event, whose snapshot may be partial or old, and when a person asks.

event applied ─ item (waiting items of one object are merged) ─▶ GET ─ core.importer ─▶ tables
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import msgspec
import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import ConflictError, MalformedError
from flexportd.flexport.client import Client
from flexportd.flexport.errors import (
    FlexportError,
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    NotFoundAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
    UnauthorisedError,
)
from flexportd.flexport.lists import LISTS, Pagination
from flexportd.flexport.usage import Purpose
from flexportd.outcome import Applied, Dead, Ignored, Outcome, Retry, Snooze
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.items import Item, NewItem
from flexportd.storage.repositories.resources import Record
from flexportd.type_lock import decode_as

log = structlog.get_logger(__name__)

REFRESH = "refresh"  # the kind of item that fetches a resource

_DEBOUNCE = timedelta(seconds=3)  # in which further events of an object join the fetch
_PROPAGATION_TIME = timedelta(minutes=10)  # after an event, in which a 404 means that Flexport does not serve it yet
_NOT_FOUND_RETRY = 120.0  # seconds until such a fetch is retried
_UNAVAILABLE_RETRY = 30.0  # seconds until a retry while Flexport is unavailable
_MAX_PAGES = 200  # of one shipment's legs or containers, which may come ten a page
_MAX_MISSING = 20  # objects of one shipment that are fetched one by one; the full sync checks the others

RefetchResult = Literal["new", "changed", "unchanged", "removed"]


class RefetchRequest(msgspec.Struct, frozen=True):
    """What an item fetches: one object, or all objects of a resource that belong to a shipment."""

    resource: str
    id: Key | None = None
    shipment: int | None = None
    event_id: str | None = None
    since: str | None = None  # when its event was applied


def refetch_item(request: RefetchRequest, at: str, priority: int) -> NewItem:
    """An item for the queue; waiting items for the same request are merged."""
    target = request.id if request.shipment is None else f"shipment {request.shipment}"
    return NewItem(
        REFRESH,
        priority,
        lane=f"{request.resource}:{target}",
        merge_key=f"{request.resource}:{target}",
        payload=msgspec.json.encode(request).decode(),
        ready_at=stamp(parse(at) + _DEBOUNCE),
    )


class Refetcher:
    """Fetches objects and imports them."""

    def __init__(
        self, client: Client, intake: Importer, registry: Registry, clock: Clock, now: Callable[[], str]
    ) -> None:
        """`now` is the current time on Flexport's clock."""
        self._client = client
        self._now = now
        self._importer = intake
        self._registry = registry
        self._clock = clock

    async def handle(self, item: Item) -> Outcome:
        """The queue's handler of the kind `refresh`. Raises FlexportError."""
        try:
            request = decode_as(item.payload or "", RefetchRequest)
            domain = self._registry[request.resource]
        except (ValueError, KeyError) as error:
            return Dead(f"the item does not say what to fetch: {error}")
        try:
            if request.shipment is not None:
                return await self._refetch_of_shipment(domain, request.shipment)
            return await self._after_event(domain, request)
        except (UnauthorisedError, ForbiddenAtFlexportError) as error:
            # The status page and the sync report it; a dead letter for each event would hide everything else.
            return Ignored(f"{domain.route} cannot be fetched: {error}")
        except (FlexportUnavailableError, RateLimitedError, TokensExhaustedError) as error:
            # However long Flexport is unavailable, the fetch waits for it.
            return Snooze(max(error.response.retry_after or 0.0, _UNAVAILABLE_RETRY), str(error))
        except FlexportError as error:
            return Dead(str(error)) if error.permanent else Retry(str(error))

    async def _after_event(self, domain: ResourceType, request: RefetchRequest) -> Outcome:
        assert request.id is not None
        cause, asked_at = ChangeCause(self._clock.stamp(), "sync", request.event_id), self._now()
        try:
            await self._fetch(domain, request.id, "refresh", cause)
        except NotFoundAtFlexportError:
            record = await self._importer.load(domain, request.id)
            since = parse(request.since) if request.since else self._clock.now()
            if timedelta() <= self._clock.now() - since < _PROPAGATION_TIME and not self._is_old(record):
                return Snooze(_NOT_FOUND_RETRY, "Flexport does not return it yet")
            if await self._is_gone_from_list(domain, record):
                await self._importer.remove(domain, [request.id], asked_at, cause)
                return Applied()
            why = f"Flexport does not return {domain.label} {request.id}; the full sync checks whether it is gone"
            return Ignored(why)
        return Applied()

    def _is_old(self, record: Record | None) -> bool:
        """Whether Flexport recorded its last event long ago: then a 404 is not a delay at Flexport."""
        if record is None or not record.as_of or record.source not in ("webhook", "events"):
            return False
        return parse(self._now()) - parse(record.as_of) >= _PROPAGATION_TIME

    async def _is_gone_from_list(self, domain: ResourceType, record: Record | None) -> bool:
        """Whether the list of its shipment is not empty and lacks an object that Flexport does not return.

        This is how a leg ends that another route has replaced; no event reports it.
        """
        shipment = None if record is None else record.fields.get("shipment_id")
        if record is None or shipment is None or LISTS[domain.object_name].of_shipment is None:
            return False
        listed = await self._read_list(domain, shipment)
        return listed is not None and len(listed) > 0 and record.id not in listed

    async def _refetch_of_shipment(self, domain: ResourceType, shipment: int) -> Outcome:
        """Fetch all objects of a resource that belong to a shipment; those that the list lacks, one by one."""
        if LISTS[domain.object_name].of_shipment is None:
            return Dead(f"{domain.route} cannot be fetched by shipment")
        listed = await self._read_list(domain, shipment)
        if listed is None:
            return Dead(f"{domain.route} of shipment {shipment} have more than {_MAX_PAGES} pages")
        missing = [record for record in await self._importer.of_shipment(domain, shipment) if record.id not in listed]
        for record in missing[:_MAX_MISSING] if listed else ():
            cause, asked_at = ChangeCause(self._clock.stamp(), "sync"), self._now()
            try:
                await self._fetch(domain, record.id, "refresh", cause)
            except NotFoundAtFlexportError:
                if record.source == "sync" or self._is_old(record):
                    await self._importer.remove(domain, [record.id], asked_at, cause)
        return Applied()

    async def _read_list(self, domain: ResourceType, shipment: int) -> set[Key] | None:
        """Read and import the list of one shipment; the ids in it, None if it has too many pages."""
        facts, listed = LISTS[domain.object_name], set[Key]()
        assert facts.of_shipment is not None
        pagination = Pagination(facts.path)
        for number in range(1, _MAX_PAGES + 1):
            start = await self._importer.request_start()
            page = await self._client.page(facts.path, {facts.of_shipment: str(shipment)}, number, "refresh")
            times = (page.started_at, page.date)
            cause = ChangeCause(self._clock.stamp(), "sync")
            comparison = await self._importer.compare(domain, page.rows, times, start, is_list=True)
            await self._importer.apply([comparison], cause)
            pagination.add(comparison.identities)
            listed.update(comparison.identities)
            if not page.has_next or not pagination.has_more(page.total_count):
                return listed
        return None

    async def refresh(self, domain: ResourceType, key: Key) -> RefetchResult:
        """Fetch one object at once for a person; a 404 removes it.

        Raises FlexportError, MalformedError, ConflictError.
        """
        if not LISTS[domain.object_name].has_detail:
            raise ConflictError(f"{domain.route} cannot be fetched individually; the full sync reads them all")
        cause, asked_at = ChangeCause(self._clock.stamp(), "sync"), self._now()
        try:
            return await self._fetch(domain, key, "interactive", cause)
        except NotFoundAtFlexportError:
            if await self._importer.event_since(domain, key, stamp(self._clock.now() - _PROPAGATION_TIME)):
                why = f"Flexport does not return {domain.label} {key} yet, although an event reported it; retry later"
                raise ConflictError(why) from None
            if await self._importer.remove(domain, [key], asked_at, cause):
                return "removed"
            raise

    async def _fetch(self, domain: ResourceType, key: Key, purpose: Purpose, cause: ChangeCause) -> RefetchResult:
        start = await self._importer.request_start()
        response = await self._client.get(LISTS[domain.object_name].path, str(key), purpose)
        times = (response.started_at, response.date)
        comparison = await self._importer.compare(domain, [response.text], times, start)
        (result,) = await self._importer.apply([comparison], cause)
        if comparison.failures:
            failure = comparison.failures[0]
            raise MalformedError(f"Flexport's {domain.label} {key} cannot be read: {failure.error}")
        return "new" if result.new else "changed" if result.changed else "unchanged"


def shipment_refetch(domain_names: tuple[str, ...], shipment: int, at: str, priority: int) -> list[NewItem]:
    """Items that fetch objects of these resources that belong to a shipment."""
    return [refetch_item(RefetchRequest(name, shipment=shipment, since=at), at, priority) for name in domain_names]
