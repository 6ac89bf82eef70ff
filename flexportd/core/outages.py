"""Webhook outages, and whether silence is a fault: assessed from three signals.

The signals are the last webhook, the last event at Flexport that polling saw, and the typical interval of events. The
assessment is pure; `health` and `outages` read the store first.
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
"""Whether missed events can be detected: whether Flexport's event list has the events that webhooks delivered.

`unconfirmed`: the list is empty and there is no webhook to compare. `incomplete`: it lacks some of the delivered ones,
`all_missing`: all of them. `unavailable`: the account has no event list.
"""

IMPAIRED: frozenset[DetectionState] = frozenset({"incomplete", "all_missing", "unavailable"})

Verdict = Literal["arriving", "broken", "never_received", "idle", "unusually_quiet", "polling_failed", "not_polled"]

PROBLEM_VERDICTS: frozenset[Verdict] = frozenset({"broken", "never_received", "unusually_quiet", "polling_failed"})

_WINDOWS = ("narrow", "wide", "deep")  # by how far back they reach
_MAX_TYPES_LISTED = 3
_SAMPLE = 200  # events from which the rate is computed
_MIN_INTERVALS = 10  # intervals that are needed for a rate
_USUAL_FACTOR = 3.0  # silence up to so many typical intervals is normal
_MIN_SILENCE = 600.0  # seconds of silence that are always normal
_DEFAULT_SILENCE = 86_400.0  # seconds of silence that are normal while no rate is known


@dataclass(frozen=True, slots=True)
class EventRate:
    """Seconds between events: `usual` is the median, `longest` the maximum."""

    usual: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySignals:
    """What is known about the delivery of events.

    `last_upstream_at` and `listening_since` are on Flexport's clock, the others on ours. `down_since` is when the last
    webhook before the current outage arrived, `missed` how many events came only by polling since.
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
    """Whether gaps can be detected.

    `compared` events from webhooks were looked up in Flexport's list, last at `compared_at`; `lacking` of them were
    missing, of the types `lacking_types`, the newest received at `lacking_at`. Times are on our clock.
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
    """The signals and their assessment; `sentence` also says if gaps cannot be detected."""

    signals: DeliverySignals
    verdict: Verdict
    sentence: str
    detection: Detection

    @property
    def needs_attention(self) -> bool:
        """Whether an operator should act."""
        return self.verdict in PROBLEM_VERDICTS or self.detection.state in IMPAIRED


@dataclass(frozen=True, slots=True)
class OutageReport:
    """One outage: from the last webhook before it (None: there was none) to the first after it (None: ongoing)."""

    outage: OutageSummary
    until: str | None
    seconds: float
    by_type: dict[str, int]
    sentence: str

    @property
    def repaired(self) -> int:
        """How many of its events are processed."""
        return self.outage.events - self.outage.waiting - self.outage.dead


def health(tx: Transaction, now: datetime) -> DeliveryHealth:
    """The present health of event delivery."""
    found, detected = delivery_signals(tx), detection(tx.gaps.polls(), now)
    verdict, sentence = assess(found, now, detected)
    return DeliveryHealth(found, verdict, sentence, detected)


def delivery_signals(tx: Transaction) -> DeliverySignals:
    """Read the delivery signals."""
    state, webhook, outage = tx.gaps.delivery_state(), tx.gaps.newest_webhook(), tx.gaps.newest_outage()
    came = (webhook.received_at if webhook else None, tx.gaps.last_delivery_at())
    goes_on = outage is not None and tx.gaps.ended_at(outage) is None
    polls = tx.gaps.polls()
    failing_since, failure = poll_failure(polls)
    return DeliverySignals(
        listening_since=state.since if state else None,
        last_webhook_at=max((at for at in came if at), default=None),
        last_upstream_at=state.upstream_created_at if state else None,
        event_rate=event_rate(tx.gaps.recent_times(_SAMPLE)),
        polled_at=max((poll.good_at for poll in polls if poll.good_at), default=None),
        failing_since=failing_since,
        failure=failure,
        down_since=outage.deaf_since if outage and goes_on else None,
        missed=outage.events - outage.late if outage and goes_on else 0,
    )


def outages(tx: Transaction, page: PageRequest, now: datetime) -> list[OutageReport]:
    """Outages, newest first; one more than the page's limit if there are more."""
    return [summarise(outage, tx.gaps.ended_at(outage), tx.gaps.types(outage), now) for outage in tx.gaps.outages(page)]


def summarise(outage: OutageSummary, ended_at: str | None, by_type: dict[str, int], now: datetime) -> OutageReport:
    """Summarise an outage."""
    since = outage.deaf_since or outage.first_created_at
    until = None if ended_at is None else max(ended_at, since)
    seconds = age(since, now if until is None else parse(until)) or 0.0
    return OutageReport(outage, until, seconds, by_type, _outage_sentence(outage, until, seconds, now))


def _outage_sentence(outage: OutageSummary, until: str | None, seconds: float, now: datetime) -> str:
    since = outage.deaf_since
    if outage.events == 1 and since and until:
        between = f"between {time_text(since, now)} and {time_text(until, now)}"
        polled = f"its event was recovered by polling at {time_text(outage.first_noticed_at, now)}"
        return f"One webhook was {'late' if outage.late else 'lost'} {between}: {polled}"
    if since is None:
        begin = f"No webhooks before {time_text(until, now)}" if until else "No webhook has ever arrived"
    elif until is None:
        begin = f"No webhooks since {time_text(since, now)}"
    else:
        begin = f"No webhooks from {time_text(since, now)} to {time_text(until, now)} ({format_duration(seconds)})"
    late = f"; {outage.late} arrived later by webhook" if outage.late else ""
    return f"{begin}: {count_of(outage.events, 'event')} recovered by polling{late}"


