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

from flexportd.cache.disk_store import Shelf, Write
from flexportd.cache.entries import Entry
from flexportd.cache.invalidation import Drops
from flexportd.clock import Clock

_WRITES = 512  # waiting at once
_WRITE_BYTES = 64 << 20
_TOGETHER = 32  # writes in one transaction
_ASKED = 256  # look-ups waiting at once
_PATIENCE = 1.0  # seconds for a look-up: reading from the store takes less
_OPENING = 10.0  # seconds, then it goes without
_CLOSING = 5.0  # seconds for what waits to be written, and the seal


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
        self._shelf = Shelf(folder, size_limit, edition, now)
        self._largest = size_limit // 4
        self._clock = clock or Clock()
        self._drops = Drops()
        self._worker: _Worker | None = None
        self._hits = 0
        self._misses = 0
        self._refused = 0

    @property
    def epoch(self) -> int:
        """To be taken before reading what an entry is built from, and handed to `put`."""
        return self._drops.epoch

    async def open(self, seal: str | None) -> None:
        """Start. What is on disk is kept only if `seal` is what `close` gave last; otherwise all of it is dropped.

        The caller must have forgotten the seal, durably, before: after a crash nobody knows what was dropped.
        """
        if self._worker is not None:
            return
        worker = _Worker(self._shelf)
        try:
            async with asyncio.timeout(_OPENING):
                state = await worker.ask(lambda: self._shelf.open(seal))
        except TimeoutError:
            worker.give_up()
            return
        if state is not None:
            self._drops.restore(*state)
        self._worker = worker

    async def close(self) -> str | None:
        """Write what waits, and stop. A fresh seal to remember, or None when nothing can be used again.

        The seal covers what was dropped until now: what changes later must not be sealed.
        """
        worker, self._worker = self._worker, None
        if worker is None:
            return None
        seal, state = secrets.token_hex(16), self._drops.state()
        self._drops = Drops()
        try:
            async with asyncio.timeout(_CLOSING):
                kept: bool = await worker.end(lambda: self._shelf.close(seal, state))
        except TimeoutError:
            return None
        return seal if kept else None

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        found = await self.find(key)
        return None if found is None else found[0].value

    async def find(self, key: str) -> tuple[Entry, float] | None:
        """The entry with the seconds that are left to it, or None."""
        found: tuple[Entry, float] | None = None
        if self._worker is not None and self._worker.asked < _ASKED:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    found = await self._worker.ask(lambda: self._shelf.get(key))
        if found is not None:
            entry, expires = found
            left = expires - self._clock.now().timestamp()
            if left > 0 and not self._drops.is_stale(entry.tags, entry.epoch):
                self._hits += 1
                return entry, left
        self._misses += 1
        return None

    def put(self, key: str, value: bytes, ttl: float, tags: tuple[str, ...], epoch: int) -> None:
        """Keep a value for `ttl` seconds, unless what it shows changed since `epoch`. Returns at once."""
        if self._worker is None or ttl <= 0 or self._drops.is_stale(tags, epoch):
            return
        write = Write(key, Entry(epoch, tags, value), ttl)
        if len(value) > self._largest or not self._worker.take(write):
            self._refused += 1

    def drop(self, tags: Iterable[str]) -> None:
        """Show nothing any more that was built before now and has one of these tags."""
        self._drops.drop(tags)

    def drop_all(self) -> None:
        """Show nothing any more that was built before now."""
        self._drops.drop_all()

    async def clear(self) -> None:
        """Show nothing any more that was built before now, and delete it."""
        self.drop_all()
        if self._worker is not None:
            self._worker.forget_writes()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self._worker.ask(self._shelf.clear)

    def stats(self) -> DiskStats:
        """How it does."""
        shelf = self._shelf
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
class _Question:
    work: Callable[[], Any]
    future: asyncio.Future[Any]


class _Worker:
    """The thread. A daemon, so that a disk that hangs cannot hold up the exit."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._ready = threading.Condition()
        self._questions: deque[_Question] = deque()
        self._writes: deque[Write] = deque()
        self._bytes = 0
        self._last: _Question | None = None
        self._thread = threading.Thread(target=self._run, name="disk-cache", daemon=True)
        self._thread.start()

    @property
    def asked(self) -> int:
        return len(self._questions)

    async def ask(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, before any write that waits."""
        question = _Question(work, asyncio.get_running_loop().create_future())
        with self._ready:
            self._questions.append(question)
            self._ready.notify()
        return await question.future

    def take(self, write: Write) -> bool:
        """Write it some time; False when too much waits already."""
        size = len(write.entry.value)
        with self._ready:
            full = self._bytes + size > _WRITE_BYTES and self._writes
            if len(self._writes) >= _WRITES or full:
                return False
            self._writes.append(write)
            self._bytes += size
            self._ready.notify()
        return True

    def forget_writes(self) -> None:
        with self._ready:
            self._writes.clear()
            self._bytes = 0

    async def end(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, after everything else; the thread ends with it."""
        question = _Question(work, asyncio.get_running_loop().create_future())
        with self._ready:
            self._last = question
            self._ready.notify()
        try:
            answer = await question.future
        except asyncio.CancelledError:
            self.forget_writes()
            raise
        self._thread.join(timeout=1.0)
        return answer

    def give_up(self) -> None:
        """End when the disk lets go, without another word."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.cancel()
        with self._ready:
            self._last = _Question(self._shelf.leave, future)
            self._ready.notify()

    def _run(self) -> None:
        while (found := self._next()) is not None:
            if isinstance(found, _Question):
                _answer(found)
            else:
                self._shelf.put(found)
        if self._last is not None:
            _answer(self._last)
        self._shelf.leave()

    def _next(self) -> _Question | list[Write] | None:
        """The next thing to do; None when the last has come."""
        with self._ready:
            while not (self._questions or self._writes or self._last):
                self._ready.wait()
            if self._questions:
                return self._questions.popleft()
            writes = [self._writes.popleft() for _ in range(min(_TOGETHER, len(self._writes)))]
            self._bytes -= sum(len(write.entry.value) for write in writes)
            return writes or None


def _answer(question: _Question) -> None:
    if question.future.done():  # given up
        return
    result = question.work()
    # A loop that is closed waits for nothing any more.
    with contextlib.suppress(RuntimeError):
        question.future.get_loop().call_soon_threadsafe(_settle, question.future, result)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
