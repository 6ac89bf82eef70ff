"""API keys. Of a key itself only a digest is stored."""

from collections.abc import Iterable

import msgspec

from flexportd.storage.queries.filters import is_present, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository

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


LISTING = ListQuery(
    table="keys",
    columns=StoredKey.__struct_fields__,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={"name": word("name"), "revoked": is_present("revoked_at", "revoked")},
)


class Keys(ListRepository):
    """Reads and writes `keys`."""

    family, listing, columns = "keys", LISTING, StoredKey.__struct_fields__

    def add(self, key: StoredKey, digest: bytes) -> None:
        """Store a new key with the SHA-256 of its secret."""
        self._run("add", *msgspec.structs.astuple(key), digest)

    def by_id(self, key_id: str) -> StoredKey | None:
        """The key with this id."""
        return self._one(StoredKey, "one", key_id)

    def by_name(self, name: str, now: str) -> StoredKey | None:
        """The valid key of this name."""
        return self._one(StoredKey, "named", name, now)

    def count_live(self, now: str) -> int:
        """How many keys are valid."""
        return self._count("count_live", now)

    def with_digests(self, limit: int) -> list[tuple[StoredKey, bytes]]:
        """Keys with their digests: those that are not revoked, then the last revoked."""
        return [(StoredKey(*row[:-1]), row[-1]) for row in self._run("known", limit)]

    def revoke(self, key_id: str, at: str) -> None:
        """Revoke a key."""
        self._run("revoke", at, key_id)

    def record_uses(self, uses: Iterable[Use]) -> None:
        """Add to the counts of uses."""
        self._raw.executemany(self._sql["used"], [(at, count, key_id) for key_id, at, count in uses])

    def changed_at(self) -> str | None:
        """When a key was last created or revoked."""
        return self._text("changed_at")
