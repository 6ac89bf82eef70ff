"""Conditions of the daemon itself: one notice when one begins, one all-clear when it ends, whatever happens between."""

from datetime import timedelta
from typing import NamedTuple

import pytest

from flexportd.clock import parse, stamp
from flexportd.core import system_conditions
from flexportd.core.changes.topics import TOPICS
from flexportd.core.outages import DeliverySignals, EventRate
from flexportd.core.system_conditions import (
    CONDITIONS,
    HOLDING_KINDS,
    KINDS,
    ConditionState,
    disk_low,
    lists_complete_since,
)
from flexportd.jobs.condition_monitor import ConditionMonitor, MonitorRules
from flexportd.storage.database import Database
from flexportd.storage.repositories.sync import ReceiptEnd
from tests.flexport_double import StillClock


class Usage(NamedTuple):
    total: int
    used: int
    free: int


GB = 10**9
DOWN = "Flexport does not respond"
COMPLETE, FAILED = ReceiptEnd("complete"), ReceiptEnd("failed", DOWN)


class Watched:
    """A monitor over a real database; the test says how syncs, the disk and the path check end."""

    def __init__(self, db, clock):
        self.db, self.clock = db, clock
        self.free = 50 * GB
        self.path = ConditionState(False)
        self.requested = 0
        self.restart()

    def restart(self, *, reads_lists=True):
        self.monitor = ConditionMonitor(
            self.db, self.clock, MonitorRules("/data", reads_lists=reads_lists, expects_webhooks=True),
            path_check=lambda: self.path, after_write=lambda: None, on_stale_lists=self._request,
            disk_usage=lambda _: Usage(100 * GB, 0, self.free),
        )  # fmt: skip

    def _request(self):
        self.requested += 1

    async def sync(self, kind="full", **ends):
        """One run, whose lists end like this."""

        def work(tx):
            at = self.clock.stamp()
            run = tx.sync.begin(kind, "schedule", at, list(ends))
            for resource, end in ends.items():
                tx.sync.end_receipt(run, resource, at, end)
            state = "failed" if any(end.state == "failed" for end in ends.values()) else "complete"
            tx.sync.end_run(run, state, at, "the summary")

        await self.db.write(work)
        await self.monitor.check()

    async def minutes(self, number):
        for _ in range(number):
            self.clock.turn(minutes=1)
            await self.monitor.check()

    async def notices(self):
        def read(tx):
            return [notice for entry in tx.journal.after(0, 1000) for notice in entry.notices]

        return [(one["topic"], one["kind"]) for one in await self.db.read(read)]

    async def holds(self):
        """Whether messages about freight wait for a full sync."""

        def read(tx):
            ended = tx.conditions.recovered_at(HOLDING_KINDS)
            return ended is not None and not lists_complete_since(tx, ended)

        return await self.db.read(read)

    async def open(self):
        return [condition.kind for condition in await self.db.read(lambda tx: tx.conditions.open())]


@pytest.fixture
async def watched(tmp_path):
    clock = StillClock()
    async with Database.open(tmp_path) as db:
        yield Watched(db, clock)


BEGAN, OVER = ("system.sync_failed", "sync_failed"), ("system.recovered", "sync_failed")


def test_every_topic_of_a_condition_is_declared():
    assert {spec.topic for spec in CONDITIONS.values()} <= {topic.name for topic in TOPICS}
    assert set(CONDITIONS) == set(KINDS)


async def test_an_outage_of_a_day_is_one_notice_and_one_all_clear(watched):
    await watched.sync(shipments=COMPLETE, legs=COMPLETE)
    for hour in range(24):
        for _ in range(3):
            await watched.minutes(20)
            await watched.sync("incremental", shipments=FAILED, invoices=FAILED)
        await watched.sync(shipments=FAILED, legs=FAILED)
        if hour in (5, 17):
            watched.restart()
    assert await watched.notices() == [BEGAN]
    await watched.minutes(5)
    await watched.sync("incremental", shipments=COMPLETE, invoices=COMPLETE)
    assert await watched.open() == ["sync_failed"]
    await watched.minutes(5)
    assert (await watched.notices(), await watched.open()) == ([BEGAN, OVER], [])
    assert watched.requested == 1  # a full sync, since the last one failed
    await watched.sync(shipments=COMPLETE, legs=COMPLETE)
    await watched.minutes(30)
    assert await watched.notices() == [BEGAN, OVER]


