"""`/calendar.ics`: what is to come, for any calendar program."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from flexportd.core import calendar as agenda
from flexportd.core.access.keys import FEED, Viewer
from flexportd.core.calendar import KINDS, MOST, Entry, Kind
from flexportd.errors import ForbiddenError, InvalidError
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS, Parts
from flexportd.expose.openapi.parameters import integer, several
from flexportd.expose.openapi.problem_types import WITH_KEYS
from flexportd.expose.openapi.route import Parameter, Returns, Route
from flexportd.expose.openapi.router import given
from flexportd.expose.request_keys import VIEWER
from flexportd.expose.security.access_policy import DOOR
from flexportd.storage.queries.list_query import Page

DAYS_BACK, DAYS_AHEAD = 30, 365
FURTHEST = 1100  # days
_MEDIA = "text/calendar"
_ROWS = 500  # of one read


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /calendar.ics`: an iCalendar file, made each time it is asked for.

    Answers are kept under their address, on disk as well, and here that holds a token.
    """
    request[VIEWER] = viewer = _viewer(request)
    kinds = _kinds(request, viewer)
    parts = request.app[PARTS]

    async def build() -> bytes:
        today = parts.clock.now().date()
        begin = today - timedelta(days=given(request, "days_back", DAYS_BACK))
        end = today + timedelta(days=given(request, "days_ahead", DAYS_AHEAD) + 1)
        entries: list[Entry] = []
        for kind in kinds:
            entries += await _gather(parts, kind, viewer, (today, end))
            entries += await _gather(parts, kind, viewer, (begin, today), backward=True)
        return await asyncio.to_thread(_file, parts, viewer, entries, today)

    return await respond(request, build, content_type=f"{_MEDIA}; charset=utf-8")


def _viewer(request: web.Request) -> Viewer:
    """Who asks: by the token of the address, since calendar programs send no header; else by a key as anywhere."""
    door, token = request.app[DOOR], given(request, "token")
    if token is not None:
        return door.enter_by_feed(request, token)
    door.check_origin(request)
    return door.enter(request, "read")


def _kinds(request: web.Request, viewer: Viewer) -> Sequence[Kind]:
    asked: Sequence[Kind] | None = given(request, "kinds")
    if viewer.audience is None:
        return asked or KINDS
    if asked is not None and "invoices" in asked:
        raise ForbiddenError("This key is limited to some shipments and cannot read invoices.")
    return asked or tuple(kind for kind in KINDS if kind != "invoices")


async def _gather(
    parts: Parts, kind: Kind, viewer: Viewer, days: tuple[date, date], *, backward: bool = False
) -> list[Entry]:
    """The entries of a kind from one day to before another, from the later end if `backward`; MOST at most."""
    filters: dict[str, Sequence[Any]] = {"from": (days[0].isoformat(),), "before": (days[1].isoformat(),), "shown": ()}
    if viewer.audience is not None:
        filters["audience"] = viewer.audience.parameters
    found: list[Entry] = []
    after: tuple[Any, Any] | None = None
    while len(found) < MOST:
        page = Page(_ROWS, "at", descending=backward, filters=filters, after=after)
        entries, after = await parts.db.read(lambda tx: agenda.page(tx, kind, page))  # noqa: B023 (awaited at once)
        found += entries
        if after is None:
            break
    return found


def _file(parts: Parts, viewer: Viewer, entries: Sequence[Entry], today: date) -> bytes:
    shown = agenda.nearest(entries, today, MOST)
    about = ""
    if len(shown) == MOST:
        about = f"Only the {MOST} entries closest to today. Select fewer kinds or days to see all of them."
    pages = parts.shown.public_url if viewer.audience is None else None  # the pages are not for some shipments alone
    from flexportd.expose.feeds.icalendar import Heading, calendar  # noqa: PLC0415 (in a thread, once somebody asks)

    return calendar(Heading(parts.shown.title, parts.shown.timezone, about, pages), shown)


def _token(name: str, text: str) -> str:
    """The token as it came. What it is must not show in any message."""
    if not FEED.fullmatch(text):
        raise InvalidError(f"{name} is not a calendar token; a token is fxc_ followed by 41 characters", name)
    return text


_TOKEN = Parameter(
    name="token",
    about="Private token, instead of a key: part of the key's calendar URL (`calendar_path`).",
    schema={"type": "string", "pattern": f"^{FEED.pattern}$"},
    read=_token,
)

_ABOUT = """\
Calendar feed to subscribe to; calendar programs refresh it every hour. Contains arrivals at the port of unloading,
arrivals at an inland ramp, deliveries, last free days, delivery appointments and due dates of open invoices. Where
Flexport provides only a date, the entry is an all-day event on the day at its place; otherwise its time is in UTC,
which programs convert to their own time zone. `days_back` and `days_ahead` count by the day at the place. Entry ids
are stable; SEQUENCE increases when an entry changes. A last free day is removed when anything shows that the container
has left the terminal, an invoice when it is paid.

If keys are required, send the key as a header, or use `token`, since calendar programs cannot send headers. A key
limited to some shipments returns only those shipments and no invoices."""

_HEADERS: Mapping[str, str] = {"etag": "Changes when the calendar changes."}

ROUTES = (
    Route(
        method="GET",
        path="/calendar.ics",
        handler=show,
        name="get_calendar",
        tag="feeds",
        summary="Calendar feed of upcoming dates (iCalendar)",
        about=_ABOUT,
        scope=None,
        query=(
            _TOKEN,
            several("kinds", KINDS, "Limit to these kinds of entries (comma-separated)."),
            integer("days_back", 0, FURTHEST, "Number of past days to include.", DAYS_BACK),
            integer("days_ahead", 0, FURTHEST, "Number of future days to include.", DAYS_AHEAD),
        ),
        returns=(
            Returns(about="The calendar.", media=(_MEDIA,), headers=_HEADERS),
            Returns(about="Not modified since the ETag in `If-None-Match`.", status=304, media=()),
        ),
        problems=WITH_KEYS,
        for_audiences=True,
    ),
)
