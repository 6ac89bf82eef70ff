"""Evaluating exceptions: the shipments, invoices and bookings that a commit affects, with their facts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from flexportd.core.changes.consumer import DATA_ERRORS
from flexportd.core.evidence import CargoStage
from flexportd.core.exceptions.billing_rules import evaluate_booking, evaluate_invoice
from flexportd.core.exceptions.journey_rules import estimate_history
from flexportd.core.exceptions.model import Evaluation, ExceptionRules, Finding, ShipmentFacts, is_closed
from flexportd.core.exceptions.rules import evaluate_shipment
from flexportd.core.resources import bookings, containers, customs, documents, invoices, legs, shipments
from flexportd.storage.change_log import JournalEntry
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_RETRY_AFTER = timedelta(hours=1)

MAX_MILESTONES = 500  # of one shipment, the newest

TABLES: Mapping[str, Table] = {
    "shipments": shipments.TABLE,
    "bookings": bookings.TABLE,
    "invoices": invoices.TABLE,
}
"""The evaluated resources, in the order of a complete evaluation."""

_OWNED: Mapping[str, Table] = {
    table.name: table
    for table in (legs.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS, documents.TABLE, customs.TABLE)
}

Subject = tuple[str, Key]
"""(resource, id) of a shipment, a booking or a freight invoice."""


def affected(tx: Transaction, entries: Iterable[JournalEntry]) -> list[Subject]:
    """The subjects that these commits may affect, each once; including the shipment that an object left."""
    found: dict[Subject, None] = {}
    for entry in entries:
        for name, states in entry.states.items():
            keys = [one.key for one in states]
            if name in TABLES:
                found.update(dict.fromkeys((name, key) for key in keys))
            elif name in _OWNED:
                owners = {where.shipment_id for where in tx.resources.object_states(_OWNED[name], keys).values()}
                owners.update(row.shipment_id for key in keys for row in tx.exceptions.open_of_object(name, str(key)))
                found.update(dict.fromkeys(("shipments", number) for number in owners if number is not None))
        found.update(dict.fromkeys(("shipments", number) for number in tx.journal.shipments_of(entry.events)))
    return list(found)


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


def open_exceptions(tx: Transaction, subjects: Sequence[Subject], findings: Iterable[Finding]) -> list[ExceptionRow]:
    """The open exceptions of these subjects, and those with the key of a finding."""
    rows: dict[int, ExceptionRow] = {}
    of = [key for resource, key in subjects if resource == "shipments"]
    for row in tx.exceptions.of_shipments([int(key) for key in of]):
        if row.resource not in ("bookings", "invoices"):
            rows[row.id] = row
    for resource, key in subjects:
        if resource != "shipments":
            rows.update((row.id, row) for row in tx.exceptions.open_of_object(resource, str(key)))
    for finding in findings:
        rows.update((row.id, row) for row in tx.exceptions.open_of_kind(*finding.key))
    return list(rows.values())


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
