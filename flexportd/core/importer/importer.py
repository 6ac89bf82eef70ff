"""Taking in what was fetched: read beside the writer, applied in short transactions that stand back for webhooks."""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.importer.compare import (
    Comparison,
    FetchedBatch,
    ImportResult,
    apply,
    compare,
    record_unchanged,
    remove,
)
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import UnavailableError
from flexportd.storage.connection import is_data_error
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

BATCH_SIZE = 400  # objects in one transaction, and read in one go, while no webhook comes
BUSY_BATCH_SIZE = 8  # the same while webhooks come: as much as one of them may wait for
_STEP_SIZE = 50  # objects between two looks whether the first webhook has come
_CHECKPOINT_BYTES = (
    24 << 20
)  # bytes of WAL after which it is folded between two transactions, while that is quickly done
_IDLE_AFTER = 0.5  # seconds without a webhook after which none is expected
_MAX_YIELD = 0.25  # seconds of standing back before one goes between acknowledgements
_DATE_ROUNDING = timedelta(milliseconds=999)
_TRUST_EVENTS_FOR = timedelta(minutes=5)  # how long an event may know better than Flexport's own answers

WrittenKeys = Mapping[str, set[Key]]


class ImportSummary(msgspec.Struct, frozen=True):
    """What an answer was, and what it did."""

    comparison: Comparison
    result: ImportResult

    @property
    def unchanged(self) -> int:
        """How many objects were as we had them."""
        return len(self.comparison.unchanged) + self.result.unchanged

    @property
    def skips(self) -> dict[str, int]:
        """Why -> how many were left out; those that cannot be read are counted apart."""
        return dict(self.comparison.skips + self.result.skips)

    @property
    def failed(self) -> int:
        """How many could not be read."""
        return len(self.comparison.failures)


OnImported = Callable[[Transaction, ImportSummary], None]
"""Writes down what an answer did, in the transaction that ends it."""


class RequestStart(NamedTuple):
    """What is noted before a request is sent: the newest event that was kept by then, and our time."""

    seq: int = 0
    sent_at: str = ""


class PendingImport(msgspec.Struct):
    """An answer that was read and is to be applied. `note` runs in the transaction that ends it, also without news."""

    batch: FetchedBatch
    comparison: Comparison
    note: OnImported = lambda _t, _k: None
    result: ImportResult = msgspec.field(default_factory=ImportResult)  # so far
    next_candidate: int = 0  # the first candidate that is not

    @property
    def summary(self) -> ImportSummary:
        """What it was, and what it has done so far."""
        return ImportSummary(self.comparison, self.result)


class _ImportStep(NamedTuple):
    """Some candidates of one answer."""

    pending: PendingImport
    start: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether the answer ends with it."""
        return self.end == len(self.pending.comparison.candidates)


class ImportObserver:
    """Whoever wants to know what comes by: the drift ledger, the cache. Does nothing by itself."""

    def inspect(self, object_name: str, text: bytes) -> bool:  # noqa: ARG002 (for who overrides it)
        """An object that is new, or not as we had it; from a reader's thread. As `fetched.Look`."""
        return False

    def report_anomaly(self, object_name: str, sentence: str) -> None:
        """An answer is not as it should be, though it can be read."""

    def record_import(self, tx: Transaction, domain: ResourceType, taken: ImportSummary, at: str) -> None:
        """In the transaction that ends an answer."""

    def after_commit(self, touched: WrittenKeys) -> None:
        """These were written; on the event loop."""


