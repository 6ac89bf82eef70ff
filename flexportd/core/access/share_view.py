"""What a share link shows: what tells where the cargo is. Pure.

Milestones, dates, route, containers, legs, the numbers by which the shipment is known. Never money, documents, goods,
metadata or Flexport's own JSON; no names of parties either, and so not those of the places where cargo is picked up
and delivered, which bear the names of suppliers and customers: of these the code alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.resources import containers, shipments
from flexportd.core.resources.itinerary import PLACES, ShipmentRoute, tags
from flexportd.core.resources.values import is_day_only
from flexportd.core.timeline import ShipmentBundle, TimelinePoint, timeline
from flexportd.flexport.milestones import milestone
from flexportd.storage.queries.table import instant, instant_of
from flexportd.storage.repositories.resources import Record

_SHARED_GROUPS = ("progress", "dates")  # the groups of milestones that are nobody's secret
_DOOR_TAGS = {"origin_address", "destination_address"}
_LAST_FREE_DAY = next(one for one in containers.CONTAINERS.fields if one.name == "last_free_day")
_REFERENCES = {"bill": "bills", "booking": "carrier_bookings", "po": "purchase_orders", "container": "containers"}


class SharedMilestone(TypedDict):
    """A milestone of the timeline; `_date` is the day at its place."""

    milestone: str
    title: str
    planned_at: str | None
    planned_date: str | None
    actual_at: str | None
    actual_date: str | None
    day_only: bool
    place: str | None
    place_code: str | None
    timezone: str | None
    mode: str | None
    container_number: str | None
    container_numbers: list[str]


class SharedTime(TypedDict):
    """A planned or actual time: the instant, and the day at its place; `day_only` if only the day is known.

    The instant of a deadline is the end of its day.
    """

    at: str
    date: str
    day_only: bool


class SharedLeg(TypedDict):
    """A leg of the route."""

    mode: str | None
    carrier: str | None
    vessel: str | None
    voyage: str | None
    flight: str | None
    origin: str | None
    origin_code: str | None
    origin_timezone: str | None
    destination: str | None
    destination_code: str | None
    destination_timezone: str | None
    estimated_departure: SharedTime | None
    actual_departure: SharedTime | None
    estimated_arrival: SharedTime | None
    actual_arrival: SharedTime | None


class SharedContainer(TypedDict):
    """One container; `terminal` is where it waits for its pickup, until it has left (`left_terminal`)."""

    container_number: str | None
    container_type: str | None
    container_size: str | None
    terminal: str | None
    terminal_code: str | None
    terminal_timezone: str | None
    left_terminal: bool
    estimated_available_for_pickup: SharedTime | None
    available_for_pickup: SharedTime | None
    last_free_day: SharedTime | None
    estimated_delivery: SharedTime | None
    actual_delivery: SharedTime | None
    empty_returned_date: str | None


class SharedShipment(TypedDict):
    """The shipment that a link shows.

    `route` has the places `origin`, `port_of_loading`, `port_of_unloading`, `inland_ramp`, `place_of_delivery` and
    `destination`, each with `_code` and `_timezone`, and `carrier`, `vessel` and `voyage`. Departure is from the port
    of loading, arrival at the port of unloading.
    """

    id: str
    flex_id: str
    name: str | None
    status: str | None
    mode: str | None
    references: dict[str, list[str]]
    route: dict[str, str | None]
    estimated_departure: SharedTime | None
    actual_departure: SharedTime | None
    estimated_arrival: SharedTime | None
    actual_arrival: SharedTime | None
    estimated_ramp_arrival: SharedTime | None
    actual_ramp_arrival: SharedTime | None
    estimated_place_of_delivery_arrival: SharedTime | None
    actual_place_of_delivery_arrival: SharedTime | None
    estimated_delivered_in_full: SharedTime | None
    actual_delivered_in_full: SharedTime | None
    milestones: list[SharedMilestone]
    legs: list[SharedLeg]
    containers: list[SharedContainer]
    as_of: str
    removed_at: str | None


def document(family: ShipmentBundle) -> SharedShipment:
    """What a link to this shipment shows."""
    shipment, fields, places = family.shipment, family.shipment.fields, _public_places(family.legs)
    route: dict[str, str | None] = {}
    for name in PLACES:
        route |= {
            name: fields[name] if fields[name] in places else None,
            f"{name}_code": fields[f"{name}_code"],
            f"{name}_timezone": fields[f"{name}_timezone"],
        }
    way = ShipmentRoute(family.legs)
    evidence = Evidence(shipment, way, family.containers, family.container_legs, family.events)
    boxes = [box for box in family.containers if not box.removed_at]
    return {
        "id": str(shipment.id),
        "flex_id": f"FLEX-{shipment.id}",
        "name": fields["name"],
        "status": fields["status"],
        "mode": fields["mode"],
        "references": _references(fields),
        "route": route | {name: fields[name] for name in ("carrier", "vessel", "voyage")},
        "estimated_departure": _time(fields["estimated_departure"]),
        "actual_departure": _time(fields["actual_departure"]),
        "estimated_arrival": _time(fields["estimated_arrival"]),
        "actual_arrival": _time(fields["actual_arrival"]),
        "estimated_ramp_arrival": _time(fields["estimated_ramp_arrival"]),
        "actual_ramp_arrival": _time(fields["actual_ramp_arrival"]),
        "estimated_place_of_delivery_arrival": _time(fields["estimated_place_of_delivery_arrival"]),
        "actual_place_of_delivery_arrival": _time(fields["actual_place_of_delivery_arrival"]),
        "estimated_delivered_in_full": _time(fields["estimated_delivered_in_full"]),
        "actual_delivered_in_full": _time(fields["actual_delivered_in_full"]),
        "milestones": [_milestone(entry, places) for entry in timeline(family) if _is_shared(entry)],
        "legs": [_leg(leg, places) for leg in way.ordered],
        "containers": [_container(box, places, left=evidence.box(box).has_reached(CargoStage.LEFT)) for box in boxes],
        "as_of": shipment.as_of,
        "removed_at": shipment.removed_at,
    }


def _public_places(legs: Iterable[Record]) -> set[str]:
    """The names of places that are no party's own: ports, terminals, hubs. Whatever is not known to be one is none."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for leg in legs:
        for end in ("origin", "destination"):
            parts = tags(leg.fields, end)
            found[bool(parts) and _DOOR_TAGS.isdisjoint(parts)].add(leg.fields[end])
    return found[True] - found[False]


