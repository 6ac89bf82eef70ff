"""The rules of exceptions, one by one: when each stands, with what, and when it does not."""

import json
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.core.access.audiences import HIDDEN_KINDS
from flexportd.core.exceptions.model import (
    KINDS,
    RISES,
    SEVERITIES,
    SEVERITY,
    ArrivalEstimate,
    ExceptionRules,
    ShipmentFacts,
)
from flexportd.core.exceptions.rules import estimate_history, evaluate_booking, evaluate_invoice, first_estimate
from flexportd.core.exceptions.worker import diff, evaluate_shipment
from flexportd.core.resources.registry import Registry
from flexportd.storage.connection import open_reader
from flexportd.storage.migrate import migrate
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.statements import queries

REGISTRY = Registry()
AS_OF = "2026-03-20T00:00:00.000Z"
NOON = datetime(2026, 3, 21, 12, tzinfo=UTC)


def record(resource, key, removed_at=None, as_of=AS_OF, **fields):
    blank = dict.fromkeys(REGISTRY[resource].table.names)
    told = {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in fields.items()}
    assert told.keys() <= blank.keys()
    return Record(key, {**blank, **told}, "{}", as_of, 1, "webhook", AS_OF, AS_OF, removed_at)


def shipment(removed_at=None, **fields):
    return record("shipments", 1, removed_at, **{"mode": "ocean", "status": "seller_location", **fields})


def sea(key=10, **fields):
    zones = {"origin_timezone": "Asia/Hong_Kong", "destination_timezone": "America/Los_Angeles"}
    ends = {"origin": "Yantian", "destination": "Los Angeles"}
    return record("legs", key, shipment_id=1, mode="ocean", **{**zones, **ends, **fields})


def box(key=20, **fields):
    terminal = {"terminal": "Los Angeles", "terminal_timezone": "America/Los_Angeles"}
    return record("containers", key, shipment_id=1, container_number="MSCU1234567", **{**terminal, **fields})


def milestone(name, at, number=1, prefix="/shipment"):
    return {"id": str(number), "type": f"{prefix}#{name}", "created_at": at, "occurred_at": at}


def kinds(case, now=NOON, rules=None):
    return {one.kind: one.evidence for one in evaluate_shipment(case, rules or ExceptionRules(), now).findings}


def at(text):
    return datetime.fromisoformat(text)


def test_every_kind_has_a_severity():
    assert set(SEVERITY) == set(KINDS)
    assert set(KINDS) >= HIDDEN_KINDS


def test_a_kind_only_becomes_more_severe_as_its_degree_grows():
    for kind, rises in RISES.items():
        assert [least for least, _ in rises] == sorted({least for least, _ in rises})
        severities = [SEVERITY[kind], *(severity for _, severity in rises)]
        assert severities == sorted(set(severities), key=SEVERITIES.index, reverse=True)


# --- days at the place ---

OVER = [
    # (estimate, the leg's zone, the last moment at which nothing is late, the first at which it is)
    ("2026-03-20T12:00:00+08:00", None, "2026-03-20T15:59:59Z", "2026-03-20T16:00:00Z"),
    ("2026-03-20T12:00:00-07:00", None, "2026-03-21T06:59:59Z", "2026-03-21T07:00:00Z"),
    ("2026-03-20T00:00:00-07:00", None, "2026-03-21T06:59:59Z", "2026-03-21T07:00:00Z"),
    ("2026-03-20T14:05:00-07:00", None, "2026-03-21T06:59:59Z", "2026-03-21T07:00:00Z"),
    ("2026-03-20T12:00:00+00:00", "America/Los_Angeles", "2026-03-21T06:59:59Z", "2026-03-21T07:00:00Z"),
    ("2026-03-20T12:00:00+00:00", "Asia/Hong_Kong", "2026-03-20T15:59:59Z", "2026-03-20T16:00:00Z"),
    ("2026-03-20T12:00:00+00:00", None, "2026-03-21T11:59:59Z", "2026-03-21T12:00:00Z"),  # over everywhere
    ("2026-03-20T12:00:00+00:00", "America", "2026-03-21T11:59:59Z", "2026-03-21T12:00:00Z"),  # no zone at all
]


