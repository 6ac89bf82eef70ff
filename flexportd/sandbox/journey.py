"""One shipment of the world: its wire objects, and how they change as things are recorded."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from flexportd.sandbox import shapes
from flexportd.sandbox.chronicle import tell
from flexportd.sandbox.happenings import THE_SHIPMENT, Happening, Subject, abandoned_leg, box_legs
from flexportd.sandbox.itinerary import Itinerary
from flexportd.sandbox.shapes import CONTAINER, CONTAINER_LEG, LEG, SHIPMENT, Links, Wire, day

# Objects whose new fields are laid over the old ones, instead of replacing them whole.
_MERGED = frozenset({"ocean_shipment", "air_shipment", "additional_dates", "dates"})
# Flexport saves the shipment a moment before it writes the event.
_SAVED_BEFORE = timedelta(milliseconds=135)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The ids of one shipment's objects; `first` maps a kind to the id of its first object."""

    first: dict[str, int]
    items: int

    def of(self, subject: Subject) -> int:
        """The id of one of the shipment's objects."""
        return self.first[subject.kind] + subject.position


class Journey:
    """A shipment in motion. Objects are replaced, never changed, so an event may hold them as they were."""

    def __init__(self, plan: Itinerary, numbers: Numbers, links: Links) -> None:
        self.plan = plan
        self.numbers = numbers
        self.links = links
        self.objects: dict[Subject, Wire] = {}
        self.log: list[tuple[Happening, int]] = []
        self.to_come: deque[Happening] = deque()

    @property
    def shipment(self) -> Wire:
        """The shipment as it is now."""
        return self.objects[THE_SHIPMENT]

    def containers(self) -> list[Wire]:
        """Its containers as they are now."""
        return [wire for subject, wire in self.objects.items() if subject.kind == CONTAINER]

    def apply(self, happening: Happening, event_id: int) -> set[Subject]:
        """Change the objects, remember what for (`event_id` 0: no event), and say which ones changed."""
        changed = {THE_SHIPMENT, *happening.creates}
        for subject in happening.creates:
            self.objects[subject] = self._new(subject)
        for subject, fields in happening.changes:
            self.objects[subject] = _laid_over(self.objects[subject], fields)
            changed.add(subject)
        saved = {"updated_at": shapes.utc(happening.at - _SAVED_BEFORE)}
        self.objects[THE_SHIPMENT] = shapes.with_deprecated(_laid_over(self.shipment, saved))
        self.log.append((happening, event_id))
        return changed

    def event(self, event_id: int, happening: Happening) -> Wire:
        """The event that tells of a happening just applied. Shipment-level events list no containers."""
        where = None
        if happening.where is not None:
            where = self.objects[Subject(LEG, happening.where.leg)][happening.where.side]
        data = {
            "resource": self.objects[happening.about],
            "shipment": self.shipment,
            "location": where,
            "containers": [] if happening.about.kind == SHIPMENT else self.containers(),
        }
        return shapes.event(event_id, happening.type or "", (happening.at, happening.occurred), data)

    def replay(self) -> Iterator[Wire]:
        """Every event so far, with the objects as they were; the last one holds the shipment as it is."""
        again = Journey(self.plan, self.numbers, self.links)
        last: Wire | None = None
        for happening, event_id in self.log:
            again.apply(happening, event_id)
            if not event_id:
                continue
            if last is not None:
                yield last
            last = again.event(event_id, happening)
        if last is not None:
            # Silent changes (metadata) after the last event are in no event of their own.
            data = {**last["data"], "shipment": self.shipment}
            if data["resource"]["_object"] == SHIPMENT:
                data["resource"] = self.shipment
            yield {**last, "data": data}

    def begin(self, seed: int) -> None:
        """Put everything that will be recorded of a new shipment into `to_come`."""
        rng = Random(f"{seed}/story/{self.plan.ordinal}")  # noqa: S311 (a world, not a secret)
        self.to_come.extend(tell(self.plan, self.numbers.items, rng))

    def _new(self, subject: Subject) -> Wire:
        if subject.kind == LEG:
            return self._new_leg(subject)
        if subject.kind == CONTAINER:
            return self._new_container(subject)
        if subject.kind == CONTAINER_LEG:
            box, leg = box_legs(self.plan)[subject.position]
            ends = self.numbers.of(Subject(CONTAINER, box)), self.numbers.of(Subject(LEG, leg))
            return shapes.container_leg(self.numbers.of(subject), ends, self.links)
        return self._new_shipment()

    def _new_shipment(self) -> Wire:
        plan, number, links = self.plan, self.numbers.of(THE_SHIPMENT), self.links
        cargo, route = plan.cargo, plan.route
        lists = {
            "legs": (LEG, None),
            "customs_entries": ("/customs_entry", "/customs_entries"),
            "commercial_invoices": ("/commercial_invoice", "/commercial_invoices"),
            "documents": ("/document", "/documents"),
        }
        sea = shapes.ocean_shipment(number, links, is_lcl=route.kind == "lcl") if route.mode == "ocean" else None
        air = shapes.air_shipment(cargo.kilograms, cargo.cubic_metres) if route.mode == "air" else None
        return {
            "_object": SHIPMENT,
            "id": number,
            "name": cargo.name,
            "metadata": {"PO #": cargo.purchase_orders, "Department": [cargo.department]},
            "transportation_mode": route.mode,
            "freight_type": route.freight_type,
            "incoterm": route.incoterm,
            "calculated_weight": shapes.weight(cargo.kilograms),
            "calculated_volume": shapes.volume(cargo.cubic_metres),
            "pieces": cargo.pieces,
            "created_date": shapes.utc(plan.booked),
            "status": "seller_location",
            "priority": cargo.priority,
            "cargo_ready_date": _cargo_ready(plan),
            "ocean_shipment": sea,
            "air_shipment": air,
            "shippers": [shapes.company_entity(cargo.seller)],
            "consignees": [shapes.company_entity(cargo.consignee)],
            "buyers": [],
            "sellers": [],
            "importers_of_record": [],
            "items": [],
            **{name: links.many(kind, f"f.shipment.id={number}", path) for name, (kind, path) in lists.items()},
            **_services(plan),
            **dict.fromkeys(_UNKNOWN_AT_FIRST),
            "child_shipments": [],
        }

    def _new_leg(self, subject: Subject) -> Wire:
        abandoned = subject == abandoned_leg(self.plan)
        leg = self.plan.legs[-1 if abandoned else subject.position]
        stretch, vehicle = leg.stretch, dict(leg.vehicle.fields)
        number = self.numbers.of(subject)
        ready = _cargo_ready(self.plan) if subject.position == 0 else None
        return {
            "_object": LEG,
            "id": number,
            "shipment": self.links.one(SHIPMENT, self.numbers.of(THE_SHIPMENT)),
            **dict.fromkeys(shapes.LEG_DATES),
            "additional_dates": {"cargo_ready_date": ready} if ready else {},
            "origin": shapes.node(stretch.origin.place, stretch.origin.tags),
            "destination": shapes.node(stretch.destination.place, stretch.destination.tags),
            "transportation_mode": stretch.mode,
            # A leg that will be replaced has no carrier yet.
            "carrier_name": None if abandoned else leg.vehicle.carrier,
            **shapes.mode_detail(stretch.mode, number, vehicle, self.links),
            "cargo_ready_date": ready,
            "deleted_at": None,
        }

    def _new_container(self, subject: Subject) -> Wire:
        box, number = self.plan.cargo.boxes[subject.position], self.numbers.of(subject)
        return {
            "_object": CONTAINER,
            "id": number,
            "metadata": {},
            "container_type": box.type,
            "container_number": box.number,
            "container_size": box.size,
            "seal_number": box.seal,
            **dict.fromkeys(_CONTAINER_DATES),
            "cargo_ready_date": _cargo_ready(self.plan),
            "shipment": self.links.one(SHIPMENT, self.numbers.of(THE_SHIPMENT)),
            "container_legs": self.links.many(CONTAINER_LEG, f"f.shipment_container.id={number}"),
            "items": [],
        }


