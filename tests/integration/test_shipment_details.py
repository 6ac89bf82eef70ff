"""Shipments whose list entries tell less than their own responses: fetched once and when they change, nothing is lost."""

import asyncio
import copy
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from flexportd.core.importer import list_entries
from flexportd.settings import Settings
from tests.events import shipment
from tests.flexport_double import listing
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.under_test import look_again, start

SHARED = Path(__file__).parents[2].parent / "shared"
NUMBERS = (910_233, 910_234, 910_235)


class PoorLists(SmallFlexport):
    """Lists shipments as they were recorded in lists: without metadata and sellers."""

    def __init__(self, *objects):
        super().__init__(*objects)
        self.asked = []
        self.lists_are_poor = True

    def answer(self, request: web.Request) -> web.Response:
        if request.path == "/shipments" and self.lists_are_poor and not self.failing:
            rows = [poor(found) for found in self.objects["/shipments"].values()]
            return web.json_response(listing(rows, total=len(rows)))
        if request.path.startswith("/shipments/"):
            self.asked.append(int(request.path.rpartition("/")[2]))
        return super().answer(request)


def poor(found):
    entry = copy.deepcopy(found) | {"metadata": {}, "sellers": []}
    bills = entry["ocean_shipment"]["house_bill_number"]
    entry["ocean_shipment"]["house_bill_number"] = ", ".join(reversed(bills.split(", ")))
    return entry


def rich(number=NUMBERS[0], **fields):
    seller = {"_object": "/company_entity", "id": 5, "name": "Example Seller", "ref": "id-5"}
    found = shipment(number, sellers=[seller], **fields)
    found["ocean_shipment"]["house_bill_number"] = "A1, B2"
    return found


async def fetched(daemon):
    """Wait until no details are to be fetched."""
    async with asyncio.timeout(30):
        await daemon.daemon.scheduler.wait_until_idle("full_sync")
        while (await daemon.get("/sync"))["shipment_details"]["pending"]:
            await look_again()


async def history(daemon, number=NUMBERS[0]):
    return [row["field"] for row in (await daemon.get(f"/shipments/{number}/history"))["data"]]


async def test_details_are_fetched_once_and_when_a_shipment_changes_and_later_lists_take_nothing_away(tmp_path, clock):
    flexport = PoorLists(*(rich(number) for number in NUMBERS))
    async with mirroring(flexport, tmp_path, clock) as daemon:
        await fetched(daemon)
        assert sorted(flexport.asked) == list(NUMBERS)
        found = await daemon.get(f"/shipments/{NUMBERS[0]}?include=raw")
        assert found["raw"] == flexport.objects["/shipments"][str(NUMBERS[0])]
        assert (found["sellers"], found["purchase_orders"]) == (["Example Seller"], ["4471"])
        before = await history(daemon)
        for _ in range(2):
            await synced(daemon)
            await fetched(daemon)
        assert await history(daemon) == before
        assert len(flexport.asked) == len(NUMBERS)
        assert await daemon.get(f"/shipments/{NUMBERS[0]}?include=raw") == found
        # One of them changes.
        flexport.asked.clear()
        flexport.put(
            rich(updated_at="2026-03-05T00:00:00.000Z", status="departed", metadata={"PO #": ["4471", "4472"]})
        )
        await synced(daemon)
        await fetched(daemon)
        assert flexport.asked == [NUMBERS[0]]
        found = await daemon.get(f"/shipments/{NUMBERS[0]}")
        assert (found["status"], found["sellers"]) == ("departed", ["Example Seller"])
        assert found["purchase_orders"] == ["4471", "4472"]
        assert (await history(daemon)).count("sellers") == 1
        assert (await daemon.get("/shipments?po=4472"))["data"][0]["id"] == NUMBERS[0]
        state = (await daemon.get("/sync"))["shipment_details"]
        assert (state["fetched"], state["lists_complete"], state["consecutive_matches"]) == (len(NUMBERS), False, 0)
        assert state["mismatches"] == len(NUMBERS) + 1
        async with daemon.http.get(daemon.url + "/metrics") as response:
            assert "flexportd_shipment_details_pending 0.0" in await response.text()


