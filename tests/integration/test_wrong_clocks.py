"""A clock that is wrong deletes nothing and stalls nothing, also once it is set right."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from flexportd.clock import Clock, parse, stamp
from flexportd.core.trusted_time import TrustedTime
from flexportd.flexport.server_clock import ServerClock
from flexportd.jobs.job import JobRun
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database
from tests.conftest import TurnedClock
from tests.events import event, leg, shipment
from tests.small_flexport import SmallFlexport, mirroring
from tests.under_test import look_again, start

TWO_YEARS = 730


def recent(clock, **fields):
    """An event that Flexport records now."""
    return event(shipment(updated_at=stamp(clock.now())), created_at=stamp(clock.now()), **fields)


async def forget(daemon, **keep):
    """Run the retention as its job does; its sentence."""
    periods = replace(RetentionPeriods.from_settings(daemon.daemon.settings), **keep)
    retention = RetentionJob(daemon.daemon.db, daemon.daemon.clock, periods, daemon.daemon.trusted_time)
    return await retention.run(JobRun("retention", 1, "manual"))


async def counts(daemon):
    names = ("events", "event_payloads", "changes", "journal")
    return {
        name: await daemon.daemon.db.read(lambda tx: tx.raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: B023
        for name in names
    }


def is_kept(before, after):
    return all(after[name] >= count for name, count in before.items())


async def warnings(daemon):
    return [one for one in (await daemon.get("/status"))["warnings"] if "clock" in one]


SHORT = {"events": timedelta(days=400), "history": timedelta(days=400)}


async def test_a_clock_that_jumps_two_years_ahead_deletes_nothing_and_is_named(daemon, clock):
    await daemon.receive(recent(clock), recent(clock), recent(clock))
    await daemon.settled()
    before = await counts(daemon)
    assert await warnings(daemon) == []
    clock.turn(days=TWO_YEARS)
    assert "clock is wrong" in await forget(daemon, **SHORT)
    assert is_kept(before, await counts(daemon))
    (told,) = await warnings(daemon)
    assert "Nothing is deleted" in told
    clock.turn(days=-TWO_YEARS)
    assert await warnings(daemon) == []


async def test_what_comes_while_the_clock_is_ahead_does_not_make_it_right(daemon, clock):
    right = stamp(clock.now())
    await daemon.receive(*(event(shipment(updated_at=right), created_at=right) for _ in range(3)))
    clock.turn(days=TWO_YEARS)
    await daemon.receive(*(event(shipment(updated_at=right), created_at=right) for _ in range(3)))
    await daemon.receive(event(shipment(updated_at=right), created_at="2099-01-01T00:00:00Z"))
    await daemon.settled()
    before = await counts(daemon)
    await forget(daemon, **SHORT)
    assert is_kept(before, await counts(daemon))


@pytest.mark.parametrize("days", [60, 365, TWO_YEARS, 3650])
async def test_a_clock_that_jumped_while_the_daemon_was_down_deletes_nothing(settings, clock, days):
    async with start(settings, clock) as daemon:
        await daemon.receive(recent(clock), recent(clock))
        await daemon.settled()
        before = await counts(daemon)
    clock.turn(days=days)
    async with start(settings, clock) as daemon:
        await forget(daemon, events=timedelta(days=30), history=timedelta(days=30))
        assert is_kept(before, await counts(daemon))
        assert await warnings(daemon)


async def test_a_year_without_the_daemon_is_believed_once_an_event_was_recorded_lately(settings, clock):
    async with start(settings, clock) as daemon:
        await daemon.receive(recent(clock, id=1), recent(clock, id=2))
        await daemon.settled()
    clock.turn(days=500)
    async with start(settings, clock) as daemon:
        await daemon.receive(recent(clock, id=3), event(leg(), created_at="2099-01-01T00:00:00Z", id=4))
        await daemon.settled()
        await forget(daemon, **SHORT)
        left = await daemon.daemon.db.read(lambda tx: tx.raw.execute("SELECT id FROM events ORDER BY seq").fetchall())
        assert left == [("3",), ("4",)]
        assert await warnings(daemon) == []


async def test_with_a_key_flexports_answers_say_what_time_it_is(tmp_path, clock):
    async with mirroring(SmallFlexport(shipment()), tmp_path, clock) as daemon:
        await daemon.receive(recent(clock), recent(clock))
        async with asyncio.timeout(20):
            while (await daemon.daemon.db.read(lambda tx: tx.items.pending())).get("event"):
                await look_again()
        before = await counts(daemon)
        clock.turn(days=20)  # no more than a machine may have been off; but Flexport knows better
        assert "but Flexport says" in await forget(daemon, events=timedelta(days=7), history=timedelta(days=7))
        after = await counts(daemon)
        assert (after["events"], after["changes"]) == (before["events"], before["changes"])
        (told,) = await warnings(daemon)
        assert "but Flexport says" in told


async def test_the_simulated_time_of_a_sandbox_says_nothing_about_the_clock(tmp_path, clock):
    sandbox = {"flexport.environment": "sandbox", "flexport.token_url": "http://127.0.0.1:9/token"}
    async with mirroring(SmallFlexport(shipment()), tmp_path, clock, **sandbox) as daemon:
        clock.turn(days=20)
        assert await warnings(daemon) == []


async def test_a_clock_of_1970_that_is_set_right_deletes_and_stalls_nothing(settings, clock):
    right = stamp(clock.now())
    early = (clock.now() - datetime.fromisoformat("1970-01-01T00:10:00+00:00")) / timedelta(days=1)
    clock.turn(days=-early)
    async with start(settings, clock) as daemon:
        await daemon.receive(*(event(shipment(updated_at=right), created_at=right) for _ in range(3)))
        await daemon.receive(event(shipment(status="late", updated_at=right), created_at=None))
        await daemon.settled()
        before = await counts(daemon)
        clock.turn(days=early)
        await daemon.receive(event(shipment(status="arrival_port", updated_at=stamp(clock.now())), created_at=right))
        await daemon.settled()
        assert (await daemon.get("/shipments/910233"))["status"] == "arrival_port"
        await forget(daemon, **SHORT)
        assert is_kept(before, await counts(daemon))
        jobs = (await daemon.get("/jobs"))["data"]
        daemon.daemon.scheduler.tick()
        assert all(parse(one["next_run_at"]) < clock.now() + timedelta(days=2) for one in jobs if one["next_run_at"])


async def test_an_event_of_the_future_does_not_keep_old_ones(settings, clock):
    clock.turn(days=-500)
    async with start(settings, clock) as daemon:
        await daemon.receive(recent(clock, id=1))
        clock.turn(days=1500)
        await daemon.receive(recent(clock, id=2))  # both its times are wrong
        await daemon.settled()  # else it waits for the next look at items with a wrong time
        clock.turn(days=-1500)
        await daemon.receive(event(leg(), created_at="2099-01-01T00:00:00Z", id=3), recent(clock, id=4))
        await daemon.settled()
    clock.turn(days=500)
    async with start(settings, clock) as daemon:
        await daemon.receive(recent(clock, id=5), recent(clock, id=6))
        await daemon.settled()
        await forget(daemon, **SHORT)
        left = await daemon.daemon.db.read(lambda tx: tx.raw.execute("SELECT id FROM events ORDER BY seq").fetchall())
        assert [one for (one,) in left] == ["2", "5", "6"]
        history = await daemon.daemon.db.read(
            lambda tx: tx.raw.execute("SELECT count(*) FROM changes WHERE event_id IN ('1', '4')").fetchone()[0]
        )
        assert history == 0


async def test_what_was_queued_by_a_clock_that_was_ahead_runs_once_it_is_set_right(daemon, clock):
    await daemon.call("/queue/pause")
    clock.turn(days=TWO_YEARS)
    await daemon.receive(event(shipment(status="told")))
    clock.turn(days=-TWO_YEARS)
    await daemon.call("/queue/resume")
    await daemon.daemon.queue.release_misdated()
    clock.turn(seconds=6)
    daemon.daemon.queue.wake_all()
    await daemon.settled()
    assert (await daemon.get("/shipments/910233"))["status"] == "told"


async def test_it_runs_too_when_the_clock_is_set_right_between_two_starts(settings, clock):
    async with start(settings, clock) as daemon:
        await daemon.call("/queue/pause")
        clock.turn(hours=5)
        await daemon.receive(event(shipment(status="told")))
    clock.turn(hours=-5)
    async with start(settings, clock) as daemon:
        await daemon.call("/queue/resume")
        clock.turn(seconds=6)
        daemon.daemon.queue.wake_all()
        await daemon.settled()
        assert (await daemon.get("/shipments/910233"))["status"] == "told"


async def test_exceptions_are_judged_again_by_the_clock_that_was_set_right(daemon, clock):
    due = stamp(clock.now() + timedelta(days=30))
    await daemon.receive(event(shipment(estimated_departure_date=due, estimated_arrival_date=None)))
    await daemon.settled()

    async def opened(count):
        async with asyncio.timeout(20):
            while len((await daemon.get("/exceptions?kind=late_departure"))["data"]) != count:
                daemon.daemon.consumers.wake()
                await look_again()

    await opened(0)
    clock.turn(days=TWO_YEARS)
    await opened(1)
    clock.turn(days=-TWO_YEARS)
    daemon.daemon.consumers.examiner.reevaluate()
    await opened(0)


# --- the parts alone ---


class Kept(Clock):
    """A clock that shows what it is told."""

    def __init__(self, at):
        self.at = parse(at)

    def now(self):
        return self.at


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path) as db:
        yield db


async def test_time_that_passes_while_it_is_looked_at_is_believed(db):
    clock = Kept("2026-01-01T00:00:00Z")
    time = TrustedTime(db, clock)
    for _ in range(30):
        await time.check()
        clock.at += timedelta(days=30)
    assert time.now() == clock.at
    assert time.problem is None
    clock.at += timedelta(days=300)
    assert time.now() < clock.at - timedelta(days=300)
    assert "last plausible" in time.problem


async def test_a_clock_that_was_set_back_is_noticed_at_once_and_after_a_restart(db):
    called = []

    async def set_back():
        called.append(1)

    async def once(time):
        clock.sleep = lambda _: asyncio.Event().wait()
        await time.check()
        task = asyncio.create_task(time.run(set_back))
        async with asyncio.timeout(10):
            while time._was_set_back:
                await look_again()
        task.cancel()

    clock = Kept("2026-01-02T00:00:00Z")
    time = TrustedTime(db, clock)
    await once(time)
    assert called == []
    clock.at -= timedelta(hours=2)
    await once(time)
    assert called == [1]
    await once(TrustedTime(db, clock))
    assert called == [1, 1]


async def test_forgetting_ends_at_the_beginning_of_time(db):
    clock = Kept("1970-01-01T00:00:00Z")
    periods = RetentionPeriods(timedelta(days=10**6), timedelta(days=10**6))
    await RetentionJob(db, clock, periods, TrustedTime(db, clock)).run(JobRun("retention", 1, "manual"))


def test_flexports_time_goes_on_from_its_last_answer_whatever_our_clock_shows():
    server = ServerClock()
    assert server.now() is None
    server.observe("Sun, 01 Mar 2026 10:00:00 GMT", parse("2028-03-01T10:00:00Z"))
    assert timedelta() <= server.now() - parse("2026-03-01T10:00:00Z") < timedelta(hours=1)


async def test_an_item_may_wait_a_day(db):
    clock = TurnedClock()
    queue = Queue(db, clock, None)
    at = stamp(clock.now() + timedelta(hours=25))
    insert = "INSERT INTO items (id, kind, state, priority, ready_at, enqueued_at) VALUES (1, 'x', 'ready', 1, ?, ?)"
    await db.write(lambda tx: tx.raw.execute(insert, (at, stamp(clock.now()))))
    await queue.release_misdated()
    assert await db.read(lambda tx: tx.items.next_ready_at("x")) == at
    clock.turn(days=-3)
    await queue.release_misdated()
    assert await db.read(lambda tx: tx.items.next_ready_at("x")) < at
