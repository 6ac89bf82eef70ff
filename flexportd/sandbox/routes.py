"""Ways from a seller to a door: the stretches of ocean (FCL and LCL), air, road and rail shipments."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from flexportd.sandbox.places import (
    AIR_DESTINATIONS,
    AIR_ORIGINS,
    HUBS,
    LCL_DESTINATIONS,
    LCL_ORIGINS,
    PACIFIC,
    PACIFIC_DETOUR,
    PLACES,
    RAMP_WAREHOUSES,
    ROAD_LANES,
    SEA_DESTINATIONS,
    SEA_ORIGINS,
    TRANSSHIPMENT_PORTS,
    USUAL_HUBS,
    Place,
)


@dataclass(frozen=True, slots=True)
class Stop:
    """A place and what it is on this route."""

    place: Place
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One movement to come; `wait` are days at its origin before it leaves, `days` those on the way.

    `leaving` and `reached` are the shipment's status after its departure and its arrival.
    """

    mode: str
    origin: Stop
    destination: Stop
    wait: int
    days: int
    leaving: str
    reached: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A whole way; `main` are the positions of the main carriage."""

    kind: str
    mode: str
    freight_type: str
    incoterm: str
    lead_days: int
    stretches: tuple[Stretch, ...]
    main: tuple[int, ...]

    @property
    def has_pickup(self) -> bool:
        """Whether the way begins at the seller's door."""
        return self.freight_type.startswith("door")

    @property
    def has_delivery(self) -> bool:
        """Whether the way ends at the buyer's door."""
        return self.freight_type.endswith("door")


_TO_PORT, _AT_PORT = "in_transit_to_departure_port", "departure_port"
_TO_TRANSSHIP, _AT_TRANSSHIP = "in_transit_to_intermediary_port", "intermediary_port"
_SAILING, _ARRIVED = "in_transit_to_arrival_port", "arrival_port"
_INLAND, _STOP_OFF, _DOOR = "in_transit_to_final_destination", "destination_stop_off", "final_destination"

_UNLOADING = ("port_of_unloading", "customs_entry", "fmc_port_of_unloading")


def choose_route(rng: Random) -> Route:
    """One way, in the proportions of a consumer-goods importer."""
    build = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    return build(rng)


def _ends(rng: Random) -> tuple[str, str]:
    """Freight type and the incoterm that goes with it."""
    freight_type = rng.choices(("door_to_door", "port_to_door", "door_to_port", "port_to_port"), (55, 30, 10, 5))[0]
    return freight_type, rng.choice(("EXW", "FCA") if freight_type.startswith("door") else ("FOB", "CFR"))


def _fcl(rng: Random) -> Route:
    freight_type, incoterm = _ends(rng)
    origin = rng.choice(tuple(SEA_ORIGINS))
    port = rng.choice(tuple(SEA_DESTINATIONS))
    days, warehouses, ramps = SEA_DESTINATIONS[port]
    loading, unloading = Stop(PLACES[origin], ("port_of_loading",)), Stop(PLACES[port], _UNLOADING)
    stretches: list[Stretch] = []
    if freight_type.startswith("door"):
        factory = Stop(PLACES[rng.choice(SEA_ORIGINS[origin])], ("origin_address",))
        stretches.append(Stretch("truck", factory, loading, 0, 1, _TO_PORT, _AT_PORT, "drayage"))
    first = len(stretches)
    stretches += _voyage(rng, loading, unloading, rng.randint(*days))
    main = tuple(range(first, len(stretches)))
    if freight_type.endswith("door"):
        stretches += _inland(rng, unloading, rng.choice(warehouses), rng.choice(ramps) if ramps else None)
    return Route("fcl", "ocean", freight_type, incoterm, rng.randint(12, 25), tuple(stretches), main)


def _voyage(rng: Random, loading: Stop, unloading: Stop, days: int) -> list[Stretch]:
    """A voyage, with another vessel from a transshipment port for one of three."""
    if unloading.place.key in PACIFIC:
        days += PACIFIC_DETOUR.get(loading.place.key, 0)
    if rng.random() >= 0.35:
        return [Stretch("ocean", loading, unloading, rng.randint(2, 4), days, _SAILING, _ARRIVED)]
    port = rng.choice(HUBS.get(loading.place.key, USUAL_HUBS))
    hub = Stop(PLACES[port], ("transshipment",))
    feeder = rng.randint(*TRANSSHIPMENT_PORTS[port])
    return [
        Stretch("ocean", loading, hub, rng.randint(2, 4), feeder, _TO_TRANSSHIP, _AT_TRANSSHIP),
        Stretch("ocean", hub, unloading, rng.randint(2, 6), max(10, days - 3), _SAILING, _ARRIVED),
    ]


def _inland(rng: Random, port: Stop, warehouse: str, ramp: str | None) -> list[Stretch]:
    """From the port to the door, by rail first for some of those who could."""
    if ramp is not None and rng.random() < 0.5:
        terminal = Stop(PLACES[ramp], ("place_of_delivery",))
        door = Stop(PLACES[RAMP_WAREHOUSES[ramp]], ("destination_address",))
        return [
            Stretch("rail", port, terminal, rng.randint(2, 5), rng.randint(4, 7), _INLAND, _STOP_OFF),
            Stretch("truck", terminal, door, rng.randint(1, 3), 1, "gated_out", _DOOR, "drayage"),
        ]
    door = Stop(PLACES[warehouse], ("destination_address",))
    return [Stretch("truck", port, door, rng.randint(3, 9), 1, "gated_out", _DOOR, "drayage")]


