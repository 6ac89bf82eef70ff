"""The drift ledger: what Flexport sent that nobody published."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.storage.listing import Listing, Page
from flexportd.storage.queries import queries

MOST = 10_000  # rows; what is found beyond is counted in one more
TOO_MANY = "more different findings than are kept"

KINDS = ("field", "value", "shape", "object", "event_type", "answer")

COLUMNS = ("id", "kind", "object", "name", "count", "first_seen_at", "last_seen_at", "source", "example")

LISTING = Listing(
    table="drift",
    columns=COLUMNS,
    key="id",
    sorts={name: name for name in ("last_seen_at", "first_seen_at", "count", "id")},
    filters={"kind": "kind = ?", "object": "object = ?"},
)


class Finding(msgspec.Struct):
    """One strange thing, and how many objects or events had it."""

    kind: str
    object: str
    name: str
    example: str
    source: str
    count: int = 1


class DriftLedger:
    """Reads and writes `drift`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("drift")

    def merge(self, findings: Sequence[Finding], at: str) -> list[Finding]:
        """Add these; those that were never seen before. A finding keeps its first example."""
        new = [found for found in findings if not self._again(found, at)]
        room = max(0, MOST - self.total()) if new else 0
        for found in new[:room]:
            self._keep(found, at)
        if new[room:]:
            count = sum(found.count for found in new[room:])
            rest = Finding("answer", "", TOO_MANY, "", new[room].source, count)
            if not self._again(rest, at):
                self._keep(rest, at)
        return new[:room]

    def _again(self, found: Finding, at: str) -> bool:
        return (
            self._raw.execute(self._sql["again"], (found.count, at, found.kind, found.object, found.name)).rowcount > 0
        )

    def _keep(self, found: Finding, at: str) -> None:
        row = (found.kind, found.object, found.name, found.count, at, at, found.source, found.example)
        self._raw.execute(self._sql["keep"], row)

    def total(self) -> int:
        """How many different findings are kept."""
        return int(self._raw.execute(self._sql["total"]).fetchone()[0])

    def sums(self) -> list[tuple[str, int, int]]:
        """By kind: (kind, how many different findings, how often they were seen)."""
        return self._raw.execute(self._sql["sums"]).fetchall()

    def page(self, page: Page) -> list[dict[str, Any]]:
        """One page of findings."""
        return LISTING.read(self._raw, page)
