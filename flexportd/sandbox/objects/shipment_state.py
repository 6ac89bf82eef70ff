"""One shipment of the world: its wire objects as they are first recorded, and how recorded changes apply to them.

Also the base of the objects that follow from a shipment.
"""

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import ClassVar

from flexportd.sandbox.catalog import kinds
from flexportd.sandbox.catalog import wire_objects as wire
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.vehicles import placeholder
from flexportd.sandbox.catalog.wire_objects import Links, wire_object
from flexportd.sandbox.ids import booking_id, int_id, object_number, parse_int_id, parse_text_id, text_id
from flexportd.sandbox.scripts import invoice_script
from flexportd.sandbox.scripts.event_script import script
from flexportd.sandbox.scripts.shipment_plan import Itinerary, was_booked
from flexportd.sandbox.scripts.world_events import (
    CONTAINER_MODES,
    THE_SHIPMENT,
    ObjectRef,
    WorldEvent,
    container_leg_pairs,
    replaced_leg,
)

# Objects whose new fields are laid over the old ones, instead of replacing them whole.
_MERGED = frozenset({"ocean_shipment", "air_shipment", "additional_dates", "dates", "ocean_leg"})
# Flexport saves the shipment a moment before it writes the event.
_SAVED_BEFORE = timedelta(milliseconds=135)
_MODE_LEGS = {
    "air": ("air_leg", "/air/shipment_leg"),
    "ocean": ("ocean_leg", "/ocean/shipment_leg"),
    "truck": ("trucking_leg", "/trucking/shipment_leg"),
    "rail": ("rail_leg", "/rail/shipment_leg"),
}


@dataclass(frozen=True, slots=True)
class ShipmentIds:
    """The ids of one shipment's objects; `first` maps a kind to the id of its first object."""

    first: dict[str, int]
    items: int

    def id_of(self, subject: ObjectRef) -> int:
        """The id of one of the shipment's objects."""
        return self.first[subject.kind] + subject.position


