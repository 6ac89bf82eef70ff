"""Outages, and whether silence is ours, Flexport's, or nobody's: three clocks tell these apart.

The clocks are the last webhook, the last event upstream that polling saw, and the usual rhythm of events. What is told
of them is pure; `health` and `outages` read the store first.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import msgspec

from flexportd.clock import age, parse
from flexportd.core.labels import count_of, format_duration, time_ago, time_text
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.gaps import NOT_OFFERED, OutageSummary, Poll
from flexportd.storage.transaction import Transaction

DetectionState = Literal["working", "unconfirmed", "incomplete", "all_missing", "unavailable", "not_polled"]
"""Whether events that no webhook brought can be found: as far as Flexport's list has those that webhooks did bring.

`unconfirmed`: the list is empty, and no webhook came that it should have. `incomplete`: it lacks some of them,
`all_missing`: all of them. `unavailable`: the account has no such list.
"""

IMPAIRED: frozenset[DetectionState] = frozenset({"incomplete", "all_missing", "unavailable"})

Verdict = Literal["arriving", "broken", "never_received", "idle", "unusually_quiet", "polling_failed", "not_polled"]

PROBLEM_VERDICTS: frozenset[Verdict] = frozenset({"broken", "never_received", "unusually_quiet", "polling_failed"})

_WINDOWS = ("narrow", "wide", "deep")  # by how far back they reach
_MAX_TYPES_LISTED = 3
_SAMPLE = 200  # events that the rhythm is taken from
_MIN_INTERVALS = 10  # pauses that make a rhythm
_USUAL_FACTOR = 3.0  # times the usual pause that are nothing to speak of
_MIN_SILENCE = 600.0  # seconds of silence that are never anything to speak of
_DEFAULT_SILENCE = 86_400.0  # seconds of silence that are not while no rhythm is known


@dataclass(frozen=True, slots=True)
class EventRate:
    """Seconds between happenings: half of the pauses are shorter than the usual one."""

    usual: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySignals:
    """What is known of the ways by which events are heard of.

    `last_upstream_at` and `listening_since` are on Flexport's clock, the others on ours. `deaf_since` is when the last
    webhook before an outage came that still goes on, `missed` how many events came by polling alone in it.
    """

    listening_since: str | None = None
    last_webhook_at: str | None = None
    last_upstream_at: str | None = None
    event_rate: EventRate | None = None
    polled_at: str | None = None
    failing_since: str | None = None
    failure: str | None = None
    down_since: str | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Detection:
    """Whether gaps can be seen.

    `compared` events that webhooks brought were looked for in Flexport's list, the last time at `compared_at`;
    `lacking` of them were not there, of the types `lacking_types`, the newest of which came at `lacking_at`. Times are
    on our clock.
    """

    state: DetectionState
    sentence: str
    compared: int = 0
    lacking: int = 0
    lacking_types: Mapping[str, int] = field(default_factory=dict)
    lacking_at: str | None = None
    compared_at: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryHealth:
    """The clocks, and what they say; `sentence` also says if gaps cannot be seen."""

    signals: DeliverySignals
    verdict: Verdict
    sentence: str
    detection: Detection

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look."""
        return self.verdict in PROBLEM_VERDICTS or self.detection.state in IMPAIRED


@dataclass(frozen=True, slots=True)
class OutageReport:
    """One outage: from the last webhook before it (None: there was none) to the first after (None: it goes on)."""

    outage: OutageSummary
    until: str | None
    seconds: float
    by_type: dict[str, int]
    sentence: str

    @property
    def repaired(self) -> int:
        """How many of its events have had their effect."""
        return self.outage.events - self.outage.waiting - self.outage.dead


# --- reading ---


def health(tx: Transaction, now: datetime) -> DeliveryHealth:
    """How events are heard of at present."""
    found, detected = delivery_signals(tx), detection(tx.gaps.polls(), now)
    verdict, sentence = assess(found, now, detected)
    return DeliveryHealth(found, verdict, sentence, detected)


