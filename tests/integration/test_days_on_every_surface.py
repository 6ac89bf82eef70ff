"""One rule for days at a place: every surface shows the same day for the same date, wherever on earth it is.

Each shipment is bound for another place. Flexport gives midnight or noon there in UTC, around a change of the clocks.
"""

import csv
import io
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from flexportd.core.labels import MONTHS
from flexportd.settings import Settings
from tests.events import container, event, leg, place, shipment
from tests.integration.test_resources_cli import Terminal
from tests.strict_icalendar import checked
from tests.under_test import DatedClock, start

PORTS = {
    1: ("Tokyo", "JPTYO", "Asia/Tokyo", date(2026, 11, 28)),
    2: ("Sydney", "AUSYD", "Australia/Sydney", date(2026, 10, 4)),  # clocks go forward on this day
    3: ("Hamburg", "DEHAM", "Europe/Berlin", date(2026, 10, 25)),  # and back on this one
    4: ("Los Angeles", "USLAX", "America/Los_Angeles", date(2026, 11, 1)),
    5: ("Honolulu", "USHNL", "Pacific/Honolulu", date(2026, 11, 15)),
    6: ("Kiritimati", "KICXI", "Pacific/Kiritimati", date(2026, 11, 15)),
}
DEPARTED = date(2026, 9, 20)
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def utc(day, zone, hour=0):
    """Midnight or noon of a day at a place, as Flexport writes it in lists."""
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def story(number):
    """The events of one shipment: from Hong Kong to a port, with a container and its delivery behind it."""
    name, code, zone, day = PORTS[number]
    port = place(name, code, zone, ("port_of_unloading",))
    door = place(f"{name} warehouse", f"{code[:2]}XXX", zone, ("destination_address",))
    start_at = place("Hong Kong", "HKHKG", "Asia/Hong_Kong", ("port_of_loading",))
    ship = shipment(
        number,
        name=f"To {name}",
        status="in_transit_to_arrival_port",
        estimated_departure_date=utc(DEPARTED, "Asia/Hong_Kong"),
        actual_departure_date=utc(DEPARTED, "Asia/Hong_Kong", 12),
        estimated_arrival_date=utc(day, zone),
        estimated_delivered_in_full_date=utc(day + timedelta(days=9), zone, 12),
    )
    main = leg(
        number * 10,
        number,
        origin=start_at,
        destination=port,
        estimated_departure_date=utc(DEPARTED, "Asia/Hong_Kong"),
        actual_departure_date=utc(DEPARTED, "Asia/Hong_Kong", 12),
        estimated_arrival_date=utc(day, zone),
    )
    truck = leg(
        number * 10 + 1,
        number,
        transportation_mode="truck",
        origin=port,
        destination=door,
        ocean_leg=None,
        estimated_departure_date=None,
        estimated_arrival_date=utc(day + timedelta(days=9), zone, 12),
    )
    box = container(
        number, number, container_number=f"CSQU305438{number}", last_free_day_date=utc(day + timedelta(days=5), zone)
    )
    return [event(one, shipment=ship, containers=[box]) for one in (main, truck)]


class SteadyClock(DatedClock):
    def now(self):
        return NOW


@asynccontextmanager
async def world(folder):
    settings = Settings.for_tests(folder, **{"dashboard.timezone": "America/New_York"})
    async with start(settings, SteadyClock()) as daemon:
        for number in PORTS:
            await daemon.receive(*story(number))
        await daemon.settled()
        yield daemon


def expected(number):
    """Field of the shipment -> its day at its place."""
    day = PORTS[number][3]
    return {
        "estimated_departure": DEPARTED,
        "actual_departure": DEPARTED,
        "departure": DEPARTED,
        "estimated_arrival": day,
        "arrival": day,
        "estimated_delivered_in_full": day + timedelta(days=9),
    }


def words(day):
    return f"{day.day} {MONTHS[day.month - 1]}"


async def text(daemon, path):
    async with daemon.http.get(daemon.url + path, headers={"Accept": "text/html", "Accept-Language": "en"}) as answer:
        assert answer.status == 200, path
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", await answer.text()))


