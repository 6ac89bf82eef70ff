"""The layout around every page: title, navigation with its counts, the banner, the simulated clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from aiohttp import web

from flexportd import __version__
from flexportd.clock import Clock, SimulatedClock, stamp
from flexportd.escape import escape_control
from flexportd.expose.context import CLOCK, DISPLAY
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import Alert, Banner, StoredStatus
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.exception_rows import count_open
from flexportd.expose.security import authorization


@dataclass(frozen=True, slots=True)
class Layout:
    """What surrounds a page. `section` is its entry in the navigation; `is_section` whether it is that very page.

    `banner` is None while there are no alerts. `exceptions` is the number of open ones, `has_critical` whether any is
    critical; `failed` is the number of dead letters. `form_token` goes into every form that changes something.
    `is_customer`: the caller's key is limited to some shipments. `demo_clock` is set in a demo only.
    """

    site: str
    section: str
    zone: str
    version: str = __version__
    is_section: bool = True
    banner: Banner | None = None
    exceptions: str = ""
    has_critical: bool = False
    failed: str = ""
    form_token: str = ""
    is_customer: bool = False
    demo_clock: SimpleNamespace | None = None


def page_layout(
    app: web.Application,
    section: str,
    active: Sequence[Alert] = (),
    stored: StoredStatus | None = None,
    *,
    is_customer: bool,
    is_section: bool = False,
    form_token: str = "",
) -> Layout:
    """The layout for a page of this section; `stored` is None for a page that is made without the database."""
    site, zone, demo = site_title(app), escape_control(app[DISPLAY].timezone, 40), _demo_clock(app[CLOCK])
    if is_customer:
        return Layout(site, section, zone, is_section=is_section, is_customer=True, demo_clock=demo)
    exceptions = count_open(stored.exceptions if stored else ())
    failed = stored.failed if stored else 0
    return Layout(
        site,
        section,
        zone,
        is_section=is_section,
        banner=alerts.banner(active),
        exceptions=f"{exceptions.total:,}" if exceptions.total else "",
        has_critical=exceptions.has_critical,
        failed=f"{failed:,}{'+' if failed == alerts.COUNT_LIMIT else ''}" if failed else "",
        form_token=form_token,
        demo_clock=demo,
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
