"""The route of a shipment: its legs in order of travel, and what they tell of the whole."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.core.values import texts
from flexportd.storage.resources import Record, instant

ROUTE_FIELDS = (
    "origin", "origin_code", "destination", "destination_code", "port_of_loading", "port_of_loading_code",
    "port_of_unloading", "port_of_unloading_code", "carrier", "vessel", "voyage", "container_numbers",
)  # fmt: skip

_MAIN_MODES = ("ocean", "air", "ocean_air", "barge")
_LAST = "9999"


def in_order(legs: Iterable[Record]) -> list[Record]:
    """Legs in order of travel; those deleted at Flexport are left out.

    Flexport lists them in no order, sometimes several for one stretch, sometimes round trips. A leg follows those
    that end where it begins; among equals and in circles, the earlier departure goes first, then the lower id.
    """
    waiting = sorted((leg for leg in legs if not leg.fields["deleted_at"] and not leg.removed_at), key=_when)
    ordered: list[Record] = []
    while waiting:
        ends = {_place(leg, "destination") for leg in waiting}
        free = [leg for leg in waiting if _place(leg, "origin") not in ends - {_place(leg, "destination")}]
        batch = {leg.id: leg for leg in free or waiting[:1]}
        ordered += batch.values()
        waiting = [leg for leg in waiting if leg.id not in batch]
    return ordered


def _when(leg: Record) -> tuple[str, str, int]:
    fields = leg.fields
    departure = fields["actual_departure"] or fields["estimated_departure"]
    arrival = fields["actual_arrival"] or fields["estimated_arrival"]
    return (
        instant(departure) if departure else instant(arrival) if arrival else _LAST,
        instant(arrival) if arrival else _LAST,
        int(leg.id),
    )


def _place(leg: Record, end: str) -> tuple[Any, Any]:
    return (leg.fields[end], leg.fields[f"{end}_code"] or leg.fields[f"{end}_ref"])


def route_fields(legs: Iterable[Record], containers: Iterable[Record]) -> dict[str, Any]:
    """The fields of a shipment that its legs and containers tell. Pure, and the same for any order of arrival."""
    boxes = sorted(containers, key=lambda box: int(box.id))
    fields: dict[str, Any] = dict.fromkeys(ROUTE_FIELDS)
    fields["container_numbers"] = texts(box.fields["container_number"] for box in boxes if not box.removed_at)
    ordered = in_order(legs)
    if not ordered:
        return fields
    main = main_legs(ordered)
    current = _current(main)
    fields.update(
        origin=ordered[0].fields["origin"],
        origin_code=ordered[0].fields["origin_code"],
        destination=ordered[-1].fields["destination"],
        destination_code=ordered[-1].fields["destination_code"],
        port_of_loading=main[0].fields["origin"],
        port_of_loading_code=main[0].fields["origin_code"],
        port_of_unloading=main[-1].fields["destination"],
        port_of_unloading_code=main[-1].fields["destination_code"],
        carrier=_first("carrier", current, main),
        vessel=current.fields["vessel"] or current.fields["flight"],
        voyage=current.fields["voyage"],
    )
    return fields


def main_legs(ordered: Sequence[Record]) -> Sequence[Record]:
    """The main carriage: by sea or air; for shipments that never leave the ground, the whole route."""
    return [leg for leg in ordered if leg.fields["mode"] in _MAIN_MODES] or ordered


def _current(main: Sequence[Record]) -> Record:
    """The leg that the cargo is on, or was on last; before departure the first."""
    departed = [leg for leg in main if leg.fields["actual_departure"]]
    return departed[-1] if departed else main[0]


def _first(name: str, current: Record, main: Sequence[Record]) -> Any:
    return next((leg.fields[name] for leg in (current, *main) if leg.fields[name]), None)


def tags(leg: Mapping[str, Any], end: str) -> list[str]:
    """The parts that one end of a leg plays in the route, such as `port_of_loading`."""
    text = leg[f"{end}_tags"]
    found: list[str] = msgspec.json.decode(text) if text else []
    return found
