"""What the sync leaves to a person: what vanished from a list, and what nobody here can read."""

from typing import Annotated, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.core.resources.registry import DOMAINS
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.api.sync import named
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.flexport_interfaces import needed
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import choice, of_list
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import body_of, given
from flexportd.expose.openapi.schemas import json_of, list_of, page_of

_SHOWN_HELD = 1000
_RESOURCES = tuple(domain.route for domain in DOMAINS)


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


UNREADABLE = ListView(
    rules=ListRules(
        sorts={"first_seen_at": "id"},
        filters={
            "resource": query_params.one_of("resource", [domain.name for domain in DOMAINS], "Only this resource.")
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


async def held(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/pending-removals?resource=legs`: what a list lacks, and a person has to decide on."""
    parts = request.app[PARTS]
    domain = named(parts, given(request, "resource"))

    async def build() -> dict[str, object]:
        keys = await parts.db.read(lambda tx: tx.sync.held(domain.name, _SHOWN_HELD))
        data: list[PendingRemoval] = [{"resource": domain.route, "id": str(key)} for key in keys]
        return {"data": data, "next": None, "as_of": None}

    return await respond(request, build)


async def accept(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/sync/pending-removals/accept` `{"resource": "legs"}`: what its list lacks is gone."""
    parts = request.app[PARTS]
    domain = named(parts, body_of(request, AcceptRemovalsRequest).resource)
    removed = await needed(parts.upstream).accept(domain)

    async def build() -> AcceptedRemovals:
        return {"resource": domain.route, "removed": removed}

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/sync/pending-removals",
        handler=held,
        name="list_pending_removals",
        tag="operations",
        summary="List objects missing from Flexport's list that need review",
        about=f"The first {_SHOWN_HELD}; `GET /api/v1/sync` returns the total.",
        query=(choice("resource", _RESOURCES, "The resource to list.", required=True),),
        returns=(json_of(list_of(PendingRemoval), "The objects to review."),),
    ),
    Route(
        method="POST",
        path="/api/v1/sync/pending-removals/accept",
        handler=accept,
        name="accept_removals",
        tag="operations",
        summary="Accept that missing objects are gone",
        about="Marks the missing objects as removed. A sync asks for review if too many would disappear at once.",
        scope="admin",
        body=AcceptRemovalsRequest,
        returns=(json_of(AcceptedRemovals, "The objects are marked as removed."),),
        problems=("conflict",),
    ),
    Route(
        method="GET",
        path="/api/v1/sync/unreadable",
        handler=unreadable,
        name="list_unreadable_objects",
        tag="operations",
        summary="List objects from Flexport that could not be parsed",
        query=of_list(UNREADABLE.rules),
        returns=(page_of(UnreadableObject, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
)
