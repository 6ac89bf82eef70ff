"""The pages of events and their processing: the queue, dead letters, one event, gaps; and their forms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from multidict import MultiDict

from flexportd.core.events.applier import event_title
from flexportd.core.history.provenance import TraceStep, trace_event
from flexportd.core.labels import format_duration
from flexportd.core.outages import OutageReport, outages
from flexportd.core.resources.shipments import TABLE
from flexportd.errors import NotFoundError
from flexportd.escape import escape_control
from flexportd.expose.api.events import OUTAGES, next_outages_cursor
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.api.queue import dead_letter, detail, item_id
from flexportd.expose.context import CLOCK, DISPLAY, QUEUE, REGISTRY
from flexportd.expose.dashboard.page import SUBMIT_GUARD, ListPageQuery, PageTable, discard_reason, done
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import NO_KEY, PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import (
    Badge,
    Text,
    event_url,
    item_state,
    page_url,
    sentence,
    short_text,
    text,
)
from flexportd.expose.dashboard.view.sync_report import delivery_sentence
from flexportd.expose.dashboard.view.values import named_values, time_text, value_group, value_text
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest, ListRules
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.items import DEAD_LETTERS
from flexportd.storage.transaction import Transaction

NOTICES = {
    "retried": "The dead letter was queued for retry.",
    "discarded": "The dead letter was discarded. It is kept with your reason.",
    "paused": "Queue paused. Webhooks are still accepted and stored.",
    "resumed": "Queue resumed.",
}

RULES = ListRules(
    sorts={"enqueued_at": "id"},
    filters={"discarded": DEAD_LETTERS.filters["discarded"]},
    fields=(),
    fixed_filters={"dead": ()},
)

PAGES = PageTable("queue")


class QueueData(NamedTuple):
    """Counts by state and one page of dead letters; `next` is the cursor of the next page."""

    query: ListPageQuery
    stats: Mapping[str, tuple[int, str | None]]
    letters: Sequence[Mapping[str, Any]]
    next: str | None


async def _query(request: web.Request) -> ListPageQuery:
    sent = query_params.parse_unique(request.query, ("limit", "cursor", "discarded", "done"))
    filters = {"discarded": "false", **{name: value for name, value in sent.items() if name != "done"}}
    params = query_params.parse_list_params(MultiDict(filters), RULES, request.app[DISPLAY])
    return ListPageQuery(sent, await bind_cursor(request, params))


def read(tx: Transaction, _request: web.Request, query: ListPageQuery) -> QueueData:
    """Counts and dead letters in one snapshot."""
    letters = tx.items.dead_letters(query.params.page)
    return QueueData(query, tx.items.stats(), letters, query.params.encode_next_cursor(tx, letters))


@PAGES.page("/queue", "queue.html", query=_query, read=read)
def queue_page(data: QueueData, context: PageContext) -> SimpleNamespace:
    """The queue; not cached, as it shows the present moment."""
    sent, page = data.query.sent, data.query.params.page
    return SimpleNamespace(
        notice=NOTICES.get(sent.get("done", "")),
        is_paused=context.runtime.is_paused,
        counts=_counts(data.stats, context.view),
        letters=tuple(_dead_letter_row(row, context.view) for row in data.letters[: page.limit]),
        shows_discarded="discarded" in page.filters,
        next_url=None if data.next is None else page_url("/queue", sent, cursor=data.next, done=""),
    )


def _counts(stats: Mapping[str, tuple[int, str | None]], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    words = (
        ("ready", "Waiting", "to be processed", "plain"),
        ("leased", "Running", "in progress", "plain"),
        ("dead", "Dead letters", "failed permanently", "bad" if stats["dead"][0] else "plain"),
    )
    return tuple(
        SimpleNamespace(
            title=title, count=f"{stats[state][0]:,}", meaning=meaning, tone=tone, oldest=view.ago(stats[state][1])
        )
        for state, title, meaning, tone in words
    )


def _dead_letter_row(row: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    discarded, event, document = None, text(row["event_id"], 80), dead_letter(row)
    if row["discarded_at"]:
        at = view.instant(row["discarded_at"])
        who = short_text(row["discarded_by"]) or "someone"
        reason = short_text(row["discard_reason"], 200) or "no reason given"
        discarded = f"Discarded by {who} on {at.text if at else 'an unknown date'}: {reason}"
    return SimpleNamespace(
        id=row["id"],
        title=text(document["title"], 120) or Text("Event"),
        type=short_text(row["event_type"], 80),
        delivery_url=f"/deliveries/{document['delivery_id']}" if document["delivery_id"] else None,
        event=event and Text(event.shown, event.whole, event_url(row["event_id"])),
        shipment_id=row["shipment_id"],
        error=text(row["error"], 300),
        attempts=count(row["attempts"], "attempt"),
        failed_at=view.instant(row["ended_at"]),
        discarded=discarded,
    )


@PAGES.form("/queue/pause")
@PAGES.form("/queue/resume")
async def set_paused(request: web.Request) -> web.StreamResponse:
    """Pause or resume the queue."""
    paused = request.path.endswith("/pause")
    await request.app[QUEUE].set_paused(paused=paused)
    return done("/queue", "paused" if paused else "resumed")


@PAGES.form("/queue/dead-letters/{id}/retry")
async def retry(request: web.Request) -> web.StreamResponse:
    """Queue a dead letter again."""
    number = item_id(request)

    async def work() -> None:
        if not await request.app[QUEUE].retry([number]):
            raise NotFoundError(f"there is no dead letter {number}; it may already have been retried")

    await request.app[SUBMIT_GUARD].once(request, work)
    return done("/queue", "retried")


@PAGES.form("/queue/dead-letters/{id}/discard")
async def discard(request: web.Request) -> web.StreamResponse:
    """Discard a dead letter, with the reason in the field `why`."""
    number, queue = item_id(request), request.app[QUEUE]
    reason = await discard_reason(request)
    await request.app[SUBMIT_GUARD].once(request, lambda: queue.discard(number, "dashboard", reason), reason)
    return done("/queue", "discarded")


DeadLetterData = tuple[Mapping[str, Any], Mapping[str, Text]]
"""The API's document, and the pages of the event and its objects."""


