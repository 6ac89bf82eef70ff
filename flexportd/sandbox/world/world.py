"""The seeded world: shipments in motion, the objects that follow from them, and the events so far.

Shipments, legs, containers and container legs are stored (`tables`); everything else that Flexport lists is made when
it is read (`collections`). Deterministic: the same `WorldPlan`, advanced to the same instants, has the same objects and
events. Objects and events are shared, never copied and never changed in place: copy one before you edit it.
"""

import gc
import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.catalog import kinds, wire_objects
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.network import fixed_objects
from flexportd.sandbox.catalog.wire_objects import Links
from flexportd.sandbox.ids import FIRST_SHIPMENT, PER_SHIPMENT
from flexportd.sandbox.objects.bookings import BookingLines, Bookings, OrderLines, Orders
from flexportd.sandbox.objects.documents import CustomsEntries, Documents
from flexportd.sandbox.objects.invoices import CommercialInvoices, Invoices
from flexportd.sandbox.objects.shipment_state import ShipmentIds, ShipmentState
from flexportd.sandbox.scripts.shipment_plan import Itinerary, Overstays, plan
from flexportd.sandbox.scripts.world_events import ObjectRef, container_leg_pairs, silent_change
from flexportd.sandbox.world.collections import (
    Collection,
    DerivedCollection,
    FixedCollection,
    TableCollection,
    key_of,
)

EVENTS_KEPT = 20_000
MAX_FILES = 256 * 2**20
"""Bytes of all uploaded files together."""
_FIRST_EVENT = 730_000
_FIRST_IDS = {
    kinds.SHIPMENT: FIRST_SHIPMENT,
    kinds.LEG: 8_800_412,
    kinds.CONTAINER: 555_001,
    kinds.CONTAINER_LEG: 1_493_765,
}
_FIRST_ITEM, _ITEMS_EACH = 2_300_100, 50
_LARGE = 2_000
_DERIVED = (Bookings, BookingLines, Orders, OrderLines, Invoices, CommercialInvoices, CustomsEntries)


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """The parameters of a world. Links in its objects point to `link_base`."""

    start: datetime
    seed: int = 7
    shipments: int = 40
    link_base: str = "https://api.flexport.com"


