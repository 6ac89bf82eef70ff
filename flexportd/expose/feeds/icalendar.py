"""The agenda as an iCalendar file (RFC 5545, and what calendar programs understand beside it).

Nothing in it depends on when it is made, so that its bytes change only with what it shows. A time is written in UTC,
which is right in every zone on both sides of a change of clocks; a day is written as a day.
"""

import functools
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from icalendar import Calendar, Event, Timezone, TimezoneStandard, vText

from flexportd.clock import parse
from flexportd.core.calendar import CalendarEntry, Kind, clean_line

REFRESH_INTERVAL = timedelta(hours=1)
"""How often programs are asked to look again."""

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_SEQUENCE_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)  # of SEQUENCE: in seconds from here, 31 bits last until 2088
_MAX_SEQUENCE = (1 << 31) - 1
_END = b"END:VCALENDAR\r\n"

_CATEGORIES: dict[Kind, str] = {
    "arrivals": "Arrivals",
    "ramp_arrivals": "Ramp arrivals",
    "deliveries": "Deliveries",
    "free_time": "Free time",
    "appointments": "Appointments",
    "invoices": "Invoices",
}


@dataclass(frozen=True)
class CalendarInfo:
    """What stands above the entries. `pages` is where the pages of shipments are, if they are to be linked."""

    title: str
    timezone: str
    description: str = ""
    pages: str | None = None


def render_calendar(heading: CalendarInfo, entries: Iterable[CalendarEntry]) -> bytes:
    """The file. It may take a second for thousands of entries: not for the event loop."""
    events = [_event(entry, heading.pages) for entry in entries]
    head = _head(heading, empty=not events)
    return head.removesuffix(_END) + b"".join(events) + _END


def sequence(revised_at: str) -> int:
    """The revision of an entry: it rises with our time of what the entry was made of.

    It needs no memory, so it is the same after a restart, and does not fall when history is forgotten.
    """
    seconds = (parse(revised_at) - _SEQUENCE_EPOCH) // timedelta(seconds=1)
    return min(max(seconds, 0), _MAX_SEQUENCE)


def _head(heading: CalendarInfo, *, empty: bool) -> bytes:
    found = Calendar()
    found.add("prodid", "-//flexportd//calendar//EN")
    found.add("version", "2.0")
    found.add("calscale", "GREGORIAN")
    found.add("method", "PUBLISH")
    title, about = vText(clean_line(heading.title)), vText(clean_line(heading.description))
    found.add("name", title)  # RFC 7986; the X-WR- names say the same to older programs
    found.add("x-wr-calname", title)
    if about:
        found.add("description", about)
        found.add("x-wr-caldesc", about)
    found.add("x-wr-timezone", vText(heading.timezone))
    found.add("refresh-interval", REFRESH_INTERVAL, parameters={"VALUE": "DURATION"})
    found.add("x-published-ttl", vText("PT1H"))
    if empty:  # a calendar needs at least one component (RFC 5545, 3.6); this one shows nothing
        found.add_component(_utc_zone())
    return bytes(found.to_ical())


def _utc_zone() -> Timezone:
    zone, standard = Timezone(), TimezoneStandard()
    zone.add("tzid", "UTC")
    standard.add("dtstart", datetime(1970, 1, 1))  # noqa: DTZ001 (RFC 5545 wants the local time of a zone's beginning)
    standard.add("tzoffsetfrom", timedelta())
    standard.add("tzoffsetto", timedelta())
    standard.add("tzname", "UTC")
    zone.add_component(standard)
    return zone


@functools.lru_cache(maxsize=8192)  # whoever looks again each hour mostly sees the same
def _event(entry: CalendarEntry, pages: str | None) -> bytes:
    found, revised = Event(), parse(entry.revised_at).replace(microsecond=0)
    found.add("uid", f"{entry.key}@flexportd")
    found.add("dtstamp", revised)
    found.add("last-modified", revised)
    found.add("sequence", sequence(entry.revised_at))
    found.add("dtstart", entry.at)
    found.add("dtend", _end(entry.at))
    found.add("summary", entry.title)
    found.add("status", "TENTATIVE" if entry.is_estimate else "CONFIRMED")
    found.add("transp", "TRANSPARENT")  # nobody is busy for it
    found.add("categories", [_CATEGORIES[entry.kind]])
    if entry.place:
        found.add("location", entry.place)
    page = f"{pages}/shipments/{entry.shipment_id}" if pages and entry.shipment_id is not None else None
    if page is not None:
        found.add("url", page)
    facts = [*entry.facts, *((page,) if page is not None else ())]
    if facts:
        found.add("description", "\n".join(facts))
    return bytes(found.to_ical())


def _end(at: date | datetime) -> date | datetime:
    """The end, which is not part of the entry: the next day, or an hour later.

    Flexport does not say how long anything takes. Without an end, programs draw a line without height, or refuse.
    """
    with suppress(OverflowError):
        return at + (_HOUR if isinstance(at, datetime) else _DAY)
    return at
