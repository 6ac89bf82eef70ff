"""The queue: its status, its items, pause and resume; and dead letters, queued work that failed permanently."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.events.applier import event_title
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.identifiers import int_id
from flexportd.errors import not_found
from flexportd.expose.api.events import Attempt, RequeuedItem, payload
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import DB, QUEUE
from flexportd.expose.openapi.parameters import EVENT_TYPES, TEXT, UnknownWords, check_words
from flexportd.expose.openapi.router import json_body, param, route
from flexportd.expose.serialize import serialize_fields
from flexportd.queue.queue import QueueState
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.items import DEAD_LETTERS, UNFINISHED
from flexportd.storage.transaction import Transaction

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


ITEMS = ListEndpoint.of(
    QueueItem,
    {"enqueued_at": "id"},
    UNFINISHED.filters,
    read=lambda tx, page: tx.items.unfinished(page),
    document=lambda row: serialize_fields(QueueItem, row, priority=_PRIORITIES[row["priority"]]),
    fixed_filters={"unfinished": ()},
)
ITEMS.declare("/queue/items", QueueItem, "list_queue_items", "List queued and running items")


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


MAX_RETRIED = 1000  # dead letters per request


class DeadLetter(TypedDict):
    """Queued work that failed permanently. Discarded dead letters are kept, with the person and the reason."""

    id: str
    kind: Annotated[str, doc("event: could not be applied; other kinds: could not be fetched.")]
    event_id: str | None
    event_type: str | None
    title: str
    shipment_id: int | None
    error: Annotated[str | None, doc("Error of the last attempt.")]
    attempts: int
    enqueued_at: Stamp
    ended_at: Annotated[Stamp | None, doc("When it failed permanently.")]
    discarded_at: Stamp | None
    discarded_by: str | None
    discard_reason: str | None


class DeadLetterDetail(DeadLetter):
    """A dead letter with all attempts and its original payload: JSON, or base64 if it is not JSON."""

    failed_attempts: list[Attempt]
    payload: Any
    payload_base64: str | None


class RetriedDeadLetters(TypedDict):
    """The number of dead letters retried, and whether more match."""

    retried: int
    has_more: bool


_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=TEXT["pattern"])]


class DiscardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for discarding a dead letter, and the person who decided."""

    reason: Annotated[_Text, doc("Reason for discarding, kept with the dead letter.")]
    discarded_by: Annotated[_Text | None, doc("Person who decided; default: api.")] = None


def dead_letter(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as a document."""
    return serialize_fields(DeadLetter, row, title=event_title(row["event_type"]))


LETTERS = ListEndpoint.of(
    DeadLetter,
    {"enqueued_at": "id"},
    DEAD_LETTERS.filters,
    read=lambda tx, page: tx.items.dead_letters(page),
    document=dead_letter,
    fixed_filters={"dead": ()},
    vocabularies={"type": EVENT_TYPES},
)
LETTERS.declare("/dead-letters", DeadLetter, "list_dead_letters", "List dead letters")


def item_id(request: web.Request) -> int:
    """The dead letter in the path. Raises NotFoundError."""
    number = int_id(request.match_info["id"])
    if number is None:
        raise not_found("dead letter", request.match_info["id"])
    return number


@route("GET", "/dead-letters/{id}", returns=DeadLetterDetail)
async def get_dead_letter(request: web.Request) -> web.StreamResponse:
    """Get a dead letter with its payload and all attempts."""
    number = item_id(request)
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))


def detail(tx: Transaction, number: int) -> dict[str, Any]:
    """A dead letter with its payload and all attempts. Raises NotFoundError."""
    rows = tx.items.dead_letters(PageRequest(1, "id", filters={"dead": (), "one": (number,)}))
    if not rows:
        raise not_found("dead letter", number)
    document = dead_letter(rows[0])
    document["failed_attempts"] = tx.items.attempts(number)
    item = tx.items.by_id(number)
    if item is not None and item.ref is not None:
        return document | payload(tx.events.payload(item.ref)[1])
    return document | payload((rows[0]["payload"] or "null").encode())


@route("POST", "/dead-letters/{id}/retry", returns=RequeuedItem, scope="admin")
async def retry_dead_letter(request: web.Request) -> web.StreamResponse:
    """Retry a dead letter.

    A discarded dead letter is reopened.
    """
    queue, number = request.app[QUEUE], item_id(request)
    if not await queue.retry([number]):
        raise not_found("dead letter", number)
    requeued: RequeuedItem = {"id": str(number), "state": "ready"}
    return await respond_with(request, requeued)


@route(
    "POST",
    "/dead-letters/retry",
    description=f"Retries up to {MAX_RETRIED} dead letters that are not discarded, oldest first.",
    returns=RetriedDeadLetters,
    scope="admin",
    query=tuple(LETTERS.rules.parameters[name] for name in ("type", "error")),
)
async def retry_dead_letters(request: web.Request) -> web.StreamResponse:
    """Retry all matching dead letters."""
    queue = request.app[QUEUE]
    filters: dict[str, Any] = {"dead": (), "not_discarded": ()}
    filters |= {name: (text,) for name in ("type", "error") if (text := param(request, name)) is not None}
    if "type" in filters and filters["type"][0] not in EVENT_TYPES.known:
        await check_words(request, (UnknownWords("type", EVENT_TYPES, filters["type"]),), {}, None)
    rows = await queue.dead_letters(PageRequest(MAX_RETRIED, "id", descending=False, filters=filters))
    retried = await queue.retry([row["id"] for row in rows[:MAX_RETRIED]])
    document: RetriedDeadLetters = {"retried": len(retried), "has_more": len(rows) > MAX_RETRIED}
    return await respond_with(request, document)


@route(
    "POST",
    "/dead-letters/{id}/discard",
    returns=DeadLetterDetail,
    scope="admin",
    body=DiscardRequest,
    problems=("conflict",),
)
async def discard_dead_letter(request: web.Request) -> web.StreamResponse:
    """Discard a dead letter.

    The dead letter is kept, with the person and the reason.
    """
    number, body = item_id(request), json_body(request, DiscardRequest)
    await request.app[QUEUE].discard(number, (body.discarded_by or "api").strip(), body.reason.strip())
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))
