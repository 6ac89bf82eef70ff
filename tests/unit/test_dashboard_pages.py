"""View-models without HTML, and templates that show exactly what their models hold."""

import dataclasses
import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import SimpleNamespace

import jinja2
import msgspec
import pytest
from jinja2 import nodes
from multidict import MultiDict

from flexportd.core.access import share_view
from flexportd.core.exceptions.model import KINDS
from flexportd.core.history.provenance import TraceStep
from flexportd.core.outages import DeliveryHealth, DeliverySignals, Detection
from flexportd.core.outbox.request_builder import OutgoingWrite
from flexportd.core.outbox.validation.problems import FieldProblem
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.core.timeline import ShipmentBundle, TimelinePoint
from flexportd.errors import InvalidError
from flexportd.expose import docs_page
from flexportd.expose.context import DisplaySettings
from flexportd.expose.dashboard import layout, render, write_form
from flexportd.expose.dashboard.body_form import FormChange
from flexportd.expose.dashboard.page import ListPageQuery
from flexportd.expose.dashboard.pages import (
    audit,
    booking_forms,
    deliveries,
    exceptions,
    operations,
    overview,
    queue,
    records,
    share,
)
from flexportd.expose.dashboard.pages import shipments as lists
from flexportd.expose.dashboard.view import history as told
from flexportd.expose.dashboard.view import related, shipment_rows
from flexportd.expose.dashboard.view.alerts import PageContext, RuntimeStatus, StoredStatus, object_exceptions
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.deliveries import DeliveriesAbout
from flexportd.expose.dashboard.view.labels import Text
from flexportd.expose.dashboard.view.operations import WriteAccess
from flexportd.expose.openapi.query_params import parse_list_params
from flexportd.storage.repositories.audit import AuditEntry
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.operations import STATES, Operation, OperationAttempt
from flexportd.storage.repositories.resources import Record
from tests.unit.test_dashboard_list_status import hostile_models

SIGHT = ViewContext(find_zone("Europe/Berlin"), datetime(2026, 3, 24, 3, 0, tzinfo=UTC))
HOSTILE = "<script>alert('1')</script>\" onload=x \u202e" + "y" * 3000
STAMP = "2026-03-20T10:00:00.000Z"
BADGE = SimpleNamespace(words="Flexport down", title="Flexport has not answered.", tone="bad", url="/sync")
FRAME = SimpleNamespace(
    site="Acme & Sons", section="shipments", zone="Europe/Berlin", version="0.0.0", is_section=True, banner=BADGE,
    exceptions="", has_critical=False, failed="", decisions="", form_token="", is_customer=False, demo_clock=None,
    may_write=True, may_operate=True, problem=None, entered={},
)  # fmt: skip
STORED = StoredStatus(
    DeliveryHealth(DeliverySignals(), "arriving", "Webhooks arrive", Detection("working", "")), {}, {}
)


def context(**runtime) -> PageContext:
    return PageContext(SIGHT, STORED, RuntimeStatus(**{"flexport": None, "resources": RESOURCE_TYPES} | runtime))


LOOK = context()


def record(table, number, /, *, removed_at=None, **fields) -> Record:
    known = dict.fromkeys(table.names) | fields
    return Record(number, known, "{}", STAMP, 1, "webhook", STAMP, STAMP, removed_at)


def a_shipment(number=910233, **fields) -> Record:
    usual = {
        "name": "PO 4471",
        "mode": "ocean",
        "status": "in_transit_to_arrival_port",
        "estimated_departure": "2026-03-03T12:00:00+08:00",
        "actual_departure": "2026-03-05T12:00:00+08:00",
        "estimated_arrival": "2026-03-21T12:00:00-07:00",
        "origin": "Yantian, China",
        "origin_code": "CNYTN",
    }
    return record(shipments.TABLE, number, **usual | fields)


def a_leg(number=1, **fields) -> Record:
    usual = {
        "mode": "ocean",
        "origin": "Yantian",
        "origin_code": "CNYTN",
        "origin_timezone": "Asia/Shanghai",
        "destination": "Los Angeles",
        "destination_code": "USLAX",
        "destination_timezone": "America/Los_Angeles",
        "estimated_departure": "2026-03-03T12:00:00+08:00",
        "estimated_arrival": "2026-03-21T12:00:00-07:00",
    }
    return record(legs.TABLE, number, **usual | fields)


def a_box(number=1, **fields) -> Record:
    return record(containers.CONTAINERS, number, **{"container_number": f"CSQU305438{number}"} | fields)


def row_of(one: Record) -> dict:
    return {"id": one.id, **one.fields, "as_of": one.as_of, "removed_at": one.removed_at}


def a_change(field, old, new, **more) -> dict:
    return {
        "id": 1, "resource": "shipments", "resource_id": "1", "shipment_id": "1", "name": "PO 4471", "field": field,
        "old": None if old is None else json.dumps(old), "new": None if new is None else json.dumps(new),
        "as_of": STAMP, "changed_at": STAMP, "source": "webhook", "event_id": "7", **more,
    }  # fmt: skip


def dossier(one: Record | None = None, **family) -> lists.ShipmentData:
    changes = {("shipments", 910233): [a_change("status", "departure_port", "arrival_port")]}
    return lists.ShipmentData(ShipmentBundle(one or a_shipment(), **family), changes, {"7": "/shipment_leg#departed"})