class ShipmentState:
    """A shipment in motion. Objects are replaced, never changed, so an event may hold them as they were.

    `known_since` is when the world added it: nothing about it is older, except in a world that begins with it.
    """

    def __init__(self, plan: Itinerary, ids: ShipmentIds, links: Links, known_since: datetime | None = None) -> None:
        self.plan = plan
        self.id = ids.id_of(THE_SHIPMENT)
        self.known_since = known_since
        self.ids = ids
        self.links = links
        self.objects: dict[ObjectRef, Wire] = {}
        self.log: list[tuple[WorldEvent, int]] = []
        self.upcoming: deque[WorldEvent] = deque()

    @property
    def shipment(self) -> Wire:
        """The shipment as it is now."""
        return self.objects[THE_SHIPMENT]

    def containers(self) -> list[Wire]:
        """Its containers as they are now."""
        return [row for subject, row in self.objects.items() if subject.kind == kinds.CONTAINER]

    def before_booking(self, hours: float) -> datetime:
        """An instant that long before the booking, or less if the world has not known the shipment for that long."""
        booked, lead = self.plan.booked, timedelta(hours=hours)
        if self.known_since is not None and booked - lead < self.known_since:
            lead = (booked - self.known_since) * (0.5 + 0.49 * min(1.0, hours / 1000))
        moment = booked - lead
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def time_of(self, kind: str) -> datetime | None:
        """When the first event of a type was or will be recorded; none if it never will be."""
        recorded = (entry for entry, _ in self.log)
        return next((one.at for one in (*recorded, *self.upcoming) if one.type == kind), None)

    def event_types_until(self, now: datetime) -> dict[str, datetime]:
        """The types of events that were recorded by then, and when each first was."""
        found: dict[str, datetime] = {}
        for entry, _ in self.log:
            if entry.type is not None and entry.at <= now:
                found.setdefault(entry.type, entry.at)
        return found

    def apply(self, entry: WorldEvent, event_id: int) -> set[ObjectRef]:
        """Apply a change and log it (`event_id` 0: no event); returns the objects that changed."""
        if entry.about.kind == kinds.INVOICE:
            # Invoices follow from the plan: see `invoice_script`.
            self.log.append((entry, event_id))
            return set()
        changed = {THE_SHIPMENT, *entry.creates}
        for subject in entry.creates:
            self.objects[subject] = _initial_object(self.plan, self.ids, self.links, subject)
        for subject, fields in entry.changes:
            self.objects[subject] = _overlay(self.objects[subject], fields)
            changed.add(subject)
        saved = {"updated_at": wire.utc(entry.at - _SAVED_BEFORE)}
        self.objects[THE_SHIPMENT] = wire.with_deprecated(_overlay(self.shipment, saved))
        self.log.append((entry, event_id))
        return changed

    def event(self, event_id: int, entry: WorldEvent) -> Wire:
        """The event of a change that was just applied. Shipment-level events list no containers."""
        about, where = entry.about, entry.where
        if about.kind == kinds.INVOICE:
            resource = invoice_script.invoice(self.plan, self.id, about.position, entry.at, self.links)
        else:
            resource = self.objects[about]
        data = {
            "resource": resource,
            "shipment": None if about == (kinds.INVOICE, invoice_script.CLIENT) else self.shipment,
            "location": None if where is None else self.objects[ObjectRef(kinds.LEG, where.leg)][where.side],
            "containers": [] if about.kind in {kinds.SHIPMENT, kinds.INVOICE} else self.containers(),
        }
        return wire.event(event_id, entry.type or "", (entry.at, entry.occurred), data)

    def replay(self) -> Iterator[Wire]:
        """Every event so far, with the objects as they were; the last one holds the shipment as it is.

        Events about no shipment may come one position too early: sort by id.
        """
        again = ShipmentState(self.plan, self.ids, self.links)
        last: Wire | None = None
        for entry, event_id in self.log:
            again.apply(entry, event_id)
            if not event_id:
                continue
            event = again.event(event_id, entry)
            if event["data"]["shipment"] is None:
                yield event
                continue
            if last is not None:
                yield last
            last = event
        if last is not None:
            # Silent changes (metadata) after the last event are in no event of their own.
            data = {**last["data"], "shipment": self.shipment}
            if data["resource"]["_object"] == kinds.SHIPMENT:
                data["resource"] = self.shipment
            yield {**last, "data": data}

    def schedule(self, seed: int) -> None:
        """Put all future changes of a new shipment into `upcoming`."""
        rng = Random(f"{seed}/story/{self.plan.ordinal}")  # noqa: S311 (a world, not a secret)
        of_cargo, of_money = script(self.plan, self.id, self.ids.items, rng), invoice_script.script(self.plan)
        self.upcoming.extend(heapq.merge(of_cargo, of_money, key=lambda one: one.at))


class DerivedObjects(ABC):
    """Makes the objects of one kind when they are read, with ids that lead back to their shipment.

    `first_id` is the first of their whole-number ids; None means text ids.
    """

    kind: ClassVar[str]
    first_id: ClassVar[int | None] = None

    def __init__(self, links: Links, seed: int) -> None:
        self.links = links
        self._salt = f"{seed}{self.kind}"

    @abstractmethod
    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        """The place of each object among those of its kind, and when it is created. These never change."""

    @abstractmethod
    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        """One object as it is at that instant, which is after its creation and not in the past."""

    def id_of(self, shipment_id: int, place: int) -> int | str:
        """The id of the object at that place of a shipment."""
        number = object_number(shipment_id, place)
        return text_id(self._salt, number) if self.first_id is None else int_id(self.first_id, number)

    def parse_id(self, key: str) -> int | None:
        """The number of an id, see `ids`; none for a text that is no id of this kind."""
        return parse_text_id(self._salt, key) if self.first_id is None else parse_int_id(self.first_id, key)


def _initial_object(plan: Itinerary, ids: ShipmentIds, links: Links, subject: ObjectRef) -> Wire:
    number, shipment_id = ids.id_of(subject), ids.id_of(THE_SHIPMENT)
    if subject.kind == kinds.SHIPMENT:
        return _new_shipment(plan, number, links)
    if subject.kind == kinds.CONTAINER_LEG:
        box, leg = container_leg_pairs(plan)[subject.position]
        in_box = links.to_object(kinds.CONTAINER, ids.id_of(ObjectRef(kinds.CONTAINER, box)))
        on_leg = links.to_object(kinds.LEG, ids.id_of(ObjectRef(kinds.LEG, leg)))
        return wire_object(kinds.CONTAINER_LEG, id=number, shipment_container=in_box, leg=on_leg)
    if subject.kind == kinds.LEG:
        fields = _new_leg(plan, number, links, subject)
    else:
        container = plan.cargo.containers[subject.position]
        fields = {
            "container_type": container.type,
            "container_number": container.number,
            "container_size": container.size,
            "seal_number": container.seal,
            "cargo_ready_date": plan.cargo_ready,
            "container_legs": links.to_list(kinds.CONTAINER_LEG, f"f.shipment_container.id={number}"),
        }
    return wire_object(subject.kind, id=number, shipment=links.to_object(kinds.SHIPMENT, shipment_id), **fields)


