"""Every kind of exception at places from UTC+14 to UTC-11: open exactly when the day is over there, closed by evidence.

What is expected is computed from the zone of the place alone. The other places of the route lie in another zone.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from flexportd.clock import stamp
from flexportd.core.exceptions.model import ExceptionRules, TimeTriggers
from flexportd.core.exceptions.worker import evaluate_shipment
from tests.cases import case_of, happened
from tests.events import container, event, leg, place, shipment
from tests.integration.test_recorded import objects

ZONES = (
    "Pacific/Kiritimati", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Pacific/Honolulu", "Pacific/Midway",
)  # fmt: skip
DAYS = (
    date(2026, 2, 3),
    date(2026, 3, 8),  # New York begins its summer time
    date(2026, 3, 29),  # Hamburg begins its own
    date(2026, 10, 25),  # and ends it
    date(2026, 11, 1),  # New York ends its own
)
PAPERS = ExceptionRules(required={"ocean": [["packing_list"]]})
STOPS = ("factory", "loading", "unloading", "ramp", "door")
TAGS = {
    "factory": ("origin_address",),
    "loading": ("port_of_loading",),
    "unloading": ("port_of_unloading",),
    "ramp": ("place_of_delivery",),
    "door": ("destination_address",),
}
SHIPMENT = 910_233


class Wires:
    """A shipment from a factory to a door, by sea and if wanted by rail to a ramp; dates are added by leg."""

    def __init__(self, zones=None, ramp=False):
        self.zones = dict.fromkeys(STOPS, "Asia/Kolkata") | (zones or {})
        stops = [stop for stop in STOPS if stop != "ramp" or ramp]
        modes = ["truck", "ocean", *(["rail"] if ramp else []), "truck"]
        self.legs = {
            f"{start}-{end}": leg(
                number, transportation_mode=mode, origin=self.place(start), destination=self.place(end),
                estimated_departure_date=None, estimated_arrival_date=None,
            )
            for number, (mode, start, end) in enumerate(zip(modes, stops, stops[1:], strict=False), 1)
        }  # fmt: skip
        self.box = container(20)
        self.box_legs = {
            name: {
                "_object": "/ocean/shipment_container_leg", "id": 100 + one["id"], "leg": {"id": one["id"]},
                "shipment_container": {"id": 20}, "dates": {},
            }
            for name, one in self.legs.items()
        }  # fmt: skip
        self.shipment = shipment(estimated_departure_date=None, estimated_arrival_date=None)
        self.events = []

    def place(self, stop):
        return place(stop.title(), f"US{stop[:3].upper()}", self.zones[stop], TAGS[stop])

    def leg(self, name, **dates):
        self.legs[name] |= {f"{field}_date": value for field, value in dates.items()}
        return self

    def of(self, **fields):
        self.shipment |= fields
        return self

    def boxed(self, **dates):
        self.box |= {f"{field}_date": value for field, value in dates.items()}
        return self

    def on(self, name, **dates):
        self.box_legs[name]["dates"] = {f"{field}_date": value for field, value in dates.items()}
        return self

    def told(self, name, about, at):
        """A milestone about a leg, a container leg or the container."""
        resource = self.legs.get(about) or self.box_legs.get(about.removeprefix("box ")) or self.box
        resource = self.box_legs[about[4:]] if about.startswith("box ") else resource
        self.events.append(happened(event(resource, type=f"/x#{name}", occurred_at=at, created_at=at)))
        return self

    def judged(self, now):
        case = case_of(self.shipment, self.legs.values(), [self.box], self.box_legs.values(), self.events)
        return evaluate_shipment(case, PAPERS, now)

    def kinds(self, now):
        return {found.kind for found in self.judged(now).findings} - {"missing_documents", "silent"}


def written(day, zone):
    """A day as Flexport writes it: noon or midnight at the place, with its offset, another one, or in UTC."""
    for hour in (12, 0):
        at = datetime.combine(day, time(hour), ZoneInfo(zone))
        yield at.isoformat(timespec="milliseconds")
        yield stamp(at)
        yield at.astimezone(ZoneInfo("America/New_York")).isoformat(timespec="milliseconds")


def begins(day, zone):
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def late_pickup(at, zone):
    return Wires({"factory": zone}).of(estimated_picked_up_in_full_date=at)


def late_departure(at, zone):
    return Wires({"loading": zone}).leg("loading-unloading", estimated_departure=at)


SAILED = {"actual_departure": "2026-01-03T12:00:00.000+05:30"}
LANDED = SAILED | {"actual_arrival": "2026-01-20T12:00:00.000+05:30"}


def late_arrival(at, zone):
    return Wires({"unloading": zone}).leg("loading-unloading", estimated_arrival=at, **SAILED)


def late_at_the_ramp(at, zone):
    return (
        Wires({"ramp": zone}, ramp=True).leg("loading-unloading", **LANDED).leg("unloading-ramp", estimated_arrival=at)
    )


def late_delivery(at, zone):
    return Wires({"door": zone}).leg("loading-unloading", **LANDED).leg("unloading-door", estimated_arrival=at)


def free_time(at, zone):
    return Wires({"unloading": zone}).leg("loading-unloading", **LANDED).boxed(last_free_day=at)


def free_time_at_the_ramp(at, zone):
    wires = Wires({"ramp": zone}, ramp=True).leg("loading-unloading", **LANDED).boxed(last_free_day=at)
    return wires.leg("unloading-ramp", actual_arrival="2026-01-22T12:00:00.000+05:30")


def empty_out(at, zone):
    return Wires({"door": zone}).leg("loading-unloading", **LANDED).boxed(actual_delivery=at)


def papers(at, zone):
    return Wires({"loading": zone}).leg("loading-unloading", actual_departure=at)


TABLE = [
    # (kind, what leads to it, days from the day that is written to the day on which it opens)
    ("late_pickup", late_pickup, 1),
    ("late_departure", late_departure, 1),
    ("late_arrival", late_arrival, 1),
    ("late_arrival", late_at_the_ramp, 1),
    ("late_delivery", late_delivery, 1),
    ("free_time_expiring", free_time, -2),
    ("free_time_expired", free_time, 1),
    ("free_time_expiring", free_time_at_the_ramp, -2),
    ("free_time_expired", free_time_at_the_ramp, 1),
    ("empty_return", empty_out, 6),
    ("missing_documents", papers, 1),
]


@pytest.mark.parametrize(("kind", "wires", "days"), TABLE, ids=[f"{one[0]}-{one[1].__name__}" for one in TABLE])
def test_it_opens_exactly_when_the_day_is_over_at_the_place(kind, wires, days):
    for zone in ZONES:
        for day in DAYS:
            opens = begins(day + timedelta(days=days), zone)
            for at in written(day, zone):
                world = wires(at, zone)
                before = world.judged(opens - timedelta(seconds=1))
                assert kind not in {found.kind for found in before.findings}, (zone, at)
                assert before.next_check <= opens, (zone, at)
                found = [one for one in world.judged(opens).findings if one.kind == kind]
                assert [one.since for one in found] == [stamp(opens)], (zone, at)
                assert day.isoformat() in found[0].evidence.values() or kind == "missing_documents", (zone, at)


# --- what time alone makes worse ---

LATE = [(0, 0, "warning"), (3, 3, "warning"), (7, 7, "critical"), (14, 14, "critical"), (21, 21, "critical")]
WORSE = [
    # (kind, what leads to it, the day on which it opens, then (days after that day, degree, severity))
    ("late_pickup", late_pickup, 1, [(0, 0, "warning"), (3, 3, "critical"), (7, 7, "critical")]),
    ("late_departure", late_departure, 1, LATE),
    ("late_arrival", late_arrival, 1, LATE),
    ("late_arrival", late_at_the_ramp, 1, LATE),
    ("late_delivery", late_delivery, 1, LATE),
    ("free_time_expiring", free_time, -2, [(0, -2, "warning"), (1, -1, "warning"), (2, 0, "critical")]),
    ("free_time_expiring", free_time_at_the_ramp, -2, [(0, -2, "warning"), (1, -1, "warning"), (2, 0, "critical")]),
    ("free_time_expired", free_time, 1, [(0, 0, "critical"), (3, 3, "critical"), (7, 7, "critical")]),
    ("empty_return", empty_out, 6, LATE),
    ("missing_documents", papers, 1, [(0, 1, "warning"), (40, 1, "warning")]),
]


@pytest.mark.parametrize(
    ("kind", "wires", "opens", "steps"), WORSE, ids=[f"{one[0]}-{one[1].__name__}" for one in WORSE]
)
def test_it_gets_worse_exactly_when_a_day_begins_at_the_place(kind, wires, opens, steps):
    for zone in ZONES:
        for day in DAYS:
            world, before = wires(next(written(day, zone)), zone), None
            for days, degree, severity in steps:
                at = begins(day + timedelta(days=opens + days), zone)
                if before is not None:
                    still = world.judged(at - timedelta(seconds=1))
                    (found,) = [one for one in still.findings if one.kind == kind]
                    assert (found.degree, found.severity) == before, (zone, day, days)
                    if before != (degree, severity):
                        assert still.next_check <= at, (zone, day, days)
                (found,) = [one for one in world.judged(at).findings if one.kind == kind]
                assert (found.degree, found.severity) == (degree, severity), (zone, day, days)
                before = degree, severity


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Apia", "America/Sao_Paulo", "UTC"])
def test_days_are_counted_from_midnight_to_midnight_for_years(zone):
    since = datetime.combine(date(2011, 10, 1), time(), ZoneInfo(zone))  # Apia left out 2011-12-30
    for days in (0, 1, 2, 3, 6, 7, 13, 14, 89, 91, 92, 97, 98, 365 * 8):
        due = datetime.combine(date(2011, 10, 1) + timedelta(days=days), time(), ZoneInfo(zone)).astimezone(UTC)
        watch = TimeTriggers(due)
        step = max(one for one in (0, 3, *range(7, 3000, 7)) if one <= days)
        assert watch.days_since(since) == step, days
        assert watch.next_check > due
        assert TimeTriggers(watch.next_check.astimezone(UTC)).days_since(since) > step
        assert TimeTriggers(watch.next_check.astimezone(UTC) - timedelta(seconds=1)).days_since(since) == step


# --- what closes each ---

PAST = "2026-02-03T12:00:00.000+05:30"
THEN = "2026-02-10T12:00:00.000+05:30"
NOW = datetime(2026, 2, 20, tzinfo=UTC)

DEPARTED = {
    "shipment": lambda w: w.of(actual_departure_date=THEN),
    "leg": lambda w: w.leg("loading-unloading", actual_departure=THEN),
    "later leg": lambda w: w.leg("unloading-door", actual_departure=THEN),
    "container": lambda w: w.boxed(actual_departure=THEN),
    "loaded on board": lambda w: w.on("loading-unloading", actual_loaded_on_board=THEN),
    "discharged": lambda w: w.on("loading-unloading", actual_discharge=THEN),
    "milestone of the leg": lambda w: w.told("departed", "loading-unloading", THEN),
    "milestone of the container": lambda w: w.told("loaded_on_board", "box loading-unloading", THEN),
    "status": lambda w: w.of(status="in_transit_to_arrival_port"),
}
ARRIVED = {
    "shipment": lambda w: w.of(actual_arrival_date=THEN),
    "leg": lambda w: w.leg("loading-unloading", actual_arrival=THEN),
    "later leg": lambda w: w.leg("unloading-door", actual_departure=THEN),
    "container": lambda w: w.boxed(actual_arrival=THEN),
    "discharged": lambda w: w.on("loading-unloading", actual_discharge=THEN),
    "available": lambda w: w.boxed(available_for_pickup=THEN),
    "milestone of the leg": lambda w: w.told("arrived", "loading-unloading", THEN),
    "milestone of the container": lambda w: w.told("unloaded_off_board", "box loading-unloading", THEN),
    "milestone of free time": lambda w: w.told("free_time_to_expire", "the box", THEN).boxed(last_free_day=THEN),
    "status": lambda w: w.of(status="arrival_port"),
}
LEFT = {
    "leg": lambda w: w.leg("unloading-door", actual_departure=THEN),
    "loaded on the truck": lambda w: w.on("unloading-door", actual_loaded_on_board=THEN),
    "picked up": lambda w: w.boxed(actual_pickup=THEN),
    "delivered": lambda w: w.boxed(actual_delivery=THEN),
    "empty returned": lambda w: w.boxed(empty_returned="2026-02-12"),
    "milestone": lambda w: w.told("out_for_delivery", "unloading-door", THEN),
    "empty milestone": lambda w: w.told("empty_returned", "the box", THEN),
    "status": lambda w: w.of(status="gated_out"),
}
LEFT_FOR_SURE = {name: one for name, one in LEFT.items() if name != "picked up"}  # else it was at the seller's
DELIVERED = {
    "shipment": lambda w: w.of(actual_delivered_in_full_date=THEN),
    "leg": lambda w: w.leg("unloading-door", actual_arrival=THEN),
    "appointment": lambda w: w.legs["unloading-door"].update(additional_dates={"delivery_completed": THEN}),
    "container": lambda w: w.boxed(actual_delivery=THEN),
    "discharged": lambda w: w.on("unloading-door", actual_discharge=THEN),
    "milestone": lambda w: w.told("delivered_in_full", "the box", THEN),
    "milestone of the leg": lambda w: w.told("delivered", "unloading-door", THEN),
    "empty returned": lambda w: w.boxed(empty_returned="2026-02-12"),
    "status": lambda w: w.of(status="final_destination"),
}
PICKED_UP = {
    "shipment": lambda w: w.of(actual_picked_up_in_full_date=THEN),
    "leg": lambda w: w.leg("factory-loading", actual_departure=THEN),
    "container": lambda w: w.boxed(actual_pickup=THEN),
    "loaded on the truck": lambda w: w.on("factory-loading", actual_loaded_on_board=THEN),
    "milestone": lambda w: w.told("departed", "factory-loading", THEN),
    "status": lambda w: w.of(status="in_transit_to_departure_port"),
}
RETURNED = {
    "container": lambda w: w.boxed(empty_returned="2026-02-12"),
    "milestone": lambda w: w.told("empty_returned", "the box", THEN),
    "archived": lambda w: w.of(archived_at="2026-02-12T00:00:00.000Z"),
    "deleted": lambda w: w.of(ocean_shipment={"_object": "/ocean/shipment", "is_lcl": True}),
}
CLOSED = [
    (kind, wires, name, change)
    for kind, wires, several in (
        ("late_pickup", late_pickup, PICKED_UP | DEPARTED),
        ("late_departure", late_departure, DEPARTED | ARRIVED | LEFT_FOR_SURE | DELIVERED),
        ("late_arrival", late_arrival, ARRIVED | LEFT | DELIVERED),
        ("late_delivery", late_delivery, DELIVERED),
        ("free_time_expired", free_time, LEFT | DELIVERED),
        ("empty_return", empty_out, RETURNED),
    )
    for name, change in several.items()
]


@pytest.mark.parametrize(
    ("kind", "wires", "change"),
    [(kind, wires, change) for kind, wires, _, change in CLOSED],
    ids=[f"{kind}-{name}" for kind, _, name, _ in CLOSED],
)
def test_any_evidence_closes_it(kind, wires, change):
    world = wires(PAST, "Asia/Kolkata")
    assert kind in world.kinds(NOW)
    change(world)
    assert kind not in world.kinds(NOW)


NO_EVIDENCE = {
    "a truck's departure": ("late_departure", late_departure, lambda w: w.told("departed", "factory-loading", THEN)),
    "a truck's arrival": ("late_departure", late_departure, lambda w: w.told("arrived", "factory-loading", THEN)),
    "picked up at the seller's": ("free_time_expired", free_time, lambda w: w.boxed(actual_pickup="2026-01-02T12:00Z")),
    "a departure of 1970": (
        "late_departure", late_departure,
        lambda w: w.leg("loading-unloading", actual_departure="1970-01-01T00:00:00.000Z"),
    ),
    "an arrival of 2099": (
        "late_arrival", late_arrival, lambda w: w.leg("loading-unloading", actual_arrival="2099-01-01T00:00:00.000Z")
    ),
    "the port, for the ramp": (
        "late_arrival", late_at_the_ramp,
        lambda w: w.on("loading-unloading", actual_discharge=THEN),
    ),
    "the port's status, for the ramp": (
        "late_arrival", late_at_the_ramp, lambda w: w.of(status="in_transit_to_final_destination")
    ),
    "the terminal, for the door": ("late_delivery", late_delivery, lambda w: w.boxed(actual_pickup=THEN)),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "wires", "change"), NO_EVIDENCE.values(), ids=NO_EVIDENCE)
def test_what_shows_something_else_closes_nothing(kind, wires, change):
    world = wires(PAST, "Asia/Kolkata")
    change(world)
    assert kind in world.kinds(NOW)


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00.000Z", "2099-12-31T12:00:00.000Z", "9999-12-31T23:59:59.000Z"])
@pytest.mark.parametrize("wires", [late_pickup, late_departure, late_arrival, late_delivery, free_time, empty_out])
def test_an_implausible_date_opens_nothing(wires, moment):
    for now in (NOW, datetime(2150, 1, 1, tzinfo=UTC)):
        assert wires(moment, "Asia/Kolkata").kinds(now) == set()


def test_only_the_next_step_is_late():
    world = Wires(ramp=True).of(estimated_picked_up_in_full_date=PAST)
    for name in world.legs:
        world.leg(name, estimated_departure=PAST, estimated_arrival=PAST)
    seen = []
    for name in ("factory-loading", "loading-unloading", "unloading-ramp", "ramp-door"):
        seen.append([(one.kind, one.evidence["place"]) for one in world.judged(NOW).findings if "late" in one.kind])
        world.leg(name, actual_departure=THEN, actual_arrival=THEN if name.startswith(("factory", "loading")) else None)
    seen.append([(one.kind, one.evidence["place"]) for one in world.judged(NOW).findings if "late" in one.kind])
    assert seen == [
        [("late_departure", "Loading")],
        [("late_departure", "Loading")],
        [("late_arrival", "Ramp")],
        [("late_arrival", "Ramp")],
        [("late_delivery", "Door")],
    ]


def test_a_pickup_is_late_when_the_day_of_the_departure_begins():
    world = Wires({"loading": "Asia/Tokyo"}).leg("loading-unloading", estimated_departure="2026-02-20T12:00:00+09:00")
    world.of(freight_type="door_to_door")
    opens = begins(date(2026, 2, 20), "Asia/Tokyo")
    assert world.kinds(opens - timedelta(seconds=1)) == set()
    assert world.kinds(opens) == {"late_pickup"}
    assert world.kinds(opens + timedelta(days=1)) == {"late_departure"}  # one problem, one exception
    assert world.of(freight_type="port_to_door").kinds(opens) == set()  # the seller brings it


# --- free time by milestone; several containers ---


def test_a_milestone_of_free_time_opens_one_without_a_last_free_day():
    world = Wires().leg("loading-unloading", **LANDED).told("free_time_to_expire", "the box", PAST)
    assert world.kinds(NOW) == {"free_time_expiring"}
    world.told("free_time_expired", "the box", THEN)
    (found,) = [one for one in world.judged(NOW).findings if one.kind.startswith("free_time")]
    assert (found.kind, found.resource_id, found.since) == ("free_time_expired", "20", "2026-02-10T06:30:00.000Z")
    assert world.boxed(last_free_day="2026-02-27T12:00:00.000+05:30").kinds(NOW) == set()  # it was extended
    assert Wires().told("free_time_expired", "the box", THEN).kinds(NOW) == {"free_time_expired"}
    assert world.boxed(last_free_day=None, actual_pickup=THEN).kinds(NOW) == {"empty_return"}


def test_free_time_at_a_ramp_is_a_guess_while_the_container_is_at_the_port():
    world = Wires(ramp=True).leg("loading-unloading", **LANDED).boxed(last_free_day=PAST)
    world.on("loading-unloading", actual_discharge=LANDED["actual_arrival"])
    assert world.kinds(NOW) == set()
    assert world.leg("unloading-ramp", actual_arrival=PAST).kinds(NOW) == {"free_time_expired"}


def two_boxes(*changes, **fields):
    world = free_time(PAST, "Asia/Kolkata").of(**fields)
    other = {**world.box, "id": 21, **{f"{name}_date": value for one in changes for name, value in one.items()}}
    case = case_of(world.shipment, world.legs.values(), [world.box, other], [], world.events)
    return {
        one.resource_id
        for one in evaluate_shipment(case, ExceptionRules(), NOW).findings
        if one.kind == "free_time_expired"
    }


def test_one_container_that_left_says_nothing_of_another():
    assert two_boxes() == {"20", "21"}
    assert two_boxes({"actual_pickup": THEN}) == {"20"}
    assert two_boxes({"actual_delivery": THEN}) == {"20"}


def test_a_status_is_that_of_all_containers_unless_flexport_reports_them_one_by_one():
    assert two_boxes(status="gated_out") == set()
    assert two_boxes({"actual_pickup": THEN}, status="gated_out") == {"20"}
    assert two_boxes({"actual_pickup": THEN}, status="final_destination") == set()


def test_a_hold_ends_when_all_of_the_cargo_has_left_the_terminal():
    world = Wires().leg("loading-unloading", **LANDED).boxed(actual_pickup=THEN)
    world.told("customs_agriculture_hold", "the box", PAST)
    for boxes, is_held in (
        ([world.box], False),
        ([world.box, {**world.box, "id": 21, "actual_pickup_date": None}], True),
    ):
        case = case_of(world.shipment, world.legs.values(), boxes, [], world.events)
        assert (
            "customs_hold" in {one.kind for one in evaluate_shipment(case, ExceptionRules(), NOW).findings}
        ) is is_held


# --- the recorded account ---


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (542526, set()),  # discharged: no late departure
        (504720, {("free_time_expired", "Indianapolis, Indiana", "2019-05-03T04:00:00.000Z")}),
        (502170, {("late_arrival", "Los Angeles, CA", "2019-03-23T07:00:00.000Z")}),
        (493053, {("late_departure", "Hong Kong, Hong Kong", "2019-03-14T16:00:00.000Z")}),
        (508275, {
            ("late_delivery", "Flexport Los Angeles Warehouse", "2019-04-20T07:00:00.000Z"),
            ("empty_return", None, "2019-05-06T07:00:00.000Z"),
        }),
    ],
)  # fmt: skip
def test_recorded_shipments_have_the_exceptions_that_they_deserve(number, expected):
    shipments, legs = objects("shipments"), objects("shipment_legs")
    boxes = [one for one in objects("ocean_shipment_containers").values() if one["shipment"]["id"] == number]
    ids = {one["id"] for one in boxes}
    box_legs = objects("ocean_shipment_container_legs").values()
    case = case_of(
        shipments[number],
        [one for one in legs.values() if one["shipment"]["id"] == number],
        boxes,
        [one for one in box_legs if one["shipment_container"]["id"] in ids],
    )
    found = evaluate_shipment(case, ExceptionRules(), datetime(2020, 4, 20, tzinfo=UTC)).findings
    assert {(one.kind, one.evidence.get("place"), one.since) for one in found if one.kind != "silent"} == expected