@pytest.mark.parametrize(("moment", "zone", "not_yet", "over"), OVER)
def test_a_departure_is_late_when_its_day_is_over_at_its_place(moment, zone, not_yet, over):
    leg = sea(origin_timezone=zone, estimated_departure=moment)
    case = ShipmentFacts(shipment(estimated_departure=moment), [leg])
    before = evaluate_shipment(case, ExceptionRules(), at(not_yet))
    assert not before.findings
    assert before.next_check == at(over)  # then it is looked at again
    found = evaluate_shipment(case, ExceptionRules(), at(over)).findings
    assert [(one.kind, one.resource, one.resource_id, one.shipment_id) for one in found] == [
        ("late_departure", "shipments", "1", 1)
    ]
    assert found[0].evidence == {"estimated_departure": "2026-03-20", "place": "Yantian"}


@pytest.mark.parametrize("moment", ["9999-12-31T12:00:00-07:00", "0001-01-01T12:00:00+14:00"])
def test_the_first_and_the_last_day_of_all_are_days(moment):
    evaluate_shipment(ShipmentFacts(shipment(estimated_departure=moment), [sea()]), ExceptionRules(), NOON)


@pytest.mark.parametrize(
    ("moment", "zone"),
    [("9999-12-31T23:59:59+00:00", "Asia/Hong_Kong"), ("0001-01-01T00:00:01+00:00", "America/Los_Angeles")],
)
def test_an_implausible_last_free_day_opens_nothing(moment, zone):
    boxed = box(last_free_day=moment, terminal_timezone=zone)
    assert kinds(ShipmentFacts(shipment(status="arrival_port"), [sea()], [boxed])) == {}  # no such day, and no crash


LATE = {"estimated_departure": "2026-03-10T12:00:00+08:00", "estimated_arrival": "2026-03-18T12:00:00-07:00"}
ONWARD = {"origin": "Los Angeles", "destination": "Oakland"}
GONE = LATE | {"actual_departure": "2026-03-11T12:00:00+08:00"}


@pytest.mark.parametrize(
    ("fields", "legs", "found"),
    [
        (LATE, [], {"late_departure"}),  # its arrival is late too, which is not told besides
        (GONE, [], {"late_arrival"}),
        (LATE, [sea(actual_departure="2026-03-11T12:00:00+08:00")], {"late_arrival"}),
        (LATE | {"status": "in_transit_to_arrival_port"}, [], {"late_arrival"}),
        (LATE | {"status": "arrival_port"}, [], set()),
        (GONE | {"actual_arrival": "2026-03-20T12:00:00-07:00"}, [], set()),
        (GONE, [sea(actual_arrival="2026-03-20T12:00:00-07:00")], set()),
        (LATE, [sea(), sea(11, **ONWARD, actual_departure="2026-03-11T12:00:00+08:00")], {"late_arrival"}),
        (GONE, [sea(estimated_arrival="2026-03-25T12:00:00-07:00")], set()),  # its leg knows better
        (GONE, [sea(estimated_arrival="2026-03-01T12:00:00-07:00")], {"late_arrival"}),
        ({"estimated_arrival": "2026-03-18T12:00:00-07:00"}, [], {"late_arrival"}),
        (LATE | {"status": "final_destination"}, [], set()),
        (LATE | {"archived_at": AS_OF}, [], set()),
        (LATE | {"removed_at": AS_OF}, [], set()),
        (LATE | {"actual_delivered_in_full": "2026-03-20T12:00:00-07:00"}, [], set()),
        ({}, [], set()),
        # On a truck, on the way to the door is under way, not arrived.
        (GONE | {"mode": "truck", "status": "in_transit_to_final_destination"}, [], {"late_arrival"}),
    ],
)
def test_what_is_late(fields, legs, found):
    assert set(kinds(ShipmentFacts(shipment(**fields), legs))) == found


# --- estimates ---


def moves(*rows):
    """Rows of the history; `as_of` of a row is that of its cause, too, unless it is `<as_of> <cause>`."""
    return [
        (as_of.partition(" ")[0], as_of, field, *(None if one is None else json.dumps(one) for one in both))
        for as_of, field, *both in rows
    ]


A, B, C, D = (f"2026-03-{day}T12:00:00-07:00" for day in (18, 20, 23, 26))