def detection(polls: Sequence[Poll], now: datetime) -> Detection:
    """Whether gaps can be detected, by the last poll of each window."""
    if (poll_failure(polls)[1] or "").startswith(NOT_OFFERED):
        return Detection("unavailable", f"Gaps cannot be detected: {NOT_OFFERED}")
    if not any(poll.good_at for poll in polls):
        return Detection("not_polled", "Gaps cannot be detected yet: Flexport's event list has not been read yet")
    compared = [poll for poll in polls if poll.compared_at and not _is_superseded(poll, polls)]
    if compared:
        return _comparison_result(max(compared, key=lambda poll: (poll.lacking / poll.compared, poll.compared_at)), now)
    if any(poll.read for poll in polls):
        return Detection("working", "Flexport's event list has events, and none is known to be missing from it")
    why = "Flexport's event list is empty, and no webhook event is available for comparison"
    return Detection("unconfirmed", f"Gaps cannot be detected yet: {why}")


def _comparison_result(worst: Poll, now: datetime) -> Detection:
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
    """Whether a later poll compared that reaches at least as far back."""
    reach = _WINDOWS.index(poll.span)
    return any((one.compared_at or "") > (poll.compared_at or "") and _WINDOWS.index(one.span) > reach for one in polls)


def assess(signals: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    """A verdict and a sentence; a second sentence if gaps cannot be detected."""
    verdict, sentence = _assess(signals, now, detected)
    if detected.state in IMPAIRED and detected.state != "unavailable":
        sentence = f"{sentence}. {detected.sentence}"
    return verdict, sentence


def _assess(signals: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    failing = ""
    if signals.failing_since is not None:
        failing = f"Polling Flexport has failed since {time_text(signals.failing_since, now)}: {signals.failure}"
    if signals.missed:
        verdict, sentence = _assess_outage(signals, now)
        return verdict, f"{sentence}. {failing}" if failing else sentence
    if failing:
        return "polling_failed", failing
    if signals.polled_at is None:
        last = (
            f"Last webhook {time_ago(signals.last_webhook_at, now)}" if signals.last_webhook_at else "No webhooks yet"
        )
        return "not_polled", f"{last}. Lost webhooks cannot be detected before the first poll"
    return _assess_silence(signals, now, detected)


def _assess_outage(signals: DeliverySignals, now: datetime) -> tuple[Verdict, str]:
    alone = f"{count_of(signals.missed, 'event')} arrived only by polling"
    since = signals.down_since or signals.last_webhook_at
    if since is None:
        check = "Check that the endpoint is registered in Flexport"
        return "never_received", f"No webhook has ever arrived; {alone}. {check}"
    return "broken", f"No webhooks since {time_text(since, now)}: {alone}"


def _assess_silence(signals: DeliverySignals, now: datetime, detected: Detection) -> tuple[Verdict, str]:
    """Without missed events: judge by the time since the last event."""
    last = max(
        (at for at in (signals.last_webhook_at, signals.last_upstream_at) if at), default=signals.listening_since
    )
    silence, known = age(last, now) or 0.0, signals.event_rate
    usual = "not known yet" if known is None else format_duration(known.usual)
    normal = _DEFAULT_SILENCE if known is None else max(_USUAL_FACTOR * known.usual, _MIN_SILENCE)
    if silence <= normal and signals.last_webhook_at is not None:
        return "arriving", f"Webhooks are arriving; last one {time_ago(signals.last_webhook_at, now)}"
    nothing = f"o webhooks and no events at Flexport since {time_text(last, now)}"
    if known is not None and silence > max(known.longest, normal):
        interval = f"typical interval {usual}, longest {format_duration(known.longest)}"
        return "unusually_quiet", f"Unusually quiet: n{nothing} ({interval})"
    if detected.state != "working":  # an empty list does not prove that nothing was sent
        return "idle", f"N{nothing} (typical interval {usual}); lost webhooks cannot be ruled out"
    return "idle", f"N{nothing} (typical interval {usual})"


def event_rate(moments: Sequence[str]) -> EventRate | None:
    """The rate of events at these times, in any order; None if they are too few.

    Events within one second count as one: often several report the same thing.
    """
    seconds = sorted({moment[:19] for moment in moments})
    times = [parse(f"{second}Z") for second in seconds]
    pauses = [(later - earlier) / timedelta(seconds=1) for earlier, later in pairwise(times)]
    return EventRate(statistics.median(pauses), max(pauses)) if len(pauses) >= _MIN_INTERVALS else None


def poll_failure(polls: Sequence[Poll]) -> tuple[str | None, str | None]:
    """Since when and why polls fail; (None, None) if the last one succeeded."""
    good_at = max((poll.good_at for poll in polls if poll.good_at), default="")
    found = [poll for poll in polls if poll.failed_at is not None and poll.failed_at > good_at]
    if not found:
        return None, None
    last = max(found, key=lambda poll: poll.failed_at or "")
    return max(good_at, min(poll.failing_since or "" for poll in found)), last.failure
