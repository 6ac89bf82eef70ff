"""The timeline: facts and plans in order, each at its place; what several containers do at once is told once."""

import pytest

from flexportd.core.resources.itinerary import RoutePlace
from flexportd.core.timeline import timeline
from tests.events import container, leg, place, shipment
from tests.families import family_of
from tests.integration.test_recorded import objects

FACTORY = place("Factory", "CNSZX", "Asia/Shanghai", ("origin_address",))
YANTIAN = place("Yantian", "CNYTN", "Asia/Hong_Kong", ("port_of_loading",))
LA = place("Los Angeles", "USLAX", "America/Los_Angeles", ("port_of_unloading",))
CHICAGO = place("Chicago", "USCHI", "America/Chicago")
DOOR = place("Door", "USONT", "America/Los_Angeles", ("destination_address",))
OTHER_DOOR = place("Other door", "USRNO", "America/Los_Angeles", ("destination_address",))
NO_DATES = dict.fromkeys(
    f"{kind}_{what}_date" for kind in ("estimated", "actual") for what in ("departure", "arrival")
)  # fmt: skip
BARE = NO_DATES | {"created_date": None}


def stretch(number, start, end, mode="ocean", **dates):
    return leg(
        number, origin=start, destination=end, transportation_mode=mode,
        **NO_DATES | {f"{name}_date": at for name, at in dates.items()},
    )  # fmt: skip


def truck(number, start, end, **dates):
    return stretch(number, start, end, "truck", **dates)


def box(number, **fields):
    return container(number, container_number=f"BOX{number}", **fields)


def on_leg(number, of_box, of_leg, **dates):
    return {
        "id": number,
        "shipment_container": {"id": of_box},
        "leg": {"id": of_leg},
        "dates": {f"{name}_date": at for name, at in dates.items()},
    }


def rows(*parts, **more):
    """(milestone, day, place, containers) of a timeline; a plan's day in brackets."""
    return [
        (
            one.milestone,
            (one.actual or f"({one.planned[:10]}")[:11].rstrip("T") + ("" if one.actual else ")"),
            one.place,
            one.container_numbers,
        )
        for one in timeline(family_of(*parts, **more))
    ]


def test_a_timeline_says_plan_and_fact_in_order():
    found = rows(
        shipment(
            **BARE
            | {"cargo_ready_date": "2026-02-20", "actual_delivered_in_full_date": "2026-03-30T04:00:00.000Z"}
            | {"created_date": "2026-02-11T06:12:44.018Z"}
        ),
        [
            truck(1, FACTORY, YANTIAN),
            stretch(2, YANTIAN, LA, actual_departure="2026-03-04T02:30:00.000+08:00"),
            truck(3, LA, DOOR),
        ],
        [box(5, empty_returned_date="2026-04-02")],
        [on_leg(1, 5, 2, actual_loaded_on_board="2026-03-02T16:00:00.000Z")],
        events=[
            {"id": "1", "type": "/shipment#weather_delay", "created_at": "x", "occurred_at": "2026-03-10T00:00:00.000Z"},
            {"id": "2", "type": "/shipment_leg#departed", "created_at": "x", "occurred_at": "2026-03-04T00:00:00.000Z"},
        ],
        locations={"1": RoutePlace("Anchorage", "USANC", "America/Anchorage")},
    )  # fmt: skip
    assert found == [
        ("created", "2026-02-11", None, ()),
        ("cargo_ready", "(2026-02-20)", "Factory", ()),
        ("loaded_on_board", "2026-03-03", "Yantian", ("BOX5",)),
        ("departed", "2026-03-04", "Yantian", ()),
        ("weather_delay", "2026-03-09", "Anchorage", ()),
        ("delivered_in_full", "2026-03-29", "Door", ()),
        ("empty_returned", "2026-04-02", "Los Angeles", ("BOX5",)),
    ]


def order(*legs, boxes=(), box_legs=()):
    found = rows(shipment(**BARE), legs, boxes, box_legs)
    return [(milestone, day, where) for milestone, day, where, _ in found]


@pytest.mark.parametrize("clock", ["T00:00:00+08:00", "T12:00:00+08:00", "T08:15:00+08:00", "T23:59:59+08:00"])
def test_a_day_stands_within_its_day_where_the_route_puts_it(clock):
    found = order(
        truck(
            1, FACTORY, YANTIAN, actual_departure=f"2026-03-03{clock}", actual_arrival="2026-03-03T00:00:00.000+08:00"
        ),
        stretch(2, YANTIAN, LA, actual_departure="2026-03-03T12:00:00.000+08:00"),
        boxes=[box(5)],
        box_legs=[on_leg(1, 5, 2, actual_loaded_on_board="2026-03-02T16:00:00.000Z")],
    )
    assert [milestone for milestone, _, _ in found] == [
        "departed", "picked_up_in_full", "arrived", "loaded_on_board", "departed",
    ]  # fmt: skip


