"""What an audience key may see, one limited to some shipments: these, and the objects that belong to them.

Its holder is a customer of the Flexport client. So it never sees freight invoices, which are the client's costs,
documents that show the client's prices (`documents.FOR_CUSTOMERS`), Flexport's own JSON, which may contain anything, or
objects that belong to no shipment. Everything else is as if it did not exist: the responses are the same.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web

from flexportd.core.access.audiences import is_for_customers, visible_from
from flexportd.core.resources import documents
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import ForbiddenError, NotFoundError
from flexportd.expose.context import DB, READS, REGISTRY
from flexportd.expose.request_keys import PRINCIPAL
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.audiences import FROM_BEGINNING, Audience, MembershipStart
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_HIDDEN_RESOURCES = frozenset({"invoices"})


def audience_of(request: web.Request) -> Audience | None:
    """The audience of the caller's key; None for full access."""
    principal = request.get(PRINCIPAL)
    return None if principal is None else principal.audience


def is_visible_to_audience(table: Table) -> bool:
    """Whether audience keys may see any object of a resource."""
    return table.name not in _HIDDEN_RESOURCES and table.owner is not None


def shipment_of(domain: ResourceType, record: Record) -> int | None:
    """The shipment that an object is or belongs to."""
    owner = record.id if domain.table.owner == "id" else record.fields.get(domain.table.owner or "")
    return None if owner is None else int(owner)


def is_visible(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> bool:
    """Whether the caller may see this object."""
    audience = audience_of(request)
    if audience is None:
        return True
    shipment = shipment_of(domain, record) if is_visible_to_audience(domain.table) else None
    if shipment is None or not tx.audiences.visible(audience, (shipment,)):
        return False
    return domain is not documents.RESOURCE_TYPE or documents.is_for_customers(record.fields)


def visible_since(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> MembershipStart:
    """The change with which a visible object entered the caller's audience; earlier ones are hidden."""
    audience, shipment = audience_of(request), shipment_of(domain, record)
    if audience is None or shipment is None:
        return FROM_BEGINNING
    key = (domain.name, str(record.id), shipment)
    return visible_from(tx, audience, (key,))[key]


def history_filters(
    request: web.Request, tx: Transaction, domain: ResourceType, record: Record
) -> Mapping[str, Sequence[Any]]:
    """The filters of the history of a visible object: for an audience key, from `visible_since`."""
    return (
        {} if audience_of(request) is None else {"since_start": visible_since(request, tx, domain, record).parameters}
    )


def visible_events(request: web.Request, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The events of a visible shipment that the caller may see."""
    return [row for row in rows if audience_of(request) is None or is_for_customers(row["type"])]


async def check_access(request: web.Request, domain: ResourceType, key: Key) -> None:
    """Raises ForbiddenError if the caller may see nothing of a resource, NotFoundError if not this object.

    For an audience key, an object that does not exist is refused here as well, before anything else is checked, so that
    the response is the same as for an object of another audience.
    """
    audience = audience_of(request)
    if audience is None:
        return
    if not is_visible_to_audience(domain.table):
        raise _forbidden(domain.name)

    def work(tx: Transaction) -> bool:
        if domain.table.owner == "id" and not tx.audiences.visible(audience, (int(key),)):
            return False  # without reading the shipment: the response time must not show that it exists
        record = request.app[READS].get(tx, domain, key)
        return record is not None and is_visible(request, tx, domain, record)

    if not await request.app[DB].read(work):
        raise NotFoundError(f"there is no {domain.label} {key if isinstance(key, int) else repr(key[:50])}")


def check_includes(request: web.Request, includes: Collection[str]) -> None:
    """Raises ForbiddenError for Flexport's own JSON, which may contain the client's freight costs."""
    if "raw" in includes and audience_of(request) is not None:
        raise ForbiddenError("include=raw is not available to a key that is limited to some shipments.")


def list_filters(request: web.Request, table: Table) -> Mapping[str, Sequence[Any]]:
    """The filters that limit a list to the caller's audience. Raises ForbiddenError."""
    audience = audience_of(request)
    if audience is None:
        return {}
    if not is_visible_to_audience(table):
        raise _forbidden(table.name)
    if "as_of" in request.query:
        raise ForbiddenError("as_of is not available for lists with a key limited to some shipments.")
    return {"audience": audience.parameters, **({"for_customers": ()} if table.name == documents.TABLE.name else {})}


async def deny_list(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """For lists that belong to no shipment. Raises ForbiddenError."""
    if audience_of(request) is not None:
        raise ForbiddenError("This key can only open its own shipments.")
    return {}


async def authorize_history(request: web.Request, always: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The filters for the history of one object, which `always` names under `resource`.

    Raises ForbiddenError, NotFoundError.
    """
    if audience_of(request) is None:
        return {}
    name, text = always["resource"]
    domain = request.app[REGISTRY][name]
    key = domain.parse_id(text) or text
    await check_access(request, domain, key)

    def read(tx: Transaction) -> Mapping[str, Sequence[Any]]:
        record = request.app[READS].get(tx, domain, key)
        return {} if record is None else history_filters(request, tx, domain, record)

    return await request.app[DB].read(read)


def _forbidden(name: str) -> ForbiddenError:
    what = name.replace("_", " ").capitalize()
    why = "are freight costs" if name in _HIDDEN_RESOURCES else "do not belong to a single shipment"
    return ForbiddenError(f"{what} {why}; this key is limited to some shipments and cannot read them.")
