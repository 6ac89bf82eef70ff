"""Shipments, their stops, legs and containers as rows of tables. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.resources.identifiers import is_container_number
from flexportd.core.resources.itinerary import ShipmentRoute
from flexportd.core.resources.shipments import arrival_summary
from flexportd.core.timeline import ShipmentBundle
from flexportd.expose.dashboard.view.dates import DateCell, DateText, Delay, ViewContext, count
from flexportd.expose.dashboard.view.labels import (
    ARRIVED,
    STAGES,
    Badge,
    Mode,
    PlaceText,
    Text,
    container_type_text,
    mode,
    place,
    status,
    text,
    vessel_text,
)
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record

MOST = 60  # legs or containers on a page
_WARN_DAYS = 2
_DEPARTED = ARRIVED.union(STAGES[2].statuses)


@dataclass(frozen=True, slots=True)
class ShipmentRow:
    """One shipment in a list. `port` is that of loading, where the departure is from.

    `journey` is one line about the arrivals at the port of unloading, the inland ramp and the destination.
    """

    id: int
    name: Text | None
    mode: Mode | None
    status: Badge
    origin: PlaceText | None
    destination: PlaceText | None
    carrier: Text | None
    vessel: Text | None
    port: Text | None
    departure: DateCell | None
    arrival: DateCell | None
    journey: Text | None
    updated: DateText | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class StopRow:
    """A place of the route with its date; None where one is not known."""

    title: str
    place: PlaceText | None
    at: DateCell | None


@dataclass(frozen=True, slots=True)
class LegRow:
    """One leg; `url` is its page."""

    mode: Mode | None
    origin: PlaceText | None
    destination: PlaceText | None
    carrier: Text | None
    vehicle: Text | None
    departure: DateCell | None
    arrival: DateCell | None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """One container. `free_time` is the state of its free time until it has left the terminal.

    `number_problem` says why its number is not valid. Flexport's pickup is at the terminal or, mostly, at the origin.
    Share links show neither seal nor pickup.
    """

    number: Text
    number_problem: str | None
    type: str | None
    available: DateCell | None
    last_free_day: DateText | None
    free_time: Delay | None
    delivered: DateCell | None
    returned: DateText | None
    seal: Text | None = None
    picked_up: DateCell | None = None
    is_picked_up_at_origin: bool = False


def shipment_row(fields: Mapping[str, Any], view: ViewContext) -> ShipmentRow:
    """One row of a list of shipments."""
    mark = "Deleted at Flexport" if fields["removed_at"] else "Archived" if fields["archived_at"] else None
    return ShipmentRow(
        id=fields["id"],
        name=text(fields["name"], 60),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 40),
        vessel=text(fields["vessel"], 40),
        port=text(fields["port_of_loading"], 24),
        departure=shipment_date(fields, "departure", view),
        arrival=shipment_date(fields, "arrival", view),
        journey=text(arrival_summary(fields, view.today), 200),
        updated=view.instant(fields["as_of"]),
        mark=mark,
    )


def shipment_date(fields: Mapping[str, Any], name: str, view: ViewContext) -> DateCell | None:
    """A date of a shipment; it is overdue only while its status does not show that it has happened."""
    is_delivered = bool(fields["actual_delivered_in_full"]) or fields["status"] == "final_destination"
    if name not in ("departure", "arrival"):
        return view.cell(fields, name, is_past=is_delivered)
    passed = ARRIVED if name == "arrival" else _DEPARTED
    return view.cell(fields, name, is_past=fields["status"] in passed or bool(fields["actual_arrival"]))


_STOPS = (
    ("picked_up_in_full", "Pickup", "origin"),
    ("departure", "Departure", "port_of_loading"),
    ("arrival", "Arrival", "port_of_unloading"),
    ("ramp_arrival", "Ramp arrival", "inland_ramp"),
    ("place_of_delivery_arrival", "Place of delivery", "place_of_delivery"),
    ("delivered_in_full", "Delivery", "destination"),
)
_ALWAYS = ("departure", "arrival")


def stop_rows(fields: Mapping[str, Any], view: ViewContext) -> tuple[StopRow, ...]:
    """The stops of a shipment that have a date; departure and arrival always.

    The place of delivery is left out where it is the inland ramp or the port of unloading.
    """
    rows = []
    for name, title, where in _STOPS:
        if f"actual_{name}" not in fields:
            continue
        if where == "place_of_delivery" and fields[where] in (fields["inland_ramp"], fields["port_of_unloading"]):
            continue
        at = shipment_date(fields, name, view)
        if at is not None or name in _ALWAYS:
            rows.append(StopRow(title, place(fields, where), at))
    return tuple(rows)


def leg_rows(legs: Iterable[Mapping[str, Any]], view: ViewContext) -> tuple[LegRow, ...]:
    """Legs by their fields, in order of travel; a plan before the departure of a later leg is not overdue."""
    ordered = list(legs)
    last = max((index for index, leg in enumerate(ordered) if leg["actual_departure"]), default=-1)
    return tuple(_leg(leg, view, is_past=index < last) for index, leg in enumerate(ordered[:MOST]))


def _leg(fields: Mapping[str, Any], view: ViewContext, *, is_past: bool) -> LegRow:
    is_past = is_past or bool(fields["actual_arrival"])
    return LegRow(
        mode=mode(fields["mode"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vehicle=vessel_text(fields) if fields["vessel"] else text(fields["flight"] or fields["tracking_number"], 60),
        departure=view.cell(fields, "departure", zone=fields["origin_timezone"], is_past=is_past),
        arrival=view.cell(fields, "arrival", zone=fields["destination_timezone"], is_past=is_past),
    )


def container_rows(bundle: ShipmentBundle, view: ViewContext) -> tuple[ContainerRow, ...]:
    """The containers of a shipment by id, without the removed ones."""
    evidence = Evidence(
        bundle.shipment, ShipmentRoute(bundle.legs), bundle.containers, bundle.container_legs, bundle.events
    )  # fmt: skip
    shown = [box for box in bundle.containers if not box.removed_at][:MOST]
    return tuple(_container(box, view, has_left=evidence.box(box).has_reached(CargoStage.LEFT)) for box in shown)


def _container(record: Record, view: ViewContext, *, has_left: bool) -> ContainerRow:
    """`has_left`: it has left the terminal."""
    fields = record.fields
    available = {
        "estimated_available": fields["estimated_available_for_pickup"],
        "actual_available": fields["available_for_pickup"],
    }
    number = text(fields["container_number"], 40) or Text(f"Container {record.id}")
    return ContainerRow(
        number=replace(number, url=f"/containers/{record.id}"),
        number_problem=number_problem(fields["container_number"]),
        type=container_type_text(fields["container_size"], fields["container_type"]),
        available=view.cell(available, "available", is_past=has_left),
        last_free_day=view.calendar_day(fields["last_free_day"]),
        free_time=None if has_left else free_time(plausible_or_none(fields["last_free_day"]), view),
        delivered=view.cell(fields, "delivery", is_past=bool(fields["empty_returned_date"])),
        returned=view.calendar_day(fields["empty_returned_date"]),
        seal=text(fields["seal_number"], 40),
        picked_up=view.cell(fields, "pickup", is_past=has_left),
        is_picked_up_at_origin=_is_before_arrival(fields),
    )


def _is_before_arrival(fields: Mapping[str, Any]) -> bool:
    """Whether the pickup is before the arrival at the terminal, each by its own day."""
    pickup, arrival = (
        plausible_or_none(fields[f"actual_{name}"]) or plausible_or_none(fields[f"estimated_{name}"])
        for name in ("pickup", "arrival")
    )
    return bool(pickup and arrival and pickup[:10] < arrival[:10])


def number_problem(container_number: str | None) -> str | None:
    """Why a container number is not valid; None for a valid one."""
    return "Not a valid ISO 6346 number" if is_container_number(container_number) is False else None


def free_time(last_free_day: str | None, view: ViewContext) -> Delay | None:
    """`ends in 2 days`, `ended 1 day ago`; None while the last free day is further away."""
    days = view.days_past(last_free_day) if last_free_day else None
    if days is None or days < -_WARN_DAYS:
        return None
    if days > 0:
        return Delay(f"ended {count(days, 'day')} ago", "bad")
    return Delay({0: "ends today", -1: "ends tomorrow"}.get(days, f"ends in {-days} days"), "bad")
