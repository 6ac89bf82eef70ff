"""A real browser before a running daemon: Debian's Chromium, driven by Playwright.

One event loop, one browser and one world serve a whole module, since each costs seconds to start. Tests that change
something for good start a daemon of their own with `world`.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from flexportd.clock import stamp
from flexportd.core.resources.registry import Registry
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
        examiner = daemon.daemon.consumers.examiner
        async with asyncio.timeout(60):
            while not (examiner.is_complete and examiner.notifies):
                daemon.daemon.consumers.wake()
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


RECORDS = tuple(domain.route for domain in Registry() if domain.name != "shipments")
PAGES = {
    "overview": "/",
    "shipments": "/shipments",
    "a part of the shipments": "/shipments?limit=5",
    "no shipments found": "/shipments?q=no+such+shipment",
    "shipment": "",
    "delivered shipment": "",
    "exceptions": "/exceptions",
    "notifications": "/deliveries",
    "notification rules": "/deliveries/rules",
    "writes": "/operations",
    "audit log": "/audit",
    "queue": "/queue",
    "sync": "/sync",
    "gaps": "/gaps",
    "system": "/system",
    "api": "/api/v1/docs",
    "share": "",
    "no such shipment": "/shipments/99999999",
    "no such share": f"/s/fxs_{'a' * 43}",
    "history": "",
    "exception": "",
    "event": "",
    "dead letter": "",
    "discarded dead letters": "/queue?discarded=true",
    "filters that cannot be used": "/shipments?status=arived",
    "list of documents": "",
    "page of commercial-invoices": "",
}
"""Every kind of page; `addresses` knows the paths of those that depend on the world."""

EVERY_PAGE = (
    *PAGES,
    *(name for route in RECORDS for name in (f"list of {route}", f"page of {route}") if name not in PAGES),
)
"""Also the pages of each resource that is not a shipment."""

AWKWARD = (
    "W" * 100,
    "شحنة الربيع إلى الميناء الجنوبي مع بضائع كثيرة",
    "春季系列第二批货物从宁波港到长滩港的海运集装箱以及空运补货",
    "O'Neill & Söhne, Frühjahrskollektion 2026 der Donaudampfschifffahrtsgesellschaft, zweite Lieferung",
)
"""Names of shipments: without a blank, from right to left, without words, long."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addresses(site: Site) -> dict[str, str]:
    """Every kind of page by a name, of a world with awkward texts in it."""
    daemon = site.daemon
    shipments = (await daemon.get("/shipments?limit=500"))["data"]
    legs = Counter(leg["shipment_id"] for leg in (await daemon.get("/legs?limit=500"))["data"])
    longest = max(shipments, key=lambda one: legs[one["id"]])["id"]
    arrived = {one["id"] for one in shipments if one["status"] == "final_destination"} - {longest}
    others = [one["id"] for one in shipments if one["id"] != longest]
    for number, name in zip((longest, *others), AWKWARD, strict=False):
        known = await daemon.get(f"/shipments/{number}?include=raw")
        await daemon.receive(event(known["raw"] | {"name": name, "updated_at": "2026-03-21T12:00:30.000Z"}))
    await daemon.settled()
    share = await daemon.call(f"/shipments/{longest}/shares", {}, status=201)
    late = (await daemon.get("/exceptions?limit=1"))["data"][0]["id"]
    dead = (await daemon.get("/dead-letters?limit=1"))["data"][0]["id"]
    happened = (await daemon.get("/events?limit=1"))["data"][0]["id"]
    found = {
        "history": f"/shipments/{longest}/history",
        "exception": f"/exceptions/{late}",
        "event": f"/events/{happened}",
        "dead letter": f"/queue/dead-letters/{dead}",
        "shipment": f"/shipments/{longest}",
        "delivered shipment": f"/shipments/{next(iter(arrived))}",
        "share": share["path"],
    }
    for route in RECORDS:
        found[f"list of {route}"] = f"/{route}"
        first = (await daemon.get(f"/{route}?limit=1"))["data"][0]["id"]
        found[f"page of {route}"] = f"/{route}/{quote(str(first), safe='')}"
    return {name: site.url + path for name, path in (PAGES | found).items()}
