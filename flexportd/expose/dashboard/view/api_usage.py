"""Flexport as our client sees it, what it was asked lately, and what the next full sync will ask. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flexportd.core.outages import lasting
from flexportd.escape import harmless
from flexportd.expose.dashboard.view.alerts import sentence
from flexportd.expose.dashboard.view.dates import Ago, Sight, count
from flexportd.expose.dashboard.view.labels import Pill, size

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
    """One thing about the way to Flexport."""

    title: str
    pill: Pill | None
    words: str


@dataclass(frozen=True, slots=True)
class Booked:
    """What was asked for one purpose in 24 hours."""

    title: str
    calls: str
    errors: str
    has_errors: bool
    retries: str
    data: str
    each: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The next full sync: when, and how much."""

    at: Ago | None
    words: str


def facts(state: Mapping[str, Any], sight: Sight) -> tuple[Fact, ...]:
    """How Flexport and our way to it are; `state` is that of the client."""
    found = [_answers(state, sight), _sign_in(state["auth"], sight)]
    auth, pace, offset = state["auth"], state["rate_limit"], state["clock"]["offset_seconds"]
    if auth["kind"] == "oauth":
        tokens = f"{auth['token_requests']} of {auth['token_requests_limit']} in the last 24 hours"
        found.append(Fact("Token requests", None, tokens))
    rate = f"{pace['current']:g} requests per second"
    if pace["current"] < pace["configured"]:
        found.append(Fact("Rate", Pill("Reduced", "arriving"), f"{rate} now, {pace['configured']:g} configured"))
    else:
        found.append(Fact("Rate", None, rate))
    waiting = sum(pace["waiting"].values())
    found.append(Fact("Requests", None, f"{pace['in_flight']} in progress, {waiting} waiting"))
    if state["proxy"] is not None:
        found.append(Fact("Proxy", None, state["proxy"]))
    if offset is not None:
        words = "In sync" if abs(offset) < 1 else f"{lasting(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        found.append(Fact("Flexport's clock", None, words))
    return tuple(found)


def _answers(state: Mapping[str, Any], sight: Sight) -> Fact:
    breaker = state["breaker"]
    if breaker["state"] == "closed":
        if not any(sums["calls"] for sums in state["calls"].values()):
            return Fact("Flexport", Pill("No requests yet", "plain"), "")
        return Fact("Flexport", Pill("Reachable", "delivered"), "")
    again = sight.ahead(breaker["retry_at"])
    since, why = sight.clock_time(breaker["since"]), harmless(breaker["reason"] or "no reason given", 300)
    words = f"No requests since {since}: {why}" if since else f"No requests: {why}"
    if breaker["state"] == "half_open":
        return Fact("Flexport", Pill("Retrying", "arriving"), sentence(words))
    return Fact("Flexport", Pill("Down", "bad"), sentence(f"{words}; next attempt {again.words if again else 'soon'}"))


def _sign_in(auth: Mapping[str, Any], sight: Sight) -> Fact:
    kind = {"api_key": "API key", "oauth": "Client credentials"}.get(auth["kind"], harmless(str(auth["kind"]), 40))
    if auth["authorised"] is False:
        return Fact("Sign-in", Pill("Refused", "bad"), sentence(f"{kind}: {auth['reason'] or 'no reason given'}"))
    if auth["reason"]:
        return Fact("Sign-in", Pill("Failing", "arriving"), sentence(f"{kind}: {auth['reason']}"))
    until = sight.clock_time(auth["expires_at"])
    words = kind if until is None else f"{kind}, token valid until {until}"
    return Fact("Sign-in", Pill("Accepted", "delivered") if auth["authorised"] else None, words)


def budget(sums: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Booked, ...], Booked | None]:
    """The calls by purpose, and all together; (nothing, None) where nothing was asked."""
    known = [name for name in _PURPOSES if name in sums] + sorted(name for name in sums if name not in _PURPOSES)
    if not known:
        return (), None
    names = ("calls", "errors", "retries", "bytes", "seconds")
    total = {name: sum(sums[purpose][name] for purpose in known) for name in names}
    rows = tuple(_booked(_PURPOSES.get(name) or harmless(name, 40), sums[name]) for name in known)
    return rows, _booked("Total", total)


def _booked(title: str, sums: Mapping[str, Any]) -> Booked:
    calls = sums["calls"]
    each = f"{1000 * sums['seconds'] / calls:,.0f} ms" if calls else ""
    return Booked(
        title,
        f"{calls:,}",
        f"{sums['errors']:,}",
        bool(sums["errors"]),
        f"{sums['retries']:,}",
        size(sums["bytes"]),
        each,
    )


def forecast(found: Mapping[str, Any], next_at: str | None, sight: Sight, *, paused: bool) -> Forecast:
    """`found` is what the way to Flexport foretells."""
    unread = len(found["never_synced"])
    if found["requests"] or not unread:
        words = f"about {count(found['requests'], 'request')}, {lasting(max(1.0, found['seconds']))}"
        if unread:
            words += f", plus {count(unread, 'list')} not synced yet"
    else:
        words = "duration not known until the first one has completed"
    if paused:
        return Forecast(None, f"Paused ({words})")
    return Forecast(sight.ahead(next_at), words)
