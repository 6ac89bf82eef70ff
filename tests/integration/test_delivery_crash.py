"""Kill -9 at random while messages are sent: none is missing, and what may have arrived twice says so."""

import asyncio
import json
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.events import event, shipment
from tests.integration.test_crash import Process, send
from tests.under_test import look_again

COUNT = int(os.environ.get("CRASH_DELIVERIES", "60"))
KILLS = int(os.environ.get("CRASH_KILLS", "3"))

CHANNEL = """
[notify]
gather = "0s"
[notify.channels.erp]
type = "webhook"
url = "http://127.0.0.1:{port}/hooks"
allow_private = true
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
[[notify.rules]]
name = "All slips"
on = "shipment.eta_changed"
when = {{ days_later = 2 }}
"""


def slip(number, day, at):
    return json.dumps(
        event(shipment(number, estimated_arrival_date=f"2026-03-{day}T12:00:00.000-07:00", updated_at=at))
    ).encode()


async def test_no_message_is_lost_when_the_process_dies_and_doubles_are_marked(tmp_path, unused_tcp_port):
    arrived = Counter[str]()
    shipments = dict[str, str]()

    async def receive(request):
        body = await request.json()
        arrived[request.headers["webhook-id"]] += 1
        shipments[request.headers["webhook-id"]] = body["data"]["resource_id"]
        await asyncio.sleep(random.uniform(0, 0.02))  # so that it dies before some answers
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hooks", receive)
    server = TestServer(app)
    await server.start_server()
    process = Process(tmp_path, unused_tcp_port)
    config = tmp_path / "flexportd.toml"
    config.write_text(config.read_text() + CHANNEL.format(port=server.port))
    await process.start()
    async with aiohttp.ClientSession() as http:
        for number in range(1, COUNT + 1):
            assert await send(http, process.url, slip(number, 21, "2026-03-04T00:00:00Z")) == 200
        await _applied(tmp_path, COUNT)
        for number in range(1, COUNT + 1):
            assert await send(http, process.url, slip(number, 25, "2026-03-05T00:00:00Z")) == 200
            if number % (COUNT // KILLS) == 0:
                await asyncio.sleep(random.uniform(0, 0.3))
                await process.kill()
                await process.start()
    async with asyncio.timeout(20):
        while len(set(shipments.values())) < COUNT or _count(tmp_path, "deliveries", "state <> 'sent'"):
            await look_again()
    await process.kill()
    await server.close()
    assert sorted(map(int, shipments.values())) == list(range(1, COUNT + 1))  # one message for each shipment
    with closing(sqlite3.connect(tmp_path / "data" / "flexportd.db")) as raw:
        marked = dict(raw.execute("SELECT key, is_repeated FROM deliveries"))
    assert not {key for key, times in arrived.items() if times > 1 and not marked[key]}


def _count(tmp_path, table, where):
    with closing(sqlite3.connect(tmp_path / "data" / "flexportd.db", timeout=20)) as raw:
        return raw.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]


async def _applied(tmp_path, count):
    async with asyncio.timeout(30):
        while _count(tmp_path, "events", "state = 'applied'") < count:
            await look_again()
