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
from flexportd.core.importer.compare import Answered, Applied, Reading, apply, note_unchanged, read, remove
from flexportd.core.resources.resource_type import Domain
from flexportd.core.unit_of_work import Cause
from flexportd.errors import UnavailableError
from flexportd.storage.connection import is_about_content
from flexportd.storage.database import Database
from flexportd.storage.repositories.resources import Key, Record
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

AT_ONCE = 400  # objects in one transaction, and read in one go, while no webhook comes
BETWEEN = 8  # the same while webhooks come: as much as one of them may wait for
_STEP = 50  # objects between two looks whether the first webhook has come
_FOLD = 24 << 20  # bytes of WAL after which it is folded between two transactions, while that is quickly done
_LULL = 0.5  # seconds without a webhook after which none is expected
_PATIENCE = 0.25  # seconds of standing back before one goes between acknowledgements
_CUT = timedelta(milliseconds=999)
_BELIEVED_FOR = timedelta(minutes=5)  # how long an event may know better than Flexport's own answers

Touched = Mapping[str, set[Key]]


class Taken(msgspec.Struct, frozen=True):
    """What an answer was, and what it did."""

    reading: Reading
    applied: Applied

    @property
    def unchanged(self) -> int:
        """How many objects were as we had them."""
        return len(self.reading.unchanged) + self.applied.unchanged

    @property
    def skips(self) -> dict[str, int]:
        """Why -> how many were left out; those that cannot be read are counted apart."""
        return dict(self.reading.skips + self.applied.skips)

    @property
    def failed(self) -> int:
        """How many could not be read."""
        return len(self.reading.failures)


Note = Callable[[Session, Taken], None]
"""Writes down what an answer did, in the transaction that ends it."""


class RequestStart(NamedTuple):
    """What is noted before a request is sent: the newest event that was kept by then, and our time."""

    seq: int = 0
    sent_at: str = ""


class Pending(msgspec.Struct):
    """An answer that was read and is to be applied. `note` runs in the transaction that ends it, also without news."""

    answered: Answered
    reading: Reading
    note: Note = lambda _t, _k: None
    applied: Applied = msgspec.field(default_factory=Applied)  # so far
    at: int = 0  # the first candidate that is not

    @property
    def taken(self) -> Taken:
        """What it was, and what it has done so far."""
        return Taken(self.reading, self.applied)


class _Step(NamedTuple):
    """Some candidates of one answer."""

    pending: Pending
    start: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether the answer ends with it."""
        return self.end == len(self.pending.reading.candidates)


class Watcher:
    """Whoever wants to know what comes by: the drift ledger, the cache. Does nothing by itself."""

    def look(self, object_name: str, text: bytes) -> bool:  # noqa: ARG002 (for who overrides it)
        """An object that is new, or not as we had it; from a reader's thread. As `fetched.Look`."""
        return False

    def odd(self, object_name: str, sentence: str) -> None:
        """An answer is not as it should be, though it can be read."""

    def note(self, tx: Session, domain: Domain, taken: Taken, at: str) -> None:
        """In the transaction that ends an answer."""

    def committed(self, touched: Touched) -> None:
        """These were written; on the event loop."""


