"""The API budget book: what was asked of Flexport, by hour and purpose."""

import sqlite3
from collections.abc import Iterable
from typing import Any

from flexportd.storage.named_sql import queries

_SUMS = ("calls", "errors", "retries", "bytes", "seconds")

UsageKey = tuple[str, str, str]  # hour, purpose, resource
UsageTotals = tuple[int, int, int, int, float]


class ApiUsage:
    """Reads and writes `api_calls`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("api_usage")

    def add(self, booked: Iterable[tuple[UsageKey, UsageTotals]]) -> None:
        """Add what was booked."""
        self._raw.executemany(self._sql["add"], [(*entry, *sums) for entry, sums in booked])

    def since(self, hour: str) -> dict[str, dict[str, Any]]:
        """The sums by purpose since the stamp of an hour."""
        return {row[0]: _as_dict(row[1:]) for row in self._raw.execute(self._sql["since"], (hour,))}

    def by_resource(self, hour: str, limit: int = 100) -> list[dict[str, Any]]:
        """The sums by purpose and resource since the stamp of an hour, the most calls first."""
        rows = self._raw.execute(self._sql["by_resource"], (hour, limit))
        return [{"purpose": row[0], "resource": row[1], **_as_dict(row[2:])} for row in rows]

    def delete_before(self, before: str) -> int:
        """Delete hours before this one; how many rows."""
        return self._raw.execute(self._sql["forget"], (before,)).rowcount


def _as_dict(sums: Iterable[Any]) -> dict[str, Any]:
    found = dict(zip(_SUMS, sums, strict=True))
    return found | {"seconds": round(found["seconds"], 3)}
