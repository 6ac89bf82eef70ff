"""The API's keys. Of a key itself only a digest is stored."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import is_present, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest

COLUMNS = (
    "id", "name", "scopes", "audience", "rate_limit", "created_at", "created_by", "expires_at", "revoked_at",
    "last_used_at", "uses",
)  # fmt: skip

LISTING = ListQuery(
    table="keys",
    columns=COLUMNS,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={
        "name": word("name"),
        "revoked": is_present("revoked_at", "revoked"),
    },
)

Use = tuple[str, str, int]
"""(id, when it was last used, how often since that was last noted)."""


class StoredKey(msgspec.Struct, frozen=True):
    """One key; `scopes` and `audience` are JSON."""

    id: str
    name: str
    scopes: str
    audience: str | None
    rate_limit: str | None
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None = None
    last_used_at: str | None = None
    uses: int = 0


class Keys:
    """Reads and writes `keys`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = {name: sql.replace("{columns}", ", ".join(COLUMNS)) for name, sql in queries("keys").items()}

    def add(self, key: StoredKey, digest: bytes) -> None:
        """Keep a new key with the SHA-256 of what its owner holds."""
        values = (*(getattr(key, name) for name in COLUMNS), digest)
        self._raw.execute(self._sql["add"], values)

    def by_id(self, key_id: str) -> StoredKey | None:
        """The key with this id."""
        return next((StoredKey(*row) for row in self._raw.execute(self._sql["one"], (key_id,))), None)

    def by_name(self, name: str, now: str) -> StoredKey | None:
        """The live key of this name."""
        return next((StoredKey(*row) for row in self._raw.execute(self._sql["named"], (name, now))), None)

    def count_live(self, now: str) -> int:
        """How many keys open something."""
        found: int = self._raw.execute(self._sql["count_live"], (now,)).fetchone()[0]
        return found

    def with_digests(self, limit: int) -> list[tuple[StoredKey, bytes]]:
        """Keys with their digests: those that are not revoked, then the last revoked."""
        return [(StoredKey(*row[:-1]), row[-1]) for row in self._raw.execute(self._sql["known"], (limit,))]

    def revoke(self, key_id: str, at: str) -> None:
        """From now on it opens nothing."""
        self._raw.execute(self._sql["revoke"], (at, key_id))

    def record_uses(self, uses: Iterable[Use]) -> None:
        """Note that keys were used."""
        self._raw.executemany(self._sql["used"], [(at, count, key_id) for key_id, at, count in uses])

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of the list."""
        return LISTING.read(self._raw, page)

    def changed_at(self) -> str | None:
        """When a key was last made or revoked."""
        value: str | None = self._raw.execute(self._sql["changed_at"]).fetchone()[0]
        return value
