"""The pages of the dashboard and their forms."""

from aiohttp import web

from flexportd.expose.context import REGISTRY
from flexportd.expose.dashboard.layout import failure
from flexportd.expose.dashboard.page import SUBMIT_GUARD, DoubleSubmitGuard
from flexportd.expose.dashboard.pages import exceptions, overview, queue, records, shipments, sync, system
from flexportd.http.problems import FAILURE_PAGE


def add_routes(app: web.Application) -> None:
    """Add every page and form to an application."""
    app[FAILURE_PAGE] = failure
    app[SUBMIT_GUARD] = DoubleSubmitGuard()
    sections = (overview, shipments, exceptions, queue, sync, system)
    tables = [module.PAGES for module in sections] + [queue.EVENT_PAGES, queue.GAPS_PAGES]
    for table in (*tables, records.record_pages(app[REGISTRY])):
        app.add_routes(table)
