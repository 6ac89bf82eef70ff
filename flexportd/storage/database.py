"""The store as a whole: folder, migrations, one writer, a few readers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from flexportd.clock import Clock
from flexportd.storage.batch_marker import BatchMarker
from flexportd.storage.data_dir import DataDir
from flexportd.storage.migrate import migrate
from flexportd.storage.readers import Readers
from flexportd.storage.transaction import Transaction
from flexportd.storage.writer import Writer

log = structlog.get_logger(__name__)

T = TypeVar("T")

_WAL_INTERVAL = 0.25  # seconds between looks at the WAL
_PROBE_INTERVAL = 1.0  # seconds between tries to write after a failure
_STALL_TIMEOUT = 10.0  # seconds that an acknowledgement waits for the disk


class Database:
    """What the other parts read and write through."""

    def __init__(self, folder: DataDir, writer: Writer, readers: Readers) -> None:
        self.data_dir = folder
        self.marker = BatchMarker(folder.marker)
        self.writer = writer
        self._readers = readers
        self.stalled = False

    @classmethod
    @asynccontextmanager
    async def open(cls, data_dir: Path) -> AsyncIterator["Database"]:
        """Lock the folder, migrate, connect; all undone in reverse at the end."""
        folder = DataDir(data_dir)
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(folder.lock)
            stack.callback(folder.release)
            await asyncio.to_thread(migrate, folder.database)
            writer, readers = Writer(folder.database), Readers(folder.database)
            database = cls(folder, writer, readers)
            stack.callback(database.marker.close)  # after the writer, which uses it
            await writer.open()
            stack.push_async_callback(writer.close)
            stack.push_async_callback(readers.close)  # before the writer: only the writer may fold the WAL
            await readers.open()
            yield database

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` reads in one snapshot, on a connection that cannot write."""
        return await self._readers.run(work)

    def write(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run one unit of work in a transaction; done when it is on disk."""
        return self.writer.run(work)

    async def maintain(self, clock: Clock) -> None:
        """Keep the WAL small in quiet moments, and find out when a disk that failed works again."""
        while True:
            await clock.sleep(_PROBE_INTERVAL if self.writer.fault else _WAL_INTERVAL)
            late = self.writer.fail_after(_STALL_TIMEOUT)
            if late and not self.stalled:
                log.error("storage_stalled", pending_commits=late, seconds=_STALL_TIMEOUT)
            self.stalled = late > 0
            if self.writer.fault:
                await self.writer.probe(clock.stamp())
            elif not self.stalled and self.writer.idle(_WAL_INTERVAL):
                await self.writer.checkpoint_if_idle()
