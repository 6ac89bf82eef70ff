"""Writing many short rows: several in one statement.

That costs half of what one statement for each does. And each lets go of the interpreter and has to wait for it again,
which is long while other threads compute.
"""

import functools
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

_SIZES = (64, 16, 4, 1)  # rows of one statement: few sizes, so that each stays prepared
_VALUES = 1200  # of one statement: a prepared one takes some 40 bytes for each


def bulk_insert(raw: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """As `executemany`, and how many rows were inserted; `sql` inserts one row and ends with its VALUES."""
    return _in_groups(raw, sql, "", rows)


def update(raw: sqlite3.Connection, sql: tuple[str, str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Update one row for each of these; returns how many there were; `sql` is what `update_from` gives.

    For narrow tables: of a wide one, SQLite copies every column of a row on the way.
    """
    return _in_groups(raw, *sql, rows)


@functools.cache
def update_from(table: str, columns: tuple[str, ...], key: str) -> tuple[str, str]:
    """A statement for `update`: it takes the new values of these columns, and the value of the key at the end."""
    marks = ", ".join("?" * (len(columns) + 1))
    sets = ", ".join(f"{name} = new.{name}" for name in columns)
    begin = f"WITH new ({', '.join(columns)}, of_key) AS (VALUES ({marks})"
    return begin, f") UPDATE {table} SET {sets} FROM new WHERE {table}.{key} = new.of_key"  # noqa: S608 (declared)


def _in_groups(raw: sqlite3.Connection, begin: str, end: str, rows: Sequence[tuple[Any, ...]]) -> int:
    done = count = 0
    most = max(1, _VALUES // len(rows[0])) if rows else 1
    for size in _SIZES:
        while size <= most and len(rows) - done >= size:
            values = tuple(chain.from_iterable(rows[done : done + size]))
            count += raw.execute(_multi_row_sql(begin, size) + end, values).rowcount
            done += size
    return count


@functools.lru_cache(maxsize=512)
def _multi_row_sql(sql: str, size: int) -> str:
    into, values, row = sql.rpartition("VALUES ")
    return into + values + ", ".join([row] * size)
