"""What a share link shows: where the cargo is. Pure.

Milestones, dates, route, containers, legs, the shipment's reference numbers. Never money, documents, goods, metadata or
Flexport's own JSON. No names of parties either, and so no names of the places of pickup and delivery, which contain the
names of suppliers and customers: of these only the code.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.json_types import document_of
from flexportd.core.labels import is_day_only
from flexportd.core.resources import shipments
from flexportd.core.resources.containers import LAST_FREE_DAY as _LAST_FREE_DAY
from flexportd.core.resources.itinerary import PLACES, ShipmentRoute, tags
from flexportd.core.timeline import ShipmentBundle, TimelinePoint, timeline
from flexportd.flexport.milestones import milestone
from flexportd.storage.queries.table import instant, instant_of
from flexportd.storage.repositories.resources import Record

_SHARED_GROUPS = ("progress", "dates")  # the groups of milestones that are public
_DOOR_TAGS = {"origin_address", "destination_address"}
_PLACE_FIELDS = {"place", "origin", "destination", "terminal"}
_REFERENCES = {"bill": "bills", "booking": "carrier_bookings", "po": "purchase_orders", "container": "containers"}


D = TypeVar("D")


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
    """A container; `terminal` is where it waits for pickup until it has left (`left_terminal`)."""

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


def document(bundle: ShipmentBundle) -> SharedShipment:
    """What a link to this shipment shows."""
    shipment, fields, places = bundle.shipment, bundle.shipment.fields, _public_places(bundle.legs)
    shown: dict[str, str | None] = {name: fields[name] for name in ("carrier", "vessel", "voyage")}
    for name in PLACES:
        shown |= {name: _public(fields[name], places), f"{name}_code": fields[f"{name}_code"]}
        shown[f"{name}_timezone"] = fields[f"{name}_timezone"]
    route = ShipmentRoute(bundle.legs)
    evidence = Evidence(shipment, route, bundle.containers, bundle.container_legs, bundle.events)
    boxes = [box for box in bundle.containers if not box.removed_at]
    return _document_of(
        SharedShipment,
        fields,
        places,
        id=str(shipment.id),
        flex_id=f"FLEX-{shipment.id}",
        references=_references(fields),
        route=shown,
        milestones=[
            _document_of(SharedMilestone, entry.document(), places) for entry in timeline(bundle) if _is_shared(entry)
        ],
        legs=[_document_of(SharedLeg, leg.fields, places) for leg in route.ordered],
        containers=[_container(box, places, left=evidence.box(box).has_reached(CargoStage.LEFT)) for box in boxes],
        as_of=shipment.as_of,
        removed_at=shipment.removed_at,
    )


def _document_of(shape: type[D], fields: Mapping[str, Any], places: set[str], **computed: Any) -> D:
    """A document of the public fields: times with their days, and no places of a party."""
    values = dict(fields)
    for name, kind in shape.__annotations__.items():
        if kind == SharedTime | None and name not in computed:
            values[name] = _time(fields[name])
        elif name in _PLACE_FIELDS:
            values[name] = _public(fields[name], places)
    return document_of(shape, values, **computed)


def _public(place: str | None, places: set[str]) -> str | None:
    return place if place in places else None


def _public_places(legs: Iterable[Record]) -> set[str]:
    """The names of public places: ports, terminals, hubs. A place that is not known to be public is not."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for leg in legs:
        for end in ("origin", "destination"):
            parts = tags(leg.fields, end)
            found[bool(parts) and _DOOR_TAGS.isdisjoint(parts)].add(leg.fields[end])
    return found[True] - found[False]


def _is_shared(entry: TimelinePoint) -> bool:
    return entry.group in _SHARED_GROUPS and (entry.event_id is None or milestone(f"#{entry.milestone}") is not None)


def _container(box: Record, places: set[str], *, left: bool) -> SharedContainer:
    free = _time(box.fields["last_free_day"])
    if free:
        free |= {"at": instant_of(_LAST_FREE_DAY, box.fields["last_free_day"], box.fields), "day_only": True}
    return _document_of(SharedContainer, box.fields, places, left_terminal=left, last_free_day=free)


def _references(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in _REFERENCES.values()}
    for kind, value in shipments.references(fields):
        if kind in _REFERENCES:
            found[_REFERENCES[kind]].append(value)
    return found


def _time(moment: str | None) -> SharedTime | None:
    return {"at": instant(moment), "date": moment[:10], "day_only": is_day_only(moment)} if moment else None