@pytest.mark.parametrize(
    ("rows", "now", "known"),
    [
        ([], C, {C}),
        ([("1", "estimated_arrival", B, C)], C, {B, C}),  # the departure is older than what is known
        ([("1", "estimated_arrival", A, B), ("2", "actual_departure", None, A)], B, {B}),  # that was before it sailed
        ([("1", "actual_departure", None, A), ("2", "estimated_arrival", B, C)], C, {B, C}),
        ([("1", "actual_departure", None, A), ("1", "estimated_arrival", A, B)], B, {B}),  # known at once
        (
            [("1", "actual_departure", None, A), ("2", "estimated_arrival", C, A), ("3", "estimated_arrival", A, D)],
            D,
            {A, C, D},
        ),
        ([("1", "actual_departure", None, A), ("2", "estimated_arrival", None, D)], D, {D}),
    ],
)
def test_the_estimates_that_count_are_those_since_the_departure(rows, now, known):
    found = estimate_history(moves(*rows), "estimated_arrival", now)
    assert {one.moment for one in found} == known


@pytest.mark.parametrize(
    ("rows", "now", "actual", "told"),
    [
        ([], B, None, (B, 0)),
        ([], None, None, (None, None)),
        (
            [("1", "estimated_arrival", A, B), ("2", "actual_departure", None, A), ("3", "estimated_arrival", B, C)],
            C,
            None,
            (A, 5),
        ),
        ([("1", "estimated_arrival", None, B), ("2", "estimated_arrival", B, A)], A, None, (B, -2)),
        ([("1", "estimated_arrival", A, B)], B, D, (A, 8)),
        # The ramp's, until the leg to the ramp is known; and that of another port, before the route changed.
        ([("1", "estimated_arrival", D, A), ("1", "inland_ramp", None, "Chicago")], A, None, (A, 0)),
        ([("1", "estimated_arrival", A, C), ("1", "port_of_unloading", "Oakland", "Seattle")], C, None, (C, 0)),
        ([("1", "estimated_arrival", "1970-01-01T00:00:00+00:00", B)], B, None, (B, 0)),
        # Legs move the estimate without a new time of the shipment's: first with the route, then alone.
        (
            [
                ("1 a", "estimated_arrival", None, A),
                ("1 a", "port_of_unloading", None, "Oakland"),
                ("1 b", "estimated_arrival", A, C),
            ],
            C,
            None,
            (A, 5),
        ),
    ],
)
def test_the_arrival_that_was_first_told_and_its_slip(rows, now, actual, told):
    one = shipment(estimated_arrival=now, arrival=actual or now, port_of_unloading_timezone="America/Los_Angeles")
    assert first_estimate(moves(*rows), one.fields) == told


@pytest.mark.parametrize(("first", "now", "days"), [(B, B, None), (A, B, 2), (B, A, None), (A, C, 5)])
def test_an_arrival_that_is_estimated_later_than_at_the_departure_has_slipped(first, now, days):
    known = {"estimated_arrival": [ArrivalEstimate(None, first), ArrivalEstimate("2026-03-14T00:00:00.000Z", now)]}
    case = ShipmentFacts(shipment(actual_departure=A, estimated_arrival=now), estimates=known)
    found = kinds(case, at("2026-03-15T00:00:00Z"), ExceptionRules(eta_slip_days=2)).get("eta_slipped")
    assert (found and found["days"]) == days
    assert "eta_slipped" not in kinds(case, rules=ExceptionRules(eta_slip_days=6))


# --- silence ---


def test_who_is_under_way_and_not_heard_of_is_silent_and_nobody_else():
    heard = {"as_of": "2026-03-10T08:00:00.000Z"}
    for fields, legs, events, found in (
        ({"actual_departure": A}, [], [], True),
        ({"actual_departure": A, "status": "arrival_port"}, [], [], False),
        ({}, [], [], False),
        # That it was fetched again is no news: nothing on it changed.
        ({"actual_departure": A}, [record("legs", 1, as_of="2026-03-16T00:00:00.000Z")], [], True),
        ({"actual_departure": A}, [], [milestone("departed", "2026-03-16T00:00:00Z")], False),
        ({"actual_departure": A, "archived_at": AS_OF}, [], [], False),
    ):
        case = ShipmentFacts(record("shipments", 1, **heard, mode="ocean", **fields), legs, events=events)
        assert ("silent" in kinds(case)) is found, (fields, legs, events)
    case = ShipmentFacts(record("shipments", 1, **heard, mode="ocean", actual_departure=A))
    judged = evaluate_shipment(case, ExceptionRules(), at("2026-03-17T07:59:59Z"))
    assert (judged.findings, judged.next_check) == ([], at("2026-03-17T08:00:00Z"))
    assert kinds(case)["silent"] == {"last_news_at": "2026-03-10T08:00:00.000Z"}
    changed = ShipmentFacts(case.shipment, changed_at="2026-03-16T00:00:00.000Z")
    assert "silent" not in kinds(changed)


