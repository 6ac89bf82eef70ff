"""A real browser before a running daemon: Debian's Chromium, driven by Playwright.

One event loop, one browser and one world serve a whole module, since each costs seconds to start. Tests that change
something for good start a daemon of their own with `world`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from flexportd.clock import stamp
from flexportd.sandbox import Sandbox, SandboxOptions
from tests.events import event
from tests.integration.test_daemon_sync import configured, ended
from tests.mirrored import KEY
from tests.under_test import DatedClock, UnderTest, start

CHROMIUM = shutil.which("chromium")
# Without these Chromium asks its maker's servers for updates and lists.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)
        if CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason="Chromium is not installed: no page is looked at in a browser"))


@dataclass(frozen=True, slots=True)
class Site:
    """A daemon with the sandbox that feeds it, after its first full sync."""

    daemon: UnderTest
    sandbox: Sandbox

    @property
    def url(self) -> str:
        return self.daemon.url


@asynccontextmanager
async def world(folder: Path, *, shipments: int = 40, **changed: object) -> AsyncIterator[Site]:
    """Start a sandbox whose world stands still and a daemon that has read it; `changed` are settings by dotted name."""
    clock = DatedClock()
    options = SandboxOptions(speed=0, shipments=shipments, api_key=KEY)
    async with (
        Sandbox(options, clock) as sandbox,
        start(configured(folder, sandbox.url, **{"flexport.concurrency": 16} | changed), clock) as daemon,
    ):
        run = await daemon.daemon.db.read(lambda tx: tx.sync.last("full"))
        await ended(daemon, run.id if run else (await daemon.call("/sync/run", status=202))["id"])
        examiner = daemon.daemon.following.examiner
        async with asyncio.timeout(60):
            while not (examiner.complete and examiner.is_loud):
                daemon.daemon.following.wake()
                await asyncio.sleep(0.01)
        # A shipment that was changed by a webhook, and an event that failed permanently.
        changed_one = (await daemon.get("/shipments?limit=1"))["data"][0]
        known = await daemon.get(f"/shipments/{changed_one['id']}?include=raw")
        await daemon.receive(
            event(known["raw"] | {"name": "Spring collection", "updated_at": stamp(clock.now())}),
            {"_object": "/event", "id": "no-number", "type": "/shipment#updated", "data": {}},
        )
        await daemon.settled()
        yield Site(daemon, sandbox)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """The world that the tests of a module share and leave as it is."""
    with TemporaryDirectory(prefix="fxd-") as folder:
        async with world(Path(folder).resolve()) as made:
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        await chromium.close()
