"""Notifications: the messages to channels, what became of what rules matched, and rules and channels as configured."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.identifiers import int_id
from flexportd.errors import InvalidError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.queue import DiscardRequest
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, NOTIFICATIONS, NotificationControl
from flexportd.expose.openapi.parameters import TIME, identifier, parse_time
from flexportd.expose.openapi.router import json_body, list_route, route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.serialize import serialize_fields
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.deliveries import (
    ITEM_KIND,
    LISTING,
    ChannelState,
    Delivery,
    DeliverySelection,
    Kind,
    State,
)
from flexportd.storage.repositories.notifications import LISTING as NOTIFICATIONS_LISTING
from flexportd.storage.repositories.notifications import Hold
from flexportd.storage.transaction import Transaction

MAX_RETRIED = 1000  # messages in one request
MAX_SHIPMENTS = 100  # of one message in a list
MAX_NOTIFICATIONS = 200  # of one message
RULE_PERIOD = timedelta(days=30)  # in which the matches of a rule are counted
_BATCH = 200  # messages in one transaction
_TAG = "notifications"

ChannelType = Literal["email", "slack", "webhook", "apprise"]


class DeliveryRecord(TypedDict):
    """One message to one channel. `failed`: it is no longer attempted, and is a dead letter of the queue."""

    id: str
    channel: str
    channel_type: ChannelType
    kind: Annotated[Kind, doc("summary: what a limit or quiet hours held back.")]
    state: State
    title: str
    rules: Annotated[list[str], doc("Names of its rules.")]
    shipments: Annotated[list[int], doc(f"The shipments that it is about, at most {MAX_SHIPMENTS}.")]
    notifications: Annotated[int, doc("Number of notifications in it.")]
    thread: Annotated[str | None, doc("The conversation that it belongs to.")]
    replaces: Annotated[str | None, doc("Id of the delivery whose message it replaces.")]
    created_at: Stamp
    updated_at: Stamp
    sent_at: Stamp | None
    attempts: Annotated[int, doc("Number of attempts, since it was last retried by a person.")]
    next_attempt_at: Annotated[Stamp | None, doc("Earliest time of the next attempt; null if there is none.")]
    error: Annotated[str | None, doc("Error of the last attempt, or why it was discarded.")]
    note: Annotated[str | None, doc("What to know although it was sent, such as a refused recipient.")]
    repeated: Annotated[bool, doc("Whether it may have arrived twice.")]
    dead_letter: Annotated[str | None, doc("Id of its dead letter.")]


class DeliveredNotification(TypedDict):
    """A notification in a message."""

    id: str
    topic: str
    rule: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    exception_id: int | None
    created_at: Stamp


class DeliveryDetail(DeliveryRecord):
    """A message with its text and its notifications."""

    text: Annotated[str, doc("What it says, as plain text without the title.")]
    topic: Annotated[str | None, doc("Its topic for programs.")]
    data: Annotated[dict[str, Any], doc("Its data for programs; empty in messages to people.")]
    contains: Annotated[list[DeliveredNotification], doc(f"Its notifications, at most {MAX_NOTIFICATIONS}.")]


class NotificationRecord(TypedDict):
    """One occurrence that a rule matched, for one channel, and what became of it."""

    id: str
    rule: str
    channel: str
    topic: str
    subject: Annotated[str, doc("What it is about: repeated messages about the same subject are limited.")]
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    exception_id: int | None
    state: Literal["waiting", "sent", "dropped"]
    waits_for: Annotated[
        Hold | None,
        doc("Why it waits: for others (gather), for quiet hours to end, for the rate limit, for the limit of "
            "repetitions, for the end of an outage, for the digest."),
    ]  # fmt: skip
    due_at: Annotated[Stamp | None, doc("Until when it waits.")]
    created_at: Stamp
    ended_at: Annotated[Stamp | None, doc("When it was sent or dropped.")]
    reason: Annotated[str | None, doc("Why it was dropped.")]
    delivery_id: Annotated[str | None, doc("The message that it is part of.")]


class NotificationRule(TypedDict):
    """A rule as configured, with what it matched in the last 30 days."""

    name: str
    enabled: bool
    shipped: Annotated[bool, doc("Whether it ships with flexportd; false: of your own configuration.")]
    on: Annotated[list[str], doc("Topics and patterns of topics.")]
    when: Annotated[dict[str, Any], doc("Conditions.")]
    channels: list[str]
    digest: str | None
    quiet: str | None
    timezone: str
    max_per_hour: int | None
    has_template: Annotated[bool, doc("Whether it has a text or a subject of its own.")]
    matches: int
    sent: Annotated[int, doc("Matches that were sent.")]
    dropped: Annotated[int, doc("Matches that were dropped; `/notifications` has the reasons.")]
    last_matched_at: Annotated[Stamp | None, doc("When it last matched, at any time.")]


class NotificationChannel(TypedDict):
    """A configured channel and its state. `off`: it failed for days or refused everything, and gets no messages."""

    name: str
    type: ChannelType
    destination: Annotated[str, doc("Where messages go; without secrets.")]
    state: Literal["working", "failing", "off"]
    failures: Annotated[int, doc("Failed attempts since the last success.")]
    failing_since: Stamp | None
    retry_at: Annotated[Stamp | None, doc("Nothing is sent before this time.")]
    error: Annotated[str | None, doc("Error of the last attempt.")]
    last_sent_at: Stamp | None
    pending: Annotated[int, doc("Number of messages that are not sent yet.")]
    pending_since: Annotated[Stamp | None, doc("When the oldest of them was created.")]
    failed: Annotated[int, doc("Number of messages that failed.")]


class RetryRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Whether to send a message once more that was sent."""

    again: Annotated[bool, doc("Send it once more although it was sent. It keeps its key.")] = False


