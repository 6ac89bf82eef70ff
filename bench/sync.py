"""What a sync costs: of a whole account for the first time, of an unchanged one, and webhooks meanwhile.

    python bench/sync.py                        50,000 shipments
    python bench/sync.py --objects 5000         fewer

Flexport is a process of its own that serves ready-made pages of the sandbox's shipments, so that what is measured is
flexportd's part. CPU is that of this process alone; "beyond fetching and parsing" is what a sync costs more than asking
for the same pages and splitting them into objects. Compare runs of one hour on one machine.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web

from flexportd import logs
from flexportd.clock import Clock
from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.lists import LISTS
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.flexport.webhook_signature import sign
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.full import FullSync
from flexportd.jobs.sync.run import SyncDeps, SyncOptions
from flexportd.sandbox import World, WorldPlan
from flexportd.storage.database import Database

KEY = "bench-key"
SECRET = "bench-secret-0123456789"
PER = 100
FIRST = 1_000_000
ACCOUNT = 1_000  # shipments of the account that is synced with everything that belongs to them
WORLD = 400  # shipments that are told apart; the account is made of copies under other ids
CONFIG = """
[flexport]
base_url = "{flexport}"
api_key = "{key}"
requests_per_second = 1000
concurrency = 4
[webhook]
secrets = ["{secret}"]
[server]
listen = "127.0.0.1:{port}"
[sync]
resources = ["shipments"]
full_interval = "12h"
[storage]
data_dir = "{dir}/data"
cache_dir = "{dir}/cache"
control_socket = "{dir}/control.sock"
[log]
level = "warning"
"""


def pages_of(rows):
    """Enveloped pages of a list."""

    def page(number):
        first = (number - 1) * PER
        more = f'"http://127.0.0.1/x?page={number + 1}&per=100"' if first + PER < len(rows) else "null"
        some = ",".join(rows[first : first + PER])
        head = '{"_object":"/api/response","self":"x","version":2,"error":null,"data":'
        page = f'"prev":null,"next":{more},"total_count":{len(rows)},"data":[{some}]'
        return f'{head}{{"_object":"/api/collections/paginated",{page}}}}}'.encode()

    return [page(number) for number in range(1, max(1, -(-len(rows) // PER)) + 1)]


def whole_account():
    """Path -> pages of every list of an account, as the sandbox has them."""
    world = World(WorldPlan(start=datetime(2026, 3, 1, tzinfo=UTC), seed=7, shipments=ACCOUNT))
    found = world.export()
    return {
        facts.path: pages_of([json.dumps(row, separators=(",", ":")) for row in found.get(name, {}).values()])
        for name, facts in LISTS.items()
    }


def flexport(objects, port):
    """A Flexport that answers from memory. In reality it is elsewhere: it must not take the daemon's processor."""
    os.nice(19)
    world = World(WorldPlan(start=datetime(2026, 3, 1, tzinfo=UTC), seed=7, shipments=WORLD))
    texts = [json.dumps(wire, separators=(",", ":")) for wire in world.export()["/shipment"].values()]
    ids = [f'"id":{json.loads(text)["id"]},' for text in texts]
    for text, mark in zip(texts, ids, strict=True):
        assert text.count(mark) >= 1

    rows = [texts[n % WORLD].replace(ids[n % WORLD], f'"id":{FIRST + n},', 1) for n in range(objects)]
    pages = pages_of(rows)

    async def shipments(request):
        return web.Response(body=pages[int(request.query["page"]) - 1], content_type="application/json")

    account = whole_account()

    async def listed(request):
        pages = account[request.path.removeprefix("/account")]
        return web.Response(body=pages[int(request.query["page"]) - 1], content_type="application/json")

    app = web.Application()
    app.router.add_get("/shipments", shipments)
    app.router.add_get("/account/{path:.*}", listed)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def memory():
    """Resident now, in MiB."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def spent():
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measured(label, objects, work):
    gc.collect()
    cpu, wall = spent(), time.perf_counter()
    await work()
    cpu, wall = spent() - cpu, time.perf_counter() - wall
    print(
        f"{label:<34}{wall:8.2f} s   {objects / wall:9,.0f} objects/s   {cpu / objects * 1e6:7.1f} µs CPU an object   "
        f"RSS {memory():6.1f} MiB"
    )
    return cpu / objects * 1e6


async def syncing_an_account(url, folder):
    """Every list of an account of a thousand shipments."""
    clock = Clock()
    async with (
        Database.open(folder / "data") as db,
        Client(ClientRules(url + "/account", 1e6, 4, user_agent="bench"), ApiKeyAuth(KEY), clock) as client,
    ):
        sync = FullSync(SyncDeps(db, client, Registry(), Importer(db, clock), clock, SyncOptions((), timedelta())))

        async def run():
            await sync.run(JobRun("full_sync", 1, "manual"))

        cpu, wall = spent(), time.perf_counter()
        await run()
        cpu, wall = spent() - cpu, time.perf_counter() - wall
        (count,) = await db.read(lambda tx: tx.raw.execute("SELECT sum(new) FROM sync_results").fetchone())
        print(
            f"{f'first sync, all lists ({count:,})':<34}{wall:8.2f} s   {count / wall:9,.0f} objects/s   "
            f"{cpu / count * 1e6:7.1f} µs CPU an object   RSS {memory():6.1f} MiB"
        )
        await measured("unchanged, all lists", count, run)


async def syncing(objects, url, folder):
    clock, highest = Clock(), [0.0]

    async def watch():
        while True:
            highest[0] = max(highest[0], memory())
            await asyncio.sleep(0.02)

    async with (
        Database.open(folder / "data") as db,
        Client(ClientRules(url, 1e6, 4, user_agent="bench"), ApiKeyAuth(KEY), clock) as client,
    ):
        sync = FullSync(
            SyncDeps(db, client, Registry(), Importer(db, clock), clock, SyncOptions(("shipments",), timedelta()))
        )

        async def fetching():
            number = 1
            while (await client.page("/shipments", {}, number, "sync")).has_next:
                number += 1

        async def run():
            await sync.run(JobRun("full_sync", 1, "manual"))

        await client.page("/shipments", {}, 1, "sync")
        idle = memory()
        watcher = asyncio.create_task(watch())
        fetch = await measured("fetching and parsing alone", objects, fetching)
        await measured("first sync", objects, run)
        costs = [await measured("unchanged", objects, run) for _ in range(3)]
        watcher.cancel()
        print(
            f"{'unchanged, beyond fetching':<34}{statistics.median(costs) - fetch:8.1f} µs CPU an object (median of 3)"
        )
        print(f"{'memory':<34}{highest[0] - idle:8.1f} MiB above idle at most ({idle:.1f} MiB)")


class Webhooks:
    """Delivers new events at a steady pace and takes the time of each."""

    def __init__(self, url):
        self.url = url
        self.number = 0
        self.start = datetime(2026, 4, 1, tzinfo=UTC)
        world = World(WorldPlan(start=self.start, seed=7, shipments=10))
        self.shipments = list(world.export()["/shipment"].values())

    def next(self):
        self.number += 1
        at = (self.start + timedelta(seconds=self.number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        resource = self.shipments[self.number % 10] | {"id": 5_000 + self.number % 500, "updated_at": at}
        event = {
            "_object": "/event", "id": 9_000_000 + self.number, "version": 2, "created_at": at, "occurred_at": at,
            "type": "/shipment#updated", "data": {"_object": "/shipment_event_data", "resource": resource},
        }  # fmt: skip
        return json.dumps(event).encode()

    async def one(self, http, took):
        body = self.next()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": sign(body, SECRET)}
        begun = time.perf_counter()
        async with http.post(self.url, data=body, headers=headers) as answer:
            assert answer.status == 200, answer.status
        took.append((time.perf_counter() - begun) * 1e3)

    async def paced(self, http, seconds, rate):
        """Milliseconds of each acknowledgement, so many a second."""
        took, running, ends = [], set(), time.perf_counter() + seconds
        due = time.perf_counter()
        while due < ends:
            task = asyncio.create_task(self.one(http, took))
            running.add(task)
            task.add_done_callback(running.discard)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await asyncio.gather(*running)
        return took

    async def pressed(self, http, seconds, connections):
        """Milliseconds of each acknowledgement, as many as so many connections can get."""
        took, ends = [], time.perf_counter() + seconds

        async def again():
            while time.perf_counter() < ends:
                await self.one(http, took)

        await asyncio.gather(*(again() for _ in range(connections)))
        return took


async def acknowledging(url, folder, given):
    """Webhooks at a steady pace and under pressure: idle, then while a first sync runs."""
    port = 8971
    config = folder / "flexportd.toml"
    config.write_text(CONFIG.format(flexport=url, key=KEY, secret=SECRET, port=port, dir=folder))
    config.chmod(0o600)
    command = [sys.executable, "-m", "flexportd", "--config", str(config)]
    daemon = subprocess.Popen([*command, "serve"])  # noqa: ASYNC220 (nothing else runs yet)
    ways = {"paced": given.rate, "pressed": given.connections}
    took = {}
    try:
        base = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http:
            for _ in range(200):
                try:
                    async with http.post(base + "/api/v1/jobs/full_sync/pause") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
            webhooks = Webhooks(base + "/webhooks/flexport")
            await webhooks.paced(http, 1, given.rate)
            for name, much in ways.items():
                took[name] = [await getattr(webhooks, name)(http, given.seconds, much)]
            async with http.post(base + "/api/v1/sync/run") as answer:
                assert answer.status == 202, await answer.text()
            for name, much in ways.items():
                took[name].append(await getattr(webhooks, name)(http, given.seconds, much))
                async with http.get(base + "/api/v1/sync") as answer:
                    full = (await answer.json())["full"]
                done = full["results"][0]["objects"]
                print(f"{'':<34}after webhooks {name}: sync {full['state']}, {done:,} objects")
    finally:
        daemon.terminate()
        daemon.wait()
    for name, (idle, busy) in took.items():
        for label, some in ((f"webhooks {name}, idle", idle), (f"webhooks {name}, in a first sync", busy)):
            p50, p99 = (statistics.quantiles(some, n=100)[at] for at in (49, 98))
            rate = len(some) / given.seconds
            print(
                f"{label:<34}p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   max {max(some):6.2f} ms   ({rate:,.0f} a second)"
            )
        ratio = statistics.quantiles(busy, n=100)[98] / statistics.quantiles(idle, n=100)[98]
        print(f"{f'p99 {name}, in a first sync':<34}{ratio:8.2f} x idle")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=100, help="webhooks a second at a steady pace")
    parser.add_argument("--connections", type=int, default=32, help="that deliver as fast as they can")
    parser.add_argument("--seconds", type=float, default=6.0, help="of webhooks of each kind")
    given = parser.parse_args()
    logs.configure("warning", "console")
    gc.collect()  # as the daemon does
    gc.freeze()
    gc.set_threshold(5_000, 80, 50)
    sys.setswitchinterval(0.0002)
    port = 8970
    server = multiprocessing.Process(target=flexport, args=(given.objects, port), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port}"
    try:
        asyncio.run(_until_it_answers(url))
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(syncing(given.objects, url, pathlib.Path(folder)))
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(syncing_an_account(url, pathlib.Path(folder)))
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(acknowledging(url, pathlib.Path(folder), given))
    finally:
        server.terminate()


async def _until_it_answers(url):
    async with aiohttp.ClientSession() as http:
        for _ in range(600):
            try:
                async with http.get(url + "/shipments?page=1&per=100") as answer:
                    await answer.read()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    raise SystemExit("the stand-in for Flexport does not answer")


if __name__ == "__main__":
    main()
