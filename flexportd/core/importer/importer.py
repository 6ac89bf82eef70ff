"""Importing responses: compared on a reader's thread, written in short transactions that give way to webhooks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.importer.batch_import import ImportResult, apply, merge_keys, record_unchanged, remove
from flexportd.core.importer.compare import Comparison
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import UnavailableError
from flexportd.storage.connection import is_data_error
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

BATCH_SIZE = 400  # objects in one transaction, and compared at once, while no webhook arrives
BUSY_BATCH_SIZE = 8  # the same while webhooks arrive: as much as one of them may wait for
_STEP_SIZE = 50  # objects between two checks for a waiting webhook
_CHECKPOINT_BYTES = 24 << 20  # bytes of WAL that are checkpointed between two transactions, while that is quick
_IDLE_AFTER = 0.5  # seconds without a webhook after which none is expected
_MAX_YIELD = 0.25  # seconds to wait for webhooks to pause
_DATE_ROUNDING = timedelta(milliseconds=999)
_TRUST_EVENTS_FOR = timedelta(minutes=5)  # how long an event may be ahead of Flexport's own responses

WrittenKeys = Mapping[str, set[Key]]

OnImported = Callable[[Transaction, int, ImportResult], None]
"""(transaction, index of the comparison, result): runs in the transaction that completes an import, also of no news."""


class RequestStart(NamedTuple):
    """Taken before a request is sent: the newest stored event, and our time."""

    seq: int = 0
    sent_at: str = ""


class ImportObserver:
    """Observes imports, for schema drift and the cache; the base does nothing."""

    def inspect(self, object_name: str, text: bytes) -> bool:  # noqa: ARG002 (for overrides)
        """An object that is new or changed; on a reader's thread. An `Inspector`."""
        return False

    def report_anomaly(self, object_name: str, sentence: str) -> None:
        """A response has an anomaly, but can be used."""

    def record_import(self, tx: Transaction, domain: ResourceType, result: ImportResult, at: str) -> None:
        """In the transaction that completes a response."""

    def after_commit(self, touched: WrittenKeys) -> None:
        """After these were written; on the event loop."""


