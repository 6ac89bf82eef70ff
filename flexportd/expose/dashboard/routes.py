"""The dashboard's routes: every page and form."""

from aiohttp import web

from flexportd.expose.context import REGISTRY
from flexportd.expose.dashboard.double_submit import SUBMIT_GUARD, DoubleSubmitGuard
from flexportd.expose.dashboard.error_pages import failure
from flexportd.expose.dashboard.pages import (
    event,
    exceptions,
    gaps,
    overview,
    queue,
    shipment,
    shipments,
    sync,
    system,
)
from flexportd.expose.dashboard.pages.records import record_pages
from flexportd.http.problems import FAILURE_PAGE

_MODULES = (overview, shipments, shipment, exceptions, event, queue, sync, gaps, system)


def add_routes(app: web.Application) -> None:
    """Add the pages and their forms to an application."""
    app[FAILURE_PAGE] = failure
    app[SUBMIT_GUARD] = DoubleSubmitGuard()
    for module in _MODULES:
        module.PAGES.add_to(app)
    record_pages(app[REGISTRY]).add_to(app)
