"""The loops that run items: one a kind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.errors import FlexportdError, UnavailableError
from flexportd.escape import harmless
from flexportd.outcome import Dead, Outcome, Retry
from flexportd.queue.completion import Settled, Settling
from flexportd.queue.handlers import Applying, Leasing
from flexportd.queue.queue import Queue
from flexportd.storage.connection import is_about_content
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Session
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

# Items in one transaction: more the longer nobody waits. 1024 cost as much an item, and took 3 MiB more.
SMALLEST, LARGEST = 256, 512
_BETWEEN = 64  # items in one transaction that goes between acknowledgements
_PATIENCE = 2.0  # seconds of standing back before batches go between acknowledgements
_TURN = 0.025  # seconds of standing back between batches after that
_AFTER_TROUBLE = 1.0  # seconds
_LONGEST_ERROR = 500  # characters of an unforeseen error that are kept


@dataclass(frozen=True, slots=True)
class _Batch:
    settled: Settled
    full: bool
    more: bool
    next_ready_at: str | None


class ApplyingLoop:
    """Runs a kind whose effects are in the database: batch by batch, standing back while acknowledgements wait.

    A batch that fails is undone, and cut into halves until the item at fault is alone; that one is settled with its
    error, and all others are applied in their order. What was in work when the last process ended is applied first,
    item by item.
    """

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
        if not await self._try_suspects():
            return _AFTER_TROUBLE
        patience = _PATIENCE
        while not self._gate.closed and not self._queue.paused:
            quiet = await self._queue.db.writer.stand_back(patience)
            batch = await self._batch(quiet=quiet)
            if batch is None:
                return _AFTER_TROUBLE
            if not batch.more:
                return _until(batch.next_ready_at, self._queue.clock)
            patience = _PATIENCE if quiet else _TURN
        return None

    async def _batch(self, *, quiet: bool) -> _Batch | None:
        """Apply what is due; None when the database does not allow it at present."""
        limit = self._size if quiet else _BETWEEN
        taken: list[Item] = []
        try:
            batch = await self._queue.db.write(lambda tx: self._work(tx, limit, taken, may_end_early=quiet))
        except Exception as error:  # noqa: BLE001 (each ends as the outcome of an item, or as trouble of the queue)
            if not taken or not _is_about_an_item(error):
                self._note_trouble(error)
                return None
            self._size = SMALLEST
            ids = [item.id for item in taken]
            if not await self._isolate([ids[start : start + _BETWEEN] for start in range(0, len(ids), _BETWEEN)]):
                return None
            return _Batch(Settled(0, 0, 0), full=False, more=True, next_ready_at=None)
        self._size = min(self._size * 2, LARGEST) if quiet and batch.full else SMALLEST
        self._note_settled(batch.settled)
        return batch

    def _work(self, tx: Session, limit: int, taken: list[Item], *, may_end_early: bool) -> _Batch:
        """On the writer's thread: take, apply and settle, all in one transaction. `taken` gets what was taken."""
        queue, name = self._queue, self._kind.name
        now = queue.clock.now()
        items = tx.items.due(name, stamp(now), limit)
        if not items:
            return _Batch(Settled(0, 0, 0), full=False, more=False, next_ready_at=tx.items.next_ready_at(name))
        taken += items
        done, settled = self._apply(tx, items, may_end_early=may_end_early)
        return _Batch(settled, full=done == limit, more=True, next_ready_at=None)

    def _apply(self, tx: Session, items: Sequence[Item], *, may_end_early: bool) -> tuple[int, Settled]:
        """How many of these were applied, from the first on, and what became of them."""
        queue = self._queue
        queue.db.marker.put([(item.id, item.attempts) for item in items])
        done = self._kind.apply(tx, items, queue.db.writer.pressed if may_end_early else _never)
        settling = Settling(queue.policy, self._kind.buried, queue.clock)
        return len(done), settling.settle(tx, done, counted=False)

    # --- when something unforeseen happens ---

    async def _try_suspects(self) -> bool:
        """Apply what was in work when the last process ended; False when the database does not allow it at present."""
        queue, name = self._queue, self._kind.name
        if not queue.suspects[name]:
            return True
        async with queue.trial:
            pieces = [[item_id] for item_id in queue.suspects[name]]
            done = await self._isolate(pieces)
            queue.suspects[name] = [item_id for piece in pieces for item_id in piece]
        return done

    async def _isolate(self, pieces: list[list[int]]) -> bool:
        """Apply these pieces, each a list of items' ids, in order, and settle the items that fail by themselves.

        False when the database does not allow it at present; what was not done is left in `pieces`.
        """
        while pieces and not self._gate.closed and not self._queue.paused:
            await self._queue.db.writer.stand_back(_TURN)
            piece = pieces[0]
            try:
                count, settled = await self._queue.db.write(lambda tx: self._apply_these(tx, piece))  # noqa: B023
            except Exception as error:  # noqa: BLE001 (each ends as the outcome of an item, or as trouble of the queue)
                if not _is_about_an_item(error):
                    self._note_trouble(error)
                    return False
                middle = len(piece) // 2
                if middle:
                    pieces[:1] = [piece[:middle], piece[middle:]]
                elif await self._settle_failure(piece[0], error):
                    del pieces[0]
                else:
                    return False
            else:
                self._note_settled(settled)
                pieces[:1] = [piece[count:]] if count < len(piece) else []
        return True

    def _apply_these(self, tx: Session, ids: Sequence[int]) -> tuple[int, Settled]:
        """On the writer's thread: how many of these are done, from the first on, and what became of them."""
        found = [tx.items.by_id(item_id) for item_id in ids]
        items = [item for item in found if item is not None and item.state == "ready"]
        if not items:
            return len(ids), Settled(0, 0, 0)
        count, settled = self._apply(tx, items, may_end_early=True)
        return (len(ids) if count == len(items) else ids.index(items[count].id)), settled

    async def _settle_failure(self, item_id: int, error: Exception) -> bool:
        """Settle an item that failed by itself; False when the database does not allow it at present."""
        outcome = _outcome_of(error)
        if not isinstance(error, FlexportdError):
            log.error("item_failed", item_id=item_id, kind=self._kind.name, exc_info=error)

        def settle(tx: Session) -> Settled:
            item = tx.items.by_id(item_id)
            if item is None or item.state != "ready":
                return Settled(0, 0, 0)
            settling = Settling(self._queue.policy, self._kind.buried, self._queue.clock)
            return settling.settle(tx, [(item, outcome)], counted=False)

        try:
            settled = await self._queue.db.write(settle)
        except Exception as failure:  # noqa: BLE001 (shown in the status, and the item is tried again)
            self._note_trouble(failure)
            return False
        self._note_settled(settled)
        return True

    def _note_trouble(self, error: Exception) -> None:
        trouble, name = self._queue.tallies.trouble, self._kind.name
        if isinstance(error, UnavailableError):  # the writer has logged that the disk refuses
            trouble[name] = str(error)
            return
        if name not in trouble:
            log.error("queue_batch_failed", kind=name, exc_info=error)
        trouble[name] = _described(error)

    def _note_settled(self, settled: Settled) -> None:
        self._queue.tallies.trouble.pop(self._kind.name, None)
        _tally(self._queue, self._kind.name, settled)
        if settled.finished or settled.retried:
            self._kind.committed()


