"""The event log: events from Flexport and their outcome; and the webhook endpoint."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import msgspec
from aiohttp import web

from flexportd.core.events.applier import event_title
from flexportd.errors import not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, QUEUE, WEBHOOKS
from flexportd.expose.openapi.parameters import EVENT_TYPES
from flexportd.expose.openapi.route import Parameter
from flexportd.expose.openapi.router import route
from flexportd.expose.serialize import serialize_fields
from flexportd.json_depth import nests_too_deep
from flexportd.storage.repositories.events import LISTING
from flexportd.storage.transaction import Transaction


class Event(TypedDict):
    """An event from Flexport. `state`: ready, leased, applied, coalesced, ignored or dead."""

    id: str
    type: str | None
    title: str
    state: str
    reason: str | None
    source: str
    received_at: str
    created_at: str | None
    occurred_at: str | None
    ended_at: str | None
    resource: str | None
    resource_id: str | None
    shipment_id: int | None


class Attempt(TypedDict):
    """A failed attempt."""

    attempt: int
    at: str
    error: str


class EventDetail(Event):
    """An event with its original payload: JSON, or base64 if it is not JSON."""

    headers: dict[str, str]
    failed_attempts: list[Attempt]
    dead_letter: str | None
    payload: Any
    payload_base64: str | None


class RequeuedItem(TypedDict):
    """An item that was queued again."""

    id: str
    state: str


def event(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event as a document."""
    return serialize_fields(Event, row, title=event_title(row["type"]))


LIST = ListEndpoint.of(
    Event,
    {"received_at": "seq"},
    LISTING.filters,
    read=lambda tx, page: tx.events.page(page),
    document=event,
    key="seq",
    vocabularies={"type": EVENT_TYPES},
)
LIST.declare("/events", Event, "list_events", "List events")


@route("GET", "/events/{id}", returns=EventDetail)
async def get_event(request: web.Request) -> web.StreamResponse:
    """Get an event with its payload and failed attempts."""
    event_id = request.match_info["id"]

    def read(tx: Transaction) -> dict[str, Any]:
        row = tx.events.by_id(event_id)
        if row is None:
            raise not_found("event", event_id)
        headers, body = tx.events.payload(row["seq"])
        item = tx.items.of_event(row["seq"])
        document = event(row)
        document["headers"] = msgspec.Raw(headers.encode())
        document["failed_attempts"] = tx.items.attempts(item[0]) if item else []
        document["dead_letter"] = str(item[0]) if item and item[1] == "dead" else None
        return document | payload(body)

    return await respond(request, lambda: request.app[DB].read(read))


def payload(body: bytes) -> dict[str, Any]:
    """A body as JSON if it is valid and not nested too deeply for JSON parsers, else in base64."""
    try:
        msgspec.json.decode(body)
        is_readable = not nests_too_deep(body)
    except (ValueError, RecursionError):
        is_readable = False
    return {"payload": msgspec.Raw(body) if is_readable else None, "payload_base64": None if is_readable else body}


@route("POST", "/events/{id}/replay", returns=RequeuedItem, scope="admin")
async def replay_event(request: web.Request) -> web.StreamResponse:
    """Replay an event.

    Applies the stored event again. Newer states are not overwritten.
    """
    event_id = request.match_info["id"]
    at = request.app[CLOCK].stamp()

    def work(tx: Transaction) -> int:
        row = tx.events.by_id(event_id)
        if row is None:
            raise not_found("event", event_id)
        item = tx.items.of_event(row["seq"])
        if row["state"] == "ready":
            return 0
        if item and item[1] == "dead":
            tx.items.retry_dead(item[0], at)
        else:
            tx.items.add_refs(at, "event", 0, (row["seq"],))
        tx.events.reopen(row["seq"])
        return 1

    request.app[QUEUE].added("event", await request.app[DB].write(work))
    return await respond_with(request, {"id": event_id, "state": "ready"})


class WebhookAcknowledgement(TypedDict):
    """The event is stored; `duplicate`: it was already stored."""

    status: Literal["accepted", "duplicate"]
    id: str


@route(
    "POST",
    "/webhooks/flexport",  # [webhook] path replaces it
    prefix="",
    tag="events",
    returns=WebhookAcknowledgement,
    scope=None,
    any_query=True,
    any_slashes=True,
    headers=(
        Parameter(
            "X-Hub-Signature-256",
            "sha256= followed by the signature in hexadecimal digits.",
            {"type": "string", "pattern": "^sha256=[0-9a-fA-F]{64}$"},
            where="header",
        ),
    ),
    problems=(
        "signature-missing",
        "signature-invalid",
        "webhook-secret-missing",
        "sha1-signature",
        "network-not-allowed",
        "request-timeout",
        "content-too-large",
        "unsupported-media-type",
        "overloaded",
    ),
)
async def receive_webhook(request: web.Request) -> web.StreamResponse:
    """Receive events from Flexport.

    The body is signed with the shared secret: HMAC-SHA256 over its exact bytes. The response is sent after the event is
    stored on disk.
    """
    return await request.app[WEBHOOKS].receive(request)
