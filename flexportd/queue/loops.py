"""The loops that run items: one a kind."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from flexportd.clock import age, parse, stamp
from flexportd.errors import FlexportdError, UnavailableError
from flexportd.outcome import Dead, Outcome, Retry
from flexportd.queue.kinds import Applying, Leasing
from flexportd.queue.queue import Queue
from flexportd.queue.settling import Settled, Settling
from flexportd.storage.items import Item
from flexportd.storage.session import Session
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

# Items in one transaction: more the longer nobody waits. 1024 cost as much an item, and took 3 MiB more.
SMALLEST, LARGEST = 256, 512
_BETWEEN = 64  # items in one transaction that goes between acknowledgements
_PATIENCE = 2.0  # seconds of standing back before batches go between acknowledgements
_TURN = 0.025  # seconds of standing back between batches after that
_AFTER_TROUBLE = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class _Batch:
    settled: Settled
    full: bool
    more: bool
    next_ready_at: str | None


class ApplyingLoop:
    """Runs a kind whose effects are in the database: batch by batch, standing back while acknowledgements wait."""

    def __init__(self, queue: Queue, kind: Applying) -> None:
        self._queue = queue
        self._kind = kind
        self._gate = queue.gates[kind.name]
        self._size = SMALLEST

    async def run(self) -> None:
        """Until the gate closes."""
        wait: float | None = 0.0
        while await self._gate.passed(wait):
            wait = await self._until_done()

    async def _until_done(self) -> float | None:
        """Work off what is due; seconds until the next item is, None when none waits."""
        patience = _PATIENCE
        while not self._gate.closed and not self._queue.paused:
            quiet = await self._queue.db.writer.stand_back(patience)
            batch = await self._batch(quiet=quiet)
            if batch is None:
                return _AFTER_TROUBLE
            if not batch.more:
                return _until(batch.next_ready_at, self._queue.clock.now())
            patience = _PATIENCE if quiet else _TURN
        return None

    async def _batch(self, *, quiet: bool) -> _Batch | None:
        queue = self._queue
        limit = self._size if quiet else _BETWEEN
        try:
            batch = await queue.db.write(lambda tx: self._work(tx, limit, may_end_early=quiet))
        except UnavailableError as error:
            queue.tallies.trouble[self._kind.name] = str(error)
            return None
        except Exception as error:
            if self._kind.name not in queue.tallies.trouble:
                log.exception("batch_failed", kind=self._kind.name)
            queue.tallies.trouble[self._kind.name] = f"{type(error).__name__}: {error}"
            return None
        queue.tallies.trouble.pop(self._kind.name, None)
        self._size = min(self._size * 2, LARGEST) if quiet and batch.full else SMALLEST
        _tally(queue, self._kind.name, batch.settled)
        if batch.settled.finished or batch.settled.retried:
            self._kind.committed()
        return batch

    def _work(self, tx: Session, limit: int, *, may_end_early: bool) -> _Batch:
        """On the writer's thread: take, apply and settle, all in one transaction."""
        queue, name = self._queue, self._kind.name
        now = queue.clock.now()
        items = tx.items.due(name, stamp(now), limit)
        if not items:
            return _Batch(Settled(0, 0, 0), full=False, more=False, next_ready_at=tx.items.next_ready_at(name))
        done = self._kind.apply(tx, items, queue.db.writer.pressed if may_end_early else _never)
        settled = Settling(queue.policy, self._kind.buried, now).settle(tx, done, counted=False)
        return _Batch(settled, full=len(done) == limit, more=True, next_ready_at=None)


def _never() -> bool:
    return False


