"""The history: one row for each field that changed, with what caused it."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.bulk_insert import bulk_insert
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import expression, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest

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

HISTORY_FROM = "history_from"
"""The fact in `meta` that says how far back the history reaches, on our clock.

Whoever deletes history writes it in the same transaction: a time that no deleted row is at or after, and that never
goes back. What was known at that time or later can be told, and nothing from before.
"""

_MAX_ID = 2**63 - 1

LISTING = ListQuery(
    table="changes",
    columns=COLUMNS,
    key="id",
    sorts={"id": "id"},
    filters={
        "field": word("field"),
        "resource": expression("resource = ? AND resource_id = ?"),
        "since_start": expression("id > ? AND NOT (changed_at = ? AND source = ? AND event_id IS ? AND run_id IS ?)"),
    },
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


class ChangeWithEvent(msgspec.Struct, frozen=True, gc=False):
    """A change with the event behind it; of an event that is no longer kept only the id is known."""

    id: int
    resource: str
    resource_id: str
    field: str
    old: str | None
    new: str | None
    as_of: str
    changed_at: str
    source: str
    event_id: str | None
    run_id: int | None
    event_type: str | None
    received_at: str | None  # when the event came, on our clock
    event_source: str | None  # what brought it: `webhook` or `events`


class Changes:
    """Reads and writes `changes`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = {name: sql.replace("{columns}", ", ".join(COLUMNS)) for name, sql in queries("changes").items()}

    def add(self, changes: Sequence[Change]) -> tuple[int, int] | None:
        """Append to the history; the first and the last row, None for none."""
        if not changes:
            return None
        first = (self._raw.execute(self._sql["last"]).fetchone()[0] or 0) + 1
        rows = [
            (c.resource, c.resource_id, c.field, c.old, c.new, c.as_of, c.changed_at, c.source, c.event_id, c.run_id)
            for c in changes
        ]
        bulk_insert(self._raw, self._sql["add"], rows)
        return first, first + len(rows) - 1

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of changes."""
        return LISTING.read(self._raw, page)

    def had_value(self, resource: str, field: str, value: str) -> bool:
        """Whether a field of any object of a resource had this value (JSON text) once. Reads all of its history."""
        return self._raw.execute(self._sql["had"], (resource, field, value)).fetchone() is not None

    def recent(self, fields: Iterable[str], limit: int) -> list[dict[str, Any]]:
        """The newest changes of these fields of shipments, each with the shipment's name."""
        names = ("id", "shipment_id", "name", "field", "old", "new", "as_of", "changed_at", "event_id")
        rows = self._raw.execute(self._sql["recent"], (msgspec.json.encode(list(fields)).decode(), limit))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def newest(self, resource: str, resource_id: str) -> list[ChangeWithEvent]:
        """The newest change of each field of one object, oldest first."""
        return self._with_events("newest", (resource, resource_id))

    def of_object(self, named: tuple[str, str], limit: int, before: int | None = None) -> list[ChangeWithEvent]:
        """The changes of one object (resource, id), newest first; only those before the change of this number."""
        return self._with_events("of_object", (*named, _MAX_ID if before is None else before, limit))

    def of_event(self, event_id: str, limit: int) -> list[ChangeWithEvent]:
        """What goes back to one event, oldest first: its own changes, and those of the fetch that followed."""
        return self._with_events("of_event", (event_id, limit))

    def last_before(self, resource: str, resource_id: str, at: str) -> ChangeWithEvent | None:
        """The last change of one object at this time of ours."""
        found = self._with_events("by_then", (resource, resource_id, at))
        return found[0] if found else None

    def history_start(self) -> str | None:
        """Our time before which history was forgotten; None while all of it is kept. See `HISTORY_FROM`."""
        row = self._raw.execute(self._sql["reaches_back_to"], (HISTORY_FROM,)).fetchone()
        return None if row is None else row[0]

    def _with_events(self, name: str, values: tuple[Any, ...]) -> list[ChangeWithEvent]:
        return [ChangeWithEvent(*row) for row in self._raw.execute(self._sql[name], values)]
