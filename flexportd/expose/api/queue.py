"""The queue: how much waits, what waits, and holding it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond
from flexportd.expose.context import QUEUE
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response, page_response
from flexportd.queue.queue import QueueState
from flexportd.storage.repositories.items import UNFINISHED

Priority = Literal["interactive", "webhook", "events", "sync"]

_PRIORITIES: tuple[Priority, ...] = ("interactive", "webhook", "events", "sync")


class QueueItem(TypedDict):
    """A queued item: waiting (ready) or running (leased)."""

    id: str
    kind: Annotated[str, Meta(description="event: to apply; refresh or document_file: to fetch.")]
    state: Literal["ready", "leased"]
    priority: Priority
    attempts: Annotated[int, Meta(description="Number of attempts.")]
    enqueued_at: Stamp
    ready_at: Annotated[Stamp, Meta(description="Earliest time of the next attempt.")]
    lease_until: Stamp | None
    lane: Annotated[str | None, Meta(description="Items with the same lane run one after another.")]
    event_id: str | None
    event_type: str | None
    error: Annotated[str | None, Meta(description="Error of the last failed attempt.")]


ITEM_FIELDS = tuple(QueueItem.__annotations__)


def item(row: Mapping[str, Any]) -> dict[str, Any]:
    """An unfinished item as a document; its id is text."""
    found = {name: row[name] for name in ITEM_FIELDS}
    return found | {"id": str(row["id"]), "priority": _PRIORITIES[row["priority"]]}


ITEMS = ListEndpoint(
    rules=ListRules(
        sorts={"enqueued_at": "id"},
        filters=UNFINISHED.filters,
        fields=ITEM_FIELDS,
        fixed_filters={"unfinished": ()},
    ),
    read=lambda tx, page: tx.items.unfinished(page),
    document=item,
    as_of=lambda tx: tx.events.newest()[0],
)


async def items(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/queue/items`: what waits or runs, newest first."""
    return await ITEMS.respond(request)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/queue`: how many are ready, leased and dead, and the age of the oldest of each."""
    return await respond(request, request.app[QUEUE].stats)


async def set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/queue/pause` and `/resume`."""
    queue = request.app[QUEUE]
    await queue.set_paused(paused=request.path.endswith("/pause"))
    return await respond(request, queue.stats)


_STATE = (json_response(QueueState, "Status of the queue."),)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/queue",
        handler=show,
        name="get_queue",
        tag="operations",
        summary="Status of the queue: length and age",
        returns=_STATE,
    ),
    Route(
        method="GET",
        path="/api/v1/queue/items",
        handler=items,
        name="list_queue_items",
        tag="operations",
        summary="List queued and running items",
        query=list_params(ITEMS.rules),
        returns=(page_response(QueueItem, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
    Route(
        method="POST",
        path="/api/v1/queue/pause",
        handler=set_paused,
        name="pause_queue",
        tag="operations",
        summary="Pause the queue",
        description="Webhooks are still accepted and stored. The queue remains paused across restarts.",
        scope="admin",
        returns=_STATE,
    ),
    Route(
        method="POST",
        path="/api/v1/queue/resume",
        handler=set_paused,
        name="resume_queue",
        tag="operations",
        summary="Resume the queue",
        scope="admin",
        returns=_STATE,
    ),
)
