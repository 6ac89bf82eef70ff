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
from flexportd.core.exceptions.cases import Rules
from flexportd.core.exceptions.facts import TABLES, Subject, judge, opened, touched
from flexportd.core.exceptions.rules import VERSION, steps
from flexportd.core.exceptions.writes import Write, closing, looking, moving, opening, telling
from flexportd.core.follow import PATIENCE, Calm
from flexportd.errors import UnavailableError
from flexportd.storage.connection import is_about_content
from flexportd.storage.database import Database
from flexportd.storage.exceptions import JudgingState
from flexportd.storage.session import Session
from flexportd.text import harmless

log = structlog.get_logger(__name__)

LOOK = 600.0  # seconds between looks when nobody wakes it and nothing comes due
_WHILE_FILLED = 5.0  # seconds between looks until the lists were read whole
_AT_ONCE = 100  # objects that are judged in one go
_JOURNAL, _TOUCHED = 50, 5000  # entries of the journal that are read in one go, and objects that these touched
_WRITTEN = 200  # steps in one transaction, while no webhook comes
_BETWEEN = 30  # the same while webhooks come: as much as one of them may wait for
_UNNOTED = 500  # entries of the journal that changed nothing, after which it is noted that they were read


class _Step(NamedTuple):
    """What was judged in one snapshot: what to write, how far that leads, and what is left to be judged before that."""

    writes: Sequence[Write]
    state: JudgingState
    last: bool
    left: Sequence[Subject] = ()


