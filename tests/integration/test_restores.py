"""Positions and cursors belong to one history of the database: a restore or a new data folder begins another."""

import contextlib
import json
import re
import shutil
import sqlite3
from contextlib import asynccontextmanager

import pytest

from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_middleware import new_key
from tests.integration.test_stream import Client
from tests.under_test import start

DATABASE = "data/flexportd.db"

LISTS = (
    "/shipments?limit=2",
    "/shipments?limit=2&sort=id",
    "/shipments?limit=2&sort=-updated_at",
    "/legs?limit=1&sort=id",
    "/events?limit=2",
    "/dead-letters?limit=1",
    "/shipments/1/history?limit=1",
    "/why/shipments/1?limit=1",
)


async def fill(daemon, numbers, word):
    for number in numbers:
        await daemon.receive(event(shipment(number, name=f"{word} {number}"), created_at="2026-03-04T02:00:00.000Z"))
        await daemon.post(json.dumps({"id": f"{word}{number}", "type": "x", "data": "y"}).encode())
    await daemon.settled()


@asynccontextmanager
async def stream(daemon, last):
    """What the stream says first to a client that comes back with this id."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with daemon.http.get(f"{daemon.url}/api/v1/stream", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        client = Client(answer, last)
        yield client, await client._block()


async def positions(daemon):
    """The ids of all messages, and that of the newest place."""
    async with stream(daemon, "0") as (client, _):
        found = []
        newest = await newest_id(daemon)
        while client.last != newest:
            block = await client._block()
            client.last = block.get("id", client.last) if block else client.last
            found += [block["id"]] if block and "data" in block else []
            if block and "data" in block and block["id"].partition("-")[0] == newest.partition(".")[0]:
                break
        return [*found, newest]


async def newest_id(daemon):
    async with stream(daemon, None) as (_, begun):
        return begun["id"]


async def cursors(daemon):
    found = {}
    for path in LISTS:
        with contextlib.suppress(AssertionError):
            found[path] = (await daemon.get(path))["next"]
    return {path: cursor for path, cursor in found.items() if cursor}


def copied(source, target):
    """A copy of the database by SQLite itself, which may be made while the daemon runs."""
    with contextlib.closing(sqlite3.connect(source)) as raw, contextlib.closing(sqlite3.connect(target)) as copy:
        raw.backup(copy)


def in_place(backup, database):
    shutil.copyfile(backup, database)  # the same file, with other content


def exchanged(backup, database):
    database.unlink()
    shutil.copy2(backup, database)


def afresh(_, database):
    shutil.rmtree(database.parent)


def number(stream_id):
    """The first number of a stream's id: `9.ce21` and `9-0.ce21` are of the ninth commit."""
    return int(re.match(r"\d+", stream_id)[0])


@pytest.mark.parametrize("grown", [False, True], ids=["shorter", "grown past it"])
@pytest.mark.parametrize("restore", [in_place, exchanged, afresh])
async def test_what_another_history_gave_out_leads_to_a_reset_or_is_refused(tmp_path, clock, restore, grown):
    settings, database, backup = Settings.for_tests(tmp_path), tmp_path / DATABASE, tmp_path / "backup.db"
    async with start(settings, clock) as daemon:
        await fill(daemon, range(1, 5), "old")
        kept = await newest_id(daemon)
        copied(database, backup)
        await fill(daemon, range(1, 9), "lost")
        given, lists = (await positions(daemon))[-8:], await cursors(daemon)
        assert {"/shipments?limit=2", "/shipments?limit=2&sort=id", "/events?limit=2"} <= set(lists)
    restore(backup, database)
    async with start(settings, clock) as daemon:
        await fill(daemon, range(1, 40 if grown else 2), "new")
        for last in given:
            async with stream(daemon, last) as (client, begun):
                assert begun == {"retry": "3000"}
                reset = await client._block()
                told = json.loads(reset["data"])
                assert (reset["event"], told["oldest"], "restored" in told["detail"]) == ("reset", reset["id"], True)
            async with stream(daemon, reset["id"]) as (_, begun):
                assert begun == {"retry": "3000", "id": reset["id"]}
        for path, cursor in lists.items():
            refused = await daemon.get(f"{path}&cursor={cursor}", status=400)
            assert (refused["parameter"], "start over" in refused["detail"]) == ("cursor", True), path
        if restore is not afresh:  # what was seen before the backup holds on
            async with stream(daemon, kept) as (client, begun):
                assert begun == {"retry": "3000", "id": kept}
                assert number(json.loads((await client._block())["data"])["id"]) > number(kept)


async def test_the_stream_goes_on_after_a_reset(tmp_path, clock):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon, stream(daemon, "77-0.0123456789ab") as (client, _):
        assert (await client._block())["event"] == "reset"
        await fill(daemon, [1], "new")
        topics = {json.loads((await client._block())["data"])["topic"] for _ in range(3)}
        assert topics == {"shipment.created", "milestone.created", "system.dead_letter"}


