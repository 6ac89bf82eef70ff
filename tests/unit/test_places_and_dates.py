"""Days at places: which day a time is, under which place it is shown, and where it comes from."""

import pytest

from flexportd.clock import zone_of
from flexportd.core.labels import is_day_only
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields
from flexportd.core.resources.values import at_place, in_local_time, moment
from flexportd.flexport.models.containers import Container, ContainerLeg
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.shipments import Shipment
from flexportd.storage.queries.table import instant_of, is_plausible
from flexportd.storage.repositories.resources import Record
from tests.events import container, leg, place, shipment

YANTIAN = place("Yantian", "CNYTN", "Asia/Shanghai", ("port_of_loading",))
LOS_ANGELES = place("Los Angeles", "USLAX", "America/Los_Angeles", ("port_of_unloading",))
CHICAGO = place("Chicago", "USCHI", "America/Chicago", ("customs_entry",))
FACTORY = place("Factory", "CNSZX", "Asia/Shanghai", ("origin_address",))
DOOR = place("Door", "USMKC", "America/Chicago", ("destination_address",))


def record(domain, model, found, **fields):
    read = model.model_validate(found)
    values = {**dict.fromkeys(domain.table.names), **domain.normalise(read), **fields}
    values |= in_local_time(domain.table, values)
    return Record(read.key, values, "{}", "2026-03-04T00:00:00.000Z", 1, "sync", "", "")


def leg_of(number, start, end, mode="ocean", **fields):
    given = dict.fromkeys(("estimated_departure_date", "estimated_arrival_date", "actual_departure_date"))
    found = leg(number, **{**given, "origin": start, "destination": end, "transportation_mode": mode} | fields)
    return record(legs.RESOURCE_TYPE, Leg, found)


def shipment_of(route, **fields):
    told = {f"{kind}_{name}_date": None for kind in ("estimated", "actual")
            for name in ("departure", "arrival", "picked_up_in_full", "delivered_in_full")}  # fmt: skip
    found = record(shipments.RESOURCE_TYPE, Shipment, shipment(**told | fields)).fields
    found = {**found, **route_fields(route, [])}
    return found | shipments.best_known(found)


@pytest.mark.parametrize(
    ("wire", "zone", "day", "day_only"),
    [
        ("2026-11-27T15:00:00.000Z", "Asia/Tokyo", "2026-11-28", True),
        ("2026-11-27T03:00:00.000Z", "Asia/Tokyo", "2026-11-27", True),
        ("2026-11-26T10:00:00.000Z", "Pacific/Kiritimati", "2026-11-27", True),
        ("2026-11-27T10:00:00.000Z", "Pacific/Honolulu", "2026-11-27", True),
        ("2026-03-29T22:00:00.000Z", "Europe/Berlin", "2026-03-30", True),  # the first midnight of summer time
        ("2026-03-28T23:00:00.000Z", "Europe/Berlin", "2026-03-29", True),
        ("2026-10-03T14:00:00.000Z", "Australia/Sydney", "2026-10-04", True),  # the last midnight of winter time
        ("2026-11-01T07:00:00.000Z", "America/Los_Angeles", "2026-11-01", True),
        ("2026-11-02T08:00:00.000Z", "America/Los_Angeles", "2026-11-02", True),
        ("2026-01-05T15:00:00.000-05:00", "America/Los_Angeles", "2026-01-05", True),  # noon, written in New York
        ("2026-01-05T01:30:00.000-05:00", "America/Los_Angeles", "2026-01-04", False),
        ("2026-01-05", "Pacific/Honolulu", "2026-01-05", True),
        ("2026-01-05T12:00:00.000+09:00", "Mars/Base", "2026-01-05", True),
        ("2026-01-05T12:00:00.000+09:00", "../../etc", "2026-01-05", True),
    ],
)
def test_midnight_and_noon_at_the_place_are_a_day(wire, zone, day, day_only):
    found = at_place(moment(wire), zone)
    assert (found[:10], is_day_only(found)) == (day, day_only)
    if zone_of(zone):
        assert at_place(at_place(moment(wire), "America/New_York"), zone) == found  # whatever place was known before


def test_a_deadline_ends_with_its_day_at_the_place():
    field = next(one for one in containers.CONTAINERS.fields if one.name == "last_free_day")
    for local, zone, end in (
        ("2026-11-28T00:00:00+09:00", "Asia/Tokyo", "2026-11-28T14:59:59.999Z"),
        ("2026-03-08T00:00:00-08:00", "America/Los_Angeles", "2026-03-09T06:59:59.999Z"),  # of 23 hours
        ("2026-11-28T00:00:00-00:00", None, "2026-11-28T23:59:59.999Z"),
        ("9999-12-31T12:00:00-08:00", "America/Los_Angeles", "9999-12-31T20:00:00.000Z"),  # no later instant is known
    ):
        assert instant_of(field, local, {"terminal_timezone": zone}) == end


