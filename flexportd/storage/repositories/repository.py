"""What all repositories share, and the table `meta`."""

import sqlite3
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.stable_pagination import TableWithoutHistory
from flexportd.storage.statements import json_text, queries

T = TypeVar("T")


class Repository:
    """Runs the statements of one family on the connection of a transaction, which it neither opens nor commits."""

    family: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries(self.family, self.columns)

    def _run(self, name: str, *values: Any) -> sqlite3.Cursor:
        return self._raw.execute(self._sql[name], values)

    def _all(self, form: Callable[..., T], name: str, *values: Any) -> list[T]:
        return [form(*row) for row in self._raw.execute(self._sql[name], values)]

    def _one(self, form: Callable[..., T], name: str, *values: Any) -> T | None:
        row = self._raw.execute(self._sql[name], values).fetchone()
        return None if row is None else form(*row)

    def _dicts(self, names: tuple[str, ...], name: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(zip(names, row, strict=True)) for row in self._raw.execute(self._sql[name], values)]

    def _first_column(self, name: str, *values: Any) -> list[Any]:
        return [row[0] for row in self._raw.execute(self._sql[name], values)]

    def _text(self, name: str, *values: Any) -> str | None:
        """The first value of the first row; None without one."""
        row = self._raw.execute(self._sql[name], values).fetchone()
        return None if row is None else row[0]

    def _count(self, name: str, *values: Any) -> int:
        """The number that the statement selects."""
        return int(self._raw.execute(self._sql[name], values).fetchone()[0])


class ListRepository(Repository):
    """A repository with a list; `movable` is its table if its rows move in the list."""

    listing: ClassVar[ListQuery]
    movable: ClassVar[TableWithoutHistory | None] = None

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of the list; in a stable order if the page has `snapshots`."""
        if page.snapshots is None or self.movable is None:
            return self.listing.read(self._raw, page)
        return page.snapshots.read(self._raw, self.movable, page)


class Meta(Repository):
    """Facts about the store itself, such as whether the queue is paused: name and value, both text."""

    family = "meta"

    def get(self, name: str) -> str | None:
        """The value, or None when it was never put."""
        return self._text("get", name)

    def put(self, name: str, value: str) -> None:
        """Set the value."""
        self._run("put", name, value)

    def load(self, name: str, kind: type[T]) -> T | None:
        """A value that is stored as JSON, or None if it was never saved."""
        text = self.get(name)
        return None if text is None else msgspec.json.decode(text, type=kind)

    def save(self, name: str, value: Any) -> None:
        """Store a value as JSON."""
        self.put(name, json_text(value))


def plain_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a join, whose columns are renamed to their names without tables."""
    return [{name.rpartition(" AS ")[2].rpartition(".")[2]: value for name, value in row.items()} for row in rows]