class LeasingLoop:
    """Runs a kind whose effects are elsewhere: leases, side by side between lanes, in order within one."""

    def __init__(self, queue: Queue, kind: Leasing, tasks: Tasks, limits: "LeaseLimits") -> None:
        self._queue = queue
        self._kind = kind
        self._gate = queue.gates[kind.name]
        self._tasks = tasks
        self._limits = limits
        self._running: set[int] = set()

    async def run(self) -> None:
        """Until the gate closes."""
        wait: float | None = 0.0
        while await self._gate.passed(wait):
            wait = await self._claim()

    async def _claim(self) -> float | None:
        free = self._limits.workers - len(self._running)
        if free <= 0:
            return None  # the next item that ends opens the gate
        now = self._queue.clock.now()
        until = stamp(now + timedelta(seconds=self._limits.lease))
        name = self._kind.name
        try:
            items = await self._queue.db.write(lambda tx: tx.items.claim(name, stamp(now), until, free))
            next_ready_at = await self._queue.db.read(lambda tx: tx.items.next_ready_at(name))
        except UnavailableError as error:
            self._queue.tallies.trouble[name] = str(error)
            return _AFTER_TROUBLE
        self._queue.tallies.trouble.pop(name, None)
        if self._gate.closed:
            for item in items:  # claimed while the daemon was told to stop: nothing begins any more
                await self._give_back(item)
            return None
        for item in items:
            self._begin(item)
        # A due item that could not be claimed waits for its lane; the end of the running one opens the gate.
        return None if self._running and not items else _until(next_ready_at, now)

    def _begin(self, item: Item) -> None:
        self._running.add(item.id)
        self._tasks.start(f"item-{item.id}", lambda: self._run(item), vital=False)

    async def _run(self, item: Item) -> None:
        try:
            outcome = await self._handle(item)
            await asyncio.shield(self._settle(item, outcome))
        except asyncio.CancelledError:
            # Stopped in the middle: back to ready, and the broken try is not counted.
            await asyncio.shield(self._give_back(item))
            raise
        finally:
            self._running.discard(item.id)
            self._gate.wake()

    async def _handle(self, item: Item) -> Outcome:
        try:
            async with asyncio.timeout(self._limits.lease):
                return await self._kind.handle(item)
        except TimeoutError:
            return Retry(f"it took longer than its lease of {self._limits.lease:g} s")
        except FlexportdError as error:
            after = float(getattr(error, "retry_after", 0) or 0)
            return Dead(str(error)) if error.permanent else Retry(str(error), retry_after=after)
        except Exception as error:
            log.exception("item_failed", item=item.id, kind=item.kind)
            return Retry(f"{type(error).__name__}: {error}")

    async def _settle(self, item: Item, outcome: Outcome) -> None:
        queue = self._queue
        while True:
            settling = Settling(queue.policy, self._kind.buried, queue.clock.now())
            try:
                settled = await queue.db.write(lambda tx: settling.settle(tx, [(item, outcome)], counted=True))  # noqa: B023
            except UnavailableError as error:
                # The effect has happened: it must not be forgotten because the disk is full for a while.
                queue.tallies.trouble[self._kind.name] = str(error)
                await queue.clock.sleep(_AFTER_TROUBLE)
            else:
                _tally(queue, self._kind.name, settled)
                return

    async def _give_back(self, item: Item) -> None:
        at = self._queue.clock.stamp()
        await self._queue.db.write(lambda tx: tx.items.postpone(item.id, at, item.attempts - 1))


@dataclass(frozen=True, slots=True)
class LeaseLimits:
    """How many items of a kind run side by side, and how long one may take (seconds)."""

    workers: int = 4
    lease: float = 60.0


def _tally(queue: Queue, kind: str, settled: Settled) -> None:
    queue.left(kind, settled.finished)
    queue.tallies.finished += settled.finished - settled.buried
    queue.tallies.buried += settled.buried
    queue.tallies.retried += settled.retried
    queue.tallies.batches += 1


def _until(ready_at: str | None, now: datetime) -> float | None:
    if ready_at is None:
        return None
    ahead = (parse(ready_at) - now).total_seconds()
    return min(max(ahead, 0.005), 60.0) if age(ready_at, now) == 0 else 0.005
