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
from flexportd.sandbox.ids import from_text_id, number_of, text_id
from flexportd.sandbox.objects.invoice_lines import charges
from flexportd.sandbox.rng import Lot
from flexportd.sandbox.scripts.shipment_plan import Itinerary
from flexportd.sandbox.scripts.world_events import Happening, Subject, between

if TYPE_CHECKING:
    from flexportd.sandbox.objects.shipment_state import Journey

FREIGHT, DELIVERY, CLIENT = range(3)
_ISSUER = Party(28714, "Flexport LLC", PLACES["HQ-SF"])
_SHARED, _PAID = "/invoice#invoice_shared", "/invoice#invoice_payment_made"
_MORE_TIME, _CREDITED = "/invoice#invoice_due_date_adjusted", "/invoice#invoice_credit_applied"
_FAILED, _VOIDED = "/invoice#invoice_payment_failed", "/invoice#invoice_voided"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that becomes of an invoice: its new fields, and the event that tells of it, if any does."""

    at: datetime
    fields: Wire
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """What an invoice begins with."""

    lot: Lot
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

    def births(self, journey: "Journey") -> Iterator[tuple[int, datetime]]:
        for place in _places(journey.plan):
            yield place, _issued(journey.plan, place)

    def number(self, key: str) -> int | None:
        return from_text_id(self._salt, key)

    def make(self, journey: "Journey", place: int, now: datetime) -> Wire:
        plan = journey.plan
        bill = _bill(plan, place)
        number = text_id(self._salt, number_of(journey.id, place))
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
            "shipments": self._links.many(SHIPMENT, f"f.invoice_id={number}"),
            "quote_currency_code": "USD",
            "exchange_rate": 1.0 if bill.currency == "USD" else 0.9218,
            "invoice_type": {FREIGHT: "freight", DELIVERY: "destination", CLIENT: "subscription"}[place],
            "service_level": "Standard",
        }
        for step in _life(bill):
            if step.at <= now:
                wire |= step.fields
        return wire


def tell(plan: Itinerary) -> list[Happening]:
    """What is recorded of a shipment's invoices, in order; the shipment itself stays as it is."""
    found = [
        Happening(occurred=step.at, type=step.event, about=Subject(INVOICE, place), at=step.at)
        for place in _places(plan)
        for step in (Step(_issued(plan, place), {}, _SHARED), *_life(_bill(plan, place)))
        if step.event is not None
    ]
    return sorted(found, key=lambda one: one.at)


def event(journey: "Journey", event_id: int, happening: Happening) -> Wire:
    """The event that tells of it, with the invoice and the shipment as they are then; Client ones have no shipment."""
    made = Invoices(journey.links, journey.plan.seed)
    invoice = made.make(journey, happening.about.position, happening.at)
    shipment = None if happening.about.position == CLIENT else journey.shipment
    data: Wire = {"resource": invoice, "shipment": shipment, "location": None, "containers": []}
    return wire_objects.event(event_id, happening.type or "", (happening.at, happening.occurred), data)


def _places(plan: Itinerary) -> list[int]:
    found = [FREIGHT]
    if plan.route.has_delivery:
        found.append(DELIVERY)
    if Lot(plan.seed, f"invoice/{plan.ordinal}").share("client") < 0.05:
        found.append(CLIENT)
    return found


def _issued(plan: Itinerary, place: int) -> datetime:
    lot = Lot(plan.seed, f"invoice/{plan.ordinal}/{place}")
    moment = between(plan.first_main.departure, plan.last_main.arrival, 0.2 + lot.share("issued") * 0.5)
    if place == DELIVERY:
        moment = between(plan.legs[-1].departure, plan.legs[-1].arrival, 1.0) + timedelta(hours=lot.within("h", 20, 90))
    return moment + timedelta(milliseconds=lot.within("ms", 1, 999))


def _bill(plan: Itinerary, place: int) -> Bill:
    lot = Lot(plan.seed, f"invoice/{plan.ordinal}/{place}")
    issued = _issued(plan, place)
    due = issued + timedelta(days=14 if lot.share("terms") < 0.4 else 30)
    currency = "EUR" if plan.cargo.consignee.vat else "USD"
    kind = {FREIGHT: "freight", DELIVERY: "destination", CLIENT: "client"}[place]
    return Bill(lot, issued, due, currency, charges(plan, kind, currency))


def _life(bill: Bill) -> Iterator[Step]:
    """Everything that becomes of an invoice after it was shared, in order."""
    draw = bill.lot.share("life")
    if draw < 0.04:
        voided = bill.issued + timedelta(hours=bill.lot.within("voided", 5, 60))
        stamps = {"voided_at": utc(voided), "last_updated_at": utc(voided)}
        yield Step(voided, {"status": "void", **stamps}, _VOIDED)
        return
    due, owed = bill.due, bill.total
    if draw < 0.12:
        later = bill.issued + timedelta(days=3, hours=5)
        due += timedelta(days=14)
        yield Step(later, {"due_date": day(due.date()), "last_updated_at": utc(later)}, _MORE_TIME)
    elif draw < 0.22:
        credited = bill.issued + timedelta(days=5, hours=2)
        memo = _memo(bill, credited)
        owed -= Decimal(memo["amount"]["amount"])
        fields = {"credit_memos": [memo], "balance": money(owed, bill.currency), "last_updated_at": utc(credited)}
        yield Step(credited, fields, _CREDITED)
    yield from _payment(bill, due)


def _payment(bill: Bill, due: datetime) -> Iterator[Step]:
    """One of four pays late, or not yet."""
    late = bill.lot.share("late") < 0.25
    hours = bill.lot.within("paid", 30, 500) if late else -bill.lot.within("paid", 10, 150)
    midnight = datetime.combine(due.date(), datetime.min.time(), due.tzinfo) + timedelta(days=1)
    if late:
        yield Step(midnight, {"status": "past_due"})
    paid = due + timedelta(hours=hours) if not late else midnight + timedelta(hours=hours)
    if bill.lot.share("failed") < 0.05:
        yield Step(paid - timedelta(hours=26), {}, _FAILED)
    if bill.lot.share("pending") < 0.4:
        yield Step(paid - timedelta(hours=20), {"status": "payment_pending"})
    settled = {"status": "paid", "balance": money(Decimal("0.00"), bill.currency), "last_updated_at": utc(paid)}
    yield Step(paid, settled, _PAID)


def _memo(bill: Bill, at: datetime) -> Wire:
    amount = (bill.total / 20).quantize(Decimal("0.01"))
    return {
        "_object": "/credit_memo",
        "amount": money(amount, bill.currency),
        "category": bill.items[0]["category"],
        "reason": bill.lot.pick("reason", ("Rate correction", "Duplicate charge", "Service failure")),
        "credited_at": utc(at),
    }


def _notes(plan: Itinerary, place: int) -> list[str]:
    boxes = [box.number for box in plan.cargo.boxes]
    return ["**Container numbers**\n\n" + "\n".join(boxes)] if boxes and place != CLIENT else []
