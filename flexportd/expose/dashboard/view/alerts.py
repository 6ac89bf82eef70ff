"""Alerts: conditions that need a person, each with the page that helps; and what every page is made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from aiohttp import web

from flexportd.clock import parse
from flexportd.core import outages
from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.exceptions.sentences import sentence as exception_sentence
from flexportd.core.exceptions.sentences import title
from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.core.resources.shipments import TABLE
from flexportd.escape import escape_control
from flexportd.expose.api.status import condition_warnings, not_ready_reasons
from flexportd.expose.context import (
    DB,
    DISPLAY,
    JOBS,
    NOTIFICATIONS,
    QUEUE,
    REGISTRY,
    UPSTREAM,
    WEBHOOK_REFUSALS,
    DisplaySettings,
)
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, missing_objects_text, sentence, short_text, text
from flexportd.expose.webhook_refusals import current_refusals
from flexportd.expose.webhook_refusals import sentence as refused_sentence
from flexportd.storage.repositories.counters import WebhookRefusal
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.sync import ListState
from flexportd.storage.transaction import Transaction

_DELIVERY_BADGES = {"polling_failed": "Polling fails", "unusually_quiet": "Unusually quiet"}

COUNT_LIMIT = 1000  # dead letters; more are not counted for each page


FLEXPORT_URL = "/sync#flexport"
REFUSED_URL = "/system#refused"
DELIVERIES_URL = "/deliveries"
DECISIONS_URL = "/operations?needs_decision=true"
NO_KEY = (
    "No Flexport API key is configured. Data is updated only by webhooks, is not compared with Flexport, and lost "
    "webhooks are not detected."
)


class Alert(NamedTuple):
    """One condition that needs a person; `badge` is its short form for the banner."""

    badge: str
    sentence: str
    tone: Literal["warn", "bad"]
    url: str
    link: str


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """What the running daemon reports. `flexport` is the state of the client; None where no API key is configured."""

    flexport: Mapping[str, Any] | None
    reasons: Sequence[str] = ()  # why the daemon is not ready
    failing_jobs: Sequence[str] = ()
    refusals: Sequence[WebhookRefusal] = ()  # all refused webhooks, the most recent first
    fault: str | None = None  # why the database is not writable
    conditions: Sequence[str] = ()  # of the daemon itself, such as low disk space, one sentence each
    notifications: Sequence[str] = ()  # channels that fail, and other faults of notifications, one sentence each
    is_paused: bool = False  # whether the queue is paused
    display: DisplaySettings = field(default_factory=DisplaySettings)
    resources: Iterable[ResourceType] = ()

    @property
    def has_key(self) -> bool:
        """Whether Flexport's API can be called."""
        return self.flexport is not None

    def setup_hint(self) -> SimpleNamespace:
        """How to connect to Flexport, with what is configured already."""
        return SimpleNamespace(
            webhook_path=escape_control(self.display.webhook_path),
            has_secrets=self.display.has_secrets,
            has_key=self.has_key,
        )


class StoredStatus(NamedTuple):
    """What the database says for every page."""

    health: outages.DeliveryHealth
    pending_removals: Mapping[str, tuple[int, str]]
    lists: Mapping[str, ListState]
    exceptions: Sequence[tuple[str, str, int]] = ()  # (kind, severity, number of open ones)
    failed: int = 0  # the number of dead letters, counted up to COUNT_LIMIT
    undecided: int = 0  # the number of operations that a person must decide


class PageContext(NamedTuple):
    """What every view gets beside the data of its page. `forecast` of the next full sync is None without an API key."""

    view: ViewContext
    stored: StoredStatus
    runtime: RuntimeStatus
    alerts: tuple[Alert, ...] = ()
    forecast: Mapping[str, Any] | None = None


def runtime_status(app: web.Application) -> RuntimeStatus:
    """The status at this moment, without the database."""
    fault, upstream, registry = app[DB].writer.fault, app[UPSTREAM], app[REGISTRY]
    return RuntimeStatus(
        flexport=upstream.state() if upstream else None,
        reasons=not_ready_reasons(app),
        failing_jobs=app[JOBS].problems(),
        refusals=app[WEBHOOK_REFUSALS](),
        fault=fault.reason if fault else None,
        conditions=condition_warnings(app),
        notifications=app[NOTIFICATIONS].problems(),
        is_paused=app[QUEUE].paused,
        display=app[DISPLAY],
        resources=registry,
    )