def test_silence_from_before_a_shipment_was_first_seen_is_no_news():
    for as_of, is_news in (("2025-03-10T08:00:00.000Z", False), ("2026-03-13T00:00:00.000Z", True)):
        case = ShipmentFacts(record("shipments", 1, mode="ocean", actual_departure=A, as_of=as_of))
        (found,) = evaluate_shipment(case, ExceptionRules(), NOON).findings
        assert (found.kind, found.is_news) == ("silent", is_news)


# --- free time ---

ARRIVED = {"status": "arrival_port"}
FREE = "2026-03-22T00:00:00-07:00"


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        ("2026-03-20T06:59:59Z", None),
        ("2026-03-20T07:00:00Z", "free_time_expiring"),
        ("2026-03-23T06:59:59Z", "free_time_expiring"),  # the last free day is free to its end, at the terminal
        ("2026-03-23T07:00:00Z", "free_time_expired"),
    ],
)
def test_free_time_is_told_before_it_ends_and_then_as_expired(now, kind):
    case = ShipmentFacts(shipment(**ARRIVED), [sea()], [box(last_free_day=FREE)])
    found = evaluate_shipment(case, ExceptionRules(), at(now)).findings
    assert [one.kind for one in found] == ([kind] if kind else [])
    for one in found:
        assert (one.resource, one.resource_id, one.shipment_id) == ("containers", "20", 1)
        assert one.evidence["last_free_day"] == "2026-03-22"
        assert one.evidence["container_number"] == "MSCU1234567"


TRUCK = record("legs", 11, shipment_id=1, mode="truck", origin="Los Angeles", destination="Ontario")


@pytest.mark.parametrize(
    ("fields", "of_box", "legs", "container_legs", "stands"),
    [
        (ARRIVED, {}, [], [], True),
        (ARRIVED | {"archived_at": AS_OF}, {}, [], [], True),  # it costs whoever archived it
        (ARRIVED | {"removed_at": AS_OF}, {}, [], [], False),
        ({"status": "in_transit_to_arrival_port"}, {}, [], [], False),  # a guess
        ({"status": "seller_location"}, {"available_for_pickup": A}, [], [], True),
        (ARRIVED, {"actual_pickup": B}, [], [], True),  # where, nothing says
        (ARRIVED, {"actual_arrival": A, "actual_pickup": B}, [], [], False),
        (ARRIVED | {"actual_arrival": B}, {"actual_pickup": A}, [], [], True),  # that was at the seller's
        (ARRIVED | {"actual_departure": A}, {"actual_pickup": A}, [], [], True),
        (ARRIVED | {"actual_departure": A}, {"actual_pickup": B}, [], [], False),
        (ARRIVED, {"actual_delivery": B}, [], [], False),
        (ARRIVED, {"empty_returned_date": "2026-03-24"}, [], [], False),
        ({"actual_delivered_in_full": B}, {}, [], [], False),
        (ARRIVED, {}, [TRUCK], [{"actual_loaded_on_board": B}], False),
        (ARRIVED, {}, [TRUCK], [{}], True),
        (ARRIVED, {}, [TRUCK], [{"leg_id": 10, "actual_loaded_on_board": B}], True),  # that was the ship
    ],
)
def test_free_time_runs_until_the_container_has_left(fields, of_box, legs, container_legs, stands):
    boxed = [
        record("container_legs", 30, shipment_id=1, **{"container_id": 20, "leg_id": 11, **one})
        for one in container_legs
    ]
    case = ShipmentFacts(shipment(**fields), [sea(), *legs], [box(last_free_day=FREE, **of_box)], boxed)
    assert ("free_time_expired" in kinds(case, at("2026-03-25T00:00:00Z"))) is stands