async def test_the_notices_say_why_since_when_and_for_how_long(watched):
    began = watched.clock.stamp()
    await watched.sync(shipments=FAILED)
    watched.clock.turn(hours=3)
    await watched.sync(shipments=COMPLETE)
    await watched.minutes(6)
    read = lambda tx: [notice for entry in tx.journal.after(0, 10) for notice in entry.notices]  # noqa: E731
    first, last = await watched.db.read(read)
    assert first == {
        "topic": "system.sync_failed", "kind": "sync_failed", "since": began,
        "detail": f"Syncs with Flexport fail: {DOWN}",
    }  # fmt: skip
    assert last == {**first, "topic": "system.recovered", "detail": "Data is read from Flexport again, after 3 h"}


async def test_a_connection_that_comes_and_goes_is_one_outage(watched):
    await watched.sync(shipments=FAILED)
    for _ in range(10):
        await watched.minutes(4)
        await watched.sync("incremental", shipments=COMPLETE)
        await watched.minutes(4)
        await watched.sync("incremental", shipments=FAILED)
    assert await watched.notices() == [BEGAN]
    await watched.sync("incremental", shipments=COMPLETE)
    await watched.minutes(6)
    assert await watched.notices() == [BEGAN, OVER]


async def test_two_conditions_at_once_begin_and_end_each_on_its_own(watched):
    await watched.sync(shipments=FAILED)
    watched.free = 1 * GB
    await watched.minutes(2)
    await watched.sync(shipments=COMPLETE)
    await watched.minutes(6)
    watched.free = 5 * GB + 1  # no longer low, but not yet enough
    await watched.minutes(10)
    assert await watched.notices() == [BEGAN, ("system.disk_low", "disk_low"), OVER]
    watched.free = 7 * GB
    await watched.minutes(6)
    assert (await watched.notices())[-1] == ("system.recovered", "disk_low")
    assert await watched.open() == []


async def test_an_outage_that_begins_during_a_run_is_one_condition(watched):
    await watched.sync(shipments=COMPLETE, invoices=FAILED)
    await watched.minutes(5)
    await watched.sync("incremental", shipments=FAILED, invoices=FAILED)
    await watched.minutes(30)
    assert await watched.notices() == [BEGAN]


async def test_one_list_that_fails_is_reported_but_leaves_freight_alone(watched):
    for _ in range(5):
        await watched.sync(shipments=COMPLETE, contacts=FAILED)
        await watched.minutes(60)
    assert await watched.notices() == [("system.sync_failed", "sync_incomplete")]
    assert system_conditions.HOLDING_KINDS.isdisjoint(await watched.open())
    await watched.sync(shipments=COMPLETE, contacts=COMPLETE)
    await watched.minutes(6)
    assert (await watched.notices())[-1] == ("system.recovered", "sync_incomplete")


async def test_a_run_that_a_restart_interrupted_says_nothing(watched):
    await watched.sync(shipments=FAILED)

    def interrupted(tx):
        run = tx.sync.begin("incremental", "schedule", watched.clock.stamp(), ["shipments"])
        tx.sync.end_run(run, "failed", watched.clock.stamp(), "Interrupted by a restart")

    watched.clock.turn(minutes=1)
    await watched.db.write(interrupted)
    await watched.minutes(20)
    assert await watched.open() == ["sync_failed"]


async def test_objects_that_need_review_are_reported_once(watched):
    await watched.sync(shipments=COMPLETE)
    await watched.db.write(lambda tx: tx.sync.add_missing("legs", [1, 2], watched.clock.stamp()))
    await watched.db.write(lambda tx: tx.sync.hold("legs", [1, 2], watched.clock.stamp()))
    await watched.minutes(3)
    assert await watched.notices() == [("system.review_needed", "review_needed")]


async def test_what_is_no_longer_checked_is_not_said_to_work_again(watched):
    await watched.sync(shipments=FAILED)
    watched.restart(reads_lists=False)
    await watched.minutes(6)
    read = lambda tx: [notice["detail"] for entry in tx.journal.after(0, 10) for notice in entry.notices]  # noqa: E731
    assert "no API key is configured" in (await watched.db.read(read))[-1]
    assert await watched.notices() == [BEGAN, OVER]


