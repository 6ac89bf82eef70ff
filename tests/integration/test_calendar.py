"""`/calendar.ics` of a running daemon: what is in it, how it changes, who may read it."""

import asyncio
import gzip
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from flexportd.expose.feeds import icalendar as calendar_api
from flexportd.settings import Settings
from tests import events
from tests.strict_icalendar import checked
from tests.under_test import DatedClock, start
from tests.wire_goods import invoice

ACME = {"_object": "/company_entity", "id": 1, "name": "Acme GmbH", "ref": "x"}
LATER = "2026-03-05T10:00:00.000Z"


class SteadyClock(DatedClock):
    """The morning of 4 March 2026, and what the test turns it by; waiting takes real time."""

    def __init__(self):
        self.at = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)

    def now(self):
        return self.at

    def turn(self, **by):
        self.at += timedelta(**by)


class Feed:
    """A daemon that serves a calendar, and its control socket."""

    def __init__(self, under_test, control, clock):
        self.daemon = under_test
        self.control = control
        self.clock = clock

    async def tell(self, *resources, **more):
        """Events about these, applied."""
        await self.daemon.receive(*(events.event(one, **more) for one in resources))
        await self.daemon.settled()

    async def ask(self, query="", status=200, **headers):
        url = f"{self.daemon.url}/calendar.ics{query}"
        async with self.daemon.http.get(url, headers=headers, allow_redirects=False) as answer:
            body = await answer.read()
            assert answer.status == status, body
            self.headers = answer.headers
            return body

    async def read(self, query="", **headers):
        """Id -> event."""
        return {str(one["UID"]).partition("@")[0]: one for one in checked(await self.ask(query, **headers))}

    async def problem(self, query, status):
        found = json.loads(await self.ask(query, status))
        assert self.headers["Content-Type"] == "application/problem+json"
        return found

    async def key(self, name="Screen", status=201, **more):
        async with self.control.post("http://local/api/v1/keys", json={"name": name, **more}) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()


@asynccontextmanager
async def serving(tmp_path, **overrides):
    settings, clock = Settings.for_tests(tmp_path, **overrides), SteadyClock()
    connector = aiohttp.UnixConnector(str(settings.storage.control_socket))
    async with start(settings, clock) as under_test, aiohttp.ClientSession(connector=connector) as control:
        yield Feed(under_test, control, clock)


@pytest.fixture
async def feed(tmp_path):
    async with serving(tmp_path, **{"dashboard.timezone": "Europe/Berlin", "dashboard.title": "Ours, all"}) as found:
        yield found


@pytest.fixture
async def locked(tmp_path):
    overrides = {"api.require_key": True, "server.public_url": "https://freight.example.com/"}
    async with serving(tmp_path, **overrides) as found:
        await found.tell(events.shipment(), events.shipment(910_234, consignees=[ACME]))
        await found.tell(invoice(name="FLEX-910234-1"))
        yield found


def appointment(number, at, **fields):
    return events.leg(number, additional_dates={"delivery_appointment_scheduled_for_date": at}, **fields)


async def everything(feed):
    """One shipment with an entry of each kind."""
    await feed.tell(events.shipment(name="PO 4471"), events.leg())
    await feed.tell(
        events.container(last_free_day_date="2026-03-25T07:00:00.000Z"),
        appointment(
            8_800_413, "2026-03-26T09:30:00.000-07:00", transportation_mode="truck",
            origin=events.place("Los Angeles, CA", "USLAX", "America/Los_Angeles", ("port_of_unloading",)),
            estimated_departure_date=None, estimated_arrival_date="2026-03-26T12:00:00.000-07:00",
            destination=events.place("Warehouse 7, Ontario", "USONT", "America/Los_Angeles", ("destination_address",)),
        ),
        invoice(),
    )  # fmt: skip


# --- what is in it ---


async def test_a_calendar_before_anything_happened_is_valid(feed):
    assert await feed.read() == {}
    assert feed.headers["Content-Type"] == "text/calendar; charset=utf-8"