@pytest.mark.parametrize("last", ["1-0", "1", "3", "1234-0", "999999999999999999", "1-0.000000000000"])
async def test_an_id_without_the_mark_of_this_database_is_answered_with_a_reset(daemon, last):
    await fill(daemon, [1, 2, 3], "new")
    async with stream(daemon, last) as (client, _):
        assert (await client._block())["event"] == "reset"
    async with daemon.http.get(f"{daemon.url}/api/v1/stream?last_event_id={last}") as answer:
        assert answer.status == 200
        assert b"event: reset" in await answer.content.readuntil(b"}\n\n")


async def test_positions_and_cursors_outlive_restarts_migrations_and_vacuum(tmp_path, clock):
    settings, database = Settings.for_tests(tmp_path), tmp_path / DATABASE
    async with start(settings, clock) as daemon:
        await fill(daemon, range(1, 9), "old")
        given, lists = await positions(daemon), await cursors(daemon)
    with contextlib.closing(sqlite3.connect(database)) as raw:
        raw.execute("VACUUM")
    async with start(settings, clock) as daemon:
        for last in given:
            async with stream(daemon, last) as (_, begun):
                assert begun == {"retry": "3000", "id": last}
        for path, cursor in lists.items():
            assert (await daemon.get(f"{path}&cursor={cursor}"))["data"], path


async def test_a_list_that_is_read_while_the_journal_is_empty_is_of_its_store(tmp_path, clock):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon:
        await fill(daemon, [1, 2], "old")
        await daemon.daemon.db.write(lambda tx: tx.raw.execute("DELETE FROM journal"))
        cursor = (await daemon.get("/events?limit=1"))["next"]
        await fill(daemon, [3], "old")
        assert (await daemon.get(f"/events?limit=1&cursor={cursor}"))["data"]
    shutil.rmtree(tmp_path / "data")
    async with start(settings, clock) as daemon:
        await fill(daemon, [1, 2, 3], "new")
        assert (await daemon.get(f"/events?limit=1&cursor={cursor}", status=400))["parameter"] == "cursor"


async def test_events_that_wait_to_be_applied_are_of_a_history_too(tmp_path, clock):
    settings, database, backup = Settings.for_tests(tmp_path), tmp_path / DATABASE, tmp_path / "backup.db"
    async with start(settings, clock) as daemon:
        await fill(daemon, [1], "old")
        await daemon.call("/queue/pause")
        copied(database, backup)
        await daemon.receive(*(event(shipment(number), created_at="2026-03-04T02:00:00.000Z") for number in (2, 3, 4)))
        cursor = (await daemon.get("/events?limit=2"))["next"]
        assert (await daemon.get(f"/events?limit=2&cursor={cursor}"))["data"]
    in_place(backup, database)
    async with start(settings, clock) as daemon:
        await daemon.receive(
            *(event(shipment(number), created_at="2026-03-04T02:00:00.000Z") for number in range(5, 9))
        )
        refused = await daemon.get(f"/events?limit=2&cursor={cursor}", status=400)
        assert (refused["parameter"], "start over" in refused["detail"]) == ("cursor", True)


async def test_the_beginning_of_an_empty_store_is_not_that_of_another(tmp_path, clock):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon:
        begun = await newest_id(daemon)
        await fill(daemon, [1], "old")
        async with stream(daemon, begun) as (_, first):
            assert first == {"retry": "3000", "id": begun}
    shutil.rmtree(tmp_path / "data")
    async with start(settings, clock) as daemon:
        await fill(daemon, [1, 2], "new")
        async with stream(daemon, begun) as (client, _):
            assert (await client._block())["event"] == "reset"
        async with stream(daemon, "0") as (client, first):
            assert first == {"retry": "3000", "id": "0"}
            assert (await client._block())["event"] != "reset"


async def test_cursors_and_ids_of_a_key_for_one_customer_are_of_one_history_too(tmp_path, clock):
    settings, database, backup = Settings.for_tests(tmp_path), tmp_path / DATABASE, tmp_path / "backup.db"
    own = ("/shipments?limit=2", "/shipments?limit=2&sort=id", "/shipments/1/history?limit=1")

    async def given(daemon, headers):
        return {path: (await daemon.get(path, **headers))["next"] for path in own}

    async with start(settings, clock) as daemon:
        key = await new_key(daemon, consignees=["Example Imports"], rate_limit="off")
        headers = {"Authorization": f"Bearer {key}"}
        await fill(daemon, range(1, 6), "old")
        await fill(daemon, [1], "newer")
        await fill(daemon, [1], "newest")
        kept = await given(daemon, headers)
        assert all(kept.values())
        copied(database, backup)
        clock.turn(seconds=1)
        await fill(daemon, range(1, 9), "lost")
        lost = await given(daemon, headers)
    in_place(backup, database)
    async with start(settings, clock) as daemon:
        clock.turn(seconds=1)
        await fill(daemon, range(1, 40), "new")
        for path in own:
            refused = await daemon.get(f"{path}&cursor={lost[path]}", status=400, **headers)
            assert refused["parameter"] == "cursor", path
            assert (await daemon.get(f"{path}&cursor={kept[path]}", **headers))["data"], path
