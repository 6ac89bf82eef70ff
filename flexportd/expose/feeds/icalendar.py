"""`GET /calendar.ics`: upcoming dates as an iCalendar feed (RFC 5545, and common extensions of calendar programs).

Nothing in it depends on when it is made, so its bytes change only with what it shows. A time is written in UTC, which
is right in every zone on both sides of a change of clocks; a day is written as a day.
"""

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from flexportd.clock import parse
from flexportd.core import calendar
from flexportd.core.access.keys import FEED_PATTERN, Principal
from flexportd.core.calendar import KINDS, MAX_ENTRIES, CalendarEntry, Kind, clean_line
from flexportd.errors import ForbiddenError, InvalidError
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CLOCK, DB, DISPLAY, PRINCIPAL, DisplaySettings
from flexportd.expose.openapi.parameters import csv_of, integer
from flexportd.expose.openapi.route import Parameter, Response
from flexportd.expose.openapi.router import param, route
from flexportd.expose.security.access_policy import ACCESS_POLICY
from flexportd.http.problems import AUTH_PROBLEMS
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import PageRequest

if TYPE_CHECKING:
    from icalendar import Timezone

DAYS_BACK, DAYS_AHEAD = 30, 365
MAX_DAYS = 1100  # days
REFRESH_INTERVAL = timedelta(hours=1)
"""How often calendar programs are asked to refresh the feed."""

_MEDIA = "text/calendar"
_ROWS = 500  # of one read
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_SEQUENCE_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)  # of SEQUENCE: in seconds from here, 31 bits last until 2088
_MAX_SEQUENCE = (1 << 31) - 1
_END = b"END:VCALENDAR\r\n"


_HEADERS: Mapping[str, str] = {"etag": "Changes when the calendar changes."}


def _token(name: str, text: str) -> str:
    """The token as sent. It must not show in any message."""
    if not FEED_PATTERN.fullmatch(text):
        raise InvalidError(f"{name} is not a calendar token; a token is fxc_ followed by 41 characters", name)
    return text


_TOKEN = Parameter(
    name="token",
    description="Private token, instead of a key: part of the key's calendar URL (`calendar_path`).",
    schema={"type": "string", "pattern": f"^{FEED_PATTERN.pattern}$"},
    parse=_token,
)


@route(
    "GET",
    "/calendar.ics",
    tag="feeds",
    prefix="",
    returns=(
        Response(description="The calendar.", media=(_MEDIA,), headers=_HEADERS),
        Response(description="Not modified since the ETag in `If-None-Match`.", status=304, media=()),
    ),
    scope=None,
    query=(
        _TOKEN,
        csv_of("kinds", KINDS, "Limit to these kinds of entries (comma-separated)."),
        integer("days_back", 0, MAX_DAYS, "Number of past days to include.", DAYS_BACK),
        integer("days_ahead", 0, MAX_DAYS, "Number of future days to include.", DAYS_AHEAD),
    ),
    audience_allowed=True,
    problems=AUTH_PROBLEMS,
)
async def get_calendar(request: web.Request) -> web.StreamResponse:
    """Get the calendar of upcoming dates (iCalendar).

    A feed to subscribe to; calendar programs refresh it every hour. Contains arrivals at the port of
    unloading, arrivals at an inland ramp, deliveries, last free days, delivery appointments and due dates of open
    invoices. Where Flexport provides only a date, the entry is an all-day event on the day at its place; otherwise
    its time is in UTC, which programs convert to their own time zone. `days_back` and `days_ahead` count by the day
    at the place. Entry ids are stable; SEQUENCE increases when an entry changes. A last free day is removed when
    anything shows that the container has left the terminal, an invoice when it is paid.

    If keys are required, send the key as a header, or use `token`, since calendar programs cannot send headers. A
    key limited to some shipments returns only those shipments and no invoices.
    """
    # Never cached: the key of the cache would be the URL, which holds the token.
    request[PRINCIPAL] = principal = _principal(request)
    kinds = _kinds(request, principal)
    db, clock, display = request.app[DB], request.app[CLOCK], request.app[DISPLAY]

    async def build() -> bytes:
        today = clock.now().date()
        begin = today - timedelta(days=param(request, "days_back", DAYS_BACK))
        end = today + timedelta(days=param(request, "days_ahead", DAYS_AHEAD) + 1)
        entries: list[CalendarEntry] = []
        for kind in kinds:
            entries += await _entries(db, kind, principal, (today, end))
            entries += await _entries(db, kind, principal, (begin, today), backward=True)
        return await asyncio.to_thread(_render, display, principal, entries, today)

    return await respond(request, build, content_type=f"{_MEDIA}; charset=utf-8")


def _principal(request: web.Request) -> Principal:
    """The caller: by the token in the URL, since calendar programs send no header, or by a key."""
    policy, token = request.app[ACCESS_POLICY], param(request, "token")
    if token is not None:
        return policy.authenticate_feed(request, token)
    policy.check_origin(request)
    return policy.authenticate(request, "read")


def _kinds(request: web.Request, principal: Principal) -> Sequence[Kind]:
    kinds: Sequence[Kind] | None = param(request, "kinds")
    if principal.audience is None:
        return kinds or KINDS
    if kinds is not None and "invoices" in kinds:
        raise ForbiddenError("This key is limited to some shipments and cannot read invoices.")
    return kinds or tuple(kind for kind in KINDS if kind != "invoices")


