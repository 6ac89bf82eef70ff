"""The workers that run items: one for each kind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.errors import FlexportdError, UnavailableError
from flexportd.escape import escape_control
from flexportd.outcome import Dead, Outcome, Retry
from flexportd.queue.handlers import BatchHandler, BatchResult, ItemHandler
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.connection import is_data_error
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

# Items in one transaction, growing while no acknowledgement waits: of 512, each took a sixth more CPU.
MIN_BATCH, MAX_BATCH = 256, 1024
_SMALL_BATCH = 64  # items in one transaction between acknowledgements
_QUIET_TIMEOUT = 2.0  # seconds to wait for quiet before batches run between acknowledgements
_YIELD_SECONDS = 0.025  # seconds to wait between batches after that
_RETRY_DELAY = 1.0  # seconds
_MAX_ERROR = 500  # characters of an unexpected error that are stored


@dataclass(frozen=True, slots=True)
class _Batch:
    result: BatchResult
    full: bool
    more: bool
    next_ready_at: str | None


class BatchWorker:
    """Runs a `BatchHandler`: batch by batch, yielding while acknowledgements wait.

    A batch that fails is rolled back and halved until the failing item is alone; that item ends with its error, and all
    others are applied in order. Items that were running when the last process ended are applied first, one by one.
    """

    def __init__(self, queue: Queue, kind: BatchHandler) -> None:
        self._queue = queue
        self._handler = kind
        self._gate = queue.gates[kind.name]
        self._size = MIN_BATCH

    async def run(self) -> None:
        """Run until the gate closes."""
        wait: float | None = 0.0
        while await self._gate.wait(wait):
            wait = await self._process_due()

    async def _process_due(self) -> float | None:
        """Run what is due; seconds until the next item is due, None when none waits."""
        if not await self._try_suspects():
            return _RETRY_DELAY
        patience = _QUIET_TIMEOUT
        while not self._gate.closed and not self._queue.paused:
            quiet = await self._queue.db.writer.wait_for_quiet(patience)
            batch = await self._batch(quiet=quiet)
            if batch is None:
                return _RETRY_DELAY
            if not batch.more:
                return _seconds_until(batch.next_ready_at, self._queue.clock)
            patience = _QUIET_TIMEOUT if quiet else _YIELD_SECONDS
        return None

    async def _batch(self, *, quiet: bool) -> _Batch | None:
        """Apply what is due; None while the database refuses."""
        limit = self._size if quiet else _SMALL_BATCH
        taken: list[Item] = []
        try:
            batch = await self._queue.db.write(lambda tx: self._work(tx, limit, taken, may_end_early=quiet))
        except Exception as error:  # noqa: BLE001 (each ends as the outcome of an item or an error of the queue)
            if not taken or not _is_item_error(error):
                self._record_error(error)
                return None
            self._size = MIN_BATCH
            ids = [item.id for item in taken]
            if not await self._isolate(
                [ids[start : start + _SMALL_BATCH] for start in range(0, len(ids), _SMALL_BATCH)]
            ):
                return None
            return _Batch(BatchResult(0, 0, 0), full=False, more=True, next_ready_at=None)
        self._size = min(self._size * 2, MAX_BATCH) if quiet and batch.full else MIN_BATCH
        self._record_result(batch.result)
        return batch

    def _work(self, tx: Transaction, limit: int, taken: list[Item], *, may_end_early: bool) -> _Batch:
        """On the writer's thread: take, apply and complete items in one transaction. `taken` receives the items."""
        queue, name = self._queue, self._handler.name
        now = queue.clock.now()
        items = tx.items.due(name, stamp(now), limit)
        if not items:
            return _Batch(BatchResult(0, 0, 0), full=False, more=False, next_ready_at=tx.items.next_ready_at(name))
        taken += items
        done, settled = self._apply(tx, items, may_end_early=may_end_early)
        return _Batch(settled, full=done == limit, more=True, next_ready_at=None)

    def _apply(self, tx: Transaction, items: Sequence[Item], *, may_end_early: bool) -> tuple[int, BatchResult]:
        """How many of these were applied, from the first on, and the result."""
        queue = self._queue
        queue.db.marker.put([(item.id, item.attempts) for item in items])
        ends_early = queue.db.writer.urgent_waiting if may_end_early else lambda: False
        done, effects = self._handler.apply(tx, items, ends_early)
        return len(done), queue.completion(self._handler).complete(tx, done, counted=False, effects=effects)

    async def _try_suspects(self) -> bool:
        """Apply what was running when the last process ended; False while the database refuses."""
        queue, name = self._queue, self._handler.name
        if not queue.suspects[name]:
            return True
        async with queue.isolation:
            pieces = [[item_id] for item_id in queue.suspects[name]]
            done = await self._isolate(pieces)
            queue.suspects[name] = [item_id for piece in pieces for item_id in piece]
        return done

    async def _isolate(self, pieces: list[list[int]]) -> bool:
        """Apply these pieces, each a list of item ids, in order, and complete the items that fail alone.

        False while the database refuses; what was not done is left in `pieces`.
        """
        while pieces and not self._gate.closed and not self._queue.paused:
            await self._queue.db.writer.wait_for_quiet(_YIELD_SECONDS)
            piece = pieces[0]
            try:
                count, settled = await self._queue.db.write(lambda tx: self._apply_by_id(tx, piece))  # noqa: B023
            except Exception as error:  # noqa: BLE001 (each ends as the outcome of an item or an error of the queue)
                if not _is_item_error(error):
                    self._record_error(error)
                    return False
                middle = len(piece) // 2
                if middle:
                    pieces[:1] = [piece[:middle], piece[middle:]]
                elif await self._complete_failed(piece[0], error):
                    del pieces[0]
                else:
                    return False
            else:
                self._record_result(settled)
                pieces[:1] = [piece[count:]] if count < len(piece) else []
        return True

    def _apply_by_id(self, tx: Transaction, ids: Sequence[int]) -> tuple[int, BatchResult]:
        """On the writer's thread: how many of these are done, from the first on, and the result."""
        rows = [tx.items.by_id(item_id) for item_id in ids]
        items = [item for item in rows if item is not None and item.state == "ready"]
        if not items:
            return len(ids), BatchResult(0, 0, 0)
        count, settled = self._apply(tx, items, may_end_early=True)
        return (len(ids) if count == len(items) else ids.index(items[count].id)), settled

    async def _complete_failed(self, item_id: int, error: Exception) -> bool:
        """Complete an item that failed alone; False while the database refuses."""
        outcome = _failure_outcome(error)
        if not isinstance(error, FlexportdError):
            log.error("item_failed", item_id=item_id, kind=self._handler.name, exc_info=error)

        def settle(tx: Transaction) -> BatchResult:
            item = tx.items.by_id(item_id)
            if item is None or item.state != "ready":
                return BatchResult(0, 0, 0)
            return self._queue.completion(self._handler).complete(tx, [(item, outcome)], counted=False)

        try:
            settled = await self._queue.db.write(settle)
        except Exception as failure:  # noqa: BLE001 (shown in the status, and the item is tried again)
            self._record_error(failure)
            return False
        self._record_result(settled)
        return True

    def _record_error(self, error: Exception) -> None:
        trouble, name = self._queue.counters.errors, self._handler.name
        if isinstance(error, UnavailableError):  # the writer has logged that the disk refuses
            trouble[name] = str(error)
            return
        if name not in trouble:
            log.error("queue_batch_failed", kind=name, exc_info=error)
        trouble[name] = _describe(error)

    def _record_result(self, settled: BatchResult) -> None:
        self._queue.counters.errors.pop(self._handler.name, None)
        _count(self._queue, self._handler.name, settled)
        if settled.finished or settled.retried:
            self._handler.on_commit(settled.effects)


