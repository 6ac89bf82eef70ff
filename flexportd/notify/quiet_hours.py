"""Quiet hours and the times of digests, in a time zone with its changes of the clock. Pure.

A wall time that the clock skips stands for the first moment after the gap; one that occurs twice for its first
occurrence. So each window begins and ends once a day, and each digest is sent once.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_EXPECTED_QUIET = 'expected two different times such as "22:00-07:00"'
_EXPECTED_DIGEST = 'expected "daily 07:30", or a weekday as in "weekly mon 07:30"'


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A daily window of wall time, from `start` until before `end`; it may include midnight."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> "QuietHours":
        """Parse `22:00-07:00`. Raises ValueError with the expected form."""
        parts = [_parse_time(part) for part in text.split("-")]
        if len(parts) != 2 or parts[0] is None or parts[1] is None or parts[0] == parts[1]:
            raise ValueError(_EXPECTED_QUIET)
        return cls(parts[0], parts[1])

    def ends_at(self, now: datetime, zone: tzinfo) -> datetime | None:
        """When the window that includes `now` ends (UTC); None outside of it."""
        today = now.astimezone(zone).date()
        for day in (today - _DAY, today, today + _DAY):  # a gap at midnight can move a time to the next day
            begin = instant_of(day, self.start, zone)
            end = instant_of(day if self.start < self.end else day + _DAY, self.end, zone)
            if begin <= now < end:
                return end
        return None

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class DigestSchedule:
    """When a digest is sent: daily, or on one `weekday` (0 is Monday)."""

    at: time
    weekday: int | None = None

    @classmethod
    def parse(cls, text: str) -> "DigestSchedule":
        """Parse `daily 07:30` or `weekly mon 07:30`. Raises ValueError with the expected form."""
        match text.lower().split():
            case ["daily", clock] if (at := _parse_time(clock)) is not None:
                return cls(at)
            case ["weekly", name, clock] if (at := _parse_time(clock)) is not None:
                days = [number for number, day in enumerate(_WEEKDAYS) if name in (day, day[:3])]
                if days:
                    return cls(at, days[0])
        raise ValueError(_EXPECTED_DIGEST)

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first time of the digest after a moment (UTC)."""
        day = moment.astimezone(zone).date() - _DAY
        while True:
            if self.weekday is None or day.weekday() == self.weekday:
                at = instant_of(day, self.at, zone)
                if at > moment:
                    return at
            day += _DAY

    def __str__(self) -> str:
        return (
            f"daily {self.at:%H:%M}"
            if self.weekday is None
            else f"weekly {_WEEKDAYS[self.weekday][:3]} {self.at:%H:%M}"
        )


def instant_of(day: date, clock: time, zone: tzinfo) -> datetime:
    """The instant of a wall time (UTC): the first of two, or the first moment after the gap that skips it."""
    local = datetime.combine(day, clock, zone)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None, fold=0) == local.replace(tzinfo=None):
        return instant
    # PEP 495: within a gap, fold=1 uses the offset after it, which gives an instant before it.
    before, after = local.replace(fold=1).astimezone(UTC), instant
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _parse_time(text: str) -> time | None:
    found = _TIME.fullmatch(text.strip())
    return time(int(found[1]), int(found[2])) if found else None
