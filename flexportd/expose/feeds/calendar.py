"""`/calendar.ics`: what is to come, for any calendar program."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from flexportd.core import calendar as agenda
from flexportd.core.access.keys import FEED_PATTERN, Principal
from flexportd.core.calendar import KINDS, MAX_ENTRIES, CalendarEntry, Kind
from flexportd.errors import ForbiddenError, InvalidError
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CONTEXT, AppContext
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.parameters import csv_of, integer
from flexportd.expose.openapi.route import Parameter, Response
from flexportd.expose.openapi.router import param
from flexportd.expose.request_keys import PRINCIPAL
from flexportd.expose.security.access_policy import ACCESS_POLICY
from flexportd.http.problem_types import AUTH_PROBLEMS
from flexportd.storage.queries.list_query import PageRequest

DAYS_BACK, DAYS_AHEAD = 30, 365
MAX_DAYS = 1100  # days
_MEDIA = "text/calendar"
_ROWS = 500  # of one read


_HEADERS: Mapping[str, str] = {"etag": "Changes when the calendar changes."}


def _token(name: str, text: str) -> str:
    """The token as it came. What it is must not show in any message."""
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
    # Cached responses are stored by their URL, also on disk, and this one contains a token: no tags.
    request[PRINCIPAL] = viewer = _principal(request)
    kinds = _kinds(request, viewer)
    parts = request.app[CONTEXT]

    async def build() -> bytes:
        today = parts.clock.now().date()
        begin = today - timedelta(days=param(request, "days_back", DAYS_BACK))
        end = today + timedelta(days=param(request, "days_ahead", DAYS_AHEAD) + 1)
        entries: list[CalendarEntry] = []
        for kind in kinds:
            entries += await _gather(parts, kind, viewer, (today, end))
            entries += await _gather(parts, kind, viewer, (begin, today), backward=True)
        return await asyncio.to_thread(_render, parts, viewer, entries, today)

    return await respond(request, build, content_type=f"{_MEDIA}; charset=utf-8")


def _principal(request: web.Request) -> Principal:
    """Who asks: by the token of the address, since calendar programs send no header; else by a key as anywhere."""
    door, token = request.app[ACCESS_POLICY], param(request, "token")
    if token is not None:
        return door.authenticate_feed(request, token)
    door.check_origin(request)
    return door.authenticate(request, "read")


def _kinds(request: web.Request, viewer: Principal) -> Sequence[Kind]:
    asked: Sequence[Kind] | None = param(request, "kinds")
    if viewer.audience is None:
        return asked or KINDS
    if asked is not None and "invoices" in asked:
        raise ForbiddenError("This key is limited to some shipments and cannot read invoices.")
    return asked or tuple(kind for kind in KINDS if kind != "invoices")


async def _gather(
    parts: AppContext, kind: Kind, viewer: Principal, days: tuple[date, date], *, backward: bool = False
) -> list[CalendarEntry]:
    """The entries of a kind from one day to before another, from the later end if `backward`; MOST at most."""
    filters: dict[str, Sequence[Any]] = {"from": (days[0].isoformat(),), "before": (days[1].isoformat(),), "shown": ()}
    if viewer.audience is not None:
        filters["audience"] = viewer.audience.parameters
    found: list[CalendarEntry] = []
    after: tuple[Any, Any] | None = None
    while len(found) < MAX_ENTRIES:
        page = PageRequest(_ROWS, "at", descending=backward, filters=filters, after=after)
        entries, after = await parts.db.read(lambda tx: agenda.page(tx, kind, page))  # noqa: B023 (awaited at once)
        found += entries
        if after is None:
            break
    return found


def _render(parts: AppContext, viewer: Principal, entries: Sequence[CalendarEntry], today: date) -> bytes:
    shown = agenda.closest(entries, today, MAX_ENTRIES)
    about = ""
    if len(shown) == MAX_ENTRIES:
        about = f"Only the {MAX_ENTRIES} entries closest to today. Select fewer kinds or days to see all of them."
    pages = parts.display.public_url if viewer.audience is None else None  # the pages are not for some shipments alone
    from flexportd.expose.feeds.icalendar import CalendarInfo, render_calendar  # noqa: PLC0415 (in a thread, once somebody asks)

    return render_calendar(CalendarInfo(parts.display.title, parts.display.timezone, about, pages), shown)
