"""One shipment of the world: its wire objects, and how recorded changes apply to them."""

import heapq
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.wire_objects import CONTAINER, INVOICE, LEG, SHIPMENT, Links, Wire
from flexportd.sandbox.objects.initial_objects import ShipmentIds, initial_object
from flexportd.sandbox.scripts import invoice_script
from flexportd.sandbox.scripts.event_script import script
from flexportd.sandbox.scripts.shipment_plan import Itinerary
from flexportd.sandbox.scripts.world_events import THE_SHIPMENT, ObjectRef, WorldEvent

# Objects whose new fields are laid over the old ones, instead of replacing them whole.
_MERGED = frozenset({"ocean_shipment", "air_shipment", "additional_dates", "dates", "ocean_leg"})
# Flexport saves the shipment a moment before it writes the event.
_SAVED_BEFORE = timedelta(milliseconds=135)


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
        return [wire for subject, wire in self.objects.items() if subject.kind == CONTAINER]

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
        if entry.about.kind == INVOICE:
            # Invoices follow from the plan: see `invoice_script`.
            self.log.append((entry, event_id))
            return set()
        changed = {THE_SHIPMENT, *entry.creates}
        for subject in entry.creates:
            self.objects[subject] = initial_object(self.plan, self.ids, self.links, subject)
        for subject, fields in entry.changes:
            self.objects[subject] = _overlay(self.objects[subject], fields)
            changed.add(subject)
        saved = {"updated_at": wire_objects.utc(entry.at - _SAVED_BEFORE)}
        self.objects[THE_SHIPMENT] = wire_objects.with_deprecated(_overlay(self.shipment, saved))
        self.log.append((entry, event_id))
        return changed

    def event(self, event_id: int, entry: WorldEvent) -> Wire:
        """The event of a change that was just applied. Shipment-level events list no containers."""
        about, where = entry.about, entry.where
        if about.kind == INVOICE:
            resource = invoice_script.invoice(self.plan, self.id, about.position, entry.at, self.links)
        else:
            resource = self.objects[about]
        data = {
            "resource": resource,
            "shipment": None if about == (INVOICE, invoice_script.CLIENT) else self.shipment,
            "location": None if where is None else self.objects[ObjectRef(LEG, where.leg)][where.side],
            "containers": [] if about.kind in {SHIPMENT, INVOICE} else self.containers(),
        }
        return wire_objects.event(event_id, entry.type or "", (entry.at, entry.occurred), data)

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
            if data["resource"]["_object"] == SHIPMENT:
                data["resource"] = self.shipment
            yield {**last, "data": data}

    def schedule(self, seed: int) -> None:
        """Put all future changes of a new shipment into `upcoming`."""
        rng = Random(f"{seed}/story/{self.plan.ordinal}")  # noqa: S311 (a world, not a secret)
        of_cargo, of_money = script(self.plan, self.id, self.ids.items, rng), invoice_script.script(self.plan)
        self.upcoming.extend(heapq.merge(of_cargo, of_money, key=lambda one: one.at))


def _overlay(wire: Wire, fields: Wire) -> Wire:
    merged = {
        name: {**wire[name], **value} for name, value in fields.items() if name in _MERGED and wire[name] is not None
    }
    return {**wire, **fields, **merged}
