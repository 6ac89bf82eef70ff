"""Taking in what was fetched: read beside the writer, applied in short transactions that stand back for webhooks."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec

from flexportd.clock import Clock, parse, stamp
from flexportd.core.domain import Domain
from flexportd.core.fetched import Answered, Applied, Candidate, Reading, apply, read, remove
from flexportd.core.workspace import Cause
from flexportd.storage.database import Database
from flexportd.storage.resources import Key
from flexportd.storage.session import Session

AT_ONCE = 100  # objects in one transaction, and read in one go, while no webhook comes
BETWEEN = 8  # the same while webhooks come: as much as one of them may wait for
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


class Watcher:
    """Whoever wants to know what comes by: the drift ledger, the cache. Does nothing by itself."""

    def look(self, object_name: str, text: bytes) -> None:
        """An object that is new, or not as we had it; from a reader's thread."""

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

    async def last_seq(self) -> int:
        """To be asked before a request is sent: which events had come by then."""
        return await self._db.read(lambda tx: tx.events.last_seq())

    async def told_since(self, domain: Domain, key: Key, at: str) -> bool:
        """Whether an event has told of this object since a time of ours."""
        record = await self._db.read(lambda tx: tx.resources.load(domain.table, (key,)).get(key))
        return record is not None and record.source in ("webhook", "events") and record.synced_at >= at

    def odd(self, domain: Domain, sentences: Sequence[str]) -> None:
        """Have it noted what is odd about an answer."""
        for sentence in sentences:
            self._watcher.odd(domain.object_name, sentence)

    def answered(self, domain: Domain, rows: Sequence[bytes], times: tuple[str, str], seq: int) -> Answered:
        """An answer; `times` are when its request started and its Date, on Flexport's clock.

        A Date is cut to the second: what changed just before the answer bears a time that is a little later.
        """
        started_at, date = times
        latest = stamp(parse(date) + _CUT)
        return Answered(domain, rows, started_at, latest, seq, stamp(self.clock.now() - _BELIEVED_FOR))

    async def take(self, answered: Answered, cause: Cause, note: Note = lambda _t, _k: None) -> Taken:
        """Read an answer and bring the store up to it."""
        return await self.apply(answered, await self.read(answered), cause, note)

    async def read(self, answered: Answered) -> Reading:
        """Compare an answer with what is stored; nothing is written."""
        reading, rows, done = Reading.nothing(), answered.rows, 0
        while done < len(rows):
            size = self._size()
            some = msgspec.structs.replace(answered, rows=rows[done : done + size])
            reading.add(await self._db.read(lambda tx: read(tx, some, self._watcher.look)))  # noqa: B023 (awaited)
            done += size
        return reading

    async def apply(
        self, answered: Answered, reading: Reading, cause: Cause, note: Note = lambda _t, _k: None
    ) -> Taken:
        """Bring the store up to what was read. `note` runs in the last transaction, also when nothing is news."""
        done, at = Applied(), 0
        while True:
            await self._db.writer.stand_back(_PATIENCE)
            size, before = self._size(), done
            some, last = reading.candidates[at : at + size], at + size >= len(reading.candidates)

            def work(tx: Session, some: Sequence[Candidate] = some, *, last: bool = last) -> Applied:
                applied = apply(tx, answered, some, cause)
                if last:
                    taken = Taken(reading, _sum(before, applied))  # noqa: B023 (run before the next turn)
                    self._note(tx, answered.domain, taken, cause)
                    note(tx, taken)
                return applied

            applied = await self._db.write(work)
            done, at = _sum(before, applied), at + size
            if applied.touched:
                self._watcher.committed(applied.touched)
            if self._db.writer.used > _FOLD and not self._db.writer.quiet(_LULL):
                await self._db.writer.checkpoint_if_idle()
            if last:
                return Taken(reading, done)

    def _size(self) -> int:
        return AT_ONCE if self._db.writer.quiet(_LULL) else BETWEEN

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
        if reading.candidates:
            tx.unreadable.readable(domain.name, [one.snapshot.id for one in reading.candidates])
        self._watcher.note(tx, domain, taken, cause.at)


def _sum(one: Applied, other: Applied) -> Applied:
    return Applied(
        one.changed + other.changed,
        one.new + other.new,
        one.unchanged + other.unchanged,
        one.skips + other.skips,
        [*one.backwards, *other.backwards],
        {name: one.touched.get(name, set()) | other.touched.get(name, set()) for name in one.touched | other.touched},
    )
