"""Fifty days of a demo in a few seconds: world and daemon on one clock, stepped by the test."""

import asyncio
import contextlib
import re
import sys
from dataclasses import replace
from datetime import date, timedelta

import aiohttp
import pytest

from flexportd.cli import demo_runner
from flexportd.cli.demo_runner import DemoPlan
from flexportd.clock import SimulatedClock, parse
from flexportd.daemon.app import open_daemon
from flexportd.errors import ConflictError
from flexportd.ingest.event_store import EVENT
from flexportd.sandbox import Sandbox
from flexportd.sandbox.catalog.kinds import LEG
from tests.under_test import DatedClock, UnderTest, look_again

DAYS = 50
_PAGES = (
    "/",
    "/shipments",
    "/exceptions",
    "/invoices",
    "/bookings",
    "/containers",
    "/queue",
    "/sync",
    "/gaps",
    "/system",
)


async def _job(daemon, name):
    """Run a job to its end, beside what the schedule begins."""
    jobs = daemon.daemon.scheduler
    with contextlib.suppress(ConflictError):
        await jobs.run_now(name)
    await jobs.wait_until_idle(name)


async def _applied(daemon):
    async with asyncio.timeout(20):
        while daemon.daemon.queue.waiting(EVENT):
            await look_again()


async def _empty(daemon):
    async with asyncio.timeout(20):
        while (queue := await daemon.daemon.queue.stats())["ready"] or queue["leased"]:
            await look_again()


async def _judged(daemon):
    examiner, db = daemon.daemon.consumers.examiner, daemon.daemon.db
    async with asyncio.timeout(20):
        while not examiner.has_processed(await db.read(lambda tx: tx.journal.last())):
            daemon.daemon.consumers.wake()
            await look_again()


async def _everything(daemon, path):
    found, cursor = [], ""
    while cursor is not None:
        page = await daemon.get(f"{path}?limit=200{cursor and f'&cursor={cursor}'}")
        found += page["data"]
        cursor = page["next"]
    return found


async def _page(daemon, path):
    async with daemon.http.get(daemon.url + path) as answer:
        assert answer.status == 200
        return await answer.text()


async def _command(plan, *words):
    program = (sys.executable, "-m", "flexportd", "--config", str(plan.config), *words)
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    return told.decode()


def _hurried(settings):
    """The demo's settings, without its wait between two requests."""
    return settings.model_copy(
        update={"flexport": settings.flexport.model_copy(update={"requests_per_second": 5000.0})}
    )


@pytest.fixture
def plan(tmp_path):
    port, sandbox_port = demo_runner.free_port(0), demo_runner.free_port(0)
    return DemoPlan(tmp_path, seed=7, shipments=16, speed=86_400, port=port, sandbox_port=sandbox_port)


async def test_fifty_simulated_days_leave_a_demo_that_is_right(plan):
    clock = SimulatedClock(DatedClock(), plan.speed)
    options = replace(demo_runner.sandbox_options(plan), speed=0)  # the test moves it
    async with (
        open_daemon(_hurried(demo_runner.write_config(plan).settings), clock) as started,
        Sandbox(options, clock.machine, clock.step) as sandbox,
        aiohttp.ClientSession() as http,
    ):
        daemon = UnderTest(started, http)
        await sandbox.wait_delivered()
        await _applied(daemon)
        await _job(daemon, "full_sync")
        for day in range(DAYS):
            await sandbox.step(86_400)
            assert abs(clock.now() - sandbox.world.now) < timedelta(minutes=1)
            await _applied(daemon)
            if day % 5 == 4:
                await _job(daemon, "incremental_sync")
            if day % 20 == 10:
                await _job(daemon, "full_sync")
        for _ in range(2):
            await sandbox.step(60)  # in which what was gathered becomes due
            await _empty(daemon)
            await _job(daemon, "full_sync")
        await _judged(daemon)
        await _looks_right(daemon, sandbox, clock)
        assert sandbox.deliveries.undelivered == 0
        assert re.search(r"\d+ (min|h) ago|just now", await _command(plan, "events", "list", "--limit", "1"))


async def _looks_right(daemon, sandbox, clock):
    today = clock.now().date()
    status = await daemon.get("/status")
    assert (status["ready"], status["warnings"]) == (True, [])
    assert {name: status["queue"][name] for name in ("ready", "leased", "dead")} == {"ready": 0, "leased": 0, "dead": 0}

    sync = await daemon.get("/sync")
    assert sync["full"]["state"] == "complete"
    assert {receipt["state"] for receipt in sync["full"]["results"]} == {"complete"}
    assert (await daemon.get("/gaps"))["data"] == []

    shipments = await _everything(daemon, "/shipments")
    assert len({one["status"] for one in shipments}) >= 6
    coming = [
        one
        for one in shipments
        if one["estimated_arrival_date"] and not one["actual_arrival_date"]
        if date.fromisoformat(one["estimated_arrival_date"]) >= today
    ]
    assert len(coming) >= 5
    found = await _everything(daemon, "/exceptions")
    assert "critical" in {one["severity"] for one in found}
    legs = {leg["id"]: leg["removed_at"] for leg in await _everything(daemon, "/legs")}
    replaced = [leg["id"] for leg in sandbox.world.tables[LEG].values() if leg["deleted_at"]]
    assert replaced
    assert not [key for key in replaced if legs[key] is None]

    for path in _PAGES:
        told, now = await _page(daemon, path), clock.now()
        assert "clock is wrong" not in told
        assert 'data-clock-speed="86400"' in told
        for when, words in re.findall(r'<time datetime="([^"]+)"[^>]*data-since[^>]*>([^<]+)<', told):
            assert words.startswith("in ") == (parse(when) > now), (path, when, words)
