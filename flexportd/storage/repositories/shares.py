"""Links that were shared. Of a link itself nothing is stored: its signature is made anew."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import is_present, number
from flexportd.storage.queries.list_query import ListQuery, PageRequest

COLUMNS = (
    "id", "shipment_id", "label", "created_at", "created_by", "expires_at", "revoked_at", "views", "last_viewed_at",
    "key_id",
)  # fmt: skip

LISTING = ListQuery(
    table="shares",
    columns=COLUMNS,
    key="id",
    sorts={"created_at": "created_at", "id": "id"},
    filters={
        "shipment": number("shipment_id"),
        "revoked": is_present("revoked_at", "revoked"),
    },
)

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


class Shares:
    """Reads and writes `shares`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = {name: sql.replace("{columns}", ", ".join(COLUMNS)) for name, sql in queries("shares").items()}

    def add(self, share: Share) -> None:
        """Keep a new link."""
        self._raw.execute(self._sql["add"], tuple(getattr(share, name) for name in COLUMNS))

    def by_id(self, share_id: str) -> Share | None:
        """The link with this id."""
        return next((Share(*row) for row in self._raw.execute(self._sql["one"], (share_id,))), None)

    def revoke(self, share_id: str, at: str) -> None:
        """From now on it shows nothing."""
        self._raw.execute(self._sql["revoke"], (at, share_id))

    def revoke_of_key(self, key_id: str, at: str) -> None:
        """From now on no link shows anything that was made with this key."""
        self._raw.execute(self._sql["revoke_of_key"], (at, key_id))

    def record_views(self, views: Iterable[View]) -> None:
        """Note that links were followed."""
        self._raw.executemany(self._sql["viewed"], [(at, count, share_id) for share_id, at, count in views])

    def count(self, shipment_id: int, now: str) -> int:
        """How many links to a shipment show something."""
        found: int = self._raw.execute(self._sql["count"], (shipment_id, now)).fetchone()[0]
        return found

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of the list."""
        return LISTING.read(self._raw, page)

    def changed_at(self) -> str | None:
        """When a link was last made or revoked."""
        value: str | None = self._raw.execute(self._sql["changed_at"]).fetchone()[0]
        return value