class Importer:
    """Imports Flexport's responses into the tables."""

    def __init__(self, db: Database, clock: Clock, watcher: ImportObserver | None = None) -> None:
        self._db = db
        self.clock = clock
        self._observer = watcher or ImportObserver()
        self._lock = asyncio.Lock()

    async def request_start(self) -> RequestStart:
        """To be taken before a request is sent."""
        return RequestStart(await self._db.read(lambda tx: tx.events.last_seq()), self.clock.stamp())

    async def load(self, domain: ResourceType, key: Key) -> Record | None:
        """The stored state of an object, also of a removed one."""
        return await self._db.read(lambda tx: tx.resources.load(domain.table, (key,)).get(key))

    async def of_shipment(self, domain: ResourceType, shipment: int) -> list[Record]:
        """The objects of a shipment that are not removed."""
        found = await self._db.read(lambda tx: tx.resources.of_shipment(domain.table, shipment))
        return [record for record in found if record.removed_at is None]

    async def event_since(self, domain: ResourceType, key: Key, at: str) -> bool:
        """Whether an event has changed this object since a time on our clock."""
        record = await self.load(domain, key)
        return record is not None and record.source in ("webhook", "events") and record.synced_at >= at

    def report_anomaly(self, domain: ResourceType, sentences: Sequence[str]) -> None:
        """Report anomalies of a response."""
        for sentence in sentences:
            self._observer.report_anomaly(domain.object_name, sentence)

    async def compare(
        self,
        domain: ResourceType,
        rows: Sequence[bytes],
        times: tuple[str, str],
        start: RequestStart,
        *,
        is_list: bool = False,
    ) -> Comparison:
        """Compare a response with the store; writes nothing.

        `times` are when its request started and its Date, on Flexport's clock; `start` was taken before the request was
        sent. `is_list`: the rows are list entries. A Date is cut to the second, so what changed just before the
        response has a slightly later time.
        """
        latest = stamp(parse(times[1]) + _DATE_ROUNDING)
        trust_until = stamp(self.clock.now() - _TRUST_EVENTS_FOR)
        comparison = Comparison(domain, times[0], latest, start.seq, trust_until, start.sent_at, is_list)
        done, inspect = 0, self._observer.inspect
        while done < len(rows):
            async with self._yield_to_webhooks():
                some = rows[done : done + self.batch_size]
                await self._db.read(lambda tx: comparison.compare(tx, some, inspect))  # noqa: B023 (awaited)
            done += len(some)
        return comparison

    async def apply(
        self, comparisons: Sequence[Comparison], cause: ChangeCause, on_imported: OnImported = lambda _tx, _i, _r: None
    ) -> list[ImportResult]:
        """Write what these comparisons found, one after the other; as many in one transaction as fit.

        After an unexpected error the objects are written one by one; one that fails alone counts as a failure.
        """
        results, first, one_by_one = [ImportResult.start(one) for one in comparisons], 0, False
        while first < len(results):
            async with self._yield_to_webhooks():
                left, room = results[first : first + 1] if one_by_one else results[first:], self.batch_size
                batch = _Batch(left, first, 1 if one_by_one else room, cause, on_imported)
                try:
                    done, complete, written = await self._db.write(lambda tx: self._apply_batch(tx, batch))  # noqa: B023
                except Exception as error:
                    if isinstance(error, UnavailableError) or not is_data_error(error):
                        raise
                    if all(result.is_complete for result in left):
                        raise  # no object is at fault
                    if one_by_one:
                        comparison = left[0].comparison
                        log.exception("object_write_failed", resource=comparison.domain.name)
                        comparison.reject(left[0].applied, error)
                    one_by_one = True
                    continue
            results[first : first + len(done)] = done
            first += complete
            if written:
                self._observer.after_commit(written)
            if self._db.writer.wal_used > _CHECKPOINT_BYTES and not self._db.writer.quiet(_IDLE_AFTER):
                await self._db.writer.checkpoint_if_idle()
        return results

    @contextlib.asynccontextmanager
    async def _yield_to_webhooks(self) -> AsyncIterator[None]:
        """Give way to webhook acknowledgements.

        While they arrive, one thread at a time works here: with each further thread that wants the interpreter, the
        writer waits longer for it after every statement.
        """
        async with contextlib.AsyncExitStack() as stack:
            if not self._db.writer.quiet(_IDLE_AFTER):
                await stack.enter_async_context(self._lock)
                await self._db.writer.wait_for_quiet(_MAX_YIELD)
            yield

    @property
    def batch_size(self) -> int:
        """How many objects may be compared, or written, at once."""
        return BATCH_SIZE if self._db.writer.quiet(_IDLE_AFTER) else BUSY_BATCH_SIZE

    def _apply_batch(self, tx: Transaction, batch: "_Batch") -> tuple[list[ImportResult], int, dict[str, set[Key]]]:
        """On the writer's thread: write one step at least, until the batch is full or an acknowledgement waits.

        Returns the new results, how many of them are complete (all but the last, or all), and the written keys.
        """
        done, written, room, steps = list[ImportResult](), dict[str, set[Key]](), batch.room, 0
        for index, before in enumerate(batch.results, batch.first):
            result, comparison, is_complete = before, before.comparison, False
            while not is_complete:
                if room <= 0 or (steps and self._db.writer.urgent_waiting()):
                    return [*done, result], len(done), written
                step = comparison.candidates[result.applied : result.applied + min(room, _STEP_SIZE)]
                applied = apply(tx, comparison, step, batch.cause)
                result, written = result + applied, merge_keys(written, applied.written)
                room, steps, is_complete = room - len(step), steps + 1, result.is_complete
            record_unchanged(tx, comparison, batch.cause.at)
            self._record_import(tx, result, batch.cause.at)
            batch.on_imported(tx, index, result)
            done.append(result)
        return done, len(done), written

    async def remove(self, domain: ResourceType, keys: Sequence[Key], as_of: str, cause: ChangeCause) -> int:
        """Mark objects as removed, as of a time on Flexport's clock; returns how many were not before."""
        count = 0
        for start in range(0, len(keys), BUSY_BATCH_SIZE):
            some = keys[start : start + BUSY_BATCH_SIZE]
            await self._db.writer.wait_for_quiet(_MAX_YIELD)

            def work(tx: Transaction, some: Sequence[Key] = some) -> WrittenKeys:
                return remove(tx, domain, some, as_of, cause)

            touched = await self._db.write(work)
            count += len(touched.get(domain.name, ()))
            self._observer.after_commit(touched)
        return count

    def _record_import(self, tx: Transaction, result: ImportResult, at: str) -> None:
        comparison = result.comparison
        name = comparison.domain.name
        if comparison.failures:
            tx.unreadable.put(name, at, [(failure.name, failure.error, failure.raw) for failure in comparison.failures])
        readable = [*(one.id for one in comparison.candidates), *comparison.unchanged]
        if readable and tx.unreadable.has_any(name):
            tx.unreadable.remove(name, readable)
        self._observer.record_import(tx, comparison.domain, result, at)


class _Batch(NamedTuple):
    """Results that are not complete, the index of the first, and how many objects to write at most."""

    results: Sequence[ImportResult]
    first: int
    room: int
    cause: ChangeCause
    on_imported: OnImported
