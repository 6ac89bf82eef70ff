"""The books of the sync: runs, receipts, pages behind it, objects that went missing."""

import sqlite3

from flexportd.storage.queries import queries


class Sync:
    """Reads and writes the `sync_…` tables."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("sync")

    def floors(self) -> dict[str, str]:
        """Resource -> Flexport's time at which all its objects were last found as we have them."""
        return dict(self._raw.execute(self._sql["floors"]).fetchall())
