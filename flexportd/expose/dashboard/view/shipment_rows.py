"""Shipments as rows of a list; the stops, route bar, timeline, legs and containers of one. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.resources.identifiers import is_container_number
from flexportd.core.resources.itinerary import ShipmentRoute
from flexportd.core.resources.shipments import arrival_summary
from flexportd.core.timeline import EVENT_RANK, ShipmentBundle, TimelinePoint
from flexportd.expose.dashboard.view.dates import DateCell, Delay, ViewContext, count, percent_elapsed
from flexportd.expose.dashboard.view.labels import (
    ARRIVED,
    STAGES,
    Text,
    container_type_text,
    event_url,
    mode,
    place,
    status,
    text,
    vessel_text,
)
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record

MOST = 60  # legs or containers on a page
_MOST_STOPS = 9  # of a route bar
_WARN_DAYS = 2
_DEPARTED = ARRIVED.union(STAGES[2].statuses)


def shipment_row(fields: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    """One row of a list of shipments; `port` is that of loading, `journey` one line about the arrivals."""
    mark = "Deleted at Flexport" if fields["removed_at"] else "Archived" if fields["archived_at"] else None
    return SimpleNamespace(
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


def stop_rows(fields: Mapping[str, Any], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The stops that have a date, departure and arrival always; the place of delivery only if it is another place."""
    rows = []
    for name, title, where in _STOPS:
        if f"actual_{name}" not in fields:
            continue
        if where == "place_of_delivery" and fields[where] in (fields["inland_ramp"], fields["port_of_unloading"]):
            continue
        at = shipment_date(fields, name, view)
        if at is not None or name in _ALWAYS:
            rows.append(SimpleNamespace(title=title, place=place(fields, where), at=at))
    return tuple(rows)


