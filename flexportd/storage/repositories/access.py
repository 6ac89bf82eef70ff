"""What gives access: API keys, of which only a digest is stored, and share links, whose signature is computed again."""

from collections.abc import Iterable

import msgspec

from flexportd.storage.queries.filters import is_present, number, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository

Usage = tuple[str, str, int]  # (id, when it was last used or viewed, how often since that was last noted)


class _GrantRepository(ListRepository):
    def revoke(self, grant_id: str, at: str) -> bool:
        """Revoke a key or a link; False if it does not exist or is revoked."""
        return self._run("revoke", at, grant_id).rowcount == 1

    def changed_at(self) -> str | None:
        """When one was last created or revoked."""
        return self._text("changed_at")


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


KEYS = ListQuery(
    table="keys",
    columns=StoredKey.__struct_fields__,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={"name": word("name"), "revoked": is_present("revoked_at", "revoked")},
)


class Keys(_GrantRepository):
    """Reads and writes `keys`."""

    family, listing, columns = "keys", KEYS, StoredKey.__struct_fields__

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
        return self._count("count_valid", now)

    def with_digests(self, limit: int) -> list[tuple[StoredKey, bytes]]:
        """Keys with their digests: those that are not revoked, then the last revoked."""
        return [(StoredKey(*row[:-1]), row[-1]) for row in self._run("known", limit)]

    def record_uses(self, uses: Iterable[Usage]) -> None:
        """Add to the counts of uses."""
        self._raw.executemany(self._sql["add_uses"], [(at, count, key_id) for key_id, at, count in uses])


class Share(msgspec.Struct, frozen=True):
    """One link to one shipment; `expires_at` has whole seconds."""

    id: str
    shipment_id: int
    label: str | None
    created_at: str
    created_by: str
    expires_at: str
    revoked_at: str | None = None
    views: int = 0
    last_viewed_at: str | None = None
    key_id: str | None = None


SHARES = ListQuery(
    table="shares",
    columns=Share.__struct_fields__,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={"shipment": number("shipment_id"), "revoked": is_present("revoked_at", "revoked")},
)


class Shares(_GrantRepository):
    """Reads and writes `shares`."""

    family, listing, columns = "shares", SHARES, Share.__struct_fields__

    def add(self, share: Share) -> None:
        """Store a new link."""
        self._run("add", *msgspec.structs.astuple(share))

    def by_id(self, share_id: str) -> Share | None:
        """The link with this id."""
        return self._one(Share, "one", share_id)

    def revoke_of_key(self, key_id: str, at: str) -> None:
        """Revoke all links that were created with this key."""
        self._run("revoke_of_key", at, key_id)

    def record_views(self, views: Iterable[Usage]) -> None:
        """Add to the counts of views."""
        self._raw.executemany(self._sql["add_views"], [(at, count, share_id) for share_id, at, count in views])

    def count(self, shipment_id: int, now: str) -> int:
        """How many links to a shipment are valid."""
        return self._count("count", shipment_id, now)
