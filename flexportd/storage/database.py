"""The store as a whole: folder, migrations, one writer, a few readers."""

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.errors import InUseError, StorageError
from flexportd.storage.migrate import migrate
from flexportd.storage.readers import Readers
from flexportd.storage.transaction import Transaction
from flexportd.storage.writer import Writer

log = structlog.get_logger(__name__)

T = TypeVar("T")

_WAL_INTERVAL = 0.25  # seconds between looks at the WAL
_PROBE_INTERVAL = 1.0  # seconds between tries to write after a failure
_STALL_TIMEOUT = 10.0  # seconds that an acknowledgement waits for the disk
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_MARKER = 1 << 20  # bytes that are read; a batch of 512 items takes some 12 KiB

_entries = msgspec.json.Decoder(list[tuple[int, int]])


class DataDir:
    """Holds the lock on a data folder until `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "flexportd.db"
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the folder (0700) and its database file (0600) and lock it.

        Raises InUseError when another daemon has it, StorageError when it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "flexportd.lock", _CREATE_FLAGS, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(lock)
                raise InUseError(f"{self.path} is in use by another flexportd (process {holder})") from None
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            self._lock = lock
            os.close(os.open(self.database, _CREATE_FLAGS, 0o600))
        except OSError as error:
            self.release()
            is_link = error.errno == errno.ELOOP
            reason = "a file in it is a symbolic link, which is not followed" if is_link else error.strerror or error
            raise StorageError(f"[storage] data_dir {self.path} cannot be used: {reason}") from error

    def release(self) -> None:
        """Let go of the lock; safe twice."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None


class BatchMarker:
    """Which items are being applied, in the file `applying` of a data folder, which outlives the process.

    Applied items have no lease: a crash undoes their transaction. So this file is the only trace of what was in work
    when the process ended. It is written without fsync, which costs microseconds a batch: the page cache survives the
    process, and what ends with the machine is not the fault of an item. Only the thread that writes the database may
    call `put`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read_previous(self) -> list[tuple[int, int]]:
        """(id, attempts) of the items that were in work when the last process ended."""
        with contextlib.suppress(OSError, ValueError):
            with self._path.open("rb") as file:
                line = file.read(_MAX_MARKER).partition(b"\n")[0]
            return _entries.decode(line) if line else []
        return []

    def put(self, items: Sequence[tuple[int, int]]) -> None:
        """Note that these, as (id, attempts), are in work; they replace those from before."""
        self._write(msgspec.json.encode(items) + b"\n")

    def close(self) -> None:
        """Nothing is in work any more: the process ends in order."""
        self._write(b"\n")
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, line: bytes) -> None:
        # A disk that is full or fails is reported where the database is written. Without the file, an item that ends
        # the process is not recognized; everything else works.
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, _CREATE_FLAGS, 0o600)
            os.pwrite(self._descriptor, line, 0)


class Database:
    """What the other parts read and write through."""

    def __init__(self, folder: DataDir, writer: Writer, readers: Readers) -> None:
        self.data_dir = folder
        self.marker = BatchMarker(folder.path / "applying")
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