def read_dead_letter(tx: Transaction, request: web.Request, _query: None) -> DeadLetterData:
    """The dead letter that the path names. Raises NotFoundError."""
    document = detail(tx, item_id(request))
    if document["delivery_id"]:
        return document, {"Notification": Text(document["delivery_id"], url=f"/deliveries/{document['delivery_id']}")}
    event = tx.events.by_id(document["event_id"]) if document["event_id"] else None
    if event is None:
        return document, {}
    name = Text(escape_control(event["id"], 80), url=event_url(event["id"]))
    return document, {"Event": name, **related.event_links(tx, request.app[REGISTRY], event)}


@PAGES.page("/queue/dead-letters/{id}", "dead_letter.html", read=read_dead_letter)
def dead_letter_page(data: DeadLetterData, context: PageContext) -> SimpleNamespace:
    """A dead letter with all its attempts."""
    (document, links), view = data, context.view
    details = [
        ("Kind", text(value_text(document["kind"], view, "kind"))),
        ("Type", text(document["event_type"], 120)),
        *links.items(),
        ("Queued", time_text(document["enqueued_at"], view)),
        ("Failed", time_text(document["ended_at"], view)),
        ("Discarded", time_text(document["discarded_at"], view)),
        ("Discarded by", text(document["discarded_by"])),
        ("Reason", text(document["discard_reason"], 300)),
    ]
    return SimpleNamespace(
        id=document["id"],
        title=text(document["title"], 120) or Text("Event"),
        groups=value_group("Details", named_values(details)),
        attempts=tuple(
            (f"{row['attempt']:,}", view.instant(row["at"]), text(row["error"], 300) or Text("No error recorded"))
            for row in document["failed_attempts"]
        ),
        json_url=f"/api/v1/dead-letters/{document['id']}",
    )


_SOURCES = {"webhook": "Webhook", "events": "Flexport's event log"}
_MOST_STEPS = 60

EVENT_PAGES = PageTable("events")


class EventData(NamedTuple):
    """An event with its trace; `links` are the pages of its shipment, its object and its dead letter."""

    row: Mapping[str, Any]
    steps: Sequence[TraceStep]
    links: Mapping[str, Text]


def read_event(tx: Transaction, request: web.Request, _query: None) -> EventData:
    """The event that the path names. Raises NotFoundError."""
    registry = request.app[REGISTRY]
    row, steps = trace_event(tx, registry, request.match_info["id"])
    links = related.event_links(tx, registry, row)
    item = tx.items.of_event(row["seq"])
    if item is not None and item[1] == "dead":
        links["Dead letter"] = Text(str(item[0]), url=f"/queue/dead-letters/{item[0]}")
    return EventData(row, steps, links)


@EVENT_PAGES.page("/events/{id:[^/]+}", "event.html", read=read_event)
def event_page(data: EventData, context: PageContext) -> SimpleNamespace:
    """The event with its times and its processing."""
    row, view, url = data.row, context.view, event_url(data.row["id"])
    details = [
        ("Event", text(row["id"], 120)),
        ("Type", text(row["type"], 120)),
        ("Source", text(_SOURCES.get(row["source"], row["source"]))),
        *data.links.items(),
        ("Occurred", time_text(row["occurred_at"], view)),
        ("Recorded by Flexport", time_text(row["created_at"], view)),
        ("Received", time_text(row["received_at"], view)),
        ("Processed", time_text(row["ended_at"], view)),
        ("Reason", text(row["reason"], 300)),
    ]
    return SimpleNamespace(
        title=text(event_title(row["type"]), 120) or Text("Event"),
        state=item_state(row["state"]) or Badge("Unknown", "other"),
        groups=value_group("Details", named_values(details)),
        steps=tuple(
            (view.instant(step.at), text(f"{step.text[:1].upper()}{step.text[1:]}.", 400) or Text(""))
            for step in data.steps[:_MOST_STEPS]
        ),
        json_url=f"/api/v1{url}" if url else None,
    )


