"""The loop of those who follow the journal, whatever they do."""

import asyncio
import threading

import pytest

from flexportd.clock import Clock
from flexportd.core.changes.consumer import ChangeLogConsumer, run_consumer
from flexportd.daemon.consumers import RequestLoad
from flexportd.errors import UnavailableError
from flexportd.storage.change_log import ConsumerState
from flexportd.storage.database import Database
from tests.stored import REGISTRY, put, record


class CountingClock(Clock):
    """Counts what was slept."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Scripted:
    """Fails as it is told, once for each word; then it is over."""

    name, debounce = "scripted", 0.1

    def __init__(self, *script):
        self.script = list(script)
        self.error = None
        self.wake = asyncio.Event()
        self.seen, self.forgot = [], 0

    async def process(self):
        self.seen.append(self.error)
        if not self.script:
            raise asyncio.CancelledError
        error = self.script.pop(0)
        if error is not None:
            raise error

    def reset(self):
        self.forgot += 1

    def poll_interval(self):
        return 0


async def following(*script):
    one, clock = Scripted(*script), CountingClock()
    one.wake.set()  # commits go on
    with pytest.raises(asyncio.CancelledError):
        await run_consumer(one, clock)
    return one, clock.slept


async def test_what_fails_is_tried_less_and_less_often():
    one, slept = await following(*[ValueError("of no single object")] * 11)
    assert slept == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert one.error == "ValueError: of no single object"
    assert one.forgot == 11


async def test_what_works_again_is_no_trouble_and_fails_afresh():
    one, slept = await following(ValueError("a"), ValueError("b"), None, ValueError("c"))
    assert one.seen == [None, "ValueError: a", "ValueError: b", None, "ValueError: c"]
    assert [seconds for seconds in slept if seconds >= 1] == [2, 4, 2]


async def test_a_disk_that_refuses_is_asked_again_at_the_same_pace_and_nothing_is_forgotten():
    one, slept = await following(*[UnavailableError("the disk is full")] * 4)
    assert slept == [2, 2, 2, 2]
    assert (one.error, one.forgot) == ("the disk is full", 0)


# --- a further consumer ---


class NameCounter(ChangeLogConsumer):
    """Counts in `meta` how often each shipment was read because its name may have changed."""

    name = "names"

    def __init__(self, db, refused=(), wait_for_idle=None):
        tables = {"shipments": REGISTRY["shipments"].table}
        depends_on = {"shipments": frozenset({"name"})}
        super().__init__(
            db, Clock(), state_type=ConsumerState, tables=tables, depends_on=depends_on, wait_for_idle=wait_for_idle
        )
        self.refused, self.skipped = refused, []

    def restart(self, tx):
        return ConsumerState(version="1", journal=tx.journal.last(), resource="shipments")

    def plan(self, tx, subjects, state):
        return [key for _, key in subjects]

    def write(self, tx, writes):
        for key in writes:
            tx.meta.put(f"read {key}", str(int(tx.meta.get(f"read {key}") or 0) + 1))
            if key in self.refused:
                raise OverflowError(key)

    def skip(self, write, error):
        self.skipped.append(write)


async def counts(db, *keys):
    return await db.read(lambda tx: [int(tx.meta.get(f"read {key}") or 0) for key in keys])


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path / "data") as opened:
        yield opened


async def test_an_object_is_read_once_however_many_commits_wrote_it_and_not_for_other_fields(db):
    await db.write(put(record("shipments", 1, name="A"), record("shipments", 2, name="B")))
    consumer = NameCounter(db)
    await consumer.process()
    assert await counts(db, 1, 2) == [1, 1]
    for number in range(120):  # several pages of entries
        await db.write(
            put(record("shipments", 1, name=f"A {number}"), record("shipments", 2, name="B", status=f"{number}"))
        )
    await consumer.process()
    assert await counts(db, 1, 2) == [2, 1]
    last = await db.read(lambda tx: tx.journal.last())
    assert (consumer.lag, consumer.has_processed(last)) == (0, True)
    await NameCounter(db).process()  # as after a restart
    assert await counts(db, 1, 2) == [2, 1]


@pytest.mark.parametrize("bad", [1, 2, 3])
async def test_what_cannot_be_written_is_skipped_alone_and_leaves_nothing(db, bad):
    consumer = NameCounter(db, refused={bad})
    await consumer.process()
    await db.write(put(*(record("shipments", number, name="A") for number in (1, 2, 3))))
    await consumer.process()
    assert await counts(db, 1, 2, 3) == [number != bad for number in (1, 2, 3)]
    assert consumer.skipped == [bad]
    await NameCounter(db).process()
    assert await counts(db, 1, 2, 3) == [number != bad for number in (1, 2, 3)]


async def test_a_position_is_stored_with_its_effect_or_not_at_all(db):
    await NameCounter(db).process()
    await db.write(put(record("shipments", 1, name="A")))
    consumer = NameCounter(db)
    save = consumer._save

    def fail(*given):
        save(*given)
        raise UnavailableError("the disk is full")

    consumer._save = fail
    with pytest.raises(UnavailableError):
        await consumer.process()
    assert await counts(db, 1) == [0]
    await NameCounter(db).process()
    assert await counts(db, 1) == [1]


async def test_consumers_that_share_a_turn_never_read_at_the_same_time(db):
    await db.write(put(*(record("shipments", number, name="A") for number in range(1, 5))))
    reading, overlaps = threading.Lock(), []

    def plan(tx, subjects, state):
        alone = reading.acquire(blocking=False)
        try:
            overlaps.append(not alone)
            ended.wait(0.05)  # long enough for the other to begin, if it may
            return []
        finally:
            if alone:
                reading.release()

    one, other, ended = NameCounter(db), NameCounter(db), threading.Event()
    other.turn = one.turn
    one.plan = other.plan = plan
    await asyncio.gather(one.process(), other.process())
    assert overlaps == [False, False]


async def test_a_consumer_that_waits_for_idle_holds_up_no_other(db):
    waiting, idle = asyncio.Event(), asyncio.Event()

    async def wait():
        waiting.set()
        await idle.wait()

    one, other = NameCounter(db, wait_for_idle=wait), NameCounter(db)
    other.turn = one.turn
    async with asyncio.timeout(20):
        first = asyncio.create_task(one.process())
        await waiting.wait()
        await other.process()
        assert not first.done()
        idle.set()
        await first
    assert one.is_complete


async def test_consumers_share_a_decoded_entry_but_not_one_of_another_database(db, tmp_path):
    await db.write(put(record("shipments", 1, name="A")))
    (one,), (other,) = [await db.read(lambda tx: tx.journal.after(0, 5)) for _ in range(2)]
    assert one is other
    async with Database.open(tmp_path / "other") as second:
        await second.write(put(record("shipments", 1, name="A")))
        (foreign,) = await second.read(lambda tx: tx.journal.after(0, 5))
    assert foreign.mark != one.mark


def test_a_step_waits_while_many_requests_are_served_and_no_longer():
    now, count = 0.0, 0
    load = RequestLoad(lambda: count, lambda: now)
    assert not load.is_high()
    now, count = 1.0, 99
    assert not load.is_high()
    now, count = 1.1, 120
    assert load.is_high()
    now = 1.11  # too soon for another measure
    assert load.is_high()
    now = 2.1
    assert not load.is_high()