# --- customs ---


def entry(state, key="e1", removed_at=None):
    fields = {"entry_number": "31X-1", "release_state": state, "release_status": state}
    return record("customs_entries", key, removed_at, shipment_id=1, **fields)


HOLD, RELEASE = "customs_agriculture_hold", "customs_entry_release_status_released"


@pytest.mark.parametrize(
    ("entries", "events", "about"),
    [
        ([entry("hold")], [], "customs_entries"),
        ([entry("hold", removed_at=AS_OF)], [], None),
        ([entry("pending")], [], None),
        ([], [(HOLD, 1)], "shipments"),
        ([], [(HOLD, 1), (RELEASE, 2)], None),
        ([], [(HOLD, 2), (RELEASE, 1)], "shipments"),
        ([entry("cleared")], [(HOLD, 1)], None),
        ([entry("hold")], [(HOLD, 1)], "customs_entries"),  # once, not twice
        ([], [(HOLD, 1), ("arrived", 2)], "shipments"),  # held while at sea
        ([], [(HOLD, 1), ("out_for_delivery", 2)], None),
        ([], [("export_country_customs_exam", 1), ("arrived", 2)], "shipments"),
        ([], [("export_country_customs_exam", 1), ("departed", 2)], None),
    ],
)
def test_customs_hold(entries, events, about):
    told = [milestone(name, f"2026-03-{10 + day}T00:00:00Z", day) for name, day in events]
    case = ShipmentFacts(shipment(), customs=entries, events=told)
    found = [one for one in evaluate_shipment(case, ExceptionRules(), NOON).findings if one.kind == "customs_hold"]
    assert [one.resource for one in found] == ([about] if about else [])


# --- what Flexport reports ---

DELAY = "vessel_delay_port_congestion"


@pytest.mark.parametrize(
    ("events", "legs", "stands"),
    [
        ([(DELAY, "2026-03-12T15:00:00Z")], [], True),
        ([(DELAY, "2026-03-12T15:00:00Z"), ("departed", "2026-03-13T00:00:00Z")], [], False),
        ([(DELAY, "2026-03-12T15:00:00Z"), ("departed", "2026-03-11T00:00:00Z")], [], True),
        ([(DELAY, "2026-03-12T15:00:00Z"), ("schedule_confirmed", "2026-03-13T00:00:00Z")], [], True),
        ([(DELAY, "2026-03-12T15:00:00Z")], [sea(actual_departure="2026-03-13T12:00:00+08:00")], False),
        # On the same day: which was first is not known, so the report stands.
        ([(DELAY, "2026-03-12T02:00:00Z")], [sea(actual_departure="2026-03-12T12:00:00+08:00")], True),
        ([(DELAY, "2026-03-12T02:00:00Z")], [sea(actual_departure="2026-03-12T14:30:00+08:00")], False),
    ],
)
def test_what_flexport_reports_stands_until_the_cargo_moves(events, legs, stands):
    case = ShipmentFacts(shipment(), legs, events=[milestone(name, when, n) for n, (name, when) in enumerate(events)])
    assert ("flexport_reported" in kinds(case)) is stands
    if stands:
        told = kinds(case)["flexport_reported"]["milestones"]
        assert [one["milestone"] for one in told] == [DELAY]
        assert told[0]["title"] == "Vessel Delay: Port Congestion"


# --- documents ---

PAPERS = ExceptionRules(required={"ocean": [["bill"], ["invoice", "invoice_and_list"]]})


def paper(kind, removed_at=None, archived_at=None):
    return record("documents", kind, removed_at, shipment_id=1, document_type=kind, archived_at=archived_at)


