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
from flexportd.escape import escape_control
from flexportd.expose.cached_response import Producer
from flexportd.expose.context import CACHE, CLOCK, DB, DISPLAY
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.pages.exceptions import count_open
from flexportd.expose.dashboard.pages.failures import customer_failure, failure_page, link_failure, public_failure
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import Alert, PageContext, RuntimeStatus, StoredStatus
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.middleware import AUDIENCE_ALLOWED, principal_of
from flexportd.expose.security import authorization, csrf
from flexportd.http.problems import STATUS_OF
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse
from flexportd.storage.transaction import Transaction

T = TypeVar("T")

SHARE_PREFIX = "/s/"
"""Where the pages of share links are: who sees one sees nothing else."""

_TAGS = ("pages",)
_DELAY_PERIOD = 15 * 60  # seconds: in every zone a day begins at a quarter of an hour


def html_errors(section: str, handler: Handler, *, for_audiences: bool = False) -> Handler:
    """What a person did wrong, or what is not there, becomes a page; the unforeseen is left to the middleware.

    `for_audiences`: a key that sees some shipments only may open the page. For such a key all others do not exist.
    """

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (InvalidError, NotFoundError, ConflictError, ExpiredError, UnavailableError) as error:
            return await _error_response(request, error, section)

    setattr(answered, AUDIENCE_ALLOWED, for_audiences)
    return answered


async def form_field(request: web.Request, name: str, most: int) -> str | None:
    """A field of the form that was sent; None where it is missing or has more characters than `most`.

    Raises RefusedError for a form that is too large, of another type, or does not arrive in time.
    """
    fields = await csrf.form_fields(request)
    if fields is None:
        return None
    found = fields.get(name, [""])[0]
    return found if len(found) <= most else None


async def failure(request: web.Request, status: int, detail: str) -> bytes:
    """The page for what went wrong outside the handlers: a path that leads nowhere, an unknown host, a bug.

    The dashboard's navigation and state are for those who may open it.
    """
    viewer = None if request.path.startswith(SHARE_PREFIX) else principal_of(request)
    if viewer is None:
        return await public_error_page(request, status, detail)
    return await _error_page(request, status, detail, "", is_customer=viewer.audience is not None)


async def public_error_page(request: web.Request, status: int, detail: str) -> bytes:
    """The same without a way into the dashboard: for who follows a link, and where there is none."""
    sight, title, path = view_context(request.app), site_title(request.app), request.rel_url.raw_path

    def work() -> bytes:
        is_link = path.startswith(SHARE_PREFIX)
        found = link_failure(status, detail, title, sight) if is_link else public_failure(status, detail, title)
        return render.render_standalone("lone_failure.html", found)

    return await asyncio.to_thread(work)


async def _error_response(request: web.Request, error: FlexportdError, section: str) -> web.StreamResponse:
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    body = await _error_page(request, status, str(error), section, is_customer=is_customer(request))
    headers = {"retry_after": str(error.retry_after)} if isinstance(error, UnavailableError) else {}
    answer = PreparedResponse(status, body, HTML, **headers)
    return PreparedStreamResponse(answer, close=not request.content.is_eof())


async def _error_page(request: web.Request, status: int, detail: str, section: str, *, is_customer: bool) -> bytes:
    """Made without the store, which may be what fails."""
    if is_customer:
        lost = customer_failure(status, detail)
        return await _render(request.app, "failure.html", "", lambda: ((), lost), is_customer=True)
    sight, said = view_context(request.app), alerts.runtime_status(request.app)
    made = lambda: (alerts.current_alerts(said, None, sight), failure_page(status, detail, section))  # noqa: E731
    return await _render(request.app, "failure.html", section, made)


def is_customer(request: web.Request) -> bool:
    """Whether the caller's key is for some shipments only: pages then show those, and nothing of the daemon."""
    return authorization.audience_of(request) is not None


