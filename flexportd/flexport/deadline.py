"""How long to go on: what Retry-After says, full-jitter backoff, and the end of patience. Pure but for the clock."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from flexportd.flexport.errors import FlexportError, RateLimitedError
from flexportd.flexport.monotonic import Steady

INTERACTIVE = 10.0  # seconds: a person is waiting
_LONGEST_FLOOR = 86_400.0
_FIRST_BOUND, _LARGEST_BOUND = 0.5, 20.0  # seconds, of the backoff
_UNSAID_RATE_LIMIT = 30.0  # seconds after a 429 that names no time
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
        return min(float(text.strip()), _LONGEST_FLOOR)
    moment = http_date(text)
    if moment is None:
        return None
    return min(max(0.0, (moment - now) / timedelta(seconds=1)), _LONGEST_FLOOR)


def backoff(attempt: int, jitter: float) -> float:
    """Seconds after try number `attempt` (from 1) failed: anything below a doubling bound; `jitter` is in [0, 1)."""
    return jitter * min(_LARGEST_BOUND, _FIRST_BOUND * 2.0 ** min(attempt - 1, 16))


class Patience:
    """The time that one request may take with all its retries."""

    def __init__(self, steady: Steady, seconds: float) -> None:
        self._steady = steady
        self._whole = seconds
        self._end = steady.seconds() + seconds

    def left(self) -> float:
        """Seconds until it is used up; never below zero."""
        return max(0.0, self._end - self._steady.seconds())

    def delay(self, attempt: int, error: FlexportError, jitter: float) -> float | None:
        """Seconds to wait after this error, or None when patience does not reach that far."""
        floor = error.retry_after or 0.0
        if error.retry_after is None and isinstance(error, RateLimitedError):
            floor = min(_UNSAID_RATE_LIMIT, self._whole / 2) * (1 + jitter / 5)
        wait = max(floor, backoff(attempt, jitter))
        return wait if wait <= self.left() and self._whole > 0 else None
