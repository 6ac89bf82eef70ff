"""Whether an honest webhook gets in while attackers hold connections, memory and bandwidth.

    python bench/hostile.py                    the whole load against a daemon of its own, about a minute
    python bench/hostile.py --addresses 1      all of it from the address that the honest webhooks come from

The load: idle connections, senders that send a byte at a time (heads and bodies), readers that ask for large answers
and never read, and bodies of 8 MiB without a signature or with a wrong one, again and again. Clients are modelled by
source addresses 127.0.0.x. The load generator shares the machine with the daemon; it runs in a process of its own, so
that the latencies of the honest client are the daemon's.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from webhooks import SECRET, Bodies, daemon_of_its_own

from flexportd.flexport.webhook_signature import sign

WRONG = "sha256=" + "0" * 64
BODY = b"x" * (8 << 20)
PIECE = 64 << 10
LARGE = [
    "/api/v1/shipments?limit=500",
    "/api/v1/shipments?format=ndjson",
    "/api/v1/shipments?format=csv",
    "/shipments",
    "/api/v1/openapi.json",
    "/metrics",
    "/api/v1/stream?last_event_id=0",
]


def webhook_head(host, length, signature=None):
    signed = f"X-Hub-Signature-256: {signature}\r\n" if signature else ""
    return (
        f"POST /webhooks/flexport HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{signed}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


# --- the attackers, in a process of their own ---


class Attack:
    def __init__(self, port, addresses):
        self.port = port
        self.addresses = addresses
        self.made = 0
        self.counts = dict.fromkeys(("idle", "slow", "readers", "bodies"), 0)
        self.answers = {}

    async def connect(self, window=None):
        self.made += 1
        sock = socket.socket()
        sock.setblocking(False)
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if self.addresses > 1:
            sock.bind((f"127.0.1.{1 + self.made % self.addresses}", 0))
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def idle(self):
        sock = await self.connect()
        self.counts["idle"] += 1
        with contextlib.closing(sock):
            await asyncio.sleep(3600)

    async def slow(self, number):
        loop = asyncio.get_running_loop()
        head = webhook_head("localhost", 60_000, WRONG)
        start, piece = (head, b" ") if number % 2 else (head[:40], b"x")
        with contextlib.closing(await self.connect()) as sock:
            self.counts["slow"] += 1
            await loop.sock_sendall(sock, start)
            while True:
                await asyncio.sleep(0.5)
                await loop.sock_sendall(sock, piece)

    async def reader(self, number):
        loop = asyncio.get_running_loop()
        path = LARGE[number % len(LARGE)]
        asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 20
        with contextlib.closing(await self.connect(window=4096)) as sock:
            self.counts["readers"] += 1
            await loop.sock_sendall(sock, asked)
            await asyncio.sleep(3600)

    async def body(self, number):
        loop = asyncio.get_running_loop()
        head = webhook_head("localhost", len(BODY), WRONG if number % 2 else None)
        with contextlib.closing(await self.connect()) as sock:
            self.counts["bodies"] += 1
            status = "cut"
            with contextlib.suppress(OSError, TimeoutError):
                await loop.sock_sendall(sock, head)
                for start in range(0, len(BODY), PIECE):
                    await loop.sock_sendall(sock, BODY[start : start + PIECE])
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    status = (await loop.sock_recv(sock, 4096))[9:12].decode() or "closed"
            self.answers[status] = self.answers.get(status, 0) + 1

    async def again(self, make):
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                await make()
            await asyncio.sleep(0.5)

    async def run(self, options):
        loads = [self.idle() for _ in range(options.idle)]
        for make, count in ((self.slow, options.slow), (self.reader, options.readers), (self.body, options.bodies)):
            loads += [self.again(functools.partial(make, number)) for number in range(count)]
        tasks = [asyncio.create_task(load) for load in loads]
        await asyncio.sleep(options.seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(json.dumps({"made": self.counts, "answers to bodies": self.answers}), flush=True)


# --- what an honest client, the operator and the kernel see ---


class Watch:
    def __init__(self, process, port, folder):
        self.process = process
        self.port = port
        self.control = str(pathlib.Path(folder) / "control.sock")
        self.latencies, self.failures = [], {}
        self.control_latencies, self.control_failures = [], {}
        self.peaks = {"Rss": 0, "Pss": 0}
        self.files = 0

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return {name: int(text.partition(f"\n{name}:")[2].split()[0]) / 1024 for name in self.peaks}

    def processor(self):
        """Seconds that the daemon has worked, and that its event loop has waited for a processor."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        worked = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        waited = int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        return worked, waited

    async def sample(self):
        while True:
            for name, value in self.memory().items():
                self.peaks[name] = max(self.peaks[name], value)
            self.files = max(self.files, sum(1 for _ in os.scandir(f"/proc/{self.process.pid}/fd")))
            await asyncio.sleep(0.1)

    async def deliver(self, bodies):
        while True:
            body = bodies.next()
            await self.one(body)
            await asyncio.sleep(0.1)

    async def one(self, body):
        begin = time.perf_counter()
        writer = None
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(webhook_head("localhost", len(body), sign(body, SECRET)) + body)
                status = (await reader.readuntil(b"\r\n\r\n"))[9:12].decode()
        except (OSError, EOFError, TimeoutError) as error:
            status = type(error).__name__
        finally:
            if writer is not None:
                writer.close()
        if status == "200":
            self.latencies.append(time.perf_counter() - begin)
        else:
            self.failures[status] = self.failures.get(status, 0) + 1

    async def operate(self):
        while True:
            begin = time.perf_counter()
            writer = None
            try:
                async with asyncio.timeout(10):
                    reader, writer = await asyncio.open_unix_connection(self.control)
                    writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: flexportd\r\nConnection: close\r\n\r\n")
                    status = (await reader.read())[9:12].decode()
            except (OSError, EOFError, TimeoutError) as error:
                status = type(error).__name__
            finally:
                if writer is not None:
                    writer.close()
            if status == "200":
                self.control_latencies.append(time.perf_counter() - begin)
            else:
                self.control_failures[status] = self.control_failures.get(status, 0) + 1
            await asyncio.sleep(0.5)


