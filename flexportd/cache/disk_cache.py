"""The disk layer as the event loop sees it: one thread owns the folder, and nothing here ever waits for the disk.

Writes are handed over and forgotten; more than fit are not kept. Look-ups go first and are given up after a moment.
Whether an entry may be shown is decided here, on the loop, by what has been dropped since (`drops.Drops`): so a drop
needs no disk and cannot come too late.
"""

import asyncio
import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexportd.cache.disk_store import DiskStore, Write
from flexportd.cache.entries import CacheEntry
from flexportd.cache.invalidation import TagVersions
from flexportd.clock import Clock

_MAX_WRITES = 512  # waiting at once
_MAX_WRITE_BYTES = 64 << 20
_BATCH_SIZE = 32  # writes in one transaction
_MAX_LOOKUPS = 256  # look-ups waiting at once
_LOOKUP_TIMEOUT = 1.0  # seconds for a look-up: reading from the store takes less
_OPEN_TIMEOUT = 10.0  # seconds, then it goes without
_CLOSE_TIMEOUT = 5.0  # seconds for what waits to be written, and the seal


@dataclass(frozen=True, slots=True)
class DiskStats:
    """Counts since the start; `entries` and `bytes` as they are now."""

    entries: int
    bytes: int
    hits: int
    misses: int
    dropped: int  # too large, or no room in the queue
    errors: int
    reopened: int  # the folder was gone


class DiskCache:
    """Bytes by key, each with tags and a time to live. Before `open` and after `close` it keeps and finds nothing.

    `edition` says what the entries are made by and from (version, settings that show): those of another are not used.
    """

    def __init__(
        self,
        folder: Path,
        size_limit: int,
        edition: str = "",
        clock: Clock | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = DiskStore(folder, size_limit, edition, now)
        self._largest = size_limit // 4
        self._clock = clock or Clock()
        self._versions = TagVersions()
        self._worker: _Worker | None = None
        self._hits = 0
        self._misses = 0
        self._refused = 0

    @property
    def epoch(self) -> int:
        """To be taken before reading what an entry is built from, and handed to `put`."""
        return self._versions.epoch

    async def open(self, seal: str | None) -> None:
        """Start. What is on disk is kept only if `seal` is what `close` gave last; otherwise all of it is dropped.

        The caller must have forgotten the seal, durably, before: after a crash nobody knows what was dropped.
        """
        if self._worker is not None:
            return
        worker = _Worker(self._store)
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                state = await worker.call(lambda: self._store.open(seal))
        except TimeoutError:
            worker.abandon()
            return
        if state is not None:
            self._versions.restore(*state)
        self._worker = worker

    async def close(self) -> str | None:
        """Write what waits, and stop. A fresh seal to remember, or None when nothing can be used again.

        The seal covers what was dropped until now: what changes later must not be sealed.
        """
        worker, self._worker = self._worker, None
        if worker is None:
            return None
        seal, state = secrets.token_hex(16), self._versions.state()
        self._versions = TagVersions()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                kept: bool = await worker.end(lambda: self._store.close(seal, state))
        except TimeoutError:
            return None
        return seal if kept else None

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        found = await self.find(key)
        return None if found is None else found[0].value

    async def find(self, key: str) -> tuple[CacheEntry, float] | None:
        """The entry with the seconds that are left to it, or None."""
        found: tuple[CacheEntry, float] | None = None
        if self._worker is not None and self._worker.pending < _MAX_LOOKUPS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOKUP_TIMEOUT):
                    found = await self._worker.call(lambda: self._store.get(key))
        if found is not None:
            entry, expires = found
            left = expires - self._clock.now().timestamp()
            if left > 0 and not self._versions.is_stale(entry.tags, entry.epoch):
                self._hits += 1
                return entry, left
        self._misses += 1
        return None

    def put(self, key: str, value: bytes, ttl: float, tags: tuple[str, ...], epoch: int) -> None:
        """Keep a value for `ttl` seconds, unless what it shows changed since `epoch`. Returns at once."""
        if self._worker is None or ttl <= 0 or self._versions.is_stale(tags, epoch):
            return
        write = Write(key, CacheEntry(epoch, tags, value), ttl)
        if len(value) > self._largest or not self._worker.enqueue(write):
            self._refused += 1

    def invalidate(self, tags: Iterable[str]) -> None:
        """Show nothing any more that was built before now and has one of these tags."""
        self._versions.invalidate(tags)

    def invalidate_all(self) -> None:
        """Show nothing any more that was built before now."""
        self._versions.invalidate_all()

    async def clear(self) -> None:
        """Show nothing any more that was built before now, and delete it."""
        self.invalidate_all()
        if self._worker is not None:
            self._worker.drop_writes()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._worker.call(self._store.clear)

    def stats(self) -> DiskStats:
        """How it does."""
        shelf = self._store
        return DiskStats(
            entries=shelf.entries,
            bytes=shelf.bytes,
            hits=self._hits,
            misses=self._misses,
            dropped=self._refused,
            errors=shelf.errors,
            reopened=shelf.reopened,
        )


