"""Why things are as they are: the chain of causes of one object or event, in words."""

from typing import Annotated, TypedDict, cast

from aiohttp import web
from msgspec import Meta

from flexportd.core.history.provenance import MOST_STEPS, TraceStep, chain_of_event, chain_of_object
from flexportd.core.json_types import Stamp
from flexportd.core.resources.registry import DOMAINS, Registry
from flexportd.core.resources.resource_type import Domain
from flexportd.errors import NotFoundError
from flexportd.escape import nearest
from flexportd.expose import cursors
from flexportd.expose.api.events import Event, event
from flexportd.expose.api.resource_filters import key_of
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.cursors import Cursor
from flexportd.expose.openapi.parameters import CURSOR, identifier, integer
from flexportd.expose.openapi.route import Parameter, Route
from flexportd.expose.openapi.router import given, refer
from flexportd.expose.openapi.schemas import json_of
from flexportd.storage.database import Database
from flexportd.storage.transaction import Session

_STEPS = 20
_PATH = "/api/v1/why/{route}/{id}"
_ORDER = "id"  # of the history

_FROM = "Start of the available history; null: complete."


class ObjectTrace(TypedDict):
    """What changed an object, newest first: one step per cause."""

    data: list[TraceStep]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null on the last.")]
    as_of: Annotated[Stamp | None, Meta(description="The newest state described, on Flexport's clock.")]
    history_from: Annotated[Stamp | None, Meta(description=_FROM)]


class EventTrace(TypedDict):
    """Processing of an event, in chronological order."""

    event: Event
    data: list[TraceStep]
    next: None
    as_of: None
    history_from: Annotated[Stamp | None, Meta(description=_FROM)]


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/why/{route}/{id}`: one step a cause, newest first. The route may be in the singular."""
    domain = _domain(request.app[PARTS].registry, request.match_info["route"])
    try:
        return await _causes(request, domain)
    except NotFoundError:
        if not await refer(request, "id", domain):
            raise
    return await _causes(request, domain)


async def _causes(request: web.Request, domain: Domain) -> web.StreamResponse:
    parts, text = request.app[PARTS], request.match_info["id"]
    key = key_of(domain, text)
    if key is None:
        raise NotFoundError(f"there is no {domain.one} {text[:50]!r}")
    bound = cursors.binding(_PATH, {"route": (domain.route,), "id": (key,)})
    limit, before = given(request, "limit", _STEPS), await _before(parts.db, given(request, "cursor"), bound)

    def read(tx: Session) -> ObjectTrace:
        steps, more = chain_of_object(tx, domain, key, limit, before)
        return {
            "data": steps,
            "next": None if more is None else cursors.write(tx, Cursor(_ORDER, True, None, more, None, bound)),
            "as_of": steps[0].as_of if steps else None,
            "history_from": tx.changes.reaches_back_to(),
        }

    return await respond(request, lambda: parts.db.read(read))


async def _before(db: Database, text: str | None, bound: str) -> int | None:
    """The change before which this page begins. Raises InvalidError."""
    if text is None:
        return None
    cursor = cursors.read(text, _ORDER, descending=True, text_keys=False)
    cursors.check(cursor, bound)
    await cursors.check_origin(db, cursor)
    return int(cursor.key)


async def show_event(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/why/events/{id}`: how it came, what became of it, what it changed and what followed."""
    parts, event_id = request.app[PARTS], request.match_info["id"]

    def read(tx: Session) -> EventTrace:
        row, steps = chain_of_event(tx, parts.registry, event_id)
        history_from = tx.changes.reaches_back_to()
        return {
            "event": cast(Event, event(row)),
            "data": steps,
            "next": None,
            "as_of": None,
            "history_from": history_from,
        }

    return await respond(request, lambda: parts.db.read(read))


def _domain(registry: Registry, name: str) -> Domain:
    wanted = name.lower()
    for domain in registry:
        if wanted in (domain.route, domain.one.replace(" ", "-")):
            return domain
    known = sorted(["events", *(domain.route for domain in registry)])
    near = nearest(name, known)
    guess = "allowed" if near is None else f"did you mean {near}? Allowed"
    raise NotFoundError(f"there is no resource {name[:50]!r}; {guess} are {', '.join(known)}")


_NAMES = sorted({name for domain in DOMAINS for name in (domain.route, domain.one.replace(" ", "-"))})

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/why/events/{id}",
        handler=show_event,
        name="explain_event",
        tag="provenance",
        summary="Explain an event: processing, changes and consequences",
        path_parameters=(identifier("Flexport's id of the event.", example="evt_1"),),
        returns=(json_of(EventTrace, "The steps, in chronological order."),),
    ),
    Route(
        method="GET",
        path=_PATH,
        handler=show,
        name="explain_object",
        tag="provenance",
        summary="Explain the changes of an object",
        path_parameters=(
            Parameter(
                name="route",
                about="The resource, as in its path or its singular.",
                schema={"type": "string", "enum": _NAMES},
                where="path",
                required=True,
                example="shipments",
            ),
            identifier("Flexport's id of the object.", example="910233"),
        ),
        query=(
            integer("limit", 1, MOST_STEPS, "Steps per page.", _STEPS),
            CURSOR,
        ),
        returns=(json_of(ObjectTrace, "A page of steps, newest first."),),
    ),
)