def _lcl(rng: Random) -> Route:
    freight_type = rng.choice(("door_to_door", "port_to_door"))
    origin, port = rng.choice(tuple(LCL_ORIGINS)), rng.choice(tuple(LCL_DESTINATIONS))
    factory, station = (PLACES[key] for key in LCL_ORIGINS[origin])
    splitting, warehouse = (PLACES[key] for key in LCL_DESTINATIONS[port])
    gather = Stop(station, ("consolidation",))
    loading, unloading = Stop(PLACES[origin], ("port_of_loading",)), Stop(PLACES[port], _UNLOADING)
    split, door = Stop(splitting, ("deconsolidation",)), Stop(warehouse, ("destination_address",))
    days = SEA_DESTINATIONS[port][0]
    stretches: list[Stretch] = []
    if freight_type.startswith("door"):
        start = Stop(factory, ("origin_address",))
        stretches.append(Stretch("truck", start, gather, 0, 1, _TO_PORT, "origin_stop_off", "ltl"))
    stretches.append(Stretch("truck", gather, loading, rng.randint(2, 4), 1, _TO_PORT, _AT_PORT, "cartage"))
    first = len(stretches)
    stretches += [
        Stretch("ocean", loading, unloading, rng.randint(1, 3), rng.randint(*days), _SAILING, _ARRIVED),
        Stretch("truck", unloading, split, rng.randint(2, 4), 1, _INLAND, "deconsolidation", "cartage"),
        Stretch("truck", split, door, rng.randint(2, 4), rng.randint(1, 3), _INLAND, _DOOR, "ltl"),
    ]
    incoterm = "EXW" if freight_type.startswith("door") else "FOB"
    return Route("lcl", "ocean", freight_type, incoterm, rng.randint(8, 16), tuple(stretches), (first,))


def _air(rng: Random) -> Route:
    origin, port = rng.choice(tuple(AIR_ORIGINS)), rng.choice(tuple(AIR_DESTINATIONS))
    factory = Stop(PLACES[rng.choice(AIR_ORIGINS[origin])], ("origin_address",))
    splitting, warehouse = (PLACES[key] for key in AIR_DESTINATIONS[port])
    loading, unloading = (
        Stop(PLACES[origin], ("port_of_loading",)),
        Stop(PLACES[port], ("port_of_unloading", "customs_entry")),
    )
    split, door = Stop(splitting, ("deconsolidation",)), Stop(warehouse, ("destination_address",))
    stretches = [Stretch("truck", factory, loading, 0, 1, _TO_PORT, _AT_PORT, "ltl")]
    if rng.random() < 0.35:
        hub = Stop(PLACES["ICN"], ("transshipment",))
        stretches.append(Stretch("air", loading, hub, rng.randint(1, 2), 1, _TO_TRANSSHIP, _AT_TRANSSHIP))
        stretches.append(Stretch("air", hub, unloading, 1, rng.randint(1, 2), _SAILING, _ARRIVED))
    else:
        stretches.append(Stretch("air", loading, unloading, rng.randint(1, 2), rng.randint(1, 3), _SAILING, _ARRIVED))
    main = tuple(range(1, len(stretches)))
    stretches += [
        Stretch("truck", unloading, split, 1, 1, _INLAND, "deconsolidation", "cartage"),
        Stretch("truck", split, door, 1, rng.randint(1, 2), _INLAND, _DOOR, "ltl"),
    ]
    return Route("air", "air", "door_to_door", rng.choice(("EXW", "FCA")), rng.randint(3, 7), tuple(stretches), main)


def _road(rng: Random) -> Route:
    start, end = rng.choice(ROAD_LANES)
    origin, door = Stop(PLACES[start], ("origin_address",)), Stop(PLACES[end], ("destination_address",))
    mode = "truck_intl" if origin.place.country_code != door.place.country_code else "truck"
    service = rng.choice(("ftl", "ltl"))
    stretches = (Stretch("truck", origin, door, 0, rng.randint(1, 4), _INLAND, _DOOR, service),)
    return Route("road", mode, "door_to_door", "FCA", rng.randint(2, 5), stretches, (0,))


def _rail(rng: Random) -> Route:
    """China to Europe overland."""
    factory, door = Stop(PLACES["F-XIA"], ("origin_address",)), Stop(PLACES["W-TLB"], ("destination_address",))
    loading = Stop(PLACES["R-SIA"], ("port_of_loading",))
    unloading = Stop(PLACES["R-DUI"], ("port_of_unloading", "customs_entry"))
    stretches = (
        Stretch("truck", factory, loading, 0, 1, _TO_PORT, _AT_PORT, "ftl"),
        Stretch("rail", loading, unloading, rng.randint(2, 4), rng.randint(14, 19), _SAILING, _ARRIVED),
        Stretch("truck", unloading, door, rng.randint(2, 4), rng.randint(1, 2), _INLAND, _DOOR, "ftl"),
    )
    return Route("rail", "rail", "door_to_door", "FCA", rng.randint(6, 12), stretches, (1,))


_KINDS: dict[Callable[[Random], Route], int] = {_fcl: 48, _lcl: 16, _air: 18, _road: 10, _rail: 8}
