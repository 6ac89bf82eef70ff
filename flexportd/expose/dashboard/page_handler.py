"""From a request to a page: one snapshot, words and markup in a thread, failures as pages, forms that lead back."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from flexportd import __version__
from flexportd.clock import Clock, SimulatedClock, stamp
from flexportd.errors import (
    ConflictError,
    ExpiredError,
    FlexportdError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from flexportd.escape import harmless
from flexportd.expose.authorization_middleware import FOR_AUDIENCES, viewer_of
from flexportd.expose.cached_response import Build
from flexportd.expose.context import PARTS, Parts
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.pages.exceptions import tally
from flexportd.expose.dashboard.pages.failures import customer_failure, failure_page, link_failure, lone_failure
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import Look, Need, Noted, Said
from flexportd.expose.dashboard.view.dates import Sight, zone_named
from flexportd.expose.security import authorization, csrf
from flexportd.http.problems import STATUS_OF
from flexportd.http.responses import HTML, Answer, EncodedResponse
from flexportd.storage.transaction import Session

T = TypeVar("T")

LINKS = "/s/"
"""Where the pages of share links are: who sees one sees nothing else."""

_TAGS = ("pages",)
_LATENESS_STAYS = 15 * 60  # seconds: in every zone a day begins at a quarter of an hour


def friendly(section: str, handler: Handler, *, for_audiences: bool = False) -> Handler:
    """What a person did wrong, or what is not there, becomes a page; the unforeseen is left to the middleware.

    `for_audiences`: a key that sees some shipments only may open the page. For such a key all others do not exist.
    """

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (InvalidError, NotFoundError, ConflictError, ExpiredError, UnavailableError) as error:
            return await _failed(request, error, section)

    setattr(answered, FOR_AUDIENCES, for_audiences)
    return answered


async def sent(request: web.Request, name: str, most: int) -> str | None:
    """A field of the form that was sent; None where it is missing or has more characters than `most`.

    Raises RefusedError for a form that is too large, of another type, or does not arrive in time.
    """
    fields = await csrf.fields(request)
    if fields is None:
        return None
    found = fields.get(name, [""])[0]
    return found if len(found) <= most else None


async def failure(request: web.Request, status: int, detail: str) -> bytes:
    """The page for what went wrong outside the handlers: a path that leads nowhere, an unknown host, a bug.

    The dashboard's navigation and state are for those who may open it.
    """
    viewer = None if request.path.startswith(LINKS) else viewer_of(request)
    if viewer is None:
        return await failure_alone(request, status, detail)
    return await _failure(request, status, detail, "", is_customer=viewer.audience is not None)


async def failure_alone(request: web.Request, status: int, detail: str) -> bytes:
    """The same without a way into the dashboard: for who follows a link, and where there is none."""
    parts = request.app[PARTS]
    sight, title, path = sight_of(parts), site(parts), request.rel_url.raw_path

    def work() -> bytes:
        is_link = path.startswith(LINKS)
        found = link_failure(status, detail, title, sight) if is_link else lone_failure(status, detail, title)
        return render.render_alone("lone_failure.html", found)

    return await asyncio.to_thread(work)


async def _failed(request: web.Request, error: FlexportdError, section: str) -> web.StreamResponse:
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    body = await _failure(request, status, str(error), section, is_customer=is_customer(request))
    headers = {"retry_after": str(error.retry_after)} if isinstance(error, UnavailableError) else {}
    answer = Answer(status, body, HTML, **headers)
    return EncodedResponse(answer, close=not request.content.is_eof())


async def _failure(request: web.Request, status: int, detail: str, section: str, *, is_customer: bool) -> bytes:
    """Made without the store, which may be what fails."""
    parts = request.app[PARTS]
    if is_customer:
        lost = customer_failure(status, detail)
        return await _rendered(parts, "failure.html", "", lambda: ((), lost), is_customer=True)
    sight, said = sight_of(parts), alerts.said(parts)
    made = lambda: (alerts.needs(said, None, sight), failure_page(status, detail, section))  # noqa: E731
    return await _rendered(parts, "failure.html", section, made)


def is_customer(request: web.Request) -> bool:
    """Whether the caller's key is for some shipments only: pages then show those, and nothing of the daemon."""
    return authorization.of(request) is not None


