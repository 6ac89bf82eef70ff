"""The first page: where everything is, what arrives soon, what is late, what is new, and how the daemon is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from flexportd.clock import stamp
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.shipments import TABLE
from flexportd.escape import escape_control
from flexportd.expose.dashboard.pages.exceptions import count_open
from flexportd.expose.dashboard.pages.shipments import ShipmentRow, shipment_row
from flexportd.expose.dashboard.view.alerts import REFUSED_URL, Alert, PageContext, sentence
from flexportd.expose.dashboard.view.dates import DateText, ViewContext, count
from flexportd.expose.dashboard.view.history import OVERVIEW_FIELDS, RecentChange, recent_changes
from flexportd.expose.dashboard.view.labels import ARRIVED, STAGES, Badge, status
from flexportd.expose.dashboard.view.list_status import LastRun, completeness, list_rows
from flexportd.expose.dashboard.view.setup_hint import SetupHint
from flexportd.expose.webhook_refusals import current_refusals
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.sync import Receipt
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal
from flexportd.storage.transaction import Transaction

_CANDIDATES = 100  # rows that "arriving" and "late" choose from
_SHOWN = 8
_DAYS_AHEAD = 7
_RECENT_CHANGES = 16
_STATUSES = 12  # of one stage; Flexport's own are fewer, but the words are its to choose
_LONGEST = 60  # characters of a status that can be asked for

State = Literal["good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class OverviewData:
    """What the database says for this page."""

    by_status: Mapping[str, int]
    upcoming: Sequence[Mapping[str, Any]]
    overdue: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]
    last_received_at: str | None
    queue: Mapping[str, tuple[int, str | None]]
    receipts: Sequence[Receipt]
    """Of the last full run that has ended."""
    is_reading: bool = False
    """Whether a full run goes on."""


@dataclass(frozen=True, slots=True)
class RuntimeData:
    """What the running daemon says for this page."""

    paused: bool
    fault: str | None
    reasons: Sequence[str]
    has_secrets: bool
    domains: Sequence[ResourceType]
    state: Mapping[str, Any] | None
    """Of the client; None where no key is configured."""
    unread: Collection[str] = ()
    """The lists that are to be read and never were."""
    refusals: Sequence[WebhookRefusal] = ()
    """Webhooks that were refused, whenever that was; the last refused first."""


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many shipments have one status."""

    pill: Badge
    count: str
    url: str


@dataclass(frozen=True, slots=True)
class StageCount:
    """How many shipments are in one part of the journey; `share` of all is in percent."""

    tone: str
    title: str
    count: str
    share: int
    url: str
    statuses: tuple[StatusCount, ...]


