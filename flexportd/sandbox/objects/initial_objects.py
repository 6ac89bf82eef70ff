"""The objects of a shipment when they are first recorded: fields not known yet are null."""

from dataclasses import dataclass
from datetime import timedelta

from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.vehicles import placeholder
from flexportd.sandbox.catalog.wire_objects import (
    BOOKING,
    COMMERCIAL_INVOICE,
    CONTAINER,
    CONTAINER_LEG,
    CUSTOMS_ENTRY,
    DOCUMENT,
    LEG,
    SHIPMENT,
    Links,
    Wire,
    day,
)
from flexportd.sandbox.ids import booking_id
from flexportd.sandbox.scripts.shipment_plan import Itinerary, was_booked
from flexportd.sandbox.scripts.world_events import THE_SHIPMENT, ObjectRef, container_leg_pairs, replaced_leg

_SHIPMENT_DATES = tuple(
    f"{prefix}{name}_date"
    for prefix in ("estimated_", "actual_", "")
    for name in ("departure", "arrival", "picked_up_in_full", "delivered_in_full")
)
_UNKNOWN_AT_FIRST = (
    "it_number", "updated_at", *_SHIPMENT_DATES, "archived_at", "freight_cost", "parent_shipment",
)  # fmt: skip
_CONTAINER_DATES = (
    *wire_objects.LEG_DATES,
    "estimated_pickup_date",
    "actual_pickup_date",
    "estimated_delivery_date",
    "actual_delivery_date",
    "last_free_day_date",
    "empty_returned_date",
    "available_for_pickup_date",
    "estimated_available_for_pickup_date",
)


@dataclass(frozen=True, slots=True)
class ShipmentIds:
    """The ids of one shipment's objects; `first` maps a kind to the id of its first object."""

    first: dict[str, int]
    items: int

    def id_of(self, subject: ObjectRef) -> int:
        """The id of one of the shipment's objects."""
        return self.first[subject.kind] + subject.position


def initial_object(plan: Itinerary, ids: ShipmentIds, links: Links, subject: ObjectRef) -> Wire:
    """An object of a shipment when it is first recorded."""
    if subject.kind == LEG:
        return _new_leg(plan, ids, links, subject)
    if subject.kind == CONTAINER:
        return _new_container(plan, ids, links, subject)
    if subject.kind == CONTAINER_LEG:
        box, leg = container_leg_pairs(plan)[subject.position]
        ends = ids.id_of(ObjectRef(CONTAINER, box)), ids.id_of(ObjectRef(LEG, leg))
        return wire_objects.container_leg(ids.id_of(subject), ends, links)
    return _new_shipment(plan, ids, links)


def _new_shipment(plan: Itinerary, ids: ShipmentIds, links: Links) -> Wire:
    number = ids.id_of(THE_SHIPMENT)
    cargo, route = plan.cargo, plan.route
    lists = {
        "legs": LEG,
        "customs_entries": CUSTOMS_ENTRY,
        "commercial_invoices": COMMERCIAL_INVOICE,
        "documents": DOCUMENT,
    }
    sea = wire_objects.ocean_shipment(number, links, is_lcl=route.kind == "lcl") if route.mode == "ocean" else None
    air = wire_objects.air_shipment(cargo.chargeable_kilograms, cargo.cubic_metres) if route.mode == "air" else None
    return {
        "_object": SHIPMENT,
        "id": number,
        "name": cargo.name,
        "metadata": {"PO #": cargo.purchase_orders, "Department": [cargo.department]},
        "transportation_mode": route.mode,
        "freight_type": route.freight_type,
        "incoterm": route.incoterm,
        "calculated_weight": wire_objects.weight(cargo.kilograms),
        "calculated_volume": wire_objects.volume(cargo.cubic_metres),
        "pieces": cargo.pieces,
        "created_date": wire_objects.utc(plan.booked),
        "status": "seller_location",
        "priority": cargo.priority,
        "cargo_ready_date": _cargo_ready(plan),
        "ocean_shipment": sea,
        "air_shipment": air,
        "shippers": [wire_objects.company_entity(cargo.seller)],
        "consignees": [wire_objects.company_entity(cargo.consignee)],
        "buyers": [],
        "sellers": [],
        "importers_of_record": [],
        "items": [],
        **{name: links.to_list(kind, f"f.shipment.id={number}") for name, kind in lists.items()},
        **_services(plan),
        **dict.fromkeys(_UNKNOWN_AT_FIRST),
        "booking": links.to_object(BOOKING, booking_id(number)) if was_booked(plan) else None,
        "child_shipments": [],
    }


def _new_leg(plan: Itinerary, ids: ShipmentIds, links: Links, subject: ObjectRef) -> Wire:
    is_replaced = subject == replaced_leg(plan)
    leg = plan.legs[-1 if is_replaced else subject.position]
    route_leg = leg.route_leg
    vehicle = placeholder(route_leg) if route_leg.mode == "ocean" else leg.vehicle
    number = ids.id_of(subject)
    ready = _cargo_ready(plan) if subject.position == 0 else None
    return {
        "_object": LEG,
        "id": number,
        "shipment": links.to_object(SHIPMENT, ids.id_of(THE_SHIPMENT)),
        **dict.fromkeys(wire_objects.LEG_DATES),
        "additional_dates": {"cargo_ready_date": ready} if ready else {},
        "origin": wire_objects.node(route_leg.origin.place, route_leg.origin.tags),
        "destination": wire_objects.node(route_leg.destination.place, route_leg.destination.tags),
        "transportation_mode": route_leg.mode,
        # A leg that will be replaced has no carrier yet.
        "carrier_name": None if is_replaced else vehicle.carrier,
        **wire_objects.mode_detail(route_leg.mode, number, dict(vehicle.fields), links),
        "cargo_ready_date": ready,
        "deleted_at": None,
    }


def _new_container(plan: Itinerary, ids: ShipmentIds, links: Links, subject: ObjectRef) -> Wire:
    box, number = plan.cargo.containers[subject.position], ids.id_of(subject)
    return {
        "_object": CONTAINER,
        "id": number,
        "metadata": {},
        "container_type": box.type,
        "container_number": box.number,
        "container_size": box.size,
        "seal_number": box.seal,
        **dict.fromkeys(_CONTAINER_DATES),
        "cargo_ready_date": _cargo_ready(plan),
        "shipment": links.to_object(SHIPMENT, ids.id_of(THE_SHIPMENT)),
        "container_legs": links.to_list(CONTAINER_LEG, f"f.shipment_container.id={number}"),
        "items": [],
    }


def _cargo_ready(plan: Itinerary) -> str:
    return day((plan.legs[0].planned_departure - timedelta(days=1)).date())


def _services(plan: Itinerary) -> Wire:
    """The services that the client requested."""
    return {
        "wants_freight_management_bco": False,
        "wants_flexport_freight": True,
        "wants_export_customs_service": plan.route.has_pickup,
        "wants_import_customs_service": plan.cargo.consignee.vat is None,
        "wants_commercial_invoice_transcription": True,
        "wants_flexport_insurance": plan.cargo.priority == "high",
        "wants_pickup_service": plan.route.has_pickup,
        "wants_trade_declaration_service": False,
        "visibility_only": False,
        "wants_delivery_service": plan.route.has_delivery,
        "wants_214_filing": False,
        "wants_ftz_entry": False,
        "belongs_to_a_buyers_consol": False,
    }
