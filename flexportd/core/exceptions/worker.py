"""The consumer that keeps the exceptions: evaluates what commits have touched, and what a date has passed for.

For what time alone changes it notes with each object when to look at it again: so it never looks at more than what
moved or came due. What it finds when it looks at everything, at first or after the rules or their thresholds change,
is not news and opens without a notice. So is all until Flexport's lists were read whole for the first time.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.changes.consumer import ChangeLogConsumer, IdleWait, Step, Subject
from flexportd.core.exceptions.evaluate import DEPENDS_ON, TABLES, VERSION, affected, diff, evaluate, open_exceptions
from flexportd.core.exceptions.model import ExceptionRules, Finding, OneTimeNotice
from flexportd.escape import escape_control
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.exceptions import EvaluationState, ExceptionFields, ExceptionRow
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

POLL_INTERVAL = 600.0  # seconds between looks when nobody wakes it and nothing comes due
_INITIAL_POLL_INTERVAL = 5.0  # seconds between looks until the lists were read whole

Notice = Mapping[str, Any]

Write = Callable[[Transaction, str], Notice | None]
"""One write: (transaction, our time) -> the notice for the change log, if it is news."""


class ExceptionWorker(ChangeLogConsumer[EvaluationState, Write]):
    """Keeps the exceptions. `rules` may be exchanged."""

    name = "exceptions"
    debounce = 0.2
    read_batch = busy_read_batch = 100

    def __init__(
        self,
        db: Database,
        clock: Clock,
        rules: ExceptionRules,
        wait_for_idle: IdleWait | None = None,
        *,
        reads_lists: bool = False,
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        """`reads_lists`: whether Flexport's lists are read.

        `on_written` is called on the event loop after exceptions were written.
        """
        super().__init__(
            db, clock, state_type=EvaluationState, tables=TABLES, depends_on=DEPENDS_ON, wait_for_idle=wait_for_idle
        )
        self.rules = rules
        self.reads_lists = reads_lists
        self.after_write = on_written  # type: ignore[method-assign]
        self._next_check: str | None = None
        self._skipped: tuple[int, str] | None = None
        self._restart_requested = False

    @property
    def skipped_reason(self) -> str | None:
        """How many findings could not be written since the start, and why the last could not; None for none."""
        if self._skipped is None:
            return None
        return f"{self._skipped[0]} findings could not be written, the last because of {self._skipped[1]}"

    def skip(self, write: Write, error: Exception) -> None:  # noqa: ARG002 (it is in the log)
        """Leave a finding out."""
        log.error("exception_write_failed", exc_info=error)
        count = self._skipped[0] if self._skipped else 0
        self._skipped = count + 1, escape_control(f"{type(error).__name__}: {error}")

    @property
    def notifies(self) -> bool:
        """Whether what opens and closes is told."""
        return self._state is not None and self._state.is_loud

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
        """Evaluate all that is new or due, and write what differs. Raises UnavailableError when the disk refuses."""
        await super().process()
        self._next_check = await self._db.read(lambda tx: tx.exceptions.next_due())

    # --- on a reader's thread ---

    def _version(self) -> str:
        told = msgspec.json.encode([VERSION, self.rules], order="deterministic")
        return hashlib.blake2b(told, digest_size=8).hexdigest()

    def restart(self, tx: Transaction) -> EvaluationState:
        """The state before everything is looked at."""
        return EvaluationState(
            version=self._version(),
            journal=tx.journal.last(),
            is_loud=self._lists_complete(tx),
            resource=next(iter(TABLES)),
        )

    def must_restart(self, tx: Transaction, state: EvaluationState) -> bool:
        """After other rules, on request, and when the lists were read whole for the first time."""
        again, self._restart_requested = self._restart_requested, False
        return again or state.version != self._version() or (not state.is_loud and self._lists_complete(tx))

    def _lists_complete(self, tx: Transaction) -> bool:
        """Whether the lists were read whole once: what comes from then on is news."""
        if not self.reads_lists:
            return True
        state, run = tx.sync.list_states().get("shipments"), tx.sync.last("full")
        if run is not None and run.state == "complete":
            return True  # also while they are read once more
        return state is not None and state.complete_at is not None and tx.sync.running("full") is None

    def read(self, tx: Transaction, state: EvaluationState, most: int) -> Step[EvaluationState, Write]:
        """What is new; nothing while the lists are read for the first time: after that, everything is looked at."""
        if not state.is_loud and tx.sync.running("full") is not None and not self._lists_complete(tx):
            return Step(state, last=True)
        return super().read(tx, state, most)

    def subjects(self, tx: Transaction, written: Mapping[str, Sequence[Key]], events: Sequence[int]) -> list[Subject]:
        """The shipments, bookings and invoices whose facts these are."""
        return affected(tx, written, events)

    def due(self, tx: Transaction) -> Sequence[Subject]:
        """What a date has passed for."""
        return tx.exceptions.due(self._clock.stamp(), self.read_batch)

    def plan(self, tx: Transaction, subjects: Sequence[Subject], state: EvaluationState) -> list[Write]:
        """What has to be written of these."""
        evaluations = evaluate(tx, subjects, self.rules, self._clock.now())
        findings = [finding for one in evaluations.values() for finding in one.findings]
        is_told = state.is_loud and state.is_whole
        known = [subject for subject in subjects if evaluations[subject].succeeded]
        opened, updated, closed = diff(open_exceptions(tx, known, findings), findings)
        writes: list[Write] = [
            *(partial(_close, row, is_told) for row in closed),
            *(partial(_update, row, finding) for row, finding in updated),
            *(partial(_open, finding, is_told and finding.is_news) for finding in opened),
        ]
        for (_, key), one in evaluations.items():
            new = [notice for notice in one.notices if not tx.exceptions.was_notified(notice.topic, key)]
            writes += [partial(_notify_once, notice, key, is_told) for notice in new]
        for resource in TABLES:
            own = [key for name, key in evaluations if name == resource]
            stored = tx.exceptions.scheduled(resource, own)
            for key in own:
                due = evaluations[resource, key].next_check
                at = None if due is None else stamp(due)
                if stored.get(key) != at:
                    writes.append(partial(_schedule, resource, key, at))
        return writes

    # --- writing ---

    def write(self, tx: Transaction, writes: Sequence[Write]) -> None:
        """Write these, and their notices."""
        at = self._clock.stamp()
        notices = [write(tx, at) for write in writes]
        tx.journal.add(at, notices=[notice for notice in notices if notice is not None])


def _open(finding: Finding, is_told: bool, tx: Transaction, at: str) -> Notice | None:
    number = tx.exceptions.open(finding.fields, at)
    return _notice("exception.opened", number, finding.fields) if is_told else None


def _update(row: ExceptionRow, finding: Finding, tx: Transaction, at: str) -> None:
    """New evidence of an exception that stays open; without a notice."""
    tx.exceptions.update(row.id, finding.fields, at)


def _close(row: ExceptionRow, is_told: bool, tx: Transaction, at: str) -> Notice | None:
    """The notice has the last evidence."""
    tx.exceptions.close(row.id, at)
    return _notice("exception.closed", row.id, row) if is_told else None


def _notify_once(notice: OneTimeNotice, key: Key, is_told: bool, tx: Transaction, at: str) -> Notice | None:
    """Without `is_told` it only counts as sent."""
    tx.exceptions.record_notified(notice.topic, key, at)
    return msgspec.structs.asdict(notice) if is_told else None


def _schedule(resource: str, key: Key, due_at: str | None, tx: Transaction, _at: str) -> None:
    tx.exceptions.schedule(resource, key, due_at)


def _notice(topic: str, number: int, of: ExceptionFields | ExceptionRow) -> Notice:
    names = ("resource", "resource_id", "shipment_id", "kind", "severity", "evidence")
    return {"topic": topic, "exception_id": str(number), **{name: getattr(of, name) for name in names}}
