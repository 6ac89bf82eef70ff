"""One object as it is or as it was, with what set each field; and lists as they were."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiDict, MultiMapping

from flexportd.core.exceptions.journey_rules import first_estimate
from flexportd.core.history.as_of import AsOfList, check_includes, object_as_of
from flexportd.core.history.provenance import FieldProvenance, field_provenance
from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError, NotFoundError
from flexportd.expose import serialize
from flexportd.expose.context import CONTEXT, AppContext
from flexportd.expose.openapi import query_params
from flexportd.expose.security import authorization
from flexportd.storage.repositories.resources import Key, instant
from flexportd.storage.transaction import Transaction

INCLUDES = ("raw", "why")
"""What may be asked beside the fields of one object."""

AsOfListFactory = Callable[[str, str], AsOfList]
"""(the time asked for, now) -> the list as it was."""


def pop_as_of(query: MultiMapping[str]) -> tuple[MultiMapping[str], str | None]:
    """The parameters without `as_of`, and the time that it names, as a stamp of ours. Raises InvalidError."""
    given = MultiDict(query)
    found = given.popall("as_of", [])
    if not found:
        return query, None
    if len(found) > 1:
        raise InvalidError("as_of is given more than once", "as_of")
    at: str = query_params.moment("as_of")("as_of", found[0][: query_params.MAX_VALUE])[1][0]
    return given, at


async def object_document(
    request: web.Request, domain: ResourceType, key: Key, names: Sequence[str], includes: Sequence[str] = INCLUDES
) -> dict[str, Any]:
    """The document that a request for one object asks for: `as_of`, `fields`, `include`.

    With `as_of` it bears `known_at`, that time, beside the marks of the state that was known then. Raises
    NotFoundError, InvalidError.
    """
    parts = request.app[CONTEXT]
    query, at = pop_as_of(request.query)
    fields, included = query_params.parse_selection(query, names, includes)
    authorization.check_includes(request, included)
    if at is None:
        return await parts.db.read(lambda tx: _current_document(request, tx, (domain, key), fields, included))
    check_includes(included)
    now = parts.clock.stamp()

    def then(tx: Transaction) -> dict[str, Any]:
        record = parts.reads.get(tx, domain, key)
        since = "" if record is None else authorization.visible_since(request, tx, domain, record).changed_at
        if at < since:
            named = key if isinstance(key, int) else repr(key[:50])
            raise NotFoundError(f"{domain.label} {named} was not known before {since}")
        row = object_as_of(tx, domain, key, at, now)
        document = serialize.serialize_resource(domain, row, date.fromisoformat(at[:10]))
        first = _first_arrival(request, tx, domain, row, at) if fields is None else {}
        return {**serialize.select_fields(document, fields), **first, "known_at": at}

    return await parts.db.read(then)


def _current_document(
    request: web.Request,
    tx: Transaction,
    named: tuple[ResourceType, Key],
    fields: Sequence[str] | None,
    included: Sequence[str],
) -> dict[str, Any]:
    parts, (domain, key) = request.app[CONTEXT], named
    record = parts.reads.get(tx, domain, key)
    if record is None:
        raise NotFoundError(f"there is no {domain.label} {key if isinstance(key, int) else repr(key[:50])}")
    row = serialize.record_row(record, *(("raw",) if "raw" in included else ()))
    document = serialize.serialize_resource(domain, row, parts.clock.now().date())
    document = serialize.select_fields(document, None if fields is None else (*fields, *included))
    if fields is None:
        document |= _first_arrival(request, tx, domain, {**record.fields, "id": record.id})
    if "why" in included:
        found = field_provenance(tx, domain, record, authorization.visible_since(request, tx, domain, record))
        document["why"] = (
            found
            if authorization.audience_of(request) is None
            else {name: _redacted_cause(one) for name, one in found.items()}
        )
    return document


def _redacted_cause(cause: FieldProvenance | None) -> FieldProvenance | None:
    """A cause for who sees some shipments only: the number of a run of the sync counts the runs for all."""
    return None if cause is None else msgspec.structs.replace(cause, run_id=None)


@asynccontextmanager
async def open_as_of(parts: AppContext, then: AsOfListFactory, at: str) -> AsyncIterator[AsOfList]:
    """A list as it was at `at`, which may be read page by page within."""
    found = then(at, parts.clock.stamp())
    try:
        yield found
    finally:
        await asyncio.to_thread(found.close)  # what is large lies on disk, and a read may be under way


def _first_arrival(
    request: web.Request, tx: Transaction, domain: ResourceType, row: Mapping[str, Any], until: str | None = None
) -> dict[str, Any]:
    """The arrival of a shipment as first estimated, from the history up to a time of ours.

    A key for some shipments, which sees only a part of the history, does not get it.
    """
    if domain is not shipments.RESOURCE_TYPE or authorization.audience_of(request) is not None:
        return {}
    first, days = first_estimate(tx.exceptions.date_changes(int(row["id"]), until), row)
    return {
        "first_estimated_arrival_at": instant(first) if first else None,
        "first_estimated_arrival_date": first[:10] if first else None,
        "arrival_slip_days": days,
    }
