"""Events from Flexport: the log and their outcome, the webhook endpoint, and gaps, events that webhooks missed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web

from flexportd.core.events.applier import event_title
from flexportd.core.json_types import Stamp, doc
from flexportd.core.outages import DeliveryHealth, DetectionState, OutageReport, Verdict, health, outages
from flexportd.errors import not_found
from flexportd.expose.api.list_endpoint import ListEndpoint, bind_cursor
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, DISPLAY, QUEUE, WEBHOOKS
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import EVENT_TYPES
from flexportd.expose.openapi.query_params import ListRequest, ListRules, list_params
from flexportd.expose.openapi.route import Parameter
from flexportd.expose.openapi.router import route
from flexportd.expose.serialize import serialize_fields
from flexportd.json_depth import nests_too_deep
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.events import LISTING
from flexportd.storage.repositories.gaps import LISTING as GAPS_QUERY
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


MAX_EVENTS = 50  # of each outage


class GapEvent(TypedDict):
    """An event missed by webhooks and recovered by polling; its id is Flexport's."""

    id: str
    type: str | None
    title: str
    state: Annotated[str | None, doc("State of the event, see /events; null once the event is deleted.")]
    reason: str | None
    created_at: Annotated[Stamp, doc("When Flexport recorded it.")]
    occurred_at: Stamp | None
    detected_at: Annotated[Stamp, doc("When polling found it, on the daemon's clock.")]
    last_webhook_at: Annotated[Stamp | None, doc("When the last webhook before it arrived; null: there was none.")]
    delivered_at: Annotated[Stamp | None, doc("When a webhook delivered it later.")]
    on_time: Annotated[bool, doc("The webhook had only the usual delay: nothing was missed.")]
    recovered_by: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    outage: Annotated[str | None, doc("Id of its outage; null if the webhook was on time.")]


class Outage(TypedDict):
    """Consecutive events received only by polling: a period without webhooks.

    It starts at the last webhook before (`since`, null: there was none) and ends at the first webhook after (`until`,
    null: still open). `gaps` are its first events.
    """

    id: str
    since: Stamp | None
    until: Stamp | None
    seconds: float
    summary: str
    events: int
    recovered: Annotated[int, doc("Events that were applied.")]
    pending: int
    dead: int
    late: Annotated[int, doc("Events delivered later by webhook.")]
    by_type: Annotated[dict[str, int], doc("Number of events by type.")]
    first_created_at: Stamp
    last_created_at: Stamp
    detected_at: Stamp
    gaps: list[GapEvent]


class GapDetection(TypedDict):
    """Whether gaps can be detected: Flexport's list of events is compared with the received webhooks.

    The list contains only events sent to registered webhooks: an empty list does not prove that nothing was lost.
    """

    state: Annotated[
        DetectionState,
        doc(
            "`unconfirmed`: the list is empty and no webhooks can be compared with it; `incomplete`: it "
            "lacks some webhook events; `all_missing`: it lacks all of them; `unavailable`: this account has "
            "no such list."
        ),
    ]
    summary: str
    compared: Annotated[int, doc("Webhook events that were looked up in the list.")]
    missing: Annotated[int, doc("Number of these events that the list did not contain.")]
    missing_by_type: Annotated[dict[str, int], doc("Number of missing events by type, most frequent types only.")]
    last_missing_at: Annotated[Stamp | None, doc("When the newest missing event arrived.")]
    compared_at: Annotated[Stamp | None, doc("When the list was last compared.")]


class EventDelivery(TypedDict):
    """How events arrive at present, and whether silence is normal, a fault here, or a fault at Flexport.

    `last_polled_event_at` and `listening_since` are on Flexport's clock, the others on the daemon's.
    """

    state: Verdict
    summary: str
    needs_attention: bool
    last_webhook_at: Stamp | None
    last_polled_event_at: Annotated[Stamp | None, doc("Time of the newest event found by polling.")]
    typical_interval_seconds: Annotated[float | None, doc("Typical interval between events; null: not known yet.")]
    longest_interval_seconds: float | None
    listening_since: Stamp | None
    polled_at: Annotated[Stamp | None, doc("When Flexport's list of events was last read completely.")]
    polling_failing_since: Annotated[Stamp | None, doc("Time since which it cannot be read.")]
    polling_error: str | None
    outage_since: Annotated[Stamp | None, doc("Start of the current outage.")]
    missed: Annotated[int, doc("Events missed in the current outage.")]
    detection: GapDetection


