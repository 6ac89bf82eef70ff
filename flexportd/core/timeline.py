"""The timeline of one shipment: planned and actual milestones in order. Pure.

It is built from the dates of the shipment, its legs and containers; events only annotate it, since an event may
announce a change of an earlier one (see https://apidocs.flexport.com/v2/tag/Milestones).

Entries are ordered by instant. An entry of which only the day is known spans that day at its place, and is placed
within it by the order of the route. A plan that facts have overtaken is left out, since it can no longer happen; it
remains visible in the shipment and its legs. So do implausible dates.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec

from flexportd.clock import parse, stamp, zone_of
from flexportd.core.json_types import Day, Stamp, doc, document_of
from flexportd.core.labels import is_day_only
from flexportd.core.resources.containers import LAST_FREE_DAY, TERMINAL
from flexportd.core.resources.itinerary import NO_PLACE, RoutePlace, ShipmentRoute, place_at, tags
from flexportd.core.resources.values import at_place
from flexportd.flexport.milestones import milestone, title
from flexportd.storage.queries.table import instant, instant_of, plausible_or_none
from flexportd.storage.repositories.resources import Record

# Events that only repeat a date of a leg or container.
_DATE_EVENTS = {
    "arrived", "departed", "delivered", "delivered_in_full", "loaded_on_board", "unloaded_off_board",
    "available_for_pickup", "empty_returned", "delivery_completed", "delivery_appointment_scheduled",
    "updated_estimated_time_of_departure", "updated_estimated_time_of_arrival", "created",
}  # fmt: skip

# Ranks: the level of a leg and the step at it; these are levels before and after all legs.
_CREATED, _READY, _BEFORE, _AFTER, _RETURNED = (-3, 0), (-2, 0), (-1, 0), (10_000, 0), (20_000, 0)
EVENT_RANK = (30_000, 0)
"""The rank of entries from events only: they have no place in the order of travel."""

_LOADED, _DEPARTED, _COLLECTED, _APPOINTED, _ARRIVED, _DELIVERED, _DISCHARGED, _AVAILABLE, _LEFT, _COMPLETED = range(10)

_FIXED_DATES = {"cargo_ready", "last_free_day"}  # days that stay in the timeline whatever happens later


class TimelineEntry(TypedDict):
    """A milestone of the timeline: planned, actual or both. `day_only`: Flexport provides only the day."""

    milestone: str
    title: str
    group: Annotated[str, doc("progress, or another group of Flexport's milestones.")]
    planned_at: Annotated[Stamp | None, doc("Of a deadline, the end of the day at the place.")]
    planned_date: Annotated[Day | None, doc("The local calendar day at the place.")]
    actual_at: Stamp | None
    actual_date: Annotated[Day | None, doc("The local calendar day at the place.")]
    shipment_planned_date: Annotated[
        Day | None, doc("The shipment's own planned day, where it differs from the leg's.")
    ]
    shipment_actual_date: Annotated[Day | None, doc("The shipment's own actual day, where it differs from the leg's.")]
    day_only: bool
    place: str | None
    place_code: Annotated[str | None, doc("A UN/LOCODE.")]
    timezone: Annotated[str | None, doc("The time zone of the place (IANA name).")]
    mode: str | None
    leg_id: Annotated[int | None, doc("The leg; of several parallel legs, the first.")]
    leg_ids: Annotated[list[int], doc("The parallel legs that the entry is about.")]
    container_number: Annotated[str | None, doc("The container, where it is exactly one.")]
    container_numbers: Annotated[
        list[str], doc("The containers that the entry is about; empty where it is about the whole shipment.")
    ]
    event_id: str | None


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """One point of the timeline. `planned` and `actual` carry the offset of the place (see `Field`).

    `deadline_at` is the instant at which a planned day is over, where that is what counts. `cargo` are the containers
    or parallel legs that it is about, by id; None for all. Points of one section of the route have the same two ends.
    """

    milestone: str
    title: str
    planned: str | None = None
    actual: str | None = None
    shipment_planned: str | None = None
    shipment_actual: str | None = None
    deadline_at: str | None = None
    place: str | None = None
    place_code: str | None = None
    timezone: str | None = None
    mode: str | None = None
    leg_ids: tuple[int, ...] = ()
    container_numbers: tuple[str, ...] = ()
    event_id: str | None = None
    group: str = "progress"
    rank: tuple[int, int] = (0, 0)
    cargo: frozenset[tuple[str, int]] | None = None
    other_end: tuple[Any, Any] | None = None

    @property
    def moment(self) -> str:
        """The time that counts: the actual one, else the planned."""
        return self.actual or self.planned or ""

    def document(self) -> TimelineEntry:
        """As the API shows it."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return document_of(
            TimelineEntry,
            values,
            planned_at=self.deadline_at or (instant(self.planned) if self.planned else None),
            planned_date=_day(self.planned),
            actual_at=instant(self.actual) if self.actual else None,
            actual_date=_day(self.actual),
            shipment_planned_date=_day(self.shipment_planned),
            shipment_actual_date=_day(self.shipment_actual),
            day_only=is_day_only(self.moment) or self.deadline_at is not None,
            leg_id=self.leg_ids[0] if self.leg_ids else None,
            leg_ids=list(self.leg_ids),
            container_number=self.container_numbers[0] if len(self.container_numbers) == 1 else None,
            container_numbers=list(self.container_numbers),
        )


