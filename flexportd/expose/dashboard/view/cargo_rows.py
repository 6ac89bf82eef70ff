"""The legs and containers of one shipment as rows of tables. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.resources.identifiers import is_container_number
from flexportd.core.resources.itinerary import ShipmentRoute
from flexportd.core.timeline import ShipmentBundle
from flexportd.expose.dashboard.pages.shipments import DateCell, date_cell
from flexportd.expose.dashboard.view.dates import DateText, Delay, ViewContext, count
from flexportd.expose.dashboard.view.labels import Mode, PlaceText, Text, container_type_text, mode, place, text
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record

MOST = 60  # rows of either table; a page is no place for more
_WARN_DAYS = 2


@dataclass(frozen=True, slots=True)
class LegRow:
    """One leg; `url` leads to its page."""

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
    """One container. `free_time` says what the last free day means today, while the box has not been picked up.

    `doubt` says what is wrong with its number. Flexport's pickup is at the terminal or, mostly, at the origin.
    """

    number: Text
    doubt: str | None
    box: str | None
    seal: Text | None
    available: DateCell | None
    last_free_day: DateText | None
    free_time: Delay | None
    picked_up: DateCell | None
    is_picked_up_at_origin: bool
    delivered: DateCell | None
    returned: DateText | None


def leg_rows(legs: Iterable[Mapping[str, Any]], sight: ViewContext) -> tuple[LegRow, ...]:
    """Legs by their fields, in the order given; a date that a later leg proves past is not called overdue."""
    ordered = list(legs)
    last = max((index for index, leg in enumerate(ordered) if leg["actual_departure"]), default=-1)
    return tuple(_leg(leg, sight, passed=index < last) for index, leg in enumerate(ordered[:MOST]))


def _leg(fields: Mapping[str, Any], sight: ViewContext, *, passed: bool) -> LegRow:
    arrived = passed or bool(fields["actual_arrival"])
    return LegRow(
        mode=mode(fields["mode"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vehicle=_vehicle(fields),
        departure=date_cell(fields, "departure", sight, zone=fields["origin_timezone"], passed=arrived),
        arrival=date_cell(fields, "arrival", sight, zone=fields["destination_timezone"], passed=arrived),
    )


def _vehicle(fields: Mapping[str, Any]) -> Text | None:
    if fields["vessel"]:
        return text(" ".join(part for part in (fields["vessel"], fields["voyage"]) if part), 60)
    return text(fields["flight"] or fields["tracking_number"], 60)


def container_rows(family: ShipmentBundle, sight: ViewContext) -> tuple[ContainerRow, ...]:
    """The containers of a shipment by id, those that are gone left out."""
    shown = [one for one in family.containers if not one.removed_at][:MOST]
    evidence = Evidence(
        family.shipment, ShipmentRoute(family.legs), family.containers, family.container_legs, family.events
    )  # fmt: skip
    return tuple(_container(box, sight, gone=evidence.box(box).has_reached(CargoStage.LEFT)) for box in shown)


def _container(record: Record, sight: ViewContext, *, gone: bool) -> ContainerRow:
    """`gone`: it has left the terminal."""
    fields = record.fields
    available = {
        "estimated_available": fields["estimated_available_for_pickup"],
        "actual_available": fields["available_for_pickup"],
    }
    return ContainerRow(
        number=replace(
            text(fields["container_number"], 40) or Text(f"Container {record.id}"), url=f"/containers/{record.id}"
        ),
        doubt=number_problem(fields["container_number"]),
        box=container_type_text(fields["container_size"], fields["container_type"]),
        seal=text(fields["seal_number"], 40),
        available=date_cell(available, "available", sight, passed=gone),
        last_free_day=sight.calendar_day(fields["last_free_day"]),
        free_time=None if gone else free_time(plausible_or_none(fields["last_free_day"]), sight),
        picked_up=date_cell(fields, "pickup", sight, passed=gone),
        is_picked_up_at_origin=_is_before_arrival(fields),
        delivered=date_cell(fields, "delivery", sight, passed=bool(fields["empty_returned_date"])),
        returned=sight.calendar_day(fields["empty_returned_date"]),
    )


def _is_before_arrival(fields: Mapping[str, Any]) -> bool:
    """Whether the pickup is before the arrival at the terminal, each by its own day."""
    pickup, arrival = (
        plausible_or_none(fields[f"actual_{name}"]) or plausible_or_none(fields[f"estimated_{name}"])
        for name in ("pickup", "arrival")
    )
    return bool(pickup and arrival and pickup[:10] < arrival[:10])


def number_problem(container_number: str | None) -> str | None:
    """What is wrong with a container number."""
    return "Not a valid ISO 6346 number" if is_container_number(container_number) is False else None


def free_time(last_free_day: str | None, sight: ViewContext) -> Delay | None:
    """What the last free day means today; None while it is far."""
    days = sight.days_past(last_free_day) if last_free_day else None
    if days is None or days < -_WARN_DAYS:
        return None
    if days > 0:
        return Delay(f"ended {count(days, 'day')} ago", "bad")
    return Delay({0: "ends today", -1: "ends tomorrow"}.get(days, f"ends in {-days} days"), "bad")
