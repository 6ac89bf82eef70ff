"""What the sync leaves to a person: what vanished from a list, and what nobody here can read."""

from dataclasses import replace
from typing import Annotated, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.sync import resource_by_name
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, UPSTREAM
from flexportd.expose.interfaces import require_flexport
from flexportd.expose.openapi.parameters import choice
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import json_body, param
from flexportd.expose.openapi.schemas import json_response, list_schema, page_response
from flexportd.storage.repositories.quarantine import LISTING

_MAX_PENDING = 1000
_RESOURCES = tuple(domain.route for domain in RESOURCE_TYPES)


class PendingRemoval(TypedDict):
    """An object missing from Flexport's list together with many others."""

    resource: str
    id: str


class UnreadableObject(TypedDict):
    """An object from Flexport that could not be parsed. It is stored unchanged."""

    id: int
    resource: str
    resource_id: Annotated[str, Meta(description="Its id, or a name derived from its content.")]
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


async def unreadable(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/unreadable`: objects that Flexport sent and nobody here can read."""
    return await UNREADABLE.respond(request)


async def pending_removals(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/pending-removals?resource=legs`: what a list lacks, and a person has to decide on."""
    domain = resource_by_name(request.app, param(request, "resource"))

    async def build() -> dict[str, object]:
        keys = await request.app[DB].read(lambda tx: tx.sync.held_keys(domain.name, _MAX_PENDING))
        data: list[PendingRemoval] = [{"resource": domain.route, "id": str(key)} for key in keys]
        return {"data": data, "next": None, "as_of": None}

    return await respond(request, build)


async def confirm_removals(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/sync/pending-removals/accept` `{"resource": "legs"}`: what its list lacks is gone."""
    domain = resource_by_name(request.app, json_body(request, AcceptRemovalsRequest).resource)
    removed = await require_flexport(request.app[UPSTREAM]).confirm_removals(domain)

    async def build() -> AcceptedRemovals:
        return {"resource": domain.route, "removed": removed}

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/sync/pending-removals",
        handler=pending_removals,
        name="list_pending_removals",
        tag="operations",
        summary="List objects missing from Flexport's list that need review",
        description=f"The first {_MAX_PENDING}; `GET /api/v1/sync` returns the total.",
        query=(choice("resource", _RESOURCES, "The resource to list.", required=True),),
        returns=(json_response(list_schema(PendingRemoval), "The objects to review."),),
    ),
    Route(
        method="POST",
        path="/api/v1/sync/pending-removals/accept",
        handler=confirm_removals,
        name="accept_removals",
        tag="operations",
        summary="Accept that missing objects are gone",
        description="Marks the missing objects as removed. A sync asks for review if too many would disappear at once.",
        scope="admin",
        body=AcceptRemovalsRequest,
        returns=(json_response(AcceptedRemovals, "The objects are marked as removed."),),
        problems=("conflict",),
    ),
    Route(
        method="GET",
        path="/api/v1/sync/unreadable",
        handler=unreadable,
        name="list_unreadable_objects",
        tag="operations",
        summary="List objects from Flexport that could not be parsed",
        query=list_params(UNREADABLE.rules),
        returns=(page_response(UnreadableObject, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
)
