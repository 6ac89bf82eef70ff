"""Routes from a seller to a door: the legs of ocean (FCL and LCL), air, road and rail shipments."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from flexportd.sandbox.catalog.places import LANES, PLACES, WorldPlace
from flexportd.sandbox.catalog.schedules import FLIGHTS, SERVICES, Carrier, Flight, Service

# Headings of a feeder and its main vessel that would be a detour: south then east, east then west.
_DETOURS = frozenset({("S", "E"), ("E", "W")})
# Days from the cut-off in a port of loading to the departure of the vessel.
_LEAST_WAIT, _MOST_WAIT = 3, 5


@dataclass(frozen=True, slots=True)
class RouteStop:
    """A place and its role on this route."""

    place: WorldPlace
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteLeg:
    """One planned movement; `wait` are days at its origin before departure, `days` those in transit.

    `status_on_departure` and `status_on_arrival` are statuses of the shipment. A vessel sails on a `line`, a plane is a
    `flight`: then `days` is approximate, and the timetable gives the times.
    """

    mode: str
    origin: RouteStop
    destination: RouteStop
    wait: int
    days: int
    status_on_departure: str
    status_on_arrival: str
    service: str | None = None
    line: Service | None = None
    flight: Flight | None = None


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A whole route; `main` are the positions of the main carriage, with the rail leg to an inland ramp.

    `factory` is where the goods are made, even if the route begins at a port near it.
    """

    kind: str
    mode: str
    freight_type: str
    incoterm: str
    lead_days: int
    legs: tuple[RouteLeg, ...]
    main: tuple[int, ...]
    factory: WorldPlace

    @property
    def carrier(self) -> Carrier | None:
        """Who issues the master bill or the air waybill: the line or the airline of the main carriage."""
        first = self.legs[self.main[0]]
        if first.line is not None:
            return first.line.carrier
        return first.flight.airline if first.flight is not None else None

    @property
    def port_of_loading(self) -> WorldPlace:
        """Where the main carriage begins."""
        return self.legs[self.main[0]].origin.place

    @property
    def port_of_unloading(self) -> WorldPlace:
        """Where the voyage or the flight ends, before any inland ramp."""
        voyage = [self.legs[at] for at in self.main if self.legs[at].mode == self.mode]
        return (voyage or [self.legs[self.main[-1]]])[-1].destination.place

    @property
    def has_pickup(self) -> bool:
        """Whether the route begins at the seller's door."""
        return self.freight_type.startswith("door")

    @property
    def has_delivery(self) -> bool:
        """Whether the route ends at the buyer's door."""
        return self.freight_type.endswith("door")


_TO_PORT, _AT_PORT = "in_transit_to_departure_port", "departure_port"
_TO_TRANSSHIP, _AT_TRANSSHIP = "in_transit_to_intermediary_port", "intermediary_port"
_SAILING, _ARRIVED = "in_transit_to_arrival_port", "arrival_port"
_INLAND, _STOP_OFF, _DOOR = "in_transit_to_final_destination", "destination_stop_off", "final_destination"

_UNLOADING = ("port_of_unloading", "customs_entry", "fmc_port_of_unloading")
# With an inland ramp, customs entry is there.
_IN_BOND, _RAMP = ("port_of_unloading", "fmc_port_of_unloading"), ("customs_entry", "place_of_delivery")


def choose_route(rng: Random) -> RoutePlan:
    """A route, in the proportions of a consumer-goods importer."""
    build = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    return build(rng)


def _freight_terms(rng: Random) -> tuple[str, str]:
    """Freight type and the incoterm that goes with it: the buyer pays the freight."""
    freight_type = rng.choices(("door_to_door", "port_to_door", "door_to_port", "port_to_port"), (55, 30, 10, 5))[0]
    return freight_type, rng.choice(("EXW", "FCA")) if freight_type.startswith("door") else "FOB"


@functools.cache
def voyages(origin: str, destination: str) -> list[tuple[Service, ...]]:
    """The voyages between two ports: direct, or with a feeder of the same carrier first."""
    direct = [(one,) for one in SERVICES if one.serves(origin, destination)]
    joined = [
        (feeder, one)
        for feeder in SERVICES
        for one in SERVICES
        for hub in (feeder.last_port,)
        if feeder.carrier_code == one.carrier_code and feeder.serves(origin, hub) and one.serves(hub, destination)
    ]
    # No feeder to a vessel that calls at the port itself, or sails back in the direction of the feeder.
    joined = [(feeder, one) for feeder, one in joined if not one.serves(origin, destination)]
    return [*direct, *(way for way in joined if (way[0].heading, way[1].heading) not in _DETOURS)]


