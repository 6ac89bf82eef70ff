"""Times as people read them: `20 Nov` where only the day is known, else `22 Nov 08:57 (UTC+8)`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal, NamedTuple

from flexportd.clock import zone_of
from flexportd.core.labels import format_day, format_offset, is_day_only
from flexportd.escape import escape_control

_NOW_SECONDS = 45  # seconds that count as now
_LONGEST_ZONE = 64  # characters of a name

Tone = Literal["good", "warn", "bad", "plain"]


class DateText(NamedTuple):
    """A moment: its day, its day and time (where a time is known), and the machine-readable form."""

    day: str
    text: str
    iso: str


class RelativeTime(NamedTuple):
    """A moment relative to now: `12 minutes ago`, `in 2 hours`."""

    when: DateText
    words: str


class Delay(NamedTuple):
    """The deviation of a date from its plan."""

    text: str
    tone: Tone


class DateCell(NamedTuple):
    """A planned and actual date in a table: the actual one where it is known; `plan` where the two differ."""

    when: DateText
    is_actual: bool
    delay: Delay | None
    plan: DateText | None = None


@dataclass(frozen=True, slots=True)
class ViewContext:
    """The viewer's time zone (the dashboard's) and the current time."""

    zone: tzinfo
    now: datetime

    @property
    def today(self) -> date:
        """The current day in the dashboard's zone."""
        return _in_zone(self.now, self.zone).date()

    def moment(self, text: str | None, place_zone: str | None = None) -> DateText | None:
        """A time of the transport in the zone of its place; a day without a time stays as it was written."""
        if not text:
            return None
        parsed = _parse(text)
        if parsed is None:
            words = escape_control(text, 40)
            return DateText(words, words, words)
        if is_day_only(text):
            words = self._day(parsed)
            return DateText(words, words, text[:10])
        zone = find_zone(place_zone)
        return self._when(parsed if zone is None else _in_zone(parsed, zone), text)

    def calendar_day(self, text: str | None) -> DateText | None:
        """A date without any time, as stored."""
        if not text:
            return None
        try:
            words = self._day(date.fromisoformat(text[:10]))
        except ValueError:
            words = escape_control(text, 40)
        return DateText(words, words, text[:10])

    def instant(self, text: str | None) -> DateText | None:
        """A time of a system (ours or Flexport's), in the dashboard's zone."""
        parsed = _parse(text)
        return None if parsed is None else self._when(_in_zone(parsed, self.zone), text)

    def _when(self, local: datetime, text: str | None) -> DateText:
        day = self._day(local)
        return DateText(day, f"{day} {local:%H:%M} {_offset(local)}", text or "")

    def _day(self, day: date) -> str:
        """`20 Nov`; of a datetime, its own day."""
        return format_day(day.date() if isinstance(day, datetime) else day, self.today)

    def ago(self, text: str | None) -> RelativeTime | None:
        """A past time, with its age."""
        parsed = _parse(text)
        if parsed is None:
            return None
        when = self._when(_in_zone(parsed, self.zone), text)
        seconds = (self.now - parsed) / timedelta(seconds=1)
        # As in live.js.
        return RelativeTime(when, "just now" if seconds < _NOW_SECONDS else f"{_span_words(seconds)} ago")

    def until(self, text: str | None) -> RelativeTime | None:
        """A future time, with the time until then."""
        parsed = _parse(text)
        if parsed is None:
            return None
        seconds = (parsed - self.now) / timedelta(seconds=1)
        when = self._when(_in_zone(parsed, self.zone), text)
        return RelativeTime(when, f"in {_span_words(seconds)}" if seconds >= _NOW_SECONDS else "now")

    def between(self, start: str | None, end: str | None) -> float | None:
        """Seconds from one time to a later one, never below zero; None where either is not known."""
        before, after = _parse(start), _parse(end)
        return None if before is None or after is None else max(0.0, (after - before) / timedelta(seconds=1))

    def clock_time(self, text: str | None) -> str | None:
        """`14:02`, with its day unless that is today."""
        parsed = _parse(text)
        if parsed is None:
            return None
        local = _in_zone(parsed, self.zone)
        return f"{local:%H:%M}" if local.date() == self.today else f"{self._day(local)} {local:%H:%M}"

    def days_past(self, moment: str) -> int | None:
        """The calendar days since the date of a moment, at its place; negative for the future."""
        parsed = _parse(moment)
        if parsed is None:
            return None
        return (_in_zone(self.now, parsed.tzinfo or UTC).date() - parsed.date()).days

    def delay(self, planned: str | None, actual: str | None) -> Delay | None:
        """The calendar days by which a date is early, late or overdue; None when it is on time."""
        if not planned:
            return None
        days = days_between(planned, actual) if actual else self.days_past(planned)
        if not days or (days < 0 and not actual):
            return None
        if not actual:
            return Delay(f"{count(days, 'day')} overdue", "bad")
        return Delay(f"{count(abs(days), 'day')} {'late' if days > 0 else 'early'}", "warn" if days > 0 else "good")

    def cell(
        self, fields: Mapping[str, Any], name: str, *, zone: str | None = None, is_past: bool = False
    ) -> DateCell | None:
        """`estimated_` and `actual_` of a date. `is_past`: it has happened, reported or not: not overdue."""
        planned, actual = fields[f"estimated_{name}"], fields[f"actual_{name}"]
        when = self.moment(actual or planned, zone)
        if when is None:
            return None
        delay = None if is_past and not actual else self.delay(planned, actual)
        plan = self.moment(planned, zone) if actual else None
        return DateCell(when, bool(actual), delay, plan if plan and plan.day != when.day else None)

    def countdown(self, planned: str) -> str | None:
        """`today`, `tomorrow`, `in 4 days`; None for the past."""
        days = self.days_past(planned)
        if days is None or days > 0:
            return None
        return "today" if days == 0 else "tomorrow" if days == -1 else f"in {-days} days"


def _span_words(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600)):
        if seconds >= size * 0.95:
            return count(round(seconds / size), unit)
    return count(max(1, round(seconds / 60)), "minute")


def count(number: int, noun: str, several: str | None = None) -> str:
    """`1 day`, `1,204 days`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def find_zone(name: str | None) -> tzinfo | None:
    """The IANA zone of a name; None for an unknown one."""
    return zone_of(name) if name and len(name) <= _LONGEST_ZONE else None


def _offset(local: datetime) -> str:
    """`UTC`, `(UTC+8)`. Abbreviations are ambiguous: CST is Qingdao and Memphis."""
    return f"({format_offset(local.strftime('%z'))})" if local.utcoffset() else "UTC"


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:  # the first and the last day of the calendar
        return moment


def _parse(text: str | None) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def days_between(old: str, new: str) -> int | None:
    """By how many calendar days a date moved."""
    before, after = _parse(old), _parse(new)
    return None if before is None or after is None else (after.date() - before.date()).days


def percent_elapsed(start: str | None, end: str | None, now: datetime) -> int:
    """The elapsed part of a span, in steps of 5 percent from 5 to 95; 50 where the span is not known."""
    before, after = _parse(start), _parse(end)
    if before is None or after is None or after - before <= timedelta(0):
        return 50
    return min(95, max(5, round((now - before) / (after - before) * 20) * 5))