def listed(rows, query=(), **about):
    wanted = parse_list_params(MultiDict(lists.normalise_form(dict(query))), lists.RULES, DisplaySettings(page_size=2))
    following = "c" if len(rows) > wanted.page.limit else None
    data = lists.ShipmentsData(ListPageQuery(dict(query), wanted), rows, following, **about)
    return lists.shipments_page(data, LOOK)


# --- one shipment ---


def test_departure_and_arrival_say_planned_or_actual_and_how_late():
    departure, arrival = (stop.at for stop in lists.shipment_page(dossier(), LOOK).stops)
    assert (departure.when.text, departure.is_actual) == ("5 Mar", True)
    assert departure.delay.text == "2 days late"
    assert departure.plan.text == "3 Mar"
    assert (arrival.when.text, arrival.is_actual) == ("21 Mar", False)
    assert arrival.delay.text == "2 days overdue"


@pytest.mark.parametrize("status", ["arrival_port", "gated_out", "final_destination"])
def test_nothing_that_must_have_happened_is_called_overdue(status):
    page = lists.shipment_page(dossier(a_shipment(status=status, actual_departure=None)), LOOK)
    assert [stop.at.delay for stop in page.stops] == [None, None]


def test_a_shipment_without_anything_still_makes_a_page():
    page = lists.shipment_page(dossier(record(shipments.TABLE, 5)), LOOK)
    assert (page.name, page.mode, page.route, page.groups, page.legs) == (None, None, None, (), ())
    assert b"FLEX-5" in render.render("shipment.html", page, FRAME)


def test_archived_and_gone_shipments_say_since_when():
    assert lists.shipment_page(dossier(a_shipment(archived_at=STAMP)), LOOK).mark == "Archived on 20 Mar"
    gone = a_shipment(removed_at=STAMP)
    assert lists.shipment_page(dossier(gone), LOOK).mark == "Deleted at Flexport on 20 Mar"


def test_facts_leave_out_what_is_not_known():
    one = a_shipment(
        weight='{"unit":"kg","value":8200}', purchase_orders='["4471"]', metadata='{"Dept":["Toys"],"n":3}'
    )
    groups = {group.title: {fact.name: fact.values[0].shown for fact in group.facts} for group in
              lists.shipment_page(dossier(one), LOOK).groups}  # fmt: skip
    assert groups == {
        "Cargo": {"Weight": "8,200 kg"},
        "References": {"Purchase orders": "4471"},
        "Metadata": {"Dept": "Toys", "n": "3"},
    }


# --- the route ---


def route_of(some_legs):
    return shipment_rows.route_bar([leg.fields for leg in sort_legs(some_legs)], SIGHT)


def test_the_bar_shows_what_is_done_under_way_and_to_come():
    found = route_of(
        [
            a_leg(1, mode="truck", origin="Factory", origin_code=None, destination="Yantian", destination_code="CNYTN",
                  estimated_departure="2026-03-01T12:00:00+08:00", actual_departure="2026-03-01T12:00:00+08:00",
                  actual_arrival="2026-03-02T12:00:00+08:00"),
            a_leg(2, actual_departure="2026-03-04T12:00:00+08:00", estimated_arrival="2026-04-10T12:00:00-07:00"),
            a_leg(3, mode="truck", origin="Los Angeles", origin_code="USLAX", destination="Reno", destination_code=None,
                  estimated_departure="2026-04-12T12:00:00-07:00", estimated_arrival="2026-04-13T12:00:00-07:00"),
        ]
    )  # fmt: skip
    assert [segment.state for segment in found.segments] == ["done", "active", "planned"]
    assert [stop.place.name.shown for stop in found.stops] == ["Factory", "Yantian", "Los Angeles", "Reno"]
    assert [stop.is_reached for stop in found.stops] == [True, True, False, False]
    assert [stop.x for stop in found.stops] == ["12.50%", "37.50%", "62.50%", "87.50%"]
    assert 37.5 < float(found.segments[1].reached[:-1]) < 62.5
    assert found.words.startswith(
        "From Factory by truck to Yantian, completed; then by ocean to Los Angeles, in progress"
    )


def test_parallel_legs_count_once_and_gaps_are_drawn():
    same = {"mode": "truck", "origin": "Los Angeles", "origin_code": "USLAX", "destination": "Reno"}
    later = {"estimated_departure": "2026-04-12T12:00:00-07:00", "destination_code": None}
    found = route_of([a_leg(1), a_leg(2, **same, **later), a_leg(3, **same, **later)])
    assert [segment.mode.icon for segment in found.segments] == ["ship", "truck"]
    apart = route_of([a_leg(1), a_leg(2, **same | {"origin": "Oakland", "origin_code": "USOAK"}, **later)])
    assert [segment.mode.icon if segment.mode else None for segment in apart.segments] == ["ship", None, "truck"]
    assert [stop.place.name.shown for stop in apart.stops] == ["Yantian", "Los Angeles", "Oakland", "Reno"]
    assert route_of([]) is None


# --- the timeline ---