def leg_rows(legs: Iterable[Mapping[str, Any]], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """Legs in order of travel, linked by `id`; a plan before the departure of a later leg is not overdue."""
    ordered = list(legs)
    last = max((index for index, leg in enumerate(ordered) if leg["actual_departure"]), default=-1)
    return tuple(_leg(leg, view, is_past=index < last) for index, leg in enumerate(ordered[:MOST]))


def _leg(fields: Mapping[str, Any], view: ViewContext, *, is_past: bool) -> SimpleNamespace:
    is_past = is_past or bool(fields["actual_arrival"])
    return SimpleNamespace(
        mode=mode(fields["mode"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vehicle=vessel_text(fields) if fields["vessel"] else text(fields["flight"] or fields["tracking_number"], 60),
        departure=view.cell(fields, "departure", zone=fields["origin_timezone"], is_past=is_past),
        arrival=view.cell(fields, "arrival", zone=fields["destination_timezone"], is_past=is_past),
        url=f"/legs/{fields['id']}" if "id" in fields else None,
    )


def container_rows(bundle: ShipmentBundle, view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The containers of a shipment by id, without the removed ones."""
    evidence = Evidence(
        bundle.shipment, ShipmentRoute(bundle.legs), bundle.containers, bundle.container_legs, bundle.events
    )  # fmt: skip
    shown = [box for box in bundle.containers if not box.removed_at][:MOST]
    return tuple(_container(box, view, has_left=evidence.box(box).has_reached(CargoStage.LEFT)) for box in shown)


def _container(record: Record, view: ViewContext, *, has_left: bool) -> SimpleNamespace:
    """`has_left`: it has left the terminal. Flexport's pickup is at the terminal or, mostly, at the origin."""
    fields = record.fields
    available = {
        "estimated_available": fields["estimated_available_for_pickup"],
        "actual_available": fields["available_for_pickup"],
    }
    number = text(fields["container_number"], 40) or Text(f"Container {record.id}")
    return SimpleNamespace(
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


_KINDS = {"done": "actual", "unreported": "planned; actual not reported"}


def timeline_rows(entries: Iterable[TimelinePoint], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The points in order; the first planned one after the last actual one is marked."""
    shown = list(entries)
    reached = max((entry.rank for entry in shown if entry.actual and entry.rank < EVENT_RANK), default=(-9, 0))
    states = [_point_state(entry, reached, view) for entry in shown]
    done = max((index for index, state in enumerate(states) if state == "done"), default=-1)
    ahead = next((index for index, state in enumerate(states) if index > done and state == "planned"), None)
    rows = [_point(entry, states[index], view, is_first_ahead=index == ahead) for index, entry in enumerate(shown)]
    return tuple(row for row in rows if row is not None)


def _point_state(entry: TimelinePoint, reached: tuple[int, int], view: ViewContext) -> str:
    if entry.actual:
        return "done"
    days = view.days_past(entry.planned or "")
    if days is None or days <= 0:
        return "planned"
    if entry.group != "progress":
        return "past"
    return "overdue" if entry.rank > reached else "unreported"


def _point(entry: TimelinePoint, state: str, view: ViewContext, *, is_first_ahead: bool) -> SimpleNamespace | None:
    when = view.moment(entry.actual or entry.planned, entry.timezone)
    if when is None:
        return None
    plan = view.moment(entry.planned, entry.timezone) if entry.actual else None
    return SimpleNamespace(
        title=text(entry.title, 60) or Text("Milestone"),
        state=state,
        kind=_KINDS.get(state, "planned"),
        group=entry.group,
        when=when,
        plan=plan if plan and plan.text != when.text else None,
        delay=view.delay(entry.planned, entry.actual) if state in ("done", "overdue") else None,
        place=place({"place": entry.place, "place_code": entry.place_code}, "place"),
        mode=mode(entry.mode),
        containers=_containers(entry.container_numbers),
        event_url=event_url(entry.event_id),
        is_first_ahead=is_first_ahead,
    )


def _containers(numbers: Sequence[str]) -> Text | None:
    if len(numbers) <= 1:
        return text("".join(numbers), 40)
    return Text(count(len(numbers), "container"), (text(", ".join(numbers), 200) or Text("")).shown)


_LegGroup = tuple[Mapping[str, Any], str]
"""A leg (parallel ones count as one; an empty one is a gap between two legs) with its state: done, active, planned."""


def route_bar(legs: Sequence[Mapping[str, Any]], view: ViewContext) -> SimpleNamespace | None:
    """The route of these legs in order of travel: positions in percent of the width, `words` for screen readers."""
    if not legs:
        return None
    groups, first = _leg_groups(legs), legs[0]
    size, left = len(groups) + 1, view.cell(first, "departure", zone=first["origin_timezone"])
    verb = "departed" if left and left.is_actual else "departs"
    stops = [
        SimpleNamespace(
            x=f"{_percent(0, size):.2f}%", place=place(first, "origin"), verb=verb, at=left, is_reached=True
        )
    ]
    segments = []
    for index, (leg, state) in enumerate(groups):
        begin, end, is_done = _percent(index, size), _percent(index + 1, size), state == "done"
        elapsed = percent_elapsed(leg.get("actual_departure"), leg.get("estimated_arrival"), view.now)
        reached = end if is_done else begin + (end - begin) * elapsed / 100 if state == "active" else begin
        icon = reached if state == "active" else (begin + end) / 2
        segments.append(
            SimpleNamespace(
                start=f"{begin:.2f}%",
                end=f"{end:.2f}%",
                reached=f"{reached:.2f}%",
                icon_x=f"{icon:.2f}%",
                state=state,
                mode=mode(leg.get("mode")),
            )
        )
        # A gap ends at the start of the next leg.
        where = place(leg, "destination") if leg else place(groups[index + 1][0], "origin")
        at = view.cell(leg, "arrival", zone=leg["destination_timezone"], is_past=is_done) if leg else None
        verb = "" if not leg else "arrived" if at and at.is_actual else "due"
        stops.append(SimpleNamespace(x=f"{end:.2f}%", place=where, verb=verb, at=at, is_reached=is_done))
    return SimpleNamespace(words=_words(stops, segments), size=size, stops=tuple(stops), segments=tuple(segments))


def _leg_groups(legs: Sequence[Mapping[str, Any]]) -> list[_LegGroup]:
    """Legs without parallel ones, with a gap where a leg does not begin at the end of the last one."""
    merged: list[Mapping[str, Any]] = []
    for leg in legs:
        if not merged or _leg_key(merged[-1]) != _leg_key(leg):
            merged.append(leg)
    groups: list[_LegGroup] = []
    last = max((index for index, leg in enumerate(merged) if leg["actual_departure"]), default=-1)
    for index, leg in enumerate(merged[:_MOST_STOPS]):
        arrived = bool(leg["actual_arrival"]) or index < last
        state = "done" if arrived else "active" if index == last else "planned"
        if index and _place_key(merged[index - 1], "destination") != _place_key(leg, "origin"):
            groups.append(({}, "planned" if state == "planned" else "done"))
        groups.append((leg, state))
    return groups


def _leg_key(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    return (fields["mode"], *_place_key(fields, "origin"), *_place_key(fields, "destination"))


def _place_key(fields: Mapping[str, Any], end: str) -> tuple[Any, Any]:
    return fields[end], fields[f"{end}_code"] or fields[f"{end}_ref"]


def _percent(index: int, size: int) -> float:
    return (index + 0.5) * 100 / size


def _words(stops: Sequence[SimpleNamespace], segments: Sequence[SimpleNamespace]) -> str:
    """`From Ningbo by ocean to Oakland, in progress; then …`."""
    states = {"done": "completed", "active": "in progress", "planned": "planned"}
    names = [stop.place.name.shown if stop.place else "an unknown place" for stop in stops]
    parts = []
    for segment, name in zip(segments, names[1:], strict=True):
        by = f"by {segment.mode.text.lower()} " if segment.mode else "on "
        parts.append(f"{by}to {name}, {states[segment.state]}")
    return f"From {names[0]} " + "; then ".join(parts)