async def test_each_kind_of_entry_is_at_its_day_or_time(feed):
    await everything(feed)
    found = await feed.read()
    times = {name: event["DTSTART"].to_ical().decode() for name, event in found.items()}
    assert times == {
        "arrival-910233": "20260321",
        "free-time-555001": "20260325",
        "delivery-910233": "20260326",
        "appointment-8800413": "20260326T163000Z",
        "invoice-gwdpaYrhTI-T1ljn1M7o7w": "20260331",
    }
    assert [str(event["SUMMARY"]) for event in found.values()] == [
        "Arrives Los Angeles, CA · FLEX-910233 PO 4471",
        "Last free day CSQU3054383 · FLEX-910233 PO 4471",
        "Delivery Warehouse 7, Ontario · FLEX-910233 PO 4471",
        "Delivery appointment FLEX-910233 PO 4471 · Warehouse 7, Ontario",
        "Invoice due FLEX-910233-1 · 512.14 USD",
    ]
    body = await feed.ask()
    assert b"X-WR-CALNAME:Ours\\, all\r\n" in body
    assert b"X-WR-TIMEZONE:Europe/Berlin\r\n" in body
    assert b"URL" not in body  # nobody said under what name people reach us


async def test_what_has_a_time_takes_an_hour_and_what_has_a_day_takes_the_day(feed):
    await everything(feed)
    found = await feed.read()
    lasts = {name.partition("-")[0]: event["DTEND"].dt - event["DTSTART"].dt for name, event in found.items()}
    assert lasts.pop("appointment") == timedelta(hours=1)
    assert set(lasts.values()) == {timedelta(days=1)}


async def test_kinds_and_days_choose(feed):
    await everything(feed)
    assert list(await feed.read("?kinds=invoices,free_time")) == ["free-time-555001", "invoice-gwdpaYrhTI-T1ljn1M7o7w"]
    assert list(await feed.read("?days_ahead=21")) == ["arrival-910233", "free-time-555001"]
    assert list(await feed.read("?days_ahead=0")) == []
    feed.clock.turn(days=25)
    assert list(await feed.read("?days_back=3&days_ahead=2")) == [
        "delivery-910233",
        "appointment-8800413",
        "invoice-gwdpaYrhTI-T1ljn1M7o7w",
    ]
    assert len(await feed.read()) == 5
    assert len(await feed.read("?days_back=0")) == 1


async def test_a_container_is_named_on_the_appointment_that_brings_it(feed):
    await everything(feed)
    link = {"_object": "/api/refs/object", "ref_type": "/x", "link": "https://x.example/1"}
    aboard = {
        "_object": "/ocean/shipment_container_leg", "id": 77, "dates": {},
        "shipment_container": {**link, "id": 555_001}, "leg": {**link, "id": 8_800_413},
    }  # fmt: skip
    before = (await feed.read())["appointment-8800413"]
    feed.clock.turn(seconds=5)
    await feed.tell(aboard)
    after = (await feed.read())["appointment-8800413"]
    assert after["SUMMARY"] == "Delivery appointment FLEX-910233 PO 4471 · CSQU3054383 · Warehouse 7, Ontario"
    assert after["SEQUENCE"] > before["SEQUENCE"]


