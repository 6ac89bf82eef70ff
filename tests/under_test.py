"""A running daemon as tests see it: real HTTP on loopback, real SQLite."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from flexportd.clock import Clock
from flexportd.daemon.app import Daemon, open_daemon
from flexportd.flexport.webhook_signature import Verifier, sign
from flexportd.settings import Settings
from tests import fork_server

SECRET = "test-secret-0123456789"


async def look_again() -> None:
    """Wait between two looks at what is to become so.

    Looking without a pause takes the processor from what is waited for: beside other load, a limit passes.
    """
    await asyncio.sleep(0.01)


def signature_problem(verifier: Verifier, body: bytes, headers: Mapping[str, str]) -> str | None:
    """None for a valid signature, else `missing`, `sha1_only`, `malformed` or `mismatch`."""
    check = verifier.begin(headers)
    check.update(body)
    return check.problem or (None if check.matches() else "mismatch")


class UnderTest:
    def __init__(self, daemon: Daemon, http: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.http = http
        self.url = f"http://{daemon.addresses[0]}"

    async def post(self, body: bytes, *, secret: str | None = SECRET, **headers: str) -> tuple[int, Any]:
        """Deliver these bytes, signed; (status, document)."""
        sent = {"Content-Type": "application/json"}
        if secret is not None:
            sent["X-Hub-Signature-256"] = sign(body, secret)
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(
            self.url + self.daemon.settings.webhook.path, data=io.BytesIO(body), headers=sent
        ) as answer:
            return answer.status, json.loads(await answer.read())

    async def receive(self, *events: dict[str, Any]) -> None:
        """Deliver events in this order, one after the other; each must be taken."""
        for event in events:
            status, document = await self.post(json.dumps(event).encode())
            assert status == 200, document

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        """The JSON document at an API path such as `/shipments/1`, which must answer with this status."""
        async with self.http.get(self.url + "/api/v1" + path, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == status, body
            return json.loads(body) if body else None

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `flexportd ARGUMENTS` in a process of its own: exit code, stdout, stderr."""
        storage = self.daemon.settings.storage
        names = ("data_dir", "cache_dir", "control_socket")
        paths = {f"FLEXPORTD_STORAGE__{name.upper()}": str(getattr(storage, name)) for name in names}
        done = await asyncio.to_thread(fork_server.run, ("flexportd", *arguments), env=os.environ | paths)
        return done.returncode, done.stdout, done.stderr

    async def call(self, path: str, body: Any = None, status: int = 200) -> Any:
        """POST to an API path."""
        async with self.http.post(self.url + "/api/v1" + path, json=body) as answer:
            assert answer.status == status, await answer.text()
            return json.loads(await answer.read())

    async def settled(self) -> None:
        """Wait until nothing that is due waits in the queue."""
        async with asyncio.timeout(20):
            while self.daemon.queue.pending:
                await look_again()

    async def consumed(self) -> None:
        """Wait until what is stored is also in the search index and in the exceptions."""
        following = self.daemon.consumers
        last = await self.daemon.db.read(lambda tx: tx.journal.last())
        async with asyncio.timeout(20):
            while not all(one.has_processed(last) for one in (following.indexer, following.examiner)):
                following.wake()
                await look_again()


_MACHINE = Clock()


class DatedClock(Clock):
    """Runs from a fixed instant.

    The world of a sandbox follows from its seed and the time at which it is made: by the wall clock, a test would see
    other shipments in each run, and now and then none with what it looks for.

    It is not the machine's clock: alarms that ring by that one would find every job due at the start of a daemon.
    """

    def __init__(self, start: datetime = datetime(2026, 3, 21, 12, tzinfo=UTC)) -> None:
        self._offset = start - super().now()

    @property
    def machine(self) -> Clock:
        return _MACHINE

    def now(self) -> datetime:
        return super().now() + self._offset

    def turn(self, **by: float) -> None:
        self._offset += timedelta(**by)


@asynccontextmanager
async def start(settings: Settings, clock: Clock) -> AsyncIterator[UnderTest]:
    async with open_daemon(settings, clock) as daemon, aiohttp.ClientSession() as http:
        yield UnderTest(daemon, http)
