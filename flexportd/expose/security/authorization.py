"""What somebody sees whose key is for some shipments only: those, and what belongs to one of them.

That is a client's customer: so never the freight invoices, which are the client's costs, no papers that show the
client's prices (`documents.FOR_CUSTOMERS`), not Flexport's own JSON, which may hold anything, and nothing that belongs
to no shipment. What lies outside is as if it did not exist: the answers are the same.
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
from flexportd.storage.repositories.audiences import FROM_BEGINNING, Audience, MembershipStart
from flexportd.storage.repositories.resources import Key, Record, Table
from flexportd.storage.transaction import Transaction

_HIDDEN_RESOURCES = frozenset({"invoices"})


def audience_of(request: web.Request) -> Audience | None:
    """Whose shipments the asker may see; None: everything."""
    viewer = request.get(PRINCIPAL)
    return None if viewer is None else viewer.audience


def is_visible_to_audience(table: Table) -> bool:
    """Whether any of a resource is seen by somebody who sees some shipments only."""
    return table.name not in _HIDDEN_RESOURCES and table.owner is not None


def shipment_of(domain: ResourceType, record: Record) -> int | None:
    """The shipment that an object is or belongs to."""
    found = record.id if domain.table.owner == "id" else record.fields.get(domain.table.owner or "")
    return None if found is None else int(found)


def is_visible(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> bool:
    """Whether the asker may see this object."""
    audience = audience_of(request)
    if audience is None:
        return True
    shipment = shipment_of(domain, record) if is_visible_to_audience(domain.table) else None
    if shipment is None or not tx.audiences.visible(audience, (shipment,)):
        return False
    return domain is not documents.RESOURCE_TYPE or documents.is_for_customers(record.fields)


def visible_since(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> MembershipStart:
    """With which change a visible object came to belong to the asker; what was before is not shown."""
    audience, shipment = audience_of(request), shipment_of(domain, record)
    if audience is None or shipment is None:
        return FROM_BEGINNING
    named = (domain.name, str(record.id), shipment)
    return visible_from(tx, audience, (named,))[named]


def history_filters(
    request: web.Request, tx: Transaction, domain: ResourceType, record: Record
) -> Mapping[str, Sequence[Any]]:
    """The filters of the history of a visible object: for a key for some shipments, since the object is theirs."""
    return (
        {} if audience_of(request) is None else {"since_start": visible_since(request, tx, domain, record).parameters}
    )


def visible_events(request: web.Request, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of a visible shipment's events that the caller may know of."""
    return [row for row in rows if audience_of(request) is None or is_for_customers(row["type"])]


async def check_access(request: web.Request, domain: ResourceType, key: Key) -> None:
    """Raises ForbiddenError where nothing of a resource is for the asker, NotFoundError for this object alone.

    For a caller who sees some shipments only, an object that does not exist is refused here as well, before anything
    else is checked: the answer is that for another's object.
    """
    audience = audience_of(request)
    if audience is None:
        return
    if not is_visible_to_audience(domain.table):
        raise _forbidden(domain.name)

    def work(tx: Transaction) -> bool:
        if domain.table.owner == "id" and not tx.audiences.visible(audience, (int(key),)):
            return False  # without a look at the shipment: the time of the answer does not show that it exists
        record = request.app[READS].get(tx, domain, key)
        return record is not None and is_visible(request, tx, domain, record)

    if not await request.app[DB].read(work):
        raise NotFoundError(f"there is no {domain.label} {key if isinstance(key, int) else repr(key[:50])}")


def check_includes(request: web.Request, includes: Collection[str]) -> None:
    """Raises ForbiddenError for Flexport's own JSON: it may hold what the freight costs the client."""
    if "raw" in includes and audience_of(request) is not None:
        raise ForbiddenError("include=raw is not available to a key that is limited to some shipments.")


def list_filters(request: web.Request, table: Table) -> Mapping[str, Sequence[Any]]:
    """What a list of this table must be asked besides. Raises ForbiddenError."""
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
    """For the history of one object, which `always` names under `resource`, since it belongs to the asker.

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
