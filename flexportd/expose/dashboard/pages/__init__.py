"""The pages of the dashboard and their forms."""

from aiohttp import web

from flexportd.core.resources.registry import Registry
from flexportd.expose.dashboard.pages import (
    audit,
    deliveries,
    exceptions,
    operations,
    overview,
    queue,
    records,
    shipments,
    sync,
    system,
)


def add_routes(router: web.UrlDispatcher, registry: Registry) -> None:
    """Add every page and form."""
    sections = (overview, shipments, exceptions, deliveries, operations, audit, queue, sync, system)
    tables = [module.PAGES for module in sections] + [queue.EVENT_PAGES, queue.GAPS_PAGES]
    for table in (*tables, records.record_pages(registry)):
        router.add_routes(table)
