"""The whole daemon with a Flexport behind it."""

import asyncio

from flexportd.clock import Clock
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from tests.mirrored import KEY
from tests.under_test import SECRET, look_again, start


def configured(folder, url, **more):
    values = {"flexport.base_url": url, "flexport.api_key": KEY, "flexport.requests_per_second": 1000} | more
    return Settings.for_tests(folder, **values)


async def ended(daemon, run_id):
    async with asyncio.timeout(60):
        while (run := await daemon.get(f"/sync/runs/{run_id}"))["state"] == "running":
            await look_again()
    return run


async def test_a_sync_that_is_asked_for_while_another_ends_is_one_of_its_own(tmp_path):
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=1, api_key=KEY), Clock()) as sandbox,
        start(configured(tmp_path, sandbox.url), Clock()) as daemon,
    ):
        jobs = daemon.daemon.scheduler
        run_now, ending = jobs.run_now, asyncio.Event()

        async def held(name):
            if name == "cache_warm":  # the last step of the job, once everything is read
                await ending.wait()
            return await run_now(name)

        jobs.run_now = held
        first = await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        asked = asyncio.create_task(daemon.call("/sync/run", status=202))
        await daemon.get("/sync")
        ending.set()
        async with asyncio.timeout(60):
            second = await ended(daemon, (await asked)["id"])
        assert int(second["id"]) > int(first["id"])


async def test_a_sync_by_hand_fills_every_list_and_tells_its_forecast(tmp_path):
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=4, api_key=KEY), Clock()) as sandbox,
        start(configured(tmp_path, sandbox.url), Clock()) as daemon,
    ):
        run = await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        assert run["state"] == "complete", run["reason"]
        assert all(receipt["balanced"] for receipt in run["results"])
        world = sandbox.world.export()
        for route, name in (("shipments", "/shipment"), ("invoices", "/invoice"), ("ports", "/place")):
            listed = await daemon.get(f"/{route}?limit=500&fields=id")
            assert len(listed["data"]) == len(world[name])
        found = await daemon.get("/sync")
        assert found["forecast"]["never_synced"] == []
        assert found["forecast"]["requests"] > 0
        assert (await daemon.get("/status"))["sync"]["complete_at"]


async def test_an_events_resource_is_fetched_once_after_it(tmp_path):
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=3, api_key=KEY), Clock()) as sandbox,
        start(configured(tmp_path, sandbox.url), Clock()) as daemon,
    ):
        await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        async with asyncio.timeout(60):
            while (await daemon.get("/sync"))["shipment_details"]["pending"]:
                await look_again()
        key, before = next(iter(sandbox.world.rows("/shipment").items()))
        key = int(key)
        sandbox.edit_shipment(key, {"name": "what the event does not say", "estimated_arrival_date": None})
        event = sandbox.event(key, "/shipment#created")
        event["data"]["resource"] |= {"name": "as of old", "updated_at": before["updated_at"]}
        asked = sandbox.requests.count(rf"^/shipments/{key}")
        await daemon.receive(event, event | {"id": event["id"] + 1})
        async with asyncio.timeout(60):
            while sandbox.requests.count(rf"^/shipments/{key}") == asked:
                await look_again()
            while (await daemon.get("/queue/items?kind=refresh"))["data"]:
                await look_again()
        assert sandbox.requests.count(rf"^/shipments/{key}") == asked + 1
        assert (await daemon.get(f"/shipments/{key}"))["name"] == "what the event does not say"


async def test_intervals_change_while_running_and_other_things_say_that_they_need_a_restart(tmp_path):
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=1, api_key=KEY), Clock()) as sandbox,
        start(configured(tmp_path, sandbox.url), Clock()) as daemon,
    ):
        again = configured(tmp_path, sandbox.url, **{"sync.full_interval": "2h", "flexport.concurrency": 7})
        assert daemon.daemon.reload(again) == (["sync.full_interval"], ["flexport.concurrency"])
        assert (await daemon.get("/jobs/full_sync"))["schedule"] == "every 2 h"


async def test_without_a_key_the_daemon_says_so_and_hears_webhooks(daemon):
    problem = await daemon.call("/sync/run", status=409)
    assert "api_key" in problem["detail"]
    assert any("No Flexport API key" in one for one in (await daemon.get("/status"))["warnings"])
    assert (await daemon.get("/sync"))["configured"] is False
    assert SECRET
