"""Provenance: what changed an object, and what an event changed."""

from typing import Annotated, TypedDict, cast

from aiohttp import web

from flexportd.core.history.provenance import MAX_STEPS, TraceStep, trace_event, trace_object
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.registry import RESOURCE_TYPES, Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import NotFoundError, not_found
from flexportd.escape import closest_match
from flexportd.expose.api.events import Event, event
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, REGISTRY
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import CURSOR, identifier, integer, parse_object_id
from flexportd.expose.openapi.query_params import Cursor
from flexportd.expose.openapi.route import API, Parameter
from flexportd.expose.openapi.router import param, route, with_reference
from flexportd.storage.transaction import Transaction

_STEPS = 20
_PATH = "/why/{route}/{id}"
_ORDER = "id"  # of the history

_HISTORY_FROM = "Start of the available history; null: complete."


class ObjectTrace(TypedDict):
    """What changed an object, newest first: one step per cause."""

    data: list[TraceStep]
    next: Annotated[str | None, doc("The cursor of the next page; null on the last.")]
    as_of: Annotated[Stamp | None, doc("The newest state described, on Flexport's clock.")]
    history_from: Annotated[Stamp | None, doc(_HISTORY_FROM)]


class EventTrace(TypedDict):
    """Processing of an event, in chronological order."""

    event: Event
    data: list[TraceStep]
    next: None
    as_of: None
    history_from: Annotated[Stamp | None, doc(_HISTORY_FROM)]


_NAMES = sorted({name for domain in RESOURCE_TYPES for name in (domain.route, domain.label.replace(" ", "-"))})


@route(
    "GET",
    _PATH,
    tag="provenance",
    returns=ObjectTrace,
    path_parameters=(
        Parameter(
            name="route",
            description="The resource, as in its path or its singular.",
            schema={"type": "string", "enum": _NAMES},
            where="path",
            required=True,
            example="shipments",
        ),
        identifier("Flexport's id of the object.", example="910233"),
    ),
    query=(integer("limit", 1, MAX_STEPS, "Steps per page.", _STEPS), CURSOR),
)
async def explain_object(request: web.Request) -> web.StreamResponse:
    """Explain the changes of an object."""
    domain = _domain(request.app[REGISTRY], request.match_info["route"])
    return await with_reference(request, lambda request: _causes(request, domain), "id", domain)


async def _causes(request: web.Request, domain: ResourceType) -> web.StreamResponse:
    db, text = request.app[DB], request.match_info["id"]
    key = parse_object_id(domain, text)
    if key is None:
        raise not_found(domain.label, text)
    bound = query_params.cursor_binding(API + _PATH, {"route": (domain.route,), "id": (key,)})
    limit, after, before = param(request, "limit", _STEPS), param(request, "cursor"), None
    if after is not None:
        cursor = query_params.decode_cursor(after, _ORDER, descending=True, text_keys=False)
        query_params.check_binding(cursor, bound)
        await query_params.check_origin(db, cursor)
        before = int(cursor.key)

    def read(tx: Transaction) -> ObjectTrace:
        steps, more = trace_object(tx, domain, key, limit, before)
        return {
            "data": steps,
            "next": None
            if more is None
            else query_params.encode_cursor(tx, Cursor(_ORDER, True, None, more, None, bound)),
            "as_of": steps[0].as_of if steps else None,
            "history_from": tx.changes.history_start(),
        }

    return await respond(request, lambda: db.read(read))


@route(
    "GET",
    "/why/events/{id}",
    tag="provenance",
    returns=EventTrace,
    path_parameters=(identifier("Flexport's id of the event.", example="evt_1"),),
)
async def explain_event(request: web.Request) -> web.StreamResponse:
    """Explain an event: processing, changes and consequences."""
    event_id = request.match_info["id"]

    def read(tx: Transaction) -> EventTrace:
        row, steps = trace_event(tx, request.app[REGISTRY], event_id)
        history_from = tx.changes.history_start()
        return {
            "event": cast(Event, event(row)),
            "data": steps,
            "next": None,
            "as_of": None,
            "history_from": history_from,
        }

    return await respond(request, lambda: request.app[DB].read(read))


def _domain(registry: Registry, name: str) -> ResourceType:
    lowered = name.lower()
    for domain in registry:
        if lowered in (domain.route, domain.label.replace(" ", "-")):
            return domain
    known = sorted(["events", *(domain.route for domain in registry)])
    near = closest_match(name, known)
    guess = "allowed" if near is None else f"did you mean {near}? Allowed"
    raise NotFoundError(f"there is no resource {name[:50]!r}; {guess} are {', '.join(known)}")