def delivery_signals(tx: Transaction) -> DeliverySignals:
    """What the store knows of the ways by which events are heard of."""
    hearing, webhook, outage = tx.gaps.delivery_state(), tx.gaps.newest_webhook(), tx.gaps.newest_outage()
    came = (webhook.received_at if webhook else None, tx.gaps.last_delivery_at())
    goes_on = outage is not None and tx.gaps.ended_at(outage) is None
    polls = tx.gaps.polls()
    failing_since, failure = poll_failure(polls)
    return DeliverySignals(
        listening_since=hearing.since if hearing else None,
        last_webhook_at=max((at for at in came if at), default=None),
        last_upstream_at=hearing.upstream_created_at if hearing else None,
        event_rate=event_rate(tx.gaps.recent_times(_SAMPLE)),
        polled_at=max((poll.good_at for poll in polls if poll.good_at), default=None),
        failing_since=failing_since,
        failure=failure,
        down_since=outage.deaf_since if outage and goes_on else None,
        missed=outage.events - outage.late if outage and goes_on else 0,
    )


def outages(tx: Transaction, page: PageRequest, now: datetime) -> list[OutageReport]:
    """Outages, the newest first, one more than the page's limit when others follow."""
    return [summarise(outage, tx.gaps.ended_at(outage), tx.gaps.types(outage), now) for outage in tx.gaps.outages(page)]


# --- pure ---


def summarise(outage: OutageSummary, ended_at: str | None, by_type: dict[str, int], now: datetime) -> OutageReport:
    """An outage in words."""
    since = outage.deaf_since or outage.first_created_at
    until = None if ended_at is None else max(ended_at, since)
    seconds = age(since, now if until is None else parse(until)) or 0.0
    return OutageReport(outage, until, seconds, by_type, _outage_sentence(outage, until, seconds, now))


def _outage_sentence(outage: OutageSummary, until: str | None, seconds: float, now: datetime) -> str:
    since = outage.deaf_since
    if outage.events == 1 and since and until:
        between = f"between {time_text(since, now)} and {time_text(until, now)}"
        polled = f"its event was recovered by polling at {time_text(outage.first_noticed_at, now)}"
        if outage.late:
            return f"One webhook was late {between}: {polled}"
        return f"One webhook was lost {between}: {polled}"
    if since is None:
        begin = f"No webhooks before {time_text(until, now)}" if until else "No webhook has ever arrived"
    elif until is None:
        begin = f"No webhooks since {time_text(since, now)}"
    else:
        begin = f"No webhooks from {time_text(since, now)} to {time_text(until, now)} ({format_duration(seconds)})"
    late = f"; {outage.late} arrived later by webhook" if outage.late else ""
    return f"{begin}: {count_of(outage.events, 'event')} recovered by polling{late}"


def detection(polls: Sequence[Poll], now: datetime) -> Detection:
    """Whether gaps can be seen, by what the polls of each span found last."""
    if (poll_failure(polls)[1] or "").startswith(NOT_OFFERED):
        return Detection("unavailable", f"Gaps cannot be detected: {NOT_OFFERED}")
    if not any(poll.good_at for poll in polls):
        why = "Flexport's event list has not been read yet"
        return Detection("not_polled", f"Gaps cannot be detected yet: {why}")
    compared = [poll for poll in polls if poll.compared_at and not _is_superseded(poll, polls)]
    if compared:
        return _comparison_result(max(compared, key=lambda poll: (poll.lacking / poll.compared, poll.compared_at)), now)
    if any(poll.read for poll in polls):
        return Detection("working", "Flexport's event list has events, and none is known to be missing from it")
    why = "Flexport's event list is empty, and no webhook event is available for comparison"
    return Detection("unconfirmed", f"Gaps cannot be detected yet: {why}")


def _comparison_result(worst: Poll, now: datetime) -> Detection:
    """What a comparison found, by which gaps can be seen the least."""
    types: dict[str, int] = msgspec.json.decode(worst.lacking_types)
    about = (worst.compared, worst.lacking, types, worst.lacking_at, worst.compared_at)
    if not worst.lacking:
        found = f"contains all of the latest {count_of(worst.compared, 'event')} received by webhook"
        return Detection("working", f"Flexport's event list {found}", *about)
    if worst.lacking == worst.compared:
        received = f"webhooks delivered {count_of(worst.compared, 'event')} (latest {time_text(worst.lacking_at, now)})"
        which = "contains none of them" if worst.read else "is empty"
        text = f"Gaps cannot be detected: {received}, but Flexport's event list {which}"
        return Detection("all_missing", text, *about)
    lacks = f"lacks {worst.lacking} of the latest {count_of(worst.compared, 'event')} received by webhook"
    named = ", ".join(f"{count} {name or 'without a type'}" for name, count in list(types.items())[:_MAX_TYPES_LISTED])
    return Detection("incomplete", f"Some gaps cannot be detected: Flexport's event list {lacks} ({named})", *about)


