"""Sending one delivery: retries, channels that fail, recover, are gone or switched off, and what a crash leaves."""

import asyncio
import json
from datetime import timedelta

import msgspec
import pytest

from flexportd.clock import stamp
from flexportd.notify.channels.channel import Channel, ChannelContext, ChannelError, SendReceipt
from flexportd.notify.content import Content
from flexportd.notify.deliveries import OFF_AFTER, DeliveryHandler
from flexportd.outcome import Applied, Dead, Ignored, Snooze
from flexportd.storage.database import Database
from flexportd.storage.repositories.deliveries import NewDelivery
from flexportd.storage.repositories.items import NewItem
from tests.integration.test_exceptions import StoodClock


class Scripted(Channel):
    """Answers as the test says: an error that it raises, or a receipt."""

    destination = "nowhere"

    def __init__(self, clock, name="erp"):
        super().__init__(name, None, ChannelContext(clock))
        self.answers, self.sent = [], []

    async def send(self, message):
        self.sent.append(message)
        answer = self.answers.pop(0) if self.answers else SendReceipt("r1")
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Desk:
    def __init__(self, db):
        self.db, self.clock = db, StoodClock()
        self.channel = Scripted(self.clock)
        self.handler = DeliveryHandler(db, self.clock, {"erp": self.channel})

    async def add(self, key="k1", **fields):
        content = msgspec.json.encode(Content("Late")).decode()
        new = NewDelivery(
            key=key, channel="erp", channel_type="webhook", kind="message", rules=(), title="Late", content=content,
            **fields,
        )  # fmt: skip
        at = stamp(self.clock.now())
        number = await self.db.write(lambda tx: tx.deliveries.add(new, at))
        item = NewItem("delivery", 2, payload=json.dumps({"delivery": number}))
        await self.db.write(lambda tx: tx.items.add(at, [item]))
        return number

    async def handle(self, number):
        sql = "SELECT id FROM items WHERE payload LIKE ?"
        row = await self.db.read(lambda tx: tx.raw.execute(sql, (f'%"delivery": {number}}}%',)).fetchone())
        item = await self.db.read(lambda tx: tx.items.by_id(row[0]))
        outcome = await self.handler.handle(item)
        if isinstance(outcome, Dead):
            at = stamp(self.clock.now())
            await self.db.write(lambda tx: self.handler.on_dead(tx, item, outcome.error, at))
        return outcome

    async def delivery(self, number):
        return await self.db.read(lambda tx: tx.deliveries.by_id(number))

    async def state(self):
        return await self.db.read(lambda tx: tx.deliveries.channel_state("erp"))

    async def notices(self):
        rows = await self.db.read(
            lambda tx: tx.raw.execute("SELECT notices FROM journal WHERE notices IS NOT NULL").fetchall()
        )
        return [(one["topic"], one.get("state")) for (text,) in rows for one in json.loads(text)]


@pytest.fixture
async def desk(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        yield Desk(db)


async def test_what_is_accepted_is_sent_once_and_an_item_that_runs_again_sends_nothing(desk):
    number = await desk.add()
    assert isinstance(await desk.handle(number), Applied)
    assert isinstance(await desk.handle(number), Ignored)
    assert len(desk.channel.sent) == 1
    assert (await desk.delivery(number)).remote_id == "r1"


async def test_an_attempt_that_a_crash_interrupted_is_marked_when_it_is_repeated(desk):
    number = await desk.add()
    await desk.db.write(lambda tx: tx.deliveries.begin(number, stamp(desk.clock.now())))  # and the process died
    await desk.handle(number)
    assert desk.channel.sent[0].is_repeated
    assert (await desk.delivery(number)).is_repeated


async def test_a_failure_is_tried_again_later_with_its_progress_and_the_same_key(desk):
    number = await desk.add()
    desk.channel.answers = [ChannelError("busy", progress={"accepted": ["a"]}), SendReceipt("r2", "b was refused")]
    outcome = await desk.handle(number)
    assert (outcome.seconds, outcome.reason) == (5.0, "busy")
    assert isinstance(await desk.handle(number), Applied)
    first, second = desk.channel.sent
    assert first.key == second.key == "k1"
    assert (second.progress, second.is_repeated) == ({"accepted": ["a"]}, False)
    assert (await desk.delivery(number)).note == "b was refused"


async def test_retry_after_is_a_minimum_and_holds_the_other_messages_of_the_channel(desk):
    first, second = await desk.add("k1"), await desk.add("k2")
    desk.channel.answers = [ChannelError("slow down", retry_after=300)]
    assert (await desk.handle(first)).seconds == 300
    assert 0 < (await desk.handle(second)).seconds <= 300
    assert len(desk.channel.sent) == 1


async def test_after_three_failures_a_channel_is_failing_and_a_success_ends_it_each_with_one_notice(desk):
    number = await desk.add()
    desk.channel.answers = [ChannelError("down")] * 5
    for _ in range(5):
        assert isinstance(await desk.handle(number), Snooze)
        desk.clock.turn(hours=1)
    assert ((await desk.state()).state, (await desk.state()).failures) == ("failing", 5)
    await desk.handle(number)
    assert (await desk.state()).state == "working"
    assert await desk.notices() == [("system.channel_failed", "failing"), ("system.recovered", None)]


async def test_a_message_that_is_refused_says_nothing_about_its_channel(desk):
    number = await desk.add()
    desk.channel.answers = [ChannelError("too long", permanent=True)]
    assert await desk.handle(number) == Dead("too long")
    assert (await desk.delivery(number)).state == "failed"
    assert ((await desk.state()).state, await desk.notices()) == ("working", [])


async def test_a_channel_that_is_gone_is_switched_off_at_once_with_one_notice(desk):
    first, second = await desk.add("k1"), await desk.add("k2")
    desk.channel.answers = [ChannelError("410 Gone", is_gone=True)]
    assert await desk.handle(first) == Dead("410 Gone")
    assert (await desk.handle(second)).error == "channel erp is switched off: 410 Gone"
    assert len(desk.channel.sent) == 1
    assert await desk.notices() == [("system.channel_failed", "off")]


async def test_an_attempt_that_ends_after_its_channel_was_switched_off_does_not_switch_it_on(desk):
    first, second = await desk.add("k1"), await desk.add("k2")
    for _ in range(3):
        desk.channel.answers = [ChannelError("down")]
        await desk.handle(first)
        desk.clock.turn(hours=1)
    begun, is_off = asyncio.Event(), asyncio.Event()

    async def send(message):
        if message.key == "k2":
            raise ChannelError("410 Gone", is_gone=True)
        begun.set()
        await is_off.wait()
        raise ChannelError("down")

    desk.channel.send = send
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.handle(first))
        await begun.wait()
        await desk.handle(second)
        is_off.set()
    assert (await desk.state()).state == "off"
    assert await desk.notices() == [("system.channel_failed", "failing"), ("system.channel_failed", "off")]