def _never() -> bool:
    return False


def _is_about_an_item(error: Exception) -> bool:
    """Whether a batch failed because of what is in it, and not because of the database."""
    return not isinstance(error, UnavailableError) and is_about_content(error)


def _outcome_of(error: Exception) -> Outcome:
    """What becomes of an item that failed by itself. Applying depends on nothing but the store and the item."""
    if isinstance(error, FlexportdError):
        return Dead(str(error)) if error.permanent else Retry(str(error))
    return Retry(_described(error)) if isinstance(error, MemoryError) else Dead(_described(error))


def _described(error: Exception) -> str:
    return harmless(f"{type(error).__name__}: {error}", _LONGEST_ERROR)


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
            wait = await self._claim() if await self._try_suspects() else _AFTER_TROUBLE

    async def _try_suspects(self) -> bool:
        """Run what was in work when the last process ended, one by one; False when the database does not allow it."""
        queue, name = self._queue, self._kind.name
        if not queue.suspects[name]:
            return True
        async with queue.trial:
            while (suspects := queue.suspects[name]) and not self._gate.closed and not queue.paused:
                now = queue.clock.now()
                until = stamp(queue.clock.after(self._limits.lease))
                try:
                    item = await queue.db.write(lambda tx: tx.items.claim_one(suspects[0], stamp(now), until))  # noqa: B023
                except UnavailableError as error:
                    queue.tallies.trouble[name] = str(error)
                    return False
                del suspects[0]
                if item is not None:
                    self._begin(item)
                    while item.id in self._running and await self._gate.passed(None):
                        pass
        return True

    async def _claim(self) -> float | None:
        free = self._limits.workers - len(self._running)
        if free <= 0:
            return None  # the next item that ends opens the gate
        now = self._queue.clock.now()
        until = stamp(self._queue.clock.after(self._limits.lease))
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
        return None if self._running and not items else _until(next_ready_at, self._queue.clock)

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
            log.exception("item_failed", item_id=item.id, kind=item.kind)
            return Retry(_described(error))

    async def _settle(self, item: Item, outcome: Outcome) -> None:
        queue = self._queue
        while True:
            settling = Settling(queue.policy, self._kind.buried, queue.clock)
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


def _until(ready_at: str | None, clock: Clock) -> float | None:
    if ready_at is None:
        return None
    return min(max(clock.until(parse(ready_at)), 0.005), 60.0)
