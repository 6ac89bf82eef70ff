"""The follower that keeps the search index: reads what commits have touched, and writes what is not as it should be.

Nothing that applies events waits for it. At first, and after a change of what is indexed, it reads everything once, in
the order of the ids; from there it follows the journal.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.core.changes.consumer import DATA_ERRORS, MAX_YIELD, IdleWait
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.fields import SEARCH_FIELDS, VERSION, columns, index_entry
from flexportd.errors import UnavailableError
from flexportd.escape import escape_control
from flexportd.storage import substring_index
from flexportd.storage.connection import is_data_error
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.search_index import IndexChange, IndexedObject, IndexState, IndexUpdate
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

POLL_INTERVAL = 5.0  # seconds between looks when nobody wakes it
_BATCH_SIZE = 200  # objects that are read and compared in one go
_ENTRY_BATCH, _OBJECT_BATCH = (
    50,
    250,
)  # entries of the journal that are read in one go, and the objects that these touched
_WRITE_BATCH = 500  # entries of the index in one transaction
_BUSY_READ_BATCH, _BUSY_WRITE_BATCH = 10, 30  # objects and entries while webhooks come: what one of them may wait for
_IDLE_AFTER = 0.5  # seconds without any webhook, or any writing, after which none is expected
_MAX_SKIPPED = 1000  # objects that cannot be indexed, as they are counted
_SAVE_EVERY = 500  # entries of the journal that changed nothing, after which it is noted that they were read


class _Batch(NamedTuple):
    """What was read in one snapshot: what to write, how far that leads, and how far the journal is."""

    changes: list[IndexChange]
    state: IndexState
    newest: int
    last: bool


class Indexer:
    """Keeps the search index; `core.follow.follow` is its loop."""

    name = "search_index"
    debounce = 0.1

    def __init__(self, db: Database, registry: Registry, clock: Clock, calm: IdleWait | None = None) -> None:
        """`calm` is waited for before each step."""
        self._wait_for_idle = calm
        self._db = db
        self._domains = {domain.name: domain for domain in registry if domain.name in SEARCH_FIELDS}
        self._depends_on = {name: frozenset(columns(domain)) for name, domain in self._domains.items()}
        self._clock = clock
        self._state: IndexState | None = None
        self._saved_entry = 0  # entries of the journal up to which it is written down that they were read
        self._newest = 0
        self._skipped: dict[tuple[str, Key], str] = {}
        self.error: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything was read once, so that only what was written just now may be missing."""
        return self._state is not None and self._state.is_whole

    @property
    def skipped_reason(self) -> str | None:
        """Which objects are not in the index because they cannot be read or written; None where all are."""
        if not self._skipped:
            return None
        (name, key), error = next(iter(self._skipped.items()))
        return f"{len(self._skipped)} objects cannot be indexed, such as {key!r} of {name}: {error}"

    @property
    def lag(self) -> int:
        """How many entries of the journal it had not read when it last looked."""
        return max(0, self._newest - self._state.journal) if self._state else 0

    def reset(self) -> None:
        """Believe what is stored, not what was meant to be."""
        self._state = None

    def poll_interval(self) -> float:
        """Seconds until it looks by itself."""
        return POLL_INTERVAL

    async def process(self) -> None:
        """Read all that is new, and write what it changes. Raises UnavailableError when the disk refuses."""
        if self._state is None:
            self._state = await self._load_state()
        while True:
            if self._wait_for_idle is not None:
                await self._wait_for_idle()
            state, most = self._state, _OBJECT_BATCH if self._db.writer.quiet(_IDLE_AFTER) else _BUSY_READ_BATCH
            step = await self._db.read(lambda tx: self._read(tx, state, most))  # noqa: B023 (awaited here)
            self._newest = step.newest
            await self._write(state, step)
            if not state.is_whole and step.state.is_whole:
                await self._merge()
                log.info("search_index_rebuilt")
            if step.last:
                break
        if self._state.journal > self._saved_entry and self._db.writer.idle(_IDLE_AFTER):
            await self._save_state(self._state)

    async def _load_state(self) -> IndexState:
        """Where it left off, or the beginning; with an empty index over parts if it was another."""
        found = await self._db.read(lambda tx: tx.search.state())
        if found is None or found.way != substring_index.NAME or found.version != VERSION:
            empty = found is None or found.way != substring_index.NAME
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            found = await self._db.write(lambda tx: self._reset_index(tx, empty=empty))
        self._saved_entry = found.journal
        return found

    def _reset_index(self, tx: Transaction, *, empty: bool) -> IndexState:
        if empty:
            tx.search.clear()
        state = self._restart(tx)
        tx.search.put_state(state)
        return state

    def _restart(self, tx: Transaction) -> IndexState:
        """The beginning of a pass over everything; what is written from now on is in the journal."""
        return IndexState(
            VERSION, substring_index.NAME, tx.journal.last(), self._clock.stamp(), next(iter(self._domains))
        )

    # --- on a reader's thread ---

    def _read(self, tx: Transaction, state: IndexState, most: int) -> _Batch:
        """About so many objects that may have to be indexed anew."""
        newest = tx.journal.last()
        if state.journal < tx.journal.first() - 1 or state.journal > newest:
            state = self._restart(tx)  # what it has not read is no longer told
        if state.resource is not None:
            return self._next_objects(tx, state, newest, min(most, _BATCH_SIZE))
        touched: dict[str, dict[Key, None]] = {}
        count, entries = 0, tx.journal.after(state.journal, _ENTRY_BATCH)
        for entry in entries:
            for name, fields in self._depends_on.items():
                found = [one.key for one in entry.states.get(name, ()) if one.concerns(fields)]
                touched.setdefault(name, {}).update(dict.fromkeys(found))
                count += len(found)
            state = msgspec.structs.replace(state, journal=entry.id, at=entry.at)
            if count >= most:
                break
        changes: list[IndexChange] = []
        for domain in self._domains.values():
            for some in _slices(list(touched.get(domain.name, ()))):
                changes += self._changes(tx, domain, tx.search.rows(domain.table, columns(domain), some))
        return _Batch(changes, state, newest, last=state.journal == newest)

    def _next_objects(self, tx: Transaction, state: IndexState, newest: int, most: int) -> _Batch:
        domain = self._domains.get(state.resource or "") or next(iter(self._domains.values()))
        rows = tx.search.rows_after(domain.table, columns(domain), state.after, most)
        changes = self._changes(tx, domain, rows)
        if len(rows) == most:
            state = msgspec.structs.replace(state, resource=domain.name, after=rows[-1]["id"])
        else:
            names = list(self._domains)
            follows = names[names.index(domain.name) + 1 :]
            state = msgspec.structs.replace(state, resource=follows[0] if follows else None, after=None)
        return _Batch(changes, state, newest, last=False)

    def _changes(self, tx: Transaction, domain: ResourceType, rows: Sequence[Mapping[str, Any]]) -> list[IndexChange]:
        """What is not in the index as it should be, of these objects. One that cannot be read stays as it is."""
        should: list[IndexUpdate] = []
        for row in rows:
            try:
                should.append(index_entry(domain, row))
            except DATA_ERRORS as error:
                self._skip(domain.name, row["id"], error)
            else:
                self._skipped.pop((domain.name, row["id"]), None)
        stored = tx.search.stored(domain.name, [one.key for one in should])
        found = ((stored.get(one.key), one) for one in should)
        return [
            (domain.name, have, one)
            for have, one in found
            if (not have.matches(one) if have is not None else one.entries)
        ]

    def _skip(self, name: str, key: Key, error: Exception) -> None:
        log.error("search_indexing_failed", resource=name, resource_id=str(key), exc_info=error)
        if len(self._skipped) < _MAX_SKIPPED:
            self._skipped[name, key] = escape_control(f"{type(error).__name__}: {error}")

    # --- writing ---

    async def _write(self, state: IndexState, step: _Batch) -> None:
        """Write the changes; how far it is in the transaction of the last of them."""
        left, alone = step.changes, False
        while left:
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            some = _first(left, _WRITE_BATCH if self._db.writer.quiet(_IDLE_AFTER) else _BUSY_WRITE_BATCH)
            if alone:
                some = some[:1]
            left = left[len(some) :]
            done = None if left else step.state
            try:
                await self._db.write(lambda tx: self._save(tx, some, done))  # noqa: B023 (awaited here)
            except Exception as error:
                if isinstance(error, UnavailableError) or not is_data_error(error):
                    raise
                if len(some) > 1:
                    left, alone = [*some, *left], True  # one by one from here on: one of them is at fault
                    continue
                self._skip(some[0][0], some[0][2].key, error)
                if done is not None:
                    await self._save_state(done)
        if step.changes:
            self._saved_entry = step.state.journal
        elif not (state.is_whole and step.state.is_whole) or step.state.journal - self._saved_entry >= _SAVE_EVERY:
            await self._save_state(step.state)
        self._state = step.state

    async def _merge(self) -> None:
        """Make one piece of what a pass wrote: searches are then more than twice as quick."""
        begin, more = True, True
        while more:
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            more = await self._db.write(lambda tx: tx.search.merge(begin=begin))  # noqa: B023 (awaited)
            begin = False

    def _save(self, tx: Transaction, changes: Sequence[IndexChange], state: IndexState | None) -> None:
        tx.search.write(changes)
        if state is not None:
            tx.search.put_state(state)

    async def _save_state(self, state: IndexState) -> None:
        await self._db.writer.wait_for_quiet(MAX_YIELD)
        await self._db.write(lambda tx: tx.search.put_state(state))
        self._saved_entry = state.journal


def _slices(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    return (keys[start : start + _BATCH_SIZE] for start in range(0, len(keys), _BATCH_SIZE))


def _first(changes: Sequence[IndexChange], most: int) -> list[IndexChange]:
    """The first changes, up to so many entries; one at least."""
    some: list[IndexChange] = []
    for change in changes:
        most -= _entry_count(*change[1:])
        if some and (most < 0 or len(some) == _BATCH_SIZE):
            break
        some.append(change)
    return some


def _entry_count(stored: IndexedObject | None, should: IndexUpdate) -> int:
    """About how many entries a change writes. With other marks it is all of a shipment, and what belongs to that."""
    if stored is None:
        return 1 + len(should.entries)
    marked = 4 * len(should.entries) if stored.label.marks != should.label.marks else 0  # each taken out, and put back
    return 1 + marked + len(set(should.entries) ^ stored.entries.keys())
