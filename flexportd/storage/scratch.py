"""A connection on which some tables are empty temporary ones: to try out writes without a trace in the database."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import TypeVar

from flexportd.errors import UnavailableError
from flexportd.storage.connection import open_scratch
from flexportd.storage.transaction import Transaction

T = TypeVar("T")

NOTIFICATION_TABLES = ("notifications", "deliveries", "told_dates", "channel_states", "digest_runs")

_STEPS = 10_000  # of SQLite's machine between looks whether to stop


def run_on_scratch(path: Path, tables: Sequence[str], work: Callable[[Transaction], T], stop: Event) -> T:
    """Run `work` with empty temporary tables in place of these; in a thread.

    Nothing else can be written. Raises UnavailableError once `stop` is set.
    """
    with contextlib.closing(open_scratch(path)) as raw:
        for statement in list(_temporary(raw, tables)):
            raw.execute(statement)
        raw.set_progress_handler(lambda: int(stop.is_set()), _STEPS)
        try:
            return work(Transaction(raw))
        except sqlite3.OperationalError as error:
            if stop.is_set():
                raise UnavailableError("it took too long and was stopped", retry_after=1) from None
            raise UnavailableError(f"the database cannot be read: {error}") from error


def _temporary(raw: sqlite3.Connection, tables: Sequence[str]) -> Iterator[str]:
    for table in tables:
        sql = raw.execute("SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone()[
            0
        ]
        yield sql.replace("CREATE TABLE", "CREATE TEMP TABLE", 1)
        indexes = "SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql NOT NULL"
        for (index,) in raw.execute(indexes, (table,)).fetchall():
            yield index.replace("INDEX ", "INDEX temp.", 1)