_Time = Annotated[
    str,
    Meta(min_length=1, max_length=40, examples=["2026-03-21T12:00:00Z"], extra_json_schema={"anyOf": TIME["anyOf"]}),
]


class RetryManyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The messages of one channel to send again: failed or discarded ones, or for a webhook all of a time range."""

    channel: Annotated[str, Meta(min_length=1, max_length=64), doc("Name of the channel.")]
    state: Annotated[Literal["failed", "discarded"], doc("Which of those that were not sent.")] = "failed"
    since: Annotated[_Time | None, doc("Created on or after this day or time.")] = None
    until: Annotated[_Time | None, doc("Created before this day or time; default: now.")] = None
    include_sent: Annotated[
        bool, doc("Replay: also those that were sent, with the same ids. Only for webhooks, and with `since`.")
    ] = False
    after: Annotated[Annotated[str, Meta(pattern="^[0-9]{1,18}$")] | None, doc("`next` of the previous request.")] = (
        None
    )
    dry_run: Annotated[bool, doc("Only count.")] = False


class RetriedDeliveries(TypedDict):
    """The number of messages that match and that were queued again, and where to continue."""

    matching: Annotated[int, doc("Number of matching messages, including those retried by this request.")]
    retried: int
    next: Annotated[str | None, doc("The value of `after` for the next request; null if there are no more.")]
    until: Annotated[Stamp, doc("The end of the time range: use it for the following requests.")]


def delivery_rows(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of deliveries with their shipments and their items of the queue."""
    numbers = [row["id"] for row in rows]
    shipments = tx.deliveries.shipments(numbers)
    items = tx.items.with_merge_keys(ITEM_KIND, [str(number) for number in numbers])
    found = []
    for row in rows:
        item = items.get(str(row["id"]))
        is_next = item is not None and item.state == "ready" and row["state"] in ("waiting", "sending")
        computed = {
            "shipments": shipments.get(row["id"], [])[:MAX_SHIPMENTS],
            "next_attempt_at": item.ready_at if item is not None and is_next else None,
            "dead_letter": str(item.id) if item is not None and item.state == "dead" else None,
        }
        found.append({**row, **computed})
    return found


def delivery_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A delivery as a document."""
    return serialize_fields(
        DeliveryRecord,
        row,
        rules=msgspec.json.decode(row["rules"]),
        replaces=None if row["edits"] is None else str(row["edits"]),
        repeated=bool(row["is_repeated"]),
    )


def notification_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A notification as a document."""
    is_waiting = row["state"] == "waiting"
    return serialize_fields(
        NotificationRecord,
        row,
        waits_for=row["hold"] if is_waiting else None,
        due_at=row["due_at"] if is_waiting else None,
        delivery_id=None if row["delivery_id"] is None else str(row["delivery_id"]),
    )


