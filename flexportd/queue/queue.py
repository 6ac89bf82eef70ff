"""The queue as its callers use it: kinds of items, pause and resume, dead letters. `workers.py` runs the items."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar

import structlog

from flexportd.clock import Clock, age, stamp
from flexportd.errors import ConflictError, NotFoundError, UnavailableError
from flexportd.outcome import Dead
from flexportd.queue.handlers import BatchHandler, Completion, Handler, ItemHandler, PauseGate, Policy
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PAUSED = "queue_paused"
_MAX_WAIT = timedelta(days=2)  # the longest wait of an item: Flexport may ask for a day
_SLACK = timedelta(seconds=5)
_MAINTENANCE_INTERVAL = 15.0  # seconds between looks for expired leases

MAX_DEATHS = 3  # times that the process may end while only this item is running, before it becomes a dead letter


@dataclass
class QueueCounters:
    """Counts since the start, for metrics."""

    finished: int = 0
    dead: int = 0
    retried: int = 0
    batches: int = 0
    errors: dict[str, str] = field(default_factory=dict)  # kind -> why its worker cannot run at present


class OldestItemAges(TypedDict):
    """Age in seconds of the oldest item in each state; null if there is none."""

    ready: float | None
    leased: float | None
    dead: float | None


class QueueState(TypedDict):
    """Number of waiting (`ready`), running (`leased`) and failed (`dead`: dead letters) items."""

    ready: int
    leased: int
    dead: int
    paused: bool
    oldest_seconds: OldestItemAges


class Queue:
    """Holds the handlers and what their workers share."""

    def __init__(self, db: Database, clock: Clock, policy: Policy) -> None:
        self.db = db
        self.clock = clock
        self.policy = policy
        self.handlers: dict[str, Handler] = {}
        self.gates: dict[str, PauseGate] = {}
        self.counters = QueueCounters()
        self._counts: Counter[str] = Counter()
        self.paused = False
        self.suspects: defaultdict[str, list[int]] = defaultdict(list)
        """Kind -> the items that were running when the last process ended: each is tried once, alone."""
        self.isolation = asyncio.Lock()
        """Held by the kind that tries its suspects, so that only one is running if the process ends again."""

    def reload(self, settings: Settings) -> None:
        """Apply `[queue]` as it can change while running."""
        self.policy = Policy.from_settings(settings)

    def add(self, kind: Handler) -> None:
        """Register a handler, before `load`."""
        self.handlers[kind.name] = kind
        self.gates[kind.name] = PauseGate()

    def completion(self, kind: Handler | None) -> Completion:
        """The completion of items of a kind, None if it is unknown."""
        return Completion(self.policy, kind.on_dead if kind else lambda *_: None, self.clock)

    async def load(self) -> None:
        """Continue where the last process ended: its leases are void, since this one holds the data directory's lock.

        A process that stops in order leaves no item running. Otherwise, one of the running items may have ended it.
        """
        self.paused = await self.db.read(lambda tx: tx.meta.get(_PAUSED)) == "yes"
        applying = await asyncio.to_thread(self.db.marker.read_previous)
        in_work = await self.db.write(lambda tx: self._count_deaths(tx, applying))
        for item in in_work:
            if item.deaths < MAX_DEATHS:
                self.suspects[item.kind].append(item.id)
            else:
                self.counters.dead += 1
                log.error("item_crashed_process", item_id=item.id, kind=item.kind, crashes=item.deaths)
        await self.release_misdated()
        await self.recount()
        if in_work:
            log.warning("items_interrupted", items=len(in_work))
        for gate in self.gates.values():
            gate.set_paused(paused=self.paused)
            gate.wake()

    def _count_deaths(self, tx: Transaction, applying: Sequence[tuple[int, int]]) -> list[Item]:
        """The items that were running; one that ran alone has one more death, and with too many is a dead letter.

        Of several of one kind, any may have ended the process: none is blamed until each was tried alone.
        """
        leased = tx.items.leased_ids()
        tx.items.reclaim_expired("9999")
        kinds = {name for name, kind in self.handlers.items() if isinstance(kind, BatchHandler)}
        unfinished = [
            item_id
            for item_id, attempts in applying
            if (item := tx.items.by_id(item_id)) and (item.state, item.attempts) == ("ready", attempts)
            if item.kind in kinds
        ]
        running = [
            item for item_id in unfinished + leased if (item := tx.items.by_id(item_id)) and item.state != "dead"
        ]
        number = Counter(item.kind for item in running)
        in_work = [tx.items.count_death(item.id) if number[item.kind] == 1 else item for item in running]
        for item in in_work:
            if item.deaths >= MAX_DEATHS:
                kind = self.handlers.get(item.kind)
                error = f"the process ended {item.deaths} times while it worked on this item"
                self.completion(kind).complete(tx, [(item, Dead(error))], counted=False)
        self.db.marker.put([])
        return in_work

    async def run_maintenance(self) -> None:
        """Return expired leases and correct the counts, until cancelled."""
        while True:
            await self.clock.sleep(_MAINTENANCE_INTERVAL)
            with contextlib.suppress(UnavailableError):  # the writer logs it, and it is tried again
                await self.reclaim_expired_leases()
                await self.release_misdated()
                await self.recount()

    async def recount(self) -> None:
        """Count the unfinished items again."""
        self._counts = Counter(await self.db.read(lambda tx: tx.items.pending()))

    @property
    def pending(self) -> int:
        """How many items are unfinished."""
        return sum(max(0, count) for count in self._counts.values())

    def waiting(self, kind: str) -> int:
        """How many items of a kind are unfinished."""
        return max(0, self._counts[kind])

    def finished(self, kind: str, count: int) -> None:
        """Subtract items of a kind that have ended.

        They may end before `added` counts them: the count is below zero for that moment.
        """
        self._counts[kind] -= count

    async def reclaim_expired_leases(self) -> None:
        """Return leases that ran out."""
        now = self.clock.stamp()
        returned = await self.db.write(lambda tx: tx.items.reclaim_expired(now))
        if returned:
            log.warning("leases_expired", items=returned)
            self.wake_all()

    async def release_misdated(self, longest: timedelta = _MAX_WAIT) -> None:
        """Make items due that wait for a time set by a wrong clock: none waits longer than `longest`.

        Once a clock that was ahead is set back, they would wait until it shows that time again.
        """
        now = self.clock.now()
        # Items that were queued a moment ago, by another reading of the clock, stay as they are.
        at, latest = stamp(now + _SLACK), stamp(now + longest * self.clock.speed)
        if await self.db.read(lambda tx: tx.items.is_misdated(at, latest)):
            hastened = await self.db.write(lambda tx: tx.items.make_due(at, latest))
            log.warning("item_retries_expedited", items=hastened, reason="they waited for a time set by a wrong clock")
            self.wake_all()

    def added(self, kind: str, count: int) -> None:
        """Items of this kind were committed."""
        self._counts[kind] += count
        self.gates[kind].wake()

    def wake_all(self) -> None:
        """Let every worker look for due items."""
        for gate in self.gates.values():
            gate.wake()

    async def set_paused(self, *, paused: bool) -> None:
        """Pause or resume all kinds; kept across restarts."""
        await self.db.write(lambda tx: tx.meta.put(_PAUSED, "yes" if paused else "no"))
        self.paused = paused
        log.info("queue_paused" if paused else "queue_resumed")
        for gate in self.gates.values():
            gate.set_paused(paused=paused)

    async def stats(self) -> QueueState:
        """The number of items in each state, and the age in seconds of the oldest."""
        stats = await self.db.read(lambda tx: tx.items.stats())
        now = self.clock.now()
        (ready, of_ready), (leased, of_leased), (dead, of_dead) = stats["ready"], stats["leased"], stats["dead"]
        return {
            "ready": ready,
            "leased": leased,
            "dead": dead,
            "paused": self.paused,
            "oldest_seconds": {
                "ready": _seconds(of_ready, now),
                "leased": _seconds(of_leased, now),
                "dead": _seconds(of_dead, now),
            },
        }

    async def dead_letters(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of dead letters."""
        return await self.db.read(lambda tx: tx.items.dead_letters(page))

    async def retry(self, item_ids: Sequence[int]) -> list[int]:
        """Retry dead letters with all attempts; those that were requeued."""
        at = self.clock.stamp()
        return await self.change(lambda tx: [number for number in item_ids if self.retry_dead(tx, number, at)])

    async def change(self, work: Callable[[Transaction], T]) -> T:
        """Write something that makes items ready or removes them."""
        result = await self.db.write(work)
        await self.recount()
        self.wake_all()
        return result

    async def discard(self, item_id: int, who: str, why: str) -> None:
        """Close a dead letter; it is kept, with who and why. Raises NotFoundError or ConflictError."""
        at = self.clock.stamp()
        await self.db.write(lambda tx: self.discard_dead(tx, item_id, at, who, why))

    def retry_dead(self, tx: Transaction, item_id: int, at: str) -> bool:
        """Retry a dead letter, and what it is about; False if it is none."""
        item = tx.items.by_id(item_id)
        if item is None or not tx.items.retry_dead(item_id, at):
            return False
        if item.ref is not None:
            tx.events.reopen(item.ref)
        handler = self.handlers.get(item.kind)
        if isinstance(handler, ItemHandler):
            handler.on_retry(tx, item, at)
        return True

    def discard_dead(self, tx: Transaction, item_id: int, at: str, who: str, why: str) -> None:
        """Close a dead letter, and what it is about. Raises NotFoundError or ConflictError."""
        item = tx.items.by_id(item_id)
        if item is None or item.state != "dead":
            raise NotFoundError(f"there is no dead letter {item_id}")
        if item.discarded_at:
            raise ConflictError(f"dead letter {item_id} was discarded already, at {item.discarded_at}")
        tx.items.discard(item_id, at, who, why)
        handler = self.handlers.get(item.kind)
        if isinstance(handler, ItemHandler):
            handler.on_discard(tx, item, at, who, why)


def _seconds(oldest: str | None, now: datetime) -> float | None:
    seconds = age(oldest, now)
    return None if seconds is None else round(seconds, 3)
