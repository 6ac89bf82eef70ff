"""What streams cost, and how quickly they tell.

    python bench/stream.py                      a daemon of its own, in a temporary folder
    python bench/stream.py --idle 2000 --busy 200

Three rounds: what idle readers add to the daemon's memory (Linux: resident set) and take of its time; how long it takes
from a webhook being sent until a reader has its message; and how many messages a second busy readers get together. The
readers share the machine with the daemon: the second and third figures are no better than both together allow.
"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import tempfile
import time
import urllib.parse

from webhooks import SECRET, Bodies, daemon_of_its_own, get

from flexportd.flexport.webhook_signature import sign


class Reader:
    """One stream: counts what it is told, and notes when it was told of each event."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.told = 0
        self.at = {}

    @classmethod
    async def open(cls, url, topics):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"GET /api/v1/stream?topics={topics} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a stream was refused: {head[:200]!r}")
        await reader.readuntil(b"retry: 3000\n")
        return cls(reader, writer)

    async def count(self):
        rest = b""
        while chunk := await self.reader.read(1 << 16):
            rest += chunk
            *blocks, rest = rest.split(b"\n\n")
            self.told += sum(b"data: " in block for block in blocks)

    async def time(self):
        while line := await self.reader.readline():
            if line.startswith(b"data: "):
                self.at.setdefault(json.loads(line[6:])["event_id"], time.perf_counter())


class Daemon:
    """What the kernel says of a process."""

    def __init__(self, pid):
        self.pid = pid

    def resident(self):
        """MiB."""
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def seconds(self):
        """Of processor time."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def send(connection, url, body):
    reader, writer = connection
    head = (
        f"POST {url.path}/webhooks/flexport HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: {sign(body, SECRET)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(answer.lower().split(b"content-length:")[1].split(b"\r")[0]))
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a webhook was refused: {answer[:200]!r}")


async def idle(daemon, url, options, bodies):
    connection = await asyncio.open_connection(url.hostname, url.port)
    for _ in range(200):
        await send(connection, url, bodies.next())
    first = await Reader.open(url, "booking.*")
    await asyncio.sleep(1)
    before = daemon.resident()
    began = time.perf_counter()
    readers = [await Reader.open(url, "booking.*") for _ in range(options.idle)]
    opened = options.idle / (time.perf_counter() - began)
    await asyncio.sleep(2)
    spent = daemon.seconds()
    await asyncio.sleep(options.seconds)
    busy = (daemon.seconds() - spent) / options.seconds
    added = daemon.resident() - before
    print(f"{options.idle} idle readers add {added:.1f} MiB ({added * 1024 / options.idle:.1f} KiB each); ", end="")
    print(f"opened at {opened:,.0f}/s; the daemon is busy {busy:.1%} of the time with their signs of life")
    return [first, *readers]


async def latency(url, options, bodies, name):
    connection = await asyncio.open_connection(url.hostname, url.port)
    reader = await Reader.open(url, "milestone.*")
    reading = asyncio.create_task(reader.time())
    sent = {}
    for _ in range(options.events):
        body = bodies.next()
        sent[str(json.loads(body)["id"])] = time.perf_counter()
        await send(connection, url, body)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        while len(reader.at) < len(sent):
            await asyncio.sleep(0.05)
    reading.cancel()
    took = sorted((reader.at[key] - began) * 1000 for key, began in sent.items())
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(f"webhook to reader, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {took[-1]:.1f} ms")


async def busy(daemon, url, options, bodies):
    readers = [await Reader.open(url, "*") for _ in range(options.busy)]
    reading = [asyncio.create_task(reader.count()) for reader in readers]
    connections = [await asyncio.open_connection(url.hostname, url.port) for _ in range(8)]
    waiting = [bodies.next() for _ in range(options.flood)]

    async def sender(connection):
        while waiting:
            await send(connection, url, waiting.pop())

    began, spent, own = time.perf_counter(), daemon.seconds(), time.process_time()
    await asyncio.gather(*(sender(connection) for connection in connections))
    while (queue := await asyncio.to_thread(get, f"{url.geturl()}/api/v1/queue"))["ready"] + queue["leased"]:
        await asyncio.sleep(0.05)
    async with asyncio.timeout(120):
        while len({reader.told for reader in readers}) > 1 or readers[0].told < 2 * options.flood:
            await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    total = sum(reader.told for reader in readers)
    print(f"{options.busy} busy readers: {total:,} messages in {took:.1f} s, {total / took:,.0f}/s together ", end="")
    print(f"({readers[0].told / took:,.0f}/s each, {options.flood / took:,.0f} events/s); processor: ", end="")
    print(f"daemon {daemon.seconds() - spent:.1f} s, readers {time.process_time() - own:.1f} s")
    for task in reading:
        task.cancel()


async def run(process, url, options):
    daemon, bodies = Daemon(process.pid), Bodies(2000)
    readers = await idle(daemon, url, options, bodies)
    await latency(url, options, bodies, f"{options.idle} idle readers beside it")
    for reader in readers:
        reader.writer.close()
    await asyncio.sleep(2)
    await latency(url, options, bodies, "alone")
    await busy(daemon, url, options, bodies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=1000, help="idle readers (default 1000)")
    parser.add_argument("--seconds", type=float, default=30, help="for how long they are watched (default 30)")
    parser.add_argument("--events", type=int, default=300, help="webhooks whose way is timed (default 300)")
    parser.add_argument("--busy", type=int, default=100, help="busy readers (default 100)")
    parser.add_argument("--flood", type=int, default=2000, help="webhooks that they are told of (default 2000)")
    parser.add_argument("--port", type=int, default=18098)
    options = parser.parse_args()
    files = options.idle + options.busy + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with tempfile.TemporaryDirectory(prefix="flexportd-bench-") as folder:
        process = daemon_of_its_own(folder, options.port)
        try:
            asyncio.run(run(process, urllib.parse.urlsplit(f"http://127.0.0.1:{options.port}"), options))
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
