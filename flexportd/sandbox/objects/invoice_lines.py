"""The lines of a freight invoice: a rate, a quantity, and what they come to."""

from decimal import Decimal

from flexportd.sandbox.catalog.wire_objects import Wire, money
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary, is_brokered
from flexportd.sandbox.scripts.world_events import FULL_CONTAINER_KINDS

_CENT = Decimal("0.01")


def charges(plan: Itinerary, kind: str, currency: str) -> tuple[Wire, ...]:
    """What is charged on the invoice for the `freight`, the `destination`, or the `client` as such."""
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
    paper = {"air": ("Air Waybill Fee", "air waybill"), "road": ("Dispatch Fee", "total")}
    fee, unit = paper.get(plan.route.kind, ("Documentation Fee", "bill of lading"))
    lines = [(name, "freight", amount), (fee, "origin", (4_500, "1", unit))]
    if plan.route.has_pickup and plan.route.kind != "road":
        lines.append(("Pickup", "origin", (lot.randint("pickup", 90, 610) * 100, "1", "total")))
    return lines


def _destination(plan: Itinerary, lot: KeyedRandom) -> list[tuple[str, str, tuple[int, str, str]]]:
    """Containers are drayed each, everything else goes by cartage; customs only where Flexport is the broker."""
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
    return {
        "_object": "/invoice_item",
        "name": name,
        "slug": name.lower().replace(" ", "_"),
        "category": category,
        "amount": money((rate * Decimal(quantity)).quantize(_CENT), currency),
        "rate": {"_object": "/invoice/rate", "value": str(rate.quantize(_CENT)), "qualifier": currency},
        "quantity": {"_object": "/invoice/quantity", "value": quantity, "qualifier": unit},
    }
