"""The seeded world: a book of shipments in motion, and the events they have caused so far.

Deterministic: the same `WorldPlan`, advanced to the same instants, holds the same objects and tells the same events.
Objects and events are shared, never copied and never changed in place: copy one before you edit it.
"""

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.happenings import Subject, box_legs, silent
from flexportd.sandbox.itinerary import Itinerary, plan
from flexportd.sandbox.journey import Journey, Numbers
from flexportd.sandbox.shapes import CONTAINER, CONTAINER_LEG, EVENT, LEG, SHIPMENT, Links, Wire

EVENTS_KEPT = 20_000
_FIRST_EVENT = 730_000
_FIRST_IDS = {SHIPMENT: 910_233, LEG: 8_800_412, CONTAINER: 555_001, CONTAINER_LEG: 1_493_765}
_FIRST_ITEM, _ITEMS_EACH = 2_300_100, 50


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """What a world is made from. Links in its objects point to `link_base`."""

    start: datetime
    seed: int = 7
    shipments: int = 40
    link_base: str = "https://api.flexport.com"


class World:
    """Shipments, legs, containers, container legs and events (`tables`, by `_object` and id) at the instant `now`."""

    def __init__(self, plan: WorldPlan) -> None:
        self.plan = plan
        self.now = datetime.min.replace(tzinfo=UTC)
        self.tables: dict[str, dict[int, Wire]] = {kind: {} for kind in (*_FIRST_IDS, EVENT)}
        self._links = Links(plan.link_base)
        self._next_ids = dict(_FIRST_IDS)
        self._next_event = _FIRST_EVENT
        self._journeys: dict[int, Journey] = {}
        # When the next happening of each shipment is recorded.
        self._due: list[tuple[datetime, int]] = []
        for itinerary in self._initial():
            self._begin(itinerary)
        self.advance(plan.start)

    @property
    def events(self) -> list[Wire]:
        """The last 20,000 events, oldest first."""
        return list(self.tables[EVENT].values())

    def advance(self, to: datetime) -> list[Wire]:
        """Move the world to that instant and return the events this causes, in order. The past changes nothing."""
        found: list[Wire] = []
        while self._due and self._due[0][0] <= to:
            _, shipment_id = heapq.heappop(self._due)
            event = self._happen(self._journeys[shipment_id])
            if event is not None:
                found.append(event)
        self.now = max(self.now, to.astimezone(UTC))
        return found

    def backlog(self) -> list[Wire]:
        """Every event since the oldest shipment was booked: who applies them in order knows the world as it is."""
        events = [event for journey in self._journeys.values() for event in journey.replay()]
        return sorted(events, key=lambda event: int(event["id"]))

    def amend(self, shipment_id: int, fields: Wire) -> Wire:
        """Change a shipment silently, as a person at Flexport might; its `updated_at` moves. Returns the new shipment.

        Raises NotFoundError, or InvalidError for a field that shipments do not have.
        """
        journey = self.journey(shipment_id)
        unknown = sorted(set(fields) - set(journey.shipment))
        if unknown:
            raise InvalidError(f"A shipment has no field {unknown[0]!r}.", unknown[0])
        last = datetime.fromisoformat(journey.shipment["updated_at"])
        at = max(self.now, last + timedelta(milliseconds=200))
        self._store(journey, journey.apply(silent(at, fields), 0))
        return journey.shipment

    def journey(self, shipment_id: int) -> Journey:
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
        """Keep an event for `GET /events`; the oldest makes room."""
        kept = self.tables[EVENT]
        kept[event["id"]] = event
        while len(kept) > EVENTS_KEPT:
            del kept[next(iter(kept))]

    def _initial(self) -> list[Itinerary]:
        """The first shipments, spread evenly over all stages, the oldest booking first."""
        rng = Random(f"{self.plan.seed}/world")  # noqa: S311 (a world, not a secret)
        count = self.plan.shipments
        shares = [(place + rng.random()) / count for place in range(count)]
        rng.shuffle(shares)
        found = [plan(self.plan.seed, ordinal, self.plan.start, share) for ordinal, share in enumerate(shares)]
        return sorted(found, key=lambda one: one.booked)

    def _begin(self, itinerary: Itinerary) -> None:
        """Give a planned shipment its ids and put its story on the agenda."""
        sizes = {
            SHIPMENT: 1,
            LEG: len(itinerary.legs) + itinerary.rerouted,
            CONTAINER: len(itinerary.cargo.boxes),
            CONTAINER_LEG: len(box_legs(itinerary)),
        }
        first = dict(self._next_ids)
        for kind, size in sizes.items():
            self._next_ids[kind] += size
        items = _FIRST_ITEM + _ITEMS_EACH * (first[SHIPMENT] - _FIRST_IDS[SHIPMENT])
        journey = Journey(itinerary, Numbers(first, items), self._links)
        journey.begin(self.plan.seed)
        self._journeys[first[SHIPMENT]] = journey
        self._put_on_agenda(journey)

    def _put_on_agenda(self, journey: Journey) -> None:
        if journey.to_come:
            heapq.heappush(self._due, (journey.to_come[0].at, journey.numbers.of(Subject(SHIPMENT))))

    def _happen(self, journey: Journey) -> Wire | None:
        """Record the next thing of a shipment: store what it changes, keep and return its event."""
        happening = journey.to_come.popleft()
        number = self.event_id() if happening.type else 0
        self._store(journey, journey.apply(happening, number))
        self._put_on_agenda(journey)
        if happening.ends:
            self._follow(happening.at)
        if not number:
            return None
        event = journey.event(number, happening)
        self.record(event)
        return event

    def _store(self, journey: Journey, changed: set[Subject]) -> None:
        for subject in changed:
            wire = journey.objects[subject]
            self.tables[subject.kind][wire["id"]] = wire

    def _follow(self, ended: datetime) -> None:
        """Book a new shipment some days after one has ended: the world never runs dry."""
        ordinal = len(self._journeys)
        rng = Random(f"{self.plan.seed}/follow/{ordinal}")  # noqa: S311 (a world, not a secret)
        booked = max(ended, self.plan.start.astimezone(UTC)) + timedelta(hours=rng.randint(4, 120))
        self._begin(plan(self.plan.seed, ordinal, booked))
