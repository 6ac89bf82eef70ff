"""An outage of Flexport, from the sync to the stream: one notice when it begins, one all-clear when it is over."""

import asyncio
import json
from types import SimpleNamespace

from flexportd.core.changes.stream_messages import StreamPosition, read_messages
from flexportd.core.resources.registry import REGISTRY
from tests.events import shipment
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.under_test import look_again


async def system_messages(daemon):
    batch = await daemon.daemon.db.read(lambda tx: read_messages(tx, REGISTRY, StreamPosition(0)))
    return [json.loads(one.data) for one in batch.messages if one.topic.startswith("system.")]


async def failed_sync(daemon):
    number = (await daemon.call("/sync/run", status=202))["id"]
    async with asyncio.timeout(30):
        while (found := await daemon.get(f"/sync/runs/{number}"))["state"] == "running":
            await look_again()
    assert found["state"] == "failed", found


async def test_an_outage_of_flexport_is_one_message_and_one_all_clear(tmp_path, clock):
    flexport = SmallFlexport(shipment(1))
    async with mirroring(flexport, tmp_path, clock) as daemon:
        conditions = daemon.daemon.conditions
        flexport.failing = dict.fromkeys(flexport.objects, 403)
        for _ in range(3):
            await failed_sync(daemon)
            clock.turn(hours=6)
            await conditions.check()
        (began,) = await system_messages(daemon)
        assert (began["topic"], began["kind"]) == ("system.sync_failed", "sync_failed")
        assert "Syncs with Flexport fail: " in began["detail"]
        assert began["since"] < began["at"]
        async with daemon.http.get(daemon.url + "/readyz") as answer:
            assert (answer.status, (await answer.json())["warnings"]) == (200, [began["detail"]])
        flexport.failing = {}
        await synced(daemon)
        await conditions.check()
        assert len(await system_messages(daemon)) == 1  # it may fail again at once
        clock.turn(minutes=6)
        await conditions.check()
        _, over = await system_messages(daemon)
        assert (over["topic"], over["kind"], over["since"]) == ("system.recovered", "sync_failed", began["since"])
        assert await daemon.daemon.db.read(lambda tx: tx.conditions.open()) == []


async def test_low_disk_space_is_a_message_and_shown_until_there_is_enough(daemon, clock):
    conditions = daemon.daemon.conditions
    conditions._disk_usage = lambda _: SimpleNamespace(total=20 * 10**9, free=4 * 10**8)
    await conditions.check()
    (began,) = await system_messages(daemon)
    assert (began["topic"], began["kind"]) == ("system.disk_low", "disk_low")
    assert began["detail"] == "Only 0.4 of 20 GB are free on the disk of the data directory"
    assert began["detail"] in (await daemon.get("/status"))["warnings"]
    async with daemon.http.get(daemon.url + "/", headers={"Accept": "text/html"}) as answer:
        assert began["detail"] in await answer.text()
    conditions._disk_usage = lambda _: SimpleNamespace(total=20 * 10**9, free=10**10)
    await conditions.check()
    clock.turn(minutes=6)
    await conditions.check()
    assert [one["topic"] for one in await system_messages(daemon)] == ["system.disk_low", "system.recovered"]
    assert began["detail"] not in (await daemon.get("/status"))["warnings"]
