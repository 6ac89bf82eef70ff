"""How fast webhooks are acknowledged and applied.

    python bench/webhooks.py                          a daemon of its own, in a temporary folder
    python bench/webhooks.py --growth 300000          the same, with 1,000 and then with 300,000 events stored
    python bench/webhooks.py --url URL --secret-file FILE     a daemon that is running already

Every event is signed, unique and of a real one's size; connections are kept open. The load generator shares the
machine with the daemon: compare runs of one hour on one machine, not figures from different days.
"""

import argparse
import asyncio
import copy
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta

from flexportd.flexport.webhook_signature import sign
from flexportd.sandbox import World, WorldPlan

SECRET = "bench-secret-0123456789"
CONFIG = """
[webhook]
secrets = ["{secret}"]
[server]
listen = "127.0.0.1:{port}"
[storage]
data_dir = "{dir}/data"
cache_dir = "{dir}/cache"
control_socket = "{dir}/control.sock"
[log]
level = "warning"
"""


class Bodies:
    """Events about many shipments, newer and newer."""

    def __init__(self, shipments):
        self.start = datetime(2026, 1, 1, tzinfo=UTC)
        world = World(WorldPlan(start=self.start, seed=7, shipments=min(shipments, 40)))
        self.templates = list(world.tables["/shipment"].values())
        self.shipments = shipments
        self.count = 0

    def next(self):
        number, self.count = self.count, self.count + 1
        resource = copy.copy(self.templates[number % len(self.templates)])
        at = (self.start + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        resource |= {
            "id": 100_000 + number * 7919 % self.shipments,
            "updated_at": at,
            "pieces": 1 + number % 97,
            "estimated_arrival_date": at,
        }
        data = {
            "_object": "/shipment_event_data",
            "resource": resource,
            "shipment": None,
            "location": None,
            "containers": [],
        }
        event = {
            "_object": "/event",
            "id": 5_000_000 + number,
            "version": 2,
            "created_at": at,
            "occurred_at": at,
            "type": "/shipment#schedule_confirmed",
            "data": data,
        }
        return json.dumps(event, separators=(",", ":")).encode()


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


async def connection(url, requests, latencies):
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    for request in requests:
        begin = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            status = head.split(b"\r", 1)[0].decode()
            raise SystemExit(f"a webhook was not answered 200: {status}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r")[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - begin)
    writer.close()


async def round_of(base, secret, bodies, count, connections):
    url = urllib.parse.urlsplit(base + "/webhooks/flexport")
    requests = []
    for _ in range(count):
        body = bodies.next()
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
            f"X-Hub-Signature-256: {sign(body, secret)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    waiting, latencies, begin = iter(requests), [], time.perf_counter()
    await asyncio.gather(*(connection(url, waiting, latencies) for _ in range(connections)))
    acknowledged = time.perf_counter() - begin
    while (queue := get(base + "/api/v1/queue"))["ready"] + queue["leased"]:
        await asyncio.sleep(0.02)
    applied = time.perf_counter() - begin
    latencies.sort()

    def at(share):
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000

    return {
        "acks/s": count / acknowledged,
        "p50 ms": at(0.5),
        "p99 ms": at(0.99),
        "max ms": latencies[-1] * 1000,
        "applied/s": count / applied,
    }


def table(rows):
    columns = list(rows[0][1])
    print(f"{'':28}" + "".join(f"{name:>11}" for name in columns))
    for name, row in rows:
        print(f"{name:28}" + "".join(f"{row[column]:>11,.1f}" for column in columns))


async def measure(base, secret, bodies, options, name):
    rounds = [await round_of(base, secret, bodies, options.events, options.connections) for _ in range(options.rounds)]
    rows = [(f"{name} round {n}", row) for n, row in enumerate(rounds, 1)]
    rows.append((f"{name} median", {key: statistics.median(row[key] for row in rounds) for key in rounds[0]}))
    table(rows)
    return rows[-1][1]


def daemon_of_its_own(folder, port):
    config = pathlib.Path(folder) / "flexportd.toml"
    config.write_text(CONFIG.format(secret=SECRET, port=port, dir=folder))
    config.chmod(0o600)
    process = subprocess.Popen([sys.executable, "-m", "flexportd", "--config", str(config), "serve"])
    end = time.time() + 30
    while time.time() < end:
        try:
            get(f"http://127.0.0.1:{port}/healthz")
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    raise SystemExit("the daemon did not start")


async def run(base, secret, options):
    bodies = Bodies(options.shipments)
    if not options.growth:
        await measure(base, secret, bodies, options, "")
        return
    await round_of(base, secret, bodies, 1000, options.connections)
    small = await measure(base, secret, bodies, options, "1,000 stored")
    while bodies.count < options.growth:
        await round_of(base, secret, bodies, 10_000, options.connections)
    large = await measure(base, secret, bodies, options, f"{options.growth:,} stored")
    print("ratio large/small: " + ", ".join(f"{key} {large[key] / small[key]:.2f}" for key in large))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running daemon, such as http://127.0.0.1:8080")
    parser.add_argument("--secret-file", help="its webhook secret, with --url")
    parser.add_argument("--events", type=int, default=10_000, help="events a round (default 10000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shipments", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--growth", type=int, default=0, metavar="N", help="measure again with N events stored")
    parser.add_argument("--port", type=int, default=18099, help="for the daemon of its own")
    options = parser.parse_args()
    if options.url:
        if not options.secret_file:
            parser.error("--url needs --secret-file")
        secret = pathlib.Path(options.secret_file).read_text().strip()
        asyncio.run(run(options.url.rstrip("/"), secret, options))
        return
    with tempfile.TemporaryDirectory(prefix="flexportd-bench-") as folder:
        process = daemon_of_its_own(folder, options.port)
        try:
            asyncio.run(run(f"http://127.0.0.1:{options.port}", SECRET, options))
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