_PLAIN_FIELDS = ("milestone", "title", "group", "place", "place_code", "timezone", "mode", "event_id")


def _day(moment: str | None) -> str | None:
    return moment[:10] if moment else None


@dataclass(frozen=True, slots=True)
class ShipmentBundle:
    """A shipment with its related objects; `locations` are the places of events by their ids, where known."""

    shipment: Record
    legs: Sequence[Record] = ()
    containers: Sequence[Record] = ()
    container_legs: Sequence[Record] = ()
    events: Sequence[Mapping[str, Any]] = ()
    locations: Mapping[str, RoutePlace] = field(default_factory=dict)


def timeline(bundle: ShipmentBundle) -> list[TimelinePoint]:
    """Every entry, in order of time."""
    builder = _Builder(bundle)
    points = [point for point in builder.points() if point.planned or point.actual]
    return _sort_points(_merge_parallel(_drop_overtaken(points, builder.bottlenecks)))


def shows_event(event_type: str | None) -> bool:
    """Whether the timeline shows an event of this type: those that only repeat a date are left out."""
    return (event_type or "").rpartition("#")[2] not in _DATE_EVENTS


class _Builder:
    def __init__(self, bundle: ShipmentBundle) -> None:
        self._bundle = bundle
        self._fields = bundle.shipment.fields
        self._route = ShipmentRoute(bundle.legs)
        self._levels = _levels(self._route.ordered)
        boxes = sorted((box for box in bundle.containers if not box.removed_at), key=_id)
        self._boxes = {int(box.id): box for box in boxes}
        self._box_legs = sorted((one for one in bundle.container_legs if not one.removed_at), key=_id)
        self._at_terminals: dict[Any, list[Record]] = {}
        for box in boxes:
            self._at_terminals.setdefault(_terminal(box)[:2], []).append(box)
        on_legs: dict[int, list[int]] = {}
        for one in self._box_legs:
            if one.fields["container_id"] in self._boxes and one.fields["leg_id"] is not None:
                on_legs.setdefault(one.fields["leg_id"], []).append(one.fields["container_id"])
        self._on_legs = on_legs
        stretches: dict[Any, list[Record]] = {}
        for leg in self._route.ordered:
            stretches.setdefault((place_at(leg, "origin")[:2], place_at(leg, "destination")[:2]), []).append(leg)
        beside = {leg.id for legs in stretches.values() if len(legs) > 1 for leg in legs}
        # Legs of one level lead from one place to several, or from several to one.
        by_level: dict[int, list[Record]] = {}
        for leg in self._route.ordered:
            by_level.setdefault(self._levels[leg.id], []).append(leg)
        self._parallel = beside | {leg.id for legs in by_level.values() if len(legs) > 1 for leg in legs}
        self.bottlenecks = sorted(
            {self._levels[leg.id] for leg in self._route.ordered} - {self._levels[number] for number in self._parallel}
        )
        hand_over = self._route.last_carrier_leg
        self._terminal_level = self._levels[hand_over.id] if hand_over is not None else 0

    def points(self) -> Iterable[TimelinePoint]:
        """All entries, unordered; also those without a time."""
        yield from self._shipment_points()
        if not self._route.ordered:
            yield from self._points_without_legs()
        for leg in self._route.ordered:
            yield from self._leg_points(leg)
        for box in self._boxes.values():
            yield from self._container_points(box)
        legs = {leg.id: leg for leg in self._route.ordered}
        for one in self._box_legs:
            on, of = legs.get(one.fields["leg_id"]), self._boxes.get(one.fields["container_id"] or 0)
            if on is not None and of is not None:
                yield from self._container_leg_points(one, on, of)
        yield from self._event_points()

    def _shipment_points(self) -> Iterable[TimelinePoint]:
        fields = self._fields
        created, ready = plausible_or_none(fields["created_at"]), plausible_or_none(fields["cargo_ready_date"])
        yield TimelinePoint(milestone="created", title="Shipment created", actual=created, rank=_CREATED)
        origin, destination = self._shipment_place("origin"), self._shipment_place("destination")
        begin = _start_of_day(ready, origin)
        yield _point("cargo_ready", "Cargo ready", origin, _READY, planned=begin, group="dates")
        parts = {("box", number) for number in self._boxes} | {("leg", int(number)) for number in self._parallel}
        everything = frozenset(parts) if len(parts) > 1 else None
        collecting = [leg for leg in self._route.ordered if place_at(leg, "origin")[:2] == origin[:2]]
        departing = self._route.departure_leg
        is_collected = bool(collecting) and all(leg is not departing for leg in collecting)
        rank = (self._levels[collecting[0].id], _COLLECTED) if is_collected else _BEFORE
        for name, words, place, at in (
            ("picked_up_in_full", "Picked up in full", origin, rank),
            ("delivered_in_full", "Delivered in full", destination, self._delivery_rank),
        ):
            dates = _planned_and_actual(fields, name)
            cargo = None if dates["actual"] else everything  # once it has happened, it applies to all
            yield _point(name, words, place, at, cargo=cargo, **dates)

    @functools.cached_property
    def _delivery_rank(self) -> tuple[int, int]:
        """The rank of the delivery in full: after the legs that lead to the destination."""
        destination = self._shipment_place("destination")
        ends = [leg for leg in self._route.ordered if place_at(leg, "destination")[:2] == destination[:2]]
        return max((self._levels[leg.id], _DELIVERED) for leg in ends) if ends else _AFTER

    def _shipment_place(self, name: str) -> RoutePlace:
        fields = self._fields
        return RoutePlace(fields[name], fields[f"{name}_code"], fields[f"{name}_timezone"])

    def _points_without_legs(self) -> Iterable[TimelinePoint]:
        """Departure and arrival by the shipment's own dates, while its legs are not known."""
        for step, (name, words, at) in enumerate(
            (("departure", "Departed", "port_of_loading"), ("arrival", "Arrived", "port_of_unloading"))
        ):
            place, dates = self._shipment_place(at), _planned_and_actual(self._fields, name)
            yield _point(words.lower(), words, place, (0, step), mode=self._fields["mode"], **dates)

    def _leg_points(self, leg: Record) -> Iterable[TimelinePoint]:
        fields, level = leg.fields, self._levels[leg.id]
        start, end = place_at(leg, "origin"), place_at(leg, "destination")
        about: dict[str, Any] = {"mode": fields["mode"], "leg_ids": (int(leg.id),)}
        if leg.id in self._parallel:
            loads = self._on_legs.get(int(leg.id), [])
            about["cargo"] = frozenset(("box", number) for number in loads) or frozenset({("leg", int(leg.id))})
            about["container_numbers"] = _container_numbers(self._boxes[number] for number in loads)
        dates = self._dates(leg, "departure")
        yield _point("departed", "Departed", start, (level, _DEPARTED), other_end=end[:2], **about, **dates)
        about["other_end"] = start[:2]
        is_last = "destination_address" in tags(fields, "destination")
        name, dates = "delivered" if is_last else "arrived", self._dates(leg, "arrival")
        yield _point(name, name.capitalize(), end, (level, _ARRIVED), **about, **dates)
        about["planned"] = plausible_or_none(fields["delivery_appointment"])
        if completed := plausible_or_none(fields["delivery_completed"]):
            rank = (level, _COMPLETED)
            yield _point("delivery_completed", "Delivery completed", end, rank, actual=completed, **about)
        else:
            rank = (level, _APPOINTED)
            yield _point("delivery_appointment", "Delivery appointment", end, rank, group="dates", **about)

    def _dates(self, leg: Record, what: str) -> dict[str, Any]:
        """The dates of one end of a leg; missing ones from the shipment or its containers."""
        found: dict[str, Any] = {}
        name = self._is_date_of(leg, what)
        for kind, ours in (("planned", "estimated"), ("actual", "actual")):
            own = plausible_or_none(leg.fields[f"{ours}_{what}"])
            own_date = self._own_date(f"{ours}_{name}") if name else None
            if leg.id in self._parallel and any(
                one.fields[f"{ours}_{what}"] for one in self._route.ordered if self._is_parallel(one, leg)
            ):
                own_date = None  # the shipment's date is that of one of them
            if own_date and own and own_date[:10] != own[:10]:
                found[f"shipment_{kind}"] = own_date
            found[kind] = own or own_date or self._container_date(leg, f"{ours}_{what}")
        return found

    def _is_date_of(self, leg: Record, what: str) -> str | None:
        route = self._route
        if what == "departure":
            return "departure" if self._is_parallel(leg, route.departure_leg) else None
        if self._is_parallel(leg, route.arrival_leg):
            return "arrival"
        return "ramp_arrival" if route.has_ramp and self._is_parallel(leg, route.last_carrier_leg) else None

    def _is_parallel(self, leg: Record, other: Record | None) -> bool:
        if leg is other or other is None:
            return leg is other
        return {leg.id, other.id} <= self._parallel and self._levels[leg.id] == self._levels[other.id]

    def _own_date(self, name: str) -> str | None:
        fields = self._fields
        sources = msgspec.json.decode(fields["date_sources"]) if fields["date_sources"] else {}
        return plausible_or_none(fields[name]) if sources.get(name) == "shipment" else None

    def _container_date(self, leg: Record, name: str) -> str | None:
        route, boxes = self._route, list(self._boxes.values())
        if leg.id in self._parallel:
            boxes = [self._boxes[number] for number in self._on_legs.get(int(leg.id), ())]
        if name.endswith("departure"):
            boxes = boxes if self._is_parallel(leg, route.departure_leg) else []
        elif any(leg is one for one in route.carriage):
            at = {box.id for box in self._at_terminals.get(place_at(leg, "destination")[:2], ())}
            boxes = [box for box in boxes if box.id in at]
        else:
            boxes = []
        moments = [moment for box in boxes if (moment := plausible_or_none(box.fields[name]))]
        return min(moments, key=instant, default=None)

    def _container_points(self, box: Record) -> Iterable[TimelinePoint]:
        fields, level, place = box.fields, self._terminal_level, _terminal(box)
        about: dict[str, Any] = {
            "container_numbers": _container_numbers((box,)), "cargo": frozenset({("box", int(box.id))}),
        }  # fmt: skip
        planned = plausible_or_none(fields["estimated_available_for_pickup"])
        actual = plausible_or_none(fields["available_for_pickup"])
        name, rank = "available_for_pickup", (level, _AVAILABLE)
        yield _point(name, "Available for pickup", place, rank, planned=planned, actual=actual, **about)
        day = plausible_or_none(fields["last_free_day"])
        until, rank = instant_of(LAST_FREE_DAY, day, fields) if day else None, (level, _LEFT)
        yield _point(
            "last_free_day", "Last free day", place, rank, planned=day, deadline_at=until, group="dates", **about
        )
        planned, actual = (_at_terminal(fields, name) for name in ("estimated_pickup", "actual_pickup"))
        yield _point("gated_out", "Left the terminal", place, rank, planned=planned, actual=actual, **about)
        if not any(leg.fields["actual_arrival"] for leg in self._route.onward):
            dates = _planned_and_actual(fields, "delivery")
            if dates["actual"] or not self._route.onward:
                door = self._shipment_place("destination")
                yield _point("delivered", "Delivered", door, self._delivery_rank, **dates, **about)
        returned = _start_of_day(plausible_or_none(fields["empty_returned_date"]), place)
        yield _point("empty_returned", "Empty container returned", place, _RETURNED, actual=returned, **about)

    def _container_leg_points(self, one: Record, leg: Record, box: Record) -> Iterable[TimelinePoint]:
        about: dict[str, Any] = {"mode": leg.fields["mode"], "leg_ids": (int(leg.id),)}
        about |= {"container_numbers": _container_numbers((box,)), "cargo": frozenset({("box", int(box.id))})}
        for field_name, name, words, end, step in (
            ("actual_loaded_on_board", "loaded_on_board", "Loaded on board", "origin", _LOADED),
            ("actual_discharge", "unloaded_off_board", "Unloaded off board", "destination", _DISCHARGED),
        ):
            place, moment = place_at(leg, end), plausible_or_none(one.fields[field_name])
            actual = at_place(moment, place.timezone) if moment and place.timezone else moment
            yield _point(name, words, place, (self._levels[leg.id], step), actual=actual, **about)

    def _event_points(self) -> Iterable[TimelinePoint]:
        for event in self._bundle.events:
            known, at = milestone(event["type"]), plausible_or_none(event["occurred_at"] or event["created_at"])
            if at is None or not shows_event(event["type"]):
                continue
            place = self._bundle.locations.get(event["id"], NO_PLACE)
            yield _point(
                (event["type"] or "").rpartition("#")[2],
                title(event["type"]),
                place,
                EVENT_RANK,
                actual=at_place(at, place.timezone) if place.timezone else at,
                event_id=event["id"],
                group=known.group if known else "progress",
            )