def test_the_timeline_tells_done_overdue_untold_and_ahead_apart():
    entries = [
        TimelinePoint("created", "Shipment created", actual=STAMP, rank=(-3, 0)),
        TimelinePoint("cargo_ready", "Cargo ready", planned="2026-03-01T00:00:00+00:00", group="dates", rank=(-2, 0)),
        TimelinePoint("departed", "Departed", planned="2026-03-02T12:00:00+08:00", rank=(0, 1)),
        TimelinePoint("arrived", "Arrived", "2026-03-03T12:00:00+08:00", "2026-03-04T12:00:00+08:00", rank=(0, 3)),
        TimelinePoint("departed", "Departed", planned="2026-03-10T12:00:00+08:00", rank=(1, 1)),
        TimelinePoint("arrived", "Arrived", planned="2026-04-02T12:00:00-07:00", rank=(1, 3)),
        TimelinePoint("port_strike_delay", "Port Strike Delay", actual=STAMP, group="problems", rank=(30_000, 0)),
    ]
    found = shipment_rows.timeline_rows(entries, SIGHT)
    assert [point.state for point in found] == ["done", "past", "unreported", "done", "overdue", "planned", "done"]
    assert not any(point.is_first_ahead for point in found)  # something happened after the last plan
    assert [point.is_first_ahead for point in shipment_rows.timeline_rows(entries[:6], SIGHT)] == [False] * 5 + [True]
    assert found[3].delay.text == "1 day late"
    assert found[3].plan.text == "3 Mar"
    assert found[4].delay.text == "14 days overdue"
    assert found[2].delay is None


def test_a_point_of_many_containers_counts_them():
    entry = TimelinePoint(
        milestone="available_for_pickup", title="Available", actual="2026-03-20T08:15:00-07:00",
        container_numbers=("BOX0", "BOX1", "BOX2"), timezone="America/Los_Angeles",
    )  # fmt: skip
    (point,) = shipment_rows.timeline_rows([entry], SIGHT)
    assert point.when.text == "20 Mar 08:15 (UTC\N{MINUS SIGN}7)"
    assert (point.containers.shown, point.containers.whole) == ("3 containers", "BOX0, BOX1, BOX2")


# --- legs and containers ---


def test_free_time_warns_until_the_box_is_picked_up():
    def free(last_free_day, **fields):
        family = ShipmentBundle(a_shipment(), containers=[a_box(last_free_day=last_free_day, **fields)])
        (row,) = shipment_rows.container_rows(family, SIGHT)
        return row.free_time and row.free_time.text

    assert free("2026-03-22T12:00:00-07:00") == "ended 1 day ago"
    assert free("2026-03-23T12:00:00-07:00") == "ends today"
    assert free("2026-03-25T12:00:00-07:00") == "ends in 2 days"
    assert free("2026-03-28T12:00:00-07:00") is None
    picked = {"actual_pickup": "2026-03-20T12:00:00-07:00", "actual_arrival": "2026-03-17T12:00:00-07:00"}
    assert free("2026-03-22T12:00:00-07:00", **picked) is None
    at_the_sellers = picked | {"actual_pickup": "2026-02-20T12:00:00+08:00"}
    assert free("2026-03-22T12:00:00-07:00", **at_the_sellers) == "ended 1 day ago"
    assert free(None) is None


def test_a_pickup_before_the_arrival_is_marked_as_that_at_the_origin():
    def is_at_origin(**fields):
        (row,) = shipment_rows.container_rows(ShipmentBundle(a_shipment(), containers=[a_box(**fields)]), SIGHT)
        return row.is_picked_up_at_origin

    arrived = {"actual_arrival": "2026-03-17T12:00:00-07:00"}
    assert is_at_origin(**arrived, actual_pickup="2026-02-20T12:00:00+08:00")
    assert not is_at_origin(**arrived, actual_pickup="2026-03-20T12:00:00-07:00")
    assert not is_at_origin(estimated_pickup="2026-03-20T12:00:00-07:00")


def test_legs_show_times_in_the_zone_of_each_end():
    (row,) = shipment_rows.leg_rows(
        [a_leg(estimated_departure="2026-03-03T02:00:00+00:00", estimated_arrival="2026-03-30T16:30:00-07:00").fields],
        SIGHT,
    )
    assert row.departure.when.text == "3 Mar 10:00 (UTC+8)"
    assert row.arrival.when.text == "30 Mar 16:30 (UTC\N{MINUS SIGN}7)"


def test_exceptions_of_one_severity_go_by_since_when_the_problem_stands():
    rows = [
        ExceptionRow(
            number, "late_arrival", severity, "shipments", "1", 1, f"{day}T00:00:00.000Z", STAMP, STAMP, None, {}
        )
        for number, (severity, day) in enumerate(
            (("warning", "2026-03-05"), ("warning", "2026-03-01"), ("critical", "2026-03-20")), start=1
        )
    ]
    found = object_exceptions(rows, SIGHT)
    assert [one.opened.when.iso[:10] for one in found] == ["2026-03-20", "2026-03-01", "2026-03-05"]


# --- changes ---


@pytest.mark.parametrize(
    ("field", "old", "new", "expected"),
    [
        ("estimated_arrival", "2026-03-21T12:00:00-07:00", "2026-03-24T12:00:00-07:00",
         ("ETA", "moved", "21 Mar", "24 Mar", "3 days later", "warn")),
        ("estimated_departure", "2026-03-05T12:00:00+08:00", "2026-03-04T12:00:00+08:00",
         ("ETD", "moved", "5 Mar", "4 Mar", "1 day earlier", "good")),
        ("status", "departure_port", "beamed_up",
         ("Status", "changed", "At departure port", "Beamed up", None, "plain")),
        ("actual_arrival", None, "2026-03-24T12:00:00-07:00",
         ("Actual arrival", "moved", None, "24 Mar", None, "plain")),
        ("skus", None, ["A", "B"], ("SKUs", "changed", None, "A, B", None, "plain")),
        ("is_lcl", True, False, ("LCL", "changed", "yes", "no", None, "plain")),
        ("weight", None, {"unit": "kg", "value": 5}, ("Weight", "changed", None, "5 kg", None, "plain")),
        ("cargo_ready_date", "2026-03-01", None, ("Cargo ready date", "changed", "1 Mar", None, None, "plain")),
        ("archived_at", None, STAMP, ("Archived", "changed", None, "20 Mar 11:00 (UTC+1)", None, "plain")),
        ("metadata", None, {"a": 1}, ("Metadata", "changed", None, "a", None, "plain")),
    ],
)  # fmt: skip
def test_a_change_is_a_sentence(field, old, new, expected):
    found = told.change_row(a_change(field, old, new), SIGHT)
    words = [found.old and found.old.shown, found.new and found.new.shown]
    assert (found.field, found.verb, *words, found.note, found.tone) == expected