# Port of loading: the ports of unloading that a line leads to.
_SEA_LANES = {
    origin: tuple(port for port in LANES.sea_destinations if voyages(origin, port)) for origin in LANES.sea_origins
}


def _fcl(rng: Random) -> RoutePlan:
    freight_type, incoterm = _freight_terms(rng)
    origin = rng.choice(tuple(_SEA_LANES))
    port = rng.choice(_SEA_LANES[origin])
    onward = LANES.sea_destinations[port]
    factory, ramps = PLACES[rng.choice(LANES.sea_origins[origin])], tuple(onward.rail_days)
    ramp = rng.choice(ramps) if ramps and freight_type.endswith("door") and rng.random() < 0.4 else None
    loading = RouteStop(PLACES[origin], ("port_of_loading",))
    unloading = RouteStop(PLACES[port], _UNLOADING if ramp is None else _IN_BOND)
    stretches: list[RouteLeg] = []
    if freight_type.startswith("door"):
        start = RouteStop(factory, ("origin_address",))
        stretches.append(RouteLeg("truck", start, loading, 0, 1, _TO_PORT, _AT_PORT, "drayage"))
    first = len(stretches)
    stretches += _voyage(rng, loading, unloading)
    if ramp is not None:
        terminal = RouteStop(PLACES[ramp], _RAMP)
        line, days = stretches[-1].line, rng.randint(*onward.rail_days[ramp])
        # By rail the containers stay under the bill of the ocean carrier.
        stretches.append(RouteLeg("rail", unloading, terminal, rng.randint(2, 5), days, _INLAND, _STOP_OFF, line=line))
    main = tuple(range(first, len(stretches)))
    if freight_type.endswith("door"):
        start, wait = stretches[-1].destination, rng.randint(2, 3) if ramp is not None else rng.randint(3, 9)
        door = RouteStop(
            PLACES[LANES.ramp_warehouses[ramp] if ramp else rng.choice(onward.warehouses)], ("destination_address",)
        )
        stretches.append(RouteLeg("truck", start, door, wait, 1, "gated_out", _DOOR, "drayage"))
    return RoutePlan("fcl", "ocean", freight_type, incoterm, rng.randint(12, 25), tuple(stretches), main, factory)


def _voyage(rng: Random, loading: RouteStop, unloading: RouteStop) -> list[RouteLeg]:
    ways = voyages(loading.place.key, unloading.place.key)
    lines = rng.choices(ways, [3 if len(way) > 1 else 2 for way in ways])[0]
    wait = rng.randint(_LEAST_WAIT, _MOST_WAIT)
    if len(lines) == 1:
        return [_sailing(lines[0], loading, unloading, wait, (_SAILING, _ARRIVED))]
    hub = RouteStop(PLACES[lines[0].last_port], ("transshipment",))
    return [
        _sailing(lines[0], loading, hub, wait, (_TO_TRANSSHIP, _AT_TRANSSHIP)),
        _sailing(lines[1], hub, unloading, rng.randint(2, 3), (_SAILING, _ARRIVED)),
    ]


def _sailing(
    line: Service, origin: RouteStop, destination: RouteStop, wait: int, statuses: tuple[str, str]
) -> RouteLeg:
    days = line.calls[destination.place.key] - line.calls[origin.place.key]
    return RouteLeg("ocean", origin, destination, wait, days, *statuses, line=line)


def _lcl(rng: Random) -> RoutePlan:
    freight_type = rng.choice(("door_to_door", "port_to_door"))
    origin, port = rng.choice(tuple(LANES.lcl_origins)), rng.choice(tuple(LANES.lcl_destinations))
    factory, station = (PLACES[key] for key in LANES.lcl_origins[origin])
    splitting, warehouse = (PLACES[key] for key in LANES.lcl_destinations[port])
    gather = RouteStop(station, ("consolidation",))
    loading, unloading = RouteStop(PLACES[origin], ("port_of_loading",)), RouteStop(PLACES[port], _UNLOADING)
    split, door = RouteStop(splitting, ("deconsolidation",)), RouteStop(warehouse, ("destination_address",))
    (line,) = rng.choice([way for way in voyages(origin, port) if len(way) == 1])
    stretches: list[RouteLeg] = []
    if freight_type.startswith("door"):
        start = RouteStop(factory, ("origin_address",))
        stretches.append(RouteLeg("truck", start, gather, 0, 1, _TO_PORT, "origin_stop_off", "ltl"))
    stretches.append(RouteLeg("truck", gather, loading, rng.randint(2, 4), 1, _TO_PORT, _AT_PORT, "cartage"))
    first = len(stretches)
    stretches += [
        _sailing(line, loading, unloading, rng.randint(_LEAST_WAIT, _MOST_WAIT), (_SAILING, _ARRIVED)),
        RouteLeg("truck", unloading, split, rng.randint(2, 4), 1, _INLAND, "deconsolidation", "cartage"),
        RouteLeg("truck", split, door, rng.randint(2, 4), rng.randint(1, 2), _INLAND, _DOOR, "ltl"),
    ]
    incoterm = "EXW" if freight_type.startswith("door") else "FOB"
    return RoutePlan("lcl", "ocean", freight_type, incoterm, rng.randint(8, 16), tuple(stretches), (first,), factory)


