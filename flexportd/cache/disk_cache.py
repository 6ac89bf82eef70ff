"""The disk layer of the cache as the event loop uses it: one thread owns the folder, and the loop never waits for it.

Writes are queued; those that do not fit are dropped. Look-ups go first and time out. Whether an entry is stale is
decided here, on the loop (`TagVersions`), so invalidation needs no disk and takes effect at once. Nothing survives a
restart: a cache that is opened begins empty, because what changed meanwhile is unknown.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexportd.cache.disk_store import CacheEntry, DiskStore, Write
from flexportd.clock import Clock

_MAX_WRITES = 512  # queued
_MAX_WRITE_BYTES = 64 << 20
_BATCH_SIZE = 32  # writes in one transaction
_MAX_LOOKUPS = 256  # look-ups queued
_LOOKUP_TIMEOUT = 1.0  # seconds; reading from the database takes less
_OPEN_TIMEOUT = 10.0  # seconds, then the disk is not used
_CLOSE_TIMEOUT = 5.0  # seconds
_MAX_TAGS = 20_000  # tags remembered individually


@dataclass(frozen=True, slots=True)
class DiskStats:
    """Counts since the start; `entries` and `bytes` as they are now."""

    entries: int
    bytes: int
    hits: int
    misses: int
    dropped: int  # too large, or the queue was full
    errors: int
    reopened: int  # the folder was missing


class TagVersions:
    """Counts invalidations. A response has the epoch in which building it began; it is stale if a tag has a later one.

    Nothing has to be found and deleted. So an invalidation costs the same however much is stored, takes effect at once,
    and covers entries that are still to be written to the disk.
    """

    def __init__(self) -> None:
        self.epoch = 0  # read before building an entry, and passed to `put`
        self._floor = 0  # everything older is stale, whatever its tags
        self._at: dict[str, int] = {}

    def invalidate(self, tags: Iterable[str]) -> None:
        """Make everything with one of these tags stale."""
        self.epoch += 1
        for tag in tags:
            self._at[tag] = self.epoch
        if len(self._at) > _MAX_TAGS:
            # The older half becomes one floor: more is stale than was asked for, never less.
            self._floor = sorted(self._at.values())[len(self._at) // 2]
            self._at = {tag: epoch for tag, epoch in self._at.items() if epoch > self._floor}

    def invalidate_all(self) -> None:
        """Make everything stale."""
        self.epoch += 1
        self._floor = self.epoch
        self._at.clear()

    def is_stale(self, tags: Iterable[str], epoch: int) -> bool:
        """Whether a response of this epoch must not be shown."""
        return epoch < self._floor or any(self._at.get(tag, 0) > epoch for tag in tags)


class DiskCache(TagVersions):
    """Bytes by key, each with tags and a time to live. Before `open` and after `close` it stores and finds nothing."""

    def __init__(self, folder: Path, size_limit: int, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._store = DiskStore(folder, size_limit, now)
        self._largest = size_limit // 4
        self._clock = clock
        self._worker: _Worker | None = None
        self._hits = 0
        self._misses = 0
        self._refused = 0

    async def open(self) -> None:
        """Start with an empty folder."""
        if self._worker is not None:
            return
        worker = _Worker(self._store)
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                await worker.call(self._store.open)
        except TimeoutError:
            worker.end()
        else:
            self._worker = worker

    async def close(self) -> None:
        """Stop; queued writes are dropped."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await worker.end()
            worker.thread.join(timeout=1.0)

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        hit = await self.find(key)
        return None if hit is None else hit[0].value

    async def find(self, key: str) -> tuple[CacheEntry, float] | None:
        """The entry and its remaining seconds, or None."""
        hit: tuple[CacheEntry, float] | None = None
        if self._worker is not None and len(self._worker.lookups) < _MAX_LOOKUPS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOKUP_TIMEOUT):
                    hit = await self._worker.call(lambda: self._store.get(key))
        if hit is not None:
            entry, expires = hit
            left = expires - self._clock.now().timestamp()
            if left > 0 and not self.is_stale(entry.tags, entry.epoch):
                self._hits += 1
                return entry, left
        self._misses += 1
        return None

    def put(self, key: str, value: bytes, ttl: float, tags: tuple[str, ...], epoch: int) -> None:
        """Store a value for `ttl` seconds, unless one of its tags was invalidated since `epoch`. Returns at once."""
        if self._worker is None or ttl <= 0 or self.is_stale(tags, epoch):
            return
        write = Write(key, CacheEntry(epoch, tags, value), ttl)
        if len(value) > self._largest or not self._worker.enqueue(write):
            self._refused += 1

    def stats(self) -> DiskStats:
        """The current counts."""
        store, counts = self._store, (self._hits, self._misses, self._refused)
        return DiskStats(store.entries, store.bytes, *counts, store.errors, store.reopened)


@dataclass(slots=True)
class _Lookup:
    work: Callable[[], Any]
    future: asyncio.Future[Any]


class _Worker:
    """The thread. It is a daemon thread, so that a disk that hangs cannot delay the exit."""

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        self._ready = threading.Condition()
        self.lookups: deque[_Lookup] = deque()
        self._writes: deque[Write] = deque()
        self._bytes = 0
        self._last: _Lookup | None = None
        self.thread = threading.Thread(target=self._run, name="disk-cache", daemon=True)
        self.thread.start()

    async def call(self, work: Callable[[], Any]) -> Any:
        """The result of `work`, which runs before any queued write."""
        lookup = _Lookup(work, asyncio.get_running_loop().create_future())
        with self._ready:
            self.lookups.append(lookup)
            self._ready.notify()
        return await lookup.future

    def enqueue(self, write: Write) -> bool:
        size = len(write.entry.value)
        with self._ready:
            full = self._bytes + size > _MAX_WRITE_BYTES and self._writes
            if len(self._writes) >= _MAX_WRITES or full:
                return False
            self._writes.append(write)
            self._bytes += size
            self._ready.notify()
        return True

    def end(self) -> asyncio.Future[Any]:
        """End the thread after its current I/O; done when the folder is released."""
        lookup = _Lookup(self._store.release, asyncio.get_running_loop().create_future())
        with self._ready:
            self._writes.clear()
            self._last = lookup
            self._ready.notify()
        return lookup.future

    def _run(self) -> None:
        while (work := self._next()) is not None:
            if isinstance(work, _Lookup):
                _execute(work)
            else:
                self._store.put(work)
        if self._last is not None:
            _execute(self._last)
        self._store.release()

    def _next(self) -> _Lookup | list[Write] | None:
        """The next look-up or batch of writes; None at the end."""
        with self._ready:
            while not (self.lookups or self._writes or self._last):
                self._ready.wait()
            if self.lookups:
                return self.lookups.popleft()
            writes = [self._writes.popleft() for _ in range(min(_BATCH_SIZE, len(self._writes)))]
            self._bytes -= sum(len(write.entry.value) for write in writes)
            return writes or None


def _execute(lookup: _Lookup) -> None:
    future = lookup.future
    if future.done():  # timed out
        return
    result = lookup.work()
    with contextlib.suppress(RuntimeError):  # a closed loop does not wait for the result
        future.get_loop().call_soon_threadsafe(_set_result, future, result)


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