def test_times_are_ordered_by_instant_and_the_route_decides_ties_alone():
    found = order(
        stretch(
            1, YANTIAN, LA, actual_departure="2026-03-03T12:00:00+08:00", actual_arrival="2026-03-21T09:00:00-07:00"
        ),
        truck(2, LA, DOOR, actual_departure="2026-03-21T08:00:00-07:00"),
    )
    assert [milestone for milestone, _, _ in found] == ["departed", "departed", "arrived"]
    found = order(
        stretch(
            1, YANTIAN, LA, actual_departure="2026-03-03T12:00:00+08:00", actual_arrival="2026-03-21T09:00:00-07:00"
        ),
        truck(2, LA, DOOR, actual_departure="2026-03-21T16:00:00Z"),
    )
    assert [where for _, _, where in found] == ["Yantian", "Los Angeles", "Los Angeles"]
    assert [milestone for milestone, _, _ in found] == ["departed", "arrived", "departed"]


def test_a_flight_over_the_date_line_departs_before_it_arrives_the_day_before():
    apia = place("Apia", "WSAPW", "Pacific/Apia", ("port_of_loading",))
    pago = place("Pago Pago", "ASPPG", "Pacific/Pago_Pago", ("port_of_unloading",))
    found = order(
        stretch(1, apia, pago, "air", actual_departure="2026-03-02T11:00:00Z", actual_arrival="2026-03-02T11:00:00Z")
    )
    assert found == [("departed", "2026-03-03", "Apia"), ("arrived", "2026-03-02", "Pago Pago")]


def test_a_plan_that_facts_overtook_is_left_out():
    legs = [
        truck(1, FACTORY, YANTIAN, estimated_departure="2026-03-01T12:00:00+08:00"),
        stretch(
            2, YANTIAN, LA,
            estimated_departure="2026-03-03T12:00:00+08:00", estimated_arrival="2026-03-21T12:00:00-07:00",
        ),
        truck(3, LA, DOOR, estimated_arrival="2026-03-25T12:00:00-07:00"),
    ]  # fmt: skip
    assert [found[:2] for found in order(*legs)] == [
        ("departed", "(2026-03-01)"), ("picked_up_in_full", "(2026-03-01)"), ("departed", "(2026-03-03)"),
        ("arrived", "(2026-03-21)"), ("delivered", "(2026-03-25)"), ("delivered_in_full", "(2026-03-25)"),
    ]  # fmt: skip
    unloaded = [on_leg(1, 5, 2, actual_discharge="2026-03-22T16:38:00.000Z")]
    assert order(*legs, boxes=[box(5)], box_legs=unloaded) == [
        ("unloaded_off_board", "2026-03-22", "Los Angeles"),
        ("delivered", "(2026-03-25)", "Door"),
        ("delivered_in_full", "(2026-03-25)", "Door"),
    ]
    late = [on_leg(1, 5, 2, actual_discharge="2026-03-27T16:38:00.000Z")]
    assert order(*legs, boxes=[box(5)], box_legs=late) == [("unloaded_off_board", "2026-03-27", "Los Angeles")]


def test_parallel_trucks_are_one_entry_with_their_containers_for_each_day():
    legs = [
        stretch(1, YANTIAN, LA, actual_arrival="2026-03-21T12:00:00-07:00"),
        truck(2, LA, DOOR, actual_departure="2026-03-23T15:00:00Z", estimated_arrival="2026-03-24T12:00:00-07:00"),
        truck(3, LA, DOOR, actual_departure="2026-03-23T18:30:00Z", estimated_arrival="2026-03-24T12:00:00-07:00"),
        truck(4, LA, DOOR, actual_departure="2026-03-24T18:30:00Z", actual_arrival="2026-03-24T12:00:00-07:00"),
        truck(5, LA, OTHER_DOOR, actual_departure="2026-03-23T18:30:00Z"),
    ]
    boxes = [box(number) for number in range(12, 16)]
    loads = [on_leg(number, number + 10, number) for number in range(2, 6)]
    family = family_of(shipment(**BARE), legs, boxes, loads)
    found = [(one.milestone, one.place, one.leg_ids, one.container_numbers) for one in timeline(family)]
    assert found == [
        ("arrived", "Los Angeles", (1,), ()),
        ("departed", "Los Angeles", (5,), ("BOX15",)),
        ("departed", "Los Angeles", (2, 3), ("BOX12", "BOX13")),
        ("departed", "Los Angeles", (4,), ("BOX14",)),
        ("delivered", "Door", (4,), ("BOX14",)),
        ("delivered", "Door", (2, 3), ("BOX12", "BOX13")),
    ]
    together = next(one for one in timeline(family) if one.leg_ids == (2, 3)).document()
    assert (together["day_only"], together["actual_date"]) == (True, "2026-03-23")  # two times: the day is theirs
    assert together["container_number"] is None