_UNKNOWN_AT_FIRST = (
    "it_number",
    "updated_at",
    "estimated_departure_date",
    "actual_departure_date",
    "estimated_arrival_date",
    "actual_arrival_date",
    "estimated_picked_up_in_full_date",
    "actual_picked_up_in_full_date",
    "estimated_delivered_in_full_date",
    "actual_delivered_in_full_date",
    "departure_date",
    "arrival_date",
    "picked_up_in_full_date",
    "delivered_in_full_date",
    "booking",
    "archived_at",
    "freight_cost",
    "parent_shipment",
)
_CONTAINER_DATES = (
    *shapes.LEG_DATES,
    "estimated_pickup_date",
    "actual_pickup_date",
    "estimated_delivery_date",
    "actual_delivery_date",
    "last_free_day_date",
    "empty_returned_date",
    "available_for_pickup_date",
    "estimated_available_for_pickup_date",
)


def _laid_over(wire: Wire, fields: Wire) -> Wire:
    merged = {
        name: {**wire[name], **value} for name, value in fields.items() if name in _MERGED and wire[name] is not None
    }
    return {**wire, **fields, **merged}


def _cargo_ready(plan: Itinerary) -> str:
    return day((plan.legs[0].planned_departure - timedelta(days=1)).date())


def _services(plan: Itinerary) -> Wire:
    """What the client asked Flexport to do."""
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
