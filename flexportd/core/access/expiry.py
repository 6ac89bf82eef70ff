"""The expiry of a key or a link: a duration from now, a day, or a time."""

import re
from datetime import UTC, date, datetime, timedelta

from flexportd.clock import stamp
from flexportd.errors import InvalidError
from flexportd.settings import format_duration, parse_duration

_ALLOWED = "a duration (90d, 12h), a day (2027-01-31, the last one on which it works) or a time (2027-01-31T12:00:00Z)"
_SPAN = re.compile(r"[0-9]+[a-z]")
_DAY = timedelta(days=1)


def parse_expiry(text: str, now: datetime, most: timedelta) -> str:
    """Parse an expiry to a stamp of whole seconds. Raises InvalidError unless it is in the future, within `most`."""
    try:
        at = now + parse_duration(text) if _SPAN.match(text) and len(text) < 100 else _moment(text)
        at = at.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise InvalidError(f"expires is {text[:50]!r}; allowed is {_ALLOWED}", "expires") from None
    if at <= now:
        raise InvalidError(f"expires is {text[:50]!r}, which is not in the future; now it is {stamp(now)}", "expires")
    if at > now + most:
        longest = format_duration(most)
        raise InvalidError(f"expires is {text[:50]!r}; at most {longest} from now is allowed", "expires")
    return stamp(at)


def _moment(text: str) -> datetime:
    if len(text) == 10:
        day = date.fromisoformat(text) + _DAY
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
