"""Freight invoices: what Flexport charges for a shipment, and how it is paid.

Each has a life of steps, told by `/invoice#...` events where such are published and silently where not. It is
outstanding, then past due, payment pending or paid; some are credited, given more time or voided. `last_updated_at` is
null until the first adjustment; that a due date passes is none. Now and then there is one of type Client, which
belongs to no shipment: its events carry none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.places import PLACES
from flexportd.sandbox.catalog.wire_objects import INVOICE, SHIPMENT, Links, Wire, company_entity, day, money, utc
from flexportd.sandbox.ids import object_number, parse_text_id, text_id
from flexportd.sandbox.objects.invoice_lines import charges
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary
from flexportd.sandbox.scripts.world_events import ObjectRef, WorldEvent, between

if TYPE_CHECKING:
    from flexportd.sandbox.objects.shipment_state import ShipmentState

FREIGHT, DELIVERY, CLIENT = range(3)
_ISSUER = Party(28714, "Flexport LLC", PLACES["HQ-SF"])
_SHARED, _PAID = "/invoice#invoice_shared", "/invoice#invoice_payment_made"
_MORE_TIME, _CREDITED = "/invoice#invoice_due_date_adjusted", "/invoice#invoice_credit_applied"
_FAILED, _VOIDED = "/invoice#invoice_payment_failed", "/invoice#invoice_voided"


@dataclass(frozen=True, slots=True)
class InvoiceStep:
    """Something that becomes of an invoice: its new fields, and the event that tells of it, if any does."""

    at: datetime
    fields: Wire
    event: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceTerms:
    """What an invoice begins with."""

    random: KeyedRandom
    issued: datetime
    due: datetime
    currency: str
    items: tuple[Wire, ...]

    @property
    def total(self) -> Decimal:
        """The sum of its items."""
        return sum((Decimal(item["amount"]["amount"]) for item in self.items), Decimal(0))


class Invoices:
    """The freight, and the delivery where there is one."""

    def __init__(self, links: Links, seed: int) -> None:
        self._links = links
        self._salt = f"{seed}{INVOICE}"

    def creation_times(self, journey: "ShipmentState") -> Iterator[tuple[int, datetime]]:
        for place in _invoice_kinds(journey.plan):
            yield place, _issued(journey.plan, place)

    def parse_id(self, key: str) -> int | None:
        return parse_text_id(self._salt, key)

    def make(self, journey: "ShipmentState", place: int, now: datetime) -> Wire:
        plan = journey.plan
        bill = _terms(plan, place)
        number = text_id(self._salt, object_number(journey.id, place))
        wire = {
            "_object": INVOICE,
            "id": number,
            "name": f"FLEX-{journey.id}-{place + 1}" if place != CLIENT else f"CLIENT-{journey.id}",
            "issued_at": utc(bill.issued),
            "due_date": day(bill.due.date()),
            "total": money(bill.total, bill.currency),
            "balance": money(bill.total, bill.currency),
            "status": "outstanding",
            "type": "Client" if place == CLIENT else "Shipment",
            "voided_at": None,
            "last_updated_at": None,
            "recipient": company_entity(plan.cargo.consignee),
            "issuer": {**company_entity(_ISSUER), "mailing_address": None},
            "items": list(bill.items),
            "notes": _notes(plan, place),
            "credit_memos": [],
            "shipments": self._links.to_list(SHIPMENT, f"f.invoice_id={number}"),
            "quote_currency_code": "USD",
            "exchange_rate": 1.0 if bill.currency == "USD" else 0.9218,
            "invoice_type": {FREIGHT: "freight", DELIVERY: "destination", CLIENT: "subscription"}[place],
            "service_level": "Standard",
        }
        for step in _lifecycle(bill):
            if step.at <= now:
                wire |= step.fields
        return wire


def script(plan: Itinerary) -> list[WorldEvent]:
    """What is recorded of a shipment's invoices, in order; the shipment itself stays as it is."""
    found = [
        WorldEvent(occurred=step.at, type=step.event, about=ObjectRef(INVOICE, place), at=step.at)
        for place in _invoice_kinds(plan)
        for step in (InvoiceStep(_issued(plan, place), {}, _SHARED), *_lifecycle(_terms(plan, place)))
        if step.event is not None
    ]
    return sorted(found, key=lambda one: one.at)