def _air(rng: Random) -> RoutePlan:
    origin, port = rng.choice(tuple(LANES.air_origins)), rng.choice(tuple(LANES.air_destinations))
    factory = PLACES[rng.choice(LANES.air_origins[origin])]
    splitting, warehouse = (PLACES[key] for key in LANES.air_destinations[port])
    start, loading = RouteStop(factory, ("origin_address",)), RouteStop(PLACES[origin], ("port_of_loading",))
    unloading = RouteStop(PLACES[port], ("port_of_unloading", "customs_entry"))
    split, door = RouteStop(splitting, ("deconsolidation",)), RouteStop(warehouse, ("destination_address",))
    stretches = [RouteLeg("truck", start, loading, 0, 1, _TO_PORT, _AT_PORT, "ltl")]
    flights = rng.choice(connections(origin, port))
    if len(flights) > 1:
        hub = RouteStop(PLACES[flights[0].destination], ("transshipment",))
        stretches.append(
            RouteLeg("air", loading, hub, rng.randint(1, 2), 0, _TO_TRANSSHIP, _AT_TRANSSHIP, flight=flights[0])
        )
        stretches.append(RouteLeg("air", hub, unloading, 1, 1, _SAILING, _ARRIVED, flight=flights[1]))
    else:
        stretches.append(
            RouteLeg("air", loading, unloading, rng.randint(1, 2), 1, _SAILING, _ARRIVED, flight=flights[0])
        )
    main = tuple(range(1, len(stretches)))
    stretches += [
        RouteLeg("truck", unloading, split, 1, 1, _INLAND, "deconsolidation", "cartage"),
        RouteLeg("truck", split, door, 1, rng.randint(1, 2), _INLAND, _DOOR, "ltl"),
    ]
    incoterm = rng.choice(("EXW", "FCA"))
    return RoutePlan("air", "air", "door_to_door", incoterm, rng.randint(3, 7), tuple(stretches), main, factory)


@functools.cache
def connections(origin: str, destination: str) -> list[tuple[Flight, ...]]:
    """The flights between two airports, direct or with a change to the same airline's at its hub."""
    direct = [(one,) for one in FLIGHTS if (one.origin, one.destination) == (origin, destination)]
    return direct + [
        (one, other)
        for one in FLIGHTS
        for other in FLIGHTS
        if (one.origin, one.destination, other.destination) == (origin, other.origin, destination)
        and one.airline_code == other.airline_code
    ]


def _road(rng: Random) -> RoutePlan:
    lane = rng.choice(LANES.road)
    origin = RouteStop(PLACES[lane.origin], ("origin_address",))
    door = RouteStop(PLACES[lane.destination], ("destination_address",))
    mode = "truck_intl" if origin.place.country_code != door.place.country_code else "truck"
    service = rng.choice(("ftl", "ltl"))
    stretches = (RouteLeg("truck", origin, door, 0, rng.randint(*lane.days), _INLAND, _DOOR, service),)
    return RoutePlan("road", mode, "door_to_door", "FCA", rng.randint(2, 5), stretches, (0,), origin.place)


def _rail(rng: Random) -> RoutePlan:
    factory, door = (
        RouteStop(PLACES["F-XIA"], ("origin_address",)),
        RouteStop(PLACES["W-VEN"], ("destination_address",)),
    )
    loading = RouteStop(PLACES["R-SIA"], ("port_of_loading",))
    unloading = RouteStop(PLACES["R-DUI"], ("port_of_unloading", "customs_entry"))
    stretches = (
        RouteLeg("truck", factory, loading, 0, 1, _TO_PORT, _AT_PORT, "drayage"),
        RouteLeg("rail", loading, unloading, rng.randint(2, 4), rng.randint(14, 19), _SAILING, _ARRIVED),
        RouteLeg("truck", unloading, door, rng.randint(3, 5), 1, _INLAND, _DOOR, "drayage"),
    )
    lead = rng.randint(6, 12)
    return RoutePlan("rail", "rail", "door_to_door", "FCA", lead, stretches, (1,), factory.place)


_KINDS: dict[Callable[[Random], RoutePlan], int] = {_fcl: 48, _lcl: 16, _air: 18, _road: 10, _rail: 8}
