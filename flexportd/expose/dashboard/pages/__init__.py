"""The pages of the dashboard and their forms."""

from aiohttp import web

from flexportd.expose.context import REGISTRY
from flexportd.expose.dashboard.layout import failure
from flexportd.expose.dashboard.page import SUBMIT_GUARD, DoubleSubmitGuard
from flexportd.expose.dashboard.pages import exceptions, gaps, overview, queue, records, shipments, sync, system
from flexportd.http.problems import FAILURE_PAGE


def add_routes(app: web.Application) -> None:
    """Add every page and form to an application."""
    app[FAILURE_PAGE] = failure
    app[SUBMIT_GUARD] = DoubleSubmitGuard()
    for module in (overview, shipments, exceptions, queue, sync, gaps, system):
        app.add_routes(module.PAGES)
    app.add_routes(queue.EVENT_PAGES)
    app.add_routes(records.record_pages(app[REGISTRY]))
