"""The consumer that keeps the exceptions: evaluates what commits have touched, and what has come due.

Each evaluation says when time alone may change its result, so only what changed or came due is evaluated. What a
complete evaluation finds (the first one, or after the rules or their thresholds change) is not news and opens without
a notice. The same holds for everything until Flexport's lists have been read completely once.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.baseline import lists_complete, lists_unread
from flexportd.core.changes.consumer import DATA_ERRORS, ChangeLogConsumer, IdleWait, Step, Subject
from flexportd.core.evidence import CargoStage
from flexportd.core.exceptions.model import (
    SEVERITIES,
    UNKNOWN_OPENS,
    UNKNOWN_RISES,
    Evaluation,
    ExceptionRules,
    Finding,
    OneTimeNotice,
    Rule,
    ShipmentFacts,
    TimeTriggers,
    is_closed,
)
from flexportd.core.exceptions.rules import (
    customs_hold,
    empty_return,
    estimate_history,
    eta_slipped,
    evaluate_booking,
    evaluate_invoice,
    evaluate_operation,
    flexport_reported,
    free_time,
    late_pickup,
    late_step,
    missing_documents,
    silent,
)
from flexportd.core.resources import bookings, containers, customs, documents, invoices, legs, shipments
from flexportd.escape import escape_control
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.exceptions import EvaluationState, ExceptionFields, ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

VERSION = "3"
"""The version of the rules; a new one evaluates everything again."""

_RULES: tuple[Rule, ...] = (
    late_pickup, late_step, eta_slipped, customs_hold, free_time, empty_return, silent, missing_documents,
    flexport_reported,
)  # fmt: skip
"""The rules of a shipment: all are applied.

