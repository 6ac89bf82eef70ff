"""The queue: its status, its items, pause and resume."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from aiohttp import web

from flexportd.core.json_types import Stamp, doc
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond
from flexportd.expose.context import QUEUE
from flexportd.expose.openapi.declaration import list_route, route
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.serialize import serialize_fields
from flexportd.queue.queue import QueueState
from flexportd.storage.repositories.items import UNFINISHED

Priority = Literal["interactive", "webhook", "events", "sync"]

_PRIORITIES: tuple[Priority, ...] = ("interactive", "webhook", "events", "sync")


class QueueItem(TypedDict):
    """A queued item: waiting (ready) or running (leased)."""

    id: str
    kind: Annotated[str, doc("event: to apply; refresh or document_file: to fetch.")]
    state: Literal["ready", "leased"]
    priority: Priority
    attempts: Annotated[int, doc("Number of attempts.")]
    enqueued_at: Stamp
    ready_at: Annotated[Stamp, doc("Earliest time of the next attempt.")]
    lease_until: Stamp | None
    lane: Annotated[str | None, doc("Items with the same lane run one after another.")]
    event_id: str | None
    event_type: str | None
    error: Annotated[str | None, doc("Error of the last failed attempt.")]


ITEM_FIELDS = tuple(QueueItem.__annotations__)


def item(row: Mapping[str, Any]) -> dict[str, Any]:
    """An unfinished item as a document."""
    return serialize_fields(ITEM_FIELDS, row, id=str(row["id"]), priority=_PRIORITIES[row["priority"]])


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


@list_route("/queue/items", ITEMS.rules, QueueItem, "newest first")
async def list_queue_items(request: web.Request) -> web.StreamResponse:
    """List queued and running items."""
    return await ITEMS.respond(request)


@route("GET", "/queue", returns=QueueState)
async def get_queue(request: web.Request) -> web.StreamResponse:
    """Get the status of the queue: length and age."""
    return await respond(request, request.app[QUEUE].stats)


@route("POST", "/queue/pause", returns=QueueState, scope="admin")
async def pause_queue(request: web.Request) -> web.StreamResponse:
    """Pause the queue.

    Webhooks are still accepted and stored. The queue remains paused across restarts.
    """
    return await _set_paused(request, paused=True)


@route("POST", "/queue/resume", returns=QueueState, scope="admin")
async def resume_queue(request: web.Request) -> web.StreamResponse:
    """Resume the queue."""
    return await _set_paused(request, paused=False)


async def _set_paused(request: web.Request, *, paused: bool) -> web.StreamResponse:
    queue = request.app[QUEUE]
    await queue.set_paused(paused=paused)
    return await respond(request, queue.stats)