def _point(milestone: str, title: str, place: RoutePlace, rank: tuple[int, int], **more: Any) -> TimelinePoint:
    name, code, zone = place
    return TimelinePoint(milestone, title, place=name, place_code=code, timezone=zone, rank=rank, **more)


def _planned_and_actual(fields: Mapping[str, Any], name: str) -> dict[str, str | None]:
    planned, actual = fields[f"estimated_{name}"], fields[f"actual_{name}"]
    return {"planned": plausible_or_none(planned), "actual": plausible_or_none(actual)}


def _id(record: Record) -> int:
    return int(record.id)


def _levels(ordered: Sequence[Record]) -> dict[Any, int]:
    """How many legs precede each leg; parallel legs are at one level."""
    found: dict[Any, int] = {}
    ends: dict[Any, int] = {}
    starts: dict[Any, int] = {}
    for leg in ordered:
        start, end = place_at(leg, "origin")[:2], place_at(leg, "destination")[:2]
        if start in ends:
            level = ends[start] + 1
        elif start in starts:
            level = starts[start]
        else:
            level = _unconnected(leg, ordered, found)
        found[leg.id] = level
        starts.setdefault(start, level)
        ends[end] = max(level, ends.get(end, level))
    return found


def _unconnected(leg: Record, ordered: Sequence[Record], found: Mapping[Any, int]) -> int:
    """The level of a leg that starts where no leg ends: that of another to the same place, else after all."""
    end = place_at(leg, "destination")[:2]
    beside = (found[one.id] for one in ordered if one.id in found and place_at(one, "destination")[:2] == end)
    return next(beside, max(found.values(), default=-1) + 1)