class World:
    """Everything Flexport lists, at the instant `now`: `tables` by `_object` and id, `collections` by `_object`.

    `revision` increases with every change. `amendments` of bookings, by id, are in no list.
    """

    def __init__(self, plan: WorldPlan) -> None:
        self.plan = plan
        self.now = datetime.min.replace(tzinfo=UTC)
        self.tables: dict[str, dict[int, Wire]] = {kind: {} for kind in (*_FIRST_IDS, kinds.EVENT)}
        self.links = Links(plan.link_base)
        self._next_ids = dict(_FIRST_IDS)
        self._next_event = _FIRST_EVENT
        self._journeys: dict[int, ShipmentState] = {}
        # When the next change of each shipment is recorded.
        self._due: list[tuple[datetime, int]] = []
        self._overstays = Overstays()
        self.revision = 0
        self.amendments: dict[int, Wire] = {}
        # Changes to come that a request asked for; the number keeps those of one instant in order.
        self._scheduled: list[tuple[datetime, int, Callable[[], None]]] = []
        self._schedule_numbers = itertools.count()
        self._files: dict[str, tuple[bytes, str]] = {}
        self._documents = Documents(self.links, plan.seed)
        self._tables = {kind: TableCollection(kind, self.tables, self._journeys) for kind in self.tables}
        self.collections: dict[str, Collection] = {**self._tables, **self._derived(), **self._fixed()}
        with _gc_paused(keep=plan.shipments >= _LARGE):
            for itinerary in self._overstays.apply(self._initial()):
                self._add_shipment(itinerary)
            self.advance(plan.start)

    @property
    def events(self) -> list[Wire]:
        """The last 20,000 events, oldest first."""
        return list(self.tables[kinds.EVENT].values())

    def advance(self, to: datetime) -> list[Wire]:
        """Move the world to that instant and return the events this causes, in order. The past changes nothing."""
        events: list[Wire] = []
        self.revision += 1
        while self._due and self._due[0][0] <= to:
            _, shipment_id = heapq.heappop(self._due)
            event = self._advance_one(self._journeys[shipment_id])
            if event is not None:
                events.append(event)
        self.now = max(self.now, to.astimezone(UTC))
        self._make_scheduled_changes(self.now)
        return events

    def schedule_change(self, at: datetime, change: Callable[[], None]) -> None:
        """Make a change once the world is that far, or when `make_scheduled_changes` is called."""
        heapq.heappush(self._scheduled, (at, next(self._schedule_numbers), change))

    def make_scheduled_changes(self) -> int:
        """Make all scheduled changes now, in order; returns their number."""
        return self._make_scheduled_changes(datetime.max.replace(tzinfo=UTC))

    def _make_scheduled_changes(self, until: datetime) -> int:
        count = 0
        while self._scheduled and self._scheduled[0][0] <= until:
            heapq.heappop(self._scheduled)[2]()
            count += 1
        return count

    def backlog(self) -> list[Wire]:
        """Every event since the oldest shipment was booked; applied in order, they give the present state."""
        events = [event for journey in self._journeys.values() for event in journey.replay()]
        return sorted(events, key=lambda event: int(event["id"]))

    def edit_shipment(self, shipment_id: int, fields: Wire) -> Wire:
        """Change a shipment without an event, as staff may at Flexport; its `updated_at` moves. Returns the shipment.

        Raises NotFoundError, or InvalidError for a field that shipments do not have.
        """
        journey = self.journey(shipment_id)
        check_fields("A shipment", journey.shipment, fields)
        last = datetime.fromisoformat(journey.shipment["updated_at"])
        at = max(self.now, last + timedelta(milliseconds=200))
        # Flexport's clock is never behind its time stamps.
        self.now = at
        self.revision += 1
        self._store(journey, journey.apply(silent_change(at, fields), 0))
        return journey.shipment

    def announce(self, shipment_id: int, kind: str) -> Wire:
        """Record an event of that type about a shipment, whose `updated_at` moves. Returns the event.

        Raises NotFoundError.
        """
        shipment = self.edit_shipment(shipment_id, {})
        data: Wire = {"resource": shipment, "shipment": shipment, "location": None, "containers": []}
        event = wire_objects.event(self.event_id(), kind, (self.now, self.now), data)
        self.record(event)
        return event

    def find(self, kind: str, key: str) -> Wire:
        """One object of any kind by its id as text; a port by `UNLOCODE/name`. Raises NotFoundError."""
        found = self.collections[_check_kind(kind)].find(key)
        if found is None:
            raise NotFoundError(f"There is no {kind} {key}.")
        return found

    def put(self, wire: Wire) -> None:
        """Add an object of any kind, or replace the one with its id, without an event or a new time stamp.

        Raises InvalidError for an object whose `_object` has no list.
        """
        collection = self.collections[_check_kind(str(wire.get("_object")))]
        self.revision += 1
        collection.put(wire)

    def delete(self, kind: str, key: int | str) -> None:
        """Delete an object for good, without an event; other objects still link to it.

        Raises NotFoundError.
        """
        self.find(kind, str(key))
        self.revision += 1
        self.collections[kind].delete(str(key))

    def override(self, kind: str, key: int | str, fields: Wire) -> Wire:
        """Replace fields of an object, without an event or a new time stamp.

        Later changes do not affect these fields. Returns the object. Raises NotFoundError.
        """
        self.find(kind, str(key))
        self.revision += 1
        self.collections[kind].override(str(key), fields)
        return self.find(kind, str(key))

    def export(self) -> dict[str, dict[str, Wire]]:
        """All that a mirror should contain now, by `_object` and key (see `key_of`).

        Without deleted legs, which are in no list, and events, which are not state.
        """
        return {kind: self.rows(kind) for kind in self.collections if kind != kinds.EVENT}

    def rows(self, kind: str) -> dict[str, Wire]:
        """The part of `export` with one `_object`."""
        return {key_of(row): row for row in self.collections[kind].rows() if not row.get("deleted_at")}

    def file(self, key: str) -> tuple[bytes, str]:
        """The bytes of a document and their media type. Raises NotFoundError."""
        self.find(kinds.DOCUMENT, key)
        if key in self._files:
            return self._files[key]
        number = self._documents.parse_id(key)
        if number is None:
            raise NotFoundError(f"The document {key} was put into the sandbox without a file.")
        shipment_id, place = divmod(number, PER_SHIPMENT)
        return self._documents.file(self._journeys[shipment_id], place)

    def store_file(self, key: str, body: bytes, media_type: str) -> None:
        """Keep the file of an uploaded document. Raises InvalidError once there are `MAX_FILES` bytes."""
        if sum(len(kept) for kept, _ in self._files.values()) + len(body) > MAX_FILES:
            raise InvalidError(f"The sandbox keeps at most {MAX_FILES >> 20} MiB of uploaded files.", "document")
        self._files[key] = body, media_type

    def journey(self, shipment_id: int) -> ShipmentState:
        """One shipment with its history. Raises NotFoundError."""
        journey = self._journeys.get(shipment_id)
        if journey is None or not journey.objects:
            raise NotFoundError(f"There is no shipment {shipment_id} in the sandbox.")
        return journey

    def event_id(self) -> int:
        """A new event id, higher than all before."""
        self._next_event += 1
        return self._next_event - 1

    def record(self, event: Wire) -> None:
        """Add an event to `GET /events`; the oldest is dropped."""
        self.revision += 1
        events = self.tables[kinds.EVENT]
        events[event["id"]] = event
        while len(events) > EVENTS_KEPT:
            del events[next(iter(events))]

    def _initial(self) -> list[Itinerary]:
        """The first shipments, spread evenly over all stages, the oldest booking first."""
        rng = Random(f"{self.plan.seed}/world")  # noqa: S311 (a world, not a secret)
        count = self.plan.shipments
        shares = [(place + rng.random()) / count for place in range(count)]
        rng.shuffle(shares)
        found = [plan(self.plan.seed, ordinal, self.plan.start, share) for ordinal, share in enumerate(shares)]
        return sorted(found, key=lambda one: one.booked)

    def _derived(self) -> dict[str, Collection]:
        made = [kind(self.links, self.plan.seed) for kind in _DERIVED]
        return {one.kind: DerivedCollection(one, self._journeys, lambda: self.now) for one in (*made, self._documents)}

    def _fixed(self) -> dict[str, Collection]:
        fixed = fixed_objects(self.links, self.plan.seed)
        return {kind: FixedCollection(rows) for kind, rows in fixed.items()}

    def _add_shipment(self, itinerary: Itinerary, known_since: datetime | None = None) -> None:
        sizes = {
            kinds.SHIPMENT: 1,
            kinds.LEG: len(itinerary.legs) + itinerary.rerouted,
            kinds.CONTAINER: len(itinerary.cargo.containers),
            kinds.CONTAINER_LEG: len(container_leg_pairs(itinerary)),
        }
        first = dict(self._next_ids)
        for kind, size in sizes.items():
            self._next_ids[kind] += size
        items = _FIRST_ITEM + _ITEMS_EACH * (first[kinds.SHIPMENT] - _FIRST_IDS[kinds.SHIPMENT])
        journey = ShipmentState(itinerary, ShipmentIds(first, items), self.links, known_since)
        journey.schedule(self.plan.seed)
        self._journeys[first[kinds.SHIPMENT]] = journey
        self._schedule(journey)

    def _schedule(self, journey: ShipmentState) -> None:
        if journey.upcoming:
            heapq.heappush(self._due, (journey.upcoming[0].at, journey.ids.id_of(ObjectRef(kinds.SHIPMENT))))

    def _advance_one(self, journey: ShipmentState) -> Wire | None:
        entry = journey.upcoming.popleft()
        number = self.event_id() if entry.type else 0
        self._store(journey, journey.apply(entry, number))
        self._schedule(journey)
        if entry.ends:
            self._book_next(entry.at)
        if not number:
            return None
        event = journey.event(number, entry)
        self.record(event)
        return event

    def _store(self, journey: ShipmentState, changed: set[ObjectRef]) -> None:
        for subject in changed:
            wire = journey.objects[subject]
            if wire["id"] not in self._tables[subject.kind].deleted:
                self.tables[subject.kind][wire["id"]] = wire

    def _book_next(self, ended: datetime) -> None:
        """Book a new shipment some days after one has ended, so that the world never runs out."""
        ordinal = len(self._journeys)
        rng = Random(f"{self.plan.seed}/follow/{ordinal}")  # noqa: S311 (a world, not a secret)
        known_since = max(ended, self.plan.start.astimezone(UTC))
        booked = known_since + timedelta(hours=rng.randint(4, 120))
        self._add_shipment(self._overstays.apply([plan(self.plan.seed, ordinal, booked)])[0], known_since)


def check_fields(name: str, wire: Wire, fields: Wire) -> None:
    """Raises InvalidError for a field that the object does not have."""
    for unknown in sorted(set(fields) - set(wire)):
        raise InvalidError(f"{name} has no field {unknown!r}.", unknown)


def _check_kind(kind: str) -> str:
    if kind not in kinds.ALL_PATHS:
        raise InvalidError(f"There is no list of {kind!r}: known are {', '.join(kinds.ALL_PATHS)}.", "_object")
    return kind


@contextmanager
def _gc_paused(*, keep: bool) -> Iterator[None]:
    """Make a world without garbage collection: it makes no garbage, and each collection takes as long as the world.

    With `keep`, later collections skip all that exists then: each would take seconds of a world of millions of objects,
    and delay every response.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()
