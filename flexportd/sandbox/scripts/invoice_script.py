"""Freight invoices: what Flexport charges for a shipment, and how it is paid.

Each goes through steps, with `/invoice#...` events where such are published and silently where not. It is outstanding,
then past due, payment pending or paid; some are credited, given more time or voided. `last_updated_at` is null until
the first adjustment; that a due date passes is none. A few are of type Client and belong to no shipment: their events
carry none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.kinds import INVOICE, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import Links, company_entity, day, money, utc, wire_object
from flexportd.sandbox.ids import object_number, text_id
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary, is_brokered
from flexportd.sandbox.scripts.world_events import FULL_CONTAINER_KINDS, ObjectRef, WorldEvent, between

_CENT = Decimal("0.01")
FREIGHT, DELIVERY, CLIENT = range(3)
_ISSUER = Party(28714, "Flexport LLC", "HQ-SF")
_SHARED, _PAID = "/invoice#invoice_shared", "/invoice#invoice_payment_made"
_MORE_TIME, _CREDITED = "/invoice#invoice_due_date_adjusted", "/invoice#invoice_credit_applied"
_FAILED, _VOIDED = "/invoice#invoice_payment_failed", "/invoice#invoice_voided"


@dataclass(frozen=True, slots=True)
class InvoiceStep:
    """A change of an invoice: its new fields, and its event, if any."""

    at: datetime
    fields: Wire
    event: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceTerms:
    """The initial terms of an invoice."""

    random: KeyedRandom
    issued: datetime
    due: datetime
    currency: str
    items: tuple[Wire, ...]

    @property
    def total(self) -> Decimal:
        """The sum of its items."""
        return sum((Decimal(item["amount"]["amount"]) for item in self.items), Decimal(0))


def invoice(plan: Itinerary, shipment_id: int, place: int, now: datetime, links: Links) -> Wire:
    """One invoice of a shipment as it is at that instant."""
    bill = _terms(plan, place)
    number = text_id(f"{plan.seed}{INVOICE}", object_number(shipment_id, place))
    total = money(bill.total, bill.currency)
    wire = wire_object(
        INVOICE,
        id=number,
        name=f"FLEX-{shipment_id}-{place + 1}" if place != CLIENT else f"CLIENT-{shipment_id}",
        issued_at=utc(bill.issued),
        due_date=day(bill.due.date()),
        total=total,
        balance=total,
        type="Client" if place == CLIENT else "Shipment",
        recipient=company_entity(plan.cargo.consignee),
        issuer={**company_entity(_ISSUER), "mailing_address": None},
        items=list(bill.items),
        notes=_notes(plan, place),
        shipments=links.to_list(SHIPMENT, f"f.invoice_id={number}"),
        exchange_rate=1.0 if bill.currency == "USD" else 0.9218,
        invoice_type={FREIGHT: "freight", DELIVERY: "destination", CLIENT: "subscription"}[place],
    )
    for step in _lifecycle(bill):
        if step.at <= now:
            wire |= step.fields
    return wire


def script(plan: Itinerary) -> list[WorldEvent]:
    """The events of a shipment's invoices, in order; the shipment itself does not change."""
    found = [
        WorldEvent(occurred=step.at, type=step.event, about=ObjectRef(INVOICE, place), at=step.at)
        for place in invoice_kinds(plan)
        for step in (InvoiceStep(issued_at(plan, place), {}, _SHARED), *_lifecycle(_terms(plan, place)))
        if step.event is not None
    ]
    return sorted(found, key=lambda one: one.at)


def invoice_kinds(plan: Itinerary) -> list[int]:
    """The invoices of a shipment."""
    found = [FREIGHT]
    if plan.route.has_delivery:
        found.append(DELIVERY)
    if KeyedRandom(plan.seed, f"invoice/{plan.ordinal}").random("client") < 0.05:
        found.append(CLIENT)
    return found


def issued_at(plan: Itinerary, place: int) -> datetime:
    lot = KeyedRandom(plan.seed, f"invoice/{plan.ordinal}/{place}")
    moment = between(plan.first_main.departure, plan.last_main.arrival, 0.2 + lot.random("issued") * 0.5)
    if place == DELIVERY:
        moment = between(plan.legs[-1].departure, plan.legs[-1].arrival, 1.0) + timedelta(
            hours=lot.randint("h", 20, 90)
        )
    return moment + timedelta(milliseconds=lot.randint("ms", 1, 999))


