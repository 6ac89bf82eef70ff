"""What is sent of what happened: rules, folding, last-told dates, quiet hours, caps and digests, with a clock that stands."""

import asyncio
import dataclasses
import json
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.core.changes.topics import TOPICS
from flexportd.core.outbox.records import notice
from flexportd.notify.channels.channel import ChannelError
from flexportd.notify.composer import Composer
from flexportd.notify.composition import BIG_MOVE, MAX_REPEATS, ChannelInfo, NotifyConfig
from flexportd.notify.content import Content
from flexportd.notify.deliveries import DeliveryHandler
from flexportd.notify.notifier import Notifier, RuleMatcher
from flexportd.notify.rule_template import render_template
from flexportd.notify.rules import compile_rules
from flexportd.outcome import Dead
from flexportd.settings import Settings
from flexportd.settings.defaults import default_rules
from flexportd.storage.database import Database
from flexportd.storage.repositories.conditions import Condition
from flexportd.storage.repositories.deliveries import ChannelState
from flexportd.storage.repositories.exceptions import ExceptionFields
from flexportd.type_lock import decode_as
from tests.integration.test_exceptions import StoodClock
from tests.stored import REGISTRY, new_operation, put, record
from tests.unit.test_delivery_handler import Scripted

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SLIPS = {"name": "ETA slips", "on": "shipment.eta_changed", "when": {"days_later": 2}}
EXCEPTIONS = {"name": "Exceptions", "on": "exception.*"}
ON_BOARD = {"mode": "ocean", "vessel": "EVER GIVEN", "voyage": "012W", "port_of_unloading_code": "USLAX"}

MAIL = {"type": "email", "to": ["a@example.com"], "from": "b@example.com", "smtp_host": "127.0.0.1"}


class Notified:
    """A store with what notifies of it, and one channel for people unless others are named."""

    def __init__(self, db, folder, rules, channels=None, **fields):
        self.db, self.clock, self.folder = db, StoodClock(NOW), folder
        self.channels = channels or {"team": ChannelInfo("team", "email")}
        named = {f"notify.channels.{name}": MAIL for name in self.channels}
        compiled = compile_rules(Settings.for_tests(folder, **{"notify.rules": rules, **named}))
        self.config = NotifyConfig(REGISTRY, compiled, render_template, self.channels, **fields)
        matcher = RuleMatcher(REGISTRY, compiled, self.config.gather_of)
        self.notifier = Notifier(db, self.clock, matcher)
        self.composer = Composer(db, self.clock, self.config)

    def configure(self, *rules):
        """Other rules, as after a reload."""
        named = {f"notify.channels.{name}": MAIL for name in self.channels}
        compiled = compile_rules(Settings.for_tests(self.folder, **{"notify.rules": list(rules), **named}))
        self.config = dataclasses.replace(self.config, rules=compiled)
        self.notifier.matcher = RuleMatcher(REGISTRY, compiled, self.config.gather_of)
        self.composer.reload(self.config)

    async def run_composer(self):
        """Let the composer run until it waits."""
        task = asyncio.create_task(self.composer.run())
        async with asyncio.timeout(20):
            while self.composer.wake.is_set():
                await asyncio.sleep(0)
        task.cancel()

    async def put(self, *records):
        await self.db.write(put(*records))
        await self.notifier.process()

    async def eta(self, number, day, **fields):
        at = None if day is None else f"{day}T12:00:00-07:00"
        await self.put(record("shipments", number, name=f"PO {number}", estimated_arrival=at, **{**ON_BOARD, **fields}))

    async def open(self, kind, number, severity="warning", topic="exception.opened", **evidence):
        """An exception of a shipment that opens; its id."""
        fields = ExceptionFields(kind, severity, "shipments", str(number), number, evidence, None, 0)

        def work(tx):
            row = tx.exceptions.open(fields, stamp(self.clock.now()))
            self._notice(tx, topic, row, fields)
            return row

        row = await self.db.write(work)
        await self.notifier.process()
        return row

    def _notice(self, tx, topic, row, fields):
        names = ("kind", "severity", "resource", "resource_id", "shipment_id", "evidence")
        notice = {name: getattr(fields, name) for name in names}
        tx.journal.add(stamp(self.clock.now()), notices=[{"topic": topic, "exception_id": str(row), **notice}])

    async def close(self, row):
        def work(tx):
            found = tx.exceptions.by_id(row)
            tx.exceptions.close(row, stamp(self.clock.now()))
            self._notice(tx, "exception.closed", row, found)

        await self.db.write(work)
        await self.notifier.process()

    async def system(self, topic, **fields):
        at = stamp(self.clock.now())
        await self.db.write(lambda tx: tx.journal.add(at, notices=[{"topic": topic, "detail": "It fails", **fields}]))
        await self.notifier.process()

    async def operation(self, state, sku, error="Flexport said no", *, needs_decision=False, number=None):
        """An operation that gets a state, with its notice; its id. `number`: one that exists."""
        at = stamp(self.clock.now())

        def work(tx):
            found = number or tx.operations.add(new_operation(title=sku), at)
            if state == "unknown":
                tx.operations.set_state(found, state, at, error, needs_decision=needs_decision)
            else:
                tx.operations.end(found, state, at, error=error)
            one = tx.operations.by_id(found)
            tx.journal.add(at, notices=[notice(one, state, error, needs_decision=needs_decision)])
            return found

        found = await self.db.write(work)
        await self.notifier.process()
        return found

    async def pass_time(self, **by):
        self.clock.turn(**by)
        await self.composer.compose_due()

    async def send(self, number, *, fails=False):
        """Attempt a delivery, which its channel accepts, or refuses for ever."""
        channel = Scripted(self.clock, "team")
        channel.answers = [ChannelError("no", permanent=True)] * fails
        handler, at = DeliveryHandler(self.db, self.clock, {"team": channel}), stamp(self.clock.now())
        items = await self.db.read(lambda tx: tx.items.with_merge_keys("delivery", [str(number)]))
        outcome = await handler.handle(items[str(number)])
        if isinstance(outcome, Dead):
            await self.db.write(lambda tx: handler.on_dead(tx, items[str(number)], outcome.error, at))

    async def told(self):
        return await self.db.read(lambda tx: tx.raw.execute("SELECT day, delivery_id FROM told_dates").fetchall())

    async def deliveries(self):
        def work(tx):
            rows = tx.raw.execute("SELECT id FROM deliveries ORDER BY id").fetchall()
            return [tx.deliveries.by_id(number) for (number,) in rows]

        return await self.db.read(work)

    async def titles(self):
        return [one.title for one in await self.deliveries()]

    async def contents(self):
        return [decode_as(one.content, Content) for one in await self.deliveries()]

    async def rows(self, columns="state, hold, reason"):
        return await self.db.read(
            lambda tx: tx.raw.execute(f"SELECT {columns} FROM notifications ORDER BY id").fetchall()
        )


