"""Containers, and container legs: each container on each leg."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flexportd.core.resources.identifiers import is_container_number, iso_type
from flexportd.core.resources.itinerary import RoutePlace, ShipmentRoute, place_at, place_descriptions
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import at_place, moment, text
from flexportd.flexport.models.containers import Container, ContainerLeg, ContainerLegDates
from flexportd.storage.queries.filters import any_of, contains, equals, key
from flexportd.storage.queries.table import Field, Key, Table, plain_fields
from flexportd.storage.repositories.resources import Record

TERMINAL = ("terminal", "terminal_code", "terminal_timezone")
"""Fields of a container from its route: where it waits for pickup and its free time runs."""

_ABOUT_TERMINAL = "Where the container waits for pickup and its free time runs: the inland ramp, else the port."

ZONES = ("origin_timezone", "destination_timezone")
"""Fields of a container leg from its leg: where it is loaded and discharged."""

CONTAINERS = Table(
    name="containers",
    fields=(
        Field("shipment_id", "integer"),
        Field("container_number"),
        Field(
            "container_number_valid",
            "boolean",
            description="Whether the number is one of ISO 6346, by its form and check digit. Null without a number.",
        ),
        *plain_fields("container_type", "container_size"),
        Field(
            "container_iso_type", description="Size-type code of ISO 6346, such as 45G1; null where it is not known."
        ),
        Field("seal_number"),
        *plain_fields("estimated_departure", "actual_departure", kind="moment"),
        Field("estimated_arrival", "moment", zone="terminal_timezone"),
        Field("actual_arrival", "moment", zone="terminal_timezone"),
        *plain_fields("estimated_pickup", "actual_pickup", "estimated_delivery", "actual_delivery", kind="moment"),
        Field("estimated_available_for_pickup", "moment", zone="terminal_timezone"),
        Field("available_for_pickup", "moment", zone="terminal_timezone"),
        Field("last_free_day", "deadline", zone="terminal_timezone"),
        *plain_fields("empty_returned_date", "cargo_ready_date", kind="day"),
        Field("metadata", "json"),
        *(Field(name, description=about) for name, about in place_descriptions("terminal", _ABOUT_TERMINAL).items()),
    ),
    sorts={"id": "id"},
    filters={
        "shipment": key("shipment_id"),
        "container_number": equals("container_number"),
        "container_type": any_of("container_type"),
        "q": contains("container_number", "seal_number"),
    },
)

_AT_TERMINAL = tuple(field.name for field in CONTAINERS.fields if field.zone == "terminal_timezone")

LAST_FREE_DAY = next(field for field in CONTAINERS.fields if field.name == "last_free_day")

CONTAINER_LEGS = Table(
    name="container_legs",
    fields=(
        *plain_fields("shipment_id", "container_id", "leg_id", kind="integer"),
        Field("actual_loaded_on_board", "moment", zone="origin_timezone"),
        Field("actual_discharge", "moment", zone="destination_timezone"),
        Field("origin_timezone", description="Time zone of the leg's origin (IANA name)."),
        Field("destination_timezone", description="Time zone of the leg's destination (IANA name)."),
    ),
    sorts={"id": "id"},
    filters={"shipment": key("shipment_id")},
)


def computed_fields(container: Container) -> Mapping[str, Any]:
    """The checks of a container's number and type."""
    return {
        "container_number_valid": is_container_number(text(container.container_number)),
        "container_iso_type": iso_type(text(container.container_size), text(container.container_type)),
    }


def computed_leg_fields(container_leg: ContainerLeg) -> Mapping[str, Any]:
    """The dates of a container leg. It does not name its shipment: that comes from the event or the container."""
    dates = container_leg.dates
    found = dates if isinstance(dates, ContainerLegDates) else ContainerLegDates()
    return {
        "shipment_id": None,
        "actual_loaded_on_board": moment(found.actual_loaded_on_board_date),
        "actual_discharge": moment(found.actual_discharge_date),
    }


class ContainerLoads:
    """Which legs carry which containers, by the container legs of a shipment."""

    def __init__(self, box_legs: Iterable[Record]) -> None:
        self.legs: set[Key | None] = set()
        self._by_box: dict[Key | None, set[Key | None]] = {}
        for one in box_legs:
            if not one.removed_at:
                self.legs.add(one.fields["leg_id"])
                self._by_box.setdefault(one.fields["container_id"], set()).add(one.fields["leg_id"])

    def legs_of(self, box: Record) -> Collection[Key | None]:
        """The ids of the legs that carry a container."""
        return self._by_box.get(box.id, ())


def container_route_fields(box: Record, route: ShipmentRoute, loads: ContainerLoads) -> dict[str, Any]:
    """The fields of a container from its route, with its times on the clocks of their places. Pure.

    Only a container that is known to be on other legs than the shipment's last one has its own terminal.
    """
    fields, places, terminal = box.fields, route.places, _terminal(box, route, loads)
    zones = dict.fromkeys(_AT_TERMINAL, terminal.timezone)
    # As recorded, a container's pickup is at the seller's: the departure of its first truck.
    zones |= dict.fromkeys(("estimated_pickup", "actual_pickup"), places["origin"].timezone)
    start = places["port_of_loading"].timezone or places["origin"].timezone
    zones |= dict.fromkeys(("estimated_departure", "actual_departure"), start)
    zones |= dict.fromkeys(("estimated_delivery", "actual_delivery"), places["destination"].timezone)
    return dict(zip(TERMINAL, terminal, strict=True)) | _in_local_time(fields, zones)


def _terminal(box: Record, route: ShipmentRoute, loads: ContainerLoads) -> RoutePlace:
    carried, last = loads.legs_of(box), route.last_carrier_leg
    if carried and last is not None and last.id not in carried and last.id in loads.legs:
        own = next((leg for leg in reversed(route.carriage) if leg.id in carried), None)
        if own is not None:
            return place_at(own, "destination")
    return route.terminal


def container_leg_route_fields(box_leg: Record, legs: Mapping[Key, Record]) -> dict[str, Any]:
    """The fields of a container leg from its leg, with its times on the clocks of their places. Pure."""
    leg = legs.get(box_leg.fields["leg_id"])
    start, end = (leg.fields[name] if leg else None for name in ZONES)
    zones = {"actual_loaded_on_board": start, "actual_discharge": end}
    return dict(zip(ZONES, (start, end), strict=True)) | _in_local_time(box_leg.fields, zones)


def _in_local_time(fields: Mapping[str, Any], zones: Mapping[str, str | None]) -> dict[str, Any]:
    """Times on the clocks of their zones; unchanged where the zone is unknown."""
    return {name: at_place(value, zone) if (value := fields[name]) and zone else value for name, zone in zones.items()}


RESOURCE_TYPE = ResourceType(
    name="containers",
    object_name="/ocean/shipment_container",
    wire=Container,
    table=CONTAINERS,
    computed_fields=computed_fields,
    sources={
        "container_number": ("container_number", "container_number_valid"),
        "container_type": ("container_type", "container_iso_type"),
        "container_size": ("container_size", "container_iso_type"),
    },
    derived=TERMINAL,
)

LEGS_RESOURCE_TYPE = ResourceType(
    name="container_legs",
    object_name="/ocean/shipment_container_leg",
    wire=ContainerLeg,
    table=CONTAINER_LEGS,
    computed_fields=computed_leg_fields,
    sources={
        "shipment_container": ("container_id",),
        "dates": ("actual_loaded_on_board", "actual_discharge"),
    },
    singular="container leg",
    owners=(("container_id", "containers"), ("leg_id", "legs")),
    derived=ZONES,
)