def _terms(plan: Itinerary, place: int) -> InvoiceTerms:
    lot = KeyedRandom(plan.seed, f"invoice/{plan.ordinal}/{place}")
    issued = issued_at(plan, place)
    due = issued + timedelta(days=14 if lot.random("terms") < 0.4 else 30)
    currency = "EUR" if plan.cargo.consignee.vat else "USD"
    kind = {FREIGHT: "freight", DELIVERY: "destination", CLIENT: "client"}[place]
    return InvoiceTerms(lot, issued, due, currency, charges(plan, kind, currency))


def _lifecycle(bill: InvoiceTerms) -> Iterator[InvoiceStep]:
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
    return wire_object(
        "/credit_memo",
        amount=money(amount, bill.currency),
        category=bill.items[0]["category"],
        reason=bill.random.choice("reason", ("Rate correction", "Duplicate charge", "Service failure")),
        credited_at=utc(at),
    )


def _notes(plan: Itinerary, place: int) -> list[str]:
    boxes = [box.number for box in plan.cargo.containers]
    return ["**Container numbers**\n\n" + "\n".join(boxes)] if boxes and place != CLIENT else []


def charges(plan: Itinerary, kind: str, currency: str) -> tuple[Wire, ...]:
    """The items of the invoice for the `freight`, the `destination`, or the `client`."""
    lot = KeyedRandom(plan.seed, f"charges/{plan.ordinal}/{kind}")
    if kind == "client":
        return (_charge("Platform Fee", "additional", (lot.randint("fee", 90, 400) * 100, "1", "month"), currency),)
    if kind == "destination":
        return tuple(_charge(*line, currency) for line in _destination(plan, lot))
    return tuple(_charge(*line, currency) for line in _freight(plan, lot))


def _freight(plan: Itinerary, lot: KeyedRandom) -> list[tuple[str, str, tuple[int, str, str]]]:
    """Name, category, and rate, quantity and its unit; rates are in cents. Air freight is by chargeable weight."""
    boxes = str(max(1, len(plan.cargo.containers)))
    chargeable = f"{plan.cargo.chargeable_kilograms:.2f}"
    rates = {
        "fcl": ("Ocean Freight", (lot.randint("rate", 1_400, 5_200) * 100, boxes, "container")),
        "lcl": ("LCL Ocean Freight", (lot.randint("rate", 5_500, 14_000), f"{plan.cargo.cubic_metres:.2f}", "CBM")),
        "air": ("Air Freight", (lot.randint("rate", 380, 790), chargeable, "KG")),
        "rail": ("Rail Freight", (lot.randint("rate", 4_000, 8_000) * 100, boxes, "container")),
        "road": ("Trucking", (lot.randint("rate", 600, 2_600) * 100, "1", "total")),
    }
    name, amount = rates[plan.route.kind]
    document_fee = {"air": ("Air Waybill Fee", "air waybill"), "road": ("Dispatch Fee", "total")}
    fee, unit = document_fee.get(plan.route.kind, ("Documentation Fee", "bill of lading"))
    lines = [(name, "freight", amount), (fee, "origin", (4_500, "1", unit))]
    if plan.route.has_pickup and plan.route.kind != "road":
        lines.append(("Pickup", "origin", (lot.randint("pickup", 90, 610) * 100, "1", "total")))
    return lines


def _destination(plan: Itinerary, lot: KeyedRandom) -> list[tuple[str, str, tuple[int, str, str]]]:
    """Drayage per container, cartage for everything else; customs only if Flexport is the broker."""
    full = plan.route.kind in FULL_CONTAINER_KINDS
    boxes = str(len(plan.cargo.containers)) if full else "1"
    name, unit = ("Drayage Base", "container") if full else ("Cartage Base", "total")
    lines = [(name, "destination", (lot.randint("cartage", 300, 1_200) * 100, boxes, unit))]
    lines.append(("Fuel Surcharge", "destination", (lot.randint("fuel", 2_000, 21_000), boxes, unit)))
    if full and plan.legs[-1].route_leg.destination.place.country_code == "US":
        lines.append(("Chassis Usage", "destination", (4_500, str(2 * len(plan.cargo.containers)), "day")))
    if is_brokered(plan):
        lines.append(("Import Customs Clearance", "customs", (12_500, "1", "total")))
    return lines


def _charge(name: str, category: str, price: tuple[int, str, str], currency: str) -> Wire:
    cents, quantity, unit = price
    rate = Decimal(cents) / 100
    return wire_object(
        "/invoice_item",
        name=name,
        slug=name.lower().replace(" ", "_"),
        category=category,
        amount=money((rate * Decimal(quantity)).quantize(_CENT), currency),
        rate={"_object": "/invoice/rate", "value": str(rate.quantize(_CENT)), "qualifier": currency},
        quantity={"_object": "/invoice/quantity", "value": quantity, "qualifier": unit},
    )
