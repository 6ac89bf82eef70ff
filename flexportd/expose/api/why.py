"""Why things are as they are: the chain of causes of one object or event, in words."""

from typing import Any

from aiohttp import web

from flexportd.core.domain import Domain
from flexportd.core.registry import Registry
from flexportd.core.why import MOST_STEPS, chain_of_event, chain_of_object
from flexportd.errors import NotFoundError
from flexportd.expose import parameters
from flexportd.expose.api.events import event
from flexportd.expose.api.filters import key_of
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond
from flexportd.storage.session import Session

_STEPS = 20


def add_routes(router: web.UrlDispatcher, prefix: str) -> None:
    """Serve the causes of events and of every resource."""
    router.add_get(f"{prefix}/why/events/{{id}}", show_event)
    router.add_get(f"{prefix}/why/{{route}}/{{id:[^/]+}}", show)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/why/{route}/{id}`: one step a cause, newest first. The route may be in the singular."""
    parts = request.app[PARTS]
    domain = _domain(parts.registry, request.match_info["route"])
    text = request.match_info["id"]
    key = key_of(domain, text)
    if key is None:
        raise NotFoundError(f"there is no {domain.one} {text[:50]!r}")
    given = parameters.once(request.query, ("limit", "cursor"))
    limit = parameters.integer("limit", given.get("limit", str(_STEPS)), 1, MOST_STEPS)
    before = parameters.integer("cursor", given["cursor"], 1, 2**63 - 1) if "cursor" in given else None

    def read(tx: Session) -> dict[str, Any]:
        steps, more = chain_of_object(tx, domain, key, limit, before)
        return {
            "data": steps,
            "next": None if more is None else str(more),
            "as_of": steps[0].as_of if steps else None,
            "history_from": tx.changes.reaches_back_to(),
        }

    return await respond(request, lambda: parts.db.read(read))


async def show_event(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/why/events/{id}`: how it came, what became of it, what it changed and what followed."""
    parts, event_id = request.app[PARTS], request.match_info["id"]
    parameters.once(request.query, ())

    def read(tx: Session) -> dict[str, Any]:
        row, steps = chain_of_event(tx, parts.registry, event_id)
        history_from = tx.changes.reaches_back_to()
        return {"event": event(row), "data": steps, "next": None, "as_of": None, "history_from": history_from}

    return await respond(request, lambda: parts.db.read(read))


def _domain(registry: Registry, name: str) -> Domain:
    wanted = name.lower()
    for domain in registry:
        if wanted in (domain.route, domain.one.replace(" ", "-")):
            return domain
    known = ", ".join(sorted(["events", *(domain.route for domain in registry)]))
    raise NotFoundError(f"there is nothing called {name[:50]!r}; known are {known}")
