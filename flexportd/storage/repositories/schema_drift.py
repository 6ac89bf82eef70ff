"""The drift ledger: what Flexport sent that nobody published."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.storage.change_log import Journal
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.stable_pagination import TableWithoutHistory
from flexportd.storage.queries.table import Key

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

TABLE = TableWithoutHistory("drift", LISTING, ("last_seen_at", "count"), frozenset({"count"}))

_Position = tuple[Key, Sequence[Any] | None]


class DriftRecord(msgspec.Struct):
    """One strange thing, and how many objects or events had it."""

    kind: str
    object: str
    name: str
    example: str
    source: str
    count: int = 1


class DriftRecords:
    """Reads and writes `drift`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("schema_drift")

    def merge(self, findings: Sequence[DriftRecord], at: str) -> list[DriftRecord]:
        """Add these; those that were never seen before. A finding keeps its first example."""
        moved: list[_Position] = []
        new = [found for found in findings if not self._increment(found, at, moved)]
        room = max(0, MAX_FINDINGS - self.total()) if new else 0
        for found in new[:room]:
            self._insert(found, at, moved)
        if new[room:]:
            count = sum(found.count for found in new[room:])
            self._insert(DriftRecord("response", "", TOO_MANY, "", new[room].source, count), at, moved)
        if moved:
            Journal(self._raw).save_positions(at, {TABLE.name: moved})
        return new[:room]

    def _increment(self, found: DriftRecord, at: str, moved: list[_Position]) -> bool:
        row = self._raw.execute(self._sql["known"], (found.kind, found.object, found.name)).fetchone()
        if row is None:
            return False
        moved.append((row[0], row[1:]))
        self._raw.execute(self._sql["again"], (found.count, at, row[0]))
        return True

    def _insert(self, found: DriftRecord, at: str, moved: list[_Position]) -> None:
        # Two that look the same once they are harmless are one.
        if not self._increment(found, at, moved):
            row = (found.kind, found.object, found.name, found.count, at, at, found.source, found.example)
            moved.append((self._raw.execute(self._sql["keep"], row).lastrowid or 0, None))

    def total(self) -> int:
        """How many different findings are kept."""
        return int(self._raw.execute(self._sql["total"]).fetchone()[0])

    def sums(self) -> list[tuple[str, int, int]]:
        """By kind: (kind, how many different findings, how often they were seen)."""
        return self._raw.execute(self._sql["sums"]).fetchall()

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of findings."""
        return LISTING.read(self._raw, page) if page.snapshots is None else page.snapshots.read(self._raw, TABLE, page)
