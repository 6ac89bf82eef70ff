"""The queue and its dead letters."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.apply import event_title
from flexportd.errors import InvalidError, NotFoundError
from flexportd.expose import parameters
from flexportd.expose.api.events import payload
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond
from flexportd.storage.listing import Page
from flexportd.storage.session import Session

FIELDS = (
    "id", "kind", "event_id", "event_type", "title", "shipment_id", "error", "attempts", "enqueued_at", "ended_at",
    "discarded_at", "discarded_by", "discarded_why",
)  # fmt: skip

MOST_AT_ONCE = 1000  # dead letters that one call retries


def dead_letter(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as a document; its id is text."""
    found = {name: event_title(row["event_type"]) if name == "title" else row[name] for name in FIELDS}
    return found | {"id": str(row["id"])}


FILTERS = {
    "type": parameters.equals("type"),
    "error": parameters.equals("error"),
    "discarded": parameters.truth("discarded", "open"),
}

LIST = ListView(
    rules=ListRules(sorts={"ended_at": "id"}, filters=FILTERS, fields=FIELDS),
    read=lambda tx, page: tx.items.dead_letters(page),
    document=dead_letter,
    as_of=lambda tx: tx.events.newest()[0],
)


ITEM_FIELDS = (
    "id", "kind", "state", "priority", "attempts", "enqueued_at", "ready_at", "lease_until", "lane", "event_id",
    "event_type", "error",
)  # fmt: skip

_PRIORITIES = ("interactive", "webhook", "events", "sync")


def item(row: Mapping[str, Any]) -> dict[str, Any]:
    """An unfinished item as a document; `error` is that of its last failed try."""
    found = {name: row[name] for name in ITEM_FIELDS}
    return found | {"id": str(row["id"]), "priority": _PRIORITIES[row["priority"]]}


ITEMS = ListView(
    rules=ListRules(
        sorts={"enqueued_at": "id"},
        filters={"state": parameters.one_of("state", ("ready", "leased")), "kind": parameters.equals("kind")},
        fields=ITEM_FIELDS,
        always={"unfinished": ()},
    ),
    read=lambda tx, page: tx.items.unfinished(page),
    document=item,
    as_of=lambda tx: tx.events.newest()[0],
)


async def items(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/queue/items`: what waits or runs, newest first."""
    return await ITEMS.respond(request)


async def show_queue(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/queue`: how many are ready, leased and dead, and the age of the oldest of each."""
    parameters.once(request.query, ())
    return await respond(request, request.app[PARTS].queue.stats)


async def set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/queue/pause` and `/resume`."""
    queue = request.app[PARTS].queue
    await queue.set_paused(paused=request.path.endswith("/pause"))
    return await respond(request, queue.stats)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters`: those that nobody has discarded, unless asked otherwise."""
    always: dict[str, Any] = {"dead": ()}
    if "discarded" not in request.query:
        always["open"] = ()
    return await LIST.respond(request, always)


def _item_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/dead-letters/{id}`: the payload, and every try with its error and time."""
    parts, number = request.app[PARTS], _item_id(request)
    parameters.once(request.query, ())
    return await respond(request, lambda: parts.db.read(lambda tx: whole(tx, number)))


def whole(tx: Session, number: int) -> dict[str, Any]:
    """One dead letter with everything kept of it."""
    rows = tx.items.dead_letters(Page(1, "id", filters={"dead": (), "one": (number,)}))
    if not rows:
        raise NotFoundError(f"there is no dead letter {number}")
    document = dead_letter(rows[0])
    document["tries"] = tx.items.attempts(number)
    item = tx.items.by_id(number)
    if item is not None and item.ref is not None:
        return document | payload(tx.events.payload(item.ref)[1])
    return document | payload((rows[0]["payload"] or "null").encode())


async def retry(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/{id}/retry`: from the start."""
    queue, number = request.app[PARTS].queue, _item_id(request)
    revived = await queue.retry([number])
    if not revived:
        raise NotFoundError(f"there is no dead letter {number}")

    async def build() -> dict[str, Any]:
        return {"id": str(number), "state": "ready"}

    return await respond(request, build)


async def retry_many(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/retry?type=&error=`: all that match, at most a thousand at once."""
    parts = request.app[PARTS]
    given = parameters.once(request.query, ("type", "error"))
    filters: dict[str, Any] = {"dead": (), "open": ()}
    for name, text in given.items():
        key, values = FILTERS[name](name, text)
        filters[key] = values
    rows = await parts.queue.dead_letters(Page(MOST_AT_ONCE, "id", descending=False, filters=filters))
    revived = await parts.queue.retry([row["id"] for row in rows[:MOST_AT_ONCE]])

    async def build() -> dict[str, Any]:
        return {"retried": len(revived), "more": len(rows) > MOST_AT_ONCE}

    return await respond(request, build)


async def discard(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/dead-letters/{id}/discard` with `{"why": …, "who": …}`: closed, and kept."""
    parts, number = request.app[PARTS], _item_id(request)
    given = await _body(request)
    why = _text(given, "why", required=True)
    await parts.queue.discard(number, _text(given, "who", required=False) or "api", why)
    return await respond(request, lambda: parts.db.read(lambda tx: whole(tx, number)))


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(await request.read() or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the body is not JSON: {error}", "body") from None
    if not isinstance(found, dict):
        raise InvalidError(f"the body is a {type(found).__name__}; a JSON object is needed", "body")
    for name in found:
        if name not in ("why", "who"):
            raise InvalidError(f"{name[:50]!r} is not known here; known are why, who", name[:50])
    return found


def _text(given: Mapping[str, Any], name: str, *, required: bool) -> str:
    value = given.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= 500:
        raise InvalidError(f"{name} is missing or no text; a sentence of 1 to 500 characters is needed", name)
    return value.strip()
