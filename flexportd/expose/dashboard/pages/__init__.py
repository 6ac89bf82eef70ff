"""The pages of the dashboard and their forms."""

from aiohttp import web

from flexportd.core.resources.registry import Registry
from flexportd.expose.dashboard.pages import (
    audit,
    booking_forms,
    deliveries,
    exceptions,
    metadata_form,
    operations,
    overview,
    product_forms,
    queue,
    records,
    shipments,
    sync,
    system,
)


def add_routes(router: web.UrlDispatcher, registry: Registry) -> None:
    """Add every page and form."""
    sections = (
        overview, shipments, metadata_form, exceptions, deliveries, operations, booking_forms, product_forms, audit,
        queue, sync, system,
    )  # fmt: skip
    tables = [module.PAGES for module in sections] + [queue.EVENT_PAGES, queue.GAPS_PAGES]
    for table in (*tables, records.record_pages(registry)):
        router.add_routes(table)