def _is_superseded(poll: Poll, polls: Sequence[Poll]) -> bool:
    """Whether a later poll that reaches at least as far back has compared, too."""
    reach = _WINDOWS.index(poll.span)
    return any((one.compared_at or "") > (poll.compared_at or "") and _WINDOWS.index(one.span) > reach for one in polls)


def assess(found: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    """What the clocks say, as one word and one sentence; with another one where gaps cannot be seen."""
    verdict, told = _assess(found, now, detected)
    if detected.state in IMPAIRED and detected.state != "unavailable":
        told = f"{told}. {detected.sentence}"
    return verdict, told


def _assess(found: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    unasked = ""
    if found.failing_since is not None:
        unasked = f"Polling Flexport has failed since {time_text(found.failing_since, now)}: {found.failure}"
    if found.missed:
        verdict, told = _assess_outage(found, now)
        return verdict, f"{told}. {unasked}" if unasked else told
    if unasked:
        return "polling_failed", unasked
    if found.polled_at is None:
        last = f"Last webhook {time_ago(found.last_webhook_at, now)}" if found.last_webhook_at else "No webhooks yet"
        return "not_polled", f"{last}. Lost webhooks cannot be detected before the first poll"
    return _assess_silence(found, now, detected)


def _assess_outage(found: DeliverySignals, now: datetime) -> tuple[Verdict, str]:
    alone = f"{count_of(found.missed, 'event')} arrived only by polling"
    since = found.down_since or found.last_webhook_at
    if since is None:
        return (
            "never_received",
            f"No webhook has ever arrived; {alone}. Check that the endpoint is registered in Flexport",
        )
    return "broken", f"No webhooks since {time_text(since, now)}: {alone}"


def _assess_silence(found: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    """No event is known that a webhook should have brought: how long is it since there was any?"""
    last = max((at for at in (found.last_webhook_at, found.last_upstream_at) if at), default=found.listening_since)
    silence, known = age(last, now) or 0.0, found.event_rate
    usual = "not known yet" if known is None else format_duration(known.usual)
    nothing_to_speak_of = _DEFAULT_SILENCE if known is None else max(_USUAL_FACTOR * known.usual, _MIN_SILENCE)
    if silence <= nothing_to_speak_of and found.last_webhook_at is not None:
        return "arriving", f"Webhooks are arriving; last one {time_ago(found.last_webhook_at, now)}"
    nothing = f"o webhooks and no events at Flexport since {time_text(last, now)}"
    if known is not None and silence > max(known.longest, nothing_to_speak_of):
        return (
            "unusually_quiet",
            f"Unusually quiet: n{nothing} (typical interval {usual}, longest {format_duration(known.longest)})",
        )
    if detected.state != "working":  # an empty list does not say that nobody sent anything
        return "idle", f"N{nothing} (typical interval {usual}); lost webhooks cannot be ruled out"
    return "idle", f"N{nothing} (typical interval {usual})"


def event_rate(moments: Sequence[str]) -> EventRate | None:
    """The pauses between these times, which may be in any order; None where they are too few.

    What happens within one second counts as one happening: often several events tell of it.
    """
    seconds = sorted({moment[:19] for moment in moments})
    times = [parse(f"{second}Z") for second in seconds]
    pauses = [(later - earlier) / timedelta(seconds=1) for earlier, later in pairwise(times)]
    return EventRate(statistics.median(pauses), max(pauses)) if len(pauses) >= _MIN_INTERVALS else None


def poll_failure(polls: Sequence[Poll]) -> tuple[str | None, str | None]:
    """Since when, and why, no poll comes to its end; (None, None) when the last one did."""
    good_at = max((poll.good_at for poll in polls if poll.good_at), default="")
    found = [poll for poll in polls if poll.failed_at is not None and poll.failed_at > good_at]
    if not found:
        return None, None
    last = max(found, key=lambda poll: poll.failed_at or "")
    return max(good_at, min(poll.failing_since or "" for poll in found)), last.failure
