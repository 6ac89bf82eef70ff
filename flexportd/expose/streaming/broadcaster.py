"""The hub: one reader of the journal for all streams. A follower holds a place; what is new lies ready in a ring.

A follower whose place is behind the ring's beginning is served from the store, page by page, until it has caught up: so
nothing depends on what the ring holds, and a message is never left out.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence

import structlog

from flexportd.core.changes.stream_messages import Place, Reading, Telling, is_foreign, newest_place, read
from flexportd.core.resources.registry import Registry
from flexportd.errors import RefusedError, UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

BEAT = 15.0  # seconds between signs of life to a follower to whom nothing is told
MOST_FOLLOWERS = 5000
MOST_OF_ONE_KEY = 1000  # so that one client that forgets to close leaves room for others
MOST_TOLD, LARGEST = 4096, 8 << 20  # messages and bytes in the ring
_AT_ONCE = 256  # messages handed out together
_TURNS = 15  # followers get their signs of life in so many turns: never all at once
_AGAIN = 5  # seconds after which a program that was turned away may ask again


Interest = Callable[[Collection[str], Collection[int | None]], bool]
"""(topics, shipments) of some messages -> whether any of them may be for a follower."""


class Follower:
    """One stream, as the hub knows it. `cut` breaks it off; `interest` is what it may want to be told.

    `is_reset`: the place that it asked for is of another history, so it begins with what is new.
    """

    __slots__ = (
        "_hub",
        "_waker",
        "_woken",
        "cut",
        "ended",
        "interest",
        "is_due",
        "is_reset",
        "key_id",
        "place",
        "turn",
    )

    def __init__(self, hub: "Hub", place: Place, key_id: str | None) -> None:
        self._hub = hub
        self._waker: asyncio.Future[None] | None = None
        self._woken = False
        self.key_id = key_id
        self.place = place
        self.turn = 0
        self.interest: Interest = lambda _topics, _shipments: True
        self.cut: Callable[[], None] = lambda: None
        self.is_due = False  # a sign of life
        self.is_reset = False
        self.ended = False

    async def more(self) -> Reading:
        """What comes next; the place is behind it then."""
        found = await self._hub.more(self.place)
        self.place = found.place
        return found

    async def news(self) -> None:
        """Wait until there may be more, a sign of life is due, or the stream has to end."""
        if not self._woken:
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None
        self._woken = False

    def pass_over(self, until: Place) -> bool:
        """Move its place instead of waking it, when it waits and so has seen all before; whether it does."""
        if self._woken or self._waker is None:
            return False
        self.place = max(self.place, until)
        return True

    def wake(self) -> None:
        """Let it look."""
        self._woken = True
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def finish(self) -> None:
        """Let it end as soon as it looks."""
        self.ended = True
        self.wake()

    def end(self) -> None:
        """Let it end now; one that waits for a slow reader is broken off."""
        if self._waker is None:
            self.cut()
        self.finish()


class Hub:
    """Follows the journal while somebody follows it. `wake` is to be called after each commit.

    What was committed without that is found with the next look, after `beat / 15` seconds at most.
    """

    def __init__(self, db: Database, registry: Registry, beat: float = BEAT) -> None:
        self._db = db
        self._registry = registry
        self._pulse = beat / _TURNS
        self._followers: set[Follower] = set()
        self._anybody = asyncio.Event()
        self._news = asyncio.Event()
        self._catching_up = asyncio.Semaphore(1)  # of the store's readers, one at most serves those who are behind
        self._ring: list[Telling] = []
        self._bytes = 0
        self._since = self._until = Place(0)  # what the ring holds is behind the one and not behind the other
        self._turn = self._joined = 0
        self._closed = False
        self.told = 0
        self.cuts = 0  # followers that were too slow
        self.trouble: str | None = None

    def __len__(self) -> int:
        return len(self._followers)

    def wake(self) -> None:
        """Something was committed."""
        self._news.set()

    async def join(self, after: Place | None, key_id: str | None = None) -> Follower:
        """Follow from a place on, or from now on. `key_id` is for `dismiss`.

        Raises RefusedError (503) when there are too many.
        """
        if self._closed or len(self._followers) >= MOST_FOLLOWERS:
            reason = "the daemon is stopping" if self._closed else f"all {MOST_FOLLOWERS} streams are in use"
            raise RefusedError(503, "too-many-streams", f"The stream cannot start: {reason}.", retry_after=_AGAIN)
        if key_id is not None and sum(one.key_id == key_id for one in self._followers) >= MOST_OF_ONE_KEY:
            reason = f"this key already has {MOST_OF_ONE_KEY} open streams"
            raise RefusedError(503, "too-many-streams", f"The stream cannot start: {reason}.", retry_after=_AGAIN)
        follower = Follower(self, Place(0), key_id)
        self._joined += 1
        follower.turn = self._joined % _TURNS
        self._followers.add(follower)
        try:
            follower.place, follower.is_reset = await self.place(after)
        except BaseException:
            self.leave(follower)
            raise
        self._anybody.set()
        return follower

    async def place(self, after: Place | None) -> tuple[Place, bool]:
        """Where to begin; and whether that is not where the client asked, because its place is of another history."""

        def work(tx: Session) -> tuple[Place, bool]:
            if after is None or is_foreign(tx, after):
                return newest_place(tx), after is not None
            return after, False

        return await self._db.read(work)

    def leave(self, follower: Follower) -> None:
        """It has ended."""
        self._followers.discard(follower)
        if not self._followers:
            self._anybody.clear()

    def dismiss(self, key_id: str) -> None:
        """End the streams that a key opened: it does not open them any more."""
        for follower in [one for one in self._followers if one.key_id == key_id]:
            follower.end()

    def close(self) -> None:
        """End all streams; none begins any more."""
        self._closed = True
        for follower in list(self._followers):
            follower.end()

    async def more(self, after: Place) -> Reading:
        """Some of what comes behind a place: from the ring, or from the store."""
        if after < self._since:
            async with self._catching_up:
                if self._closed:
                    return Reading((), after)
                return await self._db.read(lambda tx: read(tx, self._registry, after))
        start = bisect_right(self._ring, after, key=_place)
        some = self._ring[start : start + _AT_ONCE]
        more = start + len(some) < len(self._ring)
        return Reading(some, some[-1].place if more else max(after, self._until), more=more)

    async def run(self) -> None:
        """Read what is committed, and wake those who follow, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._anybody.wait()
            begun, beat_at = False, loop.time() + self._pulse
            while self._followers:
                self._news.clear()
                try:
                    if not begun:  # what was committed while nobody followed is left to the store
                        self._restart(await self._db.read(newest_place))
                        begun = True
                    more = await self._read_on()
                    self.trouble = None
                except Exception as error:
                    if self.trouble is None and not isinstance(error, UnavailableError):
                        log.exception("stream_read_failed")
                    self.trouble, more = str(error) or type(error).__name__, False
                if not more:
                    await self._rest(beat_at - loop.time())
                if loop.time() >= beat_at:
                    self._beat()
                    beat_at = loop.time() + self._pulse

    async def _rest(self, seconds: float) -> None:
        """Until something is committed, but not for longer; in trouble no sooner either."""
        if self.trouble is not None:
            await asyncio.sleep(max(seconds, 0))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._news.wait()

    async def _read_on(self) -> bool:
        """Take in what is new; whether there is more."""
        found = await self._db.read(lambda tx: read(tx, self._registry, self._until))
        if found.lost:
            self._restart(found.place)
            return found.more
        self._until = found.place
        if found.told:
            self._ring += found.told
            self._bytes += sum(len(one.data) for one in found.told)
            self._trim()
            self.told += len(found.told)
            self._announce(found.told)
        return found.more

    def _announce(self, told: Sequence[Telling]) -> None:
        """Wake those for whom it may be: of thousands, mostly few."""
        topics, shipments = {one.topic for one in told}, {one.shipment_id for one in told}
        for follower in self._followers:
            if follower.interest(topics, shipments) or not follower.pass_over(self._until):
                follower.wake()

    def _trim(self) -> None:
        """Forget the oldest, a quarter beyond what has to go: not each time a little."""
        if len(self._ring) <= MOST_TOLD and self._bytes <= LARGEST:
            return
        count = size = 0
        for one in self._ring:
            if len(self._ring) - count <= MOST_TOLD * 3 // 4 and self._bytes - size <= LARGEST * 3 // 4:
                break
            count, size = count + 1, size + len(one.data)
        self._since = self._ring[count - 1].place
        self._bytes -= size
        del self._ring[:count]

    def _restart(self, place: Place) -> None:
        self._ring, self._bytes = [], 0
        self._since = self._until = place
        for follower in self._followers:
            follower.wake()  # those whose place is before it find the rest in the store

    def _beat(self) -> None:
        """A sign of life for those whose turn it is; so those are found out whose connection is gone."""
        self._turn = (self._turn + 1) % _TURNS
        for follower in self._followers:
            if follower.turn == self._turn:
                follower.is_due = True
                follower.wake()


def _place(one: Telling) -> Place:
    return one.place
