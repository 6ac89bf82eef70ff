"""The seeded plan of one shipment: its route, its cargo, when each leg was planned and when it really runs.

Pure: the same seed, ordinal and instants give the same plan. What Flexport learns of it, and when, is `happenings`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from flexportd.sandbox.cargo import Cargo, load
from flexportd.sandbox.places import Place
from flexportd.sandbox.routes import Route, Stretch, choose_route
from flexportd.sandbox.vehicles import Vehicle, vehicle_for


@dataclass(frozen=True, slots=True)
class Leg:
    """One movement: the stretch, its vehicle, and its planned and true times in the zones of its two ends."""

    stretch: Stretch
    vehicle: Vehicle
    planned_departure: datetime
    planned_arrival: datetime
    departure: datetime
    arrival: datetime


@dataclass(frozen=True, slots=True)
class Slip:
    """A change of schedule: `days` more (or fewer) from leg `leg` on, known at `known`; `reason` is an event type."""

    leg: int
    days: int
    known: datetime
    at_departure: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Everything that will ever happen to one shipment; `seed` and `ordinal` are what it was made from."""

    seed: int
    ordinal: int
    route: Route
    booked: datetime
    legs: tuple[Leg, ...]
    slips: tuple[Slip, ...]
    cargo: Cargo
    rerouted: bool

    @property
    def first_main(self) -> Leg:
        """The leg whose departure is the shipment's."""
        return self.legs[self.route.main[0]]

    @property
    def last_main(self) -> Leg:
        """The leg whose arrival is the shipment's."""
        return self.legs[self.route.main[-1]]


_REASONS = {
    "ocean": (
        "/shipment#vessel_delay_port_congestion",
        "/shipment#vessel_delay_schedule_updated_by_carrier",
        "/shipment#weather_delay",
        None,
        None,
    ),
    "air": ("/shipment#flight_delay_mechanical", "/shipment#flight_delay_schedule_updated_by_carrier", None),
    "rail": ("/shipment#rail_interchange_delay", "/shipment#rail_transfer_delay", None),
    "truck": ("/shipment#trucking_delay_traffic", "/shipment#trucking_delay_other", None),
}
_MISSED = {
    "ocean": "/shipment#cargo_rolled_from_booked_vessel",
    "air": "/shipment#cargo_bumped_from_booked_flight",
    "rail": "/shipment#rail_car_equipment_breakdown",
    "truck": "/shipment#trucker_rejected",
}
# The share of its planned days that a leg takes at least.
_FASTEST = {"ocean": 0.75, "air": 0.0, "rail": 0.6, "truck": 0.0}
_LONGEST_SLIP = {"ocean": 8, "air": 2, "rail": 4, "truck": 1}


