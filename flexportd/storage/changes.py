"""The history: one row for each field that changed, with what caused it."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from flexportd.storage.listing import Listing, Page
from flexportd.storage.queries import queries

COLUMNS = (
    "id",
    "resource",
    "resource_id",
    "field",
    "old",
    "new",
    "as_of",
    "changed_at",
    "source",
    "event_id",
    "run_id",
)

LISTING = Listing(
    table="changes",
    columns=COLUMNS,
    key="id",
    sorts={"id": "id"},
    filters={"resource": "resource = ? AND resource_id = ?", "field": "field = ?"},
)


class Change(msgspec.Struct, frozen=True, gc=False):
    """One field that moved; `old` and `new` are JSON text, None where there was nothing."""

    resource: str
    resource_id: str
    field: str
    old: str | None
    new: str | None
    as_of: str
    changed_at: str
    source: str
    event_id: str | None
    run_id: int | None = None


class Changes:
    """Reads and writes `changes`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("changes")

    def add(self, changes: Iterable[Change]) -> None:
        """Append to the history."""
        rows = [
            (c.resource, c.resource_id, c.field, c.old, c.new, c.as_of, c.changed_at, c.source, c.event_id, c.run_id)
            for c in changes
        ]
        self._raw.executemany(self._sql["add"], rows)

    def page(self, page: Page) -> list[dict[str, Any]]:
        """One page of changes."""
        return LISTING.read(self._raw, page)

    def recent(self, fields: Iterable[str], limit: int) -> list[dict[str, Any]]:
        """The newest changes of these fields of shipments, each with the shipment's name."""
        names = ("id", "shipment_id", "name", "field", "old", "new", "as_of", "changed_at", "event_id")
        rows = self._raw.execute(self._sql["recent"], (msgspec.json.encode(list(fields)).decode(), limit))
        return [dict(zip(names, row, strict=True)) for row in rows]
