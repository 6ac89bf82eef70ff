"""What needs a person: a sentence each with the page that helps, the worst first; a badge tells it on every page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aiohttp import web

from flexportd.clock import parse
from flexportd.core import outages
from flexportd.escape import escape_control
from flexportd.expose.api.health import not_ready_reasons
from flexportd.expose.context import DISPLAY, JOBS, UPSTREAM, WEBHOOK_REFUSALS, DisplaySettings
from flexportd.expose.dashboard.view.dates import ViewContext
from flexportd.expose.dashboard.view.labels import missing_objects_text
from flexportd.expose.webhook_refusals import current_refusals
from flexportd.expose.webhook_refusals import sentence as refused_sentence
from flexportd.storage.repositories.sync import ListState
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal
from flexportd.storage.transaction import Transaction

_DELIVERY_BADGES = {"polling_failed": "Polling fails", "unusually_quiet": "Unusually quiet"}
_LONGEST = 300  # characters of a foreign sentence

COUNT_LIMIT = 1000  # failed items; more are not counted for each page

FLEXPORT_URL = "/sync#flexport"  # where the way to Flexport is told of
REFUSED_URL = "/system#refused"
NO_KEY = (
    "No Flexport API key is configured. Data is updated only by webhooks, is not compared with Flexport, and lost "
    "webhooks are not detected."
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that needs a person; `badge` is the short form for every page."""

    badge: str
    sentence: str
    tone: Literal["warn", "bad"]
    url: str
    link: str


@dataclass(frozen=True, slots=True)
class Banner:
    """What the top of every page says of them."""

    words: str
    title: str
    tone: Literal["warn", "bad"]
    url: str


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """What the running daemon says; `flexport` is the state of the client, None where no key is configured."""

    reasons: Sequence[str]
    has_secrets: bool
    flexport: Mapping[str, Any] | None
    failing_jobs: Sequence[str]
    refusals: Sequence[WebhookRefusal] = ()
    """Webhooks that were refused, whenever that was."""
    shown: DisplaySettings = field(default_factory=DisplaySettings)


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """What the store says."""

    health: outages.DeliveryHealth
    pending_removals: Mapping[str, tuple[int, str]]
    lists: Mapping[str, ListState]
    exceptions: Sequence[tuple[str, str, int]] = ()
    """(kind, severity, how many are open)."""
    failed: int = 0
    """How many items of the queue failed permanently, counted up to MANY."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What every page is made with: the view, what is noted of the mirror, what needs a person."""

    view: ViewContext
    stored: StoredStatus
    alerts: tuple[Alert, ...] = ()


def runtime_status(app: web.Application) -> RuntimeStatus:
    """What the parts say at this moment, without asking the store."""
    upstream = app[UPSTREAM]
    return RuntimeStatus(
        reasons=not_ready_reasons(app),
        has_secrets=app[DISPLAY].has_secrets,
        flexport=upstream.state() if upstream else None,
        failing_jobs=app[JOBS].problems(),
        refusals=app[WEBHOOK_REFUSALS](),
        shown=app[DISPLAY],
    )


def read(tx: Transaction, now: datetime) -> StoredStatus:
    """What is noted, in one snapshot with the page that it stands on."""
    exceptions, failed = tx.exceptions.counts(), tx.items.count_dead(COUNT_LIMIT)
    return StoredStatus(outages.health(tx, now), tx.sync.held_counts(), tx.sync.list_states(), exceptions, failed)


def current_alerts(found: RuntimeStatus, noted: StoredStatus | None, sight: ViewContext) -> tuple[Alert, ...]:
    """Everything that needs a person, the worst first; without `noted` what the daemon alone knows."""
    wanted = [Alert("Not ready", sentence(reason), "bad", "/system", "System") for reason in found.reasons[:3]]
    if not found.has_secrets:
        words = "No webhook secret is configured, so every webhook is refused. Set secrets in the section [webhook]."
        wanted.append(Alert("No webhook secret", words, "bad", "/system", "System"))
    if noted is not None:
        wanted += _refused_alerts(found, noted, sight)
    if found.flexport is not None:
        wanted += _flexport_alerts(found.flexport, noted, sight)
    if noted is not None and found.flexport is not None:
        wanted += _stored_alerts(noted, is_asked=not wanted)
    wanted += [Alert("Job failing", sentence(job), "warn", "/system", "System") for job in found.failing_jobs[:5]]
    if found.flexport is None:
        words = f"{NO_KEY} Set api_key in the section [flexport], then restart."
        wanted.append(Alert("No API key", words, "warn", "/sync", "Sync"))
    return tuple(wanted)