def read(tx: Transaction, now: datetime) -> StoredStatus:
    """The status in the database, in the snapshot of the page."""
    return StoredStatus(
        health=outages.health(tx, now),
        pending_removals=tx.sync.held_counts(),
        lists=tx.sync.list_states(),
        exceptions=tx.exceptions.counts(),
        failed=tx.items.count_dead(COUNT_LIMIT),
        undecided=tx.operations.count_needing_decision(),
    )


def current_alerts(runtime: RuntimeStatus, stored: StoredStatus | None, view: ViewContext) -> tuple[Alert, ...]:
    """All alerts, the most severe first; without `stored` only those that the daemon itself knows."""
    active = [Alert("Not ready", sentence(reason), "bad", "/system", "System") for reason in runtime.reasons[:3]]
    if not runtime.display.has_secrets:
        words = "No webhook secret is configured, so every webhook is refused. Set secrets in the section [webhook]."
        active.append(Alert("No webhook secret", words, "bad", "/system", "System"))
    active += [Alert("System fault", sentence(one), "bad", "/system", "System") for one in runtime.conditions]
    if stored is not None:
        active += _refused_alerts(runtime, stored, view)
    if runtime.flexport is not None:
        active += _flexport_alerts(runtime.flexport, stored, view)
    is_reachable = not active
    if stored is not None and stored.undecided:
        words = f"{count(stored.undecided, 'write')} to Flexport with an unknown outcome: a person must decide."
        active.append(Alert("Decision needed", words, "bad", DECISIONS_URL, "Operations"))
    if stored is not None and runtime.flexport is not None:
        active += _stored_alerts(stored, is_reachable=is_reachable)
    for problem in runtime.notifications[:5]:
        active.append(Alert("Notifications failing", sentence(problem), "warn", DELIVERIES_URL, "Notifications"))
    active += [Alert("Job failing", sentence(job), "warn", "/system", "System") for job in runtime.failing_jobs[:5]]
    if runtime.flexport is None:
        words = f"{NO_KEY} Set api_key in the section [flexport], then restart."
        active.append(Alert("No API key", words, "warn", "/sync", "Sync"))
    return tuple(active)


def banner(active: Sequence[Alert]) -> SimpleNamespace | None:
    """The alerts in one line, at the top of every page; None without alerts."""
    if not active:
        return None
    first, more = active[0], len(active) - 1
    return SimpleNamespace(
        words=f"{first.badge} and {more} more" if more else first.badge,
        title=" ".join(alert.sentence for alert in active),
        tone="bad" if any(alert.tone == "bad" for alert in active) else "warn",
        url="/" if more else first.url,
    )


def _refused_alerts(runtime: RuntimeStatus, stored: StoredStatus, view: ViewContext) -> list[Alert]:
    """Recently refused webhooks. A missing secret has an alert of its own."""
    refusals = current_refusals(runtime.refusals, stored.health.signals.last_webhook_at, view.now)
    return [
        Alert("Webhooks refused", sentence(refused_sentence(refusal, runtime.display)), "warn", REFUSED_URL, "System")
        for refusal in refusals
        if refusal.reason != "webhook-secret-missing"
    ]


def _flexport_alerts(state: Mapping[str, Any], stored: StoredStatus | None, view: ViewContext) -> list[Alert]:
    active = []
    auth, breaker = state["auth"], state["breaker"]
    read = [
        at for one in (stored.lists if stored else {}).values() for at in (one.complete_at, one.incremental_since) if at
    ]
    newest = max(read, key=parse, default=None)
    age = view.ago(newest)
    old = f" Data was last read from Flexport {age.words}." if age else ""
    if auth["authorised"] is False:
        why = sentence(f"Flexport refuses the sign-in: {auth['reason'] or 'no reason given'}")
        active.append(Alert(_with_data_time("Sign-in refused", newest, view), why + old, "bad", FLEXPORT_URL, "Sync"))
    elif auth["reason"]:
        why = sentence(f"Signing in to Flexport fails: {auth['reason']}")
        active.append(Alert("Sign-in failing", why + old, "warn", FLEXPORT_URL, "Sync"))
    if breaker["state"] != "closed":
        at = view.clock_time(breaker["since"])
        since = f" since {at}" if at else ""
        why = sentence(f"Flexport has not responded{since}: {breaker['reason'] or 'no reason given'}")
        active.append(Alert(_with_data_time("Flexport down", newest, view), why + old, "bad", FLEXPORT_URL, "Sync"))
    return active


def _with_data_time(words: str, newest: str | None, view: ViewContext) -> str:
    at = view.clock_time(newest)
    return f"{words}, data from {at}" if at else f"{words}, no data yet"


