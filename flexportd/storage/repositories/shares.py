"""Share links. A link itself is not stored: its signature is computed again."""

from collections.abc import Iterable

import msgspec

from flexportd.storage.queries.filters import is_present, number
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository

View = tuple[str, str, int]
"""(id, when it was last viewed, how often since that was last noted)."""


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


LISTING = ListQuery(
    table="shares",
    columns=Share.__struct_fields__,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={"shipment": number("shipment_id"), "revoked": is_present("revoked_at", "revoked")},
)


class Shares(ListRepository):
    """Reads and writes `shares`."""

    family, listing, columns = "shares", LISTING, Share.__struct_fields__

    def add(self, share: Share) -> None:
        """Store a new link."""
        self._run("add", *msgspec.structs.astuple(share))

    def by_id(self, share_id: str) -> Share | None:
        """The link with this id."""
        return self._one(Share, "one", share_id)

    def revoke(self, share_id: str, at: str) -> None:
        """Revoke a link."""
        self._run("revoke", at, share_id)

    def revoke_of_key(self, key_id: str, at: str) -> None:
        """Revoke all links that were created with this key."""
        self._run("revoke_of_key", at, key_id)

    def record_views(self, views: Iterable[View]) -> None:
        """Add to the counts of views."""
        self._raw.executemany(self._sql["viewed"], [(at, count, share_id) for share_id, at, count in views])

    def count(self, shipment_id: int, now: str) -> int:
        """How many links to a shipment are valid."""
        return self._count("count", shipment_id, now)

    def changed_at(self) -> str | None:
        """When a link was last created or revoked."""
        return self._text("changed_at")