MOST_OUTAGES = 20  # outages of a page
_EVENTS_OF_OUTAGE = 25  # shown of each

GAPS_PAGES = PageTable("gaps")


class GapsData(NamedTuple):
    """Outages with their first events, one more than is shown; the stored shipments; the cursor of the next page."""

    spans: Sequence[tuple[OutageReport, Sequence[Mapping[str, Any]]]]
    shipments: Collection[int]
    next: str | None
    limit: int = MOST_OUTAGES


async def _query_gaps(request: web.Request) -> ListRequest:
    query = {"limit": str(MOST_OUTAGES), **query_params.parse_unique(request.query, ("cursor",))}
    params = query_params.parse_list_params(MultiDict(query), OUTAGES, request.app[DISPLAY])
    return await bind_cursor(request, params)


def read_gaps(tx: Transaction, request: web.Request, params: ListRequest) -> GapsData:
    """Outages with their events in one snapshot."""
    now = request.app[CLOCK].now()
    first = PageRequest(_EVENTS_OF_OUTAGE, "created_at", descending=False)
    spans = [
        (span, tx.gaps.page(replace(first, filters={"outage": (span.outage.after_seq,)})))
        for span in outages(tx, params.page, now)
    ]
    ids = {row["shipment_id"] for _, rows in spans for row in rows if row["shipment_id"] is not None}
    following = next_outages_cursor(tx, params, [span for span, _ in spans])
    stored = {int(key) for key in tx.resources.content_hashes(TABLE, sorted(ids))}
    return GapsData(spans, stored, following, params.page.limit)


@GAPS_PAGES.page("/gaps", "gaps.html", query=_query_gaps, read=read_gaps)
def gaps_page(data: GapsData, context: PageContext) -> SimpleNamespace:
    """The gaps; not cached, as the time since the last webhook grows."""
    view, health = context.view, context.stored.health
    signals, rate = health.signals, health.signals.event_rate
    return SimpleNamespace(
        verdict=delivery_sentence(context.stored)._replace(url=None, link=None),
        undetectable=None if health.detection.state == "working" else sentence(health.detection.sentence),
        interval=f"{format_duration(rate.usual)}, longest {format_duration(rate.longest)}" if rate else None,
        last_webhook=view.ago(signals.last_webhook_at),
        last_upstream=view.ago(signals.last_upstream_at),
        polled=view.ago(signals.polled_at),
        no_key=None if context.runtime.has_key else NO_KEY,
        rows=tuple(_outage(span, events, data.shipments, view) for span, events in data.spans[: data.limit]),
        next_url=None if data.next is None else page_url("/gaps", {}, cursor=data.next),
    )


def _outage(
    span: OutageReport, events: Sequence[Mapping[str, Any]], shipments: Collection[int], view: ViewContext
) -> SimpleNamespace:
    outage = span.outage
    recovered = f"{span.repaired:,} of {outage.events:,}"
    rest = ((outage.waiting, "waiting"), (outage.dead, "failed"))
    recovered += "".join(f", {number:,} {state}" for number, state in rest if number)
    return SimpleNamespace(
        number=outage.after_seq,
        since=view.instant(outage.deaf_since),
        until=view.instant(span.until),
        duration=format_duration(span.seconds),
        sentence=sentence(span.sentence),
        events=count(outage.events, "event"),
        recovered=recovered,
        is_recovered=span.repaired == outage.events,
        late=f"{outage.late:,}",
        missed=tuple(_missed_event(row, shipments, view) for row in events[:_EVENTS_OF_OUTAGE]),
        all_url=f"/api/v1/gaps/events?outage={outage.after_seq}" if outage.events > _EVENTS_OF_OUTAGE else None,
    )


def _missed_event(row: Mapping[str, Any], shipments: Collection[int], view: ViewContext) -> SimpleNamespace:
    state = row["state"]
    return SimpleNamespace(
        title=text(event_title(row["type"]), 60) or Text("Event"),
        at=view.instant(row["occurred_at"] or row["created_at"]),
        recovered=view.instant(row["detected_at"]),
        url=f"/events/{quote(row['event_id'], safe='')}" if state else None,
        shipment_id=row["shipment_id"] if row["shipment_id"] in shipments else None,
        state=item_state(state) or Badge("No longer stored", "plain"),
        late=view.instant(row["delivered_at"]),
    )
