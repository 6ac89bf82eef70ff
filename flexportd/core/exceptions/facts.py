"""What is to be judged: which shipments, invoices and bookings a commit touched, and all that is known of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from flexportd.core import bookings, containers, customs, documents, invoices, legs, shipments
from flexportd.core.evidence import CargoStage
from flexportd.core.exceptions.cases import Case, Finding, Judgement, Rules, is_over
from flexportd.core.exceptions.journey import estimates
from flexportd.core.exceptions.rules import of_shipment
from flexportd.core.exceptions.unsettled import of_booking, of_invoice
from flexportd.core.follow import UNFIT
from flexportd.storage.exceptions import Row
from flexportd.storage.journal import Entry
from flexportd.storage.resources import Key, Record, Table
from flexportd.storage.session import Session

log = structlog.get_logger(__name__)

_AGAIN = timedelta(hours=1)

MOST_MILESTONES = 500  # of one shipment, the newest

TABLES: Mapping[str, Table] = {
    "shipments": shipments.TABLE,
    "bookings": bookings.TABLE,
    "invoices": invoices.TABLE,
}
"""What is judged, in the order in which everything is looked at."""

_OWNED: Mapping[str, Table] = {
    table.name: table
    for table in (legs.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS, documents.TABLE, customs.TABLE)
}

Subject = tuple[str, Key]
"""(resource, id) of a shipment, a booking or a freight invoice."""


def touched(tx: Session, entries: Iterable[Entry]) -> list[Subject]:
    """What these commits may have changed the judgement of, each once; the shipment that was left behind included."""
    found: dict[Subject, None] = {}
    for entry in entries:
        for name, states in entry.states.items():
            keys = [one.key for one in states]
            if name in TABLES:
                found.update(dict.fromkeys((name, key) for key in keys))
            elif name in _OWNED:
                owners = {where.shipment_id for where in tx.journal.whereabouts(_OWNED[name], keys).values()}
                owners.update(row.shipment_id for key in keys for row in tx.exceptions.concerning(name, str(key)))
                found.update(dict.fromkeys(("shipments", number) for number in owners if number is not None))
        found.update(dict.fromkeys(("shipments", number) for number in tx.journal.shipments_of(entry.events)))
    return list(found)


def judge(tx: Session, subjects: Sequence[Subject], rules: Rules, now: datetime) -> dict[Subject, Judgement]:
    """What stands of each of these; nothing of what is not there.

    One that cannot be judged keeps no other from it: it is logged, and looked at again in an hour.
    """
    keys: dict[str, list[Key]] = {}
    for resource, key in subjects:
        keys.setdefault(resource, []).append(key)
    found: dict[Subject, Judgement] = dict.fromkeys(subjects, Judgement())
    for subject, work in _works(tx, keys, rules, now):
        try:
            found[subject] = work()
        except UNFIT:
            log.exception("not_judged", resource=subject[0], resource_id=str(subject[1]))
            found[subject] = Judgement(due=now + _AGAIN, is_known=False)
    return found


def _works(
    tx: Session, keys: Mapping[str, Sequence[Key]], rules: Rules, now: datetime
) -> Iterator[tuple[Subject, Callable[[], Judgement]]]:
    """Each of these that is there, and what judges it."""
    for key, case in _cases(tx, keys.get("shipments", ())):
        yield ("shipments", key), lambda: of_shipment(case(), rules, now)  # noqa: B023 (called before the next)
    for key, booking in tx.resources.load(bookings.TABLE, keys.get("bookings", ())).items():
        yield ("bookings", key), partial(of_booking, booking, rules, now)
    for key, invoice in tx.resources.load(invoices.TABLE, keys.get("invoices", ())).items():
        yield ("invoices", key), partial(of_invoice, invoice, rules, now)


def opened(tx: Session, subjects: Sequence[Subject], findings: Iterable[Finding]) -> list[Row]:
    """The exceptions that are open of these subjects, and those that are where something was found."""
    rows: dict[int, Row] = {}
    of = [key for resource, key in subjects if resource == "shipments"]
    for row in tx.exceptions.of_shipments([int(key) for key in of]):
        if row.resource not in ("bookings", "invoices"):
            rows[row.id] = row
    for resource, key in subjects:
        if resource != "shipments":
            rows.update((row.id, row) for row in tx.exceptions.concerning(resource, str(key)))
    for finding in findings:
        rows.update((row.id, row) for row in tx.exceptions.about(*finding.key))
    return list(rows.values())


def _cases(tx: Session, keys: Sequence[Key]) -> Iterator[tuple[Key, Callable[[], Case]]]:
    """These shipments with what may matter: of those that are over, what free time and empty returns depend on."""
    found = tx.resources.load(shipments.TABLE, keys)
    live = [int(key) for key, one in found.items() if not is_over(one)]
    boxed = [int(key) for key, one in found.items() if not one.removed_at]
    of = {
        name: tx.resources.of_shipments(table, boxed if name in _OF_CONTAINERS else live)
        for name, table in _OWNED.items()
    }
    for key, one in found.items():
        yield key, partial(_case, tx, one, {name: rows.get(int(key), []) for name, rows in of.items()})


_OF_CONTAINERS = frozenset({"legs", "containers", "container_legs"})


def _case(tx: Session, shipment: Record, own: Mapping[str, Sequence[Record]]) -> Case:
    number = int(shipment.id)
    out = any(not box.fields["empty_returned_date"] for box in own["containers"])  # or not known to be back
    is_live = not is_over(shipment) or (out and not shipment.removed_at)
    case = Case(
        shipment,
        own["legs"],
        own["containers"],
        own["container_legs"],
        own["documents"],
        own["customs_entries"],
        tx.exceptions.milestones(number, MOST_MILESTONES) if is_live else [],
    )
    if case.is_over or not case.has(CargoStage.DEPARTED) or case.has(CargoStage.DISCHARGED):
        return case
    moves = tx.exceptions.moves(number)
    names = ("estimated_arrival", "estimated_ramp_arrival")
    return replace(
        case,
        estimates={name: estimates(moves, name, shipment.fields[name]) for name in names},
        changed_at=tx.exceptions.changed_at(
            {name: [str(one.id) for one in own[name]] for name in ("legs", "containers", "container_legs")}
        ),
    )
