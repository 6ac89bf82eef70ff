"""Bookings, purchase orders, and the lines of both.

A booking is submitted a minute before its shipment is there, which it carries from the start, as recorded ones do; it
is booked when Flexport answers, after hours or days. Some are handed over to the shipment when it leaves. A few are
withdrawn, and some shipments have none, as in recorded accounts. `flex_id` is in no document but in every recorded
booking; `wants_import_customs_service` is documented and in none.

Each order of a shipment's cargo is an object of its own, open until the cargo is delivered. Shipments have no link to
orders: `f.shipment.id` finds them.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from flexportd.sandbox.catalog import wire_objects as wire
from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.kinds import BOOKING, BOOKING_LINE, ORDER, ORDER_LINE, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import wire_object
from flexportd.sandbox.ids import FIRST_BOOKING, booking_id, int_id, object_number
from flexportd.sandbox.objects.shipment_state import DerivedObjects, ShipmentState
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary, booking_random, was_booked

_FIRST_ORDER, _FIRST_ORDER_LINE = 26_088, 450_100
_LEAST_HOURS, _MOST_HOURS = 6 * 24, 40 * 24
_REAL, _WITHDRAWN = 0, 1
# A booking is there for so many hours before its shipment.
_AHEAD_HOURS = 0.02


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
        return wire_object(
            BOOKING,
            id=number,
            name=cargo.name,
            shipment=self.links.to_object(SHIPMENT, shipment_id) if exists else None,
            status=status,
            shipper_entity=wire.company_entity(cargo.seller),
            consignee_entity=wire.company_entity(cargo.consignee),
            transportation_mode=plan.route.mode,
            ocean_booking=_ocean(plan) if plan.route.mode == "ocean" else None,
            air_booking=wire_object("/air/booking", **_terms(plan)) if plan.route.mode == "air" else None,
            trucking_booking=_trucking(plan) if plan.route.kind == "road" else None,
            origin_address=wire.address(first if first.street else cargo.seller.place),
            cargo_ready_date=plan.cargo_ready,
            destination_address=wire.address(last) if plan.route.has_delivery else None,
            wants_export_customs_service=plan.route.has_pickup,
            cargo=_cargo(plan),
            special_instructions=booking_random(plan).choice("wish", (None, None, None, "Please call before pickup")),
            booking_line_items=self.links.to_list(BOOKING_LINE, f"f.booking.id={number}"),
            created_at=wire.utc(created),
            metadata={"PO #": cargo.purchase_orders, "Department": [cargo.department]},
            flex_id=f"FLEX-{shipment_id}" if exists else None,
        )


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
        line_id = int_id(_FIRST_ORDER_LINE, object_number(journey.id, place))  # they fill the same line of the cargo
        line = self.links.to_object(ORDER_LINE, line_id)
        booking = self.links.to_object(BOOKING, booking_id(journey.id))
        units = journey.plan.cargo.lines[place].units
        number = self.id_of(journey.id, place)
        return wire_object(BOOKING_LINE, id=number, booking=booking, purchase_order_line_item=line, units=units)


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
        return wire_object(
            ORDER,
            id=number,
            name=plan.cargo.purchase_orders[place],
            status="open" if closed is None else "closed",
            seller=_company(plan.cargo.seller),
            buyer=_company(plan.cargo.consignee),
            **_transport_terms(plan),
            cargo_ready_date=plan.cargo_ready,
            created_at=wire.utc(created),
            updated_at=wire.utc(closed or created),
            line_items=self.links.to_list(ORDER_LINE, f"f.purchase_order.id={number}"),
            metadata={"Department": [plan.cargo.department]},
        )


class OrderLines(DerivedObjects):
    """One for each line of the cargo."""

    kind = ORDER_LINE
    first_id = _FIRST_ORDER_LINE

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        orders = journey.plan.cargo.purchase_orders
        for place, line in enumerate(journey.plan.cargo.lines):
            yield place, _created(journey, orders.index(line.purchase_order))

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:  # noqa: ARG002 (it never changes)
        cargo = journey.plan.cargo
        line, number = cargo.lines[place], self.id_of(journey.id, place)
        order = object_number(journey.id, cargo.purchase_orders.index(line.purchase_order))
        position = sum(one.purchase_order == line.purchase_order for one in cargo.lines[: place + 1])
        return wire_object(
            ORDER_LINE,
            id=number,
            purchase_order=self.links.to_object(ORDER, int_id(_FIRST_ORDER, order)),
            line_item_number=position,
            item_key=f"{line.purchase_order}-{position}",
            product=wire.product(line.product),
            units=line.units,
            unit_cost=wire.money(line.product.cost),
            booking_line_items=self.links.to_list(BOOKING_LINE, f"f.purchase_order_line_item.id={number}"),
            **_transport_terms(journey.plan),
            hs_codes=[wire.hs_code(line.product)],
        )


def _status(plan: Itinerary, place: int, now: datetime) -> str:
    if place == _WITHDRAWN:
        return "archived"
    if now < plan.answered:
        return "submitted"
    handed_over = booking_random(plan).random("handed over") < 0.3 and now >= plan.legs[0].departure
    return "shipment" if handed_over else "booked"


def _ocean(plan: Itinerary) -> Wire:
    """Bookings count containers under other names than containers have: `forty` for `fourty`."""
    sizes = Counter(box.size.replace("fourty", "forty") for box in plan.cargo.containers if box.type != "lcl")
    counts = wire_object("/container_counts", **sizes)
    return wire_object("/ocean/booking", is_lcl=plan.route.kind == "lcl", container_counts=counts, **_terms(plan))


def _terms(plan: Itinerary) -> Wire:
    return {
        "incoterm": plan.route.incoterm,
        "wants_pickup_service": plan.route.has_pickup,
        "wants_delivery_service": plan.route.has_delivery or None,
        "origin_port": wire.port(plan.route.port_of_loading),
        "destination_port": wire.port(plan.route.port_of_unloading),
        "product_descriptions": [
            wire_object(
                "/bookings/product_description",
                description=line.product.name,
                description_for_export_customs=line.product.export_name,
                description_for_export_customs_locale="zh_CN" if line.product.country_code == "CN" else None,
                hs_code=wire.hs_code(line.product),
            )
            for line in plan.cargo.lines
        ],
    }


def _trucking(plan: Itinerary) -> Wire:
    return wire_object(
        "/trucking/booking",
        is_ftl=plan.legs[0].route_leg.service == "ftl",
        payment_terms=booking_random(plan).choice("terms", ("collect", "prepaid")),
        description_of_products=", ".join(line.product.name for line in plan.cargo.lines),
    )


def _cargo(plan: Itinerary) -> Wire:
    """A simple load: one shipping unit; dimensions of zero are dimensions not given."""
    return wire_object(
        "/cargo",
        volume=wire.volume(plan.cargo.cubic_metres),
        weight=wire.weight(plan.cargo.kilograms),
        shipping_units=[wire_object("/shipping_unit", count=plan.cargo.pieces)],
        contains_magnets=any("speaker" in line.product.name for line in plan.cargo.lines),
    )


def _created(journey: ShipmentState, place: int) -> datetime:
    random = KeyedRandom(journey.plan.seed, f"order/{journey.plan.ordinal}/{place}")
    return journey.before_booking(random.randint("lead", _LEAST_HOURS, _MOST_HOURS))


def _transport_terms(plan: Itinerary) -> Wire:
    by_road = plan.route.kind == "road"
    last = plan.legs[-1].route_leg.destination.place
    return {
        "incoterm": plan.route.incoterm,
        "transportation_mode": plan.route.mode,
        "must_arrive_date": wire.day((plan.legs[-1].planned_arrival + timedelta(days=3 + plan.ordinal % 15)).date()),
        "origin_port": None if by_road else wire.port(plan.route.port_of_loading),
        "origin_address": wire.address(plan.cargo.seller.place),
        "destination_port": None if by_road else wire.port(plan.route.port_of_unloading),
        "destination_address": wire.address(last if plan.route.has_delivery else plan.cargo.consignee.place),
    }


def _company(party: Party) -> Wire:
    return wire_object("/company", id=party.id, name=party.name, ref=party.ref)