def test_ports_come_from_tags_and_dates_stand_under_their_own_place():
    route = ShipmentRoute([
        leg_of(1, FACTORY, YANTIAN, "truck", actual_departure_date="2026-03-01T12:00:00+08:00"),
        leg_of(2, YANTIAN, LOS_ANGELES, estimated_departure_date="2026-03-03T12:00:00+08:00",
               estimated_arrival_date="2026-03-22T12:00:00-07:00"),
        leg_of(3, LOS_ANGELES, CHICAGO, "rail", estimated_arrival_date="2026-03-29T12:00:00-05:00"),
        leg_of(4, CHICAGO, DOOR, "truck"),
    ])  # fmt: skip
    found = shipment_of(
        route,
        estimated_departure_date="2026-03-03T04:00:00.000Z",
        estimated_arrival_date="2026-03-30T17:00:00.000Z",
        estimated_delivered_in_full_date="2026-04-02T17:00:00.000Z",
    )
    assert [found[name] for name in ("port_of_loading", "port_of_unloading", "inland_ramp", "destination")] == [
        "Yantian", "Los Angeles", "Chicago", "Door",
    ]  # fmt: skip
    dates = {name: value[:10] for name in shipments.DATES if (value := found[name])}
    assert dates == {
        "actual_picked_up_in_full": "2026-03-01",
        "estimated_departure": "2026-03-03",
        "estimated_arrival": "2026-03-22",
        "estimated_ramp_arrival": "2026-03-30",
        "estimated_delivered_in_full": "2026-04-02",
    }
    assert found["date_sources"] == (
        '{"actual_picked_up_in_full":"legs/1","estimated_arrival":"legs/2","estimated_delivered_in_full":"shipment",'
        '"estimated_departure":"shipment","estimated_ramp_arrival":"shipment"}'
    )
    assert (route.terminal.name, [leg.id for leg in route.onward]) == ("Chicago", [4])


def test_rail_and_road_can_be_the_main_carriage():
    xian = place("Xi'an", "CNSIA", "Asia/Shanghai", ("port_of_loading",))
    duisburg = place("Duisburg", "DEDUI", "Europe/Berlin", ("port_of_unloading",))
    rail = ShipmentRoute(
        [leg_of(1, FACTORY, xian, "truck"), leg_of(2, xian, duisburg, "rail"), leg_of(3, duisburg, DOOR, "truck")]
    )
    assert rail.places["port_of_loading"].name == "Xi'an"
    assert rail.places["port_of_unloading"].name == "Duisburg"
    assert not rail.has_ramp
    road = ShipmentRoute([leg_of(1, FACTORY, DOOR, "truck", estimated_arrival_date="2026-03-05T12:00:00-06:00")])
    found = shipment_of(road, actual_departure_date="2026-03-01T16:00:00.000Z")
    assert (found["port_of_loading"], found["port_of_unloading"]) == (None, None)
    assert (found["actual_departure"][:10], found["estimated_arrival"][:10]) == ("2026-03-02", "2026-03-05")


def test_a_warehouse_is_no_port():
    hub = place("Hub", "DEHAM", "Europe/Berlin", ("consolidation",))
    route = ShipmentRoute([leg_of(1, FACTORY, hub, "truck"), leg_of(2, hub, DOOR, "warehouse_storage")])
    assert route_fields(route, [])["port_of_loading"] is None


def test_an_implausible_date_gives_way_and_is_never_the_best_known():
    route = ShipmentRoute([leg_of(2, YANTIAN, LOS_ANGELES, estimated_arrival_date="2026-03-22T12:00:00-07:00")])
    found = shipment_of(
        route, estimated_arrival_date="2099-01-01T00:00:00Z", actual_departure_date="1970-01-01T00:00:00Z"
    )
    assert found["estimated_arrival"][:10] == "2026-03-22"
    assert found["actual_departure"][:4] == "1970"  # nothing else is known: it is shown, and flagged
    assert (found["departure"], found["arrival"][:10]) == (None, "2026-03-22")
    assert not is_plausible(found["actual_departure"])


def test_a_container_waits_at_the_last_terminal_that_it_is_carried_to():
    legs_ = [leg_of(2, YANTIAN, LOS_ANGELES), leg_of(3, LOS_ANGELES, CHICAGO, "rail")]
    boxes = [
        record(containers.RESOURCE_TYPE, Container, container(n, last_free_day_date="2026-03-28T05:00:00Z"))
        for n in (1, 2)
    ]
    loads = [
        record(containers.LEGS_RESOURCE_TYPE, ContainerLeg, {"id": n, "shipment_container": {"id": box}, "leg": {"id": of},
                                                       "dates": {}})
        for n, (box, of) in enumerate([(1, 2), (1, 3), (2, 2)])
    ]  # fmt: skip
    by_rail, at_port = (
        containers.container_route_fields(box, ShipmentRoute(legs_), containers.ContainerLoads(loads)) for box in boxes
    )
    assert (by_rail["terminal"], by_rail["last_free_day"][:16]) == ("Chicago", "2026-03-28T00:00")
    assert (at_port["terminal"], at_port["last_free_day"][:16]) == ("Los Angeles", "2026-03-27T22:00")
    alone = containers.container_route_fields(boxes[1], ShipmentRoute(legs_), containers.ContainerLoads([]))
    assert alone["terminal"] == "Chicago"  # nothing says that it stays at the port


@pytest.mark.parametrize("mode", ["ocean", "truck"])
@pytest.mark.parametrize("tags", [None, ["port_of_unloading"]])
def test_a_leg_without_places_takes_no_place_from_the_others(mode, tags):
    nowhere = {"tags": tags, "place": None}
    route = ShipmentRoute([leg_of(1, YANTIAN, LOS_ANGELES), leg_of(2, nowhere, nowhere, mode)])
    assert [route.places[name].name for name in ("origin", "port_of_unloading", "destination")] == [
        "Yantian", "Los Angeles", "Los Angeles",
    ]  # fmt: skip
    unknown_door = ShipmentRoute([leg_of(1, YANTIAN, LOS_ANGELES), leg_of(2, LOS_ANGELES, nowhere, "truck")])
    assert unknown_door.places["destination"].name is None