async def test_the_path_check_is_a_condition(watched):
    watched.path = ConditionState(True, "The path check of webhooks fails (tls): expired")
    await watched.minutes(2)
    watched.path = ConditionState(None)
    await watched.minutes(20)
    watched.path = ConditionState(False)
    await watched.minutes(6)
    kind = "webhook_check_failed"
    assert await watched.notices() == [(f"system.{kind}", kind), ("system.recovered", kind)]


@pytest.fixture
def signals(monkeypatch, watched):
    """The delivery signals, as the test sets them; polling works."""
    known = {}

    def read(_):
        now = watched.clock.stamp()
        return DeliverySignals(listening_since="2026-01-01T00:00:00.000Z", polled_at=now, **known)

    monkeypatch.setattr(system_conditions, "delivery_signals", read)
    return known


SILENT = ("system.webhook_silent", "webhook_silent")


async def test_one_late_webhook_is_no_alarm_but_ten_minutes_are(watched, signals):
    now = watched.clock.stamp()
    signals |= {"last_webhook_at": now, "last_upstream_at": now}
    for _ in range(5):
        watched.clock.turn(minutes=1)
        signals |= {"missed": 1, "down_since": signals["last_webhook_at"], "last_upstream_at": watched.clock.stamp()}
        await watched.minutes(5)
        signals |= {"missed": 0, "down_since": None, "last_webhook_at": watched.clock.stamp()}
        await watched.minutes(2)
    assert await watched.notices() == []
    signals |= {"missed": 3, "down_since": signals["last_webhook_at"], "last_upstream_at": watched.clock.stamp()}
    await watched.minutes(30)
    assert await watched.notices() == [SILENT]
    watched.restart()
    await watched.minutes(30)
    assert await watched.open() == ["webhook_silent"]
    signals |= {"missed": 0, "down_since": None, "last_webhook_at": watched.clock.stamp()}
    await watched.minutes(6)
    assert await watched.notices() == [SILENT, ("system.recovered", "webhook_silent")]


async def test_silence_and_lost_webhooks_of_an_outage_of_flexport_are_not_reported_after_it(watched, signals):
    before = watched.clock.stamp()
    signals |= {"last_webhook_at": before, "last_upstream_at": before, "event_rate": EventRate(600.0, 3600.0)}
    watched.clock.turn(minutes=1)
    await watched.sync(shipments=FAILED)
    for _ in range(24):
        watched.clock.turn(hours=1)
        await watched.sync(shipments=FAILED)
    signals |= {"missed": 4, "down_since": before, "last_upstream_at": stamp(parse(before) + timedelta(hours=3))}
    await watched.sync(shipments=COMPLETE)
    await watched.minutes(45)
    assert await watched.notices() == [BEGAN, OVER]
    signals |= {"missed": 5, "last_upstream_at": watched.clock.stamp()}  # an event since then, and no webhook
    await watched.minutes(15)
    assert await watched.notices() == [BEGAN, OVER, SILENT]


async def test_the_silence_of_an_outage_of_flexport_is_not_that_of_its_webhooks(watched, signals):
    before = watched.clock.stamp()
    signals |= {"last_webhook_at": before, "last_upstream_at": before, "event_rate": EventRate(600.0, 3600.0)}
    await watched.sync(shipments=FAILED)
    watched.clock.turn(hours=24)
    await watched.sync(shipments=COMPLETE)
    await watched.minutes(55)
    assert await watched.notices() == [BEGAN, OVER]
    await watched.minutes(30)  # longer than any silence so far
    assert await watched.notices() == [BEGAN, OVER, SILENT]


async def test_webhooks_that_were_lost_while_the_daemon_was_off_are_not_its_path(watched, signals):
    signals |= {"missed": 4, "down_since": "2026-03-03T00:00:00.000Z", "last_upstream_at": "2026-03-04T03:00:00.000Z"}
    await watched.minutes(30)
    assert await watched.notices() == []


