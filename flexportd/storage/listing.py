"""Lists: filtered, sorted and cut into pages, built only from fragments that a table family declares."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """One page asked for. `after` is the sort value and key of the last row of the page before."""

    limit: int
    sort: str
    descending: bool = True
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    after: tuple[Any, Any] | None = None
    extra: Sequence[str] = ()  # further columns


@dataclass(frozen=True, slots=True)
class Listing:
    """What one table lets itself be asked. A filter's fragment has as many `?` as it has values."""

    table: str
    columns: Sequence[str]
    key: str
    sorts: Mapping[str, str]
    filters: Mapping[str, str]

    def read(self, raw: sqlite3.Connection, page: Page) -> list[dict[str, Any]]:
        """The rows as dictionaries, one more than `limit` when another page follows."""
        where, values = self._where(page)
        names = (*self.columns, *page.extra)
        column, direction = self.sorts[page.sort], "DESC" if page.descending else "ASC"
        order = f"{self.key} {direction}" if column == self.key else f"{column} {direction}, {self.key} {direction}"
        sql = f"SELECT {', '.join(names)} FROM {self.table}{where} ORDER BY {order} LIMIT ?"  # noqa: S608 (declared fragments)
        return [dict(zip(names, row, strict=True)) for row in raw.execute(sql, (*values, page.limit + 1))]

    def _where(self, page: Page) -> tuple[str, list[Any]]:
        parts: list[str] = []
        values: list[Any] = []
        for name, given in page.filters.items():
            parts.append(f"({self.filters[name]})")
            values.extend(given)
        if page.after is not None:
            parts.append(self._after(page))
            value, key = page.after
            values.extend([key] if self.sorts[page.sort] == self.key or value is None else [value, key])
        return (" WHERE " + " AND ".join(parts) if parts else ""), values

    def _after(self, page: Page) -> str:
        column, sign = self.sorts[page.sort], "<" if page.descending else ">"
        if column == self.key:
            return f"{self.key} {sign} ?"
        # SQLite sorts NULL before everything: last when descending, first when ascending.
        value, _ = page.after or (None, None)
        if value is None:
            rest = "" if page.descending else f" OR {column} IS NOT NULL"
            return f"(({column} IS NULL AND {self.key} {sign} ?){rest})"
        nulls = f" OR {column} IS NULL" if page.descending else ""
        return f"(({column}, {self.key}) {sign} (?, ?){nulls})"