def event(journey: "ShipmentState", event_id: int, happening: WorldEvent) -> Wire:
    """The event that tells of it, with the invoice and the shipment as they are then; Client ones have no shipment."""
    made = Invoices(journey.links, journey.plan.seed)
    invoice = made.make(journey, happening.about.position, happening.at)
    shipment = None if happening.about.position == CLIENT else journey.shipment
    data: Wire = {"resource": invoice, "shipment": shipment, "location": None, "containers": []}
    return wire_objects.event(event_id, happening.type or "", (happening.at, happening.occurred), data)


def _invoice_kinds(plan: Itinerary) -> list[int]:
    found = [FREIGHT]
    if plan.route.has_delivery:
        found.append(DELIVERY)
    if KeyedRandom(plan.seed, f"invoice/{plan.ordinal}").random("client") < 0.05:
        found.append(CLIENT)
    return found


def _issued(plan: Itinerary, place: int) -> datetime:
    lot = KeyedRandom(plan.seed, f"invoice/{plan.ordinal}/{place}")
    moment = between(plan.first_main.departure, plan.last_main.arrival, 0.2 + lot.random("issued") * 0.5)
    if place == DELIVERY:
        moment = between(plan.legs[-1].departure, plan.legs[-1].arrival, 1.0) + timedelta(
            hours=lot.randint("h", 20, 90)
        )
    return moment + timedelta(milliseconds=lot.randint("ms", 1, 999))


def _terms(plan: Itinerary, place: int) -> InvoiceTerms:
    lot = KeyedRandom(plan.seed, f"invoice/{plan.ordinal}/{place}")
    issued = _issued(plan, place)
    due = issued + timedelta(days=14 if lot.random("terms") < 0.4 else 30)
    currency = "EUR" if plan.cargo.consignee.vat else "USD"
    kind = {FREIGHT: "freight", DELIVERY: "destination", CLIENT: "client"}[place]
    return InvoiceTerms(lot, issued, due, currency, charges(plan, kind, currency))


def _lifecycle(bill: InvoiceTerms) -> Iterator[InvoiceStep]:
    """Everything that becomes of an invoice after it was shared, in order."""
    draw = bill.random.random("life")
    if draw < 0.04:
        voided = bill.issued + timedelta(hours=bill.random.randint("voided", 5, 60))
        stamps = {"voided_at": utc(voided), "last_updated_at": utc(voided)}
        yield InvoiceStep(voided, {"status": "void", **stamps}, _VOIDED)
        return
    due, owed = bill.due, bill.total
    if draw < 0.12:
        later = bill.issued + timedelta(days=3, hours=5)
        due += timedelta(days=14)
        yield InvoiceStep(later, {"due_date": day(due.date()), "last_updated_at": utc(later)}, _MORE_TIME)
    elif draw < 0.22:
        credited = bill.issued + timedelta(days=5, hours=2)
        memo = _memo(bill, credited)
        owed -= Decimal(memo["amount"]["amount"])
        fields = {"credit_memos": [memo], "balance": money(owed, bill.currency), "last_updated_at": utc(credited)}
        yield InvoiceStep(credited, fields, _CREDITED)
    yield from _payment(bill, due)


def _payment(bill: InvoiceTerms, due: datetime) -> Iterator[InvoiceStep]:
    """One of four pays late, or not yet."""
    late = bill.random.random("late") < 0.25
    hours = bill.random.randint("paid", 30, 500) if late else -bill.random.randint("paid", 10, 150)
    midnight = datetime.combine(due.date(), datetime.min.time(), due.tzinfo) + timedelta(days=1)
    if late:
        yield InvoiceStep(midnight, {"status": "past_due"})
    paid = due + timedelta(hours=hours) if not late else midnight + timedelta(hours=hours)
    if bill.random.random("failed") < 0.05:
        yield InvoiceStep(paid - timedelta(hours=26), {}, _FAILED)
    if bill.random.random("pending") < 0.4:
        yield InvoiceStep(paid - timedelta(hours=20), {"status": "payment_pending"})
    settled = {"status": "paid", "balance": money(Decimal("0.00"), bill.currency), "last_updated_at": utc(paid)}
    yield InvoiceStep(paid, settled, _PAID)


def _memo(bill: InvoiceTerms, at: datetime) -> Wire:
    amount = (bill.total / 20).quantize(Decimal("0.01"))
    return {
        "_object": "/credit_memo",
        "amount": money(amount, bill.currency),
        "category": bill.items[0]["category"],
        "reason": bill.random.choice("reason", ("Rate correction", "Duplicate charge", "Service failure")),
        "credited_at": utc(at),
    }


def _notes(plan: Itinerary, place: int) -> list[str]:
    boxes = [box.number for box in plan.cargo.containers]
    return ["**Container numbers**\n\n" + "\n".join(boxes)] if boxes and place != CLIENT else []
