"""The dead letters: what was tried in vain and waits for a person."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.events.applier import event_title
from flexportd.core.json_types import Stamp
from flexportd.errors import NotFoundError
from flexportd.expose.api.events import Attempt, RequeuedItem, payload
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, QUEUE
from flexportd.expose.openapi.enum_values import EVENT_TYPES, UnknownWords, check_words
from flexportd.expose.openapi.parameters import TEXT, identifier
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import json_body, param
from flexportd.expose.openapi.schemas import json_response, page_response
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.items import DEAD_LETTERS
from flexportd.storage.transaction import Transaction

MAX_RETRIED = 1000  # dead letters that one call retries


class DeadLetter(TypedDict):
    """Queued work that failed permanently. Discarded dead letters are kept, with the person and the reason."""

    id: str
    kind: Annotated[str, Meta(description="event: could not be applied; other kinds: could not be fetched.")]
    event_id: str | None
    event_type: str | None
    title: str
    shipment_id: int | None
    error: Annotated[str | None, Meta(description="Error of the last attempt.")]
    attempts: int
    enqueued_at: Stamp
    ended_at: Annotated[Stamp | None, Meta(description="When it failed permanently.")]
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

    reason: Annotated[_Text, Meta(description="Reason for discarding, kept with the dead letter.")]
    discarded_by: Annotated[_Text | None, Meta(description="Person who decided; default: api.")] = None


FIELDS = tuple(DeadLetter.__annotations__)


def dead_letter(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as a document; its id is text."""
    found = {name: event_title(row["event_type"]) if name == "title" else row[name] for name in FIELDS}
    return found | {"id": str(row["id"])}


LIST = ListEndpoint(
    rules=ListRules(
        sorts={"enqueued_at": "id"},
        filters=DEAD_LETTERS.filters,
        fields=FIELDS,
        fixed_filters={"dead": ()},
        vocabularies={"type": EVENT_TYPES},
    ),
    read=lambda tx, page: tx.items.dead_letters(page),
    document=dead_letter,
    as_of=lambda tx: tx.events.newest()[0],
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters`: those that nobody has discarded, unless asked otherwise."""
    return await LIST.respond(request)


def item_id(request: web.Request) -> int:
    """The dead letter that the path names. Raises NotFoundError."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters/{id}`: the payload, and every try with its error and time."""
    number = item_id(request)
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))


def detail(tx: Transaction, number: int) -> dict[str, Any]:
    """One dead letter with everything kept of it."""
    rows = tx.items.dead_letters(PageRequest(1, "id", filters={"dead": (), "one": (number,)}))
    if not rows:
        raise NotFoundError(f"there is no dead letter {number}")
    document = dead_letter(rows[0])
    document["failed_attempts"] = tx.items.attempts(number)
    item = tx.items.by_id(number)
    if item is not None and item.ref is not None:
        return document | payload(tx.events.payload(item.ref)[1])
    return document | payload((rows[0]["payload"] or "null").encode())


async def retry(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/{id}/retry`: from the start."""
    queue, number = request.app[QUEUE], item_id(request)
    revived = await queue.retry([number])
    if not revived:
        raise NotFoundError(f"there is no dead letter {number}")

    async def build() -> RequeuedItem:
        return {"id": str(number), "state": "ready"}

    return await respond(request, build)


async def retry_many(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/retry?type=&error=`: all that match, at most a thousand at once."""
    queue = request.app[QUEUE]
    filters: dict[str, Any] = {"dead": (), "not_discarded": ()}
    filters |= {name: (text,) for name in ("type", "error") if (text := param(request, name)) is not None}
    if "type" in filters and filters["type"][0] not in EVENT_TYPES.known:
        await check_words(request, (UnknownWords("type", EVENT_TYPES, filters["type"]),), {}, None)
    rows = await queue.dead_letters(PageRequest(MAX_RETRIED, "id", descending=False, filters=filters))
    revived = await queue.retry([row["id"] for row in rows[:MAX_RETRIED]])

    async def build() -> RetriedDeadLetters:
        return {"retried": len(revived), "has_more": len(rows) > MAX_RETRIED}

    return await respond(request, build)


async def discard(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/{id}/discard` with `{"reason": …, "discarded_by": …}`: closed, and kept."""
    number, body = item_id(request), json_body(request, DiscardRequest)
    await request.app[QUEUE].discard(number, (body.discarded_by or "api").strip(), body.reason.strip())
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))


_ID = identifier("Number of the dead letter.", example="17")

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        handler=index,
        name="list_dead_letters",
        tag="operations",
        summary="List dead letters",
        query=list_params(LIST.rules),
        returns=(page_response(DeadLetter, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
    Route(
        method="GET",
        path="/api/v1/dead-letters/{id}",
        handler=show,
        name="get_dead_letter",
        tag="operations",
        summary="Get a dead letter with its payload and all attempts",
        path_parameters=(_ID,),
        returns=(json_response(DeadLetterDetail, "The dead letter."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/{id}/retry",
        handler=retry,
        name="retry_dead_letter",
        tag="operations",
        summary="Retry a dead letter",
        description="A discarded dead letter is reopened.",
        scope="admin",
        path_parameters=(_ID,),
        returns=(json_response(RequeuedItem, "The item is queued."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/retry",
        handler=retry_many,
        name="retry_dead_letters",
        tag="operations",
        summary="Retry all matching dead letters",
        description=f"Retries up to {MAX_RETRIED} dead letters that are not discarded, oldest first.",
        scope="admin",
        query=tuple(LIST.rules.parameters[name] for name in ("type", "error")),
        returns=(json_response(RetriedDeadLetters, "The items are queued."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/{id}/discard",
        handler=discard,
        name="discard_dead_letter",
        tag="operations",
        summary="Discard a dead letter",
        description="The dead letter is kept, with the person and the reason.",
        scope="admin",
        path_parameters=(_ID,),
        body=DiscardRequest,
        returns=(json_response(DeadLetterDetail, "The discarded dead letter."),),
        problems=("conflict",),
    ),
)