def test_codes_zones_and_copies_of_other_fields_are_no_news():
    fields = ("inland_ramp_code", "inland_ramp_timezone", "place_of_delivery", "vessel_imo", "scac", "airline_icao",
              "actual_place_of_delivery_arrival", "origin_city", "terminal_timezone")  # fmt: skip
    rows = [(a_change(field, None, "x", id=number), None) for number, field in enumerate(fields)]
    (found,) = told.change_groups([*rows, (a_change("inland_ramp", None, "Chicago, IL", id=20), None)], {}, SIGHT)
    assert [change.field for change in found.changes] == ["Inland ramp"]


def test_changes_are_grouped_by_the_event_that_caused_them():
    rows = [
        (a_change("vessel", None, "EXAMPLE STAR", id=4, event_id="8"), None),
        (a_change("status", "departure_port", "arrival_port", id=3), None),
        (a_change("origin_code", None, "CNYTN", id=2), None),
        (a_change("id", None, 1, id=1, resource="legs"), None),
        (a_change("id", None, 1, id=0, event_id=None, source="sync"), None),
    ]
    found = told.change_groups(rows, {"7": "/shipment_leg#departed", "8": "/x#made_up_type"}, SIGHT)
    assert [cause.title.shown for cause in found] == ["Made up type", "Actual Time of Departure (ATD)",
                                                     "Source: sync"]  # fmt: skip
    assert [change.field for change in found[1].changes] == ["Status"]
    assert found[0].at.text == "20 Mar 11:00 (UTC+1)"


def test_a_state_without_a_time_is_told_at_our_time():
    (found,) = told.recent_changes([a_change("status", None, "x", as_of="0001-01-01T00:00:00.000Z")], SIGHT)
    assert found.at.day == "20 Mar"


# --- the list ---


def test_forms_send_empty_fields_and_see_current_shipments_only():
    assert lists.normalise_form({"q": "", "status": " ", "mode": "air"}) == {"mode": "air", "archived": "false"}
    assert lists.normalise_form({"archived": "all"}) == {}
    assert lists.normalise_form({"archived": "true"}) == {"archived": "true"}


def test_the_list_says_what_it_shows_and_where_it_goes_on():
    rows = [row_of(a_shipment(number)) for number in (3, 2, 1)]
    page = listed(rows, {"mode": "ocean", "q": ""})
    assert page.result == "First 2 shipments found, most recently updated first"
    assert [row.id for row in page.rows] == [3, 2]
    assert page.next_url == "/shipments?mode=ocean&cursor=c"
    assert page.first_url is None
    assert page.headings["updated_at"].direction == "descending"
    assert page.headings["updated_at"].url == "/shipments?mode=ocean&sort=updated_at"
    assert page.headings["eta"].url == "/shipments?mode=ocean&sort=eta"
    assert listed([]).result == "0 shipments, most recently updated first"


def test_filters_stay_chosen_even_those_that_no_option_has():
    page = listed([], {"status": "a,b", "mode": "zeppelin", "archived": "true"})
    assert page.form.statuses[0].options == [SimpleNamespace(value="a,b", title="a,b", chosen=True)]
    assert page.form.modes[0] == SimpleNamespace(value="zeppelin", title="zeppelin", chosen=True)
    assert [option.chosen for option in page.form.archived] == [False, True, False]
    assert page.form.is_filtered


def test_a_wrong_parameter_is_named():
    with pytest.raises(InvalidError, match="archived is 'perhaps'"):
        listed([], {"archived": "perhaps"})


# --- the overview ---


def found(**changed) -> overview.OverviewData:
    usual = {
        "by_status": {"seller_location": 2, "gated_out": 1, "beamed_up": 1},
        "upcoming": [],
        "overdue": [],
        "changes": [],
        "last_received_at": STAMP,
        "queue": dict.fromkeys(("ready", "leased", "dead"), (0, None)),
        "receipts": (),
    }
    return overview.OverviewData(**usual | changed)


def test_the_pipeline_counts_every_status_in_order_of_travel():
    page = overview.overview_page(found(), LOOK)
    assert [(stage.title, stage.count) for stage in page.stages] == [
        ("At seller", "2"), ("Departing", "0"), ("In transit", "0"), ("Arriving", "0"), ("Inland", "1"),
        ("Delivered", "0"), ("Other", "1"),
    ]  # fmt: skip
    assert page.stages[6].statuses[0].badge.text == "beamed_up"
    assert page.total == "4 shipments"