def read_deliveries(tx: Transaction, page: PageRequest) -> list[dict[str, Any]]:
    """One page of deliveries."""
    return delivery_rows(tx, tx.deliveries.page(page))


LIST = ListEndpoint.of(
    DeliveryRecord, {"created_at": "id"}, LISTING.filters, read=read_deliveries, document=delivery_document
)

NOTIFICATION_LIST = ListEndpoint.of(
    NotificationRecord,
    {"created_at": "id"},
    NOTIFICATIONS_LISTING.filters,
    read=lambda tx, page: tx.notifications.page(page),
    document=notification_document,
)


@list_route("/deliveries", LIST.rules, DeliveryRecord, "newest first", tag=_TAG)
async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """List messages to channels, newest first."""
    return await LIST.respond(request)


@list_route("/notifications", NOTIFICATION_LIST.rules, NotificationRecord, "newest first", tag=_TAG)
async def list_notifications(request: web.Request) -> web.StreamResponse:
    """List what rules matched, newest first: sent, waiting, or dropped with the reason."""
    return await NOTIFICATION_LIST.respond(request)


def delivery_id(request: web.Request) -> int:
    """The delivery in the path. Raises NotFoundError."""
    number = int_id(request.match_info["id"])
    if number is None:
        raise not_found("delivery", request.match_info["id"])
    return number


def load(tx: Transaction, number: int) -> Delivery:
    """A delivery. Raises NotFoundError."""
    found = tx.deliveries.by_id(number)
    if found is None:
        raise not_found("delivery", number)
    return found


def detail(tx: Transaction, control: NotificationControl, number: int) -> dict[str, Any]:
    """A delivery with its text and its notifications. Raises NotFoundError."""
    found = load(tx, number)
    (row,) = delivery_rows(tx, [msgspec.structs.asdict(found)])
    content = msgspec.json.decode(found.content)
    return {
        **delivery_document(row),
        "text": control.render_text(found.content),
        "topic": content.get("topic") or None,
        "data": content.get("data") or {},
        "contains": [
            serialize_fields(DeliveredNotification, msgspec.structs.asdict(one))
            for one in tx.notifications.of_delivery(number, MAX_NOTIFICATIONS)
        ],
    }


@route("GET", "/deliveries/{id}", returns=DeliveryDetail, tag=_TAG)
async def get_delivery(request: web.Request) -> web.StreamResponse:
    """Get a message with its text and its notifications."""
    return await _respond_with_detail(request, delivery_id(request))


async def _respond_with_detail(request: web.Request, number: int) -> web.StreamResponse:
    app = request.app
    return await respond(request, lambda: app[DB].read(lambda tx: detail(tx, app[NOTIFICATIONS], number)))


@route(
    "POST",
    "/deliveries/{id}/retry",
    returns=DeliveryDetail,
    scope="admin",
    body=RetryRequest,
    body_required=False,
    problems=("conflict",),
    tag=_TAG,
)
async def retry_delivery(request: web.Request) -> web.StreamResponse:
    """Send a message again.

    For messages that failed or were discarded; one that waits is attempted now. With `again`, a message that was sent
    is sent once more, with the same key.
    """
    number = delivery_id(request)
    await request.app[NOTIFICATIONS].retry(number, again=json_body(request, RetryRequest).again)
    return await _respond_with_detail(request, number)


@route(
    "POST",
    "/deliveries/{id}/discard",
    returns=DeliveryDetail,
    scope="admin",
    body=DiscardRequest,
    problems=("conflict",),
    tag=_TAG,
)
async def discard_delivery(request: web.Request) -> web.StreamResponse:
    """Discard a message that waits or failed.

    It is kept, with the person and the reason, and can be retried.
    """
    number, body = delivery_id(request), json_body(request, DiscardRequest)
    await request.app[NOTIFICATIONS].discard(number, (body.discarded_by or "api").strip(), body.reason.strip())
    return await _respond_with_detail(request, number)


