"""The base of the consumers of the change log, which update derived data after each commit.

A consumer first reads all objects once, in the order of their ids, then follows the change log. Applying events never
waits for it. Its position is stored in the transaction of what it writes.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError
from flexportd.storage.change_log import ConsumerState
from flexportd.storage.connection import is_data_error
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MAX_YIELD = 2.0  # seconds to wait for quiet before a consumer writes between acknowledgements
IDLE_AFTER = 0.5  # seconds without webhooks or writes after which the daemon counts as idle
_ENTRY_BATCH = 50  # entries that are read in one go
_MAX_ENTRIES, _MAX_OBJECTS = 1000, 5000  # entries, and objects that these wrote, of one step
_SAVE_EVERY = 500  # entries that changed nothing, after which the position is stored
_RETRY_DELAY = 2.0  # seconds; twice as many after each further failure
_MAX_RETRY_DELAY = 600.0

DATA_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of a consumer that a faulty object causes. That object is skipped, the others are not."""

IdleWait = Callable[[], Awaitable[None]]
"""Waits, for a bounded time, until more urgent work is done."""

Subject = tuple[str, Key]
"""(resource, id) of an object that a consumer reads."""

S = TypeVar("S", bound=ConsumerState)
W = TypeVar("W")


class Step(NamedTuple, Generic[S, W]):
    """The result of one snapshot: writes, the state after them, and the objects to read before that state."""

    state: S
    writes: Sequence[W] = ()
    left: Sequence[Subject] = ()
    last: bool = False