def _new_shipment(plan: Itinerary, number: int, links: Links) -> Wire:
    cargo, route = plan.cargo, plan.route
    lists = {
        "legs": kinds.LEG,
        "customs_entries": kinds.CUSTOMS_ENTRY,
        "commercial_invoices": kinds.COMMERCIAL_INVOICE,
        "documents": kinds.DOCUMENT,
    }
    # Without bills and the carrier's booking number until they are issued; the house bill is empty until then.
    modes: Wire = {}
    if route.mode == "ocean":
        boxes = links.to_list(kinds.CONTAINER, f"f.shipment.id={number}")
        modes["ocean_shipment"] = wire_object("/ocean/shipment", is_lcl=route.kind == "lcl", containers=boxes)
    elif route.mode == "air":
        weight, volume = wire.weight(cargo.chargeable_kilograms), wire.volume(cargo.cubic_metres)
        modes["air_shipment"] = wire_object("/air/shipment", chargeable_weight=weight, chargeable_volume=volume)
    return wire_object(
        kinds.SHIPMENT,
        id=number,
        name=cargo.name,
        metadata={"PO #": cargo.purchase_orders, "Department": [cargo.department]},
        transportation_mode=route.mode,
        freight_type=route.freight_type,
        incoterm=route.incoterm,
        calculated_weight=wire.weight(cargo.kilograms),
        calculated_volume=wire.volume(cargo.cubic_metres),
        pieces=cargo.pieces,
        created_date=wire.utc(plan.booked),
        priority=cargo.priority,
        cargo_ready_date=plan.cargo_ready,
        **modes,
        shippers=[wire.company_entity(cargo.seller)],
        consignees=[wire.company_entity(cargo.consignee)],
        **{name: links.to_list(kind, f"f.shipment.id={number}") for name, kind in lists.items()},
        wants_export_customs_service=route.has_pickup,
        wants_import_customs_service=cargo.consignee.vat is None,
        wants_flexport_insurance=cargo.priority == "high",
        wants_pickup_service=route.has_pickup,
        wants_delivery_service=route.has_delivery,
        booking=links.to_object(kinds.BOOKING, booking_id(number)) if was_booked(plan) else None,
    )


def _new_leg(plan: Itinerary, number: int, links: Links, subject: ObjectRef) -> Wire:
    """The fields of a leg: of the four sub-objects of modes, exactly one is an object."""
    is_replaced = subject == replaced_leg(plan)
    leg = plan.legs[-1 if is_replaced else subject.position]
    route_leg = leg.route_leg
    vehicle = placeholder(route_leg) if route_leg.mode == "ocean" else leg.vehicle
    ready = plan.cargo_ready if subject.position == 0 else None
    detail = dict(vehicle.fields)
    name, kind = _MODE_LEGS[route_leg.mode]
    boxes: Wire = {}
    # A truck without containers has no list of them, as recorded for air, LTL and FTL.
    if route_leg.mode in CONTAINER_MODES or detail.get("service_type") == "drayage":
        boxes["container_legs"] = links.to_list(kinds.CONTAINER_LEG, f"f.leg.id={number}")
    return {
        "additional_dates": {"cargo_ready_date": ready} if ready else {},
        "origin": wire.node(route_leg.origin.place, route_leg.origin.tags),
        "destination": wire.node(route_leg.destination.place, route_leg.destination.tags),
        "transportation_mode": route_leg.mode,
        # A leg that will be replaced has no carrier yet.
        "carrier_name": None if is_replaced else vehicle.carrier,
        name: wire_object(kind, **detail, **boxes),
        "cargo_ready_date": ready,
    }


def _overlay(row: Wire, fields: Wire) -> Wire:
    merged = {
        name: {**row[name], **value} for name, value in fields.items() if name in _MERGED and row[name] is not None
    }
    return {**row, **fields, **merged}