@route(
    "POST",
    "/deliveries/retry",
    returns=RetriedDeliveries,
    scope="admin",
    body=RetryManyRequest,
    problems=("conflict", "not-found"),
    tag=_TAG,
    description=f"At most {MAX_RETRIED} per request, oldest first: repeat it with `after` and `until` of the response "
    "until `next` is null. Other messages are sent before these.",
)
async def retry_deliveries(request: web.Request) -> web.StreamResponse:
    """Send messages of a channel again."""
    selection = _selection(request, json_body(request, RetryManyRequest))
    control, is_dry_run = request.app[NOTIFICATIONS], json_body(request, RetryManyRequest).dry_run
    matching = await control.count_matching(selection)
    retried, last = 0, selection.after
    while not is_dry_run and retried < MAX_RETRIED:
        numbers = await control.retry_matching(msgspec.structs.replace(selection, after=last), _BATCH)
        retried += len(numbers)
        last = numbers[-1] if numbers else last
        if len(numbers) < _BATCH:
            break
    document: RetriedDeliveries = {
        "matching": matching,
        "retried": retried,
        "next": str(last) if matching > retried and not is_dry_run else None,
        "until": selection.until,
    }
    return await respond_with(request, document)


def _selection(request: web.Request, body: RetryManyRequest) -> DeliverySelection:
    """What a request selects. Raises InvalidError."""
    since = None if body.since is None else parse_time("since", body.since)
    until = stamp(request.app[CLOCK].now()) if body.until is None else parse_time("until", body.until)
    if body.include_sent and since is None:
        raise InvalidError("since is missing; with include_sent the beginning of the time range is required", "since")
    if since is not None and since >= until:
        raise InvalidError(f"since is {since}, which is not before until ({until})", "since")
    states: list[State] = [body.state]
    return DeliverySelection(
        states=[*states, "sent"] if body.include_sent else states,
        channel=body.channel,
        since=since or "",
        until=until,
        after=int(body.after or 0),
    )


@route("GET", "/notify/rules", returns=json_response(list_schema(NotificationRule), "All rules."), tag=_TAG)
async def list_notification_rules(request: web.Request) -> web.StreamResponse:
    """List the rules of notifications as configured, with their matches in the last 30 days."""
    app = request.app
    rules, since = app[NOTIFICATIONS].list_rules(), stamp(app[CLOCK].now() - RULE_PERIOD)
    found = await app[DB].read(lambda tx: rule_documents(tx, rules, since))
    return await respond_with(request, {"data": found, "next": None, "as_of": None})


def rule_documents(tx: Transaction, rules: Sequence[Mapping[str, Any]], since: str) -> list[dict[str, Any]]:
    """Rules with their matches since a time."""
    counts = tx.notifications.rule_counts(since)
    names = ("matches", "sent", "dropped", "last_matched_at")
    return [{**rule, **dict(zip(names, counts.get(rule["name"], (0, 0, 0, None)), strict=True))} for rule in rules]


@route("GET", "/notify/channels", returns=json_response(list_schema(NotificationChannel), "All channels."), tag=_TAG)
async def list_notification_channels(request: web.Request) -> web.StreamResponse:
    """List the channels of notifications with their state."""
    app = request.app
    channels = app[NOTIFICATIONS].list_channels()
    found = await app[DB].read(lambda tx: channel_documents(tx, channels))
    return await respond_with(request, {"data": found, "next": None, "as_of": None})


def channel_documents(tx: Transaction, channels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Channels with their states."""
    states, pending, failed = tx.deliveries.channel_states(), tx.deliveries.pending(), tx.deliveries.failed()
    found = []
    for channel in channels:
        name = channel["name"]
        count, oldest = pending.get(name, (0, None))
        state = msgspec.structs.asdict(states.get(name) or ChannelState(name))
        del state["channel"]
        found.append({**channel, **state, "pending": count, "pending_since": oldest, "failed": failed.get(name, 0)})
    return found


@route(
    "POST",
    "/notify/channels/{name}/resume",
    returns=NotificationChannel,
    scope="admin",
    tag=_TAG,
    path_parameters=(identifier("Name of the channel.", "name", "ops"),),
)
async def resume_notification_channel(request: web.Request) -> web.StreamResponse:
    """Resume a channel that fails or is switched off.

    Its next message is attempted at once. Messages that have failed remain so: retry them.
    """
    app, name = request.app, request.match_info["name"]
    await app[NOTIFICATIONS].resume_channel(name)
    channels = [channel for channel in app[NOTIFICATIONS].list_channels() if channel["name"] == name]
    (found,) = await app[DB].read(lambda tx: channel_documents(tx, channels))
    return await respond_with(request, found)