@pytest.fixture
def notified(tmp_path):
    opened = []

    async def make(*rules, **fields):
        context = Database.open(tmp_path / f"data{len(opened)}")
        opened.append(context)
        db = await context.__aenter__()
        found = Notified(db, tmp_path, list(rules), **fields)
        await found.notifier.process()
        return found

    make.opened = opened
    return make


@pytest.fixture(autouse=True)
async def closed(notified):
    yield
    for context in notified.opened:
        await context.__aexit__(None, None, None)


async def test_the_shipped_rules_report_what_is_critical_when_its_snooze_ends(notified):
    one = await notified(*(rule for rule in default_rules() if "exceptions" in rule["name"]))
    row = await one.open("customs_hold", 1, severity="critical")
    until = stamp(one.clock.now() + timedelta(days=3))
    await one.db.write(lambda tx: tx.exceptions.snooze(row, stamp(NOW), "maya", until, until_worse=False))
    await one.pass_time(minutes=1)
    await one.pass_time(days=3)
    assert await one.titles() == []

    def end(tx):
        tx.exceptions.unsnooze(row)
        one._notice(tx, "exception.snooze_ended", row, tx.exceptions.by_id(row))

    await one.db.write(end)
    await one.notifier.process()
    await one.pass_time(minutes=1)
    assert await one.titles() == ["FLEX-1: Customs hold, still open"]


# --- folding ---


async def test_a_vessel_with_fourteen_shipments_slips_and_one_message_has_fourteen_lines(notified):
    one = await notified(SLIPS, EXCEPTIONS)
    for number in range(1, 15):
        await one.eta(number, "2026-03-20")
    for number in range(1, 15):
        await one.eta(number, "2026-03-25")
        await one.open("eta_slipped", number, estimated_arrival="2026-03-25", first_estimate="2026-03-20", days=5)
    await one.pass_time(seconds=11)
    (content,) = await one.contents()
    assert content.title == "EVER GIVEN 012W · 14 shipments: ETA 5 days later and 1 more"
    assert len(content.sections[0].lines) == 14
    assert {len(line.texts) for line in content.sections[0].lines} == {2}
    assert list(content.rules) == ["ETA slips", "Exceptions"]


async def test_what_joins_an_incident_later_edits_the_message_where_the_channel_can(notified):
    one = await notified(SLIPS, channels={"ops": ChannelInfo("ops", "slack", can_edit=True)})
    for number in (1, 2, 3):
        await one.eta(number, "2026-03-20")
    for number in (1, 2):
        await one.eta(number, "2026-03-25")
    await one.pass_time(seconds=11)
    await one.eta(3, "2026-03-25")
    await one.pass_time(seconds=11)
    first, second = await one.deliveries()
    assert (second.edits, second.cause) == (first.id, first.cause)
    new, before = decode_as(second.content, Content).sections
    assert ([line.shipment_id for line in new.lines], len(before.lines)) == ([3], 2)
    assert second.title == "EVER GIVEN 012W · 3 shipments: ETA 5 days later"


async def test_a_message_is_not_replaced_by_the_text_of_another_template(notified):
    silent = {**EXCEPTIONS, "name": "Silent", "when": {"kind": "silent"}, "template": "{{ lines|length }} silent"}
    others = {**EXCEPTIONS, "when": {"kind": {"not": "silent"}}}
    one = await notified(silent, others, channels={"ops": ChannelInfo("ops", "slack", can_edit=True)})
    for number in (1, 2):
        await one.eta(number, "2026-03-20")
        await one.open("late_arrival", number)
    await one.pass_time(minutes=1)
    for kind, number in (("silent", 1), ("late_arrival", 3), ("silent", 4)):
        await one.eta(number, "2026-03-20")
        await one.open(kind, number)
        await one.pass_time(minutes=1)
    assert [one.edits for one in await one.deliveries()] == [None, None, None, None]
    assert [content.body for content in await one.contents()] == [None, "1 silent", None, "1 silent"]


async def test_where_a_message_cannot_be_edited_what_joins_an_incident_waits_an_hour_and_comes_in_its_thread(notified):
    one = await notified(SLIPS)
    for number in (1, 2, 3):
        await one.eta(number, "2026-03-20")
    for number in (1, 2):
        await one.eta(number, "2026-03-25")
    await one.pass_time(seconds=11)
    await one.eta(3, "2026-03-25")
    await one.pass_time(minutes=5)
    assert len(await one.deliveries()) == 1
    await one.pass_time(hours=1)
    first, second = await one.deliveries()
    assert (second.edits, second.thread) == (None, first.thread)


async def test_a_shipment_with_several_problems_belongs_to_the_incident_of_most_shipments(notified):
    one = await notified(SLIPS, EXCEPTIONS)
    for number in range(1, 5):
        await one.eta(number, "2026-03-20")
    await one.open("customs_hold", 4)
    for number in range(1, 5):
        await one.eta(number, "2026-03-24")
    await one.pass_time(seconds=60)
    (content,) = await one.contents()
    assert content.title.startswith("EVER GIVEN 012W · 4 shipments: ")
    assert sorted(line.label for line in content.sections[0].lines) == [f"FLEX-{n} · PO {n}" for n in range(1, 5)]


