"""The seeded plan of one shipment: its route, its cargo, when each leg was planned and when it really runs.

Pure: the same seed, ordinal and instants give the same plan. What Flexport learns of it, and when, is `happenings`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

from flexportd.sandbox.catalog.cargo import Cargo, load
from flexportd.sandbox.catalog.places import Place
from flexportd.sandbox.catalog.routes import Route, Stretch, choose_route
from flexportd.sandbox.catalog.schedules import Flight, Service
from flexportd.sandbox.catalog.vehicles import Vehicle, sailing, vehicle_for


@dataclass(frozen=True, slots=True)
class Leg:
    """One movement: the stretch, its vehicle, and its planned and true times in the zones of its two ends.

    `booked_vehicle` is the one that the cargo was booked on: it may miss it.
    """

    stretch: Stretch
    booked_vehicle: Vehicle
    vehicle: Vehicle
    planned_departure: datetime
    planned_arrival: datetime
    departure: datetime
    arrival: datetime


@dataclass(frozen=True, slots=True)
class Slip:
    """A change of schedule: `days` more (or fewer) from leg `leg` to leg `last`, known at `known`.

    `reason` is an event type; with `rolled` the leg has another vehicle from then on.
    """

    leg: int
    last: int
    days: int
    known: datetime
    at_departure: bool
    reason: str | None
    rolled: bool = False


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Everything that will ever happen to one shipment; `seed` and `ordinal` are what it was made from.

    `booked` is when the client asked for it, `answered` when Flexport accepted.
    """

    seed: int
    ordinal: int
    route: Route
    booked: datetime
    answered: datetime
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


def is_brokered(plan: Itinerary) -> bool:
    """Whether Flexport clears this shipment."""
    ends = plan.legs[0].stretch.origin.place.country_code, plan.legs[-1].stretch.destination.place.country_code
    return ends[0] != ends[1] and plan.cargo.consignee.vat is None


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
_LONGEST_SLIP = {"ocean": 8, "air": 2, "rail": 4, "truck": 1}


