"""The follower that keeps the exceptions: judges what commits have touched, and what a date has passed for.

Nothing that applies events waits for it. It follows the journal, and for what time alone changes it notes with each
object when to look at it again: so it never looks at more than what moved or came due. At first, and after the rules
or their thresholds change, it looks at everything once, in the order of the ids, and tells nobody: what stood before
anyone looked is no news. So does it until Flexport's lists were read whole for the first time.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.changes.consumer import MAX_YIELD, IdleWait
from flexportd.core.exceptions.evaluate import TABLES, Subject, affected, evaluate, open_exceptions
from flexportd.core.exceptions.model import ExceptionRules
from flexportd.core.exceptions.persistence import (
    Write,
    close_exception,
    notify,
    open_exception,
    schedule_check,
    update_exception,
)
from flexportd.core.exceptions.rules import VERSION, diff
from flexportd.errors import UnavailableError
from flexportd.escape import escape_control
from flexportd.storage.connection import is_data_error
from flexportd.storage.database import Database
from flexportd.storage.repositories.exceptions import EvaluationState
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

POLL_INTERVAL = 600.0  # seconds between looks when nobody wakes it and nothing comes due
_INITIAL_POLL_INTERVAL = 5.0  # seconds between looks until the lists were read whole
_SUBJECT_BATCH = 100  # objects that are judged in one go
_ENTRY_BATCH, _OBJECT_BATCH = 50, 5000  # entries of the journal that are read in one go, and objects that these touched
_WRITE_BATCH = 200  # steps in one transaction, while no webhook comes
_BUSY_WRITE_BATCH = 30  # the same while webhooks come: as much as one of them may wait for
_SAVE_EVERY = 500  # entries of the journal that changed nothing, after which it is noted that they were read


class _Batch(NamedTuple):
    """What was judged in one snapshot: what to write, how far that leads, and what is left to be judged before that."""

    writes: Sequence[Write]
    state: EvaluationState
    last: bool
    left: Sequence[Subject] = ()


class ExceptionWorker:
    """Keeps the exceptions; `core.changes.consumer.run_consumer` is its loop. `rules` may be exchanged."""

    name = "exceptions"
    debounce = 0.2

    def __init__(
        self,
        db: Database,
        clock: Clock,
        rules: ExceptionRules,
        calm: IdleWait | None = None,
        *,
        reads_lists: bool = False,
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        """`calm` is waited for before each step.

        `reads_lists`: whether Flexport's lists are read. `on_written` is called on the event loop after exceptions were
        written.
        """
        self._db = db
        self._clock = clock
        self.rules = rules
        self._wait_for_idle = calm
        self.reads_lists = reads_lists
        self._on_written = on_written
        self._state: EvaluationState | None = None
        self._saved_entry = 0
        self._lock = asyncio.Lock()  # a step goes on from what the one before has written
        self._next_check: str | None = None
        self._skipped: tuple[int, str] | None = None
        self._restart_requested = False
        self.error: str | None = None

    @property
    def skipped_reason(self) -> str | None:
        """How many findings could not be written since the start, and why the last could not; None for none."""
        if self._skipped is None:
            return None
        return f"{self._skipped[0]} findings could not be written, the last because of {self._skipped[1]}"

    def _skip(self, error: Exception) -> None:
        log.error("exception_write_failed", exc_info=error)
        count = self._skipped[0] if self._skipped else 0
        self._skipped = count + 1, escape_control(f"{type(error).__name__}: {error}")

    @property
    def is_complete(self) -> bool:
        """Whether everything was looked at once."""
        return self._state is not None and self._state.is_whole

    @property
    def notifies(self) -> bool:
        """Whether what opens and closes is told."""
        return self._state is not None and self._state.is_loud

    def has_processed(self, entry: int) -> bool:
        """Whether it has judged all that the journal tells of up to an entry."""
        return self.is_complete and self._state is not None and self._state.journal >= entry

    def reset(self) -> None:
        """Believe what is stored, not what was meant to be."""
        self._state = None

    def reevaluate(self) -> None:
        """Look at everything once more: what is due was reckoned by a clock that was set back since."""
        self._restart_requested = True

    def poll_interval(self) -> float:
        """Seconds until it looks by itself: when something comes due, and every ten minutes."""
        if self._state is not None and not self._state.is_loud:
            return _INITIAL_POLL_INTERVAL
        if self._next_check is None:
            return POLL_INTERVAL
        return min(POLL_INTERVAL, max(self.debounce, self._clock.until(parse(self._next_check))))

    async def process(self) -> None:
        """Judge all that is new or due, and write what differs. Raises UnavailableError when the disk refuses."""
        async with self._lock:
            await self._process()

    async def _process(self) -> None:
        if self._state is None:
            found = await self._db.read(self._initial_state)
            self._state, self._saved_entry = found, found.journal
        while True:
            if self._wait_for_idle is not None:
                await self._wait_for_idle()
            state = self._state
            step = await self._db.read(lambda tx: self._read(tx, state))  # noqa: B023 (awaited here)
            while step.left:
                await self._write(state, step._replace(state=state))
                if self._wait_for_idle is not None:
                    await self._wait_for_idle()
                step = await self._db.read(lambda tx: self._go_on(tx, step))  # noqa: B023 (awaited here)
            await self._write(state, step)
            if step.last:
                break
        self._next_check = await self._db.read(lambda tx: tx.exceptions.next_due())

    # --- on a reader's thread ---

    def _initial_state(self, tx: Transaction) -> EvaluationState:
        """Where it left off, or the beginning."""
        return tx.exceptions.state() or self._restart(tx)

    def _version(self) -> str:
        told = msgspec.json.encode([VERSION, self.rules], order="deterministic")
        return hashlib.blake2b(told, digest_size=8).hexdigest()

    def _restart(self, tx: Transaction) -> EvaluationState:
        """The beginning of a look at everything; what is written from now on is in the journal."""
        return EvaluationState(self._version(), tx.journal.last(), self._lists_complete(tx), next(iter(TABLES)))

    def _lists_complete(self, tx: Transaction) -> bool:
        """Whether the lists were read whole once: what comes from then on is news."""
        if not self.reads_lists:
            return True
        state, run = tx.sync.list_states().get("shipments"), tx.sync.last("full")
        if run is not None and run.state == "complete":
            return True  # also while they are read once more
        return state is not None and state.complete_at is not None and tx.sync.running("full") is None

    def _read(self, tx: Transaction, state: EvaluationState) -> _Batch:
        newest = tx.journal.last()
        is_lost = state.journal < tx.journal.first() - 1 or state.journal > newest
        again, self._restart_requested = self._restart_requested, False
        if again or is_lost or state.version != self._version() or (not state.is_loud and self._lists_complete(tx)):
            state = self._restart(tx)
        now = self._clock.now()
        if not state.is_loud and tx.sync.running("full") is not None:
            return _Batch((), state, last=True)  # the lists are being read for the first time: then all is looked at
        if state.resource is not None:
            return self._next_subjects(tx, state, now)
        subjects: dict[Subject, None] = {}
        for entry in tx.journal.after(state.journal, _ENTRY_BATCH):
            subjects.update(dict.fromkeys(affected(tx, (entry,))))
            state = msgspec.structs.replace(state, journal=entry.id)
            if len(subjects) >= _OBJECT_BATCH:
                break
        is_read = state.journal == newest
        due = tx.exceptions.due(stamp(now), _SUBJECT_BATCH) if is_read else []
        subjects.update(dict.fromkeys(due))
        return self._go_on(tx, _Batch((), state, last=is_read and len(due) < _SUBJECT_BATCH, left=list(subjects)))

    def _go_on(self, tx: Transaction, step: _Batch) -> _Batch:
        """Judge some of what is left: an object that many entries touched is judged once."""
        some, left = step.left[:_SUBJECT_BATCH], step.left[_SUBJECT_BATCH:]
        return step._replace(writes=self._evaluate(tx, some, step.state, self._clock.now()), left=left)

    def _next_subjects(self, tx: Transaction, state: EvaluationState, now: datetime) -> _Batch:
        names = list(TABLES)
        name = state.resource or names[0]
        keys = tx.resources.keys_after(TABLES[name], state.after, _SUBJECT_BATCH)
        writes = self._evaluate(tx, [(name, key) for key in keys], state, now)
        if len(keys) == _SUBJECT_BATCH:
            return _Batch(writes, msgspec.structs.replace(state, resource=name, after=keys[-1]), last=False)
        follows = names[names.index(name) + 1 :]
        return _Batch(
            writes, msgspec.structs.replace(state, resource=follows[0] if follows else None, after=None), last=False
        )

    def _evaluate(
        self, tx: Transaction, subjects: Sequence[Subject], state: EvaluationState, now: datetime
    ) -> list[Write]:
        """What has to be written of these."""
        judged = evaluate(tx, subjects, self.rules, now)
        findings = [finding for judgement in judged.values() for finding in judgement.findings]
        is_told = state.is_loud and state.is_whole
        known = [subject for subject in subjects if judged[subject].succeeded]
        found = diff(open_exceptions(tx, known, findings), findings)
        writes: list[Write] = [close_exception(row, is_told=is_told) for row in found.closed]
        writes += [update_exception(row, finding) for row, finding in found.updated]
        writes += [open_exception(finding, is_told=is_told) for finding in found.opened]
        for (_, key), judgement in judged.items():
            new = [one for one in judgement.notices if not tx.exceptions.was_notified(one.topic, key)]
            writes += [notify(one, key, is_told=is_told) for one in new]
        for resource in TABLES:
            own = [key for name, key in judged if name == resource]
            stored = tx.exceptions.scheduled(resource, own)
            for key in own:
                due = judged[resource, key].next_check
                at = None if due is None else stamp(due)
                if stored.get(key) != at:
                    writes.append(schedule_check(resource, key, at))
        return writes

    # --- writing ---

    async def _write(self, before: EvaluationState, step: _Batch) -> None:
        """Write the steps in short transactions; how far it is in the last of them."""
        if step.state == before and not step.writes:
            return
        left, alone = step.writes, False
        while left:
            quiet = await self._db.writer.wait_for_quiet(MAX_YIELD)
            some = left[: 1 if alone else _WRITE_BATCH if quiet else _BUSY_WRITE_BATCH]
            rest = left[len(some) :]
            done = None if rest else step.state
            try:
                await self._db.write(lambda tx: self._save(tx, some, done))  # noqa: B023 (awaited here)
            except Exception as error:
                if isinstance(error, UnavailableError) or not is_data_error(error):
                    raise
                if len(some) > 1:
                    alone = True  # one by one from here on: one of them is at fault
                    continue
                self._skip(error)
                if done is not None:
                    await self._db.write(lambda tx: tx.exceptions.put_state(step.state))
            left = rest
        if step.writes:
            self._saved_entry = step.state.journal
            self._on_written()
        elif not (before.is_whole and step.state.is_whole) or step.state.journal - self._saved_entry >= _SAVE_EVERY:
            await self._db.writer.wait_for_quiet(MAX_YIELD)
            await self._db.write(lambda tx: tx.exceptions.put_state(step.state))
            self._saved_entry = step.state.journal
        self._state = step.state

    def _save(self, tx: Transaction, writes: Sequence[Write], state: EvaluationState | None) -> None:
        at, notices = self._clock.stamp(), list[Mapping[str, Any]]()
        for write in writes:
            write(tx, at, notices)
        tx.journal.add(at, notices=notices)
        if state is not None:
            tx.exceptions.put_state(state)