async def page(
    request: web.Request,
    template: str,
    read: Callable[[Session], T],
    model: Callable[[T, Look], Any],
    aside: Callable[[Noted], None] = lambda _: None,
) -> bytes:
    """A page from what `read` finds in one snapshot; `model` words it, in a thread. The template names the section.

    `aside` is called between the two, on the event loop, for what only the daemon can say of what is noted.
    """
    parts = request.app[PARTS]
    sight, said = sight_of(parts), alerts.said(parts)
    found, noted = await parts.db.read(lambda tx: (read(tx), alerts.read(tx, sight.now)))
    aside(noted)

    def made() -> tuple[tuple[Need, ...], Any]:
        needs = alerts.needs(said, noted, sight)
        return needs, model(found, Look(sight, noted, needs))

    section = _SECTIONS.get(template, template.partition(".")[0])
    token = csrf.form_token(request)
    return await _rendered(parts, template, section, made, noted, form_token=token, is_customer=is_customer(request))


_SECTIONS = {"shipment.html": "shipments"}


async def _rendered(
    parts: Parts,
    template: str,
    section: str,
    made: Callable[[], tuple[tuple[Need, ...], Any]],
    noted: Noted | None = None,
    *,
    form_token: str = "",
    is_customer: bool = False,
) -> bytes:
    """Words and markup are made in a thread: they take milliseconds, and may read a time zone from disk."""
    title, zone, simulated = site(parts), harmless(parts.shown.timezone, 40), _simulated(parts.clock)

    def work() -> bytes:
        needs, model = made()
        if is_customer:
            frame = render.Frame(title, section, zone, __version__, is_customer=True, simulated=simulated)
            return render.render(template, frame, model)
        frame = render.Frame(
            title, section, zone, __version__, alerts.badge(needs), *_badges(noted), form_token=form_token,
            simulated=simulated,
        )  # fmt: skip
        return render.render(template, frame, model)

    return await asyncio.to_thread(work)


def _badges(noted: Noted | None) -> tuple[str, bool, str]:
    """How many exceptions are open, whether one is critical, how many items failed: as the navigation shows it."""
    if noted is None:
        return "", False, ""
    found = tally(noted.exceptions)
    failed = f"{noted.failed:,}" + "+" * (noted.failed == alerts.MANY)
    return f"{found.total:,}" if found.total else "", found.is_bad, failed if noted.failed else ""


def _simulated(clock: Clock) -> render.Simulated | None:
    """What a page needs to go on telling ages by itself."""
    if not isinstance(clock, SimulatedClock) or clock.started is None:
        return None
    return render.Simulated(stamp(clock.started), f"{clock.speed:g}")


def site(parts: Parts) -> str:
    """What people call this place."""
    return harmless(parts.shown.title, 80)


def sight_of(parts: Parts) -> Sight:
    """The view: the dashboard's zone and the present."""
    now = parts.clock.now()
    return Sight(zone_named(parts.shown.timezone) or now.tzinfo, now)  # type: ignore[arg-type]  # the clock is aware


def kept(request: web.Request, build: Callable[[], Awaitable[bytes]]) -> Build:
    """The page that `build` makes, kept until something is committed, or the daemon says something else on top.

    Under a key that no path has: pages say how late things are, so that none may be answered with by path alone.
    Every caller gets the same page, so it may hold no form that changes something: its token is one caller's.
    """
    if is_customer(request):
        return build  # what others see is not what this caller sees
    parts = request.app[PARTS]
    quarter = int(parts.clock.now().timestamp()) // _LATENESS_STAYS

    async def found() -> bytes:
        key = ("page", request.raw_path, quarter, _on_top(alerts.said(parts), sight_of(parts)))
        answer, epoch = parts.cache.get(key), parts.cache.epoch
        if answer is not None:
            return answer.body
        body = await build()
        parts.cache.put(key, Answer(200, body, HTML), _TAGS, epoch)
        return body

    return found


def _on_top(said: Said, sight: Sight) -> tuple[str, ...]:
    return tuple(need.sentence for need in alerts.needs(said, None, sight))


def back(path: str, done: str) -> web.StreamResponse:
    """To a page, as a GET: loading it again repeats nothing."""
    return EncodedResponse(Answer(303, b"", None, location=f"{path}?done={done}"))
