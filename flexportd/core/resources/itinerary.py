"""The route of a shipment: its legs in order of travel, the places on the way, and the dates that the legs give there.

Flexport tags the ends of legs with the role of the place (`port_of_loading`). Modes and kinds of ports count only
without a tag: a rail ramp may be the port of unloading, and rail or road the main carriage.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from flexportd.clock import parse
from flexportd.core.resources.values import texts
from flexportd.storage.queries.table import instant, plausible_or_none
from flexportd.storage.repositories.resources import Record

_OVER_WATER_OR_AIR = frozenset({"ocean", "air", "ocean_air", "barge"})
_BY_ROAD = frozenset({"truck", "truck_intl", "warehouse_storage"})
_INLAND = frozenset({"rail", "barge"})
_NO_TIME = "9999"
_MAX_EARLY = timedelta(days=30)  # by which an arrival may be before a departure without a report
_MAX_LEGS = 200  # legs of a shipment without a report

PLACES = ("origin", "port_of_loading", "port_of_unloading", "inland_ramp", "place_of_delivery", "destination")
"""The places of a route that a shipment names, in order of travel."""


class RoutePlace(NamedTuple):
    """A place on a route: its name, its UN/LOCODE, and the name of its time zone."""

    name: str | None = None
    code: str | None = None
    timezone: str | None = None


NO_PLACE = RoutePlace()


class LegDate(NamedTuple):
    """A date at a place, and the leg it is from."""

    moment: str
    leg_id: int


class ShipmentRoute:
    """The route of a shipment by its legs, without those deleted at Flexport.

    `ordered` are all legs in order of travel. `carriage` are those from the port of loading to the carrier's handover,
    at the port of unloading or an inland ramp; by road, all. `onward` are those after it.
    """

    def __init__(self, legs: Iterable[Record]) -> None:
        self.ordered: Sequence[Record] = sort_legs(legs)
        start, end, ramp = self._main()
        self.carriage: Sequence[Record] = self.ordered[start : max(end, ramp) + 1]
        self.onward: Sequence[Record] = self.ordered[max(end, ramp) + 1 :]
        self._departs = start
        self._arrives = end
        self._ramp = ramp
        self._is_by_road = all(leg.fields["mode"] in _BY_ROAD for leg in self.ordered)

    def _main(self) -> tuple[int, int, int]:
        """The legs that leave the port of loading, reach the port of unloading, and reach the inland ramp (or -1)."""
        legs = self.ordered
        if not legs:
            return 0, -1, -1
        carried = [at for at, leg in enumerate(legs) if leg.fields["mode"] in _OVER_WATER_OR_AIR]
        carried = carried or [at for at, leg in enumerate(legs) if leg.fields["mode"] not in _BY_ROAD]
        tagged = (at for at, leg in enumerate(legs) if _is_tagged(leg, "origin", "port_of_loading"))
        start = next(tagged, carried[0] if carried else 0)
        ends = [at for at, leg in enumerate(legs) if _is_tagged(leg, "destination", "port_of_unloading")]
        end = next((at for at in (*reversed(ends), *reversed(carried)) if at >= start), len(legs) - 1)
        return start, end, self._last_inland_leg(start, end)

    def _last_inland_leg(self, start: int, end: int) -> int:
        """The last leg by rail or barge after the port that the ship or plane reached; -1 for none."""
        ramp = -1
        for at, leg in enumerate(self.ordered[start + 1 :], start + 1):
            mode, before = leg.fields["mode"], self.ordered[at - 1].fields["mode"]
            if mode in _INLAND and (at > end or before in _OVER_WATER_OR_AIR or ramp == at - 1):
                ramp = at
            elif mode in _OVER_WATER_OR_AIR:
                ramp = -1  # a land bridge: it goes on by ship or plane
        return ramp

    @functools.cached_property
    def places(self) -> Mapping[str, RoutePlace]:
        """The places of `PLACES` by name; `NO_PLACE` for those that the route lacks."""
        legs = self.ordered
        if not legs:
            return dict.fromkeys(PLACES, NO_PLACE)
        given = [leg for leg in legs if _is_given(leg, "origin") or _is_given(leg, "destination")] or legs
        return {
            "origin": place_at(given[0], "origin"),
            "port_of_loading": self._port("port_of_loading", self._departs, "origin"),
            "port_of_unloading": self._port("port_of_unloading", self._arrives, "destination"),
            "inland_ramp": place_at(legs[self._ramp], "destination") if self._ramp >= 0 else NO_PLACE,
            "place_of_delivery": next(iter(self.tagged("place_of_delivery")[::-1]), NO_PLACE),
            "destination": place_at(given[-1], "destination"),
        }

    def tagged(self, tag: str) -> list[RoutePlace]:
        """The places with a tag, in order of travel."""
        ends = [(leg, end) for leg in self.ordered for end in ("origin", "destination")]
        return [place_at(leg, end) for leg, end in ends if _is_tagged(leg, end, tag)]

    def _port(self, tag: str, at: int, end: str) -> RoutePlace:
        """The port at one end of a leg: a tagged place, else a known port, or a place where a ship or plane stops."""
        leg, tagged = self.ordered[at], self.tagged(tag)
        if _is_tagged(leg, end, tag):
            return place_at(leg, end)
        if tagged:
            return tagged[0] if end == "origin" else tagged[-1]
        is_port = bool(leg.fields[f"{end}_kinds"]) or leg.fields["mode"] in _OVER_WATER_OR_AIR
        return place_at(leg, end) if is_port and not self._is_by_road else NO_PLACE

    @property
    def terminal(self) -> RoutePlace:
        """Where containers wait for pickup and free time runs: the inland ramp, else the port of unloading."""
        ramp = self.places["inland_ramp"]
        return self.places["port_of_unloading"] if ramp is NO_PLACE else ramp

    @property
    def departure_leg(self) -> Record | None:
        """The leg that leaves the port of loading."""
        return self.ordered[self._departs] if self.ordered else None

    @property
    def arrival_leg(self) -> Record | None:
        """The leg that reaches the port of unloading."""
        return self.ordered[self._arrives] if self.ordered else None

    @property
    def last_carrier_leg(self) -> Record | None:
        """The leg that reaches the terminal."""
        return self.carriage[-1] if self.carriage else None

    @property
    def has_ramp(self) -> bool:
        """Whether the carrier takes the cargo on from a port to an inland ramp."""
        return self._ramp >= 0

    @functools.cached_property
    def dates(self) -> dict[str, LegDate]:
        """The plausible dates of the legs, by the name of the shipment's field."""
        found: dict[str, LegDate] = {}
        if not self.ordered:
            return found
        places = self.places
        to_delivery = [leg for leg in self.ordered if _ends_at(leg, places["place_of_delivery"])]
        legs_of = {
            "departure": ("departure", self._parallel(self._departs, "origin", places["port_of_loading"])),
            "arrival": ("arrival", self._parallel(self._arrives, "destination", places["port_of_unloading"])),
            "ramp_arrival": ("arrival", self._parallel(self._ramp, "destination", places["inland_ramp"])),
            "place_of_delivery_arrival": ("arrival", to_delivery[::-1]),
        }
        for kind in ("estimated", "actual"):
            for name, (what, legs) in legs_of.items():
                given = _given_dates(legs, f"{kind}_{what}")
                if given:
                    found[f"{kind}_{name}"] = given[0]
            # In full: once the last of them has departed or arrived.
            for name, what, legs in (
                ("picked_up_in_full", "departure", self._pickup_legs),
                ("delivered_in_full", "arrival", self._delivery_legs),
            ):
                given = _given_dates(legs, f"{kind}_{what}")
                if given and len(given) == len(legs):
                    found[f"{kind}_{name}"] = max(given, key=lambda date: instant(date.moment))
        return found

    def anomalies(self, departure: str | None) -> Iterator[tuple[str, str]]:
        """Implausible data of the legs, as (a sentence, an example); `departure` is the shipment's own."""
        for leg in self.ordered:
            for end in ("origin", "destination"):
                if not _is_given(leg, end):
                    yield f"{end} of a leg is not given", f"leg {leg.id}"
        for tag in ("port_of_loading", "port_of_unloading"):
            places = dict.fromkeys(place.name or place.code or "" for place in self.tagged(tag))
            if len(places) > 1:
                yield f"{tag} is the tag of different places", ", ".join(places)
        left, come = (
            self.dates.get(f"actual_{name}") or self.dates.get(f"estimated_{name}") for name in ("departure", "arrival")
        )
        departed = plausible_or_none(departure) or (left and left.moment)
        if departed and come and parse(come.moment) < parse(departed) - _MAX_EARLY:
            yield "the arrival of a leg lies long before the departure", f"{come.moment[:10]} before {departed[:10]}"
        if len(self.ordered) > _MAX_LEGS:
            yield f"a shipment has more than {_MAX_LEGS} legs", str(len(self.ordered))

    def _parallel(self, at: int, end: str, place: RoutePlace) -> list[Record]:
        """A leg and the parallel ones of its mode with the same end, if that is this place (if any)."""
        if at < 0:
            return []
        leg = self.ordered[at]
        here, mode = place_at(leg, end), leg.fields["mode"]
        if place is not NO_PLACE and not _is_same(here, place):
            return []
        others = (one for one in self.ordered if one is not leg and one.fields["mode"] == mode)
        return [leg, *(one for one in others if _is_same(place_at(one, end), here))]

    @property
    def _pickup_legs(self) -> list[Record]:
        """The legs that collect the cargo at its origin; none where that is the port of loading."""
        origin = self.places["origin"]
        if _is_same(origin, self.places["port_of_loading"]):
            return []
        return [leg for leg in self.ordered if _is_same(place_at(leg, "origin"), origin)]

    @property
    def _delivery_legs(self) -> list[Record]:
        """The legs that deliver the cargo at its destination; none where that is the terminal."""
        destination = self.places["destination"]
        if _is_same(destination, self.terminal):
            return []
        return [leg for leg in self.ordered if _ends_at(leg, destination)]


