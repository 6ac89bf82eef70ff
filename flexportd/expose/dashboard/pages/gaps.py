"""The page of the gaps: whether webhooks arrive, and the events that polling recovered when they did not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from multidict import MultiDict

from flexportd.core.events.applier import event_title
from flexportd.core.labels import format_duration
from flexportd.core.outages import OutageReport, outages
from flexportd.core.resources.shipments import TABLE
from flexportd.expose.api.events import OUTAGES, next_outages_cursor
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.context import CLOCK, DISPLAY
from flexportd.expose.dashboard.page import PageTable
from flexportd.expose.dashboard.view.alerts import NO_KEY, PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, item_state, page_url, sentence, text
from flexportd.expose.dashboard.view.sync_report import delivery_sentence
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.transaction import Transaction

MOST = 20  # outages of a page
_EVENTS = 25  # shown of each

PAGES = PageTable("gaps")


class GapsData(NamedTuple):
    """Outages with their first events, one more than is shown; the stored shipments; the cursor of the next page."""

    spans: Sequence[tuple[OutageReport, Sequence[Mapping[str, Any]]]]
    shipments: Collection[int]
    next: str | None
    limit: int = MOST


async def _query(request: web.Request) -> ListRequest:
    query = {"limit": str(MOST), **query_params.parse_unique(request.query, ("cursor",))}
    params = query_params.parse_list_params(MultiDict(query), OUTAGES, request.app[DISPLAY])
    return await bind_cursor(request, params)


def read(tx: Transaction, request: web.Request, params: ListRequest) -> GapsData:
    """Outages with their events in one snapshot."""
    now = request.app[CLOCK].now()
    first = PageRequest(_EVENTS, "created_at", descending=False)
    spans = [
        (span, tx.gaps.page(replace(first, filters={"outage": (span.outage.after_seq,)})))
        for span in outages(tx, params.page, now)
    ]
    ids = {row["shipment_id"] for _, rows in spans for row in rows if row["shipment_id"] is not None}
    following = next_outages_cursor(tx, params, [span for span, _ in spans])
    stored = {int(key) for key in tx.resources.content_hashes(TABLE, sorted(ids))}
    return GapsData(spans, stored, following, params.page.limit)


@PAGES.page("/gaps", "gaps.html", query=_query, read=read)
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
        missed=tuple(_missed_event(row, shipments, view) for row in events[:_EVENTS]),
        all_url=f"/api/v1/gaps/events?outage={outage.after_seq}" if outage.events > _EVENTS else None,
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
