"""The header Retry-After (RFC 9110, section 10.2.3), and HTTP dates (section 5.6.7)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_MAX_RETRY_AFTER = 86_400.0  # seconds
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def http_date(text: str) -> datetime | None:
    """An HTTP date, aware; None for anything else."""
    try:
        moment = parsedate_to_datetime(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds of a Retry-After header (a number or an HTTP date), at most a day; None if it is not valid.

    `now` is the time on the sender's clock.
    """
    if text is None:
        return None
    if _SECONDS.fullmatch(text.strip()):
        return min(float(text.strip()), _MAX_RETRY_AFTER)
    moment = http_date(text)
    return None if moment is None else min(max(0.0, (moment - now) / timedelta(seconds=1)), _MAX_RETRY_AFTER)