def _is_item_error(error: Exception) -> bool:
    return not isinstance(error, UnavailableError) and is_data_error(error)


def _failure_outcome(error: Exception) -> Outcome:
    """The outcome of an item that failed alone. Applying depends only on the database and the item."""
    if isinstance(error, FlexportdError):
        return Dead(str(error)) if error.permanent else Retry(str(error))
    return Retry(_describe(error)) if isinstance(error, MemoryError) else Dead(_describe(error))


def _describe(error: Exception) -> str:
    return escape_control(f"{type(error).__name__}: {error}", _MAX_ERROR)


class ItemWorker:
    """Runs an `ItemHandler`: leases items, concurrently between lanes, in order within one."""

    def __init__(self, queue: Queue, kind: ItemHandler, tasks: Tasks, limits: "LeaseLimits") -> None:
        self._queue = queue
        self._handler = kind
        self._gate = queue.gates[kind.name]
        self._tasks = tasks
        self._limits = limits
        self._running: set[int] = set()

    async def run(self) -> None:
        """Run until the gate closes."""
        wait: float | None = 0.0
        while await self._gate.wait(wait):
            wait = await self._claim() if await self._try_suspects() else _RETRY_DELAY

    async def _try_suspects(self) -> bool:
        """Run what was running when the last process ended, one by one; False while the database refuses."""
        queue, name = self._queue, self._handler.name
        if not queue.suspects[name]:
            return True
        async with queue.isolation:
            while (suspects := queue.suspects[name]) and not self._gate.closed and not queue.paused:
                now = queue.clock.now()
                until = stamp(queue.clock.after(self._limits.lease))
                try:
                    item = await queue.db.write(lambda tx: tx.items.claim_one(suspects[0], stamp(now), until))  # noqa: B023
                except UnavailableError as error:
                    queue.counters.errors[name] = str(error)
                    return False
                del suspects[0]
                if item is not None:
                    self._begin(item)
                    while item.id in self._running and await self._gate.wait(None):
                        pass
        return True

    async def _claim(self) -> float | None:
        free = self._limits.workers - len(self._running)
        if free <= 0:
            return None  # the next item to end opens the gate
        now = self._queue.clock.now()
        until = stamp(self._queue.clock.after(self._limits.lease))
        name = self._handler.name
        try:
            items = await self._queue.db.write(lambda tx: tx.items.claim(name, stamp(now), until, free))
            next_ready_at = await self._queue.db.read(lambda tx: tx.items.next_ready_at(name))
        except UnavailableError as error:
            self._queue.counters.errors[name] = str(error)
            return _RETRY_DELAY
        self._queue.counters.errors.pop(name, None)
        if self._gate.closed:
            for item in items:  # claimed while the daemon began to stop: nothing starts any more
                await self._release(item)
            return None
        for item in items:
            self._begin(item)
        # A due item that could not be claimed waits for its lane; the end of the running one opens the gate.
        return None if self._running and not items else _seconds_until(next_ready_at, self._queue.clock)

    def _begin(self, item: Item) -> None:
        self._running.add(item.id)
        self._tasks.start(f"item-{item.id}", lambda: self._run(item), vital=False)

    async def _run(self, item: Item) -> None:
        try:
            outcome = await self._handle(item)
            await asyncio.shield(self._complete(item, outcome))
        except asyncio.CancelledError:
            # Stopped midway: back to ready, and the attempt is not counted.
            await asyncio.shield(self._release(item))
            raise
        finally:
            self._running.discard(item.id)
            self._gate.wake()

    async def _handle(self, item: Item) -> Outcome:
        try:
            async with asyncio.timeout(self._limits.lease):
                return await self._handler.handle(item)
        except TimeoutError:
            return Retry(f"it took longer than its lease of {self._limits.lease:g} s")
        except FlexportdError as error:
            after = float(getattr(error, "retry_after", 0) or 0)
            return Dead(str(error)) if error.permanent else Retry(str(error), retry_after=after)
        except Exception as error:
            log.exception("item_failed", item_id=item.id, kind=item.kind)
            return Retry(_describe(error))

    async def _complete(self, item: Item, outcome: Outcome) -> None:
        queue = self._queue
        while True:
            settling = queue.completion(self._handler)
            try:
                settled = await queue.db.write(lambda tx: settling.complete(tx, [(item, outcome)], counted=True))  # noqa: B023
            except UnavailableError as error:
                # The effect has happened: it must not be lost because the disk is full for a while.
                queue.counters.errors[self._handler.name] = str(error)
                await queue.clock.sleep(_RETRY_DELAY)
            else:
                _count(queue, self._handler.name, settled)
                self._handler.on_commit()
                return

    async def _release(self, item: Item) -> None:
        at = self._queue.clock.stamp()
        await self._queue.db.write(lambda tx: tx.items.postpone(item.id, at, item.attempts - 1))


@dataclass(frozen=True, slots=True)
class LeaseLimits:
    """How many items of a kind run concurrently, and how long one may take (seconds)."""

    workers: int = 4
    lease: float = 60.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "LeaseLimits":
        """What `[queue]` says."""
        return cls(settings.queue.workers, settings.queue.lease.total_seconds())


def _count(queue: Queue, kind: str, settled: BatchResult) -> None:
    queue.finished(kind, settled.finished)
    queue.counters.finished += settled.finished - settled.dead
    queue.counters.dead += settled.dead
    queue.counters.retried += settled.retried
    queue.counters.batches += 1


def _seconds_until(ready_at: str | None, clock: Clock) -> float | None:
    if ready_at is None:
        return None
    return min(max(clock.until(parse(ready_at)), 0.005), 60.0)