async def test_every_surface_shows_the_day_at_the_place(tmp_path, capsys):
    async with world(tmp_path) as daemon:
        listed = {row["id"]: row for row in (await daemon.get("/shipments"))["data"]}
        async with daemon.http.get(daemon.url + "/api/v1/shipments?format=csv") as answer:
            table = {row["id"]: row for row in csv.DictReader(io.StringIO((await answer.text()).lstrip("\ufeff")))}
        async with daemon.http.get(daemon.url + "/calendar.ics?days_ahead=90&days_back=90") as answer:
            calendar = {str(one["UID"]).partition("@")[0]: one for one in checked(await answer.read())}
        pages = await text(daemon, "/shipments")
        terminal = Terminal(tmp_path, capsys)
        connector = aiohttp.UnixConnector(str(daemon.daemon.settings.storage.control_socket))
        for number, (name, _, zone, day) in PORTS.items():
            days = expected(number)
            one = await daemon.get(f"/shipments/{number}")
            for field, at in days.items():
                for told in (one, listed[number], table[str(number)]):
                    assert told[f"{field}_date"] == at.isoformat(), (name, field)
                assert field in one["day_only"]
            assert one["port_of_unloading_timezone"] == zone
            free, last = day + timedelta(days=5), day + timedelta(days=9)

            (box,) = (await daemon.get(f"/shipments/{number}/containers"))["data"]
            assert box["last_free_day_date"] == free.isoformat()
            end = datetime.fromisoformat(box["last_free_day_at"]).astimezone(ZoneInfo(zone))
            assert (end.date(), end.time()) == (free, time(23, 59, 59, 999_000))

            legs = {row["id"]: row for row in (await daemon.get(f"/shipments/{number}/legs"))["data"]}
            assert legs[number * 10]["estimated_arrival_date"] == day.isoformat()

            rows = {(row["milestone"], row["planned_date"] or row["actual_date"]) for row in
                    (await daemon.get(f"/shipments/{number}/timeline"))["data"]}  # fmt: skip
            assert ("arrived", day.isoformat()) in rows
            assert ("last_free_day", free.isoformat()) in rows
            assert ("departed", DEPARTED.isoformat()) in rows

            assert calendar[f"arrival-{number}"]["DTSTART"].dt == day
            assert calendar[f"free-time-{number}"]["DTSTART"].dt == free

            page = await text(daemon, f"/shipments/{number}")
            for at in (DEPARTED, day, free, last):
                assert words(at) in page, (name, at)
            for at in (
                day - timedelta(days=1),
                day + timedelta(days=1),
                free + timedelta(days=1),
                last - timedelta(days=1),
            ):
                assert not re.search(rf"\b{words(at)}\b", page), (name, at)
            assert f"Arrives {name} {words(day)} · delivery {name} warehouse {words(last)}" in pages

            shown = await terminal.said("shipments", "show", str(number))
            assert f"~{day}" in shown
            assert f"~{last}" in shown
            assert free.isoformat() in shown
            assert (day - timedelta(days=1)).isoformat() not in shown

            for side, wanted in (("after", True), ("before", False)):
                found = await daemon.get(f"/shipments?eta_{side}={day}")
                assert (number in {row["id"] for row in found["data"]}) is wanted, (name, side)
            found = await daemon.get(f"/shipments?delivery_after={last}&delivery_before={last + timedelta(days=1)}")
            assert number in {row["id"] for row in found["data"]}

            async with aiohttp.ClientSession(connector=connector, connector_owner=False) as control:
                url = f"http://local/api/v1/shipments/{number}/shares"
                async with control.post(url, json={}) as answer:
                    share = json.loads(await answer.read())
            path = "/s/" + share["url"].rpartition("/")[2]
            shared = (await daemon.get(path.replace("/s/", "/shared/")))["shipment"]
            assert shared["estimated_arrival"]["date"] == day.isoformat()
            assert shared["containers"][0]["last_free_day"]["date"] == free.isoformat()
            page = (await text(daemon, path)).partition("This link is valid")[0]
            for at in (DEPARTED, day, free):
                assert words(at) in page, (name, at)
            assert not re.search(rf"\b{words(day - timedelta(days=1))}\b", page)
        await connector.close()


@pytest.mark.parametrize("number", PORTS)
async def test_a_last_free_day_ends_at_the_terminal_that_becomes_known_later(tmp_path, number):
    """A plain day has no offset: until a leg names the terminal, it ends in UTC."""
    _, _, zone, day = PORTS[number]
    main = story(number)[0]["data"]["resource"]
    box = container(number, number, last_free_day_date=day.isoformat())
    async with start(Settings.for_tests(tmp_path), SteadyClock()) as daemon:
        for resource, end in ((box, "UTC"), (main, zone)):
            await daemon.receive(event(resource))
            await daemon.settled()
            found = await daemon.get(f"/containers/{number}")
            last = datetime.combine(day, time(23, 59, 59, 999000), ZoneInfo(end)).astimezone(UTC)
            assert datetime.fromisoformat(found["last_free_day_at"]) == last
            assert found["last_free_day_date"] == day.isoformat()
            stored = await daemon.daemon.db.read(
                lambda tx: tx.raw.execute("SELECT last_free_day_at FROM containers").fetchone()
            )
            assert stored == (found["last_free_day_at"],)  # the calendar looks for days by it


@pytest.mark.parametrize("number", PORTS)
async def test_free_time_is_over_with_the_day_at_the_terminal(tmp_path, number):
    """One minute before the end of the day at the place it is about to end; one minute after, it is over."""
    _, _, zone, day = PORTS[number]
    last = datetime.combine(day + timedelta(days=6), time(), ZoneInfo(zone))

    class At(DatedClock):
        at = last.astimezone(UTC) - timedelta(minutes=1)

        def now(self):
            return self.at

    async def kinds(daemon):
        rows = (await daemon.get(f"/shipments/{number}/exceptions"))["data"]
        return {row["kind"] for row in rows if row["kind"].startswith("free_time")}

    main = story(number)[0]["data"]["resource"] | {"actual_arrival_date": utc(day, zone)}
    arrived = event(main, created_at=utc(day, zone, 12))
    clock = At()
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        await daemon.receive(*story(number), arrived)
        await daemon.settled()
        await daemon.daemon.consumers.examiner.process()
        assert await kinds(daemon) == {"free_time_expiring"}
        clock.at += timedelta(minutes=2)
        await daemon.daemon.consumers.examiner.process()
        assert await kinds(daemon) == {"free_time_expired"}
