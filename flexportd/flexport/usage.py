"""The usage of Flexport's API: every request, by hour, purpose and resource."""

from collections import deque
from dataclasses import asdict, astuple, dataclass
from typing import Any, Literal, get_args

import msgspec

from flexportd.clock import Clock

# A person's refresh, the outbox, the refresh after a webhook, polling of events, lists, details of shipments.
# In order of priority.
Purpose = Literal["interactive", "write", "refresh", "events", "sync", "details"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

_MAX_KEYS = 5_000  # two weeks of hours: the limit if nobody calls `take`
_RECENT = 50


class Call(msgspec.Struct, frozen=True):
    """One HTTP request: `resource` is a path template (`/shipments`), `error` the slug of its failure."""

    purpose: Purpose
    resource: str
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


class UsageRecorder:
    """Adds up calls in memory until its owner takes them. Every attempt is a call, retries too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hours: dict[UsageKey, _Totals] = {}
        self._totals: dict[Purpose, _Totals] = {purpose: _Totals() for purpose in PURPOSES}
        self._recent: dict[Purpose, deque[float]] = {purpose: deque(maxlen=_RECENT) for purpose in PURPOSES}

    def add(self, call: Call) -> None:
        """Add one call to the present hour."""
        entry = (self._clock.stamp()[:13] + ":00:00.000Z", call.purpose, call.resource)
        if entry not in self._hours:
            if len(self._hours) >= _MAX_KEYS:
                del self._hours[min(self._hours)]
            self._hours[entry] = _Totals()
        self._hours[entry].add(call)
        self._totals[call.purpose].add(call)
        self._recent[call.purpose].append(call.seconds)

    def take(self) -> dict[UsageKey, UsageTotals]:
        """Remove and return the totals since the last call of this."""
        hours, self._hours = self._hours, {}
        return {entry: astuple(totals) for entry, totals in hours.items()}

    def totals(self) -> dict[Purpose, dict[str, Any]]:
        """By purpose, since the start: calls, errors, retries, bytes, seconds, recent_average_seconds (or None)."""
        return {
            purpose: asdict(totals)
            | {
                "seconds": round(totals.seconds, 3),
                "recent_average_seconds": sum(recent) / len(recent) if (recent := self._recent[purpose]) else None,
            }
            for purpose, totals in self._totals.items()
        }