@pytest.mark.parametrize(
    ("papers", "missing"),
    [
        ([], ["bill", "invoice/invoice_and_list"]),
        ([paper("bill")], ["invoice/invoice_and_list"]),
        ([paper("bill"), paper("invoice_and_list")], None),
        ([paper("bill", removed_at=AS_OF), paper("invoice")], ["bill"]),
        ([paper("bill", archived_at=AS_OF), paper("invoice")], ["bill"]),
    ],
)
def test_documents_are_missing_once_the_day_of_the_departure_is_over(papers, missing):
    case = ShipmentFacts(shipment(actual_departure="2026-03-20T12:00:00+08:00"), [sea()], documents=papers)
    found = kinds(case, rules=PAPERS).get("missing_documents")
    assert (found and found["missing"]) == missing
    assert "missing_documents" not in kinds(case, at("2026-03-20T15:00:00Z"), PAPERS)
    assert "missing_documents" not in kinds(case)  # none are required unless configured
    assert "missing_documents" not in kinds(ShipmentFacts(shipment(mode="air", actual_departure=A)), rules=PAPERS)


def test_a_document_that_is_two_in_one_counts_for_both_and_both_for_it():
    needs = ExceptionRules(required={"ocean": [["commercial_invoice"], ["packing_list"]]})
    either = ExceptionRules(required={"ocean": [["flexport_bill_of_lading"], ["commercial_invoice_packing_list"]]})
    for kinds_of, rules, missing in (
        (["commercial_invoice_packing_list"], needs, None),
        (["draft_commercial_invoice_packing_list"], needs, ["commercial_invoice", "packing_list"]),
        (["commercial_invoice"], needs, ["packing_list"]),
        (["commercial_invoice", "packing_list"], either, ["flexport_bill_of_lading"]),
        (["commercial_invoice"], either, ["flexport_bill_of_lading", "commercial_invoice_packing_list"]),
    ):
        papers = [paper(kind) for kind in kinds_of]
        case = ShipmentFacts(shipment(actual_departure="2026-03-20T12:00:00+08:00"), [sea()], documents=papers)
        found = kinds(case, rules=rules).get("missing_documents")
        assert (found and found["missing"]) == missing, kinds_of


# --- money and answers ---


@pytest.mark.parametrize(
    ("fields", "now", "overdue", "told"),
    [
        ({"status": "outstanding"}, "2026-03-21T23:59:59Z", False, "invoice.due"),
        ({"status": "outstanding"}, "2026-03-22T00:00:00Z", True, "invoice.overdue"),
        ({"status": "outstanding"}, "2026-03-17T23:59:59Z", False, None),
        ({"status": "outstanding"}, "2026-03-18T00:00:00Z", False, "invoice.due"),
        ({"status": "past_due"}, "2026-03-01T00:00:00Z", True, "invoice.overdue"),
        ({"status": "paid"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "payment_pending"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "void"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "outstanding", "outstanding_amount": "0"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "past_due", "outstanding_amount": "-12.5"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "past_due", "outstanding_amount": None, "total_amount": "-1"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "past_due", "invoice_type": "Credit Note"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "outstanding", "due_date": "1970-01-01"}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "past_due", "due_date": "2099-01-01"}, "2026-04-01T00:00:00Z", True, "invoice.overdue"),
        ({"status": "outstanding", "due_date": None}, "2026-04-01T00:00:00Z", False, None),
        ({"status": "outstanding", "removed_at": AS_OF}, "2026-04-01T00:00:00Z", False, None),
    ],
)
def test_an_invoice_is_overdue_when_its_due_day_is_over(fields, now, overdue, told):
    one = record(
        "invoices", "a", **{"shipment_id": 1, "due_date": "2026-03-21", "outstanding_amount": "12.5", **fields}
    )
    judged = evaluate_invoice(one, ExceptionRules(), at(now))
    assert [finding.kind for finding in judged.findings] == (["invoice_overdue"] if overdue else [])
    assert [notice.topic for notice in judged.notices] == ([told] if told else [])
    assert "12.5" not in repr(judged)  # money is asked for where it is allowed


@pytest.mark.parametrize(
    ("fields", "stands"),
    [
        ({}, True),
        ({"status": "draft"}, False),
        ({"status": "booked"}, False),
        ({"status": "archived"}, False),
        ({"shipment_id": 5}, True),  # bookings carry a shipment from the start
        ({"created_at": "2026-03-18T12:00:00.001Z"}, False),
        ({"created_at": None}, False),
        ({"removed_at": AS_OF}, False),
    ],
)
def test_a_booking_waits_for_an_answer(fields, stands):
    one = record("bookings", 7, **{"status": "submitted", "created_at": "2026-03-18T12:00:00.000Z", **fields})
    assert bool(evaluate_booking(one, ExceptionRules(), NOON).findings) is stands


