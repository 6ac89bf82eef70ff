"""The page of a share link: one shipment for somebody without a key, from what `core.shared` lets out alone. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from flexportd.clock import stamp
from flexportd.core.access.share_view import SharedContainer, SharedLeg, SharedMilestone, SharedShipment, SharedTime
from flexportd.core.labels import format_minute, is_day_only
from flexportd.core.timeline import EVENT_RANK, TimelinePoint
from flexportd.expose.dashboard.pages.shipments import DateCell, StopRow, date_cell, shipment_date_cell
from flexportd.expose.dashboard.view.cargo_rows import MOST, LegRow, free_time, leg_rows, number_problem
from flexportd.expose.dashboard.view.dates import DateText, Delay, RelativeTime, ViewContext, find_zone
from flexportd.expose.dashboard.view.labels import (
    Badge,
    Mode,
    PlaceText,
    Text,
    container_type_text,
    mode,
    place,
    status,
    text,
)
from flexportd.expose.dashboard.view.route_bar import RouteBar, draw
from flexportd.expose.dashboard.view.timeline import TimelineRow, timeline_rows

_NOT_DEPARTED = (None, "seller_location")
_DATES = {"cargo_ready", "delivery_appointment", "last_free_day"}
_MILESTONES = {
    "created", "picked_up_in_full", "departed", "arrived", "delivered", "delivery_completed", "available_for_pickup",
    "loaded_on_board", "unloaded_off_board", "gated_out", "delivered_in_full", "empty_returned",
}  # fmt: skip
_REFERENCES = (
    ("purchase_orders", "Purchase orders"),
    ("bills", "Bills of lading"),
    ("carrier_bookings", "Carrier bookings"),
)
_MAX_REFERENCES = 12  # references of a kind
_UNDATED = "1970"  # a state that Flexport did not date is older than any


@dataclass(frozen=True, slots=True)
class CurrentLocation:
    """Where the cargo is in words: `Under way by ocean to` a place, `due` a day."""

    words: str
    place: PlaceText | None
    verb: str
    at: DateCell | None


@dataclass(frozen=True, slots=True)
class ShareContainerRow:
    """One container. `free_time` says what the last free day means today, while it may still stand at the port."""

    number: Text
    doubt: str | None
    box: str | None
    available: DateCell | None
    last_free_day: DateText | None
    free_time: Delay | None
    delivered: DateCell | None
    returned: DateText | None


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """Numbers by which the shipment is known."""

    name: str
    values: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class SharePage:
    """Everything that a link's page shows."""

    site: str
    flex_id: str
    name: Text | None
    mode: Mode | None
    status: Badge
    gone: DateText | None
    whereabouts: CurrentLocation | None
    stops: tuple[StopRow, ...]
    carrier: Text | None
    vessel: Text | None
    route: RouteBar | None
    points: tuple[TimelineRow, ...]
    containers: tuple[ShareContainerRow, ...]
    references: tuple[ReferenceRow, ...]
    legs: tuple[LegRow, ...]
    as_of: RelativeTime | None
    ends: RelativeTime | None
    seen: str
    """When the page was made: the date on paper, since no script here could write that of printing."""


