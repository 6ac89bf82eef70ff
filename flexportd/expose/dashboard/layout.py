"""The layout around every page: title, navigation with its counts, the banner, the simulated clock."""

from collections.abc import Sequence
from types import SimpleNamespace

from aiohttp import web

from flexportd import __version__
from flexportd.clock import Clock, SimulatedClock, stamp
from flexportd.escape import escape_control
from flexportd.expose.context import CLOCK, DISPLAY
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import Alert, StoredStatus
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.exception_rows import count_open
from flexportd.expose.security import authorization


def page_layout(
    app: web.Application,
    section: str,
    active: Sequence[Alert] = (),
    stored: StoredStatus | None = None,
    *,
    is_customer: bool,
    is_section: bool = False,
    form_token: str = "",
) -> SimpleNamespace:
    """What surrounds a page of this section; `stored` is None for a page that is made without the database.

    `is_section`: it is the section's own page. `form_token` goes into every form that changes something. Customers,
    whose keys are limited to some shipments, see nothing of the daemon.
    """
    if is_customer:
        active, stored, form_token = (), None, ""
    exceptions, has_critical, _ = count_open(stored.exceptions if stored else ())
    failed = stored.failed if stored else 0
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
        demo_clock=_demo_clock(app[CLOCK]),
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


def _demo_clock(clock: Clock) -> SimpleNamespace | None:
    """What live.js needs to keep relative times current in a demo."""
    if not isinstance(clock, SimulatedClock) or clock.started is None:
        return None
    return SimpleNamespace(started=stamp(clock.started), speed=f"{clock.speed:g}")
