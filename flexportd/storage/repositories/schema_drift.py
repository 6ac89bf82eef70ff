"""Schema drift: what Flexport sent that it has not published, and objects that cannot be read."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.change_log import Journal
from flexportd.storage.queries.filters import word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.queries.stable_pagination import TableWithoutHistory
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text

MAX_FINDINGS = 10_000  # rows; what is found beyond is counted in one more
TOO_MANY = "more different findings than are kept"
KINDS = ("field", "value", "shape", "object", "event_type", "response")
COLUMNS = ("id", "kind", "object", "name", "count", "first_seen_at", "last_seen_at", "source", "example")

LISTING = ListQuery(
    table="drift",
    columns=COLUMNS,
    key="id",
    sorts={name: name for name in ("last_seen_at", "first_seen_at", "count", "id")},
    filters={
        "kind": word("kind", *KINDS),
        "object": word("object", description="Only in objects with this Flexport name, such as /shipment."),
    },
)
UNREADABLE = ListQuery(
    table="unreadable",
    columns=("id", "resource", "resource_id", "error", "first_seen_at", "last_seen_at", "count"),
    key="id",
    sorts={"id": "id"},
    filters={"resource": word("resource", description="Only this resource.")},
)

TABLE = TableWithoutHistory("drift", LISTING, ("last_seen_at", "count"), frozenset({"count"}))

_Position = tuple[Key, Sequence[Any] | None]


class DriftRecord(msgspec.Struct):
    """One finding, and how many objects or events had it."""

    kind: str
    object: str
    name: str
    example: str
    source: str
    count: int = 1


class DriftRecords(ListRepository):
    """Reads and writes `drift`."""

    family, listing, movable = "schema_drift", LISTING, TABLE

    def merge(self, findings: Sequence[DriftRecord], at: str) -> list[DriftRecord]:
        """Add findings; returns those that are new. A finding keeps its first example."""
        moved: list[_Position] = []
        new = [finding for finding in findings if not self._increment(finding, at, moved)]
        room = max(0, MAX_FINDINGS - self.total()) if new else 0
        for finding in new[:room]:
            self._insert(finding, at, moved)
        if new[room:]:
            count = sum(finding.count for finding in new[room:])
            self._insert(DriftRecord("response", "", TOO_MANY, "", new[room].source, count), at, moved)
        if moved:
            Journal(self._raw).save_positions(at, {TABLE.name: moved})
        return new[:room]

    def _increment(self, finding: DriftRecord, at: str, moved: list[_Position]) -> bool:
        row = self._run("known", finding.kind, finding.object, finding.name).fetchone()
        if row is None:
            return False
        moved.append((row[0], row[1:]))
        self._run("count_again", finding.count, at, row[0])
        return True

    def _insert(self, finding: DriftRecord, at: str, moved: list[_Position]) -> None:
        # Two that look the same once they are escaped are one.
        if not self._increment(finding, at, moved):
            row = (finding.kind, finding.object, finding.name, finding.count, at, at, finding.source, finding.example)
            moved.append((self._run("add", *row).lastrowid or 0, None))

    def total(self) -> int:
        """How many different findings are kept."""
        return self._count("total")

    def sums(self) -> list[tuple[str, int, int]]:
        """By kind: (kind, how many different findings, how often they were seen)."""
        return self._run("totals").fetchall()


class UnreadableObjects(ListRepository):
    """Objects of Flexport that cannot be read, as they came: reads and writes `unreadable`."""

    family, listing = "schema_drift", UNREADABLE

    def put(self, resource: str, at: str, rows: Iterable[tuple[str, str, bytes]]) -> None:
        """Store objects: (id, error, bytes)."""
        values = [(resource, key, error, at, raw) for key, error, raw in rows]
        self._raw.executemany(self._sql["put_unreadable"], values)

    def has_any(self, resource: str) -> bool:
        """Whether any object of a resource cannot be read."""
        return self._run("any_unreadable", resource).fetchone() is not None

    def delete_unseen(self, resource: str, before: str) -> None:
        """Delete what was last seen before this time on our clock: it is no longer in the list."""
        self._run("delete_unseen", resource, before)

    def remove(self, resource: str, keys: Sequence[Key]) -> None:
        """Delete these: they can be read now."""
        self._run("delete_unreadable", resource, json_text(keys))

    def counts(self) -> dict[str, int]:
        """Resource -> how many of its objects cannot be read."""
        return dict(self._run("count_unreadable").fetchall())
