"""The page of a share link: words made of what a link lets out, and failures for those who have no other page."""

from datetime import UTC, datetime

import pytest

from flexportd.core.access import share_view
from flexportd.core.timeline import ShipmentBundle
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.layout import link_failure, public_failure
from flexportd.expose.dashboard.pages.share import share_page
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from tests.unit.test_dashboard_pages import a_box, a_leg, a_shipment

SIGHT = ViewContext(find_zone("Europe/Berlin"), datetime(2026, 3, 24, 3, 0, tzinfo=UTC))
ENDS = "2026-04-03T02:41:09.000Z"
DOOR = {"origin": "Secret Factory", "origin_code": None, "origin_timezone": "Asia/Shanghai", "origin_tags": '["origin_address"]'}  # fmt: skip
YARD = {
    "destination": "Secret Yard", "destination_code": None, "destination_timezone": "America/Los_Angeles",
    "destination_tags": '["destination_address"]',
}  # fmt: skip
PORTS = {"origin_tags": '["port_of_loading"]', "destination_tags": '["port_of_unloading"]'}
OUT = {"mode": "truck", "origin": "Los Angeles", "origin_code": "USLAX", "origin_timezone": "America/Los_Angeles",
       "origin_tags": '["port_of_unloading"]'}  # fmt: skip


def page(one=None, **family):
    return share_page(share_view.document(ShipmentBundle(one or a_shipment(), **family)), ENDS, "Acme & Sons", SIGHT)


def sailing(**fields):
    """From the factory by truck to the port, then by sea; then to the door."""
    return [
        a_leg(1, mode="truck", **DOOR, destination="Yantian", destination_tags='["port_of_loading"]',
              destination_code="CNYTN", destination_timezone="Asia/Shanghai", actual_departure="2026-03-01T12:00:00+08:00",
              actual_arrival="2026-03-02T08:15:00+08:00"),
        a_leg(2, **PORTS, actual_departure="2026-03-05T12:00:00+08:00", **fields),
        a_leg(3, **OUT, **YARD, estimated_departure="2026-03-26T12:00:00-07:00",
              estimated_arrival="2026-03-27T12:00:00-07:00"),
    ]  # fmt: skip


# --- where it is ---


def whereabouts(one=None, **family):
    found = page(one, **family).location
    return found and (
        found.words,
        found.place and found.place.name.shown,
        found.at and f"{found.verb} {found.at.when.day}",
    )


@pytest.mark.parametrize(
    ("fields", "legs", "expected"),
    [
        ({"status": "seller_location"}, [a_leg()], ("Not departed yet", None, "departs 3 Mar")),
        ({"status": None}, [], ("Not departed yet", None, None)),
        ({}, sailing(), ("In transit by ocean to", "Los Angeles", "due 21 Mar")),
        ({}, sailing(actual_arrival="2026-03-22T12:00:00-07:00"), ("At", "Los Angeles", "since 22 Mar")),
        ({"status": "departure_port"}, [a_leg()], None),
        ({"status": "final_destination"}, sailing(), ("Delivered", None, None)),
        (
            {"status": "final_destination", "actual_delivered_in_full": "2026-03-23T12:00:00-07:00"}, sailing(),
            ("Delivered", None, "on 23 Mar"),
        ),
    ],
)  # fmt: skip
def test_the_page_says_where_the_cargo_is(fields, legs, expected):
    assert whereabouts(a_shipment(**fields), legs=legs) == expected


def test_the_route_is_drawn_without_naming_anybodys_door():
    found = page(legs=sailing())
    names = [stop.place.name.shown for stop in found.route.stops]
    assert names == ["Place of pickup", "Yantian", "Los Angeles", "Place of delivery"]
    assert [segment.state for segment in found.route.segments] == ["done", "active", "planned"]
    assert [stop.is_reached for stop in found.route.stops] == [True, True, False, False]
    assert [leg.origin.name.shown for leg in found.legs] == ["Place of pickup", "Yantian", "Los Angeles"]
    assert b"Secret" not in render.render("share.html", found)


