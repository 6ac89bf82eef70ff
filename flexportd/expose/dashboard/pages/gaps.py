"""The page of the gaps: whether webhooks arrive, and what polling brought when they did not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from flexportd.core.events.applier import event_title
from flexportd.core.labels import format_duration
from flexportd.core.outages import OutageReport, outages
from flexportd.core.resources.shipments import TABLE
from flexportd.expose.api.gaps import next_outages_cursor
from flexportd.expose.dashboard.view.alerts import NO_KEY, StoredStatus, sentence
from flexportd.expose.dashboard.view.dates import DateText, RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, short_text, text
from flexportd.expose.dashboard.view.list_status import Sentence, delivery_sentence
from flexportd.expose.openapi.query_params import ListRequest
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.transaction import Transaction

MOST = 20  # outages of a page
_EVENTS = 25  # shown of each

_STATES = {
    "applied": Badge("Applied", "delivered"),
    "coalesced": Badge("Applied", "delivered"),
    "ignored": Badge("Ignored", "plain"),
    "ready": Badge("Waiting", "arriving"),
    "dead": Badge("Failed", "bad"),
}


@dataclass(frozen=True, slots=True)
class GapsData:
    """Outages with their first events, one more than are shown if others follow; which shipments of theirs are here.

    `next` is the cursor of the next page.
    """

    spans: Sequence[tuple[OutageReport, Sequence[Mapping[str, Any]]]]
    shipments: Collection[int]
    next: str | None


@dataclass(frozen=True, slots=True)
class MissedEventRow:
    """An event that no webhook brought; `url` leads to it while it is kept."""

    title: Text
    at: DateText | None
    noticed: DateText | None
    url: str | None
    shipment_id: int | None
    state: Badge
    late: DateText | None


@dataclass(frozen=True, slots=True)
class OutageRow:
    """One outage: from the last webhook before it to the first after it."""

    number: int
    since: DateText | None
    until: DateText | None
    lasted: str
    sentence: str
    events: str
    repaired: str
    is_repaired: bool
    late: str
    missed: tuple[MissedEventRow, ...]
    all_url: str | None


@dataclass(frozen=True, slots=True)
class GapsPage:
    """Everything the page of the gaps shows; `blindness` is why gaps cannot be seen, where that is so."""

    verdict: Sentence
    blindness: str | None
    rhythm: str | None
    last_webhook: RelativeTime | None
    last_upstream: RelativeTime | None
    polled: RelativeTime | None
    no_key: str | None
    rows: tuple[OutageRow, ...]
    next_url: str | None


def read(tx: Transaction, asked: ListRequest, now: datetime) -> GapsData:
    """Outages with their events in one snapshot."""
    spans = [(span, tx.gaps.page(_events_of(span))) for span in outages(tx, asked.page, now)]
    named = {row["shipment_id"] for _, rows in spans for row in rows if row["shipment_id"] is not None}
    following = next_outages_cursor(tx, asked, [span for span, _ in spans])
    return GapsData(spans, {int(key) for key in tx.resources.content_hashes(TABLE, sorted(named))}, following)


def _events_of(span: OutageReport) -> PageRequest:
    return PageRequest(_EVENTS, "created_at", descending=False, filters={"outage": (span.outage.after_seq,)})


def gaps_page(
    found: GapsData, noted: StoredStatus, asked: ListRequest, sight: ViewContext, *, has_key: bool
) -> GapsPage:
    """The gaps in words."""
    limit, clocks = asked.page.limit, noted.health.signals
    rhythm, detection = clocks.event_rate, noted.health.detection
    return GapsPage(
        verdict=replace(delivery_sentence(noted), url=None, link=None),
        blindness=None if detection.state == "working" else sentence(detection.sentence),
        rhythm=f"{format_duration(rhythm.usual)}, longest {format_duration(rhythm.longest)}" if rhythm else None,
        last_webhook=sight.ago(clocks.last_webhook_at),
        last_upstream=sight.ago(clocks.last_upstream_at),
        polled=sight.ago(clocks.polled_at),
        no_key=None if has_key else NO_KEY,
        rows=tuple(_outage(span, events, found.shipments, sight) for span, events in found.spans[:limit]),
        next_url=None if found.next is None else f"/gaps?{urlencode({'cursor': found.next})}",
    )


def _outage(
    span: OutageReport, events: Sequence[Mapping[str, Any]], shipments: Collection[int], sight: ViewContext
) -> OutageRow:
    outage = span.outage
    rest = [(outage.waiting, "waiting"), (outage.dead, "failed")]
    repaired = f"{span.repaired:,} of {outage.events:,}"
    repaired += "".join(f", {number:,} {what}" for number, what in rest if number)
    more = outage.events > _EVENTS
    return OutageRow(
        number=outage.after_seq,
        since=sight.instant(outage.deaf_since),
        until=sight.instant(span.until),
        lasted=format_duration(span.seconds),
        sentence=sentence(span.sentence),
        events=count(outage.events, "event"),
        repaired=repaired,
        is_repaired=span.repaired == outage.events,
        late=f"{outage.late:,}",
        missed=tuple(_missed_event(row, shipments, sight) for row in events[:_EVENTS]),
        all_url=f"/api/v1/gaps/events?outage={outage.after_seq}" if more else None,
    )


def _missed_event(row: Mapping[str, Any], shipments: Collection[int], sight: ViewContext) -> MissedEventRow:
    state = row["state"]
    return MissedEventRow(
        title=text(event_title(row["type"]), 60) or Text("Event"),
        at=sight.instant(row["occurred_at"] or row["created_at"]),
        noticed=sight.instant(row["detected_at"]),
        url=f"/events/{quote(row['event_id'], safe='')}" if state else None,
        shipment_id=row["shipment_id"] if row["shipment_id"] in shipments else None,
        state=_STATES.get(state) or Badge(short_text(state) or "No longer kept", "plain"),
        late=sight.instant(row["delivered_at"]),
    )