def plan(seed: int, ordinal: int, start: datetime, progress: float | None = None) -> Itinerary:
    """Plan shipment number `ordinal`.

    Without `progress` it is booked at `start`; with it, it stands at about that share of its stages at `start`.
    """
    rng = Random(f"{seed}/itinerary/{ordinal}")  # noqa: S311 (a world, not a secret)
    route = choose_route(rng)
    offsets = _offsets(route)
    age = 0.0 if progress is None else _age(offsets, progress, rng)
    booked = (start - timedelta(days=age)).astimezone(UTC)
    if progress is not None:
        booked = _on_time(route, booked, start)
    booked = booked.replace(microsecond=booked.microsecond // 1000 * 1000)
    planned, weeks = _timetable(route, booked)
    legs, slips = _run(route, planned, _Chance(seed, weeks, booked + timedelta(hours=24), rng))
    slips = tuple(replace(slip, known=_known(slip, legs, rng)) for slip in slips)
    cargo = load(route, rng)
    rerouted = route.has_delivery and rng.random() < 0.12
    answered = booked + _patience(planned[0][0] - booked, rng)
    return Itinerary(seed, ordinal, route, booked, answered, legs, slips, cargo, rerouted=rerouted)


def _patience(lead: timedelta, rng: Random) -> timedelta:
    """How long Flexport takes to answer a booking: hours mostly, half of the lead time for one of four long ones."""
    if rng.random() < 0.25 and lead > timedelta(days=7):
        return timedelta(minutes=int(lead.total_seconds() / 60 * rng.uniform(0.45, 0.65)))
    return min(timedelta(minutes=rng.randint(120, 1800)), lead / 8)


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


def _on_time(route: Route, booked: datetime, start: datetime) -> datetime:
    """The booking moved by some days, so that the vessel it leads to sails without another wait."""
    late = _late(route, booked)
    if late <= 3 and booked + timedelta(days=late) < start:
        return booked + timedelta(days=late)
    return booked - timedelta(days=7 - late)


def _late(route: Route, booked: datetime) -> int:
    """Days that everything waits for the next sailing of the first vessel."""
    first = route.stretches[route.main[0]]
    if first.line is None or first.mode != "ocean":
        return 0
    soonest = booked.date() + timedelta(days=int(_offsets(route)[1 + route.main[0]][0]))
    port = first.origin.place.key
    return (first.line.departure(port, first.line.week(port, soonest)) - soonest).days


def _timetable(route: Route, booked: datetime) -> tuple[list[tuple[datetime, datetime]], dict[int, int]]:
    """The planned times of every leg, and the weeks of the sailings among them.

    Noon of the place, as in nine of ten recorded times; flights have hours of their own.
    """
    day = booked.date() + timedelta(days=route.lead_days + _late(route, booked))
    found: list[tuple[datetime, datetime]] = []
    weeks: dict[int, int] = {}
    for index, stretch in enumerate(route.stretches):
        day += timedelta(days=stretch.wait)
        if stretch.flight is not None:
            times = _flight(stretch, day, found[-1][1])
        else:
            if stretch.mode == "ocean" and stretch.line is not None:
                port = stretch.origin.place.key
                weeks[index] = stretch.line.week(port, day)
                day = stretch.line.departure(port, weeks[index])
            times = _noon(stretch.origin.place, day), _noon(stretch.destination.place, day + timedelta(stretch.days))
        found.append(times)
        day = times[1].date()
    return found, weeks


def _noon(place: Place, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=place.zone)


def _flight(stretch: Stretch, day: date, free_from: datetime) -> tuple[datetime, datetime]:
    """A daily flight on that day, or the first one that leaves four hours after the cargo is there."""
    flight: Flight = stretch.flight  # type: ignore[assignment]
    departure = datetime(day.year, day.month, day.day, flight.hour, flight.minute, tzinfo=stretch.origin.place.zone)
    while departure.astimezone(UTC) < free_from.astimezone(UTC) + timedelta(hours=4):
        departure += timedelta(days=1)
    return departure, _landing(stretch, departure, flight.minutes)


def _landing(stretch: Stretch, departure: datetime, minutes: int) -> datetime:
    arrival = departure.astimezone(UTC) + timedelta(minutes=minutes)
    return arrival.astimezone(stretch.destination.place.zone)


@dataclass(frozen=True, slots=True)
class _Passage:
    """What becomes of one sailing, the same for all its cargo.

    `late` are days at every port of loading, `longer` those on the way that are told, `untold` those that are not.
    """

    late: int
    longer: int
    untold: int
    reasons: tuple[str | None, str | None]


def _passage(seed: int, line: Service, week: int) -> _Passage:
    rng = Random(f"{seed}/passage/{line.number}/{week}")  # noqa: S311 (a world, not a secret)
    reasons = rng.choice(_REASONS["ocean"]), rng.choice(_REASONS["ocean"])
    if line.calls[-1][1] < 10:
        return _Passage(rng.choices((0, 1), (85, 15))[0], rng.choices((0, 1), (80, 20))[0], 0, reasons)
    late = rng.choices((0, 1, 2), (70, 20, 10))[0]
    longer = rng.choices((0, -1, rng.randint(1, 3), rng.randint(4, _LONGEST_SLIP["ocean"])), (50, 8, 27, 15))[0]
    untold = rng.randint(2, 5) if rng.random() < 0.12 else 0
    return _Passage(late, longer, untold, reasons)


@dataclass(frozen=True, slots=True)
class _Chance:
    """What true times depend on: the weeks of the planned sailings, and when the cargo can leave at the earliest."""

    seed: int
    weeks: dict[int, int]
    free_from: datetime
    rng: Random


def _run(
    route: Route, planned: list[tuple[datetime, datetime]], chance: _Chance
) -> tuple[tuple[Leg, ...], tuple[Slip, ...]]:
    """True times: the plan, what slipped, and a little luck; never before what must come first."""
    free_from, rng = chance.free_from, chance.rng
    legs: list[Leg] = []
    slips: list[Slip] = []
    for index, stretch in enumerate(route.stretches):
        shift = sum(slip.days for slip in slips if slip.last >= index)
        moved = planned[index][0] + timedelta(days=shift), planned[index][1] + timedelta(days=shift)
        if index in chance.weeks:
            leg, found = _sail(route, index, planned[index], (chance, free_from))
        elif stretch.flight is not None:
            leg, found = _fly(route, index, (planned[index], moved), (free_from, rng))
        else:
            leg, found = _drive(route, index, (planned[index], moved), (free_from, rng))
        legs.append(leg)
        slips += found
        free_from = leg.arrival
    return tuple(legs), tuple(slips)


def _last_moved(route: Route, index: int) -> int:
    """The last leg that moves with one: a vessel or a plane waits for nobody."""
    scheduled = [at for at, one in enumerate(route.stretches) if at > index and (one.flight or one.mode == "ocean")]
    return scheduled[0] - 1 if scheduled else len(route.stretches) - 1


def _sail(
    route: Route, index: int, planned: tuple[datetime, datetime], fate: tuple[_Chance, datetime]
) -> tuple[Leg, list[Slip]]:
    """By the sailing that was booked, or by a later one that the cargo was rolled to."""
    chance, free_from = fate
    stretch, last = route.stretches[index], _last_moved(route, index)
    line: Service = stretch.line  # type: ignore[assignment]
    week = chance.weeks[index]
    rolled = 1 if index == route.main[0] and chance.rng.random() < 0.08 else 0
    while True:
        passage = _passage(chance.seed, line, week + rolled)
        departure = planned[0] + timedelta(days=7 * rolled + passage.late)
        if departure.astimezone(UTC) >= free_from.astimezone(UTC) + timedelta(hours=5):
            break
        rolled += 1
    arrival = planned[1] + timedelta(days=7 * rolled + passage.late + passage.longer + passage.untold)
    slips: list[Slip] = []
    if rolled:
        slips.append(Slip(index, last, 7 * rolled, planned[0], at_departure=True, reason=_MISSED["ocean"], rolled=True))
    if passage.late:
        slips.append(Slip(index, last, passage.late, departure, at_departure=True, reason=passage.reasons[0]))
    if passage.longer:
        reason = passage.reasons[1] if passage.longer > 0 else None
        slips.append(Slip(index, last, passage.longer, departure, at_departure=False, reason=reason))
    return Leg(stretch, sailing(line, week), sailing(line, week + rolled), *planned, departure, arrival), slips


def _fly(
    route: Route,
    index: int,
    times: tuple[tuple[datetime, datetime], tuple[datetime, datetime]],
    fate: tuple[datetime, Random],
) -> tuple[Leg, list[Slip]]:
    """On the day that was booked, or some days later at the same hour."""
    planned, moved = times
    free_from, rng = fate
    stretch = route.stretches[index]
    draw = rng.random()
    days = rng.randint(1, _LONGEST_SLIP["air"]) if draw < 0.4 else 0
    departure = moved[0] + timedelta(days=days)
    while departure.astimezone(UTC) < free_from.astimezone(UTC) + timedelta(hours=4):
        departure, days = departure + timedelta(days=1), days + 1
    flight: Flight = stretch.flight  # type: ignore[assignment]
    # Minutes of luck: doors close late, winds differ.
    departure += timedelta(minutes=rng.choice((0, 0, 5, 10, 20, 35)))
    arrival = _landing(stretch, departure, flight.minutes + rng.choice((-20, -10, 0, 0, 10, 15)))
    vehicle = vehicle_for(stretch, rng)
    leg = Leg(stretch, vehicle, vehicle, *planned, departure, arrival)
    if not days:
        return leg, []
    reason = _MISSED["air"] if draw < 0.1 else rng.choice(_REASONS["air"])
    last = len(route.stretches) - 1
    return leg, [Slip(index, last, days, departure - timedelta(days=days), at_departure=True, reason=reason)]


def _drive(
    route: Route,
    index: int,
    times: tuple[tuple[datetime, datetime], tuple[datetime, datetime]],
    fate: tuple[datetime, Random],
) -> tuple[Leg, list[Slip]]:
    """By truck or train: about as planned, and not before the cargo is there."""
    planned, moved = times
    free_from, rng = fate
    stretch, last = route.stretches[index], _last_moved(route, index)
    main = index in route.main
    # What waits for a vessel leaves in time; the trucker is never a week late.
    luck = _luck(rng) if index >= route.main[0] else 0
    departure = _actual(moved[0] + timedelta(days=luck), free_from, rng)
    slips: list[Slip] = []
    if rng.random() < (0.4 if main and stretch.mode == "rail" else 0.08):
        days = rng.randint(1, _LONGEST_SLIP[stretch.mode])
        reason = rng.choice(_REASONS[stretch.mode])
        slips.append(Slip(index, last, days, departure, at_departure=False, reason=reason))
    shift = sum(slip.days for slip in slips) + (_luck(rng) if main else 0)
    # As long on the way as was planned, whenever it left.
    begun = (departure.date() - moved[0].date()).days
    arrival = _actual(moved[1] + timedelta(days=max(begun, 0) + shift), departure, rng)
    vehicle = vehicle_for(stretch, rng)
    return Leg(stretch, vehicle, vehicle, *planned, departure, arrival), slips


def _luck(rng: Random) -> int:
    return rng.choices((0, 1, -1), (80, 15, 5))[0]


def _actual(moment: datetime, after: datetime, rng: Random) -> datetime:
    """Noon mostly, of the first day that is not too early; an hour of its own in one of sixteen."""
    while moment.astimezone(UTC) < after.astimezone(UTC) + timedelta(hours=5):
        moment += timedelta(days=1)
    if rng.random() < 0.06:
        return moment.replace(hour=rng.randint(12, 20), minute=rng.choice((0, 15, 30, 45)))
    return moment


def _known(slip: Slip, legs: tuple[Leg, ...], rng: Random) -> datetime:
    """When the carrier tells: before the departure that slips, or on the way."""
    leg = legs[slip.leg]
    if slip.at_departure:
        before = slip.known.astimezone(UTC) - timedelta(hours=rng.randint(4, 40))
        return min(before, leg.departure.astimezone(UTC) - timedelta(hours=2))
    begin, end = leg.departure.astimezone(UTC), leg.arrival.astimezone(UTC)
    return begin + (end - begin) * rng.uniform(0.15, 0.8)
