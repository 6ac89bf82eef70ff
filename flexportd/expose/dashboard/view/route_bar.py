"""The route bar: the stops of a shipment, joined by its legs, with the current position. Pure geometry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flexportd.expose.dashboard.view.dates import DateCell, ViewContext, percent_elapsed
from flexportd.expose.dashboard.view.labels import Mode, PlaceText, mode, place

_MOST_STOPS = 9

State = Literal["done", "active", "planned"]


@dataclass(frozen=True, slots=True)
class RouteBarStop:
    """One stop of the route; `at` is its arrival, of the first stop the departure."""

    x: str
    place: PlaceText | None
    verb: str
    at: DateCell | None
    is_reached: bool


@dataclass(frozen=True, slots=True)
class RouteBarSegment:
    """One leg between two stops, in percent of the width; `reached` is the position of the cargo. No mode: a gap."""

    start: str
    end: str
    reached: str
    icon_x: str
    state: State
    mode: Mode | None


@dataclass(frozen=True, slots=True)
class RouteBar:
    """The bar; `words` is its text for screen readers."""

    words: str
    size: int
    stops: tuple[RouteBarStop, ...]
    segments: tuple[RouteBarSegment, ...]


@dataclass(frozen=True, slots=True)
class _LegGroup:
    """A leg with its state; parallel legs count as one. None: a gap between two legs."""

    leg: Mapping[str, Any] | None
    state: State


def route_bar(legs: Sequence[Mapping[str, Any]], view: ViewContext) -> RouteBar | None:
    """The route of these legs, by their fields in order of travel; None without legs."""
    groups = _leg_groups(legs)
    if not groups:
        return None
    first = groups[0].leg
    if first is None:
        return None
    size = len(groups) + 1
    left = view.cell(first, "departure", zone=first["origin_timezone"])
    verb = "departed" if left and left.is_actual else "departs"
    stops = [RouteBarStop(_x(0, size), place(first, "origin"), verb, left, is_reached=True)]
    segments = []
    for index, group in enumerate(groups):
        begin, end = _percent(index, size), _percent(index + 1, size)
        share = 100 if group.state == "done" else 0 if group.state == "planned" else _percent_done(group, view)
        reached = begin + (end - begin) * share / 100
        icon = reached if group.state == "active" else (begin + end) / 2
        kind = mode(group.leg["mode"]) if group.leg else None
        segments.append(RouteBarSegment(_text(begin), _text(end), _text(reached), _text(icon), group.state, kind))
        stops.append(_stop(groups, index, view))
    return RouteBar(_words(stops, segments), size, tuple(stops), tuple(segments))


def _stop(groups: Sequence[_LegGroup], index: int, view: ViewContext) -> RouteBarStop:
    """The stop at the end of a leg; of a gap, the start of the next leg."""
    group, x = groups[index], _x(index + 1, len(groups) + 1)
    if group.leg is None:
        following = groups[index + 1].leg
        return RouteBarStop(
            x, place(following, "origin") if following else None, "", None, is_reached=group.state == "done"
        )
    fields = group.leg
    done = group.state == "done"
    at = view.cell(fields, "arrival", zone=fields["destination_timezone"], is_past=done)
    verb = "arrived" if at and at.is_actual else "due"
    return RouteBarStop(x, place(fields, "destination"), verb, at, is_reached=done)


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
        state: State = "done" if arrived else "active" if index == last else "planned"
        if index and _place_key(merged[index - 1], "destination") != _place_key(leg, "origin"):
            groups.append(_LegGroup(None, "planned" if state == "planned" else "done"))
        groups.append(_LegGroup(leg, state))
    return groups


def _leg_key(fields: Any) -> tuple[Any, ...]:
    return (fields["mode"], *_place_key(fields, "origin"), *_place_key(fields, "destination"))


def _place_key(fields: Any, end: str) -> tuple[Any, Any]:
    return fields[end], fields[f"{end}_code"] or fields[f"{end}_ref"]


def _percent_done(group: _LegGroup, view: ViewContext) -> int:
    fields = group.leg or {}
    return percent_elapsed(fields.get("actual_departure"), fields.get("estimated_arrival"), view.now)


def _percent(index: int, size: int) -> float:
    return (index + 0.5) * 100 / size


def _x(index: int, size: int) -> str:
    return _text(_percent(index, size))


def _text(percent: float) -> str:
    return f"{percent:.2f}%"


def _words(stops: Sequence[RouteBarStop], segments: Sequence[RouteBarSegment]) -> str:
    """`From Ningbo by ocean to Oakland, in progress; then …`."""
    states = {"done": "completed", "active": "in progress", "planned": "planned"}
    parts = []
    for segment, stop in zip(segments, stops[1:], strict=True):
        by = f"by {segment.mode.text.lower()} " if segment.mode else "on "
        parts.append(f"{by}to {stop.place.name.shown if stop.place else 'an unknown place'}, {states[segment.state]}")
    start = stops[0].place.name.shown if stops[0].place else "an unknown place"
    return f"From {start} " + "; then ".join(parts)
