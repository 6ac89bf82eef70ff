"""A forecast of the next full sync: requests and time. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flexportd.clock import parse
from flexportd.storage.repositories.sync import ListState

PAGE_SIZE = 100  # rows of a page
_DEFAULT_SECONDS = 0.3  # seconds per request before any was measured


@dataclass(frozen=True, slots=True)
class SyncEstimate:
    """Requests and seconds of the next full sync; `unknown` are lists that were never read completely."""

    requests: int
    seconds: float
    unknown: tuple[str, ...]


def forecast(
    lists: Iterable[tuple[str, timedelta]], states: Mapping[str, ListState], now: datetime, pace: "SyncPace"
) -> SyncEstimate:
    """Forecast the next full sync. `lists` are resources with their sync interval; only those due by then count."""
    requests, unknown = 0, []
    for resource, every in lists:
        state = states.get(resource)
        if state is None or state.complete_at is None:
            unknown.append(resource)
        elif state.unavailable_at is None and now + pace.until_next - parse(state.complete_at) >= every:
            requests += max(1, -(-(state.total or 0) // PAGE_SIZE))
    each = max(1.0 / pace.rate, (pace.seconds_per_request or _DEFAULT_SECONDS) / pace.concurrency)
    return SyncEstimate(requests, round(requests * each, 1), tuple(unknown))


@dataclass(frozen=True, slots=True)
class SyncPace:
    """The speed of a sync: requests per second, seconds per request, concurrent lists, and the time until the sync."""

    rate: float
    seconds_per_request: float | None
    concurrency: int
    until_next: timedelta