def _is_shared(entry: TimelinePoint) -> bool:
    return entry.group in _SHARED_GROUPS and (entry.event_id is None or milestone(f"#{entry.milestone}") is not None)


def _milestone(entry: TimelinePoint, places: set[str]) -> SharedMilestone:
    known = entry.document()
    return {
        "milestone": known["milestone"],
        "title": known["title"],
        "planned_at": known["planned_at"],
        "planned_date": known["planned_date"],
        "actual_at": known["actual_at"],
        "actual_date": known["actual_date"],
        "day_only": known["day_only"],
        "place": entry.place if entry.place in places else None,
        "place_code": entry.place_code,
        "timezone": entry.timezone,
        "mode": entry.mode,
        "container_number": known["container_number"],
        "container_numbers": known["container_numbers"],
    }


def _leg(leg: Record, places: set[str]) -> SharedLeg:
    fields = leg.fields
    return {
        "mode": fields["mode"],
        "carrier": fields["carrier"],
        "vessel": fields["vessel"],
        "voyage": fields["voyage"],
        "flight": fields["flight"],
        "origin": fields["origin"] if fields["origin"] in places else None,
        "origin_code": fields["origin_code"],
        "origin_timezone": fields["origin_timezone"],
        "destination": fields["destination"] if fields["destination"] in places else None,
        "destination_code": fields["destination_code"],
        "destination_timezone": fields["destination_timezone"],
        "estimated_departure": _time(fields["estimated_departure"]),
        "actual_departure": _time(fields["actual_departure"]),
        "estimated_arrival": _time(fields["estimated_arrival"]),
        "actual_arrival": _time(fields["actual_arrival"]),
    }


def _container(box: Record, places: set[str], *, left: bool) -> SharedContainer:
    fields, free = box.fields, _time(box.fields["last_free_day"])
    if free:
        free |= {"at": instant_of(_LAST_FREE_DAY, fields["last_free_day"], fields), "day_only": True}
    return {
        "container_number": fields["container_number"],
        "container_type": fields["container_type"],
        "container_size": fields["container_size"],
        "terminal": fields["terminal"] if fields["terminal"] in places else None,
        "terminal_code": fields["terminal_code"],
        "terminal_timezone": fields["terminal_timezone"],
        "left_terminal": left,
        "estimated_available_for_pickup": _time(fields["estimated_available_for_pickup"]),
        "available_for_pickup": _time(fields["available_for_pickup"]),
        "last_free_day": free,
        "estimated_delivery": _time(fields["estimated_delivery"]),
        "actual_delivery": _time(fields["actual_delivery"]),
        "empty_returned_date": fields["empty_returned_date"],
    }


def _references(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in _REFERENCES.values()}
    for kind, value in shipments.references(fields):
        if kind in _REFERENCES:
            found[_REFERENCES[kind]].append(value)
    return found


def _time(moment: str | None) -> SharedTime | None:
    return {"at": instant(moment), "date": moment[:10], "day_only": is_day_only(moment)} if moment else None
