"""The changes of an object as far as the caller may see them, and the events behind them."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose.security import authorization
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction


def changes_of(
    request: web.Request, tx: Transaction, domain: ResourceType, record: Record, most: int
) -> list[dict[str, Any]]:
    """The newest changes of an object."""
    filters = {"resource": (domain.name, str(record.id)), **authorization.history_filters(request, tx, domain, record)}
    return tx.changes.page(PageRequest(most, "id", filters=filters))[:most]


def event_types(request: web.Request, tx: Transaction, ids: Iterable[str | None]) -> dict[str, str | None]:
    """The types of these events, as far as they are kept and the caller may know of them."""
    found = [event for one in ids if one and (event := tx.events.by_id(one)) is not None]
    return {event["id"]: event["type"] for event in authorization.visible_events(request, found)}