def test_arriving_and_late_go_by_the_calendar_of_the_place():
    def due(number, eta, **fields):
        return row_of(a_shipment(number, estimated_arrival=eta, **fields))

    rows = [
        due(1, "2026-03-23T12:00:00-07:00"),  # today there, yesterday here
        due(2, "2026-03-30T12:00:00-07:00"),
        due(3, "2026-04-02T12:00:00-07:00"),
        due(4, "2026-03-25T12:00:00-07:00", actual_arrival="2026-03-25T12:00:00-07:00"),
    ]
    late, soon = overview.overview_page(
        found(upcoming=rows, overdue=[due(5, "2026-03-20T12:00:00-07:00"), *rows]), LOOK
    ).arrivals
    assert [(one.shipment.id, one.due) for one in soon.rows] == [(1, "today"), (2, "in 7 days")]
    assert [(one.shipment.id, one.due) for one in late.rows] == [(5, "3 days overdue")]


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ({}, ["Receiving", "No API key", "Up to date", "Healthy"]),
        ({"display": DisplaySettings(has_secrets=False)}, ["No secret", "No API key", "Up to date", "Healthy"]),
        ({"is_paused": True}, ["Receiving", "No API key", "Paused", "Healthy"]),
        ({"fault": "disk full"}, ["Receiving", "No API key", "Up to date", "Fault"]),
        ({"reasons": ["the background task x has died"]}, ["Receiving", "No API key", "Up to date", "Not ready"]),
    ],
)
def test_health_is_told_in_words(runtime, expected):
    page = overview.overview_page(found(), context(**runtime))
    assert [one.word for one in page.health] == ["None", *expected]


def test_dead_letters_and_silence_are_told():
    queue_stats = {"ready": (1, STAMP), "leased": (0, None), "dead": (3, STAMP)}
    page = overview.overview_page(found(queue=queue_stats, last_received_at=None), LOOK)
    assert [(one.word, one.detail) for one in (page.health[1], page.health[3])] == [
        ("Waiting", "No webhook received yet."), ("Needs attention", "1 item waiting, 3 dead letters"),
    ]  # fmt: skip


def test_a_queue_with_waiting_items_is_not_called_up_to_date():
    queue_stats = {"ready": (260, STAMP), "leased": (0, None), "dead": (0, None)}
    page = overview.overview_page(found(queue=queue_stats), LOOK)
    assert (page.health[3].word, page.health[3].detail) == ("Processing", "260 items waiting, 0 dead letters")


# --- templates ---


def queue_model(paused=False):
    letter = {
        "id": 4, "event_type": HOSTILE, "event_id": HOSTILE, "shipment_id": 9, "error": HOSTILE, "attempts": 8,
        "ended_at": STAMP, "discarded_at": STAMP, "discarded_by": HOSTILE, "discard_reason": HOSTILE, "kind": "event",
        "enqueued_at": STAMP, "merge_key": None,
    }  # fmt: skip
    wanted = parse_list_params(MultiDict(), queue.RULES, DisplaySettings())
    stats = {"ready": (0, None), "leased": (0, None), "dead": (1, STAMP)}
    open_letter = {**letter, "discarded_at": None}
    letters = [letter, open_letter]
    return queue.queue_page(
        queue.QueueData(ListPageQuery({"done": "retried"}, wanted), stats, letters, None), context(is_paused=paused)
    )


def hostile(table, number, **fields) -> Record:
    fields = {name: STAMP for name in ("created_at", "archived_at") if name in table.names} | fields
    values = {"list": json.dumps([HOSTILE] * 30), "json": json.dumps({HOSTILE: [HOSTILE]}), "integer": 7,
              "boolean": True, "moment": "2026-03-21T12:00:00-07:00", "deadline": "2026-03-21T00:00:00-07:00", "day": "2026-03-21", "text": HOSTILE}  # fmt: skip
    return record(table, number, **{field.name: values[field.kind] for field in table.fields} | fields)


def hostile_dossier() -> lists.ShipmentData:
    family = ShipmentBundle(
        hostile(shipments.TABLE, 1),
        [hostile(legs.TABLE, 2, deleted_at=None), hostile(legs.TABLE, 3, deleted_at=None, destination="Elsewhere")],
        [hostile(containers.CONTAINERS, 4)],
        [hostile(containers.CONTAINER_LEGS, 5)],
        [{"id": HOSTILE, "type": f"/x#{HOSTILE}", "created_at": STAMP, "occurred_at": STAMP}],
    )
    rows = [a_change(field.name, HOSTILE, HOSTILE, event_id=HOSTILE) for field in shipments.TABLE.fields]
    history = {("shipments", 1): rows, ("legs", 2): rows}
    return lists.ShipmentData(family, history, {HOSTILE: HOSTILE}, hostile_exceptions(), deliveries_of_hostile())


def hostile_exceptions(most: int = 2) -> list[ExceptionRow]:
    """One of each kind whose facts are all as bad as can be."""
    names = ("place", "estimated_departure", "estimated_arrival", "first_estimate", "days", "entry_number", "name",
             "container_number", "last_free_day", "last_news_at", "due_date", "created_at", "estimated_pickup",
             "estimated_delivery", "delivered", "left_terminal")  # fmt: skip
    told = {"milestones": [{"title": HOSTILE, "occurred_at": HOSTILE}] * 2, "missing": [HOSTILE]}
    rows = [dict.fromkeys(names, HOSTILE), dict.fromkeys(names, HOSTILE) | told, {}][:most]
    return [
        ExceptionRow(
            1, kind, "critical", "invoices", HOSTILE, 1, STAMP, STAMP, STAMP, None, evidence, 0, "critical",
            STAMP, HOSTILE, HOSTILE, STAMP, HOSTILE, STAMP, True, 0,
        )
        for kind in (*KINDS, HOSTILE)
        for evidence in rows
    ]  # fmt: skip


