"""A few reading connections. A long or abandoned read is interrupted, and delays no other."""

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flexportd.errors import UnavailableError
from flexportd.storage.connection import Connection, is_transient, open_reader
from flexportd.storage.transaction import Transaction

T = TypeVar("T")

TIME_LIMIT = 10.0  # seconds

FOR_OPERATOR: contextvars.ContextVar[bool] = contextvars.ContextVar("for_operator", default=False)
"""Set for a request of the control socket: one more connection is kept for these, so that the daemon can always be
asked how it is, however many clients ask for lists over the network."""

_Pair = tuple[Connection, Transaction]


class Readers:
    """Hands each read an idle connection and takes it back when the statement has really ended."""

    def __init__(self, path: Path, count: int = 2) -> None:
        self._path = path
        self._count = count
        self._all: list[_Pair] = []
        self._idle: asyncio.LifoQueue[_Pair] = asyncio.LifoQueue()
        self._for_operator: asyncio.LifoQueue[_Pair] = asyncio.LifoQueue()

    async def open(self) -> None:
        """Connect them all."""
        for number in range(self._count + 1):
            connection = await Connection.open(lambda: open_reader(self._path))
            pair = (connection, await connection.run(Transaction))
            self._all.append(pair)
            (self._idle if number < self._count else self._for_operator).put_nowait(pair)

    async def close(self) -> None:
        """Interrupt what still reads and close."""
        for connection, _ in self._all:
            await connection.interrupt()
            await connection.close()
        self._all.clear()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """What `work` reads in one snapshot. Raises UnavailableError when it takes too long or the disk fails."""
        idle = self._for_operator if FOR_OPERATOR.get() and self._idle.empty() else self._idle
        try:
            async with asyncio.timeout(TIME_LIMIT):
                pair = await idle.get()
        except TimeoutError:
            raise UnavailableError("all readers of the database are busy", retry_after=1) from None
        connection, session = pair

        def in_one_snapshot(raw: sqlite3.Connection) -> T:
            raw.execute("BEGIN")
            try:
                return work(session)
            finally:
                raw.execute("COMMIT")

        reading = asyncio.ensure_future(connection.run(in_one_snapshot))  # noqa: TID251 (awaited below, always)
        reading.add_done_callback(lambda _: idle.put_nowait(pair))
        try:
            async with asyncio.timeout(TIME_LIMIT):
                return await asyncio.shield(reading)
        except (TimeoutError, asyncio.CancelledError) as error:
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            await connection.interrupt()
            if isinstance(error, TimeoutError):
                raise UnavailableError("the read took too long and was stopped", retry_after=1) from None
            raise
        except sqlite3.Error as error:
            if is_transient(error):
                raise UnavailableError(f"the database cannot be read: {error}") from error
            raise