async def test_a_channel_that_fails_for_days_is_switched_off_with_one_notice_more(desk):
    desk.channel.answers = [ChannelError("down")] * 100
    for day in range(OFF_AFTER // timedelta(days=1) + 2):
        number = await desk.add(f"k{day}")
        for _ in range(3):
            await desk.handle(number)
            desk.clock.turn(hours=8)
    assert (await desk.state()).state == "off"
    assert await desk.notices() == [("system.channel_failed", "failing"), ("system.channel_failed", "off")]


async def test_a_message_that_nobody_accepts_for_three_days_has_failed(desk):
    number = await desk.add()
    desk.channel.answers = [ChannelError("busy", is_channel_working=True)] * 100
    outcomes = []
    for _ in range(40):
        outcomes.append(await desk.handle(number))
        desk.clock.turn(hours=2)
    assert isinstance(outcomes[0], Snooze)
    assert Dead("busy") in outcomes
    assert ((await desk.delivery(number)).state, (await desk.state()).state) == ("failed", "working")


async def test_an_error_that_nobody_foresaw_is_a_failure_without_its_text(desk):
    number = await desk.add()
    desk.channel.answers = [RuntimeError("password=hunter2")]
    outcome = await desk.handle(number)
    assert outcome.reason == "unexpected error: RuntimeError"
    assert (await desk.delivery(number)).is_repeated  # it may have arrived


async def test_a_channel_that_is_no_longer_configured_leaves_a_dead_letter(desk):
    number = await desk.add()
    desk.handler.channels = {}
    assert await desk.handle(number) == Dead("channel erp is no longer configured")


async def test_a_message_that_failed_is_not_sent_after_the_one_that_replaces_it(desk):
    fields = {"thread": "vessel:A", "cause": "vessel:A"}
    first = await desk.add("k1", **{**fields, "thread": "shipment:1"})
    second = await desk.add("k2", edits=first, **fields)
    third = await desk.add("k3", edits=second, **fields)
    desk.channel.answers = [ChannelError("busy"), ChannelError("busy"), SendReceipt("r3")]
    for number in (first, second, third, first, second):
        await desk.handle(number)
    assert [message.key for message in desk.channel.sent] == ["k1", "k2", "k3"]
    assert (await desk.delivery(first)).note == "Delivery 3, which replaces it, was sent before"
    assert (await desk.delivery(second)).state == "sent"


async def test_the_first_message_of_a_thread_and_the_edited_one_are_named_to_the_channel(desk):
    first = await desk.add("k1", thread="shipment:1")
    await desk.handle(first)
    desk.channel.answers = [SendReceipt("r2")]
    await desk.handle(await desk.add("k2", thread="shipment:1", edits=first))
    assert (desk.channel.sent[0].root, desk.channel.sent[0].edits) == (None, None)
    assert (desk.channel.sent[1].root, desk.channel.sent[1].edits) == ("r1", "r1")