def banner(found: Sequence[Alert]) -> Banner | None:
    """The one line for the top of a page; None while nothing needs a person."""
    if not found:
        return None
    first, words = found[0], " ".join(one.sentence for one in found)
    if len(found) == 1:
        return Banner(first.badge, first.sentence, first.tone, first.url)
    worst: Literal["warn", "bad"] = "bad" if any(one.tone == "bad" for one in found) else "warn"
    return Banner(f"{first.badge} and {len(found) - 1} more", words, worst, "/")


def sentence(text: str) -> str:
    """A foreign sentence made safe: it begins with a capital, unless with a name of ours, and ends with a stop."""
    shown = escape_control(text.strip(), _LONGEST)
    if "_" not in shown.partition(" ")[0]:
        shown = shown[:1].upper() + shown[1:]
    return shown if shown.endswith((".", "!", "?", "…")) else f"{shown}."


def newest_data_time(lists: Mapping[str, ListState]) -> str | None:
    """The newest time up to which a list or its changes were read; None while none was."""
    moments = [at for state in lists.values() for at in (state.complete_at, state.incremental_since) if at]
    return max(moments, key=parse, default=None)


def _refused_alerts(found: RuntimeStatus, noted: StoredStatus, sight: ViewContext) -> list[Alert]:
    """Webhooks that were refused lately. A lack of secrets has a sentence of its own."""
    refusals = current_refusals(found.refusals, noted.health.signals.last_webhook_at, sight.now)
    return [
        Alert("Webhooks refused", sentence(refused_sentence(one, found.shown)), "warn", REFUSED_URL, "System")
        for one in refusals
        if one.reason != "webhook-secret-missing"
    ]


def _flexport_alerts(state: Mapping[str, Any], noted: StoredStatus | None, sight: ViewContext) -> list[Alert]:
    found = []
    auth, breaker = state["auth"], state["breaker"]
    newest = newest_data_time(noted.lists) if noted else None
    age = sight.ago(newest)
    old = f" Data was last read from Flexport {age.words}." if age else ""
    if auth["authorised"] is False:
        why = sentence(f"Flexport refuses the sign-in: {auth['reason'] or 'no reason given'}")
        found.append(Alert(_with_data_time("Sign-in refused", newest, sight), why + old, "bad", FLEXPORT_URL, "Sync"))
    elif auth["reason"]:
        why = sentence(f"Signing in to Flexport fails: {auth['reason']}")
        found.append(Alert("Sign-in failing", why + old, "warn", FLEXPORT_URL, "Sync"))
    if breaker["state"] != "closed":
        at = sight.clock_time(breaker["since"])
        since = f" since {at}" if at else ""
        why = sentence(f"Flexport has not responded{since}: {breaker['reason'] or 'no reason given'}")
        found.append(Alert(_with_data_time("Flexport down", newest, sight), why + old, "bad", FLEXPORT_URL, "Sync"))
    return found


def _with_data_time(words: str, newest: str | None, sight: ViewContext) -> str:
    at = sight.clock_time(newest)
    return f"{words}, data from {at}" if at else f"{words}, no data yet"


def _stored_alerts(noted: StoredStatus, *, is_asked: bool) -> list[Alert]:
    """`is_asked`: nothing is known to keep Flexport from being asked, so that a poll that fails is news."""
    found, health = [], noted.health
    if health.verdict in ("broken", "never_received"):
        found.append(Alert("Webhooks broken", sentence(health.sentence), "bad", "/gaps", "Gaps"))
    elif health.needs_attention and (is_asked or health.verdict != "polling_failed"):
        words = _DELIVERY_BADGES.get(health.verdict, "Gap detection limited")
        found.append(Alert(words, sentence(health.sentence), "warn", "/gaps", "Gaps"))
    if noted.pending_removals:
        words = missing_objects_text({name: number for name, (number, _) in noted.pending_removals.items()})
        found.append(Alert("Review needed", words, "warn", "/sync#held", "Review"))
    return found