class OutageList(TypedDict):
    """A page of outages, and how events arrive at present."""

    data: list[Outage]
    next: Annotated[str | None, doc("The cursor of the next page; null on the last.")]
    as_of: Annotated[Stamp | None, doc("When Flexport's list of events was last read completely.")]
    health: EventDelivery


def gap(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event missed by webhooks, as a document."""
    return serialize_fields(
        GapEvent,
        row,
        id=row["event_id"],
        title=event_title(row["type"]),
        on_time=bool(row["on_time"]),
        outage=None if row["on_time"] else str(row["after_seq"]),
    )


def _last_polled_at(tx: Transaction) -> str | None:
    return max((poll.good_at for poll in tx.gaps.polls() if poll.good_at), default=None)


EVENTS = ListEndpoint.of(
    GapEvent,
    {"detected_at": "seq", "created_at": "created_at"},
    GAPS_QUERY.filters,
    read=lambda tx, page: tx.gaps.page(page),
    document=gap,
    as_of=_last_polled_at,
    key="seq",
    vocabularies={"type": EVENT_TYPES},
)
EVENTS.declare(
    "/gaps/events",
    GapEvent,
    "list_gap_events",
    "List events missed by webhooks and recovered by polling",
    order="last detected first",
)

OUTAGES = ListRules(sorts={"outage": "outage"}, filters={}, fields=())


@route(
    "GET",
    "/gaps",
    returns=OutageList,
    query=tuple(one for one in list_params(OUTAGES) if one.name in ("limit", "cursor")),
)
async def list_gaps(request: web.Request) -> web.StreamResponse:
    """List webhook outages and the current delivery status."""
    params = await bind_cursor(request, query_params.parse_list_params(request.query, OUTAGES, request.app[DISPLAY]))
    return await respond(
        request, lambda: request.app[DB].read(lambda tx: _outage_page(tx, params, request.app[CLOCK].now()))
    )


def _outage_page(tx: Transaction, params: ListRequest, now: datetime) -> dict[str, Any]:
    reports = outages(tx, params.page, now)
    return {
        "data": [_outage(tx, report) for report in reports[: params.page.limit]],
        "next": next_outages_cursor(tx, params, reports),
        "as_of": _last_polled_at(tx),
        "health": delivery_document(health(tx, now)),
    }


def next_outages_cursor(tx: Transaction, params: ListRequest, reports: Sequence[OutageReport]) -> str | None:
    """The cursor of the next page of outages; None on the last."""
    return params.encode_next_cursor(tx, [{"outage": report.outage.after_seq} for report in reports], "outage")


def _outage(tx: Transaction, report: OutageReport) -> dict[str, Any]:
    outage = report.outage
    page = PageRequest(MAX_EVENTS, "created_at", descending=False, filters={"outage": (outage.after_seq,)})
    return {
        "id": str(outage.after_seq),
        "since": outage.deaf_since,
        "until": report.until,
        "seconds": round(report.seconds, 3),
        "summary": report.sentence,
        "events": outage.events,
        "recovered": report.repaired,
        "pending": outage.waiting,
        "dead": outage.dead,
        "late": outage.late,
        "by_type": report.by_type,
        "first_created_at": outage.first_created_at,
        "last_created_at": outage.last_created_at,
        "detected_at": outage.first_noticed_at,
        "gaps": [gap(row) for row in tx.gaps.page(page)[:MAX_EVENTS]],
    }


def delivery_document(delivery: DeliveryHealth) -> EventDelivery:
    """How events arrive, as a document; durations in seconds."""
    signals, rate, detection = delivery.signals, delivery.signals.event_rate, delivery.detection
    return {
        "state": delivery.verdict,
        "summary": delivery.sentence,
        "needs_attention": delivery.needs_attention,
        "last_webhook_at": signals.last_webhook_at,
        "last_polled_event_at": signals.last_upstream_at,
        "typical_interval_seconds": rate.usual if rate else None,
        "longest_interval_seconds": rate.longest if rate else None,
        "listening_since": signals.listening_since,
        "polled_at": signals.polled_at,
        "polling_failing_since": signals.failing_since,
        "polling_error": signals.failure,
        "outage_since": signals.down_since,
        "missed": signals.missed,
        "detection": {
            "state": detection.state,
            "summary": detection.sentence,
            "compared": detection.compared,
            "missing": detection.lacking,
            "missing_by_type": dict(detection.lacking_types),
            "last_missing_at": detection.lacking_at,
            "compared_at": detection.compared_at,
        },
    }
