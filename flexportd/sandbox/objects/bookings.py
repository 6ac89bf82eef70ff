"""Bookings, and the lines of purchase orders on them.

A booking is submitted a minute before its shipment is there, which it carries from the start, as recorded ones do; it
is booked when Flexport answers, after hours or days. Some are handed over to the shipment when it leaves. A few are
withdrawn, and some shipments have none, as in recorded accounts. `flex_id` is in no document but in every recorded
booking; `wants_import_customs_service` is documented and in none.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from flexportd.sandbox.catalog.products import hs_code
from flexportd.sandbox.catalog.wire_objects import (
    BOOKING,
    BOOKING_LINE,
    ORDER_LINE,
    SHIPMENT,
    Wire,
    address,
    company_entity,
    day,
    port,
    utc,
    volume,
    weight,
)
from flexportd.sandbox.ids import FIRST_BOOKING, booking_id, int_id, object_number
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.shipment_plan import Itinerary, booking_random, was_booked

FIRST_ORDER_LINE = 450_100
_REAL, _WITHDRAWN = 0, 1
# A booking is there for so many hours before its shipment.
_AHEAD_HOURS = 0.02
# Bookings count containers under other names than containers have.
_COUNTS = {
    "twenty_ft": "twenty_ft",
    "forty_ft": "fourty_ft",
    "forty_ft_hc": "fourty_ft_hc",
    "forty_five_ft_hc": "fourty_five_ft_hc",
}


def order_line_id(shipment_id: int, place: int) -> int:
    """The id of the line of a purchase order that fills that line of a shipment's cargo."""
    return int_id(FIRST_ORDER_LINE, object_number(shipment_id, place))


class Bookings(DerivedObjects):
    """One for most shipments, and sometimes a withdrawn one."""

    kind = BOOKING
    first_id = FIRST_BOOKING

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        if not was_booked(journey.plan):
            return
        yield _REAL, journey.before_booking(_AHEAD_HOURS)
        if booking_random(journey.plan).random("withdrawn") < 0.05:
            yield _WITHDRAWN, journey.before_booking(120)

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        plan, shipment_id = journey.plan, journey.id
        cargo, first, last = plan.cargo, plan.legs[0].route_leg.origin.place, plan.legs[-1].route_leg.destination.place
        number = self.id_of(shipment_id, place)
        status = _status(plan, place, now)
        exists = place == _REAL and now >= plan.booked
        created = dict(self.creation_times(journey))[place]
        return {
            "_object": BOOKING,
            "id": number,
            "name": cargo.name,
            "shipment": self.links.to_object(SHIPMENT, shipment_id) if exists else None,
            "status": status,
            "shipper_entity": company_entity(cargo.seller),
            "consignee_entity": company_entity(cargo.consignee),
            "notify_party": None,
            "transportation_mode": plan.route.mode,
            "ocean_booking": _ocean(plan) if plan.route.mode == "ocean" else None,
            "air_booking": _air(plan) if plan.route.mode == "air" else None,
            "trucking_booking": _trucking(plan) if plan.route.kind == "road" else None,
            "origin_address": address(first if first.street else cargo.seller.place),
            "cargo_ready_date": day((plan.legs[0].planned_departure - timedelta(days=1)).date()),
            "destination_address": address(last) if plan.route.has_delivery else None,
            "delivery_date": None,
            "wants_export_customs_service": plan.route.has_pickup,
            "cargo": _cargo(plan),
            "special_instructions": booking_random(plan).choice(
                "wish", (None, None, None, "Please call before pickup")
            ),
            "booking_line_items": self.links.to_list(BOOKING_LINE, f"f.booking.id={number}"),
            "created_at": utc(created),
            "metadata": {"PO #": cargo.purchase_orders, "Department": [cargo.department]},
            "flex_id": f"FLEX-{shipment_id}" if exists else None,
        }


class BookingLines(DerivedObjects):
    """Each line of the cargo, from the line of its purchase order."""

    kind = BOOKING_LINE
    first_id = 1_204_000

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        if not was_booked(journey.plan):
            return
        created = journey.before_booking(_AHEAD_HOURS)
        for place in range(len(journey.plan.cargo.lines)):
            yield place, created

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:  # noqa: ARG002 (it never changes)
        return {
            "_object": BOOKING_LINE,
            "id": self.id_of(journey.id, place),
            "booking": self.links.to_object(BOOKING, booking_id(journey.id)),
            "purchase_order_line_item": self.links.to_object(ORDER_LINE, order_line_id(journey.id, place)),
            "units": journey.plan.cargo.lines[place].units,
        }


def _status(plan: Itinerary, place: int, now: datetime) -> str:
    if place == _WITHDRAWN:
        return "archived"
    if now < plan.answered:
        return "submitted"
    handed_over = booking_random(plan).random("handed over") < 0.3 and now >= plan.legs[0].departure
    return "shipment" if handed_over else "booked"


def _ocean(plan: Itinerary) -> Wire:
    sizes = Counter(box.size for box in plan.cargo.containers if box.type != "lcl")
    counts = {name: sizes.get(size) for name, size in _COUNTS.items()}
    return {
        "_object": "/ocean/booking",
        "is_lcl": plan.route.kind == "lcl",
        "container_counts": {"_object": "/container_counts", **counts},
        **_terms(plan),
    }


def _air(plan: Itinerary) -> Wire:
    return {"_object": "/air/booking", **_terms(plan)}


def _terms(plan: Itinerary) -> Wire:
    return {
        "incoterm": plan.route.incoterm,
        "wants_pickup_service": plan.route.has_pickup,
        "wants_delivery_service": plan.route.has_delivery or None,
        "origin_port": port(plan.route.port_of_loading),
        "destination_port": port(plan.route.port_of_unloading),
        "product_descriptions": [
            {
                "_object": "/bookings/product_description",
                "description": line.product.name,
                "description_for_export_customs": line.product.export_name,
                "description_for_export_customs_locale": "zh_CN" if line.product.country_code == "CN" else None,
                "hs_code": hs_code(line.product),
            }
            for line in plan.cargo.lines
        ],
    }


def _trucking(plan: Itinerary) -> Wire:
    return {
        "_object": "/trucking/booking",
        "is_ftl": plan.legs[0].route_leg.service == "ftl",
        "payment_terms": booking_random(plan).choice("terms", ("collect", "prepaid")),
        "description_of_products": ", ".join(line.product.name for line in plan.cargo.lines),
    }


def _cargo(plan: Itinerary) -> Wire:
    """A simple load: one shipping unit; dimensions of zero are dimensions not given."""
    none = {"_object": "/quantity/length", "value": 0, "unit": "cm"}
    unit = {
        "_object": "/shipping_unit",
        "name": None,
        "volume": volume(0),
        "weight": weight(0),
        "height": none,
        "length": none,
        "width": none,
        "count": plan.cargo.pieces,
        "atomic_count": None,
        "unit_type": "carton",
    }
    return {
        "_object": "/cargo",
        "volume": volume(plan.cargo.cubic_metres),
        "weight": weight(plan.cargo.kilograms),
        "marks_and_numbers": None,
        "shipping_units": [unit],
        "contains_hazmat": False,
        "contains_magnets": any("speaker" in line.product.name for line in plan.cargo.lines),
        "contains_other_dangerous_goods": False,
        "contains_li_ion": False,
        "contains_non_li_ion_battery": None,
        "lithium_batteries_packing_types": [],
    }