def standing(rows: list[ExceptionRow], names: dict[int, str | None]):
    found = exceptions.ExceptionsData({"critical": rows, "snoozed": rows}, {"critical": len(rows), "snoozed": 1}, names)
    return exceptions.exceptions_page(found, LOOK)


def models():
    unconnected = context(display=DisplaySettings(webhook_path="/" + HOSTILE, has_secrets=False))
    rows = [row_of(hostile(shipments.TABLE, 1)), row_of(record(shipments.TABLE, 2))]
    changes = [a_change("estimated_arrival", HOSTILE, HOSTILE, name=HOSTILE)]
    full = found(upcoming=rows, overdue=rows, changes=changes, by_status={HOSTILE: 3, "unknown": 1})
    yield "overview.html", overview.overview_page(full, context(fault=HOSTILE))
    yield "overview.html", overview.overview_page(found(by_status={}), unconnected)
    yield "shipments.html", listed(rows * 2, {"q": HOSTILE[:35], "status": HOSTILE[:35], "cursor": ""})
    yield "shipments.html", listed([], {"q": "nothing"})
    yield "shipments.html", listed([], is_any=False)
    yield "shipment.html", lists.shipment_page(hostile_dossier(), LOOK)
    yield "shipment.html", lists.shipment_page(dossier(legs=[a_leg()], containers=[a_box()]), LOOK)
    yield "exceptions.html", standing(hostile_exceptions(3), {1: HOSTILE})
    yield "exceptions.html", standing(hostile_exceptions() * 30, {})
    yield "exceptions.html", exceptions.exceptions_page(exceptions.ExceptionsData({}, {}, {}, is_complete=False), LOOK)
    yield "queue.html", queue_model()
    yield "queue.html", queue_model(paused=True)
    yield from hostile_models()
    yield from record_models()
    yield "failure.html", layout.failure_page(404, HOSTILE, "shipments")
    yield "failure.html", layout.failure_page(503, "the disk is full", "overview")
    yield "public_error.html", layout.public_failure(404, HOSTILE, "Acme & Sons")
    yield "public_error.html", layout.link_failure(400, HOSTILE, "Acme & Sons", SIGHT)
    yield "public_error.html", layout.link_failure(410, f"over since {STAMP}", "Acme & Sons", SIGHT)
    for family in (
        hostile_dossier().bundle,
        ShipmentBundle(record(shipments.TABLE, 5)),
        ShipmentBundle(a_shipment(), [a_leg()]),
    ):
        yield "share.html", share.share_page(share_view.document(family), STAMP, "Acme & Sons", SIGHT)


def record_models():
    """Every kind of object whose texts are all as bad as can be, and with nothing known of it."""
    many = json.dumps([{HOSTILE: HOSTILE, "total_amount": "5", "total_currency": HOSTILE}, {"deep": [[[[[HOSTILE]]]]]}])
    for domain in RESOURCE_TYPES:
        bad = hostile(domain.table, HOSTILE[:30] if domain.ids != "integer" else 7)
        lists = {
            field.name: None if domain.derived_values else many for field in domain.table.fields if field.kind == "list"
        }
        if domain.derived_values:  # what follows from the fields takes lists, days and amounts as they are normalised
            bad = record(domain.table, bad.id, **dict(bad.fields) | lists)
        for one in (bad, record(domain.table, bad.id, **dict(bad.fields) | lists), record(domain.table, bad.id)):
            rows = [{"id": one.id, **one.fields, "removed_at": STAMP}] * 30
            data = records.RecordData(
                domain, one, {}, Text(HOSTILE[:20], HOSTILE[:20], "/shipments/1"),
                [related.RelatedData(domain, "shipment", rows)], hostile_exceptions(),
                [a_change("name", HOSTILE, [HOSTILE], resource=domain.name, event_id=HOSTILE)], {HOSTILE: HOSTILE},
            )  # fmt: skip
            yield "record.html", records.record_page(data, LOOK)
    wanted = parse_list_params(MultiDict(), queue.RULES, DisplaySettings())
    asked = ListPageQuery({"q": HOSTILE[:35], "cursor": ""}, wanted)
    yield "records.html", records.records_page(records.ListData(domain, asked, rows, HOSTILE[:35]), LOOK)
    yield "records.html", records.review_page(records.ReviewData(domain, [one], 7), LOOK)
    told = records.HistoryData(domain, bad, data.changes, data.types, HOSTILE[:35], {"cursor": HOSTILE[:35]})
    yield "history.html", records.history_page(told, LOOK)
    did = [{"action": action, "by": HOSTILE, "at": STAMP, "text": HOSTILE} for action in ("assign", "note", "snooze")]
    odd = exceptions.ExceptionData(
        hostile_exceptions(3)[-2], {1: HOSTILE}, did, deliveries_of_hostile(), False, HOSTILE
    )
    yield "exception_page.html", exceptions.exception_page(odd, LOOK)
    row = dict.fromkeys(("id", "type", "source", "state", "reason"), HOSTILE)
    row |= dict.fromkeys(("occurred_at", "created_at", "received_at", "ended_at"), STAMP)
    steps = [TraceStep(STAMP, "applied", HOSTILE)] * 2
    yield "event.html", queue.event_page(queue.EventData(row, steps, {"Leg": Text(HOSTILE[:9], None, "/x")}), LOOK)
    letter = dict.fromkeys(("kind", "event_type", "title", "discarded_by", "discard_reason"), HOSTILE)
    letter |= {"id": "4", "enqueued_at": STAMP, "ended_at": STAMP, "discarded_at": None}
    letter["failed_attempts"] = [{"attempt": 1, "at": STAMP, "error": HOSTILE}]
    yield "dead_letter.html", queue.dead_letter_page((letter, {}), LOOK)
    yield from notification_models()
    yield from write_models()


