"""What somebody sees whose key is for some shipments only: those, and what belongs to one of them.

That is a client's customer: so never the freight invoices, which are the client's costs, and nothing that belongs to no
shipment. What lies outside is as if it did not exist.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from flexportd.core.domain import Domain
from flexportd.errors import ForbiddenError, NotFoundError
from flexportd.expose.carried import VIEWER
from flexportd.expose.parts import PARTS
from flexportd.storage.audiences import Audience
from flexportd.storage.resources import Key, Record, Table
from flexportd.storage.session import Session

_HIDDEN = frozenset({"invoices"})


def of(request: web.Request) -> Audience | None:
    """Whose shipments the asker may see; None: everything."""
    viewer = request.get(VIEWER)
    return None if viewer is None else viewer.audience


def is_seen(table: Table) -> bool:
    """Whether any of a resource is seen by somebody who sees some shipments only."""
    return table.name not in _HIDDEN and table.owner is not None


def shipment_of(domain: Domain, record: Record) -> int | None:
    """The shipment that an object is or belongs to."""
    found = record.id if domain.table.owner == "id" else record.fields.get(domain.table.owner or "")
    return None if found is None else int(found)


def visible(request: web.Request, tx: Session, domain: Domain, record: Record) -> bool:
    """Whether the asker may see this object."""
    audience = of(request)
    if audience is None:
        return True
    shipment = shipment_of(domain, record) if is_seen(domain.table) else None
    return shipment is not None and bool(tx.audiences.visible(audience, (shipment,)))


async def check(request: web.Request, domain: Domain, key: Key) -> None:
    """Raises ForbiddenError where nothing of a resource is for the asker, NotFoundError for this object alone."""
    if of(request) is None:
        return
    if not is_seen(domain.table):
        raise _forbidden(domain.name)
    parts = request.app[PARTS]

    def work(tx: Session) -> bool:
        record = parts.mirror.one(tx, domain, key)
        return record is None or visible(request, tx, domain, record)

    if not await parts.db.read(work):
        raise NotFoundError(f"there is no {domain.one} {key if isinstance(key, int) else repr(key[:50])}")


def filters(request: web.Request, table: Table) -> Mapping[str, Sequence[Any]]:
    """What a list of this table must be asked besides. Raises ForbiddenError."""
    audience = of(request)
    if audience is None:
        return {}
    if not is_seen(table):
        raise _forbidden(table.name)
    if "as_of" in request.query:
        raise ForbiddenError("as_of is not for lists of some shipments only: whose they were is not told.")
    return {"audience": audience.parameters}


async def refused(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """For lists that belong to no shipment. Raises ForbiddenError."""
    if of(request) is not None:
        raise ForbiddenError("This list is not of single shipments, and this key is for some shipments only.")
    return {}


async def of_history(request: web.Request, always: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """For the history of one object, which `always` names under `resource`. Raises ForbiddenError, NotFoundError."""
    if of(request) is not None:
        name, text = always["resource"]
        domain = request.app[PARTS].registry[name]
        await check(request, domain, domain.key_of(text) or text)
    return {}


def _forbidden(name: str) -> ForbiddenError:
    what = name.replace("_", " ").capitalize()
    why = "are what the freight costs" if name in _HIDDEN else "belong to no single shipment"
    return ForbiddenError(f"{what} {why}, and this key is for some shipments only.")
