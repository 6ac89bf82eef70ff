"""Small facts about the store itself: whether the queue is paused, when it was made."""

import sqlite3
from typing import Any, TypeVar

import msgspec

from flexportd.storage.named_sql import queries

T = TypeVar("T")


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

    def load(self, name: str, kind: type[T]) -> T | None:
        """A value that is kept as JSON, or None when it was never saved."""
        text = self.get(name)
        return None if text is None else msgspec.json.decode(text, type=kind)

    def save(self, name: str, value: Any) -> None:
        """Keep a value as JSON."""
        self.put(name, msgspec.json.encode(value).decode())
