"""Kill -9, SIGTERM and a full disk, against a real process (design promises 1 and 2)."""

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys

import aiohttp
import pytest

from flexportd.flexport.webhook_signature import sign
from flexportd.storage.repositories.exceptions import EvaluationState
from flexportd.storage.transaction import Transaction
from tests.events import event, shipment
from tests.fork_server import ForkedProcess
from tests.under_test import SECRET, look_again

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))

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
level = "info"
format = "json"
"""


class Process:
    """A daemon in a process of its own: a fork of what has loaded it, which takes a tenth of the time."""

    module = "flexportd"

    def __init__(self, tmp_path, port):
        self.dir, self.port = tmp_path, port
        (tmp_path / "flexportd.toml").write_text(CONFIG.format(secret=SECRET, port=port, dir=tmp_path))
        (tmp_path / "flexportd.toml").chmod(0o600)
        self.url = f"http://127.0.0.1:{port}"
        self.log = b""

    async def start(self):
        self.log = b""
        stderr = await self.launch("--config", str(self.dir / "flexportd.toml"), "serve")
        async with asyncio.timeout(30):
            while b'"daemon_started"' not in self.log:
                line = await stderr.readline()
                assert line, self.log
                self.log += line
        self.reading = asyncio.ensure_future(self._read(stderr))

    async def launch(self, *arguments):
        """What it writes to standard error."""
        self.process = ForkedProcess([self.module, *arguments], stderr=subprocess.PIPE)
        stderr = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stderr), self.process.stderr
        )
        return stderr

    async def wait(self):
        return await self.process.wait_async()

    async def kill(self):
        """End it, unless it has ended."""
        if self.process.poll() is None:
            await self.end(signal.SIGKILL)

    async def _read(self, stderr):
        async for line in stderr:
            self.log += line

    async def end(self, number):
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            code = await self.wait()
            await self.reading
        return code


class LoadedProcess(Process):
    """A daemon whose interpreter starts and imports it as that of the installed command does."""

    program = ("-m", "flexportd")

    async def launch(self, *arguments):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *self.program, *arguments, stderr=asyncio.subprocess.PIPE
        )
        return self.process.stderr

    async def wait(self):
        return await self.process.wait()


@pytest.fixture
async def process(tmp_path, unused_tcp_port):
    one = Process(tmp_path, unused_tcp_port)
    await one.start()
    yield one
    await one.kill()


async def send(http, url, body):
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": sign(body, SECRET)}
    async with http.post(url + "/webhooks/flexport", data=body, headers=headers) as answer:
        await answer.read()
        return answer.status


class Senders:
    """Eight senders that write down what was acknowledged."""

    def __init__(self, url):
        self.url = url
        self.acknowledged = {}
        self.cut_off = 0
        self.count = 0
        self.enough = asyncio.Event()

    async def run(self, http):
        while True:
            self.count += 1
            number = self.count
            one = event(
                shipment(
                    1 + number % 50,
                    status=f"s{number}",
                    updated_at=f"2026-03-04T02:{number // 60 % 60:02d}:{number % 60:02d}Z",
                )
            )
            try:
                if await send(http, self.url, json.dumps(one).encode()) == 200:
                    self.acknowledged[str(one["id"])] = one
            except aiohttp.ServerDisconnectedError:
                return
            except (aiohttp.ClientError, OSError):
                self.cut_off += 1
                return
            if len(self.acknowledged) >= 300:
                self.enough.set()


async def until(http, url, test):
    async with asyncio.timeout(30):
        while True:
            async with http.get(url) as answer:
                document = await answer.json(content_type=None)
                if test(document):
                    return document
            await look_again()


async def test_after_kill_9_every_acknowledged_event_is_there_and_took_effect_once(process):
    rnd, acknowledged = random.Random(5), {}
    for _ in range(ROUNDS):
        senders = Senders(process.url)
        async with aiohttp.ClientSession() as http:
            running = [asyncio.ensure_future(senders.run(http)) for _ in range(8)]
            target = rnd.randint(20, 250)
            async with asyncio.timeout(30):
                while len(senders.acknowledged) < target:
                    await send(http, process.url, b"{}")
            await process.end(signal.SIGKILL)
            await asyncio.gather(*running)
        acknowledged |= senders.acknowledged
        await process.start()
    async with aiohttp.ClientSession() as http:
        await until(http, process.url + "/api/v1/queue", lambda found: found["ready"] + found["leased"] == 0)
    await process.end(signal.SIGTERM)
    raw = sqlite3.connect(process.dir / "data" / "flexportd.db")
    states = dict(raw.execute("SELECT id, state FROM events WHERE id NOT LIKE 'body-%'"))
    assert acknowledged.keys() <= states.keys()
    assert {states[event_id] for event_id in acknowledged} <= {"applied", "coalesced"}
    assert raw.execute(
        "SELECT count(*) FROM (SELECT 1 FROM changes WHERE field = 'status' GROUP BY event_id HAVING count(*) > 1)"
    ).fetchone() == (0,)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


async def test_sigterm_under_load_cuts_no_request_off_and_exits_0(process):
    senders = Senders(process.url)
    async with aiohttp.ClientSession() as http:
        running = [asyncio.ensure_future(senders.run(http)) for _ in range(8)]
        async with asyncio.timeout(30):
            await senders.enough.wait()
        async with asyncio.timeout(10):
            code = await process.end(signal.SIGTERM)
        await asyncio.gather(*running)
    assert code == 0
    assert b'"daemon_stopped"' in process.log
    raw = sqlite3.connect(process.dir / "data" / "flexportd.db")
    kept = {row[0] for row in raw.execute("SELECT id FROM events")}
    raw.close()
    assert senders.acknowledged.keys() <= kept
    assert not (process.dir / "control.sock").exists()


async def test_a_full_disk_is_503_and_readyz_says_why_and_it_recovers_by_itself(process):
    body = [json.dumps(event(shipment(n, name="x" * 5000))).encode() for n in range(400)]
    async with aiohttp.ClientSession() as http:
        assert await send(http, process.url, body[0]) == 200
        largest = max(file.stat().st_size for file in (process.dir / "data").iterdir())
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (largest + 200_000, resource.RLIM_INFINITY))
        statuses = [await send(http, process.url, one) for one in body[1:]]
        assert set(statuses) == {200, 503}
        async with http.get(process.url + "/readyz") as answer:
            assert answer.status == 503
            assert "not writable" in (await answer.json(content_type=None))["detail"]
        async with http.get(process.url + "/healthz") as answer:
            assert answer.status == 200
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await until(http, process.url + "/readyz", lambda found: found["status"] == "ready")
        assert await send(http, process.url, body[-1]) == 200
        await until(http, process.url + "/api/v1/queue", lambda found: found["ready"] == 0)
        status = await until(http, process.url + "/api/v1/status", lambda found: True)
        assert status["events"]["by_state"]["applied"] == statuses.count(200) + 2 - (statuses[-1] == 200)
    assert await process.end(signal.SIGTERM) == 0
    assert 1 <= process.log.count(b'"storage_failed"') <= 3  # the edges, not each of hundreds of misses
    assert process.log.count(b'"storage_recovered"') == process.log.count(b'"storage_failed"')


READING = """
import sqlite3, sys
while sys.stdin.read(1):
    raw = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    print(raw.execute("SELECT count(*) FROM events").fetchone()[0], flush=True)
    raw.close()
