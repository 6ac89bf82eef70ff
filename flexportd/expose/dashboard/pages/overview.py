"""The overview: shipments by stage, late and upcoming arrivals, latest changes, and the state of the daemon."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import msgspec
from aiohttp import web

from flexportd.clock import stamp
from flexportd.core.resources.shipments import TABLE
from flexportd.escape import escape_control
from flexportd.expose.context import CLOCK
from flexportd.expose.dashboard.layout import is_customer
from flexportd.expose.dashboard.page import PageTable, no_query, redirect
from flexportd.expose.dashboard.view.alerts import REFUSED_URL, PageContext, RuntimeStatus, count_open
from flexportd.expose.dashboard.view.dates import DateText, ViewContext, count
from flexportd.expose.dashboard.view.history import OVERVIEW_FIELDS, recent_changes
from flexportd.expose.dashboard.view.labels import ARRIVED, STAGES, JourneyStage, page_url, sentence, status
from flexportd.expose.dashboard.view.shipment_rows import shipment_row
from flexportd.expose.dashboard.view.sync_report import LastRun, completeness, list_rows
from flexportd.expose.webhook_refusals import current_refusals
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.sync import Receipt
from flexportd.storage.transaction import Transaction

_CANDIDATES = 100  # rows to choose the late and upcoming arrivals from
_SHOWN = 8
_DAYS_AHEAD = 7
_RECENT_CHANGES = 16
_STATUSES = 12  # of one stage; Flexport has fewer, but may add some
_LONGEST = 60  # characters of a status in a filter

State = Literal["good", "warn", "bad"]

PAGES = PageTable("overview")


class OverviewData(NamedTuple):
    """What the database says; `receipts` are those of the last full sync that has ended."""

    by_status: Mapping[str, int]
    upcoming: Sequence[Mapping[str, Any]]
    overdue: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]
    last_received_at: str | None
    queue: Mapping[str, tuple[int, str | None]]
    receipts: Sequence[Receipt]
    is_syncing: bool = False  # whether a full sync is running


class HealthRow(NamedTuple):
    """The state of one part of the system."""

    title: str
    state: State
    word: str
    detail: str
    when: DateText | None = None
    url: str | None = None


async def _query(request: web.Request) -> web.StreamResponse | None:
    await no_query(request)
    return redirect("/shipments") if is_customer(request) else None


def read(tx: Transaction, request: web.Request, _query: None) -> OverviewData:
    """Everything in one snapshot."""
    now, run = request.app[CLOCK].now(), tx.sync.last("full")
    by_status = tx.resources.counts(TABLE, "status")
    in_transit = msgspec.json.encode([name for name in by_status if name not in ARRIVED]).decode()
    # A day more at either end: the day depends on the place.
    begin, end = stamp(now - timedelta(days=1)), stamp(now + timedelta(days=_DAYS_AHEAD + 1))
    soon = {"eta_after": (begin,), "eta_before": (end,), "not_archived": ()}
    late = {"status": (in_transit,), "eta_before": (stamp(now),), "not_archived": ()}
    return OverviewData(
        by_status=by_status,
        upcoming=tx.resources.page(TABLE, PageRequest(_CANDIDATES, "eta_at", descending=False, filters=soon)),
        overdue=tx.resources.page(TABLE, PageRequest(_CANDIDATES, "eta_at", descending=True, filters=late)),
        changes=tx.changes.recent(OVERVIEW_FIELDS, _RECENT_CHANGES),
        last_received_at=tx.events.newest()[0],
        queue=tx.items.stats(),
        receipts=tx.sync.receipts(run.id) if run else (),
        is_syncing=tx.sync.running("full") is not None,
    )


@PAGES.page("/", "overview.html", query=_query, read=read, for_audiences=True)
def overview_page(data: OverviewData, context: PageContext) -> SimpleNamespace:
    """The overview; not cached, as it shows the present state of the daemon."""
    total = sum(data.by_status.values())
    return SimpleNamespace(
        total=count(total, "shipment"),
        alerts=context.alerts,
        stages=tuple(_stages(data.by_status, total)),
        arrivals=(_late_arrivals(data.overdue, context.view), _arriving_soon(data.upcoming, context.view)),
        changes=recent_changes(data.changes, context.view),
        health=(
            _exceptions(context),
            _webhooks(data, context),
            _mirror(data, context),
            _queue(data, context.runtime),
            _daemon(context.runtime),
        ),
        setup_hint=None if data.by_status else context.runtime.setup_hint(),
    )


def _stages(by_status: Mapping[str, int], total: int) -> Iterator[SimpleNamespace]:
    """The stages of the journey with their statuses; `share` of all shipments in percent."""
    known = {name for stage in STAGES for name in stage.statuses}
    others = tuple(sorted(name for name in by_status if name not in known))
    for stage in (*STAGES, *([JourneyStage("other", "Other", others)] if others else ())):
        number = sum(by_status.get(name, 0) for name in stage.statuses)
        yield SimpleNamespace(
            tone=stage.tone,
            title=stage.title,
            count=f"{number:,}",
            share=round(100 * number / (total or 1)),
            url=_list_url(*stage.statuses),
            statuses=[
                SimpleNamespace(
                    badge=status(None if name == "unknown" else name), count=f"{shown:,}", url=_list_url(name)
                )
                for name in stage.statuses[:_STATUSES]  # shipments without a status are counted under "unknown"
                if (shown := by_status.get(name))
            ],
        )


def _list_url(*names: str) -> str:
    """The list of shipments with these statuses, as far as a comma-separated filter can express them."""
    statuses = ",".join([name for name in names if len(name) <= _LONGEST and "," not in name][:_STATUSES])
    return page_url("/shipments", {"status": statuses, "archived": "all"})


def _arriving_soon(rows: Sequence[Mapping[str, Any]], view: ViewContext) -> SimpleNamespace:
    def due(eta: str) -> str | None:
        past = view.days_past(eta)
        return view.countdown(eta) if past is not None and past >= -_DAYS_AHEAD else None

    today = view.now.date()
    query = {"sort": "eta", "eta_after": f"{today}", "eta_before": f"{today + timedelta(days=_DAYS_AHEAD + 1)}"}
    title, empty = "Arriving in the next 7 days", "No arrivals in the next 7 days."
    return _arrival_list(title, empty, rows, due, query, view=view, is_late=False)


def _late_arrivals(rows: Sequence[Mapping[str, Any]], view: ViewContext) -> SimpleNamespace:
    def due(eta: str) -> str | None:
        delay = view.delay(eta, None)
        return delay.text if delay else None

    in_transit = ",".join(name for stage in STAGES for name in stage.statuses if name not in ARRIVED)
    query = {"sort": "-eta", "eta_before": f"{view.now.date()}", "status": in_transit}
    return _arrival_list("Late arrivals", "No late arrivals.", rows, due, query, view=view, is_late=True)


def _arrival_list(
    title: str,
    empty: str,
    rows: Sequence[Mapping[str, Any]],
    due: Callable[[str], str | None],
    query: Mapping[str, str],
    *,
    view: ViewContext,
    is_late: bool,
) -> SimpleNamespace:
    """The first of the rows that are due, with `in 3 days` or `2 days overdue`; `url` is the list of all."""
    arrivals = []
    for fields in rows:
        eta = fields["estimated_arrival"]
        words = due(eta) if eta and not fields["actual_arrival"] and not fields["removed_at"] else None
        if words is not None:
            arrivals.append((fields, words))
    shown = [SimpleNamespace(shipment=shipment_row(fields, view), due=words) for fields, words in arrivals[:_SHOWN]]
    total = f"{len(arrivals)}{'+' if len(rows) > _CANDIDATES else ''}"
    url = page_url("/shipments", query)
    return SimpleNamespace(title=title, empty=empty, total=total, rows=shown, url=url, is_late=is_late)


def _exceptions(context: PageContext) -> HealthRow:
    total, has_critical, summary = count_open(context.stored.exceptions)
    state: State = "bad" if has_critical else "warn" if total else "good"
    return HealthRow("Exceptions", state, f"{total:,} open" if total else "None", summary, url="/exceptions")


def _webhooks(data: OverviewData, context: PageContext) -> HealthRow:
    health, runtime, view = context.stored.health, context.runtime, context.view
    if not runtime.display.has_secrets:
        return HealthRow("Webhooks", "bad", "No secret", "Every webhook is refused until [webhook] secrets is set.")
    if runtime.has_key and health.verdict in ("broken", "never_received"):
        return HealthRow("Webhooks", "bad", "Broken", sentence(health.sentence), url="/gaps")
    if data.last_received_at is None:
        return HealthRow("Webhooks", "warn", "Waiting", "No webhook received yet.", url="/gaps")
    refused = current_refusals(runtime.refusals, data.last_received_at, view.now)
    if refused:
        number = count(sum(refusal.count for refusal in refused), "webhook")
        when = view.instant(refused[0].last_at)
        return HealthRow("Webhooks", "warn", "Some refused", f"{number} refused, latest", when, url=REFUSED_URL)
    last = view.instant(data.last_received_at)
    return HealthRow("Webhooks", "good", "Receiving", "Latest webhook", last, url="/gaps")


def _mirror(data: OverviewData, context: PageContext) -> HealthRow:
    """How complete the copy of Flexport's data is, and whether Flexport responds."""
    runtime = context.runtime
    if runtime.flexport is None:
        return HealthRow("Data", "warn", "No API key", "Data is updated only by webhooks.", url="/sync")
    receipts = {receipt.resource: receipt for receipt in data.receipts}
    unread = context.forecast["never_synced"] if context.forecast else ()
    lists = list_rows(runtime.resources, context.stored, LastRun(receipts, (), unread, {}), context.view)
    summary = completeness(lists, context.view, is_running=data.is_syncing)
    state: State = "bad"
    if runtime.flexport["auth"]["authorised"] is False:
        word = "Sign-in refused"
    elif runtime.flexport["breaker"]["state"] != "closed":
        word = "Flexport down"
    elif summary.tone == "good" and not context.stored.pending_removals:
        state, word = "good", "Complete"
    else:
        state = "warn"
        word = "Review needed" if context.stored.pending_removals else "Syncing" if data.is_syncing else "Incomplete"
    return HealthRow("Data", state, word, summary.text, url="/sync")


def _queue(data: OverviewData, runtime: RuntimeStatus) -> HealthRow:
    ready, leased, dead = (data.queue[state][0] for state in ("ready", "leased", "dead"))
    detail = f"{count(ready + leased, 'item')} waiting, {count(dead, 'dead letter')}"
    if runtime.is_paused:
        detail += ". Nothing is processed until you resume it."
        return HealthRow("Queue", "warn", "Paused", detail, url="/queue")
    if dead:
        return HealthRow("Queue", "warn", "Needs attention", detail, url="/queue")
    return HealthRow("Queue", "good", "Processing" if ready + leased else "Up to date", detail, url="/queue")


def _daemon(runtime: RuntimeStatus) -> HealthRow:
    if runtime.fault:
        detail = f"The database is not writable: {escape_control(runtime.fault)}"
        return HealthRow("Storage", "bad", "Fault", detail, url="/system")
    if runtime.reasons:
        return HealthRow("Daemon", "bad", "Not ready", escape_control("; ".join(runtime.reasons), 400), url="/system")
    return HealthRow("Storage", "good", "Healthy", "All received data is stored on disk.", url="/system")
