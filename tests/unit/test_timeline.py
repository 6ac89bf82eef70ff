"""The route and timeline of a shipment, from facts in any order."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.labels import is_day_only
from flexportd.core.resources import containers, legs
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields, sort_legs
from flexportd.core.resources.values import day, instant, moment, split_joined, texts
from flexportd.core.resources.values import instant as value_instant
from flexportd.flexport.models.containers import Container
from flexportd.flexport.models.legs import Leg
from flexportd.storage.repositories.resources import Record
from tests.events import container, leg, place

MARKS = {"as_of": "2026-01-01T00:00:00.000Z", "seq": 1, "source": "webhook", "synced_at": "x", "first_seen_at": "x"}


def record(domain, wire, value):
    return Record(value["id"], dict(domain.normalise(wire.model_validate(value))), "{}", **MARKS)


def leg_record(number, origin, destination, **fields):
    value = leg(number, origin=place(*origin), destination=place(*destination), **fields)
    return record(legs.RESOURCE_TYPE, Leg, value)


A, B, C, D = ("Factory", "CNSZX"), ("Yantian", "CNYTN"), ("Los Angeles", "USLAX"), ("Door", "USONT")


def chain():
    none = {"estimated_departure_date": None, "estimated_arrival_date": None}
    return [
        leg_record(30, A, B, transportation_mode="truck", carrier_name=None, **none),
        leg_record(10, B, C, actual_departure_date="2026-03-04T02:30:00.000+08:00", **none),
        leg_record(20, C, D, transportation_mode="truck", carrier_name="Roadways", **none),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_legs_are_put_in_order_of_travel_whatever_the_list(order):
    found = chain()
    assert [one.id for one in sort_legs([found[n] for n in order])] == [30, 10, 20]


@given(st.randoms(use_true_random=False))
def test_any_set_of_legs_is_ordered_once_and_the_same_way(rnd: random.Random):
    places = [A, B, C, D]
    found = [leg_record(n, rnd.choice(places), rnd.choice(places)) for n in range(1, rnd.randint(2, 9))]
    ordered = [one.id for one in sort_legs(found)]
    assert sorted(ordered) == sorted(one.id for one in found)
    rnd.shuffle(found)
    assert [one.id for one in sort_legs(found)] == ordered


def test_the_vessel_is_the_one_that_the_cargo_is_on():
    first = leg_record(1, A, B, ocean_leg={"vessel_name": "FIRST", "voyage_number": "1"})
    second = leg_record(2, B, C, ocean_leg={"vessel_name": "SECOND", "voyage_number": "2"})
    assert route_fields(ShipmentRoute([first, second]), [])["vessel"] == "FIRST"
    gone = {"actual_departure_date": "2026-03-04T00:00:00Z"}
    first = leg_record(1, A, B, ocean_leg={"vessel_name": "FIRST", "voyage_number": "1"}, **gone)
    assert route_fields(ShipmentRoute([first, second]), [])["vessel"] == "FIRST"
    second = leg_record(2, B, C, ocean_leg={"vessel_name": "SECOND", "voyage_number": "2"}, **gone)
    assert route_fields(ShipmentRoute([second, first]), [])["vessel"] == "SECOND"


def test_deleted_legs_are_left_out():
    gone = leg_record(40, C, D, deleted_at="2026-03-01T00:00:00Z")
    assert [one.id for one in sort_legs([*chain(), gone])] == [30, 10, 20]


def test_the_route_takes_ends_from_the_ends_and_the_carrier_from_the_main_leg():
    boxes = [record(containers.RESOURCE_TYPE, Container, container(n, container_number=f"C{n}")) for n in (2, 1)]
    fields = route_fields(ShipmentRoute(chain()), boxes)
    assert (fields["origin"], fields["destination"], fields["destination_code"]) == ("Factory", "Door", "USONT")
    assert (fields["port_of_loading"], fields["port_of_unloading_code"]) == ("Yantian", "USLAX")
    assert (fields["carrier"], fields["vessel"]) == ("Example Line", "EXAMPLE STAR")
    assert fields["container_numbers"] == '["C1","C2"]'
    assert route_fields(ShipmentRoute([]), []) == dict.fromkeys(fields)


@pytest.mark.parametrize("name", ["FLXT TPEB Ocean Line", "flxt x", "", None])
def test_a_placeholder_carrier_is_unknown(name):
    assert leg_record(1, A, B, carrier_name=name).fields["carrier"] is None


@pytest.mark.parametrize(
    ("text", "expected", "day_only"),
    [
        ("2026-03-03T12:00:00.000+08:00", "2026-03-03T12:00:00+08:00", True),
        ("2026-03-03T00:00:00.000-08:00", "2026-03-03T00:00:00-08:00", True),
        ("2026-03-03T02:30:00.000+08:00", "2026-03-03T02:30:00+08:00", False),
        ("2026-03-03T04:05:06.789Z", "2026-03-03T04:05:06.789+00:00", False),
        ("2026-03-03", "2026-03-03T00:00:00-00:00", True),
        ("2026-02-31T12:00:00Z", None, None),
        ("2026-02-31T12:00:00.000+08:00", None, None),
        ("2026-W10-2T12:00:00.000+08:00", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
        ("0001-01-01T00:00:00+14:00", None, None),
    ],
)
def test_moments_keep_the_day_of_their_place(text, expected, day_only):
    found = moment(text)
    assert found == expected
    if found:
        assert is_day_only(found) is day_only


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_never_changes_its_day_and_its_instant(at):
    found = moment(at.isoformat())
    if found is not None:
        assert found[:10] == at.isoformat()[:10]
        assert instant(found) == instant(at.isoformat())


def test_small_values():
    assert day("2026-03-03T23:59:00-08:00") == "2026-03-03"
    assert day("x") is None
    assert split_joined("A, B ,,C") == ["A", "B", "C"]
    assert texts([" a ", None, "", "a", "b"]) == '["a","b"]'
    assert texts([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-04T02:41:09.377Z", "2026-03-04T02:41:09.377Z"),
        ("2026-03-04T02:41:09Z", "2026-03-04T02:41:09.000Z"),
        ("2026-03-04T02:41:09.377123Z", "2026-03-04T02:41:09.377Z"),
        ("2026-03-04T10:41:09+08:00", "2026-03-04T02:41:09.000Z"),
        ("2026-01-01T000000.0Z", "2026-01-01T00:00:00.000Z"),
        ("2026-W01-1T00:00:00.000Z", None),
        ("2026-02-31T00:00:00.000Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        (17, None),
    ],
)
def test_instants_are_of_one_width(text, expected):
    assert value_instant(text) == expected
