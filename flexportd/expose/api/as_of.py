"""One object, now or as of an earlier time, with the cause of each field; and lists as of an earlier time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.exceptions.journey_rules import first_estimate
from flexportd.core.history.as_of import AsOfList, check_includes, object_as_of
from flexportd.core.history.provenance import FieldProvenance, field_provenance
from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import NotFoundError, not_found
from flexportd.expose import serialize
from flexportd.expose.context import CLOCK, DB, READS
from flexportd.expose.openapi.router import param
from flexportd.expose.security import authorization
from flexportd.storage.queries.table import Key, instant
from flexportd.storage.transaction import Transaction

INCLUDES = ("raw", "why")
"""The values of `include` for one object."""

AsOfListFactory = Callable[[str, str], AsOfList]
"""(as_of, now) -> the list at that time."""


async def object_document(request: web.Request, domain: ResourceType, key: Key) -> dict[str, Any]:
    """The document of one object, by the parameters `as_of`, `fields` and `include`.

    With `as_of` it has that time as `known_at`, and the state that was known then. Raises NotFoundError, InvalidError.
    """
    db = request.app[DB]
    at, fields, included = param(request, "as_of"), param(request, "fields"), param(request, "include", ())
    authorization.check_includes(request, included)
    if at is None:
        return await db.read(lambda tx: _current_document(request, tx, (domain, key), fields, included))
    check_includes(included)
    now = request.app[CLOCK].stamp()

    def past(tx: Transaction) -> dict[str, Any]:
        record = request.app[READS].get(tx, domain, key)
        since = "" if record is None else authorization.visible_since(request, tx, domain, record).changed_at
        if at < since:
            named = key if isinstance(key, int) else repr(key[:50])
            raise NotFoundError(f"{domain.label} {named} was not known before {since}")
        row = object_as_of(tx, domain, key, at, now)
        document = serialize.serialize_resource(domain, row, date.fromisoformat(at[:10]))
        first = _first_arrival(request, tx, domain, row, at) if fields is None else {}
        return {**serialize.select_fields(document, fields), **first, "known_at": at}

    return await db.read(past)


def _current_document(
    request: web.Request,
    tx: Transaction,
    named: tuple[ResourceType, Key],
    fields: Sequence[str] | None,
    included: Sequence[str],
) -> dict[str, Any]:
    domain, key = named
    record = request.app[READS].get(tx, domain, key)
    if record is None:
        raise not_found(domain.label, key)
    row = serialize.record_row(record, *(("raw",) if "raw" in included else ()))
    document = serialize.serialize_resource(domain, row, request.app[CLOCK].now().date())
    document = serialize.select_fields(document, None if fields is None else (*fields, *included))
    if fields is None:
        document |= _first_arrival(request, tx, domain, {**record.fields, "id": record.id})
    if "why" in included:
        causes = field_provenance(tx, domain, record, authorization.visible_since(request, tx, domain, record))
        if authorization.audience_of(request) is not None:
            causes = {name: _redacted_cause(cause) for name, cause in causes.items()}
        document["why"] = causes
    return document


def _redacted_cause(cause: FieldProvenance | None) -> FieldProvenance | None:
    """A cause for a key that is limited to some shipments: numbers of sync runs count the runs for all."""
    return None if cause is None else msgspec.structs.replace(cause, run_id=None)


@asynccontextmanager
async def open_as_of(app: web.Application, create: AsOfListFactory, at: str) -> AsyncIterator[AsOfList]:
    """A list as it was at `at`; it can be read page by page inside the context."""
    past = create(at, app[CLOCK].stamp())
    try:
        yield past
    finally:
        await asyncio.to_thread(past.close)  # it may be on disk, and a read may be in progress


def _first_arrival(
    request: web.Request, tx: Transaction, domain: ResourceType, row: Mapping[str, Any], until: str | None = None
) -> dict[str, Any]:
    """The first estimated arrival of a shipment, from the history up to a time on our clock.

    A key that is limited to some shipments does not get it, as it sees only a part of the history.
    """
    if domain is not shipments.RESOURCE_TYPE or authorization.audience_of(request) is not None:
        return {}
    first, days = first_estimate(tx.exceptions.date_changes(int(row["id"]), until), row)
    return {
        "first_estimated_arrival_at": instant(first) if first else None,
        "first_estimated_arrival_date": first[:10] if first else None,
        "arrival_slip_days": days,
    }