async def test_webhooks_that_were_lost_while_the_machine_was_suspended_are_not_its_path(watched, signals):
    before = watched.clock.stamp()
    signals |= {"last_webhook_at": before, "last_upstream_at": before, "event_rate": EventRate(600.0, 3600.0)}
    await watched.minutes(5)
    watched.clock.turn(hours=20)
    await watched.minutes(2)
    signals |= {"missed": 4, "down_since": before, "last_upstream_at": stamp(parse(before) + timedelta(hours=10))}
    await watched.minutes(30)
    assert await watched.notices() == []
    signals |= {"missed": 5, "last_upstream_at": watched.clock.stamp()}  # an event since then, and no webhook
    await watched.minutes(15)
    assert await watched.notices() == [SILENT]


@pytest.mark.parametrize(
    ("free", "total", "is_low"),
    [
        (4.9 * GB, 1000 * GB, True), (5.1 * GB, 1000 * GB, False),  # of a large disk, 5 GB
        (0.9 * GB, 20 * GB, True), (1.1 * GB, 20 * GB, False),  # 5 %
        (0.4 * GB, 4 * GB, True), (0.6 * GB, 4 * GB, False),  # 500 MB
        (0.1 * GB, 0.5 * GB, True), (0.2 * GB, 0.5 * GB, False),  # of a small one, a quarter
    ],
)  # fmt: skip
def test_low_disk_space_depends_on_the_size_of_the_disk(free, total, is_low):
    assert disk_low(int(free), int(total), is_open=False).is_present is is_low


async def test_lists_are_complete_after_a_full_sync_that_began_since(watched):
    complete = lambda at: watched.db.read(lambda tx: lists_complete_since(tx, at))  # noqa: E731
    first = watched.clock.stamp()
    assert await complete(first)  # nothing is read: there is nothing to wait for
    await watched.sync(shipments=COMPLETE)
    watched.clock.turn(minutes=1)
    later = watched.clock.stamp()
    assert (await complete(first), await complete(later)) == (True, False)
    await watched.sync("incremental", shipments=COMPLETE)
    await watched.sync(shipments=FAILED)
    assert not await complete(later)
    await watched.sync(shipments=COMPLETE, contacts=FAILED)
    assert await complete(later)


async def test_an_outage_that_began_by_a_clock_that_was_ahead_ends_when_it_is_over(watched):
    watched.clock.turn(days=2)
    await watched.sync(shipments=FAILED)
    watched.clock.turn(days=-2)
    await watched.monitor.clock_was_set_back()
    await watched.sync("incremental", shipments=COMPLETE)
    await watched.minutes(6)
    assert (await watched.notices(), await watched.open()) == ([BEGAN, OVER], [])
    await watched.sync(shipments=COMPLETE)
    assert not await watched.holds()


async def test_an_outage_that_ended_by_a_clock_that_was_ahead_holds_nothing_once_it_is_set_right(watched):
    await watched.sync(shipments=FAILED)
    watched.clock.turn(days=2)
    await watched.sync("incremental", shipments=COMPLETE)
    await watched.minutes(6)
    assert await watched.notices() == [BEGAN, OVER]
    watched.clock.turn(days=-2)
    await watched.monitor.clock_was_set_back()
    assert await watched.holds()
    watched.clock.turn(minutes=1)
    await watched.sync(shipments=COMPLETE)
    assert not await watched.holds()


async def test_webhooks_are_watched_after_a_start_by_a_clock_that_was_ahead(watched, signals):
    watched.clock.turn(days=2)
    watched.restart()
    watched.clock.turn(days=-2)
    await watched.monitor.clock_was_set_back()
    began = watched.clock.stamp()
    watched.clock.turn(minutes=1)
    signals |= {"missed": 3, "last_webhook_at": began, "down_since": began, "last_upstream_at": watched.clock.stamp()}
    await watched.minutes(12)
    assert await watched.notices() == [SILENT]


async def test_the_store_keeps_when_the_last_of_some_kinds_ended(watched):
    assert await watched.db.read(lambda tx: tx.conditions.recovered_at(KINDS)) is None
    await watched.sync(shipments=FAILED)
    watched.clock.turn(hours=1)
    over = watched.clock.stamp()
    await watched.sync(shipments=COMPLETE)
    await watched.minutes(6)
    assert await watched.db.read(lambda tx: tx.conditions.recovered_at(["sync_failed", "disk_low"])) == over
    assert await watched.db.read(lambda tx: tx.conditions.recovered_at(["disk_low"])) is None