Findings depend on the present state, the milestones, the thresholds and the time, never on the order of arrival; only
`eta_slipped` also depends on the history, which has the earlier estimates.
"""

_RETRY_AFTER = timedelta(hours=1)

MAX_MILESTONES = 500  # of one shipment, the newest

TABLES: Mapping[str, Table] = {"shipments": shipments.TABLE, "bookings": bookings.TABLE, "invoices": invoices.TABLE}
"""The evaluated resources, in the order of a complete evaluation."""

_OPERATIONS = "operations"
"""Operations are not in the change log: those whose exception differs are looked up, see `due`."""

_SEPARATE = ("bookings", "invoices", _OPERATIONS)
"""Resources that are evaluated by themselves, not with their shipment."""

_OWNED: Mapping[str, Table] = {
    table.name: table
    for table in (legs.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS, documents.TABLE, customs.TABLE)
}

DEPENDS_ON: Mapping[str, frozenset[str] | None] = {
    **{name: frozenset({*table.names, "removed_at"}) for name, table in {**TABLES, **_OWNED}.items()},
    "shipments": None,  # that Flexport sent a newer state, even the same, ends silence
}
"""By resource: the fields that exceptions depend on; None for every write."""


def evaluate(
    tx: Transaction, subjects: Sequence[Subject], rules: ExceptionRules, now: datetime
) -> dict[Subject, Evaluation]:
    """Evaluate these subjects; empty for those that do not exist.

    A subject that fails does not affect others: the failure is logged, and it is evaluated again in an hour.
    """
    keys: dict[str, list[Key]] = {}
    for resource, key in subjects:
        keys.setdefault(resource, []).append(key)
    found: dict[Subject, Evaluation] = dict.fromkeys(subjects, Evaluation())
    for subject, work in _evaluators(tx, keys, rules, now):
        try:
            found[subject] = work()
        except DATA_ERRORS:
            log.exception("exception_evaluation_failed", resource=subject[0], resource_id=str(subject[1]))
            found[subject] = Evaluation(next_check=now + _RETRY_AFTER, succeeded=False)
    return found


def _evaluators(
    tx: Transaction, keys: Mapping[str, Sequence[Key]], rules: ExceptionRules, now: datetime
) -> Iterator[tuple[Subject, Callable[[], Evaluation]]]:
    for key, case in _facts_loaders(tx, keys.get("shipments", ())):
        yield ("shipments", key), lambda: evaluate_shipment(case(), rules, now)  # noqa: B023 (called before the next)
    for key, booking in tx.resources.load(bookings.TABLE, keys.get("bookings", ())).items():
        yield ("bookings", key), partial(evaluate_booking, booking, rules, now)
    found = tx.resources.load(invoices.TABLE, keys.get("invoices", ()))
    related = invoices.related_values(tx, [invoice.fields for invoice in found.values()]) if found else []
    for (key, invoice), values in zip(found.items(), related, strict=True):
        yield ("invoices", key), partial(evaluate_invoice, invoice, rules, now, values)
    for operation in tx.operations.by_ids([int(key) for key in keys.get(_OPERATIONS, ())]):
        yield (_OPERATIONS, operation.id), partial(evaluate_operation, operation, now)


def evaluate_shipment(case: ShipmentFacts, rules: ExceptionRules, now: datetime) -> Evaluation:
    """Apply all rules to a shipment."""
    watch = TimeTriggers(now)
    found = [finding for rule in _RULES for finding in rule(case, rules, watch)]
    return Evaluation(found, watch.next_check)


def open_exceptions(tx: Transaction, subjects: Sequence[Subject], findings: Iterable[Finding]) -> list[ExceptionRow]:
    """The open exceptions of these subjects, and those with the key of a finding."""
    rows: dict[int, ExceptionRow] = {}
    for row in tx.exceptions.of_shipments([int(key) for resource, key in subjects if resource == "shipments"]):
        if row.resource not in _SEPARATE:
            rows[row.id] = row
    for resource in _SEPARATE:
        keys = [key for name, key in subjects if name == resource]
        rows.update((row.id, row) for row in tx.exceptions.open_of_objects(resource, keys))
    found = {(row.kind, row.resource, row.resource_id) for row in rows.values()}
    for finding in findings:
        if finding.key not in found:
            rows.update((row.id, row) for row in tx.exceptions.open_of_kind(*finding.key))
    return list(rows.values())


def diff(
    rows: Iterable[ExceptionRow], findings: Iterable[Finding]
) -> tuple[list[Finding], list[tuple[ExceptionRow, Finding]], list[ExceptionRow]]:
    """What opens, what has other evidence, and what closes, so that the open exceptions match the findings."""
    stored: dict[tuple[str, str, str], ExceptionRow] = {(row.kind, row.resource, row.resource_id): row for row in rows}
    found = {finding.key: finding for finding in findings}
    both = [(stored[key], finding) for key, finding in found.items() if key in stored]
    return (
        [finding for key, finding in found.items() if key not in stored],
        [(row, finding) for row, finding in both if not _is_unchanged(row, finding)],
        [row for key, row in stored.items() if key not in found],
    )


def _new_owners(tx: Transaction, subjects: Sequence[Subject]) -> list[int]:
    """Further shipments that now own what has an open exception of one of these: it moves there, and stays open."""
    known = {int(key) for resource, key in subjects if resource == "shipments"}
    objects: dict[str, list[Key]] = {}
    for row in tx.exceptions.of_shipments(sorted(known)):
        if row.resource in _OWNED:
            objects.setdefault(row.resource, []).append(row.resource_id)
    states = [one for name, keys in objects.items() for one in tx.resources.object_states(_OWNED[name], keys).values()]
    return sorted({one.shipment_id for one in states if one.shipment_id is not None} - known)


def _is_unchanged(row: ExceptionRow, finding: Finding) -> bool:
    return row.degree == finding.degree and _has_same_content(row, finding)


def _has_same_content(row: ExceptionRow, finding: Finding) -> bool:
    said = (row.severity, row.shipment_id) == (finding.severity, finding.shipment_id)
    return said and row.evidence == finding.evidence and finding.since in (None, row.since)


def _facts_loaders(tx: Transaction, keys: Sequence[Key]) -> Iterator[tuple[Key, Callable[[], ShipmentFacts]]]:
    """Loaders of the facts of these shipments; for closed ones only what free time and empty returns depend on."""
    found = tx.resources.load(shipments.TABLE, keys)
    live = [int(key) for key, one in found.items() if not is_closed(one)]
    boxed = [int(key) for key, one in found.items() if not one.removed_at]
    of = {
        name: tx.resources.of_shipments(table, boxed if name in _CONTAINER_TABLES else live)
        for name, table in _OWNED.items()
    }
    delivery = tx.gaps.delivery_state()
    since = None if delivery is None else delivery.since
    for key, one in found.items():
        yield key, partial(_load_facts, tx, one, {name: rows.get(int(key), []) for name, rows in of.items()}, since)


_CONTAINER_TABLES = frozenset({"legs", "containers", "container_legs"})


def _load_facts(
    tx: Transaction, shipment: Record, own: Mapping[str, Sequence[Record]], listening_since: str | None
) -> ShipmentFacts:
    out = any(not box.fields["empty_returned_date"] for box in own["containers"])  # or not known to be returned
    is_live = not is_closed(shipment) or (out and not shipment.removed_at)
    milestones = tx.exceptions.milestones(int(shipment.id), MAX_MILESTONES) if is_live else []
    case = ShipmentFacts(
        shipment, own["legs"], own["containers"], own["container_legs"], own["documents"], own["customs_entries"],
        milestones, listening_since=listening_since,
    )  # fmt: skip
    held = [str(one.id) for one in case.customs if one.fields["release_state"] == "hold" and not one.removed_at]
    if held:
        case.held_since = tx.exceptions.value_since("customs_entries", held, "release_state", "hold")
    if case.is_closed or not case.has_reached(CargoStage.DEPARTED) or case.has_reached(CargoStage.DISCHARGED):
        return case
    moves = tx.exceptions.date_changes(case.id)
    names = ("estimated_arrival", "estimated_ramp_arrival")
    case.estimates = {name: estimate_history(moves, name, shipment.fields[name]) for name in names}
    case.changed_at = tx.exceptions.changed_at(
        {name: [str(one.id) for one in own[name]] for name in ("legs", "containers", "container_legs")}
    )
    return case


POLL_INTERVAL = 600.0  # seconds between evaluations when nothing wakes it and nothing comes due
_INITIAL_POLL_INTERVAL = 5.0  # seconds between checks until the lists have been read completely

_SNOOZED = "exceptions"  # the resource of a subject that is an exception: its snooze has ended

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
        """Whether opened and closed exceptions send notices."""
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
        is_requested = self._restart_requested
        try:
            await super().process()
        except BaseException:
            self._restart_requested |= is_requested  # what could not be written is looked at once more
            raise
        self._next_check = await self._db.read(self._earliest_check)

    @staticmethod
    def _earliest_check(tx: Transaction) -> str | None:
        opens, rises = tx.exceptions.unknown_operations()
        times = [
            tx.exceptions.next_due(),
            tx.exceptions.next_snooze_end(),
            opens and stamp(parse(opens) + UNKNOWN_OPENS),
            rises and stamp(parse(rises) + UNKNOWN_RISES),
        ]
        return min(filter(None, times), default=None)

    def _version(self) -> str:
        encoded = msgspec.json.encode([VERSION, self.rules], order="deterministic")
        return hashlib.blake2b(encoded, digest_size=8).hexdigest()

    def restart(self, tx: Transaction) -> EvaluationState:
        """The state before everything is looked at."""
        return EvaluationState(
            version=self._version(),
            journal=tx.journal.last(),
            is_loud=self._lists_complete(tx),
            resource=next(iter(TABLES)),
        )

    def must_restart(self, tx: Transaction, state: EvaluationState) -> bool:
        """After other rules, on request, when lists are to be read for the first time, and when they were."""
        again, self._restart_requested = self._restart_requested, False
        if again or state.version != self._version():
            return True
        return self.reads_lists and lists_unread(tx) if state.is_loud else self._lists_complete(tx)

    def _lists_complete(self, tx: Transaction) -> bool:
        return not self.reads_lists or lists_complete(tx)

    def read(self, tx: Transaction, state: EvaluationState, most: int) -> Step[EvaluationState, Write]:
        """What is new; nothing while the lists are read for the first time: after that, everything is looked at."""
        if not state.is_loud and tx.sync.running("full") is not None and not self._lists_complete(tx):
            return Step(state, last=True)
        return super().read(tx, state, most)

    def subjects(self, tx: Transaction, written: Mapping[str, Sequence[Key]], events: Sequence[int]) -> list[Subject]:
        """The shipments, bookings and invoices whose facts these are, and the shipment that an object left.

        An overdue invoice is compared with the cost of its shipment.
        """
        shipments_of: set[int | None] = {*tx.journal.shipments_of(events)}
        for name, table in _OWNED.items():
            keys = written[name]
            shipments_of.update(where.shipment_id for where in tx.resources.object_states(table, keys).values())
            shipments_of.update(row.shipment_id for row in tx.exceptions.open_of_objects(name, keys))
        own = [(name, key) for name in TABLES for key in written[name]]
        open_ones = tx.exceptions.of_shipments([int(key) for key in written["shipments"]])
        own += [("invoices", row.resource_id) for row in open_ones if row.resource == "invoices"]
        return [*own, *(("shipments", number) for number in sorted(filter(None, shipments_of)))]

    def due(self, tx: Transaction) -> Sequence[Subject]:
        """What a date has passed for, unknown operations, and exceptions whose snooze has ended."""
        now = self._clock.now()
        found: list[Subject] = tx.exceptions.due(stamp(now), self.read_batch)
        before = stamp(now - UNKNOWN_OPENS), stamp(now - UNKNOWN_RISES)
        numbers = tx.exceptions.due_operations(*before, self.read_batch - len(found))
        found += ((_OPERATIONS, number) for number in numbers)
        snoozed = tx.exceptions.ended_snoozes(stamp(now), self.read_batch - len(found))
        return [*found, *((_SNOOZED, number) for number in snoozed)]

    def plan(self, tx: Transaction, subjects: Sequence[Subject], state: EvaluationState) -> list[Write]:
        """What has to be written of these."""
        snoozed = [int(key) for resource, key in subjects if resource == _SNOOZED]
        subjects = [subject for subject in subjects if subject[0] != _SNOOZED]
        subjects += [("shipments", number) for number in _new_owners(tx, subjects)]
        evaluations = evaluate(tx, subjects, self.rules, self._clock.now())
        findings = [finding for one in evaluations.values() for finding in one.findings]
        is_notified = state.is_loud and state.is_whole
        known = [subject for subject in subjects if evaluations[subject].succeeded]
        opened, updated, closed = diff(open_exceptions(tx, known, findings), findings)
        writes: list[Write] = [
            *(partial(_close, row, is_notified) for row in closed),
            *(partial(_update, row, finding, is_notified) for row, finding in updated),
            *(partial(_open, finding, is_notified and finding.is_news) for finding in opened),
            *(partial(_end_snooze, number, is_notified) for number in snoozed),
        ]
        for (_, key), one in evaluations.items():
            new = [one for one in one.notices if not tx.exceptions.was_notified(one.topic, key, one.occasion)]
            writes += [partial(_notify_once, notice, key, is_notified) for notice in new]
        for resource in TABLES:
            own = [key for name, key in evaluations if name == resource]
            stored = tx.exceptions.scheduled(resource, own)
            due: dict[Key, str | None] = {}
            for key in own:
                next_check = evaluations[resource, key].next_check
                at = None if next_check is None else stamp(next_check)
                if stored.get(key) != at:
                    due[key] = at
            if due:
                writes.append(partial(_schedule, resource, due))
        return writes

    def write(self, tx: Transaction, writes: Sequence[Write]) -> None:
        """Write these, and their notices."""
        at = self._clock.stamp()
        notices = [write(tx, at) for write in writes]
        tx.journal.add(at, notices=[notice for notice in notices if notice is not None])


def _open(finding: Finding, is_notified: bool, tx: Transaction, at: str) -> Notice | None:
    number = tx.exceptions.open(finding.fields, at)
    return _notice("exception.opened", number, finding.fields) if is_notified else None


def _update(row: ExceptionRow, finding: Finding, is_notified: bool, tx: Transaction, at: str) -> Notice | None:
    """The notice says that it is worse: more severe than ever since it opened, or no longer what was snoozed."""
    current = tx.exceptions.by_id(row.id) or row  # someone may have snoozed it since it was read
    is_more_severe = SEVERITIES.index(finding.severity) < SEVERITIES.index(current.peak_severity)
    peak = finding.severity if is_more_severe else current.peak_severity
    updated_at = current.updated_at if _has_same_content(current, finding) else at
    tx.exceptions.update(row.id, finding.fields, updated_at, peak)
    was_exceeded = current.snoozed_degree is not None and finding.degree > current.snoozed_degree
    ends_snooze = current.snoozed_until_worse and (is_more_severe or was_exceeded)
    if ends_snooze:
        tx.exceptions.unsnooze(row.id)
    if not is_notified or not (is_more_severe or ends_snooze):
        return None
    notice = _notice("exception.worsened", row.id, finding.fields)
    return notice if is_more_severe else {**notice, "only_for_snooze": True}


def _end_snooze(number: int, is_notified: bool, tx: Transaction, at: str) -> Notice | None:
    """The snooze may have been changed or ended since it was read."""
    row = tx.exceptions.by_id(number)
    if row is None or row.snoozed_until is None or row.snoozed_until > at:
        return None
    tx.exceptions.unsnooze(number)
    return _notice("exception.snooze_ended", number, row) if is_notified else None


def _close(row: ExceptionRow, is_notified: bool, tx: Transaction, at: str) -> Notice | None:
    """The notice has the last evidence."""
    tx.exceptions.close(row.id, at)
    return _notice("exception.closed", row.id, row) if is_notified else None


def _notify_once(notice: OneTimeNotice, key: Key, is_notified: bool, tx: Transaction, at: str) -> Notice | None:
    """Without `is_notified` it only counts as sent."""
    tx.exceptions.record_notified(notice.topic, key, notice.occasion, at)
    return notice.message if is_notified else None


def _schedule(resource: str, due: Mapping[Key, str | None], tx: Transaction, _at: str) -> None:
    tx.exceptions.schedule(resource, due)


def _notice(topic: str, number: int, of: ExceptionFields | ExceptionRow) -> Notice:
    names = ("resource", "resource_id", "shipment_id", "kind", "severity", "evidence")
    return {"topic": topic, "exception_id": str(number), **{name: getattr(of, name) for name in names}}