def test_two_ways_to_doors_count_as_one_stop():
    legs = [
        *sailing(),
        a_leg(4, **OUT, **YARD | {"destination": "Secret Other"}, estimated_departure="2026-03-29T12:00:00-07:00"),
    ]
    assert [stop.place.name.shown for stop in page(legs=legs).route.stops][2:] == ["Los Angeles", "Place of delivery"]


# --- dates ---


def at(found, title):
    """The date of one stop."""
    return next(stop.at for stop in found.stops if stop.title == title)


def test_dates_are_days_at_their_place_and_say_whether_they_happened():
    found = page(a_shipment(port_of_loading="Yantian", port_of_loading_code="CNYTN"), legs=sailing())
    departure, arrival = at(found, "Departure"), at(found, "Arrival")
    assert (departure.when.text, departure.is_actual) == ("5 Mar", True)
    assert (departure.delay.text, departure.plan.text) == ("2 days late", "3 Mar")
    assert (arrival.when.text, arrival.is_actual) == ("21 Mar", False)
    assert found.stops[0].place.name.shown == "Yantian"
    assert "Delivery" not in [stop.title for stop in found.stops]


def test_a_time_of_day_is_told_where_the_zone_is_known_and_never_without():
    found = page(a_shipment(actual_departure="2026-03-05T23:30:00+08:00"), legs=sailing())
    assert found.legs[0].arrival.when.text == "2 Mar 08:15 (UTC+8)"
    assert at(found, "Departure").when.text == "5 Mar"
    assert at(found, "Departure").when.iso == "2026-03-05"


def test_a_day_without_a_zone_is_over_when_it_is_over_everywhere():
    def lateness(eta):
        late = at(page(a_shipment(estimated_arrival=eta)), "Arrival").delay
        return late and late.text

    assert lateness("2026-03-24T12:00:00-07:00") is None
    assert lateness("2026-03-23T12:00:00+08:00") is None  # still the 23rd somewhere
    assert lateness("2026-03-22T12:00:00+08:00") == "1 day overdue"


def test_the_timeline_tells_what_happened_from_what_is_to_come():
    found = page(a_shipment(created_at="2026-02-01T09:00:00.000Z"), legs=sailing())
    told = [(point.title.shown, point.when.text, point.state) for point in found.points]
    assert told == [
        ("Shipment created", "1 Feb", "done"),
        ("Departed", "1 Mar", "done"),
        ("Arrived", "2 Mar 08:15 (UTC+8)", "done"),
        ("Departed", "5 Mar", "done"),
        ("Arrived", "21 Mar", "overdue"),
        ("Departed", "26 Mar", "planned"),
        ("Delivered", "27 Mar", "planned"),
    ]
    assert [point.is_first_ahead for point in found.points].index(True) == 5
    assert found.points[3].plan.text == "3 Mar"
    assert not [point for point in found.points if point.event_url]


def test_a_time_that_reads_as_another_day_elsewhere_stays_on_its_own():
    """The offset that Flexport wrote may not be that of the place; the day that it wrote stays."""
    legs = [a_leg(1, **PORTS, actual_departure="2026-03-05T23:30:00-07:00")]
    found = page(legs=legs)
    assert found.legs[0].departure.when.text == "5 Mar"
    assert found.points[0].when.text == "5 Mar"


def test_what_a_later_step_proves_past_is_no_plan_any_more():
    legs = [a_leg(2, **PORTS), a_leg(3, **OUT, **YARD, actual_departure="2026-03-23T12:00:00-07:00")]
    points = [(point.title.shown, point.when.text, point.state) for point in page(legs=legs).points]
    assert [point for point in points if point[2] != "done"] == []
    assert ("Departed", "23 Mar", "done") in points


