"""One SQLite connection on its own thread, which runs whole units of work in one hop.

Measured on the machines we target, a hop between the loop and a connection's thread costs several times what a
statement costs, so callers hand over a function instead of awaiting statement by statement.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

T = TypeVar("T")

# A write takes the lock at once (BEGIN IMMEDIATE is ours), so waiting happens only against other programs' readers.
_BUSY_MS = 5000
_PAGE_SIZE = 8192
WAL_SIZE_LIMIT = 320 << 20  # bytes: cutting the file off while webhooks come would keep them waiting


class Connection(aiosqlite.Connection):
    """aiosqlite's connection with `run`. Its thread is a daemon: a forgotten connection cannot hang the exit."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=256)
        self._thread.daemon = True

    @classmethod
    async def open(cls, connector: Callable[[], sqlite3.Connection]) -> "Connection":
        """A connection that is open."""
        connection = cls(connector)
        await connection
        return connection

    async def close(self) -> None:
        """Close, and see the thread end."""
        await super().close()
        self._thread.join(timeout=1.0)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread and wait for what it returns or raises."""
        # `_execute` is aiosqlite's own way to do this; the version is pinned and a test holds it.
        return cast(T, await self._execute(work, self._conn))  # type: ignore[no-untyped-call]

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the connection's thread without waiting; it must not raise."""
        self._tx.put_nowait((None, work))


def open_writer(path: Path) -> sqlite3.Connection:
    """The only connection that writes and the only one that checkpoints."""
    raw = _open(path)
    raw.execute(f"PRAGMA page_size={_PAGE_SIZE}")
    if raw.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise sqlite3.OperationalError("the file system of data_dir does not allow SQLite's WAL mode")
    for pragma in (
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        "cache_size=-8192",
        f"journal_size_limit={WAL_SIZE_LIMIT}",
    ):
        raw.execute(f"PRAGMA {pragma}")
    return raw


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write and never checkpoints.

    SQLite before 3.51.3 can lose commits when two connections reset the WAL, so only the writer may.
    """
    raw = _open(path)
    for pragma in ("wal_autocheckpoint=0", "cache_size=-1024", "query_only=1"):
        raw.execute(f"PRAGMA {pragma}")
    return raw


def open_scratch(path: Path) -> sqlite3.Connection:
    """A connection that can write temporary tables only."""
    raw = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    raw.execute("PRAGMA temp_store=MEMORY")
    return raw


def _open(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    raw.execute("PRAGMA temp_store=MEMORY")
    return raw


def is_transient(error: BaseException) -> bool:
    """Whether an SQLite error is about the disk or a lock, and may pass by itself."""
    code: Any = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and (code & 0xFF) in _TRANSIENT


def is_data_error(error: BaseException) -> bool:
    """Whether an error raised by a unit of work may come from what was to be written.

    False for what SQLite says of the database itself, such as a full disk, a lock or a damaged file.
    """
    code: Any = getattr(error, "sqlite_errorcode", None)
    return not isinstance(error, sqlite3.Error) or code is None or (code & 0xFF) in _DATA_ERRORS


_DATA_ERRORS = {
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE,
}  # fmt: skip
_TRANSIENT = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM,
}  # fmt: skip