def a_delivery(state="failed", **fields):
    return {
        "id": 7, "channel": HOSTILE, "channel_type": HOSTILE, "kind": "digest", "state": state, "title": HOSTILE,
        "rules": json.dumps([HOSTILE]), "shipments": [1, 2, 3, 4], "created_at": STAMP, "sent_at": None, "attempts": 3,
        "error": HOSTILE, "note": HOSTILE, "is_repeated": 1, "next_attempt_at": STAMP, **fields,
    }  # fmt: skip


def deliveries_of_hostile():
    return DeliveriesAbout([a_delivery(id=number) for number in range(1, 12)], {7: [HOSTILE, HOSTILE]}, True)


def notification_models():
    """Channels, messages and rules whose texts are all as bad as can be, and with nothing known of them."""
    channel = {
        "name": HOSTILE[:35],
        "type": HOSTILE,
        "destination": HOSTILE,
        "pending": 3,
        "failed": 2,
        "error": HOSTILE,
    }
    channel |= dict.fromkeys(("failing_since", "retry_at", "last_sent_at"), STAMP)
    bare = channel | dict.fromkeys(("failing_since", "retry_at", "last_sent_at", "error")) | {"pending": 0, "failed": 0}
    asked = ListPageQuery({"channel": HOSTILE[:35], "cursor": "", "done": "retried"}, parse_list_params(
        MultiDict(), deliveries.RULES, DisplaySettings()
    ))  # fmt: skip
    channels = [{**channel, "state": "off"}, {**channel, "state": "failing"}, {**bare, "state": "working"}]
    rows = [a_delivery(state) for state in ("waiting", "sending", "sent", "failed", "discarded")]
    yield "deliveries.html", deliveries.deliveries_page(deliveries.DeliveriesData(asked, channels, rows, "x"), LOOK)
    yield "deliveries.html", deliveries.deliveries_page(deliveries.DeliveriesData(asked, [], [], None), LOOK)
    contained = {"topic": HOSTILE, "rule": HOSTILE, "shipment_id": 1, "exception_id": 2, "created_at": STAMP}
    document = a_delivery() | {
        "id": "7", "text": f"{HOSTILE}\n{HOSTILE}", "dead_letter": "4", "replaces": "3", "contains": [contained],
        "notifications": 9, "repeated": True,
    }  # fmt: skip
    for state in ("waiting", "sent", "failed"):
        data = deliveries.DeliveryData(document, a_delivery(state), "retried")
        yield "delivery.html", deliveries.delivery_page(data, LOOK)
    rule = {
        "name": HOSTILE[:90], "enabled": False, "shipped": True, "on": [HOSTILE], "when": {HOSTILE: [HOSTILE]},
        "channels": [HOSTILE], "digest": HOSTILE, "quiet": HOSTILE, "timezone": HOSTILE, "max_per_hour": 20,
        "has_template": True, "matches": 5, "sent": 1, "dropped": 2, "last_matched_at": STAMP,
    }  # fmt: skip
    bare = rule | {"channels": [], "digest": None, "quiet": None, "max_per_hour": None, "last_matched_at": None}
    yield "notification_rules.html", deliveries.rules_page(deliveries.RulesData([rule, bare]), LOOK)


def write_models():
    """Operations, their forms and the audit log, whose texts are all as bad as can be, and with nothing in them."""
    access = WriteAccess(True, True, True)
    operation = Operation(
        id=7, key="k", kind="booking.amend", target=HOSTILE, resource="bookings", resource_id=HOSTILE, shipment_id=1,
        title=HOSTILE, body=json.dumps({HOSTILE: HOSTILE}), digest="d", state="unknown", needs_decision=True,
        created_at=STAMP, created_by=HOSTILE, creator="c", queued_at=STAMP, updated_at=STAMP, ended_at=None,
        approved_at=STAMP, approved_by=HOSTILE, sent_at=STAMP, sends=1, lookups=2, baseline=None, is_pending=True,
        error=HOSTILE, reason=HOSTILE, idempotency_key=None, is_suspect=False, unknown_since=STAMP,
    )  # fmt: skip
    states = [msgspec.structs.replace(operation, id=number, state=state, needs_decision=False, is_pending=None)
              for number, state in enumerate(STATES, 10)]  # fmt: skip
    rows = [msgspec.structs.asdict(one) for one in states]
    asked = ListPageQuery({"state": HOSTILE[:35], "cursor": ""}, parse_list_params(
        MultiDict(), operations.RULES, DisplaySettings()
    ))  # fmt: skip
    data = operations.OperationsData(asked, [operation], rows, "x", {"pending": 3}, True, True, True, True)
    yield "operations.html", operations.operations_page(data, LOOK)
    bare = data._replace(decisions=[], rows=[], next=None, counts={}, is_enabled=False)
    yield "operations.html", operations.operations_page(bare, LOOK)
    found = json.dumps([{"id": HOSTILE, "matches": True, "note": HOSTILE}, {"id": "2", "matches": False}, 3])
    attempts = [
        OperationAttempt(1, "send", STAMP, None, None, HOSTILE, HOSTILE, HOSTILE, 500, HOSTILE, HOSTILE, HOSTILE),
        OperationAttempt(2, "lookup", STAMP, STAMP, "several", None, None, None, None, None, found, HOSTILE),
    ]
    entries = [
        AuditEntry(1, STAMP, HOSTILE, HOSTILE, "operation 7", HOSTILE),
        AuditEntry(2, STAMP, "", "x", HOSTILE, None),
    ]
    for one in (operation, *states):
        shown = operations.OperationData(
            one, attempts, entries, {"2": "/bookings/2"}, access, False, True, 3, "created"
        )
        yield "operation.html", operations.operation_page(shown, LOOK)
    asked = ListPageQuery({"actor": HOSTILE[:35], "cursor": ""}, asked.params)
    yield "audit.html", audit.audit_page(audit.AuditData(asked, [one._asdict() for one in entries], "x"), LOOK)
    yield "audit.html", audit.audit_page(audit.AuditData(asked, [], None), LOOK)
    yield "booking_mode.html", booking_forms.mode_page(None, LOOK)
    entered = HOSTILE[:500].replace("\u202e", "")  # what is entered is kept as it is
    for mode in booking_forms.MODES:
        form = dataclasses.replace(booking_forms.booking_form(mode), base={entered[:9]: entered[:9]}, is_outdated=True)
        names = ("/name", "/origin_address_ref", f"/{mode}_booking/incoterm", "/metadata")
        state = write_form.FormState(
            form, {name: [entered] for name in names}, "key", {"/origin_address_ref": entered[:99]},
            [FieldProblem("/name", HOSTILE), FieldProblem("/cargo/shipping_units", HOSTILE), FieldProblem("", HOSTILE)],
            OutgoingWrite("POST", HOSTILE, {HOSTILE: HOSTILE}), [FormChange(HOSTILE[:20], HOSTILE, "")], "digest",
            "/cargo/shipping_units", entered[:99], operation, True,
        )  # fmt: skip
        choices = {"/origin_address_ref": [(entered[:50], HOSTILE)]}
        yield "write_form.html", write_form.form_view(write_form.FormData(state, choices, frozenset(choices)))
    plain = write_form.FormState(booking_forms.booking_form("ocean"), {}, "key")
    yield "write_form.html", write_form.form_view(write_form.FormData(plain, {}))


