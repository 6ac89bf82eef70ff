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
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.enum_values import EVENT_TYPES, Unproven, prove
from flexportd.expose.openapi.parameters import identifier, of_list, valued
from flexportd.expose.openapi.query_params import TEXT, ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import body_of, given
from flexportd.expose.openapi.schemas import json_of, page_of
from flexportd.storage.queries.list_query import Page
from flexportd.storage.transaction import Session

MOST_AT_ONCE = 1000  # dead letters that one call retries


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


_Sentence = Annotated[str, Meta(min_length=1, max_length=500, pattern=TEXT["pattern"])]


class DiscardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for discarding a dead letter, and the person who decided."""

    reason: Annotated[_Sentence, Meta(description="Reason for discarding, kept with the dead letter.")]
    discarded_by: Annotated[_Sentence | None, Meta(description="Person who decided; default: api.")] = None


FIELDS = tuple(DeadLetter.__annotations__)


def dead_letter(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as a document; its id is text."""
    found = {name: event_title(row["event_type"]) if name == "title" else row[name] for name in FIELDS}
    return found | {"id": str(row["id"])}


FILTERS = {
    "type": query_params.one_word("type", EVENT_TYPES, "Only events of this type."),
    "error": query_params.equals("error", "Only dead letters whose error contains this text (case-insensitive)."),
    "discarded": query_params.truth(
        "discarded", "open", "true: only discarded dead letters. Omitted or false: only the others."
    ),
}

LIST = ListView(
    rules=ListRules(sorts={"enqueued_at": "id"}, filters=FILTERS, fields=FIELDS),
    read=lambda tx, page: tx.items.dead_letters(page),
    document=dead_letter,
    as_of=lambda tx: tx.events.newest()[0],
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters`: those that nobody has discarded, unless asked otherwise."""
    always: dict[str, Any] = {"dead": ()}
    if "discarded" not in request.query:
        always["open"] = ()
    return await LIST.respond(request, always)


def item_id(request: web.Request) -> int:
    """The dead letter that the path names. Raises NotFoundError."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters/{id}`: the payload, and every try with its error and time."""
    parts, number = request.app[PARTS], item_id(request)
    return await respond(request, lambda: parts.db.read(lambda tx: whole(tx, number)))


def whole(tx: Session, number: int) -> dict[str, Any]:
    """One dead letter with everything kept of it."""
    rows = tx.items.dead_letters(Page(1, "id", filters={"dead": (), "one": (number,)}))
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
    queue, number = request.app[PARTS].queue, item_id(request)
    revived = await queue.retry([number])
    if not revived:
        raise NotFoundError(f"there is no dead letter {number}")

    async def build() -> RequeuedItem:
        return {"id": str(number), "state": "ready"}

    return await respond(request, build)


async def retry_many(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/retry?type=&error=`: all that match, at most a thousand at once."""
    parts = request.app[PARTS]
    filters: dict[str, Any] = {"dead": (), "open": ()}
    filters |= {name: (text,) for name in ("type", "error") if (text := given(request, name)) is not None}
    if "type" in filters and filters["type"][0] not in EVENT_TYPES.known:
        await prove(request, (Unproven("type", EVENT_TYPES, filters["type"]),), {}, None)
    rows = await parts.queue.dead_letters(Page(MOST_AT_ONCE, "id", descending=False, filters=filters))
    revived = await parts.queue.retry([row["id"] for row in rows[:MOST_AT_ONCE]])

    async def build() -> RetriedDeadLetters:
        return {"retried": len(revived), "has_more": len(rows) > MOST_AT_ONCE}

    return await respond(request, build)


async def discard(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/{id}/discard` with `{"reason": …, "discarded_by": …}`: closed, and kept."""
    parts, number, body = request.app[PARTS], item_id(request), body_of(request, DiscardRequest)
    await parts.queue.discard(number, (body.discarded_by or "api").strip(), body.reason.strip())
    return await respond(request, lambda: parts.db.read(lambda tx: whole(tx, number)))


_ID = identifier("Number of the dead letter.", example="17")

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        handler=index,
        name="list_dead_letters",
        tag="operations",
        summary="List dead letters",
        query=of_list(LIST.rules),
        returns=(page_of(DeadLetter, "A page, newest first."),),
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
        returns=(json_of(DeadLetterDetail, "The dead letter."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/{id}/retry",
        handler=retry,
        name="retry_dead_letter",
        tag="operations",
        summary="Retry a dead letter",
        about="A discarded dead letter is reopened.",
        scope="admin",
        path_parameters=(_ID,),
        returns=(json_of(RequeuedItem, "The item is queued."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/retry",
        handler=retry_many,
        name="retry_dead_letters",
        tag="operations",
        summary="Retry all matching dead letters",
        about=f"Retries up to {MOST_AT_ONCE} dead letters that are not discarded, oldest first.",
        scope="admin",
        query=tuple(valued(name, FILTERS[name]) for name in ("type", "error")),
        returns=(json_of(RetriedDeadLetters, "The items are queued."),),
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/{id}/discard",
        handler=discard,
        name="discard_dead_letter",
        tag="operations",
        summary="Discard a dead letter",
        about="The dead letter is kept, with the person and the reason.",
        scope="admin",
        path_parameters=(_ID,),
        body=DiscardRequest,
        returns=(json_of(DeadLetterDetail, "The discarded dead letter."),),
        problems=("conflict",),
    ),
)
