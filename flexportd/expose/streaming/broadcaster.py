"""The broadcaster: one reader of the change log for all streams, which keeps the newest messages in a buffer.

A subscriber whose position is before the buffer is served from the database, page by page, until it has caught up: so
nothing depends on the size of the buffer, and no message is left out.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter

import structlog
from aiohttp import web

from flexportd.core.changes.stream_messages import (
    EncodedMessage,
    MessageBatch,
    StreamPosition,
    is_foreign,
    newest_position,
    read_messages,
)
from flexportd.core.resources.registry import Registry
from flexportd.errors import RefusedError, UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

HEARTBEAT_INTERVAL = 15.0  # seconds between heartbeats to a subscriber that gets no message
MAX_SUBSCRIBERS = 5000
MAX_PER_KEY = 1000  # so that one client that forgets to close leaves room for others
MAX_BUFFERED, MAX_BUFFERED_BYTES = 4096, 8 << 20  # messages and their bytes
_BATCH = 256  # messages of one batch
_SLOTS = 15  # heartbeats are spread over so many turns: never to all subscribers at once
_RETRY_AFTER = 5  # seconds after which a refused client may try again

MessageFilter = Callable[[Collection[str], Collection[int | None]], bool]
"""(topics, shipments) of some messages -> whether any of them may be for a subscriber."""

_position = attrgetter("position")


class Subscriber:
    """One stream. `filter`: which messages it may want; `is_reset`: its client's position is of another history."""

    __slots__ = (
        "_broadcaster", "_waker", "_woken", "abort", "filter", "heartbeat_due", "is_reset", "key_id", "position",
        "slot", "stopped",
    )  # fmt: skip

    def __init__(self, broadcaster: "Broadcaster", key_id: str | None, slot: int) -> None:
        self._broadcaster = broadcaster
        self._waker: asyncio.Future[None] | None = None
        self._woken = False
        self.key_id = key_id
        self.position = StreamPosition(0)
        self.slot = slot
        self.filter: MessageFilter = lambda _topics, _shipments: True
        self.abort: Callable[[], None] = lambda: None
        self.heartbeat_due = False
        self.is_reset = False
        self.stopped = False

    async def next_batch(self) -> MessageBatch:
        """The next messages; moves the position past them."""
        batch = await self._broadcaster.read_after(self.position)
        self.position = batch.position
        return batch

    async def wait(self) -> None:
        """Wait until there may be more messages, a heartbeat is due, or the stream has to end."""
        if not self._woken:
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None
        self._woken = False

    def skip_to(self, until: StreamPosition) -> bool:
        """Move the position instead of waking it; False if it does not wait, and so has not read all messages yet."""
        if self._woken or self._waker is None:
            return False
        self.position = max(self.position, until)
        return True

    def wake(self) -> None:
        """End its `wait`."""
        self._woken = True
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def stop(self) -> None:
        """End the stream after the message that is being written."""
        self.stopped = True
        self.wake()

    def disconnect(self) -> None:
        """End the stream now; one that waits for a slow reader is cut."""
        if self._waker is None:
            self.abort()
        self.stop()