def test_containers_are_told_at_their_terminal_and_a_deadline_is_the_end_of_its_day():
    ramp = stretch(2, LA, CHICAGO, "rail", estimated_arrival="2026-03-25T12:00:00-05:00")
    boxes = [
        box(
            number,
            last_free_day_date="2026-03-30T05:00:00.000Z",
            actual_arrival_date="2026-03-25T17:00:00.000Z",
            actual_pickup_date="2026-03-28T05:00:00.000Z",
        )
        for number in (5, 6)
    ]
    family = family_of(shipment(**BARE), [stretch(1, YANTIAN, LA), ramp], boxes)
    arrived, left, free = (one.document() for one in timeline(family))
    assert (arrived["milestone"], arrived["actual_date"], arrived["place"]) == ("arrived", "2026-03-25", "Chicago")
    assert (left["milestone"], left["actual_date"], left["timezone"]) == ("gated_out", "2026-03-28", "America/Chicago")
    assert (free["milestone"], free["planned_date"], free["planned_at"]) == (
        "last_free_day", "2026-03-30", "2026-03-31T04:59:59.999Z",
    )  # fmt: skip
    assert free["container_numbers"] == ["BOX5", "BOX6"]


def test_dates_that_are_not_plausible_are_left_out():
    assert (
        order(
            stretch(
                1, YANTIAN, LA,
                actual_departure="1970-01-01T00:00:00Z", estimated_departure="2099-12-31T00:00:00Z",
                actual_arrival="2026-03-21T12:00:00-07:00",
            ),
            boxes=[box(5, last_free_day_date="1970-01-01T00:00:00Z", empty_returned_date="2099-01-01")],
        )
        == [("arrived", "2026-03-21", "Los Angeles")]
    )  # fmt: skip


def test_what_the_shipment_says_otherwise_stands_beside_what_the_leg_says():
    value = shipment(**BARE | {"actual_departure_date": "2026-03-05T12:00:00+08:00"})
    one, *_ = timeline(family_of(value, [stretch(1, YANTIAN, LA, actual_departure="2026-03-03T12:00:00+08:00")]))
    assert (one.document()["actual_date"], one.document()["shipment_actual_date"]) == ("2026-03-03", "2026-03-05")
    one, *_ = timeline(family_of(value, [stretch(1, YANTIAN, LA)]))
    assert (one.document()["actual_date"], one.document()["shipment_actual_date"]) == ("2026-03-05", None)


def test_what_is_delivered_in_full_overtakes_the_plans_of_every_truck():
    plans = {"estimated_departure": "2026-03-23T12:00:00-07:00", "estimated_arrival": "2026-03-24T12:00:00-07:00"}
    value = shipment(**BARE | {"actual_delivered_in_full_date": "2026-03-25T12:00:00-07:00"})
    legs = [stretch(1, YANTIAN, LA), truck(2, LA, DOOR, **plans), truck(3, LA, DOOR, **plans)]
    assert [found[0] for found in rows(value, legs, [box(5)])] == ["delivered_in_full"]
    half = shipment(**BARE | {"actual_picked_up_in_full_date": None, "estimated_delivered_in_full_date": "2026-03-25"})
    arrived = truck(2, LA, DOOR, actual_arrival="2026-03-24T12:00:00-07:00")
    found = rows(half, [stretch(1, YANTIAN, LA), arrived, truck(3, LA, DOOR, **plans)])
    assert [one[:2] for one in found] == [
        ("departed", "(2026-03-23)"), ("delivered", "2026-03-24"), ("delivered", "(2026-03-24)"),
        ("delivered_in_full", "(2026-03-25)"),
    ]  # fmt: skip


def test_parallel_ships_depart_when_the_shipment_says_unless_one_of_them_says_it_itself():
    value = shipment(**BARE | {"actual_departure_date": "2026-03-05T12:00:00+08:00"})
    both = [stretch(1, YANTIAN, LA), stretch(2, YANTIAN, LA)]
    assert [found[:2] for found in rows(value, both)] == [("departed", "2026-03-05")]
    one = [stretch(1, YANTIAN, LA), stretch(2, YANTIAN, LA, actual_departure="2026-03-05T12:00:00+08:00")]
    assert [entry.leg_ids for entry in timeline(family_of(value, one))] == [(2,)]
    boxes = [box(4, actual_departure_date="2026-03-06T12:00:00+08:00"), box(5)]
    of_box = timeline(family_of(shipment(**BARE), both, boxes, [on_leg(1, 4, 1), on_leg(2, 5, 2)]))
    assert [(entry.actual[:10], entry.container_numbers) for entry in of_box] == [("2026-03-06", ("BOX4",))]