def milliseconds(values):
    if not values:
        return "none answered"
    return f"{len(values)} answered, median {statistics.median(values) * 1000:.1f} ms, max {max(values) * 1000:.1f} ms"


def figures(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    names = ("flexportd_webhook_deliveries_total", "flexportd_connection", "flexportd_body", "flexportd_open_files")
    return [line for line in lines if line.startswith(names)]


async def watch(process, port, folder, options):
    found = Watch(process, port, folder)
    bodies = Bodies(options.shipments)
    for _ in range(options.shipments):
        await found.one(bodies.next())
    print(f"before: {len(found.latencies)} webhooks kept, failures {found.failures}; memory MiB {found.memory()}")
    found.latencies.clear()
    worked, waited = found.processor()
    command = [sys.executable, __file__, "--attack", str(port)]
    for name in ("idle", "slow", "readers", "bodies", "seconds", "addresses"):
        command += [f"--{name}", str(getattr(options, name))]
    watching = [asyncio.create_task(task) for task in (found.sample(), found.deliver(bodies), found.operate())]
    attack = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        told, _ = await asyncio.wait_for(attack.communicate(), options.seconds + 20)
    finally:
        if attack.returncode is None:
            attack.kill()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    worked, waited = (now - before for now, before in zip(found.processor(), (worked, waited), strict=True))
    print(f"attack: {told.decode().strip()}")
    print(f"honest webhooks: {milliseconds(found.latencies)}; failures {found.failures}")
    print(f"control socket:  {milliseconds(found.control_latencies)}; failures {found.control_failures}")
    print(
        f"the daemon worked for {worked:.1f} s; its event loop waited {waited:.1f} s for a processor that others used"
    )
    print(f"memory at peak, MiB: {found.peaks}; open files at most {found.files}")
    for _ in range(4):
        await asyncio.sleep(5)
        print(f"memory afterwards, MiB: {found.memory()}")
    for line in figures(port):
        print(f"  {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--readers", type=int, default=300)
    parser.add_argument("--bodies", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--addresses", type=int, default=40, help="source addresses of the attackers (default 40)")
    parser.add_argument("--shipments", type=int, default=500)
    parser.add_argument("--files", type=int, default=1024, help="soft limit of open files to begin with (default 1024)")
    parser.add_argument("--port", type=int, default=18097, help="for the daemon of its own")
    parser.add_argument("--attack", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if options.attack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asyncio.run(Attack(options.attack, options.addresses).run(options))
        return
    # The daemon begins with the usual soft limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(options.files, hard), hard))
    with tempfile.TemporaryDirectory(prefix="flexportd-bench-") as folder:
        process = daemon_of_its_own(folder, options.port)
        try:
            asyncio.run(watch(process, options.port, folder, options))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                print("the daemon did not stop within 20 s: killed")
                process.kill()


if __name__ == "__main__":
    main()
