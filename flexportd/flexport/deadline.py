"""How long to go on: what Retry-After says, full-jitter backoff, and the end of patience. Pure but for the clock."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from flexportd.flexport.errors import FlexportError, RateLimitedError
from flexportd.flexport.monotonic import MonotonicClock

INTERACTIVE_TIMEOUT = 10.0  # seconds: a person is waiting
_MAX_RETRY_AFTER = 86_400.0
_MIN_BACKOFF, _MAX_BACKOFF = 0.5, 20.0  # seconds, of the backoff
_DEFAULT_RATE_LIMIT_WAIT = 30.0  # seconds after a 429 that names no time
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def http_date(text: str) -> datetime | None:
    """A date as HTTP writes it, aware; None for anything else."""
    try:
        moment = parsedate_to_datetime(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for (a number or an HTTP date), at most a day; None without sense.

    `now` is the time on the clock of whoever wrote the header.
    """
    if text is None:
        return None
    if _SECONDS.fullmatch(text.strip()):
        return min(float(text.strip()), _MAX_RETRY_AFTER)
    moment = http_date(text)
    if moment is None:
        return None
    return min(max(0.0, (moment - now) / timedelta(seconds=1)), _MAX_RETRY_AFTER)


def backoff(attempt: int, jitter: float) -> float:
    """Seconds after try number `attempt` (from 1) failed: anything below a doubling bound; `jitter` is in [0, 1)."""
    return jitter * min(_MAX_BACKOFF, _MIN_BACKOFF * 2.0 ** min(attempt - 1, 16))


class Deadline:
    """The time that one request may take with all its retries."""

    def __init__(self, steady: MonotonicClock, seconds: float) -> None:
        self._monotonic = steady
        self._total = seconds
        self._end = steady.seconds() + seconds

    def left(self) -> float:
        """Seconds until it is used up; never below zero."""
        return max(0.0, self._end - self._monotonic.seconds())

    def delay(self, attempt: int, error: FlexportError, jitter: float) -> float | None:
        """Seconds to wait after this error, or None when patience does not reach that far."""
        floor = error.retry_after or 0.0
        if error.retry_after is None and isinstance(error, RateLimitedError):
            floor = min(_DEFAULT_RATE_LIMIT_WAIT, self._total / 2) * (1 + jitter / 5)
        wait = max(floor, backoff(attempt, jitter))
        return wait if wait <= self.left() and self._total > 0 else None
