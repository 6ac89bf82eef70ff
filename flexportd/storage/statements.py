"""SQL statements: named ones from `sql/`, one file a table family, and inserts of many rows at once."""

import functools
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from itertools import chain
from typing import Any, ClassVar, TypeVar

import msgspec

T = TypeVar("T")

_NAME = re.compile(r"^-- (\w+): .*$", re.MULTILINE)  # "-- name: what it answers" above each statement
_GROUP_SIZES = (64, 16, 4, 1)  # rows of one statement: few sizes, so that each stays prepared
_MAX_VALUES = 1200  # of one statement: a prepared one takes some 40 bytes for each

_encode = msgspec.json.Encoder().encode


def json_text(values: Any) -> str:
    """JSON for a column, or for `json_each` of a statement."""
    return _encode(values).decode()


@functools.cache
def queries(family: str, columns: tuple[str, ...] = ()) -> Mapping[str, str]:
    """The statements of a family by name. `columns` replace `{columns}`, and as `f.<column>` `{prefixed}`."""
    text = resources.files("flexportd.storage").joinpath("sql", f"{family}.sql").read_text("utf-8")
    if columns:
        text = text.replace("{columns}", ", ".join(columns))
        text = text.replace("{prefixed}", ", ".join(f"f.{name}" for name in columns))
    parts = _NAME.split(text)[1:]
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)}


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
        return int(self._raw.execute(self._sql[name], values).fetchone()[0])


def bulk_insert(raw: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows; returns how many were inserted. `sql` inserts one and ends with its VALUES.

    Several in one statement cost half of what one statement for each does. And each statement releases the interpreter
    and has to wait for it again, which is long while other threads compute.
    """
    return _in_groups(raw, sql, "", rows)


def bulk_update(raw: sqlite3.Connection, sql: tuple[str, str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Update one row for each of these; returns how many there were; `sql` is what `update_from` gives.

    For narrow tables: of a wide one, SQLite copies every column of a row on the way.
    """
    return _in_groups(raw, *sql, rows)


@functools.cache
def update_from(table: str, columns: tuple[str, ...], key: str) -> tuple[str, str]:
    """A statement for `bulk_update`: it takes the new values of these columns, and the value of the key at the end."""
    marks = ", ".join("?" * (len(columns) + 1))
    sets = ", ".join(f"{name} = new.{name}" for name in columns)
    begin = f"WITH new ({', '.join(columns)}, of_key) AS (VALUES ({marks})"
    return begin, f") UPDATE {table} SET {sets} FROM new WHERE {table}.{key} = new.of_key"  # noqa: S608 (declared)


def _in_groups(raw: sqlite3.Connection, begin: str, end: str, rows: Sequence[tuple[Any, ...]]) -> int:
    done = count = 0
    most = max(1, _MAX_VALUES // len(rows[0])) if rows else 1
    for size in _GROUP_SIZES:
        while size <= most and len(rows) - done >= size:
            values = tuple(chain.from_iterable(rows[done : done + size]))
            count += raw.execute(_multi_row_sql(begin, size) + end, values).rowcount
            done += size
    return count


@functools.lru_cache(maxsize=512)
def _multi_row_sql(sql: str, size: int) -> str:
    into, values, row = sql.rpartition("VALUES ")
    return into + values + ", ".join([row] * size)
