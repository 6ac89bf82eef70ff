"""What Flexport records of a shipment, and when: the data types, and the order of recording."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, LEG, SHIPMENT, Wire
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary

# Kinds of routes whose containers are the shipment's own.
FULL_CONTAINER_KINDS = frozenset({"fcl", "rail"})
# Modes that containers are loaded on and come off.
CONTAINER_MODES = frozenset({"ocean", "rail"})


class ObjectRef(NamedTuple):
    """An object of one shipment, by its `_object` and its position in the plan."""

    kind: str
    position: int = 0


THE_SHIPMENT = ObjectRef(SHIPMENT)


class LegEnd(NamedTuple):
    """One end of a leg: the location of an event."""

    leg: int
    side: str


@dataclass(frozen=True, slots=True)
class WorldEvent:
    """One recorded change: new fields of objects, and its event (none for a silent change).

    `lag`: it is entered by hand, later than it occurred. `at` is the instant of recording.
    """

    occurred: datetime
    type: str | None = None
    about: ObjectRef = THE_SHIPMENT
    where: LegEnd | None = None
    changes: Sequence[tuple[ObjectRef, Wire]] = ()
    creates: tuple[ObjectRef, ...] = ()
    lag: bool = False
    ends: bool = False
    at: datetime = field(default=datetime.max.replace(tzinfo=UTC))


def container_leg_pairs(plan: Itinerary) -> list[tuple[int, int]]:
    """Container legs as (container, leg) positions: every leg of a full container, only the voyage of a shared one."""
    if not plan.cargo.containers:
        return []
    carried = range(len(plan.legs)) if plan.route.kind in FULL_CONTAINER_KINDS else plan.route.main
    return [(box, leg) for box in range(len(plan.cargo.containers)) for leg in carried]


def containers(plan: Itinerary) -> list[ObjectRef]:
    """The shipment's containers."""
    return [ObjectRef(CONTAINER, index) for index in range(len(plan.cargo.containers))]


def container_leg(plan: Itinerary, box: int, leg: int) -> ObjectRef:
    """One container on one leg."""
    return ObjectRef(CONTAINER_LEG, container_leg_pairs(plan).index((box, leg)))


def replaced_leg(plan: Itinerary) -> ObjectRef | None:
    """The leg that a new route replaces: its position is after the real ones."""
    return ObjectRef(LEG, len(plan.legs)) if plan.rerouted else None


def recorded_order(entries: Iterable[WorldEvent], rng: Random) -> list[WorldEvent]:
    """The entries as recorded: in the order in which they occurred, each later than the one before.

    Most are entered within the hour, some the same day, a few days later: then `created_at` is after `occurred_at`.
    """
    found: list[WorldEvent] = []
    last: datetime | None = None
    for entry in sorted(entries, key=lambda one: one.occurred.astimezone(UTC)):
        at = entry.occurred.astimezone(UTC) + timedelta(milliseconds=_lag(rng) if entry.lag else rng.randint(200, 9000))
        if last is not None and at <= last:
            at = last + timedelta(milliseconds=rng.randint(1000, 90_000))
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        last = at
        found.append(replace(entry, at=at))
    return found


def _lag(rng: Random) -> int:
    minutes = rng.choices((rng.randint(2, 90), rng.randint(120, 600), rng.randint(1440, 3600)), (75, 21, 4))[0]
    return minutes * 60_000 + rng.randint(0, 59_999)


def between(begin: datetime, end: datetime, share: float) -> datetime:
    """The instant at that share of the interval, to the second."""
    start = begin.astimezone(UTC)
    return (start + (end.astimezone(UTC) - start) * share).replace(microsecond=0)


def loaded_at(plan: Itinerary, box: int, index: int) -> datetime:
    """When a container is loaded on a vessel or a train: after it was discharged from the previous one."""
    leg = plan.legs[index]
    before = plan.legs[index - 1].arrival if index else leg.departure - timedelta(days=2)
    if index and plan.legs[index - 1].route_leg.mode in CONTAINER_MODES:
        before = discharged_at(plan, box, index - 1)
    share = 0.4 + 0.5 * _random(plan).random(f"loaded/{box}/{index}")
    return between(before, leg.departure, share)


def discharged_at(plan: Itinerary, box: int, index: int) -> datetime:
    """When a container is discharged from a vessel or a train: the day after the arrival at the earliest."""
    leg, random = plan.legs[index], _random(plan)
    after = plan.legs[index + 1].departure if index + 1 < len(plan.legs) else leg.arrival + timedelta(days=3)
    off = between(leg.arrival, after, 0.05 + 0.25 * random.random(f"discharged/{box}/{index}"))
    morning = midnight(leg.arrival, leg.arrival + timedelta(days=1)) + timedelta(
        minutes=random.randint(f"morning/{box}/{index}", 50, 250)
    )
    return max(off, morning.astimezone(UTC))


def midnight(place: datetime, moment: datetime) -> datetime:
    """The beginning of a moment's day, in the zone of another moment."""
    there = moment.astimezone(place.tzinfo)
    return there.replace(hour=0, minute=0, second=0, microsecond=0)


def _random(plan: Itinerary) -> KeyedRandom:
    return KeyedRandom(plan.seed, f"containers/{plan.ordinal}")


def silent_change(at: datetime, fields: Wire) -> WorldEvent:
    """A change of the shipment without an event, such as of its metadata."""
    return WorldEvent(occurred=at, changes=((THE_SHIPMENT, fields),), at=at)
