"""How fast objects, lists and exports are read, in a small store and in a large one.

    python bench/lists.py                              1,000 and 100,000 shipments, 1,000,000 rows of history
    python bench/lists.py --shipments 20000            the large store is smaller

Two daemons of its own stand side by side, each with its store in a temporary folder, and are asked in turn, so that the
machine treats both alike. Requests differ in the order of their fields, so that none is answered from the cache unless
the row says so. The load generator shares the machine with the daemons: the ratios are what counts.
"""

import argparse
import asyncio
import itertools
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta

from flexportd.clock import stamp
from flexportd.core.resources import shipments
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.flexport.models.shipments import Shipment
from flexportd.sandbox import World, WorldPlan
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

CONFIG = """
[webhook]
secrets = ["bench-secret-0123456789"]
[server]
listen = "127.0.0.1:{port}"
[storage]
data_dir = "{dir}/data"
cache_dir = "{dir}/cache"
control_socket = "{dir}/control.sock"
[log]
level = "warning"
"""

START = datetime(2025, 1, 1, tzinfo=UTC)
FIRST = 100_000  # the lowest id
NAMES = ["name", "mode", "status", "incoterm", "pieces", "carrier", "vessel", "as_of", "source", "synced_at"]
_AT_ONCE = 2000


def fill(folder, count, changes):
    """A store with so many shipments, and so many rows of history."""
    data = pathlib.Path(folder) / "data"
    data.mkdir(mode=0o700)
    path = data / "flexportd.db"
    migrate(path)
    world = World(WorldPlan(start=START, seed=7, shipments=min(count, 200)))
    templates = [Shipment.load(json.dumps(one).encode()) for one in world.tables["/shipment"].values()]
    fields = [shipments.normalise(model) | dict.fromkeys(shipments.ROUTE_FIELDS) for model, _ in templates]
    raws = [json.dumps(one) for one in world.tables["/shipment"].values()]
    rnd = random.Random(1)
    with closing(open_writer(path)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        tx = Transaction(raw)
        for begin in range(0, count, _AT_ONCE):
            raw.execute("BEGIN IMMEDIATE")
            workspace = UnitOfWork(tx)
            for number in range(begin, min(begin + _AT_ONCE, count)):
                at = stamp(START + timedelta(seconds=number * 300))
                one = number % len(fields)
                found = fields[one] | {
                    "name": f"PO {number:07}",
                    "purchase_orders": json.dumps([f"PO-{number:07}"]),
                    "estimated_arrival": (START + timedelta(hours=rnd.randrange(10_000))).isoformat(),
                    "status": "canceled" if number % 997 == 0 else fields[one]["status"],
                }
                record = Record(FIRST + number, found, raws[one], at, number, "webhook", at, at)
                workspace.put(shipments.RESOURCE_TYPE, record, ChangeCause(at, "webhook", "evt"))
            workspace.flush(at)
            raw.execute("COMMIT")
        raw.execute("BEGIN IMMEDIATE")
        rows = (
            ("shipments", str(FIRST + number % count), "pieces", "1", "2", at, at, "webhook", "evt", None)
            for number, at in zip(range(max(0, changes - count)), itertools.repeat(stamp(START)))
        )
        raw.executemany(
            "INSERT INTO changes (resource, resource_id, field, old, new, as_of, changed_at, source, event_id, run_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        raw.execute("COMMIT")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


class Daemon:
    """A daemon of its own over a filled store."""

    def __init__(self, count, changes, port):
        self.folder = tempfile.TemporaryDirectory(prefix="flexportd-bench-")
        self.count = count
        began = time.perf_counter()
        size = fill(self.folder.name, count, changes)
        took = time.perf_counter() - began
        print(f"{count:>9,} shipments, {changes:,} changes: {size >> 20} MiB, filled in {took:.0f} s")
        config = pathlib.Path(self.folder.name) / "flexportd.toml"
        config.write_text(CONFIG.format(port=port, dir=self.folder.name))
        config.chmod(0o600)
        self.process = subprocess.Popen([sys.executable, "-m", "flexportd", "--config", str(config), "serve"])
        self.base = f"http://127.0.0.1:{port}"
        end = time.time() + 60
        while time.time() < end:
            try:
                get(f"{self.base}/healthz")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the daemon did not start")

    def rest(self):
        """Wait until what it does at its start is done."""
        quiet = 0
        while quiet < 3:
            before = self.worked()
            time.sleep(1)
            quiet = quiet + 1 if self.worked() - before < 0.1 else 0

    def worked(self):
        """Seconds of processor time."""
        told = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """MiB of memory."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


async def connection(url, paths):
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    for path in paths:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            status = head.split(b"\r", 1)[0].decode()
            raise SystemExit(f"{path} was answered {status}")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r")[0]))
    writer.close()


async def rate(daemon, paths, connections):
    url, waiting, begin = urllib.parse.urlsplit(daemon.base), iter(paths), time.perf_counter()
    await asyncio.gather(*(connection(url, waiting) for _ in range(connections)))
    return len(paths) / (time.perf_counter() - begin)


def fields(rnd):
    return "fields=id," + ",".join(rnd.sample(NAMES, len(NAMES)))


def one(daemon, rnd, count):
    ids = [FIRST + rnd.randrange(daemon.count) for _ in range(count)]
    return [f"/api/v1/shipments/{number}?{fields(rnd)}" for number in ids]


def one_kept(daemon, _, count):
    return [f"/api/v1/shipments/{FIRST + daemon.count // 2}"] * count


def pages(query, keep=False):
    def paths(_, rnd, count):
        rest = f"&{query}" if query else ""
        return [f"/api/v1/shipments?limit=50{rest}{'' if keep else '&' + fields(rnd)}" for _ in range(count)]

    return paths


def walk(query):
    """Pages in the middle: cursors gathered beforehand."""

    def paths(daemon, rnd, count):
        base, cursor, found = f"/api/v1/shipments?limit=50&{query}", "", []
        for _ in range(min(count, daemon.count // 50 - 1, 15)):
            cursor = get(f"{daemon.base}{base}{cursor and '&cursor=' + cursor}")["next"]
            found.append(cursor)
        return [f"{base}&cursor={rnd.choice(found)}&{fields(rnd)}" for _ in range(count)]

    return paths


CASES = {
    "one object, kept": one_kept,
    "one object": one,
    "page of 50, kept": pages("", keep=True),
    "page of 50": pages(""),
    "later pages": walk("sort=-updated_at"),
    "later pages by ETA": walk("sort=eta"),
    "oldest first": pages("sort=updated_at"),
    "by ETA": pages("sort=-eta"),
    "one status": pages("status=seller_location"),
    "three statuses": pages("status=seller_location,departure_port,arrival_port"),
    "ETA before": pages("eta_before=2025-06-01"),
    "ETA after, most": pages("eta_after=2025-02-01"),
    "one order": pages("po=PO-0000500"),
}


async def exported(daemon, query):
    """Rows a second, and the most memory while a CSV of everything is read."""
    reader, writer = await asyncio.open_connection(*daemon.base.removeprefix("http://").split(":"), limit=1 << 20)
    begin, lines, most = time.perf_counter(), 0, 0.0
    path = f"/api/v1/shipments?format=csv{query}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode())
    chunks = 0
    while chunk := await reader.read(1 << 20):
        lines += chunk.count(b'\r\n"')
        chunks += 1
        if chunks % 50 == 0:
            most = max(most, daemon.resident())
    writer.close()
    return lines / (time.perf_counter() - begin), max(most, daemon.resident()), lines


async def run(small, large, options):
    rnd = random.Random(5)
    print(f"{'':24}{'small/s':>10}{'large/s':>10}{'ratio':>8}")
    for name, make in CASES.items():
        rounds = []
        for _ in range(options.rounds):
            asked = [(daemon, make(daemon, rnd, options.requests)) for daemon in (small, large)]
            rounds.append([await rate(daemon, paths, options.connections) for daemon, paths in asked])
        little, much = (statistics.median(round_[place] for round_ in rounds) for place in (0, 1))
        print(f"{name:24}{little:>10,.0f}{much:>10,.0f}{much / little:>8.2f}")
    for query in ("", "&sort=-updated_at", "&fields=id,name,status"):
        before = large.resident()
        rows, most, lines = await exported(large, query)
        print(f"CSV{query:28} {lines:,} rows, {rows:>8,.0f} a second, {before:.0f} MiB before, at most {most:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shipments", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=600, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--port", type=int, default=18110, help="and the next")
    options = parser.parse_args()
    small = Daemon(1000, 10_000, options.port)
    try:
        large = Daemon(options.shipments, options.changes, options.port + 1)
        try:
            for daemon in (small, large):
                daemon.rest()
            asyncio.run(run(small, large, options))
        finally:
            large.close()
    finally:
        small.close()


if __name__ == "__main__":
    main()