async def _entries(
    db: Database, kind: Kind, principal: Principal, days: tuple[date, date], *, backward: bool = False
) -> list[CalendarEntry]:
    """At most MAX_ENTRIES entries of a kind between two days (the second excluded); `backward`: the latest first."""
    filters: dict[str, Sequence[Any]] = {"from": (days[0].isoformat(),), "before": (days[1].isoformat(),), "shown": ()}
    if principal.audience is not None:
        filters["audience"] = principal.audience.parameters
    entries: list[CalendarEntry] = []
    after: tuple[Any, Any] | None = None
    while len(entries) < MAX_ENTRIES:
        page = PageRequest(_ROWS, "at", descending=backward, filters=filters, after=after)
        rows, after = await db.read(lambda tx: calendar.page(tx, kind, page))  # noqa: B023 (awaited at once)
        entries += rows
        if after is None:
            break
    return entries


def _render(display: DisplaySettings, principal: Principal, entries: Sequence[CalendarEntry], today: date) -> bytes:
    shown = calendar.closest(entries, today, MAX_ENTRIES)
    description = ""
    if len(shown) == MAX_ENTRIES:
        description = f"Only the {MAX_ENTRIES} entries closest to today. Select fewer kinds or days to see all of them."
    pages = display.public_url if principal.audience is None else None  # audience keys cannot open the pages
    return render_calendar(CalendarInfo(display.title, display.timezone, description, pages), shown)


@dataclass(frozen=True)
class CalendarInfo:
    """The head of a calendar. `pages` is the base URL of the shipments' pages if entries link to them."""

    title: str
    timezone: str
    description: str = ""
    pages: str | None = None


def render_calendar(info: CalendarInfo, entries: Iterable[CalendarEntry]) -> bytes:
    """The file. It may take a second for thousands of entries: call it in a thread."""
    events = [_event(entry, info.pages) for entry in entries]
    head = _head(info, empty=not events)
    return head.removesuffix(_END) + b"".join(events) + _END


def sequence(revised_at: str) -> int:
    """The revision: it rises with the time of the data, and is the same after a restart or without old history."""
    seconds = (parse(revised_at) - _SEQUENCE_EPOCH) // timedelta(seconds=1)
    return min(max(seconds, 0), _MAX_SEQUENCE)


def _head(info: CalendarInfo, *, empty: bool) -> bytes:
    from icalendar import Calendar, vText  # noqa: PLC0415

    head = Calendar()
    head.add("prodid", "-//flexportd//calendar//EN")
    head.add("version", "2.0")
    head.add("calscale", "GREGORIAN")
    head.add("method", "PUBLISH")
    title, description = vText(clean_line(info.title)), vText(clean_line(info.description))
    head.add("name", title)  # RFC 7986; the X-WR- names say the same to older programs
    head.add("x-wr-calname", title)
    if description:
        head.add("description", description)
        head.add("x-wr-caldesc", description)
    head.add("x-wr-timezone", vText(info.timezone))
    head.add("refresh-interval", REFRESH_INTERVAL, parameters={"VALUE": "DURATION"})
    head.add("x-published-ttl", vText("PT1H"))
    if empty:  # a calendar needs at least one component (RFC 5545, 3.6); this one shows nothing
        head.add_component(_utc_zone())
    return bytes(head.to_ical())


def _utc_zone() -> "Timezone":
    from icalendar import Timezone, TimezoneStandard  # noqa: PLC0415

    zone, standard = Timezone(), TimezoneStandard()
    zone.add("tzid", "UTC")
    standard.add("dtstart", datetime(1970, 1, 1))  # noqa: DTZ001 (RFC 5545 wants the local time of a zone's beginning)
    standard.add("tzoffsetfrom", timedelta())
    standard.add("tzoffsetto", timedelta())
    standard.add("tzname", "UTC")
    zone.add_component(standard)
    return zone


@functools.lru_cache(maxsize=8192)  # most programs refresh every hour, and mostly get the same entries
def _event(entry: CalendarEntry, pages: str | None) -> bytes:
    from icalendar import Event  # noqa: PLC0415

    event, revised = Event(), parse(entry.revised_at).replace(microsecond=0)
    event.add("uid", f"{entry.key}@flexportd")
    event.add("dtstamp", revised)
    event.add("last-modified", revised)
    event.add("sequence", sequence(entry.revised_at))
    event.add("dtstart", entry.at)
    event.add("dtend", _end(entry.at))
    event.add("summary", entry.title)
    event.add("status", "TENTATIVE" if entry.is_estimate else "CONFIRMED")
    event.add("transp", "TRANSPARENT")  # it blocks no time
    event.add("categories", [entry.kind.replace("_", " ").capitalize()])
    if entry.place:
        event.add("location", entry.place)
    facts = list(entry.facts)
    if pages and entry.shipment_id is not None:
        page = f"{pages}/shipments/{entry.shipment_id}"
        event.add("url", page)
        facts.append(page)
    if facts:
        event.add("description", "\n".join(facts))
    return bytes(event.to_ical())


def _end(at: date | datetime) -> date | datetime:
    """The end, which is not part of the entry: the next day, or an hour later.

    Flexport does not say how long anything takes. Without an end, programs draw a line without height, or refuse.
    """
    with suppress(OverflowError):
        return at + (_HOUR if isinstance(at, datetime) else _DAY)
    return at