def share_page(shared: SharedShipment, expires_at: str, site: str, sight: ViewContext) -> SharePage:
    """What a link shows, in words."""
    route, legs, fields = shared["route"], _legs(shared["legs"]), _dates_of(shared)
    delivered = shared["status"] == "final_destination"
    stops = (
        StopRow("Departure", place(route, "port_of_loading"), shipment_date_cell(fields, "departure", sight)),
        StopRow("Arrival", place(route, "port_of_unloading"), shipment_date_cell(fields, "arrival", sight)),
        StopRow(
            "Ramp arrival", place(route, "inland_ramp"), date_cell(fields, "ramp_arrival", sight, passed=delivered)
        ),
        StopRow(
            "Delivery", place(route, "destination"), date_cell(fields, "delivered_in_full", sight, passed=delivered)
        ),
    )
    return SharePage(
        site=site,
        flex_id=shared["flex_id"],
        name=text(shared["name"], 120),
        mode=mode(shared["mode"]),
        status=status(shared["status"]),
        gone=sight.instant(shared["removed_at"]),
        whereabouts=_current_location(fields, legs, sight),
        stops=tuple(one for one in stops if one.at or one.title in ("Departure", "Arrival")),
        carrier=text(route["carrier"], 60),
        vessel=text(" ".join(part for part in (route["vessel"], route["voyage"]) if part), 60),
        route=draw(legs, sight),
        points=timeline_rows([_entry(one, index) for index, one in enumerate(shared["milestones"])], sight),
        containers=tuple(
            _container_row(one, route["destination_timezone"], sight) for one in shared["containers"][:MOST]
        ),
        references=_references(shared["references"]),
        legs=leg_rows(legs, sight),
        as_of=sight.ago(shared["as_of"]) if shared["as_of"] > _UNDATED else None,
        ends=sight.until(expires_at),
        seen=format_minute(stamp(sight.now)),
    )


# --- dates: links tell the instant, the day at the place, and the zone of the place ---


def _local_time(told: SharedTime | None, zone: str | None) -> str | None:
    """A time as pages read it: with the offset of its place where that is known, else the day alone."""
    return _local(told["at"], told["date"], zone, day_only=told["day_only"]) if told else None


def _local(at: str, day: str, zone: str | None, *, day_only: bool) -> str:
    home = find_zone(zone)
    if home is None:
        return f"{day}T12:00:00-12:00"  # without a zone, a day is over when it is over everywhere
    local = datetime.fromisoformat(at).astimezone(home).isoformat()
    if day_only or local[:10] != day or is_day_only(local):
        return datetime.combine(date.fromisoformat(day), time(12), home).isoformat()
    return local


_SHIPMENT_DATES = (
    ("departure", "port_of_loading"),
    ("arrival", "port_of_unloading"),
    ("ramp_arrival", "inland_ramp"),
    ("delivered_in_full", "destination"),
)


def _dates_of(shared: SharedShipment) -> dict[str, Any]:
    """The dates of the whole, under the names that they have in the store."""
    found: dict[str, Any] = {"status": shared["status"]}
    for name, stop in _SHIPMENT_DATES:
        zone = _zone_of(shared["route"], stop)
        for kind in ("estimated", "actual"):
            found[f"{kind}_{name}"] = _local_time(shared[f"{kind}_{name}"], zone)  # type: ignore[literal-required]
    return found


def _zone_of(route: Mapping[str, str | None], name: str) -> str | None:
    """The zone of a place; by road, departure is from the origin and arrival at the destination."""
    by_road = {"port_of_loading": "origin", "port_of_unloading": "destination"}
    return route[f"{name}_timezone"] or (route[f"{by_road[name]}_timezone"] if name in by_road else None)


def _legs(told: Sequence[SharedLeg]) -> list[dict[str, Any]]:
    """The legs under the names of the store."""
    found: list[dict[str, Any]] = []
    for leg in told:
        start, end = leg["origin_timezone"], leg["destination_timezone"]
        found.append(
            {
                **leg,
                "origin_ref": None,
                "destination_ref": None,
                "tracking_number": None,
                "estimated_departure": _local_time(leg["estimated_departure"], start),
                "actual_departure": _local_time(leg["actual_departure"], start),
                "estimated_arrival": _local_time(leg["estimated_arrival"], end),
                "actual_arrival": _local_time(leg["actual_arrival"], end),
            }
        )
    _fill_missing_ends(found)
    return found


def _fill_missing_ends(legs: Sequence[dict[str, Any]]) -> None:
    """Where a leg comes from nowhere or leads to nowhere else, its untold place is that of pickup or delivery."""
    ends = [(leg["origin"], leg["origin_code"], leg["destination"], leg["destination_code"]) for leg in legs]
    for index, (leg, (start, start_code, end, end_code)) in enumerate(zip(legs, ends, strict=True)):
        if start is None and (None, start_code) not in [one[2:] for one in ends[:index]]:
            leg["origin"] = "Place of pickup"
        if end is None and (None, end_code) not in [one[:2] for one in ends[index + 1 :]]:
            leg["destination"] = "Place of delivery"