def _terminal(box: Record) -> RoutePlace:
    return RoutePlace(*(box.fields[name] for name in TERMINAL))


def _at_terminal(fields: Mapping[str, Any], name: str) -> str | None:
    """The pickup of a container at the terminal: as recorded, the date is mostly the pickup at the seller's."""
    picked, arrived = plausible_or_none(fields[name]), fields["actual_arrival"] or fields["estimated_arrival"]
    return picked if picked and arrived and picked[:10] >= arrived[:10] else None


def _start_of_day(day: str | None, place: RoutePlace) -> str | None:
    if day is None:
        return None
    zone = zone_of(place.timezone) if place.timezone else None
    if zone is None:
        return f"{day}T00:00:00-00:00"
    return datetime.combine(date.fromisoformat(day), time(), zone).isoformat()


def _container_numbers(boxes: Iterable[Record]) -> tuple[str, ...]:
    return tuple(box.fields["container_number"] or f"container {box.id}" for box in boxes)


def _drop_overtaken(found: Sequence[TimelinePoint], bottlenecks: Sequence[int]) -> list[TimelinePoint]:
    """Drop plans that can no longer happen: a later step has happened, or an earlier one at a later time.

    `bottlenecks` are the levels that all cargo passes: what happened there or later to one container shows that
    everything before is over for all.
    """
    facts = [(one, _Span.of_point(one)) for one in found if one.actual and _is_of_travel(one)]
    return [
        one
        for one in found
        if one.actual
        or one.milestone in _FIXED_DATES
        or not any(_overtakes(fact, span, one, bottlenecks) for fact, span in facts)
    ]