def _stored_alerts(stored: StoredStatus, *, is_reachable: bool) -> list[Alert]:
    """`is_reachable`: no other alert explains why polling fails, so that it is one itself."""
    active, health = [], stored.health
    if health.verdict in ("broken", "never_received"):
        active.append(Alert("Webhooks broken", sentence(health.sentence), "bad", "/gaps", "Gaps"))
    elif health.needs_attention and (is_reachable or health.verdict != "polling_failed"):
        badge = _DELIVERY_BADGES.get(health.verdict, "Gap detection limited")
        active.append(Alert(badge, sentence(health.sentence), "warn", "/gaps", "Gaps"))
    if stored.pending_removals:
        words = missing_objects_text(stored.pending_removals)
        active.append(Alert("Review needed", words, "warn", "/sync#held", "Review"))
    return active


_LONGEST = 240  # characters of a sentence

_TONES: Mapping[str, Literal["bad", "warn", "plain"]] = {"critical": "bad", "warning": "warn", "notice": "plain"}

Counts = Sequence[tuple[str, str, int]]
"""(kind, severity, number of open ones)."""


def by_severity(counts: Counts) -> dict[str, int]:
    """The number of open exceptions of each severity."""
    return {severity: sum(number for _, each, number in counts if each == severity) for severity in SEVERITIES}


def count_open(counts: Counts) -> tuple[int, bool, str]:
    """The number of open exceptions, whether any is critical, and a summary: `2 critical, 1 warning`."""
    numbers = by_severity(counts)
    words = [
        f"{number:,} critical" if severity == "critical" else count(number, severity)
        for severity, number in numbers.items()
        if number
    ]
    return sum(numbers.values()), bool(numbers["critical"]), ", ".join(words) or "No open exceptions"


def shipment_names(tx: Transaction, shipments: set[int]) -> dict[int, str | None]:
    """The names of these shipments, as far as they are stored here."""
    return {int(key): record.fields["name"] for key, record in tx.resources.load(TABLE, sorted(shipments)).items()}


def exception_list_row(row: ExceptionRow, names: Mapping[int, str | None], view: ViewContext) -> SimpleNamespace:
    """One exception; `names` are those of the shipments that have a page."""
    number = row.shipment_id
    path, page_url = quote(row.resource.replace("_", "-"), safe=""), f"/exceptions/{row.id}"
    url = f"/{path}/{quote(row.resource_id, safe='')}" if len(row.resource_id) <= MAX_ID_LENGTH else page_url
    is_of_shipment = number is not None and row.resource != "operations"
    name = str(row.evidence.get("name") or row.evidence.get("title") or row.resource_id)
    words = text(f"{exception_sentence(row.kind, row.evidence, lambda stored: _day(stored, view))}.", _LONGEST)
    return SimpleNamespace(
        title=escape_control(title(row.kind), 60),
        tone=_TONES.get(row.severity, "plain"),
        sentence=words or Text(""),
        opened=view.ago(row.since),
        name=text(f"FLEX-{number}" if is_of_shipment else name, 60) or Text(row.resource),
        label=text(names.get(number), 80) if number is not None else None,
        url=f"/shipments/{number}" if is_of_shipment and number in names else url,
        page_url=page_url,
        marks=exception_marks(row, view),
    )


def exception_marks(row: ExceptionRow, view: ViewContext) -> tuple[str, ...]:
    """What people decided about an exception, a few words each."""
    marks = []
    if row.acknowledged_at is not None:
        marks.append(f"Acknowledged by {short_text(row.acknowledged_by) or 'someone'}")
    if row.assigned_to is not None:
        marks.append(f"Assigned to {short_text(row.assigned_to)}")
    if row.snoozed_at is not None:
        marks.append(f"Snoozed {snooze_end(row.snoozed_until, view, until_worse=row.snoozed_until_worse)}")
    return tuple(marks)


def snooze_end(until: str | None, view: ViewContext, *, until_worse: bool) -> str:
    """`until 1 Mar 00:00 (UTC) or until it gets worse`."""
    when = view.instant(until)
    ends = (f"until {when.text}" if when else None, "until it gets worse" if until_worse else None)
    return " or ".join(filter(None, ends))


def _day(stored: str | None, view: ViewContext) -> str:
    day = view.calendar_day(stored)
    return "an unknown date" if day is None else day.text


def object_exceptions(rows: Sequence[ExceptionRow], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The exceptions of one object, the most severe first."""
    order: dict[str, int] = {severity: place for place, severity in enumerate(SEVERITIES)}
    ranked = sorted(rows, key=lambda row: (order.get(row.severity, 9), row.since, row.id))
    return tuple(exception_list_row(row, {}, view) for row in ranked)