def _given_dates(legs: Sequence[Record], field: str) -> list[LegDate]:
    return [LegDate(leg.fields[field], int(leg.id)) for leg in legs if plausible_or_none(leg.fields[field])]


def _ends_at(leg: Record, place: RoutePlace) -> bool:
    return place is not NO_PLACE and _is_same(place_at(leg, "destination"), place)


def place_at(leg: Record, end: str) -> RoutePlace:
    """The place at one end (`origin` or `destination`) of a leg."""
    fields = leg.fields
    return RoutePlace(fields[end], fields[f"{end}_code"], fields[f"{end}_timezone"])


def _is_given(leg: Record, end: str) -> bool:
    return leg.fields[end] is not None or leg.fields[f"{end}_code"] is not None


def _is_tagged(leg: Record, end: str, tag: str) -> bool:
    return tag in tags(leg.fields, end) and _is_given(leg, end)


def _is_same(one: RoutePlace, other: RoutePlace) -> bool:
    return one[:2] == other[:2]


def sort_legs(legs: Iterable[Record]) -> list[Record]:
    """Legs in order of travel; those deleted at Flexport are left out.

    Flexport lists them unordered, sometimes several for one section, sometimes round trips. A leg follows those that
    end where it starts; among equals and in circles, the earlier departure goes first, then the lower id.
    """
    legs = sorted((leg for leg in legs if not leg.fields["deleted_at"] and not leg.removed_at), key=_sort_key)
    ends = [(_end_key(leg, "origin"), _end_key(leg, "destination")) for leg in legs]
    coming = Counter(end for _, end in ends)  # by place, how many waiting legs end there
    begin: dict[Any, list[int]] = {}
    for number, (start, _) in enumerate(ends):
        begin.setdefault(start, []).append(number)
    waiting = dict.fromkeys(range(len(legs)))  # in the order of `legs`
    free = [number for number, (start, end) in enumerate(ends) if not coming[start] or start == end]
    ordered: list[Record] = []
    while waiting:
        batch = sorted({number for number in free if number in waiting}) or [next(iter(waiting))]
        free = []
        for number in batch:
            del waiting[number]
            ordered.append(legs[number])
        for number in batch:
            end = ends[number][1]
            coming[end] -= 1
            free += begin.get(end, ()) if not coming[end] else ()
    return ordered


