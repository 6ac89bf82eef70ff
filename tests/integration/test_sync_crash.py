"""Kill -9 in the middle of a sync: it ends complete, with no history twice."""

import asyncio
import json
import signal
import sqlite3

import aiohttp
import pytest

from flexportd.clock import Clock
from flexportd.core.resources.registry import Registry
from flexportd.sandbox import Sandbox, SandboxOptions
from tests.integration.test_crash import Process
from tests.under_test import look_again

KEY = "sandbox-key-for-tests"


class Syncing(Process):
    """A daemon whose Flexport is a sandbox, asked slowly enough to be interrupted."""

    module = "tests.prompt"

    def __init__(self, tmp_path, port, url):
        super().__init__(tmp_path, port)
        config = self.dir / "flexportd.toml"
        flexport = f'[flexport]\nbase_url = "{url}"\napi_key = "{KEY}"\nrequests_per_second = 40\n'
        config.write_text(flexport + config.read_text() + '[sync]\nfull_interval = "12h"\n')

    def hurry(self):
        """From the next start on, nothing has to interrupt it."""
        config = self.dir / "flexportd.toml"
        config.write_text(config.read_text().replace("requests_per_second = 40\n", "requests_per_second = 1000\n"))

    async def run(self, http):
        async with http.post(self.url + "/api/v1/sync/run") as answer:
            assert answer.status in (202, 409), await answer.text()

    async def full(self, http):
        async with http.get(self.url + "/api/v1/sync") as answer:
            return (await answer.json())["full"]

    async def until(self, http, wanted):
        async with asyncio.timeout(60):
            while not wanted(found := await self.full(http)):
                await look_again()
            return found


@pytest.mark.parametrize("pages", [2, 5, 9])
async def test_a_sync_killed_in_the_middle_ends_complete(tmp_path, unused_tcp_port, pages):
    async with Sandbox(SandboxOptions(speed=0, shipments=160, api_key=KEY, complete_lists=True), Clock()) as sandbox:
        one = Syncing(tmp_path, unused_tcp_port, sandbox.url)
        await one.start()
        try:
            async with aiohttp.ClientSession() as http:
                await one.run(http)
                # Pages are behind us, and there are more to come.
                before = await one.until(
                    http, lambda full: full and sum(receipt["requests"] for receipt in full["results"]) >= pages
                )
            await one.end(signal.SIGKILL)
            one.hurry()
            await one.start()
            async with aiohttp.ClientSession() as http:
                after = await one.until(http, lambda full: full and full["state"] != "running")
            assert await one.end(signal.SIGTERM) == 0
        finally:
            await one.kill()
        assert after["state"] == "complete", after
        if before["state"] == "running":
            assert after["id"] == before["id"]
        world = sandbox.world.export()
        raw = sqlite3.connect(one.dir / "data" / "flexportd.db")
        for domain in Registry():
            rows = raw.execute(f"SELECT id, raw FROM {domain.name} WHERE removed_at IS NULL").fetchall()
            assert {str(key): json.loads(text) for key, text in rows} == world.get(domain.object_name, {})
        twice = raw.execute(
            "SELECT resource, resource_id, field, new, count(*) FROM changes GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
        ).fetchall()
        raw.close()
        assert twice == []
