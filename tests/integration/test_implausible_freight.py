"""Freight that cannot be: it is kept and noted, nothing breaks on it, and no exception comes of it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from flexportd.settings import Settings
from tests.events import container, event, leg, place, shipment
from tests.small_flexport import SmallFlexport, mirroring
from tests.under_test import DatedClock, start
from tests.wire_goods import invoice, money

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 3, 21, 12, tzinfo=UTC)
RECENTLY = "2026-03-20T02:41:09.377Z"
LONG_PAST, FAR_OFF = "1970-01-01T00:00:00.000Z", "2099-12-31T12:00:00.000Z"
DEPARTS, ARRIVES = "2026-04-10T12:00:00.000+08:00", "2026-05-01T12:00:00.000-07:00"
SAILED, LANDED = "2026-03-01T12:00:00.000+08:00", "2026-03-18T12:00:00.000-07:00"
YANTIAN, LOS_ANGELES = (
    ("Yantian, China", "CNYTN", "Asia/Hong_Kong"),
    ("Los Angeles, CA", "USLAX", "America/Los_Angeles"),
)


FIRST, LAST = "0001-01-01T00:00:00.000+14:00", "9999-12-31T23:59:59.999-11:00"


def odd_place(**address):
    found = place(*YANTIAN, ("port_of_loading",))
    return {**found, "place": {**found["place"], "address": {**found["place"]["address"], **address}}}


def planned(number, **fields):
    dates = {"estimated_departure_date": DEPARTS, "estimated_arrival_date": ARRIVES}
    return shipment(number, **{"updated_at": RECENTLY, **dates, **fields})


def landed(number, **fields):
    dates = {"actual_departure_date": SAILED, "actual_arrival_date": LANDED, "estimated_departure_date": SAILED}
    return planned(number, status="arrival_port", **{**dates, "estimated_arrival_date": LANDED, **fields})


def sea_leg(number, shipment_id, **fields):
    dates = {"estimated_departure_date": DEPARTS, "estimated_arrival_date": ARRIVES}
    return leg(number, shipment_id, **{**dates, **fields})


def weight(value):
    return {"_object": "/quantity/weight", "value": value, "unit": "kg"}


def volume(value):
    return {"_object": "/quantity/volume", "value": value, "unit": "cbm"}


def chain(count, shipment_id):
    """This many stretches, one after the other, between the ports."""
    stops = [place(*YANTIAN, ("port_of_loading",))]
    stops += [place(f"Stop {n}", "CNYTN", "Asia/Hong_Kong", ("transshipment",)) for n in range(1, count)]
    stops.append(place(*LOS_ANGELES, ("port_of_unloading",)))
    return [
        sea_leg(
            10_000 + n,
            shipment_id,
            origin=stops[n],
            destination=stops[n + 1],
            estimated_departure_date=f"2026-04-10T{1 + n // 60:02}:{n % 60:02}:00.000+08:00",
            estimated_arrival_date=f"2026-04-10T{1 + n // 60:02}:{n % 60:02}:30.000+08:00",
        )
        for n in range(count)
    ]


# By what is wrong with it: objects, and (object, field) of what schema drift has to name.
CASES = {
    "planned in 1970 and 2099": (
        [planned(1, estimated_departure_date=LONG_PAST, estimated_arrival_date=FAR_OFF)],
        [
            ("/shipment", "estimated_departure is not a plausible date"),
            ("/shipment", "estimated_arrival is not a plausible date"),
        ],
    ),
    "sailed in 1970, due in 1970": (
        [
            planned(
                2,
                status="in_transit_to_arrival_port",
                actual_departure_date=LONG_PAST,
                estimated_arrival_date=LONG_PAST,
                estimated_departure_date=SAILED,
            )
        ],
        [("/shipment", "actual_departure is not a plausible date")],
    ),
    "free time that ended in 1970, and ends in 2099": (
        [
            landed(3),
            container(301, 3, last_free_day_date=LONG_PAST),
            container(302, 3, last_free_day_date=FAR_OFF),
            sea_leg(303, 3, actual_departure_date=SAILED, actual_arrival_date=FAR_OFF),
        ],
        [
            ("/ocean/shipment_container", "last_free_day is not a plausible date"),
            ("/shipment_leg", "actual_arrival is not a plausible date"),
        ],
    ),
    "the first and the last day of the calendar": (
        [
            landed(12, estimated_departure_date=FIRST, estimated_delivered_in_full_date=LAST),
            sea_leg(
                1201,
                12,
                estimated_departure_date=FIRST,
                estimated_arrival_date=LAST,
                origin=place("Yantian, China", "CNYTN", "Pacific/Pago_Pago", ("port_of_loading",)),
                destination=place("Los Angeles, CA", "USLAX", "Pacific/Kiritimati", ("port_of_unloading",)),
                additional_dates={"delivery_completed": LAST, "delivery_appointment_scheduled_for_date": FIRST},
            ),
            container(
                1202, 12, last_free_day_date=LAST, available_for_pickup_date=FIRST, empty_returned_date="9999-12-31"
            ),
        ],
        [
            ("/shipment_leg", "estimated_departure_date: is no time"),
            ("/ocean/shipment_container", "last_free_day_date: is no time"),
        ],
    ),
    "words for dates": (
        [
            planned(13, estimated_arrival_date="soon", estimated_departure_date="2026-02-30T12:00:00.000Z"),
            sea_leg(1301, 13, estimated_departure_date="", estimated_arrival_date="2026-04-10T24:61:00.000Z"),
            container(1302, 13, last_free_day_date="TBD", empty_returned_date="0000-00-00"),
        ],
        [("/shipment", "estimated_arrival_date"), ("/ocean/shipment_container", "last_free_day_date")],
    ),
    "places of other types": (
        [
            planned(14),
            sea_leg(1401, 14, origin={**place(*YANTIAN), "tags": "port_of_loading"}),
            sea_leg(1402, 14, origin={**place(*YANTIAN), "tags": [None, 7, "port_of_loading"]}),
            sea_leg(1403, 14, origin=odd_place(timezone=8, unlocode=["CNYTN"]), destination=odd_place(timezone="")),
            sea_leg(1404, 14, origin=odd_place(timezone="UTC\u0000"), destination=odd_place(timezone="/etc/localtime")),
        ],
        [],
    ),
    "a zone that does not exist": (
        [
            planned(4),
            sea_leg(
                401,
                4,
                origin=place("Yantian, China", "CNYTN", "Mars/Phobos", ("port_of_loading",)),
                destination=place("Los Angeles, CA", "USLAX", "../../etc/passwd", ("port_of_unloading",)),
            ),
        ],
        [("/shipment_leg", "origin: place: address: timezone: is no known time zone")],
    ),
    "legs without places": (
        [
            planned(5),
            sea_leg(501, 5, origin=None, destination=None),
            sea_leg(502, 5, origin={"_object": "/shipment_node", "tags": [], "terminal": None, "place": None}),
            sea_leg(503, 5, origin={"_object": "/shipment_node"}, destination={}),
        ],
        [("/shipment_leg", "origin of a leg is not given")],
    ),
    "tags on two legs": (
        [
            planned(6),
            sea_leg(601, 6),
            sea_leg(
                602,
                6,
                origin=place("Shanghai, China", "CNSHA", "Asia/Shanghai", ("port_of_loading",)),
                destination=place("Oakland, CA", "USOAK", "America/Los_Angeles", ("port_of_unloading",)),
            ),
        ],
        [("/shipment", "port_of_loading")],
    ),
    "two last free days": (
        [
            landed(7),
            container(701, 7, last_free_day_date=["2026-03-10T07:00:00.000Z", "2026-04-28T07:00:00.000Z"]),
        ],
        [("/ocean/shipment_container", "last_free_day_date is a list")],
    ),
    "negative weights": (
        [planned(8, calculated_weight=weight(-5), calculated_volume=volume(-0.5), pieces=-3)],
        [("/shipment", "calculated_weight")],
    ),
    "a currency that does not exist": (
        [
            planned(9),
            invoice("bad-currency", name="FLEX-9-1", total=money("612.14", "QQQ"), balance=money("512.14", "QQQ")),
        ],
        [("/invoice", "currency")],
    ),
    "300 legs": ([planned(10), *chain(300, 10)], []),
    "legs that arrive months before the shipment leaves": (
        [
            planned(11),
            sea_leg(
                1101,
                11,
                estimated_departure_date="2025-09-01T12:00:00.000+08:00",
                estimated_arrival_date="2025-10-01T12:00:00.000-07:00",
            ),
        ],
        [("/shipment", "before")],
    ),
}
OBJECTS = [one for objects, _ in CASES.values() for one in objects]
OBJECTS_BY_ID = {one["id"]: one for one in OBJECTS}
PATHS = {"/shipment": "shipments", "/shipment_leg": "legs", "/ocean/shipment_container": "containers"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["lists", "webhooks"])
async def mirror(request, tmp_path_factory):
    folder, clock = tmp_path_factory.mktemp(request.param), DatedClock(NOW)
    if request.param == "lists":
        async with mirroring(SmallFlexport(*OBJECTS), folder, clock) as daemon:
            yield daemon
        return
    async with start(Settings.for_tests(folder), clock) as daemon:
        events = [event(one, created_at=RECENTLY, occurred_at=RECENTLY) for one in OBJECTS]
        for n in range(0, len(events), 50):
            await asyncio.gather(*(daemon.receive(one) for one in events[n : n + 50]))
        await daemon.settled()
        yield daemon


async def judged(daemon):
    examiner = daemon.daemon.consumers.examiner
    async with asyncio.timeout(30):
        last = await daemon.daemon.db.read(lambda tx: tx.journal.last())
        while not (examiner.notifies and examiner.has_processed(last)):
            daemon.daemon.consumers.wake()
            await asyncio.sleep(0.02)


async def test_it_is_kept_value_by_value(mirror):
    assert (await mirror.get("/queue"))["dead"] == 0
    for one in OBJECTS:
        if one["_object"] in PATHS:
            found = await mirror.get(f"/{PATHS[one['_object']]}/{one['id']}?include=raw")
            assert found["raw"] == one
    assert (await mirror.get("/invoices/bad-currency?include=raw"))["raw"] == OBJECTS_BY_ID["bad-currency"]


async def test_no_exception_comes_of_it(mirror):
    await judged(mirror)
    rows = (await mirror.get("/exceptions?limit=500"))["data"]
    assert [(row["kind"], row["resource"], row["resource_id"], row["evidence"]) for row in rows] == []


async def test_every_surface_answers(mirror):
    for number in range(1, 15):
        assert await mirror.get(f"/shipments/{number}")
        await mirror.get(f"/shipments/{number}/timeline")
        for path in (f"/shipments/{number}", f"/api/v1/shipments/{number}/containers"):
            async with mirror.http.get(mirror.url + path) as page:
                assert page.status == 200, path
    for path in ("/", "/shipments", "/containers", "/calendar.ics", "/api/v1/shipments?format=csv"):
        async with mirror.http.get(mirror.url + path) as page:
            assert page.status == 200, path


async def test_three_hundred_legs_are_one_way(mirror):
    found = await mirror.get("/shipments/10")
    assert (found["port_of_loading"], found["port_of_unloading"]) == ("Yantian, China", "Los Angeles, CA")
    rows = (await mirror.get("/shipments/10/timeline"))["data"]
    places = [row["place"] for row in rows if row["milestone"] == "departed"]
    assert places == ["Yantian, China"] + [f"Stop {n}" for n in range(1, 300)]


async def test_legs_that_are_known_before_their_shipment_are_noted_too(settings, clock):
    async with start(settings, clock) as daemon:
        await daemon.receive(event(sea_leg(501, 5, origin=None), id=1))
        await daemon.settled()
        assert (await daemon.get("/drift"))["data"] == []
        await daemon.receive(event(planned(5), id=2))
        await daemon.settled()
        names = {row["name"] for row in (await daemon.get("/drift"))["data"]}
        assert "origin of a leg is not given" in names


@pytest.mark.parametrize("case", CASES)
async def test_schema_drift_notes_it(mirror, case):
    rows = (await mirror.get("/drift?limit=500"))["data"]
    for name, field in CASES[case][1]:
        assert any(row["object"].startswith(name) and field in row["name"] for row in rows), json.dumps(rows, indent=1)