ALONE = {"share.html", "public_error.html", "api.html"}
"""Pages for those who see nothing of the dashboard."""

SHOWN = list(models())
MODELS = {template for template, _ in SHOWN} - ALONE


class Seen(HTMLParser):
    """What a browser would find: elements with their attributes, and the words of the title."""

    VOID = frozenset(("meta", "link", "img", "input", "use", "line", "circle", "rect", "path"))

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements, self.open, self.title = [], [], ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] == "title":
            self.title += data


@pytest.mark.parametrize(("template", "page"), SHOWN)
def test_hostile_text_stays_text_and_pages_keep_to_the_policy(template, page):
    html = render.render(template, page, None if template in ALONE else FRAME)
    seen = Seen(html)
    assert seen.open == []
    assert seen.title.strip().endswith("· Acme & Sons")
    assert len(seen.title) < 300
    for tag, attributes in seen.elements:
        assert tag != "style"
        assert tag != "script" or attributes["src"].startswith("/static/")
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert not [value for value in attributes.values() if value and len(value) > 1500]
        assert not attributes.get("href", "").lower().startswith(("javascript:", "http"))
    assert "\u202e" not in html.decode()
    assert "y" * 600 not in html.decode()
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in seen.elements].count("h1") == 1


PIECES = {
    "layout.html", "plain.html", "parts.html", "sprite.html", "change.html", "route.html", "timeline.html", "legs.html",
    "exception.html", "own_exceptions.html", "groups.html", "causes.html", "related.html", "record_rows.html",
    "notified.html", "object_writes.html", "audit_rows.html",
}  # fmt: skip


def sources() -> dict[str, str]:
    loader = render.environment().loader
    return {name: loader.mapping[name] for name in loader.list_templates()}


def attributes_of(name: str, variable: str) -> set[str]:
    """The attributes of a variable that a template and those it includes look at."""
    tree = render.environment().parse(sources()[name])
    looked_at = {
        node.attr for node in tree.find_all(nodes.Getattr) if isinstance(node.node, nodes.Name)
        and node.node.name == variable
    }  # fmt: skip
    for other in tree.find_all((nodes.Include, nodes.Extends)):
        looked_at |= attributes_of(other.template.value, variable)
    return looked_at


@pytest.mark.parametrize(("template", "page"), SHOWN)
def test_a_template_shows_exactly_what_its_model_holds(template, page):
    assert attributes_of(template, "page") == set(vars(page))


def test_so_does_the_api_reference():
    assert attributes_of("api.html", "page") == {field.name for field in dataclasses.fields(docs_page.ApiPage)}


@pytest.mark.parametrize(
    ("template", "variable", "model"),
    [("change.html", "change", told.change_row(a_change("status", "a", "b"), SIGHT)),
     ("route.html", "route", shipment_rows.route_bar([a_leg().fields], SIGHT))],
)  # fmt: skip
def test_so_do_the_pieces(template, variable, model):
    assert attributes_of(template, variable) == set(vars(model))


def test_every_page_has_a_title_of_its_own():
    for name in MODELS | ALONE:
        assert "{% block title %}" in sources()[name]
        frame = "plain.html" if name in ALONE else "layout.html"
        assert f'{{% extends "{frame}" %}}' in sources()[name]
    assert set(sources()) == {*MODELS, *ALONE, *PIECES}


def test_a_template_that_asks_for_more_fails():
    with pytest.raises(jinja2.UndefinedError):
        render.environment().from_string("{{ page.nothing }}").render(page=layout.failure_page(404, "x", "queue"))