def test_an_untold_place_on_the_way_is_neither_pickup_nor_delivery():
    between = {"origin": "Secret Hub", "origin_code": None, "origin_timezone": None, "origin_tags": None}
    hub = {
        "destination": "Secret Hub",
        "destination_code": None,
        "destination_timezone": None,
        "destination_tags": None,
    }
    legs = [a_leg(1, **hub), a_leg(2, **between, **YARD, estimated_departure="2026-03-26T12:00:00-07:00")]
    stops = page(legs=legs).route.stops
    assert [stop.place and stop.place.name.shown for stop in stops] == [
        "Place of pickup", None, "Place of delivery"
    ]  # fmt: skip


# --- containers ---


def test_the_last_free_day_warns_only_while_the_box_stands_at_the_port():
    def free(state, **fields):
        one = a_shipment(status=state, port_of_unloading="Los Angeles", port_of_unloading_code="USLAX")
        box = a_box(last_free_day="2026-03-24T12:00:00-07:00", **fields)
        (row,) = page(one, legs=sailing(), containers=[box]).containers
        assert row.last_free_day.text == "24 Mar"
        return row.free_time and row.free_time.text

    assert free("arrival_port") == "ends tomorrow"  # it is the 23rd at the port
    assert free("gated_out") is None
    assert free("arrival_port", actual_delivery="2026-03-23T12:00:00-07:00") is None


def test_boxes_say_what_they_are_and_those_that_are_gone_are_left_out():
    box = a_box(container_size="fourty_ft_hc", container_type="dry", seal_number="Secret")
    gone = a_box(2, removed_at="2026-03-20T10:00:00.000Z")
    found = page(containers=[box, gone])
    assert [(one.number.shown, one.type) for one in found.containers] == [("CSQU3054381", "40 ft HC, dry")]
    assert b"Secret" not in render.render("share.html", found)


# --- the rest ---


def test_a_page_without_anything_says_so():
    found = page(a_shipment(name=None, estimated_departure=None, actual_departure=None, estimated_arrival=None))
    text = render.render("share.html", found).decode()
    for words in ("FLEX-910233", "No dates yet", "No containers yet", "Not known yet"):
        assert words in text
    assert "No route yet" in text


def test_it_says_how_old_it_is_and_until_when_it_works():
    text = render.render("share.html", page()).decode()
    assert "4 days ago" in text
    assert "3 Apr 04:41 (UTC+2)</time> (in 10 days)" in text
    undated = share_view.document(ShipmentBundle(a_shipment())) | {"as_of": "0001-01-01T00:00:00.000Z"}
    assert share_page(undated, ENDS, "x", SIGHT).as_of is None


def test_what_flexport_no_longer_lists_is_marked():
    found = share_view.document(ShipmentBundle(a_shipment())) | {"removed_at": "2026-03-20T10:00:00.000Z"}
    assert share_page(found, ENDS, "x", SIGHT).removed.day == "20 Mar"


def test_references_are_cut_at_a_dozen():
    (found,) = page(a_shipment(purchase_orders="[" + ",".join(f'"{n}"' for n in range(20)) + "]")).references
    assert (found.name, len(found.values), found.values[-1].shown) == ("Purchase orders", 13, "and 8 more")


def test_there_is_no_way_from_here_into_the_dashboard():
    text = render.render("share.html", page(legs=sailing(), containers=[a_box()])).decode()
    assert "<a " not in text.replace('<a class="skip" href="#main">', "")
    assert "<script" not in text
    assert "<nav" not in text


# --- failures ---


def test_a_link_that_is_over_says_since_when_in_the_sites_zone():
    found = link_failure(410, "This link expired at 2026-04-03T02:41:09.000Z.", "x", SIGHT)
    assert (found.title, found.detail) == (
        "This link no longer works", "This link expired at 3 Apr 04:41 (UTC+2)."
    )  # fmt: skip


def test_other_failures_have_a_title_of_their_own():
    assert public_failure(404, "there is nothing at /x", "x").detail == "There is nothing at /x."
    assert link_failure(500, "Something failed here.", "x", SIGHT).title == "Something went wrong"