async def test_several_exceptions_of_one_shipment_are_one_message(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    await one.open("customs_hold", 1, "critical", entry_number="E-1")
    await one.open("missing_documents", 1, missing=["packing_list"])
    await one.pass_time(seconds=11)
    (content,) = await one.contents()
    assert content.title == "FLEX-1 · PO 1: Customs hold and 1 more"
    assert content.severity == "critical"
    (line,) = content.sections[0].lines
    assert len(line.texts) == 2


async def test_more_than_five_shipments_at_once_are_one_message(notified):
    one = await notified({"name": "Customs", "on": "exception.opened"})
    for number in range(1, 8):
        await one.eta(number, "2026-03-20")
        await one.open("missing_documents", number, missing=["packing_list"])
    await one.pass_time(seconds=70)
    assert await one.titles() == ["7 shipments: Missing documents"]


async def test_more_than_five_incidents_at_once_are_one_message_with_a_line_for_each(notified):
    one = await notified(SLIPS)
    for day in ("2026-03-20", "2026-03-25"):
        for number in range(12):
            await one.eta(1 + number, day, vessel=f"VESSEL {number // 2}")
    await one.pass_time(seconds=70)
    (content,) = await one.contents()
    assert content.title == "12 shipments: ETA 5 days later"
    assert next(line.label for line in content.sections[0].lines) == "VESSEL 0 012W · 2 shipments: ETA 5 days later"
    assert len(content.sections[0].lines) == 6


async def test_a_program_gets_each_message_by_itself_and_at_once(notified):
    one = await notified(SLIPS, channels={"erp": ChannelInfo("erp", "webhook", folds=False)})
    for number in (1, 2):
        await one.eta(number, "2026-03-20")
        await one.eta(number, "2026-03-25")
    await one.pass_time(seconds=0)
    contents = await one.contents()
    assert [content.topic for content in contents] == ["shipment.eta_changed"] * 2
    assert {content.data["days_later"] for content in contents} == {5}


async def test_a_message_waits_while_others_keep_joining_it_but_not_for_ever(notified):
    one = await notified(EXCEPTIONS)
    for number in range(1, 20):
        await one.eta(number, "2026-03-20")
        await one.open("customs_hold", number)
        await one.pass_time(seconds=5)
    first = (await one.contents())[0]
    assert first.title == "USLAX · 12 shipments: Customs hold"


# --- what is no longer true ---


async def test_an_exception_that_closes_before_it_is_sent_is_not_sent_and_its_end_neither(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    row = await one.open("customs_hold", 1)
    await one.close(row)
    await one.pass_time(seconds=11)
    assert await one.deliveries() == []
    assert {state for state, *_ in await one.rows()} == {"dropped"}


async def test_the_end_of_an_exception_is_sent_where_it_was_reported_in_the_same_thread(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    row = await one.open("missing_documents", 1, missing=["packing_list"])
    await one.pass_time(seconds=11)
    await one.close(row)
    await one.pass_time(seconds=11)
    first, second = await one.deliveries()
    assert second.title == "FLEX-1 · PO 1: Missing documents: resolved"
    assert second.thread == first.thread == "shipment:1"


async def test_what_is_acknowledged_or_snoozed_before_it_is_sent_is_not_sent(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    await one.open("customs_hold", 1)
    await one.db.write(
        lambda tx: tx.raw.execute("UPDATE exceptions SET acknowledged_at = opened_at, acknowledged_by = 'Ana'")
    )
    await one.pass_time(seconds=11)
    ((_, _, reason),) = await one.rows()
    assert reason == "it was acknowledged by Ana before it was sent"


# --- dates that were told ---


async def test_what_gets_worse_or_is_no_longer_snoozed_is_reported_at_once(notified):
    one = await notified(EXCEPTIONS)
    row = await one.open("free_time_expiring", 1, severity="notice")
    await one.pass_time(hours=1)
    for topic, severity in (("worsened", "warning"), ("worsened", "critical"), ("snooze_ended", "critical")):

        def worsen(tx, topic=topic, severity=severity):
            found = msgspec.structs.replace(tx.exceptions.by_id(row), severity=severity)
            one._notice(tx, f"exception.{topic}", row, found)

        await one.db.write(worsen)
        await one.notifier.process()
        await one.pass_time(hours=1)
    assert [title.partition(": ")[2] for title in await one.titles()] == [
        "Free time ends soon",
        "Free time ends soon, now warning",
        "Free time ends soon, now critical",
        "Free time ends soon, still open",
    ]


async def test_eleven_small_slips_are_one_message(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    for hours in range(1, 12):
        at = f"{datetime(2026, 3, 20, 12, tzinfo=UTC) + timedelta(hours=5 * hours):%Y-%m-%dT%H:%M:%S}"
        await one.put(record("shipments", 1, name="PO 1", estimated_arrival=f"{at}-07:00", **ON_BOARD))
        await one.pass_time(minutes=30)
    assert await one.titles() == ["FLEX-1 · PO 1: ETA 2 days later"]


async def test_two_slips_of_a_day_are_a_slip_of_two_days(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-21")
    await one.pass_time(hours=1)
    assert await one.deliveries() == []
    await one.eta(1, "2026-03-22")
    await one.pass_time(hours=1)
    assert await one.titles() == ["FLEX-1 · PO 1: ETA 2 days later"]


async def test_slips_that_are_read_together_are_one_slip(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    for day in ("2026-03-21", "2026-03-22"):
        at = f"{day}T12:00:00-07:00"
        await one.db.write(put(record("shipments", 1, name="PO 1", estimated_arrival=at, **ON_BOARD)))
    await one.notifier.process()
    await one.pass_time(minutes=1)
    assert await one.titles() == ["FLEX-1 · PO 1: ETA 2 days later"]


@pytest.mark.parametrize("days", [("2026-03-20",), ("2026-03-20", None, "2026-03-21")])
async def test_a_date_that_was_unknown_at_first_is_compared_from_the_first_known_one_on(notified, days):
    one = await notified(SLIPS)
    await one.eta(1, None)
    for day in days:
        await one.eta(1, day)
    await one.pass_time(minutes=1)
    await one.eta(1, "2026-03-21")
    await one.pass_time(minutes=1)
    assert await one.titles() == []
    await one.eta(1, "2026-03-22")
    await one.pass_time(minutes=1)
    assert await one.titles() == ["FLEX-1 · PO 1: ETA 2 days later"]


async def test_a_first_date_is_told_by_a_rule_for_every_change_and_compared_by_the_others(notified):
    one = await notified({"name": "All", "on": "shipment.eta_changed"}, SLIPS)
    await one.eta(1, None)
    await one.eta(1, "2026-03-20")
    await one.pass_time(minutes=1)
    await one.eta(1, "2026-03-23")
    await one.pass_time(hours=2)
    assert await one.titles() == ["FLEX-1 · PO 1: New ETA", "FLEX-1 · PO 1: ETA 3 days later"]
    assert [json.loads(one.rules) for one in await one.deliveries()] == [["All"], ["All", "ETA slips"]]


async def test_a_date_that_moves_back_before_it_is_told_is_not_told(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-25")
    await one.eta(1, "2026-03-20")
    await one.pass_time(hours=1)
    assert await one.deliveries() == []


async def test_a_date_that_moves_back_after_it_was_told_is_corrected(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-25")
    await one.pass_time(hours=1)
    await one.eta(1, "2026-03-20")
    await one.pass_time(hours=1)
    assert await one.titles() == ["FLEX-1 · PO 1: ETA 5 days later", "FLEX-1 · PO 1: ETA 5 days earlier"]


async def test_a_program_is_told_a_date_once_as_it_is_after_the_quiet_hours(notified):
    channels = {"erp": ChannelInfo("erp", "webhook", folds=False)}
    one = await notified({**SLIPS, "quiet": "22:00-07:00", "timezone": "UTC"}, channels=channels)
    await one.eta(1, "2026-03-20")
    one.clock.turn(hours=11)
    for day in ("2026-03-22", "2026-03-25", "2026-03-24"):
        await one.eta(1, day)
        await one.pass_time(minutes=1)
    await one.pass_time(hours=9)
    ((data, dates),) = [(content.data, content.dates) for content in await one.contents()]
    assert (data["days_later"], data["told"], "new" in data) == (4, "2026-03-20", False)
    assert data["text"] == "Now expected on 24 Mar, 4 days later than 20 Mar"
    assert [day for _, day in dates] == ["2026-03-24"]


async def told_twice(one):
    """Two messages about one date, of which neither is attempted yet."""
    await one.eta(1, "2026-03-20")
    for day in ("2026-03-22", "2026-03-24"):
        await one.eta(1, day)
        await one.pass_time(hours=2)
    assert await one.told() == [("2026-03-24", 2)]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ((), ("2026-03-24", 2)),
        ((1,), ("2026-03-24", 2)),
        ((2,), ("2026-03-22", 1)),
        ((1, 2), ("2026-03-20", None)),
    ],
)
async def test_the_date_last_told_is_that_of_the_last_message_that_was_sent(notified, order, failed, told):
    one = await notified(SLIPS)
    await told_twice(one)
    for number in order:
        await one.send(number, fails=number in failed)
    assert await one.told() == [told]


async def test_a_message_that_is_retried_after_it_failed_tells_its_date(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-22")
    await one.pass_time(minutes=1)
    await one.send(1, fails=True)
    assert await one.told() == [("2026-03-20", None)]
    await one.db.write(lambda tx: tx.deliveries.reopen(1, stamp(one.clock.now())))
    await one.send(1)
    assert await one.told() == [("2026-03-22", 1)]
    await one.eta(1, "2026-03-20")
    await one.pass_time(hours=2)
    assert (await one.titles())[1:] == ["FLEX-1 · PO 1: ETA 2 days earlier"]


async def test_what_a_channel_did_not_accept_was_not_reported(notified):
    one = await notified(EXCEPTIONS)
    row = await one.open("customs_hold", 1)
    await one.pass_time(minutes=1)
    await one.send(1, fails=True)
    await one.close(row)
    await one.pass_time(hours=2)
    assert await one.rows() == [("sent", "gather", None), ("dropped", "gather", "it was not reported open")]
    for number in range(3):
        row = await one.open("customs_hold", 1)
        await one.pass_time(minutes=1)
        await one.send(number + 2, fails=True)
        await one.close(row)
        await one.pass_time(hours=2)
    assert len(await one.titles()) == 4


async def test_two_hundred_changes_of_a_date_are_a_handful_of_messages(notified):
    one = await notified(SLIPS)
    for change in range(225):
        await one.eta(1, ("2026-03-20", "2026-03-23", "2026-03-21", "2026-03-26")[change % 4])
        await one.pass_time(hours=3)
    assert 1 <= len(await one.deliveries()) <= 10


async def test_two_hundred_big_changes_in_a_day_are_a_handful_of_messages_too(notified):
    one = await notified(SLIPS)
    for change in range(225):
        await one.eta(1, ("2026-03-20", "2026-04-20", "2026-03-28", "2026-05-01")[change % 4])
        await one.pass_time(minutes=6)
    assert 1 <= len(await one.deliveries()) <= 5


async def test_each_channel_is_told_by_itself(notified):
    both = {name: ChannelInfo(name, "email") for name in ("team", "boss")}
    strict = {**SLIPS, "name": "For the boss", "when": {"days_later": 6}, "channels": ["boss"]}
    one = await notified({**SLIPS, "channels": ["team"]}, strict, channels=both)
    await one.eta(1, "2026-03-20")
    for day in ("2026-03-23", "2026-03-26"):
        await one.eta(1, day)
        await one.pass_time(hours=1)
    found = [(delivery.channel, delivery.title) for delivery in await one.deliveries()]
    assert found == [
        ("team", "FLEX-1 · PO 1: ETA 3 days later"),
        ("boss", "FLEX-1 · PO 1: ETA 6 days later"),
        ("team", "FLEX-1 · PO 1: ETA 3 days later"),
    ]


@hypothesis_settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), min_size=1, max_size=12))
async def test_what_a_channel_was_told_is_near_the_truth_or_a_message_is_due(tmp_path_factory, moves):
    folder = tmp_path_factory.mktemp("told")
    async with Database.open(folder / "data") as db:
        one = Notified(db, folder, [SLIPS])
        await one.notifier.process()
        start = date(2026, 3, 20)
        await one.eta(1, start)
        for days, hours in moves:
            day = start + timedelta(days=days)
            await one.eta(1, day)
            await one.pass_time(hours=hours)
            key = ("team", "shipments", "1", "estimated_arrival")
            found = (await db.read(lambda tx: tx.notifications.told_dates([key]))).get(key)  # noqa: B023
            told = start if found is None else date.fromisoformat(found.day)
            is_due = any(state == "waiting" for state, *_ in await one.rows())
            later = (day - told).days
            assert is_due or later < 2, (told, day)
            assert is_due or later > -2 or found.delivery_id is None, (told, day)
            if len(await one.deliveries()) < 2 * MAX_REPEATS:
                assert not (is_due and later >= BIG_MOVE and hours), (told, day)


# --- when ---


async def test_quiet_hours_hold_messages_and_end_with_one_summary(notified):
    one = await notified({**EXCEPTIONS, "quiet": "22:00-07:00", "timezone": "Europe/Berlin"})
    await one.pass_time(hours=10)  # 23:00 in Berlin
    for number in (1, 2, 3):
        await one.eta(number, "2026-03-20")
        await one.open("customs_hold", number, "critical")
    await one.pass_time(hours=7)
    assert await one.deliveries() == []
    await one.pass_time(hours=1)
    (delivery,) = await one.deliveries()
    assert (delivery.kind, delivery.title) == ("summary", "Summary: 3 updates held back during quiet hours")


async def test_what_another_rule_reported_during_quiet_hours_is_not_reported_again(notified):
    quiet = {**EXCEPTIONS, "quiet": "22:00-07:00", "timezone": "UTC"}
    critical = {"name": "Critical", "on": "exception.*", "when": {"severity": "critical"}}
    channels = {"team": ChannelInfo("team", "email"), "erp": ChannelInfo("erp", "webhook", folds=False)}
    one = await notified(quiet, critical, channels=channels)
    one.clock.turn(hours=11)
    await one.open("customs_hold", 1, severity="critical")
    await one.open("missing_documents", 2)
    await one.pass_time(minutes=1)
    await one.pass_time(hours=9)
    found = [(sent.channel, json.loads(sent.rules), sent.title) for sent in await one.deliveries()]
    assert found == [
        ("erp", ["Critical"], "FLEX-1: Customs hold"),
        ("team", ["Critical"], "FLEX-1: Customs hold"),
        ("erp", ["Exceptions"], "FLEX-1: Customs hold"),
        ("erp", ["Exceptions"], "FLEX-2: Missing documents"),
        ("team", ["Exceptions"], "Summary: 1 update held back during quiet hours"),
    ]
    assert [row for row in await one.rows("channel, reason") if row[1]] == [
        ("team", "rule Critical reported it during the quiet hours")
    ]


async def test_what_is_due_does_not_wait_for_messages_that_still_gather(notified):
    quiet = {**EXCEPTIONS, "quiet": "22:00-07:00", "timezone": "UTC"}
    one = await notified(quiet, SLIPS)
    await one.eta(1, "2026-03-20")
    one.clock.turn(hours=11)
    await one.open("customs_hold", 1)
    await one.pass_time(hours=7, minutes=59, seconds=55)
    await one.eta(1, "2026-03-28")
    await one.pass_time(seconds=6)
    assert await one.titles() == ["Summary: 1 update held back during quiet hours"]
    await one.pass_time(seconds=10)
    assert (await one.titles())[1:] == ["FLEX-1 · PO 1: ETA 8 days later"]


async def test_a_rule_sends_as_many_an_hour_as_it_may_and_then_a_summary(notified):
    one = await notified({**EXCEPTIONS, "max_per_hour": 2})
    for number in range(1, 6):
        await one.eta(number, "2026-03-20")
        await one.open("missing_documents", number, missing=["packing_list"])
        await one.pass_time(minutes=2)
    assert [delivery.kind for delivery in await one.deliveries()] == ["message", "message"]
    await one.pass_time(hours=1)
    summary = (await one.deliveries())[2]
    assert (summary.kind, summary.notifications) == ("summary", 3)
    assert "held back by the limit" in summary.title


async def test_the_limit_of_a_rule_holds_back_nothing_of_another_one(notified):
    limited = {**EXCEPTIONS, "max_per_hour": 1}
    critical = {"name": "Critical", "on": "exception.*", "when": {"severity": "critical"}}
    one = await notified(limited, critical, SLIPS)
    await one.eta(1, "2026-03-20")
    await one.open("customs_hold", 1)
    await one.pass_time(minutes=1)
    await one.open("missing_documents", 2)
    await one.open("customs_hold", 3, severity="critical")
    await one.pass_time(minutes=1)
    assert await one.titles() == ["FLEX-1 · PO 1: Customs hold", "FLEX-3: Customs hold"]
    await one.eta(1, "2026-03-28")
    await one.pass_time(hours=1, minutes=2)
    assert sorted((await one.titles())[2:]) == [
        "FLEX-1 · PO 1: ETA 8 days later",
        "Summary: 1 update held back by the limit of messages per hour",
    ]


async def test_a_digest_says_what_is_wrong_first_then_what_changed_and_what_arrives(notified):
    rule = {**EXCEPTIONS, "on": ["exception.*", "shipment.arrived"], "digest": "daily 07:30"}
    one = await notified(rule)
    await one.pass_time(seconds=0)
    await one.eta(1, "2026-03-13")
    await one.open("customs_hold", 1, "critical", entry_number="E-1")
    await one.eta(2, "2026-03-12", actual_arrival="2026-03-11T12:00:00-07:00")
    await one.eta(2, "2026-03-12")
    await one.eta(2, "2026-03-12", actual_arrival="2026-03-11T12:00:00-07:00")
    await one.pass_time(hours=12)
    assert await one.deliveries() == []
    await one.pass_time(hours=8)
    (delivery,) = await one.deliveries()
    content = decode_as(delivery.content, Content)
    assert [section.title for section in content.sections] == ["Wrong now", "Changed", "Arriving within 7 days"]
    assert delivery.title == "Daily digest, 11 Mar: 1 open, 1 changed, 1 arriving"
    await one.pass_time(hours=24)
    assert len(await one.deliveries()) == 2  # the hold is still open


async def test_a_digest_has_the_template_of_its_rule_also_if_nothing_is_new(notified):
    daily = {"name": "Daily", "on": "exception.*", "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(
        {**daily, "template": "{% for line in lines %}{{ line.label }}: {{ exception.kind }}{% endfor %}"}
    )
    await one.pass_time(minutes=1)
    await one.open("customs_hold", 1)
    for _ in range(2):
        await one.pass_time(hours=24)
    assert [(content.body, content.notes) for content in await one.contents()] == [("FLEX-1: customs_hold", ())] * 2


async def test_a_digest_has_no_exception_that_an_outage_holds_back(notified):
    daily = {"name": "Daily", "on": "exception.*", "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(daily)
    await one.open("late_departure", 1)
    await one.pass_time(minutes=1)
    await one.pass_time(hours=20)
    await one.db.write(lambda tx: tx.conditions.begin(Condition("sync_failed", stamp(NOW), "Flexport is down")))
    await one.open("silent", 2)
    await one.open("customs_hold", 3)
    await one.pass_time(hours=24)
    sections = [content.sections for content in await one.contents()]
    labels = [[line.label for line in section.lines] for one in sections for section in one]
    assert labels == [["FLEX-1"], ["FLEX-1", "FLEX-3"]]


async def test_a_digest_is_not_sent_before_the_lists_are_complete(notified):
    daily = {"name": "Daily", "on": "exception.*", "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(daily)
    await one.open("customs_hold", 1)
    await one.pass_time(minutes=1)
    await one.db.write(lambda tx: Notifier.begin_again(tx, stamp(one.clock.now())))
    await one.pass_time(hours=20)
    assert await one.titles() == []
    await Notifier(one.db, one.clock, one.notifier.matcher).process()
    await one.pass_time(hours=24)
    assert await one.titles() == ["Daily digest, 12 Mar: 1 open"]


async def test_a_digest_without_anything_to_say_is_not_sent(notified):
    one = await notified({**EXCEPTIONS, "digest": "daily 07:30"})
    for _ in range(3):
        await one.pass_time(hours=24)
    assert await one.deliveries() == []


# --- faults of our own ---


async def test_an_outage_of_a_day_is_one_alarm_and_one_all_clear_and_no_alarm_about_shipments(notified):
    one = await notified(EXCEPTIONS, {"name": "System", "on": "system.*"})
    for number in range(1, 9):
        await one.eta(number, "2026-03-20")
    await one.db.write(lambda tx: tx.conditions.begin(Condition("sync_failed", stamp(NOW), "Flexport is down")))
    await one.system("system.sync_failed", kind="sync_failed")
    rows = [await one.open("late_departure", number, "critical") for number in range(1, 9)]
    for _ in range(24):
        await one.pass_time(hours=1)
    assert await one.titles() == ["flexportd: Syncs with Flexport fail"]
    at = stamp(one.clock.now())
    await one.db.write(lambda tx: tx.conditions.end("sync_failed", at))
    await one.system("system.recovered", kind="sync_failed", detail="Data is read from Flexport again")
    for row in rows:
        await one.close(row)  # the departures were reported in the meantime
    await one.pass_time(hours=2)
    assert await one.titles() == [
        "flexportd: Syncs with Flexport fail",
        "flexportd: Resolved: syncs with Flexport fail",
    ]


async def test_each_system_message_gives_its_detail(notified):
    one = await notified({"name": "System", "on": "system.*"})
    topics = [topic.name for topic in TOPICS if topic.name.startswith("system.")]
    for number, topic in enumerate(topics):
        await one.system(
            topic, kind=topic.partition(".")[2], detail=f"Detail {number}", dead_letter_id="1", channel="erp"
        )
    await one.db.write(lambda tx: tx.deliveries.save_channel_state(ChannelState("erp", "failing")))
    await one.pass_time(minutes=1)
    lines = [line for content in await one.contents() for section in content.sections for line in section.lines]
    assert {text for line in lines for text in line.texts} == {f"Detail {number}" for number in range(len(topics))}


async def test_a_failing_channel_is_reported_on_the_others_only(notified):
    both = {name: ChannelInfo(name, "email") for name in ("team", "ops")}
    one = await notified({"name": "System", "on": "system.*"}, channels=both)
    await one.db.write(lambda tx: tx.deliveries.save_channel_state(ChannelState("team", "failing", 3)))
    await one.system("system.channel_failed", kind="channel_failed", channel="team")
    await one.pass_time(seconds=11)
    assert [delivery.channel for delivery in await one.deliveries()] == ["ops"]


async def test_dead_letters_are_one_message_an_hour(notified):
    one = await notified({"name": "System", "on": "system.*"})
    for number in range(90):
        await one.system("system.dead_letter", kind="event", dead_letter_id=str(number))
        await one.pass_time(minutes=1)
    assert 2 <= len(await one.deliveries()) <= 3
    assert {state for state, *_ in await one.rows()} <= {"sent", "waiting"}


async def test_operations_are_reported_with_a_link_many_as_one_message_and_not_what_is_no_longer_so(notified):
    one = await notified(*(rule for rule in default_rules() if rule["name"] in ("Unknown writes", "Failed writes")))
    await one.operation("unknown", "SKU-1")  # flexportd still looks it up
    decided = await one.operation("unknown", "SKU-2", needs_decision=True)
    number = await one.operation("unknown", "SKU-3", "No answer", needs_decision=True)
    await one.operation("confirmed", "SKU-2", number=decided)
    for sku in range(10, 18):
        await one.operation("failed", f"SKU-{sku}")
    await one.pass_time(minutes=2)
    unknown, failed = await one.contents()
    assert unknown.title == "Create product SKU-3: Outcome unknown"
    assert (unknown.severity, unknown.path) == ("critical", f"/operations/{number}")
    (line,) = unknown.sections[0].lines
    assert list(line.texts) == ["It is unknown whether Flexport made it; a person must decide: No answer"]
    assert (failed.title, failed.severity, failed.path) == ("8 operations: Failed", "warning", "/operations")
    assert [line.label for line in failed.sections[0].lines] == [f"Create product SKU-{sku}" for sku in range(10, 18)]
    assert ("dropped", "the operation is confirmed") in await one.rows("state, reason")
    for _ in range(4):  # each failure is news
        await one.operation("failed", "SKU-10")
        await one.pass_time(minutes=2)
    assert len(await one.deliveries()) == 6


# --- templates ---


async def test_a_template_makes_the_text_and_one_that_fails_leaves_the_standard_text_and_says_so(notified):
    good = {
        **SLIPS,
        "template": "{% for line in lines %}{{ line.label }}: late{% endfor %}",
        "subject": "Slip: {{ title }}",
    }
    bad = {**EXCEPTIONS, "template": "{{ lines[99].label }}"}
    one = await notified(good, bad)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-25")
    await one.open("missing_documents", 1, missing=["packing_list"])
    await one.pass_time(seconds=11)
    by_rule = {content.rules[0]: content for content in await one.contents()}
    assert by_rule["ETA slips"].title == "Slip: FLEX-1 · PO 1: ETA 5 days later"
    assert by_rule["ETA slips"].body == "FLEX-1 · PO 1: late"
    failed = by_rule["Exceptions"]
    assert failed.body is None
    assert failed.notes[0].startswith("The template of rule Exceptions failed, so this is the standard text: ")


@pytest.mark.parametrize("names", [("Template", "Plain"), ("Plain", "Template")])
async def test_a_template_makes_the_text_also_where_a_rule_without_one_matches(notified, names):
    template = {"Template": {"template": "{{ shipment.name }}: {{ exception.kind }}"}, "Plain": {}}
    one = await notified(*({**EXCEPTIONS, "name": name, **template[name]} for name in names))
    await one.eta(1, "2026-03-20")
    await one.open("customs_hold", 1)
    await one.pass_time(minutes=1)
    assert [(content.body, content.notes) for content in await one.contents()] == [("PO 1: customs_hold", ())]


@pytest.mark.parametrize("names", [("Broken", "Plain"), ("Plain", "Broken")])
async def test_the_note_names_the_rule_whose_template_failed(notified, names):
    template = {"Broken": {"template": "{{ shipment.name / 2 }}"}, "Plain": {}}
    one = await notified(*({**EXCEPTIONS, "name": name, **template[name]} for name in names))
    await one.eta(1, "2026-03-20")
    await one.open("customs_hold", 1)
    await one.pass_time(minutes=1)
    ((note,),) = [content.notes for content in await one.contents()]
    assert note.startswith("The template of rule Broken failed")


async def test_a_summary_has_no_template_of_another_rule(notified):
    quiet = {"quiet": "22:00-07:00", "timezone": "UTC"}
    customs = {
        **EXCEPTIONS,
        "name": "Customs",
        "when": {"kind": "customs_hold"},
        "template": "{{ shipment.name }}",
        **quiet,
    }
    others = {**EXCEPTIONS, "name": "Others", "when": {"kind": {"not": "customs_hold"}}, **quiet}
    one = await notified(customs, others)
    await one.eta(1, "2026-03-20")
    one.clock.turn(hours=11)
    await one.open("customs_hold", 1)
    await one.open("missing_documents", 1)
    await one.pass_time(hours=9)
    contents = await one.contents()
    assert [(content.rules, content.body) for content in contents] == [(["Customs"], "PO 1"), (["Others"], None)]
    assert contents[1].sections[0].lines[0].texts


async def test_occurrences_that_are_read_again_are_notified_once(notified):
    one = await notified(SLIPS)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-25")
    await one.db.write(
        lambda tx: tx.raw.execute("UPDATE meta SET value = json_set(value, '$.journal', 0) WHERE name = 'notifier'")
    )
    one.notifier.reset()
    await one.notifier.process()
    assert len(await one.rows()) == 1
    assert json.loads((await one.rows("message"))[0][0])["days_later"] == 5


async def test_without_webhooks_exceptions_are_held_until_the_lists_were_read_again(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    await one.db.write(lambda tx: tx.conditions.begin(Condition("webhook_silent", stamp(NOW), "No webhooks")))
    run = await one.db.write(lambda tx: tx.sync.begin("full", "schedule", "2026-03-09T00:00:00.000Z", ["shipments"]))
    await one.db.write(lambda tx: tx.sync.end_run(run, "complete", "2026-03-09T00:01:00.000Z", ""))
    await one.open("late_departure", 1, "critical")
    await one.pass_time(hours=2)
    assert await one.deliveries() == []
    at = stamp(one.clock.now())
    run = await one.db.write(lambda tx: tx.sync.begin("full", "schedule", at, ["shipments"]))
    await one.db.write(lambda tx: tx.sync.end_run(run, "complete", at, ""))
    await one.pass_time(minutes=2)
    assert await one.titles() == ["FLEX-1 · PO 1: Late departure"]


async def test_what_is_held_by_an_outage_is_sent_after_three_days_in_any_case(notified):
    one = await notified(EXCEPTIONS)
    await one.eta(1, "2026-03-20")
    await one.db.write(lambda tx: tx.conditions.begin(Condition("sync_failed", stamp(NOW), "The key was revoked")))
    await one.open("late_departure", 1, "critical")
    await one.pass_time(days=2)
    assert await one.deliveries() == []
    await one.pass_time(days=2)
    assert len(await one.deliveries()) == 1


async def test_shipments_that_share_a_cause_are_one_line_of_a_digest(notified):
    one = await notified({**EXCEPTIONS, "digest": "daily 07:30"})
    await one.pass_time(seconds=0)
    for number in range(1, 15):
        await one.eta(number, "2026-03-25")
        await one.open("eta_slipped", number, estimated_arrival="2026-03-25", first_estimate="2026-03-20", days=5)
    await one.eta(15, "2026-03-25", vessel="MAERSK ONE")
    await one.open("eta_slipped", 15, estimated_arrival="2026-03-25", first_estimate="2026-03-20", days=5)
    await one.pass_time(hours=20)
    (content,) = await one.contents()
    (wrong,) = content.sections
    assert [line.label for line in wrong.lines] == ["EVER GIVEN 012W · 14 shipments: ETA slipped", "FLEX-15 · PO 15"]
    assert content.title == "Daily digest, 11 Mar: 15 open"


async def test_a_digest_rule_whose_name_changes_only_by_case_keeps_what_waits_for_it(notified):
    daily = {"name": "Daily", "on": "shipment.eta_changed", "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(daily)
    await one.eta(1, "2026-03-20")
    await one.eta(1, "2026-03-25")
    await one.pass_time(seconds=0)
    due = await one.db.read(lambda tx: tx.notifications.digest_due_at("Daily", "team"))
    one.configure({**daily, "name": "daily"})
    await one.run_composer()
    assert await one.titles() == []
    assert await one.db.read(lambda tx: tx.notifications.digest_due_at("daily", "team")) == due
    await one.pass_time(hours=20)
    assert await one.titles() == ["Daily digest, 11 Mar: 1 changed"]


async def test_an_invoice_that_is_overdue_by_now_is_one_line_of_a_digest(notified):
    weekly = {"name": "Invoices", "on": ["invoice.due", "invoice.overdue"], "digest": "weekly mon 07:30"}
    one = await notified(weekly)
    await one.put(record("invoices", 7, name="INV-7", due_date="2026-03-12", status="outstanding"))
    for topic in ("invoice.due", "invoice.overdue"):
        fields = {"resource": "invoices", "resource_id": "7", "evidence": {"name": "INV-7", "due_date": "2026-03-12"}}
        await one.system(topic, **fields)
    await one.pass_time(seconds=0)
    await one.pass_time(days=7)
    (content,) = await one.contents()
    (line,) = (line for section in content.sections for line in section.lines)
    assert list(line.texts) == ["Invoice INV-7 was due on 12 Mar and is not paid"]


async def test_a_date_that_is_only_counted_was_not_told(notified):
    one = await notified(SLIPS)
    for number in range(1, 103):
        await one.eta(number, "2026-03-20")
    for number in range(1, 103):
        await one.eta(number, "2026-03-25")
    await one.pass_time(minutes=1)
    (content,) = await one.contents()
    shown = {line.shipment_id for section in content.sections for line in section.lines}
    (hidden, _) = sorted(set(range(1, 103)) - shown)
    await one.send(1)
    await one.pass_time(days=3)
    await one.eta(min(shown), "2026-03-26")
    await one.eta(hidden, "2026-03-26")  # a day later than 25 March, but that was not told
    await one.pass_time(minutes=1)
    assert len(await one.deliveries()) == 2
    (line,) = (await one.contents())[1].sections[0].lines
    assert line.shipment_id == hidden
    assert "6 days later than 20 Mar" in line.texts[0]


async def test_a_date_of_a_shipment_that_a_digest_only_counts_was_not_told(notified):
    daily = {**SLIPS, "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(daily)
    await one.pass_time(seconds=0)
    for number in range(1, 25):
        await one.eta(number, "2026-03-20")
    for number in range(1, 25):
        await one.eta(number, "2026-03-25")
    await one.pass_time(hours=20)
    (content,) = await one.contents()
    assert content.sections[0].lines[0].texts[0].endswith("and 4 more")
    assert len([day for day, delivery in await one.told() if delivery is not None]) == 20


async def test_a_digest_rule_that_is_switched_on_again_waits_for_its_time(notified):
    daily = {"name": "Daily", "on": "exception.*", "digest": "daily 07:30", "timezone": "UTC"}
    one = await notified(daily)
    await one.pass_time(seconds=0)
    await one.open("customs_hold", 1)
    one.configure({**daily, "enabled": False})
    await one.run_composer()
    await one.pass_time(minutes=1)
    one.clock.turn(days=3)
    one.configure(daily)
    await one.run_composer()
    assert await one.titles() == []
    await one.pass_time(hours=20)
    assert await one.titles() == ["Daily digest, 14 Mar: 1 open"]


async def test_the_title_of_an_incident_says_by_how_many_days_its_dates_moved(notified):
    one = await notified(SLIPS)
    for number in range(1, 4):
        await one.eta(number, "2026-03-20")
    for number in range(1, 4):
        await one.eta(number, f"2026-03-2{number + 3}")
    await one.pass_time(minutes=1)
    assert await one.titles() == ["EVER GIVEN 012W · 3 shipments: ETA 4 to 6 days later"]


async def test_the_text_of_an_exception_does_not_repeat_its_name(notified):
    one = await notified(EXCEPTIONS)
    await one.open("silent", 1, last_news_at="2026-02-20T10:00:00Z")
    await one.pass_time(minutes=1)
    (content,) = await one.contents()
    assert list(content.sections[0].lines[0].texts) == ["No update since 20 Feb"]
