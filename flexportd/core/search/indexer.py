"""The consumer that keeps the search index."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import structlog

from flexportd.clock import Clock
from flexportd.core.changes.consumer import DATA_ERRORS, MAX_YIELD, ChangeLogConsumer, IdleWait, Subject
from flexportd.core.resources.registry import Registry
from flexportd.core.search.fields import SEARCH_FIELDS, VERSION, columns, index_entry
from flexportd.escape import escape_control
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.search_index import STATE, IndexChange, IndexState, IndexUpdate
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_MAX_SKIPPED = 1000  # objects that cannot be indexed, as they are counted


class Indexer(ChangeLogConsumer[IndexState, IndexChange]):
    """Keeps the search index."""

    name = STATE
    busy_read_batch = 10
    write_batch = 1000

    def __init__(self, db: Database, registry: Registry, clock: Clock, wait_for_idle: IdleWait | None = None) -> None:
        self._domains = {domain.name: domain for domain in registry if domain.name in SEARCH_FIELDS}
        super().__init__(
            db,
            clock,
            state_type=IndexState,
            tables={name: domain.table for name, domain in self._domains.items()},
            depends_on={name: frozenset(columns(domain)) for name, domain in self._domains.items()},
            wait_for_idle=wait_for_idle,
        )
        self._skipped: dict[Subject, str] = {}

    @property
    def skipped_reason(self) -> str | None:
        """Which objects are not in the index because they cannot be read or written; None where all are."""
        if not self._skipped:
            return None
        (name, key), error = next(iter(self._skipped.items()))
        return f"{len(self._skipped)} objects cannot be indexed, such as {key!r} of {name}: {error}"

    async def load_state(self) -> IndexState:
        """Where it left off, or the beginning, with an empty index if there is none of this kind."""
        state = await self._db.read(lambda tx: tx.search.state())
        if state is not None and state.version == VERSION:
            return state
        await self._db.writer.wait_for_quiet(MAX_YIELD)

        def reset(tx: Transaction) -> IndexState:
            if state is None:
                tx.search.clear()
            beginning = self.restart(tx)
            tx.meta.save(self.name, beginning)
            return beginning

        return await self._db.write(reset)

    def restart(self, tx: Transaction) -> IndexState:
        """The state before all objects are read."""
        return IndexState(
            version=VERSION, journal=tx.journal.last(), at=self._clock.stamp(), resource=next(iter(self._domains))
        )

    def plan(self, tx: Transaction, subjects: Sequence[Subject], state: IndexState) -> list[IndexChange]:  # noqa: ARG002
        """What is not in the index as it should be. An object that cannot be read stays as it is."""
        return [
            change
            for name, some in groupby(subjects, key=itemgetter(0))
            for change in self._changes(tx, name, [key for _, key in some])
        ]

    def _changes(self, tx: Transaction, name: str, keys: Sequence[Key]) -> list[IndexChange]:
        domain, wanted = self._domains[name], list[IndexUpdate]()
        for row in tx.search.rows(domain.table, columns(domain), keys):
            try:
                wanted.append(index_entry(domain, row))
            except DATA_ERRORS as error:
                self._skip((name, row["id"]), error)
            else:
                self._skipped.pop((name, row["id"]), None)
        stored = tx.search.stored(name, [one.key for one in wanted])
        found = ((stored.get(one.key), one) for one in wanted)
        return [(name, have, one) for have, one in found if (not have.matches(one) if have else one.entries)]

    def write(self, tx: Transaction, writes: Sequence[IndexChange]) -> None:
        """Bring the index up to date."""
        tx.search.write(writes)

    def size(self, write: IndexChange) -> int:
        """About how many entries a change writes: with other marks all of a shipment, and what belongs to that."""
        _, stored, wanted = write
        if stored is None:
            return 1 + len(wanted.entries)
        marked = 4 * len(wanted.entries) if stored.label.marks != wanted.label.marks else 0  # each removed and added
        return 1 + marked + len(set(wanted.entries) ^ stored.entries.keys())

    def skip(self, write: IndexChange, error: Exception) -> None:
        """Leave an object out."""
        self._skip((write[0], write[2].key), error)

    def _skip(self, subject: Subject, error: Exception) -> None:
        log.error("search_indexing_failed", resource=subject[0], resource_id=str(subject[1]), exc_info=error)
        if len(self._skipped) < _MAX_SKIPPED:
            self._skipped[subject] = escape_control(f"{type(error).__name__}: {error}")

    async def after_restart(self) -> None:
        """Make one piece of what was written: searches are then more than twice as quick."""
        begin, more = True, True
        while more:
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            more = await self._db.write(lambda tx: tx.search.merge(begin=begin))  # noqa: B023 (awaited)
            begin = False
        log.info("search_index_rebuilt")
