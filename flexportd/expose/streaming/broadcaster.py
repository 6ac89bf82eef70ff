"""The hub: one reader of the journal for all streams. A follower holds a place; what is new lies ready in a ring.

A follower whose place is behind the ring's beginning is served from the store, page by page, until it has caught up: so
nothing depends on what the ring holds, and a message is never left out.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence

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

HEARTBEAT_INTERVAL = 15.0  # seconds between signs of life to a follower to whom nothing is told
MAX_SUBSCRIBERS = 5000
MAX_PER_KEY = 1000  # so that one client that forgets to close leaves room for others
MAX_BUFFERED, MAX_BUFFERED_BYTES = 4096, 8 << 20  # messages and bytes in the ring
_BATCH = 256  # messages handed out together
_SLOTS = 15  # followers get their signs of life in so many turns: never all at once
_RETRY_AFTER = 5  # seconds after which a program that was turned away may ask again


MessageFilter = Callable[[Collection[str], Collection[int | None]], bool]
"""(topics, shipments) of some messages -> whether any of them may be for a follower."""


class Subscriber:
    """One stream, as the hub knows it. `cut` breaks it off; `interest` is what it may want to be told.

    `is_reset`: the place that it asked for is of another history, so it begins with what is new.
    """

    __slots__ = (
        "_broadcaster",
        "_waker",
        "_woken",
        "abort",
        "filter",
        "heartbeat_due",
        "is_reset",
        "key_id",
        "position",
        "slot",
        "stopped",
    )

    def __init__(self, hub: "Broadcaster", place: StreamPosition, key_id: str | None) -> None:
        self._broadcaster = hub
        self._waker: asyncio.Future[None] | None = None
        self._woken = False
        self.key_id = key_id
        self.position = place
        self.slot = 0
        self.filter: MessageFilter = lambda _topics, _shipments: True
        self.abort: Callable[[], None] = lambda: None
        self.heartbeat_due = False  # a sign of life
        self.is_reset = False
        self.stopped = False

    async def next_batch(self) -> MessageBatch:
        """What comes next; the place is behind it then."""
        found = await self._broadcaster.read_after(self.position)
        self.position = found.position
        return found

    async def wait(self) -> None:
        """Wait until there may be more, a sign of life is due, or the stream has to end."""
        if not self._woken:
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None
        self._woken = False

    def skip_to(self, until: StreamPosition) -> bool:
        """Move its place instead of waking it, when it waits and so has seen all before; whether it does."""
        if self._woken or self._waker is None:
            return False
        self.position = max(self.position, until)
        return True

    def wake(self) -> None:
        """Let it look."""
        self._woken = True
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def stop(self) -> None:
        """Let it end as soon as it looks."""
        self.stopped = True
        self.wake()

    def disconnect(self) -> None:
        """Let it end now; one that waits for a slow reader is broken off."""
        if self._waker is None:
            self.abort()
        self.stop()


class Broadcaster:
    """Follows the journal while somebody follows it. `wake` is to be called after each commit.

    What was committed without that is found with the next look, after `beat / 15` seconds at most.
    """

    def __init__(self, db: Database, registry: Registry, beat: float = HEARTBEAT_INTERVAL) -> None:
        self._db = db
        self._registry = registry
        self._heartbeat_pause = beat / _SLOTS
        self._subscribers: set[Subscriber] = set()
        self._has_subscribers = asyncio.Event()
        self._committed = asyncio.Event()
        self._catching_up = asyncio.Semaphore(1)  # of the store's readers, one at most serves those who are behind
        self._ring: list[EncodedMessage] = []
        self._bytes = 0
        self._since = self._until = StreamPosition(0)  # what the ring holds is behind the one and not behind the other
        self._slot = self._subscribed = 0
        self._closed = False
        self.sent = 0
        self.dropped = 0  # followers that were too slow
        self.error: str | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    def wake(self) -> None:
        """Something was committed."""
        self._committed.set()

    async def subscribe(self, after: StreamPosition | None, key_id: str | None = None) -> Subscriber:
        """Follow from a place on, or from now on. `key_id` is for `dismiss`.

        Raises RefusedError (503) when there are too many.
        """
        if self._closed or len(self._subscribers) >= MAX_SUBSCRIBERS:
            reason = "the daemon is stopping" if self._closed else f"all {MAX_SUBSCRIBERS} streams are in use"
            raise RefusedError(503, "too-many-streams", f"The stream cannot start: {reason}.", retry_after=_RETRY_AFTER)
        if key_id is not None and sum(one.key_id == key_id for one in self._subscribers) >= MAX_PER_KEY:
            reason = f"this key already has {MAX_PER_KEY} open streams"
            raise RefusedError(503, "too-many-streams", f"The stream cannot start: {reason}.", retry_after=_RETRY_AFTER)
        follower = Subscriber(self, StreamPosition(0), key_id)
        self._subscribed += 1
        follower.slot = self._subscribed % _SLOTS
        self._subscribers.add(follower)
        try:
            follower.position, follower.is_reset = await self.start_position(after)
        except BaseException:
            self.unsubscribe(follower)
            raise
        self._has_subscribers.set()
        return follower

    async def start_position(self, after: StreamPosition | None) -> tuple[StreamPosition, bool]:
        """Where to begin; and whether that is not where the client asked, because its place is of another history."""

        def work(tx: Transaction) -> tuple[StreamPosition, bool]:
            if after is None or is_foreign(tx, after):
                return newest_position(tx), after is not None
            return after, False

        return await self._db.read(work)

    def unsubscribe(self, follower: Subscriber) -> None:
        """It has ended."""
        self._subscribers.discard(follower)
        if not self._subscribers:
            self._has_subscribers.clear()

    def disconnect_key(self, key_id: str) -> None:
        """End the streams that a key opened: it does not open them any more."""
        for follower in [one for one in self._subscribers if one.key_id == key_id]:
            follower.disconnect()

    def close(self) -> None:
        """End all streams; none begins any more."""
        self._closed = True
        for follower in list(self._subscribers):
            follower.disconnect()

    async def read_after(self, after: StreamPosition) -> MessageBatch:
        """Some of what comes behind a place: from the ring, or from the store."""
        if after < self._since:
            async with self._catching_up:
                if self._closed:
                    return MessageBatch((), after)
                return await self._db.read(lambda tx: read_messages(tx, self._registry, after))
        start = bisect_right(self._ring, after, key=_position_of)
        some = self._ring[start : start + _BATCH]
        more = start + len(some) < len(self._ring)
        return MessageBatch(some, some[-1].position if more else max(after, self._until), more=more)

    async def run(self) -> None:
        """Read what is committed, and wake those who follow, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_subscribers.wait()
            begun, beat_at = False, loop.time() + self._heartbeat_pause
            while self._subscribers:
                self._committed.clear()
                try:
                    if not begun:  # what was committed while nobody followed is left to the store
                        self._reset(await self._db.read(newest_position))
                        begun = True
                    more = await self._read_new()
                    self.error = None
                except Exception as error:
                    if self.error is None and not isinstance(error, UnavailableError):
                        log.exception("stream_read_failed")
                    self.error, more = str(error) or type(error).__name__, False
                if not more:
                    await self._wait_for_commit(beat_at - loop.time())
                if loop.time() >= beat_at:
                    self._heartbeat()
                    beat_at = loop.time() + self._heartbeat_pause

    async def _wait_for_commit(self, seconds: float) -> None:
        """Until something is committed, but not for longer; in trouble no sooner either."""
        if self.error is not None:
            await asyncio.sleep(max(seconds, 0))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._committed.wait()

    async def _read_new(self) -> bool:
        """Take in what is new; whether there is more."""
        found = await self._db.read(lambda tx: read_messages(tx, self._registry, self._until))
        if found.lost:
            self._reset(found.position)
            return found.more
        self._until = found.position
        if found.messages:
            self._ring += found.messages
            self._bytes += sum(len(one.data) for one in found.messages)
            self._trim()
            self.sent += len(found.messages)
            self._wake_matching(found.messages)
        return found.more

    def _wake_matching(self, told: Sequence[EncodedMessage]) -> None:
        """Wake those for whom it may be: of thousands, mostly few."""
        topics, shipments = {one.topic for one in told}, {one.shipment_id for one in told}
        for follower in self._subscribers:
            if follower.filter(topics, shipments) or not follower.skip_to(self._until):
                follower.wake()

    def _trim(self) -> None:
        """Forget the oldest, a quarter beyond what has to go: not each time a little."""
        if len(self._ring) <= MAX_BUFFERED and self._bytes <= MAX_BUFFERED_BYTES:
            return
        count = size = 0
        for one in self._ring:
            if len(self._ring) - count <= MAX_BUFFERED * 3 // 4 and self._bytes - size <= MAX_BUFFERED_BYTES * 3 // 4:
                break
            count, size = count + 1, size + len(one.data)
        self._since = self._ring[count - 1].position
        self._bytes -= size
        del self._ring[:count]

    def _reset(self, place: StreamPosition) -> None:
        self._ring, self._bytes = [], 0
        self._since = self._until = place
        for follower in self._subscribers:
            follower.wake()  # those whose place is before it find the rest in the store

    def _heartbeat(self) -> None:
        """A sign of life for those whose turn it is; so those are found out whose connection is gone."""
        self._slot = (self._slot + 1) % _SLOTS
        for follower in self._subscribers:
            if follower.slot == self._slot:
                follower.heartbeat_due = True
                follower.wake()


def _position_of(one: EncodedMessage) -> StreamPosition:
    return one.position


BROADCASTER = web.AppKey("broadcaster", Broadcaster)
