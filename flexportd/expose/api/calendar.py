"""`/calendar.ics`: what is to come, for any calendar program."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from flexportd.core import agenda
from flexportd.core.agenda import KINDS, MOST, Entry, Kind
from flexportd.core.keys import FEED, Viewer
from flexportd.errors import ForbiddenError, InvalidError
from flexportd.expose.carried import VIEWER
from flexportd.expose.contract.binding import given
from flexportd.expose.contract.catalogue import WITH_KEYS
from flexportd.expose.contract.route import Parameter, Returns, Route
from flexportd.expose.contract.typed import integer, several
from flexportd.expose.door import DOOR
from flexportd.expose.parts import PARTS, Parts
from flexportd.expose.responding import respond
from flexportd.storage.listing import Page

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
        raise ForbiddenError("Invoices are what the freight costs, and this key is for some shipments only.")
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
        about = f"The {MOST} entries next to today, and no more: ask for fewer kinds or days to see all of them."
    pages = parts.shown.public_url if viewer.audience is None else None  # the pages are not for some shipments alone
    from flexportd.expose.calendar import Heading, calendar  # noqa: PLC0415 (in a thread, once somebody asks)

    return calendar(Heading(parts.shown.title, parts.shown.timezone, about, pages), shown)


def _token(name: str, text: str) -> str:
    """The token as it came. What it is must not show in any message."""
    if not FEED.fullmatch(text):
        raise InvalidError(f"{name} is no token of a calendar: one is fxc_ and 41 characters", name)
    return text


_TOKEN = Parameter(
    name="token",
    about="In place of a key: the private token of the address that came with it (`calendar_path`).",
    schema={"type": "string", "pattern": f"^{FEED.pattern}$"},
    read=_token,
)

_ABOUT = """\
Subscribe to it: programs look again each hour. Arrivals, last free days, delivery appointments, and the days on which
invoices that are open are due. Where Flexport tells the day alone, an entry is an all-day one at that day; else its
time is in UTC, which programs show in their own zone. Ids of entries stay the same, and SEQUENCE rises when one moves.
Free time leaves when its container is picked up, an invoice when it is paid.

A key is needed where keys are asked for: the header, or `token`, since calendar programs send no header. A key for some
shipments only shows those, and no invoices."""

_HEADERS: Mapping[str, str] = {"etag": "Changes with what the calendar shows."}

ROUTES = (
    Route(
        method="GET",
        path="/calendar.ics",
        handler=show,
        name="get_calendar",
        tag="feeds",
        summary="What is to come, for any calendar program (iCalendar)",
        about=_ABOUT,
        scope=None,
        query=(
            _TOKEN,
            several("kinds", KINDS, "Only these kinds of entries, with commas between them."),
            integer("days_back", 0, FURTHEST, "How many days before today it begins.", DAYS_BACK),
            integer("days_ahead", 0, FURTHEST, "How many days after today it ends.", DAYS_AHEAD),
        ),
        returns=(
            Returns(about="The calendar.", media=(_MEDIA,), headers=_HEADERS),
            Returns(about="Not changed since the ETag that `If-None-Match` names.", status=304, media=()),
        ),
        problems=WITH_KEYS,
        for_audiences=True,
    ),
)