async def test_the_ramp_is_a_place_of_its_own_and_free_time_ends_with_any_evidence_of_the_pickup(feed):
    ramp = events.place("Chicago, IL", "USCHI", "America/Chicago")
    port = events.place("Los Angeles, CA", "USLAX", "America/Los_Angeles", ("port_of_unloading",))
    door = events.place("Door", "USMEM", "America/Chicago", ("destination_address",))
    truck = {"origin": ramp, "destination": door, "transportation_mode": "truck", "estimated_departure_date": None}
    at_ramp = {"estimated_arrival_date": "2026-03-25T12:00:00.000-05:00"}
    await feed.tell(
        events.shipment(name="PO 4471", **at_ramp),
        events.leg(),
        events.leg(2, origin=port, destination=ramp, transportation_mode="rail", carrier_name=None, **at_ramp),
        events.leg(3, **truck, estimated_arrival_date="2026-03-27T12:00:00.000-05:00"),
        events.container(last_free_day_date="2026-03-29T05:00:00.000Z"),
    )
    found = await feed.read()
    assert [(str(one["SUMMARY"]).partition(" · ")[0], one["DTSTART"].to_ical()) for one in found.values()] == [
        ("Arrives Los Angeles, CA", b"20260321"),
        ("Arrives Chicago, IL ramp", b"20260325"),
        ("Delivery Door", b"20260327"),
        ("Last free day CSQU3054383", b"20260329"),
    ]
    assert found["free-time-555001"]["LOCATION"] == "Chicago, IL (USCHI)"
    leaving = events.leg(3, **truck, actual_departure_date="2026-03-28T12:00:00.000-05:00")
    await feed.tell(leaving, created_at=LATER)
    assert "free-time-555001" not in await feed.read()


async def test_days_choose_by_the_day_at_the_place(feed):
    island = events.place("Kiritimati", "KICXI", "Pacific/Kiritimati", ("port_of_unloading",))
    await feed.tell(
        events.shipment(estimated_arrival_date="2026-03-05T00:00:00.000+14:00"), events.leg(destination=island)
    )
    assert list(await feed.read("?days_back=0&days_ahead=0")) == []  # in UTC it is the 4th, as today
    assert list(await feed.read("?days_back=0&days_ahead=1")) == ["arrival-910233"]


async def test_what_is_met_or_gone_leaves(feed):
    await everything(feed)
    box = {"last_free_day_date": "2026-03-25T07:00:00.000Z", "actual_arrival_date": "2026-03-20T12:00:00.000-07:00"}
    seller = events.container(**box, actual_pickup_date="2026-03-01T12:00:00.000+08:00")
    await feed.tell(seller, created_at="2026-03-05T08:00:00.000Z")
    assert any(name.startswith("free-time") for name in await feed.read())  # it was picked up at the seller's
    await feed.tell(events.container(**box, actual_pickup_date="2026-03-24T12:00:00.000-07:00"), created_at=LATER)
    await feed.tell(invoice("second", voided_at=LATER), invoice("third", balance=None), created_at=LATER)
    assert [name for name in await feed.read() if name.startswith("inv")] == [
        "invoice-gwdpaYrhTI-T1ljn1M7o7w",
        "invoice-third",
    ]
    for key in ("gwdpaYrhTI-T1ljn1M7o7w", "third"):
        await feed.tell(invoice(key, status="paid", last_updated_at=LATER), created_at=LATER)
    await feed.tell(
        appointment(8_800_413, "2026-03-26T09:30:00.000-07:00", deleted_at="2026-03-05T09:00:00.000Z"), created_at=LATER
    )
    assert list(await feed.read()) == ["arrival-910233"]
    await feed.daemon.daemon.db.write(lambda tx: tx.raw.execute("UPDATE shipments SET removed_at = ?", (LATER,)))
    assert await feed.read() == {}


async def test_with_a_shipment_leaves_what_belongs_to_it(feed):
    await everything(feed)
    await feed.daemon.daemon.db.write(lambda tx: tx.raw.execute("UPDATE shipments SET removed_at = ?", (LATER,)))
    assert list(await feed.read()) == ["invoice-gwdpaYrhTI-T1ljn1M7o7w"]