# --- the parts ---


def _current_location(
    fields: Mapping[str, Any], legs: Sequence[Mapping[str, Any]], sight: ViewContext
) -> CurrentLocation | None:
    delivered = date_cell(fields, "delivered_in_full", sight)
    if fields["status"] == "final_destination" or (delivered and delivered.is_actual):
        last = date_cell(legs[-1], "arrival", sight, zone=legs[-1]["destination_timezone"]) if legs else None
        told = next((one for one in (delivered, last) if one and one.is_actual), None)
        return CurrentLocation("Delivered", None, "on", told)
    left = [leg for leg in legs if leg["actual_departure"]]
    if left:
        end, there = left[-1], place(left[-1], "destination")
        at = date_cell(end, "arrival", sight, zone=end["destination_timezone"])
        if end["actual_arrival"]:
            return CurrentLocation("At", there, "since", at) if there else None
        by = mode(end["mode"])
        return (
            CurrentLocation(f"In transit{f' by {by.text.lower()}' if by else ''} to", there, "due", at)
            if there
            else None
        )
    if fields["status"] not in _NOT_DEPARTED:
        return None
    first = date_cell(legs[0], "departure", sight, zone=legs[0]["origin_timezone"]) if legs else None
    return CurrentLocation("Not departed yet", None, "departs", first)


def _entry(one: SharedMilestone, index: int) -> TimelinePoint:
    """A point of the timeline as the dashboard takes it."""
    zone = one["timezone"]

    def local(name: str, *, day_only: bool) -> str | None:
        at, day = one[f"{name}_at"], one[f"{name}_date"]  # type: ignore[literal-required]
        return _local(at, day, zone, day_only=day_only) if at else None

    name = one["milestone"]
    return TimelinePoint(
        milestone=name,
        title=one["title"],
        planned=local("planned", day_only=one["day_only"] and not one["actual_at"]),
        actual=local("actual", day_only=one["day_only"]),
        place=one["place"],
        place_code=one["place_code"],
        timezone=zone,
        mode=one["mode"],
        container_numbers=tuple(one["container_numbers"]),
        group="dates" if name in _DATES else "progress",
        rank=(index, 0) if name in _MILESTONES | _DATES else EVENT_RANK,
    )


def _container_row(one: SharedContainer, door: str | None, sight: ViewContext) -> ShareContainerRow:
    zone = one["terminal_timezone"]
    away = bool(one["left_terminal"] or one["actual_delivery"] or one["empty_returned_date"])
    fields = {
        "estimated_available": _local_time(one["estimated_available_for_pickup"], zone),
        "actual_available": _local_time(one["available_for_pickup"], zone),
        "estimated_delivery": _local_time(one["estimated_delivery"], door),
        "actual_delivery": _local_time(one["actual_delivery"], door),
    }
    last = _local_time(one["last_free_day"], zone)
    return ShareContainerRow(
        number=text(one["container_number"], 40) or Text("Container number not assigned"),
        doubt=number_problem(one["container_number"]),
        box=container_type_text(one["container_size"], one["container_type"]),
        available=date_cell(fields, "available", sight, zone=zone, passed=away),
        last_free_day=sight.moment(last, zone),
        free_time=None if away else free_time(last, sight),
        delivered=date_cell(fields, "delivery", sight, zone=door, passed=bool(one["empty_returned_date"])),
        returned=sight.calendar_day(one["empty_returned_date"]),
    )


def _references(told: Mapping[str, Sequence[str]]) -> tuple[ReferenceRow, ...]:
    found = []
    for kind, words in _REFERENCES:
        values = [part for value in told.get(kind, ()) if (part := text(value, 60))]
        more = (Text(f"and {len(values) - _MAX_REFERENCES:,} more"),) if len(values) > _MAX_REFERENCES else ()
        if values:
            found.append(ReferenceRow(words, (*values[:_MAX_REFERENCES], *more)))
    return tuple(found)
