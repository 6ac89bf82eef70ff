"""One shipment of the world: its wire objects, and how they change as things are recorded."""

import heapq
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.wire_objects import CONTAINER, INVOICE, LEG, SHIPMENT, Links, Wire
from flexportd.sandbox.objects import invoices
from flexportd.sandbox.objects.initial_objects import ShipmentIds, initial_object
from flexportd.sandbox.scripts.event_script import script
from flexportd.sandbox.scripts.shipment_plan import Itinerary
from flexportd.sandbox.scripts.world_events import THE_SHIPMENT, ObjectRef, WorldEvent

# Objects whose new fields are laid over the old ones, instead of replacing them whole.
_MERGED = frozenset({"ocean_shipment", "air_shipment", "additional_dates", "dates", "ocean_leg"})
# Flexport saves the shipment a moment before it writes the event.
_SAVED_BEFORE = timedelta(milliseconds=135)


class ShipmentState:
    """A shipment in motion. Objects are replaced, never changed, so an event may hold them as they were.

    `born` is when the world learned of it: nothing about it is older, except in a world that begins with it.
    """

    def __init__(self, plan: Itinerary, numbers: ShipmentIds, links: Links, born: datetime | None = None) -> None:
        self.plan = plan
        self.id = numbers.id_of(THE_SHIPMENT)
        self.born = born
        self.numbers = numbers
        self.links = links
        self.objects: dict[ObjectRef, Wire] = {}
        self.log: list[tuple[WorldEvent, int]] = []
        self.to_come: deque[WorldEvent] = deque()

    @property
    def shipment(self) -> Wire:
        """The shipment as it is now."""
        return self.objects[THE_SHIPMENT]

    def containers(self) -> list[Wire]:
        """Its containers as they are now."""
        return [wire for subject, wire in self.objects.items() if subject.kind == CONTAINER]

    def before_booking(self, hours: float) -> datetime:
        """An instant before the booking by that much, or by less when the shipment is not that long known."""
        booked, lead = self.plan.booked, timedelta(hours=hours)
        if self.born is not None and booked - lead < self.born:
            lead = (booked - self.born) * (0.5 + 0.49 * min(1.0, hours / 1000))
        moment = booked - lead
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def time_of(self, kind: str) -> datetime | None:
        """When the first event of a type was or will be recorded; none if it never will be."""
        told = (happening for happening, _ in self.log)
        return next((one.at for one in (*told, *self.to_come) if one.type == kind), None)

    def event_types_until(self, now: datetime) -> dict[str, datetime]:
        """The types of events that were recorded by then, and when each first was."""
        found: dict[str, datetime] = {}
        for happening, _ in self.log:
            if happening.type is not None and happening.at <= now:
                found.setdefault(happening.type, happening.at)
        return found

    def apply(self, happening: WorldEvent, event_id: int) -> set[ObjectRef]:
        """Change the objects, remember what for (`event_id` 0: no event), and say which ones changed."""
        if happening.about.kind == INVOICE:
            # Invoices change by themselves: see `invoices`.
            self.log.append((happening, event_id))
            return set()
        changed = {THE_SHIPMENT, *happening.creates}
        for subject in happening.creates:
            self.objects[subject] = initial_object(self.plan, self.numbers, self.links, subject)
        for subject, fields in happening.changes:
            self.objects[subject] = _overlay(self.objects[subject], fields)
            changed.add(subject)
        saved = {"updated_at": wire_objects.utc(happening.at - _SAVED_BEFORE)}
        self.objects[THE_SHIPMENT] = wire_objects.with_deprecated(_overlay(self.shipment, saved))
        self.log.append((happening, event_id))
        return changed

    def event(self, event_id: int, happening: WorldEvent) -> Wire:
        """The event that tells of a happening just applied. Shipment-level events list no containers."""
        if happening.about.kind == INVOICE:
            return invoices.event(self, event_id, happening)
        where = None
        if happening.where is not None:
            where = self.objects[ObjectRef(LEG, happening.where.leg)][happening.where.side]
        data = {
            "resource": self.objects[happening.about],
            "shipment": self.shipment,
            "location": where,
            "containers": [] if happening.about.kind == SHIPMENT else self.containers(),
        }
        return wire_objects.event(event_id, happening.type or "", (happening.at, happening.occurred), data)

    def replay(self) -> Iterator[Wire]:
        """Every event so far, with the objects as they were; the last one holds the shipment as it is.

        Events about no shipment may come a place too early: their ids tell.
        """
        again = ShipmentState(self.plan, self.numbers, self.links)
        last: Wire | None = None
        for happening, event_id in self.log:
            again.apply(happening, event_id)
            if not event_id:
                continue
            event = again.event(event_id, happening)
            if event["data"]["shipment"] is None:
                yield event
                continue
            if last is not None:
                yield last
            last = event
        if last is not None:
            # Silent changes (metadata) after the last event are in no event of their own.
            data = {**last["data"], "shipment": self.shipment}
            if data["resource"]["_object"] == SHIPMENT:
                data["resource"] = self.shipment
            yield {**last, "data": data}

    def schedule(self, seed: int) -> None:
        """Put everything that will be recorded of a new shipment into `to_come`."""
        rng = Random(f"{seed}/story/{self.plan.ordinal}")  # noqa: S311 (a world, not a secret)
        of_cargo, of_money = script(self.plan, (self.id, self.numbers.items), rng), invoices.script(self.plan)
        self.to_come.extend(heapq.merge(of_cargo, of_money, key=lambda one: one.at))


def _overlay(wire: Wire, fields: Wire) -> Wire:
    merged = {
        name: {**wire[name], **value} for name, value in fields.items() if name in _MERGED and wire[name] is not None
    }
    return {**wire, **fields, **merged}