async def test_the_nearest_are_kept_where_there_are_too_many(feed, monkeypatch):
    monkeypatch.setattr(calendar_api, "MAX_ENTRIES", 4)
    monkeypatch.setattr(calendar_api, "_ROWS", 2)
    days = range(1, 9)
    await feed.tell(
        *(events.shipment(day, estimated_arrival_date=f"2026-03-{day:02}T12:00:00.000-07:00") for day in days)
    )
    found = await feed.read("?kinds=arrivals")
    assert list(found) == ["arrival-4", "arrival-5", "arrival-6", "arrival-7"]
    assert b"X-WR-CALDESC:Only the 4 entries closest to today." in (await feed.ask()).replace(b"\r\n ", b"")
    assert list(await feed.read("?kinds=arrivals&days_ahead=1")) == ["arrival-2", "arrival-3", "arrival-4", "arrival-5"]


# --- how it changes ---


async def test_a_moved_arrival_is_the_same_entry_with_a_higher_revision(feed):
    await feed.tell(events.shipment())
    first = (await feed.read())["arrival-910233"]
    feed.clock.turn(seconds=2)
    moved = events.shipment(estimated_arrival_date="2026-03-24T14:05:00.000-07:00", updated_at=LATER)
    await feed.tell(moved, created_at=LATER)
    second = (await feed.read())["arrival-910233"]
    assert second["UID"] == first["UID"]
    assert second["SEQUENCE"] == first["SEQUENCE"] + 2
    assert second["LAST-MODIFIED"].dt > first["LAST-MODIFIED"].dt
    assert second["DTSTART"].dt == datetime(2026, 3, 24, 21, 5, tzinfo=UTC)
    await feed.tell(events.shipment(910_234))  # the newest row of the history is never forgotten
    forgotten = await feed.daemon.daemon.db.write(lambda tx: tx.retention.delete_changes("9999", 1000))
    assert forgotten == 2
    assert (await feed.read())["arrival-910233"]["SEQUENCE"] == second["SEQUENCE"]


async def test_bytes_stand_still_while_nothing_changes(feed):
    await everything(feed)
    body = await feed.ask()
    tag = feed.headers["ETag"]
    feed.clock.turn(hours=7)
    assert await feed.ask() == body
    assert await feed.ask(status=304, **{"If-None-Match": tag}) == b""
    await feed.tell(events.shipment(name="renamed", updated_at=LATER), created_at=LATER)
    assert await feed.ask(**{"If-None-Match": tag}) != body


async def test_a_restart_changes_nothing(tmp_path):
    async with serving(tmp_path) as feed:
        await everything(feed)
        body = await feed.ask()
    async with serving(tmp_path) as feed:
        assert await feed.ask() == body


