"""The history: one row for each field that changed, with what caused it."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.queries.filters import expression, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import bulk_insert, json_text

COLUMNS = (
    "id", "resource", "resource_id", "field", "old", "new", "as_of", "changed_at", "source", "event_id", "run_id",
)  # fmt: skip

HISTORY_FROM = "history_from"
"""The name in `meta` of the time, on our clock, from which on the history is complete.

Code that deletes history writes it in the same transaction. No deleted row is at or after this time, and it never goes
back.
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
    """One field that changed; `old` and `new` are JSON text, None without a value."""

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
    """A change with the event that caused it; of a deleted event only the id is known."""

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


class Changes(ListRepository):
    """Reads and writes `changes`."""

    family, listing, columns = "changes", LISTING, COLUMNS

    def add(self, changes: Sequence[Change]) -> tuple[int, int] | None:
        """Append to the history; returns the first and the last row, None without any."""
        if not changes:
            return None
        first = (self._run("last").fetchone()[0] or 0) + 1
        rows = [
            (c.resource, c.resource_id, c.field, c.old, c.new, c.as_of, c.changed_at, c.source, c.event_id, c.run_id)
            for c in changes
        ]
        bulk_insert(self._raw, self._sql["add"], rows)
        return first, first + len(rows) - 1

    def had_value(self, resource: str, field: str, value: str) -> bool:
        """Whether a field of any object of a resource ever had this value (JSON text). Reads all of its history."""
        return self._run("had_value", resource, field, value).fetchone() is not None

    def recent(self, fields: Iterable[str], limit: int) -> list[dict[str, Any]]:
        """The newest changes of these fields of shipments, each with the shipment's name."""
        names = ("id", "shipment_id", "name", "field", "old", "new", "as_of", "changed_at", "event_id")
        return self._dicts(names, "recent", json_text(list(fields)), limit)

    def newest(self, resource: str, resource_id: str) -> list[ChangeWithEvent]:
        """The newest change of each field of one object, oldest first."""
        return self._all(ChangeWithEvent, "newest", resource, resource_id)

    def of_object(self, named: tuple[str, str], limit: int, before: int | None = None) -> list[ChangeWithEvent]:
        """The changes of one object (resource, id), newest first; with `before` only those with a lower number."""
        return self._all(ChangeWithEvent, "of_object", *named, _MAX_ID if before is None else before, limit)

    def of_event(self, event_id: str, limit: int) -> list[ChangeWithEvent]:
        """The changes that one event caused, oldest first: its own, and those of the fetch that followed."""
        return self._all(ChangeWithEvent, "of_event", event_id, limit)

    def last_before(self, resource: str, resource_id: str, at: str) -> ChangeWithEvent | None:
        """The last change of one object up to this time on our clock."""
        return self._one(ChangeWithEvent, "last_until", resource, resource_id, at)

    def value_at(self, named: tuple[str, str, str], at: str) -> Any:
        """The value that a field (resource, id, field) had at a time on our clock; None if its history does not say."""
        text = self._text("value_at", *named, at)
        return None if text is None else msgspec.json.decode(text)

    def history_start(self) -> str | None:
        """Our time before which history was deleted; None if it is complete. See `HISTORY_FROM`."""
        return self._text("deleted_until", HISTORY_FROM)
