"""Evaluating exceptions: the shipments, invoices and bookings that a commit affects, with their facts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from flexportd.core.changes.consumer import DATA_ERRORS, Subject
from flexportd.core.evidence import CargoStage
from flexportd.core.exceptions.billing_rules import evaluate_booking, evaluate_invoice
from flexportd.core.exceptions.cargo_rules import (
    customs_hold,
    empty_return,
    flexport_reported,
    free_time,
    missing_documents,
)
from flexportd.core.exceptions.journey_rules import estimate_history, eta_slipped, late_pickup, late_step, silent
from flexportd.core.exceptions.model import (
    SEVERITY,
    Evaluation,
    ExceptionRules,
    Finding,
    Rule,
    ShipmentFacts,
    TimeTriggers,
    is_closed,
)
from flexportd.core.resources import bookings, containers, customs, documents, invoices, legs, shipments
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

VERSION = "2"
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

_OWNED: Mapping[str, Table] = {
    table.name: table
    for table in (legs.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS, documents.TABLE, customs.TABLE)
}

DEPENDS_ON: Mapping[str, frozenset[str] | None] = {
    **{name: frozenset({*table.names, "removed_at"}) for name, table in {**TABLES, **_OWNED}.items()},
    "shipments": None,  # that Flexport sent a newer state, even the same, ends silence
}
"""By resource: the fields that exceptions depend on; None for every write."""


def affected(tx: Transaction, written: Mapping[str, Sequence[Key]], events: Sequence[int]) -> list[Subject]:
    """The subjects that these objects and events may affect; including the shipment that an object left."""
    shipments_of: set[int | None] = {*tx.journal.shipments_of(events)}
    for name, table in _OWNED.items():
        keys = written[name]
        shipments_of.update(where.shipment_id for where in tx.resources.object_states(table, keys).values())
        shipments_of.update(row.shipment_id for row in tx.exceptions.open_of_objects(name, keys))
    own = [(name, key) for name in TABLES for key in written[name]]
    return [*own, *(("shipments", number) for number in sorted(filter(None, shipments_of)))]


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
    """Each of these subjects that exists, and its evaluator."""
    for key, case in _facts_loaders(tx, keys.get("shipments", ())):
        yield ("shipments", key), lambda: evaluate_shipment(case(), rules, now)  # noqa: B023 (called before the next)
    for key, booking in tx.resources.load(bookings.TABLE, keys.get("bookings", ())).items():
        yield ("bookings", key), partial(evaluate_booking, booking, rules, now)
    for key, invoice in tx.resources.load(invoices.TABLE, keys.get("invoices", ())).items():
        yield ("invoices", key), partial(evaluate_invoice, invoice, rules, now)


def evaluate_shipment(case: ShipmentFacts, rules: ExceptionRules, now: datetime) -> Evaluation:
    """Apply all rules to a shipment."""
    watch = TimeTriggers(now)
    found = [finding for rule in _RULES for finding in rule(case, rules, watch)]
    return Evaluation(found, watch.next_check)


def open_exceptions(tx: Transaction, subjects: Sequence[Subject], findings: Iterable[Finding]) -> list[ExceptionRow]:
    """The open exceptions of these subjects, and those with the key of a finding."""
    rows: dict[int, ExceptionRow] = {}
    of = [key for resource, key in subjects if resource == "shipments"]
    for row in tx.exceptions.of_shipments([int(key) for key in of]):
        if row.resource not in ("bookings", "invoices"):
            rows[row.id] = row
    for resource in ("bookings", "invoices"):
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


def _is_unchanged(row: ExceptionRow, finding: Finding) -> bool:
    said = (row.severity, row.shipment_id) == (SEVERITY[finding.kind], finding.shipment_id)
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
    number = int(shipment.id)
    out = any(not box.fields["empty_returned_date"] for box in own["containers"])  # or not known to be returned
    is_live = not is_closed(shipment) or (out and not shipment.removed_at)
    case = ShipmentFacts(
        shipment,
        own["legs"],
        own["containers"],
        own["container_legs"],
        own["documents"],
        own["customs_entries"],
        tx.exceptions.milestones(number, MAX_MILESTONES) if is_live else [],
        listening_since=listening_since,
    )
    if case.is_closed or not case.has_reached(CargoStage.DEPARTED) or case.has_reached(CargoStage.DISCHARGED):
        return case
    moves = tx.exceptions.date_changes(number)
    names = ("estimated_arrival", "estimated_ramp_arrival")
    return replace(
        case,
        estimates={name: estimate_history(moves, name, shipment.fields[name]) for name in names},
        changed_at=tx.exceptions.changed_at(
            {name: [str(one.id) for one in own[name]] for name in ("legs", "containers", "container_legs")}
        ),
    )
