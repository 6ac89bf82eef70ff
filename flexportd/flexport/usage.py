"""The API budget book: every call to Flexport, by hour, purpose and resource."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from flexportd.clock import Clock

# A person's refresh, the outbox, the refresh after a webhook, polling of events, lists, details of shipments.
# In order of precedence.
Purpose = Literal["interactive", "write", "refresh", "events", "sync", "details"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

_MAX_KEYS = 5_000  # two weeks of hours: what nobody drains may not grow for ever
_RECENT = 50


class Call(msgspec.Struct, frozen=True):
    """One HTTP request: `resource` is a path template (`/shipments`), `status` 0 without an answer."""

    purpose: Purpose
    resource: str
    status: int
    seconds: float
    bytes: int
    retried: bool
    error: str | None


UsageKey = tuple[str, Purpose, str]  # the stamp of the hour's beginning, purpose, resource
UsageTotals = tuple[int, int, int, int, float]  # calls, errors, retries, bytes, seconds


@dataclass(slots=True)
class _Totals:
    calls: int = 0
    errors: int = 0
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def add(self, call: Call) -> None:
        self.calls += 1
        self.errors += call.error is not None
        self.retries += call.retried
        self.bytes += call.bytes
        self.seconds += call.seconds


@dataclass(slots=True)
class _PurposeUsage:
    total: _Totals = field(default_factory=_Totals)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))


class UsageRecorder:
    """Adds calls up in memory until its owner drains them. Every attempt is a call, retries too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[UsageKey, _Totals] = {}
        self._since_start: dict[Purpose, _PurposeUsage] = {purpose: _PurposeUsage() for purpose in PURPOSES}

    def add(self, call: Call) -> None:
        """Book one call under the present hour."""
        entry = (self._clock.stamp()[:13] + ":00:00.000Z", call.purpose, call.resource)
        if entry not in self._open:
            if len(self._open) >= _MAX_KEYS:
                del self._open[min(self._open)]
            self._open[entry] = _Totals()
        self._open[entry].add(call)
        of_purpose = self._since_start[call.purpose]
        of_purpose.total.add(call)
        of_purpose.recent.append(call.seconds)

    def take(self) -> dict[UsageKey, UsageTotals]:
        """What was booked since the last time, taken out: calls, errors, retries, bytes and seconds of each entry."""
        taken, self._open = self._open, {}
        return {
            entry: (total.calls, total.errors, total.retries, total.bytes, total.seconds)
            for entry, total in taken.items()
        }

    def recent_seconds(self, purpose: Purpose) -> float | None:
        """The mean duration of the last 50 calls of a purpose; None before the first."""
        recent = self._since_start[purpose].recent
        return sum(recent) / len(recent) if recent else None

    def totals(self) -> dict[Purpose, dict[str, Any]]:
        """Calls, errors, retries, bytes, seconds and recent_average_seconds (or None) since the start, by purpose."""
        return {
            purpose: {
                "calls": booked.total.calls,
                "errors": booked.total.errors,
                "retries": booked.total.retries,
                "bytes": booked.total.bytes,
                "seconds": round(booked.total.seconds, 3),
                "recent_average_seconds": self.recent_seconds(purpose),
            }
            for purpose, booked in self._since_start.items()
        }