class Intake:
    """The one way by which answers of Flexport's reach the tables."""

    def __init__(self, db: Database, clock: Clock, watcher: Watcher | None = None) -> None:
        self._db = db
        self.clock = clock
        self._watcher = watcher or Watcher()
        self._one = asyncio.Lock()

    async def request_start(self) -> RequestStart:
        """To be noted before a request is sent: which events had come by then."""
        return RequestStart(await self._db.read(lambda tx: tx.events.last_seq()), self.clock.stamp())

    async def stored(self, domain: Domain, key: Key) -> Record | None:
        """What is known of an object, also of one that was removed."""
        return await self._db.read(lambda tx: tx.resources.load(domain.table, (key,)).get(key))

    async def of_shipment(self, domain: Domain, shipment: int) -> list[Record]:
        """What is known of a shipment's objects that were not removed."""
        found = await self._db.read(lambda tx: tx.resources.of_shipment(domain.table, shipment))
        return [record for record in found if record.removed_at is None]

    async def told_since(self, domain: Domain, key: Key, at: str) -> bool:
        """Whether an event has told of this object since a time of ours."""
        record = await self.stored(domain, key)
        return record is not None and record.source in ("webhook", "events") and record.synced_at >= at

    def odd(self, domain: Domain, sentences: Sequence[str]) -> None:
        """Have it noted what is odd about an answer."""
        for sentence in sentences:
            self._watcher.odd(domain.object_name, sentence)

    def answered(
        self,
        domain: Domain,
        rows: Sequence[bytes],
        times: tuple[str, str],
        start: RequestStart,
        *,
        is_list: bool = False,
    ) -> Answered:
        """An answer; `times` are when its request started and its Date, on Flexport's clock.

        `start` is what was noted before the request was sent. `is_list`: the rows are entries of a list.
        A Date is cut to the second: what changed just before the answer bears a time that is a little later.
        """
        started_at, date = times
        latest = stamp(parse(date) + _CUT)
        patience = stamp(self.clock.now() - _BELIEVED_FOR)
        return Answered(domain, rows, started_at, latest, start.seq, patience, start.sent_at, is_list)

    async def take(self, answered: Answered, cause: Cause, note: Note = lambda _t, _k: None) -> Taken:
        """Read an answer and bring the store up to it."""
        pending = Pending(answered, await self.read(answered), note)
        await self.apply([pending], cause)
        return pending.taken

    async def read(self, answered: Answered) -> Reading:
        """Compare an answer with what is stored; nothing is written."""
        reading, rows, done = Reading.nothing(), answered.rows, 0
        while done < len(rows):
            async with self._turn():
                size = self.room
                some = msgspec.structs.replace(answered, rows=rows[done : done + size])
                reading.add(await self._db.read(lambda tx: read(tx, some, self._watcher.look)))  # noqa: B023 (awaited)
            done += size
        return reading

    async def apply(self, answers: Sequence[Pending], cause: Cause) -> None:
        """Bring the store up to these, one after the other; as many in one transaction as there is room for.

        When that raises something unforeseen, they are written one by one; what fails by itself counts as a failure.
        """
        left, alone = deque(answers), False
        while left:
            async with self._turn():
                steps = list(_steps(left, 1))[:1] if alone else list(_steps(left, self.room))
                try:
                    done = await self._db.write(lambda tx: self._work(tx, steps, cause))  # noqa: B023 (awaited)
                except Exception as error:
                    objects = sum(step.end - step.start for step in steps)
                    if isinstance(error, UnavailableError) or not is_about_content(error) or not objects:
                        raise
                    if alone:
                        step = steps[0]
                        log.exception("object_write_failed", resource=step.pending.answered.domain.name)
                        step.pending.reading.refuse(step.start, error)
                    alone = True
                    continue
            for step, applied in zip(steps, done, strict=False):
                step.pending.applied, step.pending.at = _sum(step.pending.applied, applied), step.end
                if step.is_last:
                    left.popleft()
                if applied.touched:
                    self._watcher.committed(applied.touched)
            if self._db.writer.used > _FOLD and not self._db.writer.quiet(_LULL):
                await self._db.writer.checkpoint_if_idle()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Standing back for acknowledgements.

        While they come, one thread at a time works here: with each more that wants the interpreter, the writer waits
        longer for it after every statement.
        """
        async with contextlib.AsyncExitStack() as stack:
            if not self._db.writer.quiet(_LULL):
                await stack.enter_async_context(self._one)
                await self._db.writer.stand_back(_PATIENCE)
            yield

    @property
    def room(self) -> int:
        """How many objects may be read, or written, in one go."""
        return AT_ONCE if self._db.writer.quiet(_LULL) else BETWEEN

    def _work(self, tx: Session, steps: Sequence[_Step], cause: Cause) -> list[Applied]:
        """On the writer's thread: take these steps, one at least, until an acknowledgement waits; what each did."""
        done: list[Applied] = []
        for step in steps:
            if done and self._db.writer.pressed():
                break
            pending = step.pending
            done.append(apply(tx, pending.answered, pending.reading.candidates[step.start : step.end], cause))
            if step.is_last:
                now = [applied for other, applied in zip(steps, done, strict=False) if other.pending is pending]
                taken = Taken(pending.reading, functools.reduce(_sum, now, pending.applied))
                note_unchanged(tx, pending.answered, taken.reading.unchanged, cause.at)
                self._note(tx, pending.answered.domain, taken, cause)
                pending.note(tx, taken)
        return done

    async def remove(self, domain: Domain, keys: Sequence[Key], as_of: str, cause: Cause) -> int:
        """Mark objects that Flexport no longer has, as of a time on its clock; how many were still there."""
        count = 0
        for start in range(0, len(keys), BETWEEN):
            some = keys[start : start + BETWEEN]
            await self._db.writer.stand_back(_PATIENCE)

            def work(tx: Session, some: Sequence[Key] = some) -> Touched:
                return remove(tx, domain, some, as_of, cause)

            touched = await self._db.write(work)
            count += len(touched.get(domain.name, ()))
            self._watcher.committed(touched)
        return count

    def _note(self, tx: Session, domain: Domain, taken: Taken, cause: Cause) -> None:
        reading = taken.reading
        if reading.failures:
            rows = [(failure.name, failure.error, failure.raw) for failure in reading.failures]
            tx.unreadable.put(domain.name, cause.at, rows)
        readable = [*(one.id for one in reading.candidates), *reading.unchanged]
        if readable and tx.unreadable.any(domain.name):
            tx.unreadable.readable(domain.name, readable)
        self._watcher.note(tx, domain, taken, cause.at)


def _steps(answers: Iterable[Pending], room: int) -> Iterator[_Step]:
    """The next steps, up to so many objects; an answer that holds no news is one all the same."""
    for pending in answers:
        start, total = pending.at, len(pending.reading.candidates)
        while room > 0:
            end = min(start + min(room, _STEP), total)
            yield _Step(pending, start, end)
            room -= end - start
            start = end
            if end == total:
                break


def _sum(one: Applied, other: Applied) -> Applied:
    return Applied(
        one.changed + other.changed,
        one.new + other.new,
        one.unchanged + other.unchanged,
        one.skips + other.skips,
        [*one.backwards, *other.backwards],
        [*one.oddities, *other.oddities],
        {name: one.touched.get(name, set()) | other.touched.get(name, set()) for name in one.touched | other.touched},
    )