class Broadcaster:
    """Follows the change log while there are subscribers: after each `wake`, and every `heartbeat / 15` seconds."""

    def __init__(self, db: Database, registry: Registry, heartbeat: float = HEARTBEAT_INTERVAL) -> None:
        self._db = db
        self._registry = registry
        self._heartbeat_pause = heartbeat / _SLOTS
        self._subscribers: set[Subscriber] = set()
        self._has_subscribers = asyncio.Event()
        self._committed = asyncio.Event()
        self._catching_up = asyncio.Semaphore(1)  # subscribers that are behind take at most one reader of the database
        self._buffer: list[EncodedMessage] = []
        self._bytes = 0
        self._since = self._until = StreamPosition(0)  # the buffer holds the messages after the one, up to the other
        self._slot = self._subscribed = 0
        self._closed = False
        self.sent = 0
        self.dropped = 0  # subscribers that were too slow
        self.error: str | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    def wake(self) -> None:
        """Something was committed."""
        self._committed.set()

    async def subscribe(self, after: StreamPosition | None, key_id: str | None = None) -> Subscriber:
        """Subscribe from a position, or from now. Raises RefusedError (503) when there are too many."""
        if self._closed:
            raise _too_many("the daemon is stopping")
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise _too_many(f"all {MAX_SUBSCRIBERS} streams are in use")
        if key_id is not None and sum(other.key_id == key_id for other in self._subscribers) >= MAX_PER_KEY:
            raise _too_many(f"this key already has {MAX_PER_KEY} open streams")
        self._subscribed += 1
        subscriber = Subscriber(self, key_id, self._subscribed % _SLOTS)
        self._subscribers.add(subscriber)
        try:
            subscriber.position, subscriber.is_reset = await self.start_position(after)
        except BaseException:
            self.unsubscribe(subscriber)
            raise
        self._has_subscribers.set()
        return subscriber

    async def start_position(self, after: StreamPosition | None) -> tuple[StreamPosition, bool]:
        """Where to start; and whether that differs from `after` because it is a position of another history."""

        def work(tx: Transaction) -> tuple[StreamPosition, bool]:
            if after is None or is_foreign(tx, after):
                return newest_position(tx), after is not None
            return after, False

        return await self._db.read(work)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """The stream has ended."""
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._has_subscribers.clear()

    def disconnect_key(self, key_id: str) -> None:
        """End the streams of a key that was revoked."""
        for subscriber in [other for other in self._subscribers if other.key_id == key_id]:
            subscriber.disconnect()

    def close(self) -> None:
        """End all streams, and refuse new ones."""
        self._closed = True
        for subscriber in list(self._subscribers):
            subscriber.disconnect()

    async def read_after(self, after: StreamPosition) -> MessageBatch:
        """The next messages after a position, from the buffer or the database."""
        if after < self._since:
            async with self._catching_up:
                if self._closed:
                    return MessageBatch((), after)
                return await self._db.read(lambda tx: read_messages(tx, self._registry, after))
        start = bisect_right(self._buffer, after, key=_position)
        messages = self._buffer[start : start + _BATCH]
        more = start + len(messages) < len(self._buffer)
        return MessageBatch(messages, messages[-1].position if more else max(after, self._until), more=more)

    async def run(self) -> None:
        """Read what is committed, and wake the subscribers, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_subscribers.wait()
            started, heartbeat_at = False, loop.time() + self._heartbeat_pause
            while self._subscribers:
                self._committed.clear()
                try:
                    if not started:  # what was committed without subscribers is read from the database
                        self._reset(await self._db.read(newest_position))
                        started = True
                    more = await self._read_new()
                    self.error = None
                except Exception as error:
                    if self.error is None and not isinstance(error, UnavailableError):
                        log.exception("stream_read_failed")
                    self.error, more = str(error) or type(error).__name__, False
                if not more:
                    await self._wait_for_commit(heartbeat_at - loop.time())
                if loop.time() >= heartbeat_at:
                    self._heartbeat()
                    heartbeat_at = loop.time() + self._heartbeat_pause

    async def _wait_for_commit(self, seconds: float) -> None:
        """Wait for a commit, at most so long; after an error exactly so long."""
        if self.error is not None:
            await asyncio.sleep(max(seconds, 0))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._committed.wait()

    async def _read_new(self) -> bool:
        batch = await self._db.read(lambda tx: read_messages(tx, self._registry, self._until))
        if batch.lost:
            self._reset(batch.position)
            return batch.more
        self._until = batch.position
        if batch.messages:
            self._buffer += batch.messages
            self._bytes += sum(len(message.data) for message in batch.messages)
            self._trim()
            self.sent += len(batch.messages)
            self._wake_matching(batch.messages)
        return batch.more

    def _wake_matching(self, messages: Sequence[EncodedMessage]) -> None:
        """Wake the subscribers that may want these messages: of thousands, mostly few."""
        topics = {message.topic for message in messages}
        shipments = {message.shipment_id for message in messages}
        for subscriber in self._subscribers:
            if subscriber.filter(topics, shipments) or not subscriber.skip_to(self._until):
                subscriber.wake()

    def _trim(self) -> None:
        """Drop the oldest messages, a quarter more than necessary, so that it is not needed each time."""
        if len(self._buffer) <= MAX_BUFFERED and self._bytes <= MAX_BUFFERED_BYTES:
            return
        count = size = 0
        for message in self._buffer:
            if len(self._buffer) - count <= MAX_BUFFERED * 3 // 4 and self._bytes - size <= MAX_BUFFERED_BYTES * 3 // 4:
                break
            count, size = count + 1, size + len(message.data)
        self._since = self._buffer[count - 1].position
        self._bytes -= size
        del self._buffer[:count]

    def _reset(self, position: StreamPosition) -> None:
        self._buffer, self._bytes = [], 0
        self._since = self._until = position
        for subscriber in self._subscribers:
            subscriber.wake()  # those whose position is before it find the rest in the database

    def _heartbeat(self) -> None:
        """Let the subscribers of the next slot send a heartbeat, which also detects lost connections."""
        self._slot = (self._slot + 1) % _SLOTS
        for subscriber in self._subscribers:
            if subscriber.slot == self._slot:
                subscriber.heartbeat_due = True
                subscriber.wake()


def _too_many(reason: str) -> RefusedError:
    return RefusedError(503, "too-many-streams", f"The stream cannot start: {reason}.", retry_after=_RETRY_AFTER)


BROADCASTER = web.AppKey("broadcaster", Broadcaster)
