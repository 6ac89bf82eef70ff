"""The lines of a freight invoice: a rate, a quantity, and what they come to."""

from decimal import Decimal

from flexportd.sandbox.itinerary import Itinerary
from flexportd.sandbox.lots import Lot
from flexportd.sandbox.shapes import Wire, money

_CENT = Decimal("0.01")


def charges(plan: Itinerary, kind: str, currency: str) -> tuple[Wire, ...]:
    """What is charged on the invoice for the `freight`, the `destination`, or the `client` as such."""
    lot = Lot(plan.seed, f"charges/{plan.ordinal}/{kind}")
    if kind == "client":
        return (_charge("Platform Fee", "additional", (lot.within("fee", 90, 400), "1", "month"), currency),)
    if kind == "destination":
        return tuple(_charge(*line, currency) for line in _destination(plan, lot))
    return tuple(_charge(*line, currency) for line in _freight(plan, lot))


def _freight(plan: Itinerary, lot: Lot) -> list[tuple[str, str, tuple[int, str, str]]]:
    """Name, category, and rate, quantity and its unit; rates are in cents."""
    kilograms = f"{plan.cargo.kilograms:.2f}"
    rates = {
        "fcl": (
            "Ocean Freight",
            (lot.within("rate", 90_000, 420_000), str(max(1, len(plan.cargo.boxes))), "container"),
        ),
        "lcl": ("LCL Ocean Freight", (lot.within("rate", 5_500, 14_000), f"{plan.cargo.cubic_metres:.2f}", "CBM")),
        "air": ("Air Freight", (lot.within("rate", 280, 790), kilograms, "KG")),
        "rail": ("Rail Freight", (lot.within("rate", 300_000, 800_000), "1", "total")),
        "road": ("Trucking", (lot.within("rate", 60_000, 260_000), "1", "total")),
    }
    name, amount = rates[plan.route.kind]
    lines = [(name, "freight", amount), ("Documentation Fee", "origin", (4_500, "1", "bill of lading"))]
    if plan.route.has_pickup:
        lines.append(("Pickup", "origin", (lot.within("pickup", 9_000, 61_000), "1", "total")))
    return lines


def _destination(plan: Itinerary, lot: Lot) -> list[tuple[str, str, tuple[int, str, str]]]:
    lines = [("Cartage Base", "destination", (lot.within("cartage", 30_000, 120_000), "1", "total"))]
    lines.append(("Fuel Surcharge", "destination", (lot.within("fuel", 2_000, 21_000), "1", "total")))
    if plan.route.kind != "road":
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
