"""Objects that Flexport sent and nobody here can read, kept as they came."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key

COLUMNS = ("id", "resource", "resource_id", "error", "first_seen_at", "last_seen_at", "count")
LISTING = ListQuery(
    table="unreadable",
    columns=COLUMNS,
    key="id",
    sorts={"id": "id"},
    filters={"resource": word("resource", description="Only this resource.")},
)


class UnreadableObjects:
    """Reads and writes `unreadable`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("quarantine")

    def put(self, resource: str, at: str, rows: Iterable[tuple[str, str, bytes]]) -> None:
        """Keep objects: (id, error, bytes)."""
        self._raw.executemany(self._sql["put"], [(resource, key, error, at, raw) for key, error, raw in rows])

    def has_any(self, resource: str) -> bool:
        """Whether any object of a resource cannot be read."""
        return self._raw.execute(self._sql["any"], (resource,)).fetchone() is not None

    def delete_unseen(self, resource: str, before: str) -> None:
        """What was last seen before this time of ours is no longer in the list."""
        self._raw.execute(self._sql["forget"], (resource, before))

    def remove(self, resource: str, keys: Sequence[Key]) -> None:
        """These can be read after all."""
        self._raw.execute(self._sql["readable"], (resource, msgspec.json.encode(keys).decode()))

    def counts(self) -> dict[str, int]:
        """Resource -> how many of its objects cannot be read."""
        return dict(self._raw.execute(self._sql["counts"]).fetchall())

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of them."""
        return LISTING.read(self._raw, page)