class ChangeLogConsumer(ABC, Generic[S, W]):
    """Updates derived data from the change log; `run_consumer` is its loop. W is one write.

    A subclass says which objects a change concerns, what must be written for them, and how it is written.
    """

    name: ClassVar[str]
    """The name of its state in `meta`, and in the log."""
    debounce = 0.1
    """Seconds to wait after a wake, so that several commits are read together."""
    read_batch: int = 200
    """Objects that are read in one snapshot."""
    busy_read_batch: int = 200
    """The same while webhooks arrive: one of them may have to wait for it."""
    write_batch: int = 200
    """Writes in one transaction, by `size`."""
    busy_write_batch: int = 30

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        state_type: type[S],
        tables: Mapping[str, Table],
        depends_on: Mapping[str, frozenset[str] | None],
        wait_for_idle: IdleWait | None,
    ) -> None:
        """`tables`: by resource, those that are read completely at first. `wait_for_idle` runs before each step.

        `depends_on`: the fields of each resource that are relevant; None for any write.
        """
        self._db = db
        self._clock = clock
        self._state_type = state_type
        self._tables = tables
        self._depends_on = depends_on
        self._wait_for_idle = wait_for_idle
        self._state: S | None = None
        self._saved_entry = 0  # the last entry that the stored state covers
        self._newest = 0
        self._lock = asyncio.Lock()  # a step continues from the result of the one before
        self.turn = asyncio.Lock()  # held while it reads or writes; consumers that share it take a third less CPU
        self.wake = asyncio.Event()
        self.error: str | None = None
        """The current error."""

    @abstractmethod
    def restart(self, tx: Transaction) -> S:
        """The state before all objects are read; later writes are in the change log."""

    def must_restart(self, tx: Transaction, state: S) -> bool:  # noqa: ARG002 (for subclasses)
        """Whether all objects must be read again although the change log is complete."""
        return False

    def subjects(self, tx: Transaction, written: Mapping[str, Sequence[Key]], events: Sequence[int]) -> list[Subject]:  # noqa: ARG002
        """The objects to read because these were written, each once, or these events ended."""
        return [(name, key) for name, keys in written.items() for key in keys]

    def due(self, tx: Transaction) -> Sequence[Subject]:  # noqa: ARG002 (for subclasses)
        """The objects to read because their time has come; at most `read_batch`."""
        return ()

    @abstractmethod
    def plan(self, tx: Transaction, subjects: Sequence[Subject], state: S) -> Sequence[W]:
        """The writes for the current state of these objects; on a reader's thread."""

    @abstractmethod
    def write(self, tx: Transaction, writes: Sequence[W]) -> None:
        """Perform these writes, or fail as a whole."""

    @abstractmethod
    def skip(self, write: W, error: Exception) -> None:
        """Skip one write that fails by itself."""

    def size(self, write: W) -> int:  # noqa: ARG002 (for subclasses)
        """The share of a write in `write_batch`."""
        return 1

    def after_write(self) -> None:
        """Called on the event loop after writes."""

    async def after_restart(self) -> None:
        """Called after all objects were read."""

    @property
    def is_complete(self) -> bool:
        """Whether all objects were read once, so that only the latest writes may be missing."""
        return self._state is not None and self._state.is_whole

    @property
    def lag(self) -> int:
        """How many entries were unread at the last check."""
        return max(0, self._newest - self._state.journal) if self._state else 0

    def has_processed(self, entry: int) -> bool:
        """Whether it has read everything up to an entry."""
        return self._state is not None and self._state.is_whole and self._state.journal >= entry

    def reset(self) -> None:
        """Continue from the stored state."""
        self._state = None

    def poll_interval(self) -> float:
        """Seconds until the next check without a wake."""
        return 5.0

    async def process(self) -> None:
        """Read all new entries and write the results. Raises UnavailableError if the database cannot be written."""
        async with self._lock:
            if self._state is None:
                self._state = await self.load_state()
                self._saved_entry = self._state.journal
            last = False
            while not last:
                last = await self._process_step(self._state)
            if self._state.journal > self._saved_entry and self._db.writer.idle(IDLE_AFTER):
                await self._save_state(self._state)

    async def _process_step(self, state: S) -> bool:
        """Process some entries, or some objects of the first pass; whether they were the last."""
        step = await self._in_snapshot(lambda tx, most: self.read(tx, state, most))
        while step.left:
            await self._write(step, None)
            step = await self._in_snapshot(lambda tx, most: self._plan(tx, step, most))  # noqa: B023 (awaited here)
        if step.writes or step.state != state:
            await self._write(step, step.state)
            if step.writes:
                self._saved_entry = step.state.journal
            elif not (state.is_whole and step.state.is_whole) or step.state.journal - self._saved_entry >= _SAVE_EVERY:
                await self._save_state(step.state)
            self._state = step.state
            if step.state.is_whole and not state.is_whole:
                await self.after_restart()
        return step.last

    async def load_state(self) -> S:
        """The stored state, or the initial one."""
        return await self._db.read(lambda tx: tx.meta.load(self.name, self._state_type) or self.restart(tx))

    async def _in_snapshot(self, work: Callable[[Transaction, int], Step[S, W]]) -> Step[S, W]:
        if self._wait_for_idle is not None:
            await self._wait_for_idle()
        most = self.read_batch if self._db.writer.quiet(IDLE_AFTER) else self.busy_read_batch
        async with self.turn:
            return await self._db.read(lambda tx: work(tx, most))

    def read(self, tx: Transaction, state: S, most: int) -> Step[S, W]:
        """New entries, and the writes for the first of their objects."""
        newest = self._newest = tx.journal.last()
        # Entries before the first or after the last are no longer in the change log.
        if not tx.journal.first() - 1 <= state.journal <= newest or self.must_restart(tx, state):
            state = self.restart(tx)
        if state.resource is not None:
            return self._next_objects(tx, state, most)
        state, written, events = self._read_entries(tx, state)
        due = self.due(tx) if state.journal == newest else ()
        subjects = dict.fromkeys((*self.subjects(tx, written, events), *due))
        last = state.journal == newest and len(due) < self.read_batch
        return self._plan(tx, Step(state, left=list(subjects), last=last), most)

    def _read_entries(self, tx: Transaction, state: S) -> tuple[S, dict[str, list[Key]], list[int]]:
        """The state after some entries, the relevant objects that these wrote, and the events that they completed."""
        written: dict[str, dict[Key, None]] = {name: {} for name in self._depends_on}
        events: list[int] = []
        for _ in range(0, _MAX_ENTRIES, _ENTRY_BATCH):
            entries = tx.journal.after(state.journal, _ENTRY_BATCH)
            for entry in entries:
                events += entry.events
                for name in entry.states.keys() & self._depends_on.keys():
                    fields = self._depends_on[name]
                    concerned = (one.key for one in entry.states[name] if fields is None or one.concerns(fields))
                    written[name].update(dict.fromkeys(concerned))
                state = msgspec.structs.replace(state, journal=entry.id, at=entry.at)
            if len(entries) < _ENTRY_BATCH or sum(map(len, written.values())) >= _MAX_OBJECTS:
                break
        return state, {name: list(keys) for name, keys in written.items()}, events

    def _plan(self, tx: Transaction, step: Step[S, W], most: int) -> Step[S, W]:
        """Plan the next objects: each is read once, however many entries wrote it."""
        some = step.left[:most]
        return step._replace(writes=self.plan(tx, some, step.state) if some else (), left=step.left[most:])

    def _next_objects(self, tx: Transaction, state: S, most: int) -> Step[S, W]:
        names = list(self._tables)
        name = state.resource if state.resource and state.resource in self._tables else names[0]
        keys = tx.resources.keys_after(self._tables[name], state.after, most)
        writes = self.plan(tx, [(name, key) for key in keys], state)
        if len(keys) == most:
            return Step(msgspec.structs.replace(state, resource=name, after=keys[-1]), writes)
        follows = names[names.index(name) + 1 :]
        return Step(msgspec.structs.replace(state, resource=follows[0] if follows else None, after=None), writes)

    async def _write(self, step: Step[S, W], done: S | None) -> None:
        """Perform the writes in short transactions; the last one stores the new state."""
        left, alone = step.writes, False
        while left:
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            most = self.write_batch if self._db.writer.quiet(IDLE_AFTER) else self.busy_write_batch
            count = 1 if alone else self._count(left, most)
            some, rest = left[:count], left[count:]
            state = None if rest else done
            try:
                async with self.turn:
                    await self._db.write(lambda tx: self._save(tx, some, state))  # noqa: B023 (awaited here)
            except Exception as error:
                if isinstance(error, UnavailableError) or not is_data_error(error):
                    raise
                if len(some) > 1:
                    alone = True  # one by one from here on, to find the faulty one
                    continue
                self.skip(some[0], error)
                if state is not None:
                    await self._save_state(state)
            left = rest
        if step.writes:
            self.after_write()

    def _count(self, writes: Sequence[W], most: int) -> int:
        for number, write in enumerate(writes):
            most -= self.size(write)
            if number and most < 0:
                return number
        return len(writes)

    def _save(self, tx: Transaction, writes: Sequence[W], state: S | None) -> None:
        self.write(tx, writes)
        if state is not None:
            tx.meta.save(self.name, state)

    async def _save_state(self, state: S) -> None:
        await self._db.writer.wait_for_quiet(MAX_YIELD)
        await self._db.write(lambda tx: tx.meta.save(self.name, state))
        self._saved_entry = state.journal


async def run_consumer(one: ChangeLogConsumer[S, W], clock: Clock) -> None:
    """Until cancelled: process after each wake or interval. The delay grows with each failure."""
    wait = _RETRY_DELAY
    while True:
        try:
            await one.process()
        except UnavailableError as error:
            one.error = str(error)  # the writer has logged the failure of the database
            await clock.sleep(_RETRY_DELAY)
            continue
        except Exception as error:
            if one.error is None:
                log.exception("change_log_consumer_failed", consumer=one.name)
            one.error = f"{type(error).__name__}: {error}"
            one.reset()
            await clock.sleep(wait)
            wait = min(2 * wait, _MAX_RETRY_DELAY)
            continue
        one.error, wait = None, _RETRY_DELAY
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(one.poll_interval()):
                await one.wake.wait()
                await clock.sleep(one.debounce)
        one.wake.clear()
