"""The bar that shows how far a shipment has come: its stops side by side, joined by its legs. Pure geometry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flexportd.core.resources.itinerary import in_order
from flexportd.expose.dashboard.pages.shipments import Dated, dates
from flexportd.expose.dashboard.view.dates import Sight, share_of
from flexportd.expose.dashboard.view.labels import Mode, Place, mode, place
from flexportd.storage.repositories.resources import Record

_MOST_STOPS = 9

State = Literal["done", "active", "planned"]


@dataclass(frozen=True, slots=True)
class Stop:
    """One place of the route. `at` is when it was or will be reached, of the first when it is left."""

    x: str
    place: Place | None
    verb: str
    at: Dated | None
    is_reached: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One leg between two stops, in percent of the width; `reached` is where the cargo is now. No mode: a gap."""

    start: str
    end: str
    reached: str
    icon_x: str
    state: State
    mode: Mode | None


@dataclass(frozen=True, slots=True)
class Route:
    """The bar. `words` tell the same to those who cannot see it."""

    words: str
    size: int
    stops: tuple[Stop, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A leg and its state; several legs for one stretch count as one. None: nothing is known of it."""

    leg: Mapping[str, Any] | None
    state: State


def route(legs: Sequence[Record], sight: Sight) -> Route | None:
    """The route of a shipment; None without legs."""
    return drawn([leg.fields for leg in in_order(legs)], sight)


def drawn(legs: Sequence[Mapping[str, Any]], sight: Sight) -> Route | None:
    """The route that these legs make, given by their fields in order of travel; None without any."""
    stretches = _stretches(legs)
    if not stretches:
        return None
    first = stretches[0].leg
    if first is None:
        return None
    size = len(stretches) + 1
    left = dates(first, "departure", sight, zone=first["origin_timezone"])
    stops = [Stop(_x(0, size), place(first, "origin"), "departed" if left and left.is_actual else "departs", left,
                  is_reached=True)]  # fmt: skip
    segments = []
    for index, stretch in enumerate(stretches):
        begin, end = _percent(index, size), _percent(index + 1, size)
        share = 100 if stretch.state == "done" else 0 if stretch.state == "planned" else _share(stretch, sight)
        reached = begin + (end - begin) * share / 100
        icon = reached if stretch.state == "active" else (begin + end) / 2
        kind = mode(stretch.leg["mode"]) if stretch.leg else None
        segments.append(Segment(_text(begin), _text(end), _text(reached), _text(icon), stretch.state, kind))
        stops.append(_stop(stretches, index, sight))
    return Route(_words(stops, segments), size, tuple(stops), tuple(segments))


def _stop(stretches: Sequence[_Stretch], index: int, sight: Sight) -> Stop:
    """The place at the end of a stretch; of a gap, where the next leg begins."""
    stretch, x = stretches[index], _x(index + 1, len(stretches) + 1)
    if stretch.leg is None:
        following = stretches[index + 1].leg
        return Stop(x, place(following, "origin") if following else None, "", None, is_reached=stretch.state == "done")
    fields = stretch.leg
    done = stretch.state == "done"
    at = dates(fields, "arrival", sight, zone=fields["destination_timezone"], passed=done)
    verb = "arrived" if at and at.is_actual else "due"
    return Stop(x, place(fields, "destination"), verb, at, is_reached=done)


def _stretches(legs: Sequence[Mapping[str, Any]]) -> list[_Stretch]:
    """Legs without their parallels, with a gap wherever one does not begin where the other ended."""
    merged: list[Mapping[str, Any]] = []
    for leg in legs:
        if not merged or _ends(merged[-1]) != _ends(leg):
            merged.append(leg)
    found: list[_Stretch] = []
    last = max((index for index, leg in enumerate(merged) if leg["actual_departure"]), default=-1)
    for index, leg in enumerate(merged[:_MOST_STOPS]):
        arrived = bool(leg["actual_arrival"]) or index < last
        state: State = "done" if arrived else "active" if index == last else "planned"
        if index and _spot(merged[index - 1], "destination") != _spot(leg, "origin"):
            found.append(_Stretch(None, "planned" if state == "planned" else "done"))
        found.append(_Stretch(leg, state))
    return found


def _ends(fields: Any) -> tuple[Any, ...]:
    return (fields["mode"], *_spot(fields, "origin"), *_spot(fields, "destination"))


def _spot(fields: Any, end: str) -> tuple[Any, Any]:
    return fields[end], fields[f"{end}_code"] or fields[f"{end}_ref"]


def _share(stretch: _Stretch, sight: Sight) -> int:
    fields = stretch.leg or {}
    return share_of(fields.get("actual_departure"), fields.get("estimated_arrival"), sight.now)


def _percent(index: int, size: int) -> float:
    return (index + 0.5) * 100 / size


def _x(index: int, size: int) -> str:
    return _text(_percent(index, size))


def _text(percent: float) -> str:
    return f"{percent:.2f}%"


def _words(stops: Sequence[Stop], segments: Sequence[Segment]) -> str:
    """`From Ningbo by ocean to Oakland, in progress; then …`."""
    states = {"done": "completed", "active": "in progress", "planned": "planned"}
    parts = []
    for segment, stop in zip(segments, stops[1:], strict=True):
        by = f"by {segment.mode.text.lower()} " if segment.mode else "on "
        parts.append(f"{by}to {stop.place.name.shown if stop.place else 'an unknown place'}, {states[segment.state]}")
    start = stops[0].place.name.shown if stops[0].place else "an unknown place"
    return f"From {start} " + "; then ".join(parts)
