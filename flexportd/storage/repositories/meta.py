"""Small facts about the store itself: whether the queue is paused, when it was made."""

import sqlite3

from flexportd.storage.named_sql import queries


class Meta:
    """Name and value, both text."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("meta")

    def get(self, name: str) -> str | None:
        """The value, or None when it was never put."""
        row = self._raw.execute(self._sql["get"], (name,)).fetchone()
        return None if row is None else row[0]

    def put(self, name: str, value: str) -> None:
        """Set the value."""
        self._raw.execute(self._sql["put"], (name, value))
