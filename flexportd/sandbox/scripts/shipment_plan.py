"""The seeded plan of one shipment: its route, its cargo, and the planned and actual times of each leg.

Pure: the same seed, ordinal and instants give the same plan. What Flexport records of it, and when, is `world_events`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from random import Random

from flexportd.sandbox.catalog.cargo import ShipmentCargo, load_cargo
from flexportd.sandbox.catalog.places import WorldPlace
from flexportd.sandbox.catalog.routes import RouteLeg, RoutePlan, choose_route
from flexportd.sandbox.catalog.schedules import Flight, Service
from flexportd.sandbox.catalog.vehicles import Vehicle, sailing, vehicle_for
from flexportd.sandbox.rng import KeyedRandom

Times = tuple[datetime, datetime]
"""Departure and arrival, in the zones of their places."""


@dataclass(frozen=True, slots=True)
class ItineraryLeg:
    """One movement: its leg of the route, its vehicle, and its planned and actual times.

    The cargo was booked on `booked_vehicle`, which it may miss.
    """

    route_leg: RouteLeg
    booked_vehicle: Vehicle
    vehicle: Vehicle
    planned_departure: datetime
    planned_arrival: datetime
    departure: datetime
    arrival: datetime


@dataclass(frozen=True, slots=True)
class ScheduleSlip:
    """A change of schedule: `days` more (or fewer) from leg `leg` to leg `last`, known at `known_at`.

    `reason` is an event type; with `rolled` the leg has another vehicle from then on.
    """

    leg: int
    last: int
    days: int
    known_at: datetime
    at_departure: bool
    reason: str | None
    rolled: bool = False


@dataclass(frozen=True, slots=True)
class Itinerary:
    """The whole life of one shipment, made from `seed` and `ordinal`.

    `booked` is when the client requested it, `answered` when Flexport accepted.
    """

    seed: int
    ordinal: int
    route: RoutePlan
    booked: datetime
    answered: datetime
    legs: tuple[ItineraryLeg, ...]
    slips: tuple[ScheduleSlip, ...]
    cargo: ShipmentCargo
    rerouted: bool

    @property
    def first_main(self) -> ItineraryLeg:
        """The leg whose departure is the shipment's."""
        return self.legs[self.route.main[0]]

    @property
    def last_main(self) -> ItineraryLeg:
        """The leg whose arrival is the shipment's."""
        return self.legs[self.route.main[-1]]

    @property
    def cargo_ready(self) -> str:
        """The day before the departure, as a plain date."""
        return (self.legs[0].planned_departure - timedelta(days=1)).date().isoformat()


def is_brokered(plan: Itinerary) -> bool:
    """Whether Flexport is the customs broker of this shipment."""
    ends = plan.legs[0].route_leg.origin.place.country_code, plan.legs[-1].route_leg.destination.place.country_code
    return ends[0] != ends[1] and plan.cargo.consignee.vat is None


def booking_random(plan: Itinerary) -> KeyedRandom:
    """The random values of the shipment's booking."""
    return KeyedRandom(plan.seed, f"booking/{plan.ordinal}")


def was_booked(plan: Itinerary) -> bool:
    """Whether the shipment came from a booking; there are none for rail."""
    return plan.route.mode != "rail" and booking_random(plan).random("none") >= 0.06


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
_MISSED_REASONS = {
    "ocean": "/shipment#cargo_rolled_from_booked_vessel",
    "air": "/shipment#cargo_bumped_from_booked_flight",
    "rail": "/shipment#rail_car_equipment_breakdown",
    "truck": "/shipment#trucker_rejected",
}
_LONGEST_SLIP = {"ocean": 8, "air": 2, "rail": 4, "truck": 1}