async def page(
    request: web.Request,
    template: str,
    read: Callable[[Transaction], T],
    model: Callable[[T, PageContext], Any],
    aside: Callable[[StoredStatus], None] = lambda _: None,
) -> bytes:
    """A page from what `read` finds in one snapshot; `model` words it, in a thread. The template names the section.

    `aside` is called between the two, on the event loop, for what only the daemon can say of what is noted.
    """
    sight, said = view_context(request.app), alerts.runtime_status(request.app)
    found, noted = await request.app[DB].read(lambda tx: (read(tx), alerts.read(tx, sight.now)))
    aside(noted)

    def made() -> tuple[tuple[Alert, ...], Any]:
        needs = alerts.current_alerts(said, noted, sight)
        return needs, model(found, PageContext(sight, noted, needs))

    section = _SECTIONS.get(template, template.partition(".")[0])
    token = csrf.form_token(request)
    return await _render(
        request.app, template, section, made, noted, form_token=token, is_customer=is_customer(request)
    )


_SECTIONS = {"shipment.html": "shipments"}


async def _render(
    app: web.Application,
    template: str,
    section: str,
    made: Callable[[], tuple[tuple[Alert, ...], Any]],
    noted: StoredStatus | None = None,
    *,
    form_token: str = "",
    is_customer: bool = False,
) -> bytes:
    """Words and markup are made in a thread: they take milliseconds, and may read a time zone from disk."""
    title, zone, simulated = site_title(app), escape_control(app[DISPLAY].timezone, 40), _demo_clock(app[CLOCK])

    def work() -> bytes:
        needs, model = made()
        if is_customer:
            frame = render.Layout(title, section, zone, __version__, is_customer=True, simulated=simulated)
            return render.render(template, frame, model)
        frame = render.Layout(
            title, section, zone, __version__, alerts.banner(needs), *_navigation_counts(noted), form_token=form_token,
            simulated=simulated,
        )  # fmt: skip
        return render.render(template, frame, model)

    return await asyncio.to_thread(work)


def _navigation_counts(noted: StoredStatus | None) -> tuple[str, bool, str]:
    """How many exceptions are open, whether one is critical, how many items failed: as the navigation shows it."""
    if noted is None:
        return "", False, ""
    found = count_open(noted.exceptions)
    failed = f"{noted.failed:,}" + "+" * (noted.failed == alerts.COUNT_LIMIT)
    return f"{found.total:,}" if found.total else "", found.is_bad, failed if noted.failed else ""


def _demo_clock(clock: Clock) -> render.DemoClock | None:
    """What a page needs to go on telling ages by itself."""
    if not isinstance(clock, SimulatedClock) or clock.started is None:
        return None
    return render.DemoClock(stamp(clock.started), f"{clock.speed:g}")


def site_title(app: web.Application) -> str:
    """What people call this place."""
    return escape_control(app[DISPLAY].title, 80)


def view_context(app: web.Application) -> ViewContext:
    """The view: the dashboard's zone and the present."""
    now = app[CLOCK].now()
    return ViewContext(find_zone(app[DISPLAY].timezone) or now.tzinfo, now)  # type: ignore[arg-type]  # the clock is aware


def cached_page(request: web.Request, build: Callable[[], Awaitable[bytes]]) -> Producer:
    """The page that `build` makes, kept until something is committed, or the daemon says something else on top.

    Under a key that no path has: pages say how late things are, so that none may be answered with by path alone.
    Every caller gets the same page, so it may hold no form that changes something: its token is one caller's.
    """
    if is_customer(request):
        return build  # what others see is not what this caller sees
    cache = request.app[CACHE]
    quarter = int(request.app[CLOCK].now().timestamp()) // _DELAY_PERIOD

    async def found() -> bytes:
        key = (
            "page",
            request.raw_path,
            quarter,
            _alert_texts(alerts.runtime_status(request.app), view_context(request.app)),
        )
        answer, epoch = cache.get(key), cache.epoch
        if answer is not None:
            return answer.body
        body = await build()
        cache.put(key, PreparedResponse(200, body, HTML), _TAGS, epoch)
        return body

    return found


def _alert_texts(said: RuntimeStatus, sight: ViewContext) -> tuple[str, ...]:
    return tuple(need.sentence for need in alerts.current_alerts(said, None, sight))


def redirect(path: str, done: str) -> web.StreamResponse:
    """To a page, as a GET: loading it again repeats nothing."""
    return PreparedStreamResponse(PreparedResponse(303, b"", None, location=f"{path}?done={done}"))