def test_the_order_in_which_objects_are_listed_does_not_matter():
    legs = [stretch(1, YANTIAN, LA, actual_arrival="2026-03-21T12:00:00-07:00"), truck(2, LA, DOOR), truck(3, LA, DOOR)]
    boxes = [box(number, available_for_pickup_date=f"2026-03-2{number}T12:00:00-07:00") for number in range(5)]
    loads = [on_leg(number, number % 5, number % 3 + 1, actual_discharge="2026-03-22T00:00:00Z") for number in range(9)]
    value = shipment(**BARE)
    assert timeline(family_of(value, legs, boxes, loads)) == timeline(
        family_of(value, legs[::-1], boxes[::-1], loads[::-1])
    )


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-02T00:00:00+14:00", "rubbish", ""])
def test_times_at_the_ends_of_the_calendar_are_no_entries(at):
    dates = {f"{kind}_{what}": at for kind in ("estimated", "actual") for what in ("departure", "arrival")}
    odd = box(5, last_free_day_date=at, actual_pickup_date=at, empty_returned_date=at[:10])
    assert order(stretch(1, YANTIAN, LA, **dates), truck(2, LA, DOOR, **dates), boxes=[odd]) == []


@pytest.fixture(scope="module")
def recorded():
    """The timelines of all recorded shipments, by their numbers."""
    legs, boxes = objects("shipment_legs").values(), objects("ocean_shipment_containers").values()
    box_legs, found = objects("ocean_shipment_container_legs").values(), {}
    for number, value in objects("shipments").items():
        own = [one for one in boxes if one["shipment"]["id"] == number]
        ids = {one["id"] for one in own}
        found[number] = timeline(
            family_of(
                value, [one for one in legs if one["shipment"]["id"] == number], own,
                [one for one in box_legs if one["shipment_container"]["id"] in ids],
            )
        )  # fmt: skip
    return found


def test_recorded_508275_is_picked_up_before_it_is_loaded_and_its_old_plans_are_gone(recorded):
    found = [(one.milestone, (one.actual or one.planned)[:10], one.place) for one in recorded[508275]]
    assert found == [
        ("cargo_ready", "2019-03-21", "Mirko Yantian Warehouse"),
        ("created", "2019-03-21", None),
        ("departed", "2019-03-27", "Mirko Yantian Warehouse"),
        ("picked_up_in_full", "2019-03-27", "Mirko Yantian Warehouse"),
        ("arrived", "2019-03-27", "Yantian, China"),
        ("delivery_completed", "2019-03-27", "Yantian, China"),
        ("loaded_on_board", "2019-03-27", "Yantian, China"),
        ("departed", "2019-03-28", "Yantian, China"),
        ("arrived", "2019-04-16", "Los Angeles, CA"),
        ("departed", "2019-04-30", "Los Angeles, CA"),
    ]


@pytest.mark.parametrize(
    ("number", "last"),
    [
        (542526, ("unloaded_off_board", "2019-09-05", "Tacoma", ("NYKU3679213",))),
        (504720, ("unloaded_off_board", "2019-09-09", "Indianapolis, Indiana", ("TLLU4950950",))),
    ],
)
def test_recorded_cargo_that_was_discharged_has_no_plan_of_its_voyage(recorded, number, last):
    entries = recorded[number]
    told = entries[-1]
    assert (told.milestone, told.actual[:10], told.place, told.container_numbers) == last
    assert {one.milestone for one in entries} <= {"created", "cargo_ready", "last_free_day", "unloaded_off_board"}


def test_recorded_502170_arrives_in_los_angeles_and_then_in_chicago(recorded):
    found = [(one.planned[:10], one.place) for one in recorded[502170] if one.milestone == "arrived" and not one.actual]
    assert found[:2] == [("2019-03-22", "Los Angeles, CA"), ("2019-03-29", "Chicago, IL")]


def test_recorded_569364_has_one_entry_for_the_trucks_of_a_day(recorded):
    found = [
        (one.milestone, (one.actual or one.planned)[:10], bool(one.actual), one.container_numbers)
        for one in recorded[569364]
        if one.mode == "truck" and one.milestone in ("departed", "arrived")
    ]
    assert found == [
        ("departed", "2019-10-21", True, ("CBHU9564132",)),
        ("departed", "2019-10-23", True, ("CNAU1234566",)),
        ("departed", "2019-10-23", False, ("MAEU1234567",)),
        ("arrived", "2019-10-23", False, ("CBHU9564132", "CNAU1234566", "MAEU1234567")),
    ]


def test_recorded_entries_have_their_places_and_zones(recorded):
    entries = [one for found in recorded.values() for one in found if one.milestone != "created"]
    assert len(entries) > 200
    assert [one for one in entries if one.timezone is None and one.place is not None] == []