def plan(seed: int, ordinal: int, start: datetime, progress: float | None = None) -> Itinerary:
    """Plan shipment number `ordinal`.

    Without `progress` it is booked at `start`; with it, it has gone through about that share of its stages by `start`.
    """
    rng = Random(f"{seed}/itinerary/{ordinal}")  # noqa: S311 (a world, not a secret)
    route = choose_route(rng)
    offsets = _offsets(route)
    age = 0.0 if progress is None else _age(offsets, progress, rng)
    booked = (start - timedelta(days=age)).astimezone(UTC)
    if progress is not None:
        booked = _align_to_sailing(route, booked, start)
    booked = booked.replace(microsecond=booked.microsecond // 1000 * 1000)
    planned, weeks = _timetable(route, booked)
    legs, slips = _actual_times(seed, route, planned, weeks, free_from=booked + timedelta(hours=24), rng=rng)
    slips = tuple(replace(slip, known_at=_known_at(slip, legs, rng)) for slip in slips)
    cargo = load_cargo(route, rng)
    rerouted = route.has_delivery and rng.random() < 0.12
    answered = booked + _answer_time(planned[0][0] - booked, rng)
    return Itinerary(seed, ordinal, route, booked, answered, legs, slips, cargo, rerouted=rerouted)


def _answer_time(lead: timedelta, rng: Random) -> timedelta:
    """How long Flexport takes to accept a booking: mostly hours; half of the lead time for one in four long ones."""
    if rng.random() < 0.25 and lead > timedelta(days=7):
        return timedelta(minutes=int(lead.total_seconds() / 60 * rng.uniform(0.45, 0.65)))
    return min(timedelta(minutes=rng.randint(120, 1800)), lead / 8)


def _offsets(route: RoutePlan) -> list[tuple[float, float]]:
    """Begin and end of each stage in days from the booking: lead time, every leg, and ten days after delivery."""
    found = [(0.0, float(route.lead_days))]
    clock = float(route.lead_days)
    for stretch in route.legs:
        begin = clock + stretch.wait
        clock = begin + stretch.days
        found.append((begin, clock))
    return [*found, (clock, clock + 10)]


def _age(offsets: list[tuple[float, float]], progress: float, rng: Random) -> float:
    """The age in days at that progress: half by time, half by stage, so that no stage is empty."""
    if rng.random() < 0.5:
        return offsets[-1][1] * progress
    edges = [0.0] + [edge for pair in offsets[1:] for edge in pair]
    stage = min(int(progress * (len(edges) - 1)), len(edges) - 2)
    return edges[stage] + (edges[stage + 1] - edges[stage]) * rng.uniform(0.1, 0.95)


def _align_to_sailing(route: RoutePlan, booked: datetime, start: datetime) -> datetime:
    """The booking moved by some days, so that the cargo need not wait for its vessel."""
    late = _days_to_sailing(route, booked)
    if late <= 3 and booked + timedelta(days=late) < start:
        return booked + timedelta(days=late)
    return booked - timedelta(days=7 - late)


def _days_to_sailing(route: RoutePlan, booked: datetime) -> int:
    first = route.legs[route.main[0]]
    if first.line is None or first.mode != "ocean":
        return 0
    soonest = booked.date() + timedelta(days=int(_offsets(route)[1 + route.main[0]][0]))
    port = first.origin.place.key
    return (first.line.departure(port, first.line.week(port, soonest)) - soonest).days


def _timetable(route: RoutePlan, booked: datetime) -> tuple[list[Times], dict[int, int]]:
    """The planned times of every leg, and the weeks of the sailings among them.

    Noon of the place, as in nine of ten recorded times; flights have their own hours.
    """
    day = booked.date() + timedelta(days=route.lead_days + _days_to_sailing(route, booked))
    found: list[Times] = []
    weeks: dict[int, int] = {}
    for index, stretch in enumerate(route.legs):
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


def _noon(place: WorldPlace, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=place.zone)


def _flight(stretch: RouteLeg, day: date, free_from: datetime) -> Times:
    """A daily flight on that day, or the first one at least four hours after the cargo arrives."""
    flight: Flight = stretch.flight  # type: ignore[assignment]
    departure = datetime(day.year, day.month, day.day, flight.hour, flight.minute, tzinfo=stretch.origin.place.zone)
    while departure.astimezone(UTC) < free_from.astimezone(UTC) + timedelta(hours=4):
        departure += timedelta(days=1)
    return departure, _landing(stretch, departure, flight.minutes)


def _landing(stretch: RouteLeg, departure: datetime, minutes: int) -> datetime:
    arrival = departure.astimezone(UTC) + timedelta(minutes=minutes)
    return arrival.astimezone(stretch.destination.place.zone)


@dataclass(frozen=True, slots=True)
class _SailingDelays:
    """The delays of one sailing in days, the same for all its cargo.

    `late` applies at every port of loading, `longer` to the voyage; `unannounced` ones have no event.
    """

    late: int
    longer: int
    unannounced: int
    reasons: tuple[str | None, str | None]


def _sailing_delays(seed: int, line: Service, week: int) -> _SailingDelays:
    rng = Random(f"{seed}/passage/{line.number}/{week}")  # noqa: S311 (a world, not a secret)
    reasons = rng.choice(_REASONS["ocean"]), rng.choice(_REASONS["ocean"])
    if line.calls[line.last_port] < 10:
        return _SailingDelays(rng.choices((0, 1), (85, 15))[0], rng.choices((0, 1), (80, 20))[0], 0, reasons)
    late = rng.choices((0, 1, 2), (70, 20, 10))[0]
    longer = rng.choices((0, -1, rng.randint(1, 3), rng.randint(4, _LONGEST_SLIP["ocean"])), (50, 8, 27, 15))[0]
    unannounced = rng.randint(2, 5) if rng.random() < 0.12 else 0
    return _SailingDelays(late, longer, unannounced, reasons)


def _actual_times(
    seed: int, route: RoutePlan, planned: list[Times], weeks: dict[int, int], *, free_from: datetime, rng: Random
) -> tuple[tuple[ItineraryLeg, ...], tuple[ScheduleSlip, ...]]:
    """Actual times: the plan with slips and jitter. No leg departs before the cargo is free (`free_from`)."""
    legs: list[ItineraryLeg] = []
    slips: list[ScheduleSlip] = []
    for index, times in enumerate(planned):
        if index in weeks:
            leg, new_slips = _sail(seed, route, index, times, week=weeks[index], free_from=free_from, rng=rng)
        else:
            shift = timedelta(days=sum(slip.days for slip in slips if slip.last >= index))
            moved = times[0] + shift, times[1] + shift
            move = _drive if route.legs[index].flight is None else _fly
            leg, new_slips = move(route, index, times, moved=moved, free_from=free_from, rng=rng)
        legs.append(leg)
        slips += new_slips
        free_from = leg.arrival
    return tuple(legs), tuple(slips)


def _last_moved(route: RoutePlan, index: int) -> int:
    """The last leg that a slip of this leg moves: a vessel or a plane does not wait."""
    scheduled = [at for at, one in enumerate(route.legs) if at > index and (one.flight or one.mode == "ocean")]
    return scheduled[0] - 1 if scheduled else len(route.legs) - 1


def _sail(
    seed: int, route: RoutePlan, index: int, planned: Times, *, week: int, free_from: datetime, rng: Random
) -> tuple[ItineraryLeg, list[ScheduleSlip]]:
    """By the booked sailing, or by a later one that the cargo was rolled to."""
    leg, last = route.legs[index], _last_moved(route, index)
    line: Service = leg.line  # type: ignore[assignment]
    rolled = 1 if index == route.main[0] and rng.random() < 0.08 else 0
    while True:
        delays = _sailing_delays(seed, line, week + rolled)
        departure = planned[0] + timedelta(days=7 * rolled + delays.late)
        if departure.astimezone(UTC) >= free_from.astimezone(UTC) + timedelta(hours=5):
            break
        rolled += 1
    arrival = planned[1] + timedelta(days=7 * rolled + delays.late + delays.longer + delays.unannounced)
    slips: list[ScheduleSlip] = []
    if rolled:
        missed = _MISSED_REASONS["ocean"]
        slips.append(ScheduleSlip(index, last, 7 * rolled, planned[0], at_departure=True, reason=missed, rolled=True))
    if delays.late:
        slips.append(ScheduleSlip(index, last, delays.late, departure, at_departure=True, reason=delays.reasons[0]))
    if delays.longer:
        reason = delays.reasons[1] if delays.longer > 0 else None
        slips.append(ScheduleSlip(index, last, delays.longer, departure, at_departure=False, reason=reason))
    return ItineraryLeg(leg, sailing(line, week), sailing(line, week + rolled), *planned, departure, arrival), slips


def _fly(
    route: RoutePlan, index: int, planned: Times, *, moved: Times, free_from: datetime, rng: Random
) -> tuple[ItineraryLeg, list[ScheduleSlip]]:
    stretch = route.legs[index]
    draw = rng.random()
    days = rng.randint(1, _LONGEST_SLIP["air"]) if draw < 0.4 else 0
    departure = moved[0] + timedelta(days=days)
    while departure.astimezone(UTC) < free_from.astimezone(UTC) + timedelta(hours=4):
        departure, days = departure + timedelta(days=1), days + 1
    flight: Flight = stretch.flight  # type: ignore[assignment]
    # Minutes by chance: doors close late, winds differ.
    departure += timedelta(minutes=rng.choice((0, 0, 5, 10, 20, 35)))
    arrival = _landing(stretch, departure, flight.minutes + rng.choice((-20, -10, 0, 0, 10, 15)))
    vehicle = vehicle_for(stretch, rng)
    leg = ItineraryLeg(stretch, vehicle, vehicle, *planned, departure, arrival)
    if not days:
        return leg, []
    reason = _MISSED_REASONS["air"] if draw < 0.1 else rng.choice(_REASONS["air"])
    last = len(route.legs) - 1
    return leg, [ScheduleSlip(index, last, days, departure - timedelta(days=days), at_departure=True, reason=reason)]


def _drive(
    route: RoutePlan, index: int, planned: Times, *, moved: Times, free_from: datetime, rng: Random
) -> tuple[ItineraryLeg, list[ScheduleSlip]]:
    """By truck or train: about as planned, and not before the cargo is there."""
    stretch, last = route.legs[index], _last_moved(route, index)
    main = index in route.main
    # What waits for a vessel leaves in time; the trucker is never a week late.
    jitter = _jitter(rng) if index >= route.main[0] else 0
    departure = _earliest_after(moved[0] + timedelta(days=jitter), free_from, rng)
    slips: list[ScheduleSlip] = []
    if rng.random() < (0.4 if main and stretch.mode == "rail" else 0.08):
        days = rng.randint(1, _LONGEST_SLIP[stretch.mode])
        reason = rng.choice(_REASONS[stretch.mode])
        slips.append(ScheduleSlip(index, last, days, departure, at_departure=False, reason=reason))
    shift = sum(slip.days for slip in slips) + (_jitter(rng) if main else 0)
    # It takes as long as planned, whenever it departs.
    delay = (departure.date() - moved[0].date()).days
    arrival = _earliest_after(moved[1] + timedelta(days=max(delay, 0) + shift), departure, rng)
    vehicle = vehicle_for(stretch, rng)
    return ItineraryLeg(stretch, vehicle, vehicle, *planned, departure, arrival), slips


def _jitter(rng: Random) -> int:
    return rng.choices((0, 1, -1), (80, 15, 5))[0]


def _earliest_after(moment: datetime, after: datetime, rng: Random) -> datetime:
    """Mostly noon of the first day that is not too early; another hour in one of sixteen."""
    while moment.astimezone(UTC) < after.astimezone(UTC) + timedelta(hours=5):
        moment += timedelta(days=1)
    if rng.random() < 0.06:
        return moment.replace(hour=rng.randint(12, 20), minute=rng.choice((0, 15, 30, 45)))
    return moment


def _known_at(slip: ScheduleSlip, legs: tuple[ItineraryLeg, ...], rng: Random) -> datetime:
    """When the carrier announces it: before the departure that slips, or on the way."""
    leg = legs[slip.leg]
    if slip.at_departure:
        before = slip.known_at.astimezone(UTC) - timedelta(hours=rng.randint(4, 40))
        return min(before, leg.departure.astimezone(UTC) - timedelta(hours=2))
    begin, end = leg.departure.astimezone(UTC), leg.arrival.astimezone(UTC)
    return begin + (end - begin) * rng.uniform(0.15, 0.8)


def last_free_day(plan: Itinerary) -> datetime:
    """Five days after the arrival, at the terminal's midnight, which is how recorded ones look in UTC."""
    arrival = plan.last_main.arrival + timedelta(days=5)
    return arrival.replace(hour=0, minute=0, second=0, microsecond=0)


_ONE_OF = 8  # shipments of full containers that are delivered to a door
_DAYS = 3, 12  # beyond the last free day
_OVERLAP = timedelta(days=2)  # with the next one
_LONGEST = timedelta(days=35)
_UNKNOWN = timedelta(days=12)  # until the next one, if none is booked yet


class Overstays:
    """Postpones what follows the main carriage of some shipments, whose containers stay longer than their free time.

    One in eight stays at the terminal. At least one always stays until the free time of another ends, so that a demo
    shows at any time what costs money.
    """

    def __init__(self) -> None:
        self._until: datetime | None = None  # a container overstays until then

    def apply(self, plans: Sequence[Itinerary]) -> list[Itinerary]:
        """These plans, in their order."""
        result = {plan.ordinal: plan for plan in plans}
        able = sorted((plan for plan in plans if _can_overstay(plan)), key=_expiry)
        for plan, following in zip_longest(able, able[1:]):
            begin = _expiry(plan)
            rng = Random(f"{plan.seed}/overstay/{plan.ordinal}")  # noqa: S311 (a world, not a secret)
            by_chance = begin + timedelta(days=rng.randint(*_DAYS)) if rng.randrange(_ONE_OF) == 0 else None
            needed = (begin + _UNKNOWN) if following is None else _expiry(following) + _OVERLAP
            leaves = by_chance
            if self._until is None or self._until < needed:
                leaves = max(by_chance or begin, min(needed, begin + _LONGEST))
            if leaves is not None:
                result[plan.ordinal] = _postpone(plan, leaves)
                self._until = max(self._until or leaves, leaves)
        return list(result.values())


def _can_overstay(plan: Itinerary) -> bool:
    return plan.route.kind == "fcl" and plan.route.main[-1] + 1 < len(plan.legs)


def _expiry(plan: Itinerary) -> datetime:
    return last_free_day(plan) + timedelta(days=1)


def _postpone(plan: Itinerary, leaves: datetime) -> Itinerary:
    onward = plan.route.main[-1] + 1
    later = timedelta(days=max(0, (leaves.date() - plan.legs[onward].departure.date()).days))
    legs = [replace(leg, departure=leg.departure + later, arrival=leg.arrival + later) for leg in plan.legs[onward:]]
    return replace(plan, legs=(*plan.legs[:onward], *legs))
