"""Error pages, and the layout around every page: title, navigation with its counts, the banner, the simulated clock."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

from aiohttp import web

from flexportd import __version__
from flexportd.clock import SimulatedClock, stamp
from flexportd.core.access.keys import Scope
from flexportd.errors import FlexportdError, UnavailableError
from flexportd.escape import escape_control
from flexportd.expose.context import CLOCK, DISPLAY
from flexportd.expose.dashboard.render import render
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import Alert, StoredStatus, count_open
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.labels import LABELS, sentence
from flexportd.expose.middleware import principal_of
from flexportd.expose.security import authorization
from flexportd.http.problems import STATUS_OF
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse


class FailedForm(NamedTuple):
    """Why a form had no effect, and what was entered into it."""

    problem: str
    entered: Mapping[str, str]


def page_layout(
    app: web.Application,
    section: str,
    active: Sequence[Alert] = (),
    stored: StoredStatus | None = None,
    *,
    is_customer: bool,
    is_section: bool = False,
    form_token: str = "",
    scopes: Collection[Scope] = (),
    failed_form: FailedForm | None = None,
) -> SimpleNamespace:
    """What surrounds a page; `stored` is None without the database, customers see nothing of the daemon.

    A page shows a form only to a caller whose `scopes` include that of the form.
    """
    if is_customer:
        active, stored, form_token = (), None, ""
    exceptions, has_critical, _ = count_open(stored.exceptions if stored else ())
    failed, clock, demo_clock = stored.failed if stored else 0, app[CLOCK], None
    if isinstance(clock, SimulatedClock) and clock.started is not None:
        demo_clock = SimpleNamespace(started=stamp(clock.started), speed=f"{clock.speed:g}")
    return SimpleNamespace(
        site=site_title(app),
        section=section,
        zone=escape_control(app[DISPLAY].timezone, 40),
        version=__version__,
        is_section=is_section,
        banner=alerts.banner(active),
        exceptions=f"{exceptions:,}" if exceptions else "",
        has_critical=has_critical,
        failed=f"{failed:,}{'+' if failed == alerts.COUNT_LIMIT else ''}" if failed else "",
        form_token=form_token,
        is_customer=is_customer,
        may_write="write" in scopes,
        may_operate="admin" in scopes,
        problem=sentence(failed_form.problem, _LONGEST) if failed_form else None,
        entered=failed_form.entered if failed_form else {},
        decisions=f"{stored.undecided:,}" if stored and stored.undecided else "",
        demo_clock=demo_clock,  # what live.js needs to keep relative times current in a demo
    )


def is_customer(request: web.Request) -> bool:
    """Whether the caller's key is limited to some shipments: pages then show only those, and nothing of the daemon."""
    return authorization.audience_of(request) is not None


def site_title(app: web.Application) -> str:
    """The configured name of this installation."""
    return escape_control(app[DISPLAY].title, 80)


def view_context(app: web.Application) -> ViewContext:
    """The dashboard's time zone and the current time."""
    now = app[CLOCK].now()
    return ViewContext(find_zone(app[DISPLAY].timezone) or now.tzinfo, now)  # type: ignore[arg-type]  # the clock is aware


SHARE_PREFIX = "/s/"
"""Share links: their visitors see nothing else of the dashboard."""

_DEFAULT_TITLE = "Something went wrong"
_NO_SHIPMENT = "A shipment appears here after its first webhook or the next sync."
_SECTIONS = {
    "exceptions": "Exceptions", "deliveries": "Notifications", "operations": "Writes",
    "queue": "Queue", "sync": "Sync", "gaps": "Gaps",
    "system": "System",
}  # fmt: skip
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_LONGEST = 500  # characters of a detail


def failure_page(status: int, detail: str, section: str, *, is_customer: bool = False) -> SimpleNamespace:
    """The error in a section of the dashboard; a customer's way back is always to the list of shipments."""
    url, back = ("/", "Overview") if section not in _SECTIONS else (f"/{section}", _SECTIONS[section])
    if is_customer or section == "shipments":
        url, back = "/shipments", "All shipments"
    is_shipment = status == 404 and section == "shipments" and not is_customer
    return SimpleNamespace(
        status=status,
        title=LABELS.error_titles.get(status, _DEFAULT_TITLE),
        # An invalid parameter (400) comes first in the detail, with its exact name.
        detail=sentence(detail, _LONGEST, capital=status != 400),
        advice=_NO_SHIPMENT if is_shipment else LABELS.error_advice.get(status),
        back_url=url,
        back=back,
    )


def public_failure(status: int, detail: str, site: str) -> SimpleNamespace:
    """The error where there is no dashboard to go back to."""
    title = LABELS.error_titles.get(status, _DEFAULT_TITLE)
    return SimpleNamespace(
        site=site, status=status, title=title, detail=sentence(detail, _LONGEST), advice=LABELS.error_advice.get(status)
    )


def link_failure(status: int, detail: str, site: str, view: ViewContext) -> SimpleNamespace:
    """The error of a share link, for its recipient; times are in the dashboard's zone."""

    def localise(match: re.Match[str]) -> str:
        when = view.instant(match[0])
        return when.text if when else match[0]

    words = _INSTANT.sub(localise, sentence(detail, _LONGEST))
    title = LABELS.link_error_titles.get(status) or LABELS.error_titles.get(status, _DEFAULT_TITLE)
    return SimpleNamespace(
        site=site, status=status, title=title, detail=words, advice=LABELS.link_error_advice.get(status)
    )


async def failure(request: web.Request, status: int, detail: str) -> bytes:
    """The page for an error outside the pages' handlers; navigation and banner only for users of the dashboard."""
    principal = None if request.path.startswith(SHARE_PREFIX) else principal_of(request)
    if principal is None:
        return await public_error_page(request, status, detail)
    return await _error_page(request, status, detail, "", is_customer=principal.audience is not None)


async def public_error_page(request: web.Request, status: int, detail: str) -> bytes:
    """The same without navigation: for share links, callers without access, and installations without dashboard."""
    app = request.app
    site, view, is_link = site_title(app), view_context(app), request.rel_url.raw_path.startswith(SHARE_PREFIX)

    def work() -> bytes:
        page = link_failure(status, detail, site, view) if is_link else public_failure(status, detail, site)
        return render("public_error.html", page)

    return await asyncio.to_thread(work)


async def error_response(request: web.Request, error: FlexportdError, section: str) -> web.StreamResponse:
    """The page for an expected error of a page's handler."""
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    body = await _error_page(request, status, str(error), section, is_customer=is_customer(request))
    headers = {"retry_after": str(error.retry_after)} if isinstance(error, UnavailableError) else {}
    answer = PreparedResponse(status, body, HTML, **headers)
    return PreparedStreamResponse(answer, close=not request.content.is_eof())


async def _error_page(request: web.Request, status: int, detail: str, section: str, *, is_customer: bool) -> bytes:
    """Made without the database, which may be what fails."""
    app = request.app
    runtime, view = alerts.runtime_status(app), view_context(app)

    def work() -> bytes:
        current = () if is_customer else alerts.current_alerts(runtime, None, view)
        layout = page_layout(app, section, current, is_customer=is_customer)
        return render("failure.html", failure_page(status, detail, section, is_customer=is_customer), layout)

    return await asyncio.to_thread(work)
