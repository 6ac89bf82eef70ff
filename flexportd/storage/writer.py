"""The one writer: groups concurrent units of work into one transaction, acknowledgements before everything else.

Two lanes. Urgent units (acknowledging a webhook) that arrive while a commit runs share the next one: group commit by
back-pressure, with no added delay. Other units wait until no urgent one does. The thread takes the next group by
itself, so a busy event loop does not hold up the disk.
"""

import asyncio
import os
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from flexportd.errors import UnavailableError
from flexportd.storage.connection import Connection, is_transient, open_writer
from flexportd.storage.transaction import Transaction

P = TypeVar("P")
R = TypeVar("R")

MAX_GROUP = 512  # urgent units in one transaction
CHECKPOINT_BYTES = 256 << 20  # the WAL's bound while writes never pause
_QUIET = 0.005  # seconds without an acknowledgement after which other work may begin; a burst pauses for less
_MIN_CHECKPOINT = 1 << 20
_PROBE_SIZE = 64 << 10
_FRAME_HEADER = 24  # bytes before each page of the WAL

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why writing fails, until `Writer.probe` succeeds; `count` failed groups so far."""

    reason: str
    count: int


@dataclass(slots=True)
class _Write:
    batch: "GroupCommit[Any, Any] | None"
    payload: Any
    future: asyncio.Future[Any]
    at: float = 0.0


class GroupCommit(Generic[P, R]):
    """A kind of urgent work: all payloads that wait are handed to `work` in one call, in order of arrival."""

    def __init__(self, writer: "Writer", work: Callable[[Transaction, Sequence[P]], Sequence[R]]) -> None:
        self._writer = writer
        self.work = work

    def __call__(self, payload: P) -> asyncio.Future[R]:
        """Committed when the future is done. Raises UnavailableError when the disk refuses."""
        return self._writer._submit(_Write(self, payload, self._writer._future()), urgent=True)  # noqa: SLF001


class Writer:
    """Owns the writing connection. A failed group never ends it: the next one tries again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = Wal(path)
        self._urgent: deque[_Write] = deque()
        self._normal: deque[_Write] = deque()
        self._taken: list[_Write] = []
        self._lock = threading.Lock()
        self._draining = False
        self._kicked = False
        self._last_urgent = 0.0
        self._last_work = 0.0
        self._checkpoint_at = CHECKPOINT_BYTES
        self._checkpointed_groups = 0  # `groups` when the WAL was last folded in a quiet moment
        self._checkpointing = False
        self.fault: Fault | None = None
        self.wal_used = 0  # bytes of the WAL that held something after the last group
        self.groups = 0
        self.units = 0

    async def open(self) -> None:
        """Connect. The file must exist and be migrated."""
        self._loop = asyncio.get_running_loop()
        self._connection = await Connection.open(lambda: open_writer(self._path))
        self._session = await self._connection.run(Transaction)

    async def close(self) -> None:
        """Finish what was submitted, fold the WAL into the database, and close."""
        await self._connection.run(lambda _: self._drain())
        await self._connection.run(lambda raw: _checkpoint(raw, "TRUNCATE"))
        await self._connection.close()
        self._wal.close()

    def batched(self, work: Callable[[Transaction, Sequence[P]], Sequence[R]]) -> GroupCommit[P, R]:
        """A callable that takes one payload and is done when a group with it is committed."""
        return GroupCommit(self, work)

    def run(self, work: Callable[[Transaction], R]) -> Awaitable[R]:
        """Run one unit of work in a transaction; done when it is committed, undone whole when it raises."""
        return self._submit(_Write(None, work, self._future()), urgent=False)

    def urgent_waiting(self) -> bool:
        """Whether acknowledgements wait: long work should end early. Cheap, from any thread."""
        return bool(self._urgent)

    def quiet(self, seconds: float) -> bool:
        """Whether no acknowledgement was submitted within the last `seconds`."""
        return not self._urgent and self._loop.time() - self._last_urgent >= seconds

    async def wait_for_quiet(self, patience: float) -> bool:
        """Wait, at most `patience` seconds, until no acknowledgement waits; whether none does."""
        deadline = self._loop.time() + patience
        while not self.quiet(_QUIET) and self._loop.time() < deadline:  # noqa: ASYNC110 (silence sets no event)
            await asyncio.sleep(_QUIET)
        return self.quiet(_QUIET)

    def idle(self, seconds: float) -> bool:
        """Whether no write at all was submitted within the last `seconds`."""
        return self.quiet(seconds) and not self._normal and self._loop.time() - self._last_work >= seconds

    def fail_after(self, seconds: float) -> int:
        """Fail acknowledgements that have waited longer on a disk that hangs; how many.

        Their data may still be stored: when it is sent again, it is recognised as a duplicate.
        """
        late = [unit for unit in (*self._taken, *self._urgent) if unit.at and self._loop.time() - unit.at > seconds]
        late = [unit for unit in late if not unit.future.done()]
        for unit in late:
            unit.future.set_exception(UnavailableError(f"the disk has not answered for {seconds:g} s"))
        return len(late)

    async def probe(self, at: str) -> None:
        """Try to write as much as a few events take; only that ends a fault.

        A nearly full disk still takes small writes: judged by those, it would fail and recover all day.
        """
        before = self.fault
        [failed] = await asyncio.gather(
            self.run(lambda tx: tx.meta.put("probed_at", at.ljust(_PROBE_SIZE))), return_exceptions=True
        )
        if failed is None and before is not None and self.fault is before:  # nothing else failed meanwhile
            log.info("storage_recovered", failed_transactions=before.count, reason=before.reason)
            self.fault = None

    def wal_bytes(self) -> int:
        """The size of the WAL file."""
        return self._wal.size()

    async def checkpoint_if_idle(self) -> None:
        """Fold the WAL into the database in a quiet moment, when there is enough to be worth it."""
        if self.groups == self._checkpointed_groups:
            return

        def work(raw: sqlite3.Connection) -> None:
            if not self._urgent and not self._normal and self._wal.used_bytes() >= _MIN_CHECKPOINT:
                folded = self.groups
                with self._lock:
                    self._checkpointing = True
                try:
                    self._bound_wal(raw, forced=True)
                finally:
                    with self._lock:
                        self._checkpointing = False
                if not self._urgent:
                    self._checkpointed_groups = folded
                    raw.execute("PRAGMA shrink_memory")  # the page cache, which a burst of webhooks filled

        await self._connection.run(work)

    def _future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def _submit(self, unit: _Write, *, urgent: bool) -> asyncio.Future[Any]:
        if urgent:
            unit.at = self._last_urgent = self._loop.time()
            self._urgent.append(unit)
            if self._checkpointing:
                self._interrupt_checkpoint()
        else:
            self._normal.append(unit)
            self._last_work = self._loop.time()
        if not self._kicked:
            # After this turn of the loop, so that all requests read in one turn share a group. Whether the thread is
            # at work already is checked under the lock: it may be about to find nothing and stop.
            self._kicked = True
            self._loop.call_soon(self._kick)
        return unit.future

    def _interrupt_checkpoint(self) -> None:
        """A quiet moment has ended: folding a long WAL would keep the acknowledgement waiting."""
        with self._lock:
            # Under the lock, so that no other statement can be meant; SQLite forgets it when the next one begins.
            if self._checkpointing:
                self._session.raw.interrupt()
                # Lost, if the statement had not begun yet: again, until the writer is free.
                self._loop.call_later(0.005, self._interrupt_checkpoint)

    def _kick(self) -> None:
        self._kicked = False
        with self._lock:
            if self._draining or not (self._urgent or self._normal):
                return
            self._draining = True
        self._connection.post(self._drain)

    @staticmethod
    def _resolve(done: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
        for future, result, error in done:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _drain(self) -> None:
        while True:
            group = _pop(self._urgent, MAX_GROUP) or _pop(self._normal, 1)
            if not group:
                with self._lock:
                    if not (self._urgent or self._normal):
                        self._draining = False
                        return
                continue
            self._taken = group
            done = self._commit(group)
            self._taken = []
            self._loop.call_soon_threadsafe(self._resolve, done)
            self._bound_wal(self._session.raw)

    def _commit(self, group: list[_Write]) -> list[tuple[asyncio.Future[Any], Any, BaseException | None]]:
        raw = self._session.raw
        try:
            raw.execute("BEGIN IMMEDIATE")
            results = self._work(group)
            raw.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 (the caller gets it; the writer must live on)
            _roll_back(raw)
            self._session.reset()
            if is_transient(error):
                self._record_failure(error)
                refusal = UnavailableError(f"the database cannot be written: {error}")
                return [(unit.future, None, refusal) for unit in group]
            if len(group) > 1:
                # One payload is at fault: find it without taking the others down.
                return [row for unit in group for row in self._commit([unit])]
            # What is no Exception, such as a panic in an extension, would end the task that waits for the future.
            raised = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
            return [(group[0].future, None, raised)]
        self.groups += 1
        self.units += len(group)
        return [(unit.future, result, None) for unit, result in zip(group, results, strict=True)]

    def _record_failure(self, error: BaseException) -> None:
        if self.fault is None:  # only the first failure is logged, not each one until the disk works again
            log.error("storage_failed", reason=str(error))
        self.fault = Fault(str(error), self.fault.count + 1 if self.fault else 1)

    def _work(self, group: list[_Write]) -> list[Any]:
        batch = group[0].batch
        if batch is None:
            return [group[0].payload(self._session)]
        if all(unit.batch is batch for unit in group):
            return list(batch.work(self._session, [unit.payload for unit in group]))
        return [unit.batch.work(self._session, [unit.payload])[0] for unit in group if unit.batch]

    def _bound_wal(self, raw: sqlite3.Connection, *, forced: bool = False) -> None:
        self.wal_used = size = self._wal.used_bytes()
        if not forced and size < self._checkpoint_at:
            return
        try:
            left = _checkpoint(raw, "PASSIVE")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                self._record_failure(error)
            left = True
        # With a reader in the way the WAL cannot restart: ask again only after it has grown by half as much again.
        self._checkpoint_at = max(CHECKPOINT_BYTES, size + CHECKPOINT_BYTES // 2) if left else CHECKPOINT_BYTES


class Wal:
    """How large the write-ahead log of a database is, and how much of it holds something.

    It looks at the files; from the writer's thread, or where a stat does not matter.
    """

    def __init__(self, database: Path) -> None:
        self._file = Path(f"{database}-wal")
        self._index = Path(f"{database}-shm")
        self._handle: int | None = None

    def close(self) -> None:
        """To be called after the last connection of this process is closed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def size(self) -> int:
        """The size of the file in bytes; it is not made smaller while there is work."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def used_bytes(self) -> int:
        """The bytes that hold something.

        Read from the WAL-index: mxFrame, four bytes at 16, and the page size, two at 14, in the machine's byte order
        (https://www.sqlite.org/walformat.html#walidxfmt).
        """
        head = self._head()
        if len(head) < 20:
            return self.size()
        page, frames = int.from_bytes(head[14:16], sys.byteorder), int.from_bytes(head[16:20], sys.byteorder)
        return frames * ((65536 if page == 1 else page) + _FRAME_HEADER)

    def _head(self) -> bytes:
        # Opened once, and closed after SQLite: a process that closes any handle of a file loses all its locks on it,
        # those of SQLite's too, and another program that opens the database would restart the WAL-index under us
        # (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
        try:
            if self._handle is None:
                self._handle = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._handle, 20, 0)
        except OSError:
            return b""


def _pop(units: deque[_Write], most: int) -> list[_Write]:
    taken: list[_Write] = []
    while units and len(taken) < most:
        taken.append(units.popleft())
    return taken


def _checkpoint(raw: sqlite3.Connection, mode: str) -> bool:
    busy, frames, folded = raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(busy) or frames != folded


def _roll_back(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        try:
            raw.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has rolled back by itself after a full disk or an I/O error.
            return
