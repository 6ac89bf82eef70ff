"""The page of the gaps: whether webhooks arrive, and what polling brought when they did not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from flexportd.core.events.applier import event_title
from flexportd.core.outages import Span, lasting, outages
from flexportd.core.resources.shipments import TABLE
from flexportd.expose.api.gaps import next_outages
from flexportd.expose.dashboard.view.alerts import NO_KEY, Noted, sentence
from flexportd.expose.dashboard.view.dates import Ago, Sight, When, count
from flexportd.expose.dashboard.view.labels import Pill, Text, text, word
from flexportd.expose.dashboard.view.list_status import Sentence, heard
from flexportd.expose.openapi.query_params import Asked
from flexportd.storage.queries.list_query import Page
from flexportd.storage.transaction import Session

MOST = 20  # outages of a page
_EVENTS = 25  # shown of each

_STATES = {
    "applied": Pill("Applied", "delivered"),
    "coalesced": Pill("Applied", "delivered"),
    "ignored": Pill("Ignored", "plain"),
    "ready": Pill("Waiting", "arriving"),
    "dead": Pill("Failed", "bad"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Outages with their first events, one more than are shown if others follow; which shipments of theirs are here.

    `next` is the cursor of the next page.
    """

    spans: Sequence[tuple[Span, Sequence[Mapping[str, Any]]]]
    shipments: Collection[int]
    next: str | None


@dataclass(frozen=True, slots=True)
class Missed:
    """An event that no webhook brought; `url` leads to it while it is kept."""

    title: Text
    at: When | None
    noticed: When | None
    url: str | None
    shipment_id: int | None
    state: Pill
    late: When | None


@dataclass(frozen=True, slots=True)
class OutageRow:
    """One outage: from the last webhook before it to the first after it."""

    number: int
    since: When | None
    until: When | None
    lasted: str
    sentence: str
    events: str
    repaired: str
    is_repaired: bool
    late: str
    missed: tuple[Missed, ...]
    all_url: str | None


@dataclass(frozen=True, slots=True)
class GapsPage:
    """Everything the page of the gaps shows; `blindness` is why gaps cannot be seen, where that is so."""

    verdict: Sentence
    blindness: str | None
    rhythm: str | None
    last_webhook: Ago | None
    last_upstream: Ago | None
    polled: Ago | None
    no_key: str | None
    rows: tuple[OutageRow, ...]
    next_url: str | None


def read(tx: Session, asked: Asked, now: datetime) -> Found:
    """Outages with their events in one snapshot."""
    spans = [(span, tx.gaps.page(_events_of(span))) for span in outages(tx, asked.page, now)]
    named = {row["shipment_id"] for _, rows in spans for row in rows if row["shipment_id"] is not None}
    following = next_outages(tx, asked, [span for span, _ in spans])
    return Found(spans, {int(key) for key in tx.resources.marks(TABLE, sorted(named))}, following)


def _events_of(span: Span) -> Page:
    return Page(_EVENTS, "created_at", descending=False, filters={"outage": (span.outage.after_seq,)})


def gaps_page(found: Found, noted: Noted, asked: Asked, sight: Sight, *, has_key: bool) -> GapsPage:
    """The gaps in words."""
    limit, clocks = asked.page.limit, noted.health.clocks
    rhythm, detection = clocks.rhythm, noted.health.detection
    return GapsPage(
        verdict=replace(heard(noted), url=None, link=None),
        blindness=None if detection.state == "working" else sentence(detection.sentence),
        rhythm=f"{lasting(rhythm.usual)}, longest {lasting(rhythm.longest)}" if rhythm else None,
        last_webhook=sight.ago(clocks.last_webhook_at),
        last_upstream=sight.ago(clocks.last_upstream_at),
        polled=sight.ago(clocks.polled_at),
        no_key=None if has_key else NO_KEY,
        rows=tuple(_outage(span, events, found.shipments, sight) for span, events in found.spans[:limit]),
        next_url=None if found.next is None else f"/gaps?{urlencode({'cursor': found.next})}",
    )


def _outage(span: Span, events: Sequence[Mapping[str, Any]], shipments: Collection[int], sight: Sight) -> OutageRow:
    outage = span.outage
    rest = [(outage.waiting, "waiting"), (outage.dead, "failed")]
    repaired = f"{span.repaired:,} of {outage.events:,}"
    repaired += "".join(f", {number:,} {what}" for number, what in rest if number)
    more = outage.events > _EVENTS
    return OutageRow(
        number=outage.after_seq,
        since=sight.instant(outage.deaf_since),
        until=sight.instant(span.until),
        lasted=lasting(span.seconds),
        sentence=sentence(span.sentence),
        events=count(outage.events, "event"),
        repaired=repaired,
        is_repaired=span.repaired == outage.events,
        late=f"{outage.late:,}",
        missed=tuple(_missed(row, shipments, sight) for row in events[:_EVENTS]),
        all_url=f"/api/v1/gaps/events?outage={outage.after_seq}" if more else None,
    )


def _missed(row: Mapping[str, Any], shipments: Collection[int], sight: Sight) -> Missed:
    state = row["state"]
    return Missed(
        title=text(event_title(row["type"]), 60) or Text("Event"),
        at=sight.instant(row["occurred_at"] or row["created_at"]),
        noticed=sight.instant(row["detected_at"]),
        url=f"/events/{quote(row['event_id'], safe='')}" if state else None,
        shipment_id=row["shipment_id"] if row["shipment_id"] in shipments else None,
        state=_STATES.get(state) or Pill(word(state) or "No longer kept", "plain"),
        late=sight.instant(row["delivered_at"]),
    )