async def test_compressed_for_who_asks_and_head_without_a_body(feed):
    await everything(feed)
    body = await feed.ask()
    url, headers = f"{feed.daemon.url}/calendar.ics", {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as http, http.get(url, headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == body
    async with feed.daemon.http.head(f"{feed.daemon.url}/calendar.ics") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


# --- who may read it ---


async def test_the_token_of_the_address_is_enough(locked):
    made = await locked.key()
    token = made["calendar_path"].partition("token=")[2]
    assert made["calendar_path"] == f"/calendar.ics?token={token}"
    found = await locked.read(f"?token={token}")
    assert sorted(found) == ["arrival-910233", "arrival-910234", "invoice-gwdpaYrhTI-T1ljn1M7o7w"]
    assert found["arrival-910233"]["URL"] == "https://freight.example.com/shipments/910233"
    assert locked.headers["RateLimit-Policy"]
    assert await locked.read(Authorization=f"Bearer {made['token']}")
    problem = await locked.problem("", 401)
    assert problem["type"] == "urn:flexportd:problem:key-missing"


async def test_a_token_is_good_until_its_key_is_revoked(locked):
    made = await locked.key()
    query = "?" + made["calendar_path"].partition("?")[2]
    await locked.ask(query)
    async with locked.control.delete(f"http://local/api/v1/keys/{made['id']}") as answer:
        assert answer.status == 200
    assert (await locked.problem(query, 401))["type"] == "urn:flexportd:problem:key-revoked"


async def test_a_token_ends_with_its_key(locked):
    made = await locked.key(expires="1d")
    query = "?" + made["calendar_path"].partition("?")[2]
    await locked.ask(query)
    locked.clock.turn(days=2)
    assert (await locked.problem(query, 401))["type"] == "urn:flexportd:problem:key-expired"


async def test_a_forged_token_opens_nothing_and_is_repeated_nowhere(locked, caplog):
    made = await locked.key()
    token = made["calendar_path"].partition("token=")[2]
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    with caplog.at_level(logging.DEBUG):
        for query, status in ((f"?token={forged}", 401), (f"?token={token}x", 400), (f"?token={token}&token=x", 400)):
            problem = await locked.problem(query, status)
            assert token[:20] not in json.dumps(problem)
            assert not any(token[:20] in value for value in locked.headers.values())
        await locked.ask(f"?token={token}")
        assert token[:20] not in "".join(locked.headers.values())
    assert token[:20] not in caplog.text
    with pytest.raises(AssertionError):
        await locked.ask(f"?token={made['token']}")  # the key itself does not belong into an address
    assert (await locked.problem(f"?token={made['token']}", 400))["parameter"] == "token"


async def test_an_address_with_a_token_is_kept_nowhere(locked):
    made = await locked.key()
    token = made["calendar_path"].partition("token=")[2]
    for _ in range(2):
        await locked.ask(f"?token={token}")
    settings, cache = locked.daemon.daemon.settings, locked.daemon.daemon.cache
    assert cache.hits == 0
    kept = [file for file in settings.storage.data_dir.rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        assert token.encode() not in await asyncio.to_thread(file.read_bytes), file


async def test_a_customers_address_shows_that_customers_shipments_and_no_invoice(locked):
    made = await locked.key("Acme", consignees=["Acme GmbH"])
    query = "?" + made["calendar_path"].partition("?")[2]
    found = await locked.read(query)
    assert list(found) == ["arrival-910234"]
    assert "URL" not in found["arrival-910234"]  # its pages are not for customers
    assert await locked.read(Authorization=f"Bearer {made['token']}")
    problem = await locked.problem(f"{query}&kinds=arrivals,invoices", 403)
    assert "invoices" in problem["detail"].lower()
    await locked.tell(
        events.container(1, 910_233, last_free_day_date="2026-03-25T07:00:00.000Z"),
        events.container(2, 910_234, last_free_day_date="2026-03-25T07:00:00.000Z"),
        appointment(3, "2026-03-26T09:30:00.000-07:00", shipment_id=910_233),
        appointment(4, "2026-03-26T09:30:00.000-07:00", shipment_id=910_234),
    )
    assert sorted(await locked.read(query)) == ["appointment-4", "arrival-910234", "free-time-2"]


async def test_a_key_is_limited_by_its_address_as_well(locked):
    made = await locked.key(rate_limit="2/1m")
    query = "?" + made["calendar_path"].partition("?")[2]
    await locked.ask(query)
    await locked.ask(query)
    assert (await locked.problem(query, 429))["type"] == "urn:flexportd:problem:rate-limited"
    assert int(locked.headers["Retry-After"]) > 0


async def test_where_no_key_is_asked_for_a_wrong_token_is_refused_all_the_same(feed):
    """Whose shipments it was for is not known any more."""
    await feed.problem("?token=fxc_AAAAAAAA_" + "A" * 32, 401)
    await feed.ask()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?days_back=-1", "days_back"),
        ("?days_back=1101", "days_back"),
        ("?days_ahead=x", "days_ahead"),
        ("?days_ahead=", "days_ahead"),
        ("?kinds=", "kinds"),
        ("?kinds=arrivals,departures", "kinds"),
        ("?token=", "token"),
        ("?token=fxc_", "token"),
        ("?nothing=1", "nothing"),
        ("?kinds=arrivals&kinds=invoices", "kinds"),
    ],
)
async def test_a_wrong_parameter_is_named(feed, query, parameter):
    assert (await feed.problem(query, 400))["parameter"] == parameter
