"""The state of the Flexport client, its API calls, and the forecast of the next full sync. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flexportd.core.labels import format_duration
from flexportd.escape import escape_control
from flexportd.expose.dashboard.view.dates import RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, sentence, size

_PURPOSES = {
    "interactive": "Interactive",
    "write": "Writes",
    "refresh": "Webhook follow-up",
    "events": "Event polling",
    "sync": "Sync",
    "details": "Shipment details",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One property of the connection to Flexport."""

    title: str
    badge: Badge | None
    words: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The API calls for one purpose in 24 hours."""

    title: str
    calls: str
    errors: str
    has_errors: bool
    retries: str
    data: str
    average: str


@dataclass(frozen=True, slots=True)
class NextSync:
    """The next full sync: its time, requests and duration."""

    at: RelativeTime | None
    words: str


def facts(state: Mapping[str, Any], view: ViewContext) -> tuple[Fact, ...]:
    """The connection to Flexport; `state` is that of the client."""
    rows = [_reachability(state, view), _sign_in(state["auth"], view)]
    auth, limit, offset = state["auth"], state["rate_limit"], state["clock"]["offset_seconds"]
    if auth["kind"] == "oauth":
        tokens = f"{auth['token_requests']} of {auth['token_requests_limit']} in the last 24 hours"
        rows.append(Fact("Token requests", None, tokens))
    rate = f"{limit['current']:g} requests per second"
    if limit["current"] < limit["configured"]:
        rows.append(Fact("Rate", Badge("Reduced", "arriving"), f"{rate} now, {limit['configured']:g} configured"))
    else:
        rows.append(Fact("Rate", None, rate))
    waiting = sum(limit["waiting"].values())
    rows.append(Fact("Requests", None, f"{limit['in_flight']} in progress, {waiting} waiting"))
    if state["proxy"] is not None:
        rows.append(Fact("Proxy", None, state["proxy"]))
    if offset is not None:
        words = (
            "In sync" if abs(offset) < 1 else f"{format_duration(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        )
        rows.append(Fact("Flexport's clock", None, words))
    return tuple(rows)


def _reachability(state: Mapping[str, Any], view: ViewContext) -> Fact:
    breaker = state["breaker"]
    if breaker["state"] == "closed":
        if not any(sums["calls"] for sums in state["calls"].values()):
            return Fact("Flexport", Badge("No requests yet", "plain"), "")
        return Fact("Flexport", Badge("Reachable", "delivered"), "")
    again = view.until(breaker["retry_at"])
    since, why = view.clock_time(breaker["since"]), escape_control(breaker["reason"] or "no reason given", 300)
    words = f"No requests since {since}: {why}" if since else f"No requests: {why}"
    if breaker["state"] == "half_open":
        return Fact("Flexport", Badge("Retrying", "arriving"), sentence(words))
    return Fact("Flexport", Badge("Down", "bad"), sentence(f"{words}; next attempt {again.words if again else 'soon'}"))


def _sign_in(auth: Mapping[str, Any], view: ViewContext) -> Fact:
    kind = {"api_key": "API key", "oauth": "Client credentials"}.get(
        auth["kind"], escape_control(str(auth["kind"]), 40)
    )
    if auth["authorised"] is False:
        return Fact("Sign-in", Badge("Refused", "bad"), sentence(f"{kind}: {auth['reason'] or 'no reason given'}"))
    if auth["reason"]:
        return Fact("Sign-in", Badge("Failing", "arriving"), sentence(f"{kind}: {auth['reason']}"))
    until = view.clock_time(auth["expires_at"])
    words = kind if until is None else f"{kind}, token valid until {until}"
    return Fact("Sign-in", Badge("Accepted", "delivered") if auth["authorised"] else None, words)


def usage_rows(sums: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[UsageRow, ...], UsageRow | None]:
    """The calls by purpose with their total; ((), None) without calls."""
    known = [name for name in _PURPOSES if name in sums] + sorted(name for name in sums if name not in _PURPOSES)
    if not known:
        return (), None
    names = ("calls", "errors", "retries", "bytes", "seconds")
    total = {name: sum(sums[purpose][name] for purpose in known) for name in names}
    rows = tuple(_usage_row(_PURPOSES.get(name) or escape_control(name, 40), sums[name]) for name in known)
    return rows, _usage_row("Total", total)


def _usage_row(title: str, sums: Mapping[str, Any]) -> UsageRow:
    calls = sums["calls"]
    average = f"{1000 * sums['seconds'] / calls:,.0f} ms" if calls else ""
    return UsageRow(
        title,
        f"{calls:,}",
        f"{sums['errors']:,}",
        bool(sums["errors"]),
        f"{sums['retries']:,}",
        size(sums["bytes"]),
        average,
    )


def next_sync(forecast: Mapping[str, Any], next_at: str | None, view: ViewContext, *, paused: bool) -> NextSync:
    """The forecast of the client in words."""
    unread = len(forecast["never_synced"])
    if forecast["requests"] or not unread:
        words = f"about {count(forecast['requests'], 'request')}, {format_duration(max(1.0, forecast['seconds']))}"
        if unread:
            words += f", plus {count(unread, 'list')} not synced yet"
    else:
        words = "duration not known until the first one has completed"
    if paused:
        return NextSync(None, f"Paused ({words})")
    return NextSync(view.until(next_at), words)
