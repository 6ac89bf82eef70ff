"""Timelines of a whole sandbox world: each ascends, and no plan stands before the facts that overtook it."""

from datetime import UTC, datetime, timedelta

import pytest

from flexportd.core.timeline import timeline
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, LEG, SHIPMENT
from flexportd.sandbox.world.world import World, WorldPlan
from flexportd.storage.queries.table import instant
from tests.families import family_of

SHIPMENTS = 400
START = datetime(2026, 3, 21, 12, tzinfo=UTC)
LONGEST_DAY = timedelta(hours=25)  # clocks go back


@pytest.fixture(scope="module")
def timelines():
    world = World(WorldPlan(start=START, seed=11, shipments=SHIPMENTS))
    kept = world.export()
    legs, boxes, box_legs = {}, {}, {}
    for one in kept[LEG].values():
        legs.setdefault(one["shipment"]["id"], []).append(one)
    for one in kept[CONTAINER].values():
        boxes.setdefault(one["shipment"]["id"], []).append(one)
    for one in kept[CONTAINER_LEG].values():
        box_legs.setdefault(one["shipment_container"]["id"], []).append(one)
    found = {}
    for one in kept[SHIPMENT].values():
        number = one["id"]
        of_boxes = boxes.get(number, [])
        on_legs = [leg for box in of_boxes for leg in box_legs.get(box["id"], [])]
        found[number] = timeline(family_of(one, legs.get(number, ()), of_boxes, on_legs))
    assert len(found) >= SHIPMENTS
    return found


def _span(entry):
    """From when until when an entry may be."""
    if entry.deadline_at:
        return (datetime.fromisoformat(entry.deadline_at),) * 2
    moment = entry.actual or entry.planned
    if entry.document()["day_only"]:
        begin = datetime.fromisoformat(f"{moment[:10]}T00:00:00{moment[19:]}")
        return begin, begin + LONGEST_DAY
    return (datetime.fromisoformat(instant(moment)),) * 2


def test_every_timeline_ascends(timelines):
    for number, entries in timelines.items():
        latest = datetime.min.replace(tzinfo=UTC)
        for entry in entries:
            begin, end = _span(entry)
            assert end >= latest, (number, entry)
            latest = max(latest, begin)


def test_no_plan_stands_before_what_has_happened(timelines):
    for number, entries in timelines.items():
        last = max((at for at, one in enumerate(entries) if one.actual and one.milestone != "created"), default=-1)
        early = [one for one in entries[: max(last, 0)] if not one.actual and one.group == "progress"]
        assert all(one.container_numbers for one in early), (number, early)  # others' boxes may be further


def test_every_entry_has_its_place_and_its_zone(timelines):
    entries = [one for found in timelines.values() for one in found if one.milestone != "created"]
    assert [one for one in entries if one.place is None or one.timezone is None] == []
    assert {"unloaded_off_board", "last_free_day", "delivered", "empty_returned"} <= {one.milestone for one in entries}


def test_what_happens_at_once_on_one_stretch_is_told_once(timelines):
    for number, entries in timelines.items():
        rows = [
            (one.milestone, one.place, one.leg_ids and one.rank, (one.actual or one.planned)[:10], bool(one.actual))
            for one in entries
            if one.milestone in ("departed", "arrived", "delivered")
        ]
        assert len(rows) == len(set(rows)), number