def _sort_key(leg: Record) -> tuple[str, str, int]:
    fields = leg.fields
    departure = plausible_or_none(fields["actual_departure"]) or plausible_or_none(fields["estimated_departure"])
    arrival = plausible_or_none(fields["actual_arrival"]) or plausible_or_none(fields["estimated_arrival"])
    return (
        instant(departure) if departure else instant(arrival) if arrival else _NO_TIME,
        instant(arrival) if arrival else _NO_TIME,
        int(leg.id),
    )


def _end_key(leg: Record, end: str) -> tuple[Any, Any]:
    return (leg.fields[end], leg.fields[f"{end}_code"] or leg.fields[f"{end}_ref"])


ROUTE_FIELDS = (
    *(f"{name}{part}" for name in PLACES for part in ("", "_code", "_timezone")),
    "carrier", "scac", "vessel", "vessel_imo", "voyage", "flight", "container_numbers", "route_dates", "has_ramp",
)  # fmt: skip
"""The fields of a shipment from its legs and containers."""


def place_descriptions(name: str, words: str) -> dict[str, str]:
    """Descriptions of the three fields of a place, for the description of the API."""
    return {
        name: words,
        f"{name}_code": f"UN/LOCODE of `{name}`.",
        f"{name}_timezone": f"Time zone of `{name}` (IANA name).",
    }


