"""Kill -9 at random while operations are sent: Flexport never has two objects of one, and nothing is lost."""

import asyncio
import os
import random
import sqlite3
from contextlib import closing, suppress

import aiohttp

from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import BOOKING, PRODUCT
from tests import write_bodies as bodies
from tests.flexport_double import HurriedClock
from tests.integration.test_crash import Process
from tests.under_test import look_again

COUNT = int(os.environ.get("CRASH_WRITES", "40"))
KILLS = int(os.environ.get("CRASH_KILLS", "4"))

CONFIG = """
[flexport]
base_url = "{url}"
api_key = "sandbox-key-for-tests"
requests_per_second = 1000
[writes]
enabled = true
[api]
require_key = false
[sync]
full_interval = "1d"
incremental_interval = "1d"
events_interval = "1d"
"""


async def test_each_operation_has_one_object_however_often_the_process_dies(tmp_path, unused_tcp_port):
    rng = random.Random()
    async with Sandbox(
        SandboxOptions(speed=0, shipments=3, api_key="sandbox-key-for-tests"), HurriedClock()
    ) as sandbox:
        known = {kind: set(sandbox.world.rows(kind)) for kind in (BOOKING, PRODUCT)}
        process = Process(tmp_path, unused_tcp_port)
        config = tmp_path / "flexportd.toml"
        config.write_text(config.read_text() + CONFIG.format(url=sandbox.url))
        await process.start()
        body = bodies.booking(sandbox.world, cargo_ready_date="2035-04-01", delivery_date=None)
        async with aiohttp.ClientSession() as http:
            for number in range(COUNT):
                path, sent = (
                    ("/products", bodies.product(sandbox.world, sku=f"CRASH-{number}"))
                    if number % 2
                    else ("/bookings", {**body, "name": f"Crash {number}"})
                )
                if rng.random() < 0.3:
                    sandbox.fault("accepted_then_dropped", method="POST")
                await _created(http, process, path, sent, f"key-{number}")
                if number % (COUNT // KILLS) == 0:
                    await asyncio.sleep(rng.uniform(0, 0.05))
                    await process.kill()
                    await process.start()
            async with asyncio.timeout(40):
                while _count(tmp_path, "state IN ('pending', 'sending')"):
                    await look_again()
        await process.kill()
        made = {kind: set(sandbox.world.rows(kind)) - known[kind] for kind in known}
        with closing(sqlite3.connect(tmp_path / "data" / "flexportd.db")) as raw:
            rows = raw.execute("SELECT state, kind, resource_id, title FROM operations").fetchall()
    assert len(rows) == COUNT
    assert {state for state, *_ in rows} <= {"confirmed", "unknown"}, rows
    for kind, name in ((BOOKING, "booking.create"), (PRODUCT, "product.create")):
        confirmed = [key for state, of, key, _ in rows if of == name and state == "confirmed"]
        assert len(confirmed) == len(set(confirmed))
        assert set(confirmed) <= made[kind]
        assert len(made[kind]) <= sum(of == name for _, of, *_ in rows)
    names = [row.get("sku") or row["name"] for kind in made for row in _objects(sandbox, kind, made[kind])]
    assert len(names) == len(set(names))  # never two of one


async def _created(http, process, path, body, key):
    """Create an operation; as a client does that gets no answer: again, with the same key."""
    headers = {"Idempotency-Key": key}
    async with asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientError):
                async with http.post(f"{process.url}/api/v1{path}", json=body, headers=headers) as answer:
                    assert answer.status == 202, await answer.text()
                    return
            await look_again()


def _count(tmp_path, where):
    with closing(sqlite3.connect(tmp_path / "data" / "flexportd.db", timeout=20)) as raw:
        return raw.execute(f"SELECT count(*) FROM operations WHERE {where}").fetchone()[0]


def _objects(sandbox, kind, keys):
    return [row for key, row in sandbox.world.rows(kind).items() if key in keys]