def _overtakes(fact: TimelinePoint, span: "_Span", plan: TimelinePoint, bottlenecks: Sequence[int]) -> bool:
    before, behind = plan.rank, fact.rank
    if behind > before:
        if plan.cargo is None or fact.cargo is None or plan.cargo <= fact.cargo:
            return True
        return any(before[0] < level <= behind[0] for level in bottlenecks)
    is_same_cargo = plan.cargo is None or fact.cargo is None or not plan.cargo.isdisjoint(fact.cargo)
    return behind < before and is_same_cargo and _Span.of_point(plan).end < span.begin


def _is_of_travel(entry: TimelinePoint) -> bool:
    return _BEFORE <= entry.rank < EVENT_RANK and entry.group == "progress"


def _merge_parallel(points: Iterable[TimelinePoint]) -> list[TimelinePoint]:
    """One entry for each end of a section of the route and day, with all legs and containers."""
    groups: dict[tuple[Any, ...], list[TimelinePoint]] = {}
    for index, one in enumerate(points):
        alone = index if one.cargo is None or one.event_id else None
        key = (
            one.milestone, one.place, one.place_code, one.other_end, one.moment[:10], bool(one.actual), one.rank, alone,
        )  # fmt: skip
        groups.setdefault(key, []).append(one)
    return [_merge_points(group) for group in groups.values()]


