"""The timeline of one shipment: what is planned and what happened, by milestone, in order. Pure.

It is built from the dates of the shipment, its legs and containers, which are the facts; events annotate it, since an
event may announce a change of an earlier one (see https://apidocs.flexport.com/v2/tag/Milestones).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import msgspec

from flexportd.core.routes import in_order, tags
from flexportd.core.stamps import Day, Stamp
from flexportd.core.values import is_day_only
from flexportd.flexport.milestones import milestone, title
from flexportd.storage.resources import Record, instant

# Events that only repeat what a date in a leg or container tells.
_TOLD_BY_DATES = {
    "arrived", "departed", "delivered", "delivered_in_full", "loaded_on_board", "unloaded_off_board",
    "available_for_pickup", "empty_returned", "delivery_completed", "delivery_appointment_scheduled",
    "updated_estimated_time_of_departure", "updated_estimated_time_of_arrival",
}  # fmt: skip


class TimelineEntry(TypedDict):
    """A milestone of the timeline: planned, actual or both. `day_only`: Flexport provides only the day."""

    milestone: str
    title: str
    group: Annotated[str, msgspec.Meta(description="progress, or another group of Flexport's milestones.")]
    planned_at: Stamp | None
    planned_date: Annotated[Day | None, msgspec.Meta(description="The local calendar day at the place.")]
    actual_at: Stamp | None
    actual_date: Annotated[Day | None, msgspec.Meta(description="The local calendar day at the place.")]
    day_only: bool
    place: str | None
    place_code: Annotated[str | None, msgspec.Meta(description="A UN/LOCODE.")]
    timezone: str | None
    mode: str | None
    leg_id: int | None
    container_number: str | None
    event_id: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One point of the timeline. `planned` and `actual` carry the offset of the place (see `Field`)."""

    milestone: str
    title: str
    planned: str | None = None
    actual: str | None = None
    place: str | None = None
    place_code: str | None = None
    timezone: str | None = None
    mode: str | None = None
    leg_id: int | None = None
    container_number: str | None = None
    event_id: str | None = None
    group: str = "progress"
    rank: tuple[int, int] = field(default=(0, 0))

    def document(self) -> TimelineEntry:
        """As the API shows it."""
        return {
            "milestone": self.milestone,
            "title": self.title,
            "group": self.group,
            "planned_at": instant(self.planned) if self.planned else None,
            "planned_date": self.planned[:10] if self.planned else None,
            "actual_at": instant(self.actual) if self.actual else None,
            "actual_date": self.actual[:10] if self.actual else None,
            "day_only": is_day_only(self.actual or self.planned or ""),
            "place": self.place,
            "place_code": self.place_code,
            "timezone": self.timezone,
            "mode": self.mode,
            "leg_id": self.leg_id,
            "container_number": self.container_number,
            "event_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Family:
    """A shipment with all that belongs to it."""

    shipment: Record
    legs: Sequence[Record] = ()
    containers: Sequence[Record] = ()
    container_legs: Sequence[Record] = ()
    events: Sequence[Mapping[str, Any]] = ()


def timeline(family: Family) -> list[Entry]:
    """Every entry, in order of time; what has no time yet stands where the route puts it."""
    legs = in_order(family.legs)
    entries = [*_of_shipment(family.shipment)]
    if not legs:
        entries += _without_legs(family.shipment)
    for position, leg in enumerate(legs):
        entries += _of_leg(leg, position)
    boxes = {int(box.id): box for box in family.containers if not box.removed_at}
    for box in boxes.values():
        entries += _of_container(box, len(legs))
    positions = {int(leg.id): (position, leg) for position, leg in enumerate(legs)}
    for container_leg in family.container_legs:
        entries += _of_container_leg(container_leg, positions, boxes)
    entries += _of_events(family.events)
    return _sorted([entry for entry in entries if entry.planned or entry.actual])


def _of_shipment(shipment: Record) -> Iterable[Entry]:
    fields = shipment.fields
    if fields["created_at"]:
        yield Entry("created", "Shipment created", actual=fields["created_at"], rank=(-3, 0))
    if fields["cargo_ready_date"]:
        ready = f"{fields['cargo_ready_date']}T00:00:00+00:00"
        yield Entry("cargo_ready", "Cargo ready", planned=ready, place=fields["origin"], group="dates", rank=(-2, 0))
    for name, words, place, rank in (
        ("picked_up_in_full", "Picked up in full", "origin", -1),
        ("delivered_in_full", "Delivered in full", "destination", 10_000),
    ):
        yield Entry(
            name, words, fields[f"estimated_{name}"], fields[f"actual_{name}"], fields[place], fields[f"{place}_code"],
            rank=(rank, 0),
        )  # fmt: skip


def _without_legs(shipment: Record) -> Iterable[Entry]:
    """Departure and arrival as the shipment itself tells them, as long as nobody told of its legs."""
    fields = shipment.fields
    for name, words, rank in (("departure", "Departed", 0), ("arrival", "Arrived", 1)):
        yield Entry(
            words.lower(), words, fields[f"estimated_{name}"], fields[f"actual_{name}"],
            mode=fields["mode"], rank=(rank, 0),
        )  # fmt: skip


def _of_leg(leg: Record, position: int) -> Iterable[Entry]:
    fields = leg.fields
    common = {"mode": fields["mode"], "leg_id": int(leg.id)}
    start = {"place": fields["origin"], "place_code": fields["origin_code"], "timezone": fields["origin_timezone"]}
    end = {
        "place": fields["destination"],
        "place_code": fields["destination_code"],
        "timezone": fields["destination_timezone"],
    }
    yield Entry(
        "departed", "Departed", fields["estimated_departure"], fields["actual_departure"],
        rank=(position, 1), **common, **start,
    )  # fmt: skip
    last = "destination_address" in tags(fields, "destination")
    yield Entry(
        "delivered" if last else "arrived", "Delivered" if last else "Arrived",
        fields["estimated_arrival"], fields["actual_arrival"], rank=(position, 3), **common, **end,
    )  # fmt: skip
    yield Entry(
        "delivery_appointment", "Delivery appointment", fields["delivery_appointment"],
        group="dates", rank=(position, 4), **common, **end,
    )  # fmt: skip
    yield Entry(
        "delivery_completed", "Delivery completed", None, fields["delivery_completed"],
        rank=(position, 5), **common, **end,
    )  # fmt: skip


def _of_container(box: Record, after: int) -> Iterable[Entry]:
    fields = box.fields
    number = fields["container_number"] or f"container {box.id}"
    yield Entry(
        "available_for_pickup", "Available for pickup",
        fields["estimated_available_for_pickup"], fields["available_for_pickup"],
        container_number=number, rank=(after, 0),
    )  # fmt: skip
    yield Entry(
        "last_free_day", "Last free day", fields["last_free_day"],
        container_number=number, group="dates", rank=(after, 1),
    )  # fmt: skip
    if fields["empty_returned_date"]:
        returned = f"{fields['empty_returned_date']}T00:00:00+00:00"
        yield Entry(
            "empty_returned", "Empty container returned", None, returned, container_number=number, rank=(20_000, 0)
        )


def _of_container_leg(
    record: Record, positions: Mapping[int, tuple[int, Record]], boxes: Mapping[int, Record]
) -> Iterable[Entry]:
    fields = record.fields
    box = boxes.get(fields["container_id"] or 0)
    number = (box.fields["container_number"] if box else None) or f"container {fields['container_id']}"
    position, leg = positions.get(fields["leg_id"] or 0, (0, None))
    for name, words, end, step in (
        ("actual_loaded_on_board", "Loaded on board", "origin", 0),
        ("actual_discharge", "Unloaded off board", "destination", 4),
    ):
        yield Entry(
            name.removeprefix("actual_"), words, None, fields[name],
            place=leg.fields[end] if leg else None, place_code=leg.fields[f"{end}_code"] if leg else None,
            timezone=leg.fields[f"{end}_timezone"] if leg else None, mode=leg.fields["mode"] if leg else None,
            leg_id=fields["leg_id"], container_number=number, rank=(position, step),
        )  # fmt: skip


def _of_events(events: Iterable[Mapping[str, Any]]) -> Iterable[Entry]:
    for event in events:
        known = milestone(event["type"])
        name = (event["type"] or "").rpartition("#")[2]
        at = event["occurred_at"] or event["created_at"]
        if name in _TOLD_BY_DATES or name == "created" or at is None:
            continue
        group = known.group if known else "progress"
        yield Entry(name, title(event["type"]), actual=at, event_id=event["id"], group=group, rank=(30_000, 0))


def _sorted(entries: list[Entry]) -> list[Entry]:
    """By time; at equal times, and on days without a time of day, the order of the route."""

    def key(entry: Entry) -> tuple[str, tuple[int, int], str]:
        when = entry.actual or entry.planned or ""
        at = instant(when)
        # A day in disguise must not stand behind a real time of the same day because it says noon.
        return (when[:10] if is_day_only(when) else at[:10], entry.rank, at)

    return sorted(entries, key=key)
