"""The store as a whole: folder, migrations, one writer, a few readers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from flexportd.clock import Clock
from flexportd.storage.batch_marker import BatchMarker
from flexportd.storage.data_dir import Folder
from flexportd.storage.migrate import migrate
from flexportd.storage.readers import Readers
from flexportd.storage.transaction import Session
from flexportd.storage.writer import Writer

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PAUSE = 0.25  # seconds between looks at the WAL
_PROBE = 1.0  # seconds between tries to write after a failure
_HUNG = 10.0  # seconds that an acknowledgement waits for the disk


class Database:
    """What the other parts read and write through."""

    def __init__(self, folder: Folder, writer: Writer, readers: Readers) -> None:
        self.folder = folder
        self.marker = BatchMarker(folder.marker)
        self.writer = writer
        self._readers = readers
        self.hung = False

    @classmethod
    @asynccontextmanager
    async def open(cls, data_dir: Path) -> AsyncIterator["Database"]:
        """Lock the folder, migrate, connect; all undone in reverse at the end."""
        folder = Folder(data_dir)
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(folder.take)
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

    async def read(self, work: Callable[[Session], T]) -> T:
        """What `work` reads in one snapshot, on a connection that cannot write."""
        return await self._readers.run(work)

    def write(self, work: Callable[[Session], T]) -> Awaitable[T]:
        """Run one unit of work in a transaction; done when it is on disk."""
        return self.writer.run(work)

    async def tend(self, clock: Clock) -> None:
        """Keep the WAL small in quiet moments, and find out when a disk that failed works again."""
        while True:
            await clock.sleep(_PROBE if self.writer.fault else _PAUSE)
            late = self.writer.give_up_after(_HUNG)
            if late and not self.hung:
                log.error("storage_stalled", pending_commits=late, seconds=_HUNG)
            self.hung = late > 0
            if self.writer.fault:
                await self.writer.prove(clock.stamp())
            elif not self.hung and self.writer.idle(_PAUSE):
                await self.writer.checkpoint_if_idle()