class Examiner:
    """Keeps the exceptions; `core.follow.follow` is its loop. `rules` may be exchanged."""

    name = "exceptions"
    gather = 0.2

    def __init__(self, db: Database, clock: Clock, rules: Rules, calm: Calm | None = None) -> None:
        """`calm` is waited for before each step."""
        self._db = db
        self._clock = clock
        self.rules = rules
        self._calm = calm
        self.reads_lists = False  # whether Flexport's lists are read
        self.committed: Callable[[], None] = lambda: None  # called after exceptions were written, on the event loop
        self._state: JudgingState | None = None
        self._noted = 0
        self._one = asyncio.Lock()  # a step goes on from what the one before has written
        self._next: str | None = None
        self._left_out: tuple[int, str] | None = None
        self._again = False
        self.trouble: str | None = None

    @property
    def omission(self) -> str | None:
        """How many findings could not be written since the start, and why the last could not; None for none."""
        if self._left_out is None:
            return None
        return f"{self._left_out[0]} findings could not be written, the last because of {self._left_out[1]}"

    def _leave_out(self, error: Exception) -> None:
        log.error("finding_not_written", exc_info=error)
        count = self._left_out[0] if self._left_out else 0
        self._left_out = count + 1, harmless(f"{type(error).__name__}: {error}")

    @property
    def complete(self) -> bool:
        """Whether everything was looked at once."""
        return self._state is not None and self._state.is_whole

    @property
    def is_loud(self) -> bool:
        """Whether what opens and closes is told."""
        return self._state is not None and self._state.is_loud

    def has_read(self, entry: int) -> bool:
        """Whether it has judged all that the journal tells of up to an entry."""
        return self.complete and self._state is not None and self._state.journal >= entry

    def forget(self) -> None:
        """Believe what is stored, not what was meant to be."""
        self._state = None

    def judge_again(self) -> None:
        """Look at everything once more: what is due was reckoned by a clock that was set back since."""
        self._again = True

    def pause(self) -> float:
        """Seconds until it looks by itself: when something comes due, and every ten minutes."""
        if self._state is not None and not self._state.is_loud:
            return _WHILE_FILLED
        if self._next is None:
            return LOOK
        return min(LOOK, max(self.gather, self._clock.until(parse(self._next))))

    async def catch_up(self) -> None:
        """Judge all that is new or due, and write what differs. Raises UnavailableError when the disk refuses."""
        async with self._one:
            await self._catch_up()

    async def _catch_up(self) -> None:
        if self._state is None:
            found = await self._db.read(self._begin)
            self._state, self._noted = found, found.journal
        while True:
            if self._calm is not None:
                await self._calm()
            state = self._state
            step = await self._db.read(lambda tx: self._read(tx, state))  # noqa: B023 (awaited here)
            while step.left:
                await self._write(state, step._replace(state=state))
                if self._calm is not None:
                    await self._calm()
                step = await self._db.read(lambda tx: self._go_on(tx, step))  # noqa: B023 (awaited here)
            await self._write(state, step)
            if step.last:
                break
        self._next = await self._db.read(lambda tx: tx.exceptions.next_due())

    # --- on a reader's thread ---

    def _begin(self, tx: Session) -> JudgingState:
        """Where it left off, or the beginning."""
        return tx.exceptions.state() or self._anew(tx)

    def _version(self) -> str:
        told = msgspec.json.encode([VERSION, self.rules], order="deterministic")
        return hashlib.blake2b(told, digest_size=8).hexdigest()

    def _anew(self, tx: Session) -> JudgingState:
        """The beginning of a look at everything; what is written from now on is in the journal."""
        return JudgingState(self._version(), tx.journal.last(), self._is_filled(tx), next(iter(TABLES)))

    def _is_filled(self, tx: Session) -> bool:
        """Whether the lists were read whole once: what comes from then on is news."""
        if not self.reads_lists:
            return True
        state, run = tx.sync.list_states().get("shipments"), tx.sync.last("full")
        if run is not None and run.state == "complete":
            return True  # also while they are read once more
        return state is not None and state.complete_at is not None and tx.sync.running("full") is None

    def _read(self, tx: Session, state: JudgingState) -> _Step:
        newest = tx.journal.last()
        is_lost = state.journal < tx.journal.first() - 1 or state.journal > newest
        again, self._again = self._again, False
        if again or is_lost or state.version != self._version() or (not state.is_loud and self._is_filled(tx)):
            state = self._anew(tx)
        now = self._clock.now()
        if not state.is_loud and tx.sync.running("full") is not None:
            return _Step((), state, last=True)  # the lists are being read for the first time: then all is looked at
        if state.resource is not None:
            return self._everything(tx, state, now)
        subjects: dict[Subject, None] = {}
        for entry in tx.journal.after(state.journal, _JOURNAL):
            subjects.update(dict.fromkeys(touched(tx, (entry,))))
            state = msgspec.structs.replace(state, journal=entry.id)
            if len(subjects) >= _TOUCHED:
                break
        is_read = state.journal == newest
        due = tx.exceptions.due(stamp(now), _AT_ONCE) if is_read else []
        subjects.update(dict.fromkeys(due))
        return self._go_on(tx, _Step((), state, last=is_read and len(due) < _AT_ONCE, left=list(subjects)))

    def _go_on(self, tx: Session, step: _Step) -> _Step:
        """Judge some of what is left: an object that many entries touched is judged once."""
        some, left = step.left[:_AT_ONCE], step.left[_AT_ONCE:]
        return step._replace(writes=self._judged(tx, some, step.state, self._clock.now()), left=left)

    def _everything(self, tx: Session, state: JudgingState, now: datetime) -> _Step:
        names = list(TABLES)
        name = state.resource or names[0]
        keys = tx.exceptions.keys_after(TABLES[name], state.after, _AT_ONCE)
        writes = self._judged(tx, [(name, key) for key in keys], state, now)
        if len(keys) == _AT_ONCE:
            return _Step(writes, msgspec.structs.replace(state, resource=name, after=keys[-1]), last=False)
        follows = names[names.index(name) + 1 :]
        return _Step(
            writes, msgspec.structs.replace(state, resource=follows[0] if follows else None, after=None), last=False
        )

    def _judged(self, tx: Session, subjects: Sequence[Subject], state: JudgingState, now: datetime) -> list[Write]:
        """What has to be written of these."""
        judged = judge(tx, subjects, self.rules, now)
        findings = [finding for judgement in judged.values() for finding in judgement.findings]
        is_told = state.is_loud and state.is_whole
        known = [subject for subject in subjects if judged[subject].is_known]
        found = steps(opened(tx, known, findings), findings)
        writes: list[Write] = [closing(row, is_told=is_told) for row in found.closed]
        writes += [moving(row, finding) for row, finding in found.moved]
        writes += [opening(finding, is_told=is_told) for finding in found.opened]
        for (_, key), judgement in judged.items():
            new = [one for one in judgement.tell if not tx.exceptions.was_told(one.topic, key)]
            writes += [telling(one, key, is_told=is_told) for one in new]
        for resource in TABLES:
            own = [key for name, key in judged if name == resource]
            stored = tx.exceptions.looks(resource, own)
            for key in own:
                due = judged[resource, key].due
                at = None if due is None else stamp(due)
                if stored.get(key) != at:
                    writes.append(looking(resource, key, at))
        return writes

    # --- writing ---

    async def _write(self, before: JudgingState, step: _Step) -> None:
        """Write the steps in short transactions; how far it is in the last of them."""
        if step.state == before and not step.writes:
            return
        left, alone = step.writes, False
        while left:
            quiet = await self._db.writer.stand_back(PATIENCE)
            some = left[: 1 if alone else _WRITTEN if quiet else _BETWEEN]
            rest = left[len(some) :]
            done = None if rest else step.state
            try:
                await self._db.write(lambda tx: self._keep(tx, some, done))  # noqa: B023 (awaited here)
            except Exception as error:
                if isinstance(error, UnavailableError) or not is_about_content(error):
                    raise
                if len(some) > 1:
                    alone = True  # one by one from here on: one of them is at fault
                    continue
                self._leave_out(error)
                if done is not None:
                    await self._db.write(lambda tx: tx.exceptions.put_state(step.state))
            left = rest
        if step.writes:
            self._noted = step.state.journal
            self.committed()
        elif not (before.is_whole and step.state.is_whole) or step.state.journal - self._noted >= _UNNOTED:
            await self._db.writer.stand_back(PATIENCE)
            await self._db.write(lambda tx: tx.exceptions.put_state(step.state))
            self._noted = step.state.journal
        self._state = step.state

    def _keep(self, tx: Session, writes: Sequence[Write], state: JudgingState | None) -> None:
        at, notices = self._clock.stamp(), list[Mapping[str, Any]]()
        for write in writes:
            write(tx, at, notices)
        tx.journal.add(at, notices=notices)
        if state is not None:
            tx.exceptions.put_state(state)