def plan(seed: int, ordinal: int, start: datetime, progress: float | None = None) -> Itinerary:
    """Plan shipment number `ordinal`.

    Without `progress` it is booked at `start`; with it, it stands at that share of its stages at `start`.
    """
    rng = Random(f"{seed}/itinerary/{ordinal}")  # noqa: S311 (a world, not a secret)
    route = choose_route(rng)
    offsets = _offsets(route)
    age = 0.0 if progress is None else _age(offsets, progress, rng)
    booked = (start - timedelta(days=age)).astimezone(UTC)
    booked = booked.replace(microsecond=booked.microsecond // 1000 * 1000)
    planned = [
        _planned(stretch, booked, days)
        for stretch, days in zip(route.stretches, offsets[1 : len(offsets) - 1], strict=True)
    ]
    slips = _slips(route, planned, rng)
    legs = _run(route, planned, slips, (booked + timedelta(hours=24), rng))
    slips = tuple(replace(slip, known=_known(slip, legs, rng)) for slip in slips)
    return Itinerary(
        seed, ordinal, route, booked, legs, slips, load(route, rng), rerouted=route.has_delivery and rng.random() < 0.12
    )


def _offsets(route: Route) -> list[tuple[float, float]]:
    """Days from the booking of each stage's begin and end: lead time, every leg, and ten days of afterlife."""
    found = [(0.0, float(route.lead_days))]
    clock = float(route.lead_days)
    for stretch in route.stretches:
        begin = clock + stretch.wait
        clock = begin + stretch.days
        found.append((begin, clock))
    return [*found, (clock, clock + 10)]


def _age(offsets: list[tuple[float, float]], progress: float, rng: Random) -> float:
    """How old a shipment is at that share of its way: half by time, half by stage, so no stage is empty."""
    if rng.random() < 0.5:
        return offsets[-1][1] * progress
    edges = [0.0] + [edge for pair in offsets[1:] for edge in pair]
    stage = min(int(progress * (len(edges) - 1)), len(edges) - 2)
    return edges[stage] + (edges[stage + 1] - edges[stage]) * rng.uniform(0.1, 0.95)


def _noon(place: Place, booked: datetime, days: float) -> datetime:
    moment = (booked + timedelta(days=round(days))).astimezone(place.zone)
    return moment.replace(hour=12, minute=0, second=0, microsecond=0)


def _planned(stretch: Stretch, booked: datetime, days: tuple[float, float]) -> tuple[datetime, datetime]:
    """Planned times: noon of the place, as in nine of ten recorded ones."""
    return _noon(stretch.origin.place, booked, days[0]), _noon(stretch.destination.place, booked, days[1])


def _slips(route: Route, planned: list[tuple[datetime, datetime]], rng: Random) -> tuple[Slip, ...]:
    found: list[Slip] = []
    for index, stretch in enumerate(route.stretches):
        likely = 0.45 if index in route.main else 0.08
        longest = _LONGEST_SLIP[stretch.mode]
        if index in route.main and rng.random() < 0.1:
            found.append(Slip(index, rng.randint(1, longest), planned[index][0], True, _MISSED[stretch.mode]))
        if rng.random() < likely:
            early = rng.random() < 0.15 and stretch.days > 4
            reason = None if early else rng.choice(_REASONS[stretch.mode])
            days = -1 if early else rng.randint(1, longest)
            found.append(Slip(index, days, planned[index][0], False, reason))
    return tuple(found)


def _run(
    route: Route, planned: list[tuple[datetime, datetime]], slips: tuple[Slip, ...], chance: tuple[datetime, Random]
) -> tuple[Leg, ...]:
    """True times: the plan, what slipped, and a little luck; never before what must come first."""
    free_from, rng = chance
    legs: list[Leg] = []
    shift = 0
    for index, stretch in enumerate(route.stretches):
        shift += sum(slip.days for slip in slips if slip.leg == index and slip.at_departure)
        departure = _actual(planned[index][0] + timedelta(days=shift + _luck(rng)), free_from, rng)
        shift += sum(slip.days for slip in slips if slip.leg == index and not slip.at_departure)
        silent = rng.randint(2, 5) if index in route.main and rng.random() < 0.12 and stretch.days > 4 else 0
        soonest = departure + timedelta(days=_FASTEST[stretch.mode] * stretch.days)
        arrival = _actual(planned[index][1] + timedelta(days=shift + silent + _luck(rng)), soonest, rng)
        legs.append(Leg(stretch, vehicle_for(stretch, rng), *planned[index], departure, arrival))
        free_from = arrival
    return tuple(legs)


def _luck(rng: Random) -> int:
    return rng.choices((0, 1, -1), (80, 15, 5))[0]


def _actual(moment: datetime, after: datetime, rng: Random) -> datetime:
    """Noon mostly; an hour of its own in one of ten, or when noon would come too early."""
    if rng.random() < 0.08:
        moment = moment.replace(hour=rng.randint(5, 22), minute=rng.choice((0, 15, 30, 45)))
    if moment.astimezone(UTC) >= after.astimezone(UTC) + timedelta(hours=5):
        return moment
    later = (after.astimezone(UTC) + timedelta(hours=rng.randint(5, 9))).astimezone(moment.tzinfo)
    return later.replace(minute=later.minute // 15 * 15, second=0, microsecond=0)


def _known(slip: Slip, legs: tuple[Leg, ...], rng: Random) -> datetime:
    """When the carrier tells: before the departure that slips, or on the way."""
    leg = legs[slip.leg]
    if slip.at_departure:
        before = slip.known.astimezone(UTC) - timedelta(hours=rng.randint(4, 40))
        return min(before, leg.departure.astimezone(UTC) - timedelta(hours=2))
    begin, end = leg.departure.astimezone(UTC), leg.arrival.astimezone(UTC)
    return begin + (end - begin) * rng.uniform(0.15, 0.8)