@dataclass(frozen=True, slots=True)
class ArrivalRow:
    """A shipment that is to arrive, and in how long or since when."""

    shipment: ShipmentRow
    words: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class ArrivalList:
    """A list of such shipments, cut, with the way to all of them."""

    title: str
    none: str
    total: str
    rows: tuple[ArrivalRow, ...]
    url: str


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One thing an operator looks at."""

    title: str
    state: State
    word: str
    detail: str
    when: DateText | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """Everything the overview shows."""

    total: str
    needs: tuple[Alert, ...]
    stages: tuple[StageCount, ...]
    expectations: tuple[ArrivalList, ...]
    news: tuple[RecentChange, ...]
    health: tuple[HealthRow, ...]
    connecting: SetupHint | None


def read(tx: Transaction, now: datetime) -> OverviewData:
    """Everything in one snapshot."""
    by_status = tx.resources.counts(TABLE, "status")
    run = tx.sync.last("full")
    underway = msgspec.json.encode([name for name in by_status if name not in ARRIVED]).decode()
    # A day more at either end: which day it is depends on the place.
    begin, end = stamp(now - timedelta(days=1)), stamp(now + timedelta(days=_DAYS_AHEAD + 1))
    soon = {"eta_after": (begin,), "eta_before": (end,), "not_archived": ()}
    late = {"status": (underway,), "eta_before": (stamp(now),), "not_archived": ()}
    return OverviewData(
        by_status=by_status,
        upcoming=tx.resources.page(TABLE, PageRequest(_CANDIDATES, "eta_at", descending=False, filters=soon)),
        overdue=tx.resources.page(TABLE, PageRequest(_CANDIDATES, "eta_at", descending=True, filters=late)),
        changes=tx.changes.recent(OVERVIEW_FIELDS, _RECENT_CHANGES),
        last_received_at=tx.events.newest()[0],
        queue=tx.items.stats(),
        receipts=tx.sync.receipts(run.id) if run else (),
        is_reading=tx.sync.running("full") is not None,
    )


def overview_page(
    found: OverviewData, running: RuntimeData, look: PageContext, connecting: SetupHint | None
) -> OverviewPage:
    """The overview in words."""
    sight = look.view
    total = sum(found.by_status.values())
    return OverviewPage(
        total=count(total, "shipment"),
        needs=look.alerts,
        stages=_stages(found.by_status, total),
        expectations=(_late_arrivals(found.overdue, sight), _arriving_soon(found.upcoming, sight)),
        news=recent_changes(found.changes, sight),
        health=(
            _exceptions(look),
            _webhooks(found, running, look),
            _flexport(found, running, look),
            _queue(found, running),
            _daemon(running),
        ),
        connecting=connecting,
    )


def _stages(by_status: Mapping[str, int], total: int) -> tuple[StageCount, ...]:
    known = {name for stage in STAGES for name in stage.statuses}
    groups = [(stage.tone, stage.title, stage.statuses) for stage in STAGES]
    others = tuple(sorted(name for name in by_status if name not in known))
    if others:
        groups.append(("other", "Other", others))
    found = []
    for tone, title, names in groups:
        number = sum(by_status.get(name, 0) for name in names)
        statuses = tuple(_status(name, by_status[name]) for name in names[:_STATUSES] if by_status.get(name))
        found.append(
            StageCount(tone, title, f"{number:,}", round(100 * number / (total or 1)), _list_url(*names), statuses)
        )
    return tuple(found)


def _status(name: str, number: int) -> StatusCount:
    # The database counts shipments without a status under this word.
    return StatusCount(status(None if name == "unknown" else name), f"{number:,}", _list_url(name))


def _list_url(*names: str) -> str:
    """The list of those with one of these statuses, as far as they can stand in a comma list."""
    askable = ",".join([name for name in names if len(name) <= _LONGEST and "," not in name][:_STATUSES])
    return f"/shipments?{urlencode({'status': askable, 'archived': 'all'} if askable else {'archived': 'all'})}"


def _is_open(fields: Mapping[str, Any]) -> bool:
    return not fields["actual_arrival"] and not fields["removed_at"] and bool(fields["estimated_arrival"])


def _arriving_soon(rows: Sequence[Mapping[str, Any]], sight: ViewContext) -> ArrivalList:
    found = []
    for fields in rows:
        past = sight.days_past(fields["estimated_arrival"]) if _is_open(fields) else None
        if past is not None and -_DAYS_AHEAD <= past <= 0:
            found.append(
                ArrivalRow(
                    shipment_row(fields, sight), sight.countdown(fields["estimated_arrival"]) or "", is_late=False
                )
            )
    today = sight.now.date()
    span = {"sort": "eta", "eta_after": today, "eta_before": today + timedelta(days=_DAYS_AHEAD + 1)}
    return ArrivalList(
        "Arriving in the next 7 days", "No arrivals in the next 7 days.", _total(found, rows),
        tuple(found[:_SHOWN]), f"/shipments?{urlencode(span)}",
    )  # fmt: skip


def _late_arrivals(rows: Sequence[Mapping[str, Any]], sight: ViewContext) -> ArrivalList:
    found = []
    for fields in rows:
        late = sight.delay(fields["estimated_arrival"], None) if _is_open(fields) else None
        if late is not None:
            found.append(ArrivalRow(shipment_row(fields, sight), late.text, is_late=True))
    underway = ",".join(name for stage in STAGES for name in stage.statuses if name not in ARRIVED)
    asked = {"sort": "-eta", "eta_before": sight.now.date(), "status": underway}
    return ArrivalList(
        "Late arrivals",
        "No late arrivals.",
        _total(found, rows),
        tuple(found[:_SHOWN]),
        f"/shipments?{urlencode(asked)}",
    )


def _total(found: Sequence[ArrivalRow], rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(found)}+" if len(rows) > _CANDIDATES else str(len(found))


def _exceptions(look: PageContext) -> HealthRow:
    found = count_open(look.stored.exceptions)
    state: State = "bad" if found.is_bad else "warn" if found.total else "good"
    return HealthRow(
        "Exceptions", state, f"{found.total:,} open" if found.total else "None", found.detail, url="/exceptions"
    )


def _webhooks(found: OverviewData, running: RuntimeData, look: PageContext) -> HealthRow:
    health = look.stored.health
    if not running.has_secrets:
        return HealthRow("Webhooks", "bad", "No secret", "Every webhook is refused until [webhook] secrets is set.")
    if running.state is not None and health.verdict in ("broken", "never_received"):
        return HealthRow("Webhooks", "bad", "Broken", sentence(health.sentence), url="/gaps")
    if found.last_received_at is None:
        return HealthRow("Webhooks", "warn", "Waiting", "No webhook received yet.", url="/gaps")
    last = look.view.instant(found.last_received_at)
    refused = current_refusals(running.refusals, found.last_received_at, look.view.now)
    if refused:
        number = count(sum(one.count for one in refused), "webhook")
        when = look.view.instant(refused[0].last_at)
        return HealthRow("Webhooks", "warn", "Some refused", f"{number} refused, the latest", when, url=REFUSED_URL)
    return HealthRow("Webhooks", "good", "Receiving", "Latest webhook", last, url="/gaps")


def _flexport(found: OverviewData, running: RuntimeData, look: PageContext) -> HealthRow:
    """How complete the mirror is, and whether Flexport answers."""
    if running.state is None:
        return HealthRow("Mirror", "warn", "No key", "Data is updated only by webhooks.", url="/sync")
    receipts = {receipt.resource: receipt for receipt in found.receipts}
    lists = list_rows(running.domains, look.stored, LastRun(receipts, (), running.unread, {}), look.view)
    told = completeness(lists, look.view, is_running=found.is_reading)
    if running.state["auth"]["authorised"] is False:
        return HealthRow("Mirror", "bad", "Sign-in refused", told.text, url="/sync")
    if running.state["breaker"]["state"] != "closed":
        return HealthRow("Mirror", "bad", "Flexport down", told.text, url="/sync")
    if look.stored.pending_removals:
        return HealthRow("Mirror", "warn", "Review needed", told.text, url="/sync")
    if told.tone == "good":
        return HealthRow("Mirror", "good", "Complete", told.text, url="/sync")
    return HealthRow("Mirror", "warn", "Syncing" if found.is_reading else "Incomplete", told.text, url="/sync")


def _queue(found: OverviewData, running: RuntimeData) -> HealthRow:
    ready, leased, dead = (found.queue[state][0] for state in ("ready", "leased", "dead"))
    detail = f"{count(ready + leased, 'item')} waiting, {count(dead, 'dead letter')}"
    if running.paused:
        return HealthRow(
            "Queue", "warn", "Paused", f"{detail}. Nothing is processed until you resume it.", url="/queue"
        )
    if dead:
        return HealthRow("Queue", "warn", "Needs attention", detail, url="/queue")
    return HealthRow("Queue", "good", "Up to date", detail, url="/queue")


def _daemon(running: RuntimeData) -> HealthRow:
    if running.fault:
        words = f"The database is not writable: {escape_control(running.fault)}"
        return HealthRow("Storage", "bad", "Fault", words, url="/system")
    if running.reasons:
        return HealthRow("Daemon", "bad", "Not ready", escape_control("; ".join(running.reasons), 400), url="/system")
    return HealthRow("Storage", "good", "Healthy", "All received data is stored on disk.", url="/system")
