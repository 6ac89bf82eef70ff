"""Purchase orders and their lines.

Each order of a shipment's cargo is an object of its own, open until the cargo is delivered. Shipments have no link to
orders: `f.shipment.id` finds them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.products import hs_code, product
from flexportd.sandbox.catalog.wire_objects import (
    BOOKING_LINE,
    ORDER,
    ORDER_LINE,
    Wire,
    address,
    day,
    money,
    port,
    utc,
)
from flexportd.sandbox.ids import int_id, object_number
from flexportd.sandbox.objects.bookings import FIRST_ORDER_LINE, order_line_id
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary

_FIRST_ORDER = 26_088
_LEAST_HOURS, _MOST_HOURS = 6 * 24, 40 * 24


class Orders(DerivedObjects):
    """One for each order number on board."""

    kind = ORDER
    first_id = _FIRST_ORDER

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        for place in range(len(journey.plan.cargo.purchase_orders)):
            yield place, _created(journey, place)

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        plan = journey.plan
        number = self.id_of(journey.id, place)
        created = _created(journey, place)
        closed = journey.event_types_until(now).get("/shipment#delivered_in_full")
        return {
            "_object": ORDER,
            "id": number,
            "name": plan.cargo.purchase_orders[place],
            "status": "open" if closed is None else "closed",
            "seller": _company(plan.cargo.seller),
            "buyer": _company(plan.cargo.consignee),
            **_transport_terms(plan),
            "cargo_ready_date": day((plan.legs[0].planned_departure - timedelta(days=1)).date()),
            "memo": None,
            "archived_at": None,
            "created_at": utc(created),
            "updated_at": utc(closed or created),
            "line_items": self.links.to_list(ORDER_LINE, f"f.purchase_order.id={number}"),
            "metadata": {"Department": [plan.cargo.department]},
        }


class OrderLines(DerivedObjects):
    """One for each line of the cargo."""

    kind = ORDER_LINE
    first_id = FIRST_ORDER_LINE

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        orders = journey.plan.cargo.purchase_orders
        for place, line in enumerate(journey.plan.cargo.lines):
            yield place, _created(journey, orders.index(line.purchase_order))

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:  # noqa: ARG002 (it never changes)
        cargo = journey.plan.cargo
        line, number = cargo.lines[place], order_line_id(journey.id, place)
        order = object_number(journey.id, cargo.purchase_orders.index(line.purchase_order))
        position = sum(one.purchase_order == line.purchase_order for one in cargo.lines[: place + 1])
        return {
            "_object": ORDER_LINE,
            "id": number,
            "purchase_order": self.links.to_object(ORDER, int_id(_FIRST_ORDER, order)),
            "line_item_number": position,
            "item_key": f"{line.purchase_order}-{position}",
            "product": product(line.product),
            "units": line.units,
            "unit_cost": money(line.product.cost),
            "booking_line_items": self.links.to_list(BOOKING_LINE, f"f.purchase_order_line_item.id={number}"),
            "unit_of_measure": "PCS",
            **_transport_terms(journey.plan),
            "hs_codes": [hs_code(line.product)],
            "metadata": {},
        }


def _created(journey: ShipmentState, place: int) -> datetime:
    """Some weeks before the booking."""
    random = KeyedRandom(journey.plan.seed, f"order/{journey.plan.ordinal}/{place}")
    return journey.before_booking(random.randint("lead", _LEAST_HOURS, _MOST_HOURS))


def _transport_terms(plan: Itinerary) -> dict[str, Any]:
    """Transport terms; by road there are no ports."""
    by_road = plan.route.kind == "road"
    last = plan.legs[-1].route_leg.destination.place
    return {
        "incoterm": plan.route.incoterm,
        "transportation_mode": plan.route.mode,
        "must_arrive_date": day((plan.legs[-1].planned_arrival + timedelta(days=3 + plan.ordinal % 15)).date()),
        "origin_port": None if by_road else port(plan.route.port_of_loading),
        "origin_address": address(plan.cargo.seller.place),
        "destination_port": None if by_road else port(plan.route.port_of_unloading),
        "destination_address": address(last if plan.route.has_delivery else plan.cargo.consignee.place),
    }


def _company(party: Party) -> Wire:
    """A small object of its own, neither a company of the network nor a link."""
    return {"_object": "/company", "id": party.id, "name": party.name, "ref": party.ref}
