"""Items of the sync that need review: missing objects, and objects that could not be parsed."""

from dataclasses import replace
from typing import Annotated, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.sync import resource_by_name
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, UPSTREAM, require_flexport
from flexportd.expose.openapi.declaration import list_route, route
from flexportd.expose.openapi.parameters import choice
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.router import json_body, param
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.storage.repositories.quarantine import LISTING

_MAX_PENDING = 1000
_RESOURCES = tuple(domain.route for domain in RESOURCE_TYPES)


class PendingRemoval(TypedDict):
    """An object missing from Flexport's list. It needs review because many objects are missing at once."""

    resource: str
    id: str


class UnreadableObject(TypedDict):
    """An object from Flexport that could not be parsed. It is stored unchanged."""

    id: int
    resource: str
    resource_id: Annotated[str, doc("Its id, or a name derived from its content.")]
    error: str
    first_seen_at: Stamp
    last_seen_at: Stamp
    count: int


class AcceptRemovalsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The resource whose missing objects are to be marked as removed."""

    resource: Annotated[
        str, Meta(description="Name of the resource, as in its path.", extra_json_schema={"enum": list(_RESOURCES)})
    ]


class AcceptedRemovals(TypedDict):
    """Number of objects marked as removed."""

    resource: str
    removed: int


UNREADABLE = ListEndpoint(
    rules=ListRules(
        sorts={"first_seen_at": "id"},
        filters={
            "resource": replace(LISTING.filters["resource"], choices=tuple(domain.name for domain in RESOURCE_TYPES))
        },
        fields=tuple(UnreadableObject.__annotations__),
    ),
    read=lambda tx, page: tx.unreadable.page(page),
    document=dict,
    as_of=lambda tx: tx.events.newest()[0],
)


@list_route("/sync/unreadable", UNREADABLE.rules, UnreadableObject, "newest first")
async def list_unreadable_objects(request: web.Request) -> web.StreamResponse:
    """List objects from Flexport that could not be parsed."""
    return await UNREADABLE.respond(request)


@route(
    "GET",
    "/sync/pending-removals",
    description=f"Returns the first {_MAX_PENDING}; `GET /api/v1/sync` returns the total.",
    returns=json_response(list_schema(PendingRemoval), "The objects to review."),
    query=(choice("resource", _RESOURCES, "The resource to list.", required=True),),
)
async def list_pending_removals(request: web.Request) -> web.StreamResponse:
    """List objects missing from Flexport's list that need review."""
    domain = resource_by_name(request.app, param(request, "resource"))

    async def build() -> dict[str, object]:
        keys = await request.app[DB].read(lambda tx: tx.sync.held_keys(domain.name, _MAX_PENDING))
        data: list[PendingRemoval] = [{"resource": domain.route, "id": str(key)} for key in keys]
        return {"data": data, "next": None, "as_of": None}

    return await respond(request, build)


@route(
    "POST",
    "/sync/pending-removals/accept",
    returns=AcceptedRemovals,
    scope="admin",
    body=AcceptRemovalsRequest,
    problems=("conflict",),
)
async def accept_removals(request: web.Request) -> web.StreamResponse:
    """Mark missing objects as removed.

    A sync asks for a review if too many objects would be removed at once.
    """
    domain = resource_by_name(request.app, json_body(request, AcceptRemovalsRequest).resource)
    removed = await require_flexport(request.app[UPSTREAM]).confirm_removals(domain)

    async def build() -> AcceptedRemovals:
        return {"resource": domain.route, "removed": removed}

    return await respond(request, build)