class Importer:
    """The one way by which answers of Flexport's reach the tables."""

    def __init__(self, db: Database, clock: Clock, watcher: ImportObserver | None = None) -> None:
        self._db = db
        self.clock = clock
        self._observer = watcher or ImportObserver()
        self._lock = asyncio.Lock()

    async def request_start(self) -> RequestStart:
        """To be noted before a request is sent: which events had come by then."""
        return RequestStart(await self._db.read(lambda tx: tx.events.last_seq()), self.clock.stamp())

    async def load(self, domain: ResourceType, key: Key) -> Record | None:
        """What is known of an object, also of one that was removed."""
        return await self._db.read(lambda tx: tx.resources.load(domain.table, (key,)).get(key))

    async def of_shipment(self, domain: ResourceType, shipment: int) -> list[Record]:
        """What is known of a shipment's objects that were not removed."""
        found = await self._db.read(lambda tx: tx.resources.of_shipment(domain.table, shipment))
        return [record for record in found if record.removed_at is None]

    async def event_since(self, domain: ResourceType, key: Key, at: str) -> bool:
        """Whether an event has told of this object since a time of ours."""
        record = await self.load(domain, key)
        return record is not None and record.source in ("webhook", "events") and record.synced_at >= at

    def report_anomaly(self, domain: ResourceType, sentences: Sequence[str]) -> None:
        """Have it noted what is odd about an answer."""
        for sentence in sentences:
            self._observer.report_anomaly(domain.object_name, sentence)

    def make_batch(
        self,
        domain: ResourceType,
        rows: Sequence[bytes],
        times: tuple[str, str],
        start: RequestStart,
        *,
        is_list: bool = False,
    ) -> FetchedBatch:
        """An answer; `times` are when its request started and its Date, on Flexport's clock.

        `start` is what was noted before the request was sent. `is_list`: the rows are entries of a list.
        A Date is cut to the second: what changed just before the answer bears a time that is a little later.
        """
        started_at, date = times
        latest = stamp(parse(date) + _DATE_ROUNDING)
        patience = stamp(self.clock.now() - _TRUST_EVENTS_FOR)
        return FetchedBatch(domain, rows, started_at, latest, start.seq, patience, start.sent_at, is_list)

    async def import_batch(
        self, answered: FetchedBatch, cause: ChangeCause, note: OnImported = lambda _t, _k: None
    ) -> ImportSummary:
        """Read an answer and bring the store up to it."""
        pending = PendingImport(answered, await self.compare(answered), note)
        await self.apply([pending], cause)
        return pending.summary

    async def compare(self, answered: FetchedBatch) -> Comparison:
        """Compare an answer with what is stored; nothing is written."""
        reading, rows, done = Comparison.empty(), answered.rows, 0
        while done < len(rows):
            async with self._yield_to_webhooks():
                size = self.batch_size
                some = msgspec.structs.replace(answered, rows=rows[done : done + size])
                reading.add(await self._db.read(lambda tx: compare(tx, some, self._observer.inspect)))  # noqa: B023 (awaited)
            done += size
        return reading

    async def apply(self, answers: Sequence[PendingImport], cause: ChangeCause) -> None:
        """Bring the store up to these, one after the other; as many in one transaction as there is room for.

        When that raises something unforeseen, they are written one by one; what fails by itself counts as a failure.
        """
        left, alone = deque(answers), False
        while left:
            async with self._yield_to_webhooks():
                steps = list(_steps(left, 1))[:1] if alone else list(_steps(left, self.batch_size))
                try:
                    done = await self._db.write(lambda tx: self._apply_steps(tx, steps, cause))  # noqa: B023 (awaited)
                except Exception as error:
                    objects = sum(step.end - step.start for step in steps)
                    if isinstance(error, UnavailableError) or not is_data_error(error) or not objects:
                        raise
                    if alone:
                        step = steps[0]
                        log.exception("object_write_failed", resource=step.pending.batch.domain.name)
                        step.pending.comparison.reject(step.start, error)
                    alone = True
                    continue
            for step, applied in zip(steps, done, strict=False):
                step.pending.result, step.pending.next_candidate = _add_results(step.pending.result, applied), step.end
                if step.is_last:
                    left.popleft()
                if applied.written:
                    self._observer.after_commit(applied.written)
            if self._db.writer.wal_used > _CHECKPOINT_BYTES and not self._db.writer.quiet(_IDLE_AFTER):
                await self._db.writer.checkpoint_if_idle()

    @contextlib.asynccontextmanager
    async def _yield_to_webhooks(self) -> AsyncIterator[None]:
        """Standing back for acknowledgements.

        While they come, one thread at a time works here: with each more that wants the interpreter, the writer waits
        longer for it after every statement.
        """
        async with contextlib.AsyncExitStack() as stack:
            if not self._db.writer.quiet(_IDLE_AFTER):
                await stack.enter_async_context(self._lock)
                await self._db.writer.wait_for_quiet(_MAX_YIELD)
            yield

    @property
    def batch_size(self) -> int:
        """How many objects may be read, or written, in one go."""
        return BATCH_SIZE if self._db.writer.quiet(_IDLE_AFTER) else BUSY_BATCH_SIZE

    def _apply_steps(self, tx: Transaction, steps: Sequence[_ImportStep], cause: ChangeCause) -> list[ImportResult]:
        """On the writer's thread: take these steps, one at least, until an acknowledgement waits; what each did."""
        done: list[ImportResult] = []
        for step in steps:
            if done and self._db.writer.urgent_waiting():
                break
            pending = step.pending
            done.append(apply(tx, pending.batch, pending.comparison.candidates[step.start : step.end], cause))
            if step.is_last:
                now = [applied for other, applied in zip(steps, done, strict=False) if other.pending is pending]
                taken = ImportSummary(pending.comparison, functools.reduce(_add_results, now, pending.result))
                record_unchanged(tx, pending.batch, taken.comparison.unchanged, cause.at)
                self._record_import(tx, pending.batch.domain, taken, cause)
                pending.note(tx, taken)
        return done

    async def remove(self, domain: ResourceType, keys: Sequence[Key], as_of: str, cause: ChangeCause) -> int:
        """Mark objects that Flexport no longer has, as of a time on its clock; how many were still there."""
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

    def _record_import(self, tx: Transaction, domain: ResourceType, taken: ImportSummary, cause: ChangeCause) -> None:
        reading = taken.comparison
        if reading.failures:
            rows = [(failure.name, failure.error, failure.raw) for failure in reading.failures]
            tx.unreadable.put(domain.name, cause.at, rows)
        readable = [*(one.id for one in reading.candidates), *reading.unchanged]
        if readable and tx.unreadable.has_any(domain.name):
            tx.unreadable.remove(domain.name, readable)
        self._observer.record_import(tx, domain, taken, cause.at)


def _steps(answers: Iterable[PendingImport], room: int) -> Iterator[_ImportStep]:
    """The next steps, up to so many objects; an answer that holds no news is one all the same."""
    for pending in answers:
        start, total = pending.next_candidate, len(pending.comparison.candidates)
        while room > 0:
            end = min(start + min(room, _STEP_SIZE), total)
            yield _ImportStep(pending, start, end)
            room -= end - start
            start = end
            if end == total:
                break


def _add_results(one: ImportResult, other: ImportResult) -> ImportResult:
    return ImportResult(
        one.changed + other.changed,
        one.new + other.new,
        one.unchanged + other.unchanged,
        one.skips + other.skips,
        [*one.went_back, *other.went_back],
        [*one.anomalies, *other.anomalies],
        {name: one.written.get(name, set()) | other.written.get(name, set()) for name in one.written | other.written},
    )