def _merge_points(entries: Sequence[TimelinePoint]) -> TimelinePoint:
    if len(entries) == 1:
        return entries[0]
    first = min(entries, key=lambda entry: instant(entry.moment))
    # Several times of one day: only the day is common.
    moments: dict[str, str | None] = {}
    for name in ("planned", "actual"):
        values = [value for entry in entries if (value := getattr(entry, name))]
        is_same = len({instant(value) for value in values}) <= 1
        earliest = min(values, key=instant, default=None)
        moments[name] = earliest if is_same or earliest is None else f"{earliest[:10]}T12:00:00{earliest[-6:]}"
    legs = sorted({number for entry in entries for number in entry.leg_ids})
    boxes = sorted({number for entry in entries for number in entry.container_numbers})
    return replace(first, leg_ids=tuple(legs), container_numbers=tuple(boxes), **moments)  # type: ignore[arg-type]


class _Span(NamedTuple):
    """The period in which an entry lies, as stored instants: the whole day if only that is known."""

    begin: str
    end: str

    @classmethod
    def of_point(cls, entry: TimelinePoint) -> "_Span":
        """The span of an entry; a deadline is when its day ends."""
        moment = entry.moment
        if not is_day_only(moment) or entry.deadline_at:
            at = entry.deadline_at or instant(moment)
            return cls(at, at)
        try:
            begin = parse(f"{moment[:10]}T00:00:00{moment[19:]}")
            return cls(stamp(begin), stamp(begin + timedelta(days=1, milliseconds=-1)))
        except OverflowError:  # the first and the last day there is
            return cls(instant(moment), instant(moment))


def _sort_points(entries: Sequence[TimelinePoint]) -> list[TimelinePoint]:
    """Sort by instant, then by the order of the route.

    A day-only entry is placed where Flexport puts it, mostly at noon, unless that contradicts the route within the day.
    """
    placed: dict[int, str] = {}
    fixed: list[tuple[str, tuple[int, int]]] = []
    days: list[tuple[int, TimelinePoint]] = []
    for index, entry in enumerate(entries):
        if is_day_only(entry.moment) and not entry.deadline_at and entry.rank < EVENT_RANK:
            days.append((index, entry))
            continue
        placed[index] = entry.deadline_at or instant(entry.moment)
        if _is_of_travel(entry):
            fixed.append((placed[index], entry.rank))
    for index, entry in sorted(days, key=lambda day: (day[1].rank, instant(day[1].moment))):
        span, at = _Span.of_point(entry), instant(entry.moment)
        near = [(when, rank) for when, rank in fixed if span.begin <= when <= span.end]
        behind = min((when for when, rank in near if rank > entry.rank), default=at)
        before = max((when for when, rank in near if rank < entry.rank), default=at)
        placed[index] = max(min(at, behind), before)
        fixed.append((placed[index], entry.rank))
    order = sorted(range(len(entries)), key=lambda at: (placed[at], entries[at].rank, entries[at].actual is None, at))
    return [entries[index] for index in order]