@dataclass(slots=True)
class _Lookup:
    work: Callable[[], Any]
    future: asyncio.Future[Any]


class _Worker:
    """The thread. A daemon, so that a disk that hangs cannot hold up the exit."""

    def __init__(self, shelf: DiskStore) -> None:
        self._store = shelf
        self._ready = threading.Condition()
        self._questions: deque[_Lookup] = deque()
        self._writes: deque[Write] = deque()
        self._bytes = 0
        self._last: _Lookup | None = None
        self._thread = threading.Thread(target=self._run, name="disk-cache", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        return len(self._questions)

    async def call(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, before any write that waits."""
        question = _Lookup(work, asyncio.get_running_loop().create_future())
        with self._ready:
            self._questions.append(question)
            self._ready.notify()
        return await question.future

    def enqueue(self, write: Write) -> bool:
        """Write it some time; False when too much waits already."""
        size = len(write.entry.value)
        with self._ready:
            full = self._bytes + size > _MAX_WRITE_BYTES and self._writes
            if len(self._writes) >= _MAX_WRITES or full:
                return False
            self._writes.append(write)
            self._bytes += size
            self._ready.notify()
        return True

    def drop_writes(self) -> None:
        with self._ready:
            self._writes.clear()
            self._bytes = 0

    async def end(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, after everything else; the thread ends with it."""
        question = _Lookup(work, asyncio.get_running_loop().create_future())
        with self._ready:
            self._last = question
            self._ready.notify()
        try:
            answer = await question.future
        except asyncio.CancelledError:
            self.drop_writes()
            raise
        self._thread.join(timeout=1.0)
        return answer

    def abandon(self) -> None:
        """End when the disk lets go, without another word."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.cancel()
        with self._ready:
            self._last = _Lookup(self._store.release, future)
            self._ready.notify()

    def _run(self) -> None:
        while (found := self._next()) is not None:
            if isinstance(found, _Lookup):
                _execute(found)
            else:
                self._store.put(found)
        if self._last is not None:
            _execute(self._last)
        self._store.release()

    def _next(self) -> _Lookup | list[Write] | None:
        """The next thing to do; None when the last has come."""
        with self._ready:
            while not (self._questions or self._writes or self._last):
                self._ready.wait()
            if self._questions:
                return self._questions.popleft()
            writes = [self._writes.popleft() for _ in range(min(_BATCH_SIZE, len(self._writes)))]
            self._bytes -= sum(len(write.entry.value) for write in writes)
            return writes or None


def _execute(question: _Lookup) -> None:
    if question.future.done():  # given up
        return
    result = question.work()
    # A loop that is closed waits for nothing any more.
    with contextlib.suppress(RuntimeError):
        question.future.get_loop().call_soon_threadsafe(_set_result, question.future, result)


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