async def test_lists_as_complete_as_details_end_the_fetches_until_an_entry_leaves_something_out(
    tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(list_entries, "SAMPLE", 2)
    flexport = PoorLists(*(rich(number) for number in NUMBERS[:2]))
    flexport.lists_are_poor = False
    async with mirroring(flexport, tmp_path, clock) as daemon:
        await fetched(daemon)
        assert sorted(flexport.asked) == list(NUMBERS[:2])
        assert (await daemon.get("/sync"))["shipment_details"]["lists_complete"] is True
        flexport.put(rich(NUMBERS[2]))
        flexport.put(rich(updated_at="2026-03-05T00:00:00.000Z", status="departed"))
        await synced(daemon)
        await fetched(daemon)
        assert len(flexport.asked) == 2
    # A restart does not forget it; then the lists become poorer.
    flexport.lists_are_poor = True
    flexport.put(rich(updated_at="2026-03-06T00:00:00.000Z", status="arrived"))
    async with mirroring(flexport, tmp_path, clock) as daemon:
        await fetched(daemon)
        assert set(flexport.asked[2:]) == {NUMBERS[0], NUMBERS[2]}
        assert (await daemon.get("/sync"))["shipment_details"]["lists_complete"] is False
        found = await daemon.get(f"/shipments/{NUMBERS[0]}")
        assert (found["status"], found["sellers"]) == ("arrived", ["Example Seller"])


async def test_details_that_cannot_be_had_are_tried_later_and_stop_nothing(tmp_path, clock):
    flexport = PoorLists(*(rich(number) for number in NUMBERS))
    answer = flexport.answer

    def some_fail(request):
        if request.path == f"/shipments/{NUMBERS[1]}":
            flexport.asked.append(NUMBERS[1])
            return web.json_response({"data": None, "error": {"code": "gone", "message": "no"}}, status=404)
        return answer(request)

    flexport.answer = some_fail
    async with mirroring(flexport, tmp_path, clock) as daemon:
        async with asyncio.timeout(30):
            while (await daemon.get("/sync"))["shipment_details"]["pending"] != 1:
                await look_again()
        assert (await daemon.get("/sync"))["shipment_details"]["fetched"] == 2
        await daemon.daemon.scheduler.wait_until_idle("full_sync")
        await synced(daemon)
        await daemon.daemon.scheduler.wait_until_idle("full_sync")
        await daemon.daemon.scheduler.wait_until_idle("shipment_details")
        assert flexport.asked.count(NUMBERS[1]) == 1
        assert (await daemon.get(f"/shipments/{NUMBERS[1]}"))["removed_at"] is None


async def test_a_shipment_that_fails_again_and_again_does_not_stand_before_the_others(tmp_path, clock):
    flexport = PoorLists(*(rich(number) for number in NUMBERS))
    flexport.failing[f"/shipments/{NUMBERS[2]}"] = 403  # the first that is asked for
    answer = flexport.answer
    lists = {"/shipments": listing([poor(rich(number)) for number in NUMBERS], total=3)}
    flexport.answer = lambda request: (
        web.json_response(lists[request.path]) if request.path in lists else answer(request)
    )
    async with mirroring(flexport, tmp_path, clock) as daemon:
        async with asyncio.timeout(30):
            while (await daemon.get("/sync"))["shipment_details"]["pending"] != 1:
                await look_again()
        assert (await daemon.get(f"/shipments/{NUMBERS[0]}"))["sellers"] == ["Example Seller"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the stand-in is not here")
async def test_the_recorded_account_is_synced_twice_and_nothing_is_taken_away(tmp_path, clock):
    """List entries are made as the real account's were recorded: see flexport-api.md, "List = show"."""
    own = [answer["data"] for answer in json.loads((SHARED / "recorded" / "shipments.json").read_text()).values()]
    entries = {"_object": "/api/collections/paginated", "data": [recorded_entry(found) for found in own]}
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"/shipments?page=1": {"data": entries, "error": None}}))
    dumps = sorted((SHARED / "recorded").glob("*.json"))
    process = subprocess.Popen(
        [sys.executable, SHARED / "standin" / "flexport.py", "--dump", lists, *dumps], stdout=subprocess.PIPE
    )
    try:
        told = json.loads(await asyncio.to_thread(process.stdout.readline))
        changed = {
            "api_key": "recorded-key",
            "base_url": f"http://127.0.0.1:{told['port']}",
            "requests_per_second": 1000,
        }
        settings = Settings.for_tests(
            tmp_path / "mirror", **{f"flexport.{name}": value for name, value in changed.items()}
        )
        async with start(settings, clock) as daemon:
            await synced(daemon)
            await fetched(daemon)
            wanted = {found["id"]: found for found in own}
            query = "/shipments?include=raw&limit=500"
            first = {row["id"]: row for row in (await daemon.get(query))["data"]}
            assert {number: row["raw"] for number, row in first.items()} == wanted
            assert first[561255]["purchase_orders"] == ["123"]
            entries_of = {number: await history(daemon, number) for number in wanted}
            await synced(daemon)
            await fetched(daemon)
            assert {row["id"]: row for row in (await daemon.get(query))["data"]} == first
            assert {number: await history(daemon, number) for number in wanted} == entries_of
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def recorded_entry(own):
    """A shipment as a list gives it."""
    entry = copy.deepcopy(own) | {"metadata": {}}
    for role in ("shippers", "consignees", "buyers", "sellers"):
        entry[role] = list(reversed(entry[role]))
        for one in entry[role]:
            if one["mailing_address"] is not None:
                one["mailing_address"]["ref"] = None
    for name in ("estimated", "actual"):
        for what in ("picked_up", "delivered"):
            field = f"{name}_{what}_in_full_date"
            entry[field] = entry[field] and in_utc(entry[field])
    return entry


def in_utc(text):
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