# --- all together ---

NAMES = (
    HOLD,
    RELEASE,
    DELAY,
    "departed",
    "arrived",
    "out_for_delivery",
    "weather_delay",
    "export_country_customs_exam",
)
EVENTS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 20)), max_size=8)
DAYS = st.none() | st.integers(1, 28).map(lambda day: f"2026-03-{day:02}T12:00:00-07:00")
JOURNEYS = st.fixed_dictionaries(dict.fromkeys(("estimated_departure", "actual_departure", "estimated_arrival"), DAYS))


@given(
    events=EVENTS,
    fields=JOURNEYS,
    status=st.sampled_from(["seller_location", "arrival_port", None]),
    seed=st.integers(),
)
@settings(max_examples=200)
def test_the_order_in_which_things_are_known_does_not_matter(events, fields, status, seed):
    told = [milestone(name, f"2026-03-{1 + day:02}T00:00:00Z", n) for n, (name, day) in enumerate(events)]
    legs, boxes = [sea(10), sea(11), TRUCK], [box(20, last_free_day=FREE), box(21, last_free_day=FREE)]
    entries = [entry("hold"), entry("pending", "e2")]
    mixed = random.Random(seed)
    first = evaluate_shipment(
        ShipmentFacts(shipment(**fields, status=status), legs, boxes, [], [], entries, told), ExceptionRules(), NOON
    )
    for part in (told, legs, boxes, entries):
        mixed.shuffle(part)
    again = evaluate_shipment(
        ShipmentFacts(shipment(**fields, status=status), legs, boxes, [], [], entries, told), ExceptionRules(), NOON
    )
    assert {one.key: one.evidence for one in first.findings} == {one.key: one.evidence for one in again.findings}
    assert first.next_check == again.next_check
    assert len({one.key for one in first.findings}) == len(first.findings)


@given(fields=JOURNEYS, hours=st.lists(st.integers(0, 24 * 60), min_size=1, max_size=6).map(sorted))
@settings(max_examples=200)
def test_nothing_changes_with_the_time_before_it_is_to_be_looked_at_again(fields, hours):
    case = ShipmentFacts(shipment(**fields), [sea()], [box(last_free_day=FREE, available_for_pickup=A)])
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    judged = evaluate_shipment(case, ExceptionRules(), begin)
    for hour in hours:
        now = begin + timedelta(hours=hour)
        again = evaluate_shipment(case, ExceptionRules(), now)
        if judged.next_check is None or now < judged.next_check:
            assert again == judged
        judged = again


def test_facts_that_move_are_no_new_opening():
    case = ShipmentFacts(shipment(**GONE))
    (found,) = evaluate_shipment(case, ExceptionRules(), NOON).findings
    row = ExceptionRow(
        1, found.kind, SEVERITY[found.kind], found.resource, found.resource_id, 1, found.since, AS_OF, AS_OF, None,
        found.evidence,
    )  # fmt: skip
    assert diff([row], [found]) == ([], [], [])
    (moved,) = evaluate_shipment(
        ShipmentFacts(shipment(**GONE | {"estimated_arrival": A[:8] + "19" + A[10:]})), ExceptionRules(), NOON
    ).findings
    assert diff([row], [moved]) == ([], [(row, moved)], [])
    assert diff([row], []) == ([], [], [row])
    assert diff([], [found]) == ([found], [], [])


# --- the store ---


def test_everything_that_is_asked_of_the_store_goes_by_an_index(tmp_path):
    migrate(tmp_path / "flexportd.db")
    raw = open_reader(tmp_path / "flexportd.db")
    try:
        for name, sql in queries("exceptions").items():
            asked = sql.replace("{columns}", "id")
            numbered = [int(number) for number in re.findall(r"\?(\d)", asked)]
            count = max(numbered, default=asked.count("?"))
            plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {asked}", ["1"] * count)]
            scans = [step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
            assert all("exceptions_kind_open" in step for step in scans) if name == "counts" else not scans, (
                name,
                plan,
            )
            assert not any("TEMP B-TREE FOR ORDER" in step for step in plan), (name, plan)
    finally:
        raw.close()