"""


async def test_another_program_may_open_the_database_and_close_it_as_often_as_it_likes(process):
    """The first connection of a program begins the WAL-index anew where it believes that nobody uses it."""
    reading = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READING, str(process.dir / "data" / "flexportd.db"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    senders, counts = Senders(process.url), []
    async with aiohttp.ClientSession() as http:
        running = [asyncio.ensure_future(senders.run(http)) for _ in range(4)]
        async with asyncio.timeout(60):
            while not senders.enough.is_set():
                reading.stdin.write(b"x")
                line = await reading.stdout.readline()
                assert line, "the other program has failed"
                counts.append(int(line))
        reading.stdin.close()
        await reading.wait()
        assert process.process.poll() is None
        assert await process.end(signal.SIGTERM) == 0
        await asyncio.gather(*running)
    assert counts == sorted(counts)
    raw = sqlite3.connect(process.dir / "data" / "flexportd.db")
    assert senders.acknowledged.keys() <= {row[0] for row in raw.execute("SELECT id FROM events")}
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


async def test_exceptions_are_opened_and_told_once_whenever_it_is_killed(process):
    rounds = random.Random(11)
    sent = 0
    async with asyncio.timeout(30):
        while not is_judging(process.dir / "data" / "flexportd.db"):  # what is known at the first check is no news
            await asyncio.sleep(0.02)
    async with aiohttp.ClientSession() as http:
        for _ in range(ROUNDS):
            for _ in range(40):
                sent += 1
                assert await send(http, process.url, json.dumps(event(shipment(sent))).encode()) == 200
            await asyncio.sleep(rounds.random() * 0.5)
            await process.end(signal.SIGKILL)
            await process.start()
        async with asyncio.timeout(30):
            while len(found := await listed(http, process.url)) < sent:
                await asyncio.sleep(0.02)
    assert sorted(one["shipment_id"] for one in found) == list(range(1, sent + 1))
    assert await process.end(signal.SIGTERM) == 0
    raw = sqlite3.connect(process.dir / "data" / "flexportd.db")
    try:
        notices = [
            notice
            for (text,) in raw.execute("SELECT notices FROM journal WHERE notices IS NOT NULL")
            for notice in json.loads(text)
        ]
    finally:
        raw.close()
    assert sorted(int(one["exception_id"]) for one in notices) == sorted(int(one["id"]) for one in found)


def is_judging(path):
    """Whether exceptions that open from now on are told."""
    raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        state = Transaction(raw).meta.load("exceptions", EvaluationState)
        return state is not None and state.is_loud
    finally:
        raw.close()


async def listed(http, url):
    async with http.get(f"{url}/api/v1/exceptions?limit=500") as answer:
        return (await answer.json())["data"]