def route_fields(route: ShipmentRoute, containers: Iterable[Record]) -> dict[str, Any]:
    """The fields of a shipment from its legs and containers. Pure, and independent of the order of arrival."""
    fields: dict[str, Any] = dict.fromkeys(ROUTE_FIELDS)
    fields["container_numbers"] = container_numbers(containers)
    if not route.ordered:
        return fields
    for name, place in route.places.items():
        fields |= {name: place.name, f"{name}_code": place.code, f"{name}_timezone": place.timezone}
    main = [leg for leg in route.carriage if leg.fields["mode"] in _OVER_WATER_OR_AIR] or route.carriage
    current = _current(main)
    for name in ("carrier", "scac"):
        fields[name] = next((leg.fields[name] for leg in (current, *main) if leg.fields[name]), None)
    fields |= {name: current.fields[name] for name in ("vessel", "vessel_imo", "voyage", "flight")}
    fields["route_dates"] = msgspec.json.encode(route.dates).decode()
    fields["has_ramp"] = route.has_ramp
    return fields


def container_numbers(containers: Iterable[Record]) -> str | None:
    """The container numbers of a shipment, as JSON text."""
    boxes = sorted(containers, key=lambda box: int(box.id))
    return texts(box.fields["container_number"] for box in boxes if not box.removed_at)


def _current(main: Sequence[Record]) -> Record:
    """The leg that the cargo is on, or was on last; before departure the first."""
    departed = [leg for leg in main if leg.fields["actual_departure"]]
    return departed[-1] if departed else main[0]


def tags(leg: Mapping[str, Any], end: str) -> Sequence[str]:
    """The tags of one end of a leg: its roles in the route, such as `port_of_loading`."""
    text = leg[f"{end}_tags"]
    return _tags(text) if text else ()


@functools.lru_cache(maxsize=1024)
def _tags(text: str) -> tuple[str, ...]:
    found: list[str] = msgspec.json.decode(text)
    return tuple(found)
