"""The queue: order, leases, backoff, pause, dead letters — for kinds of both sorts."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from flexportd.outcome import Applied, Dead, Ignored, Retry, Snooze
from flexportd.queue.handlers import BatchHandler, ItemHandler, Policy, next_delay
from flexportd.queue.queue import MAX_DEATHS, Queue
from flexportd.queue.workers import BatchWorker, ItemWorker, LeaseLimits
from flexportd.storage.database import BatchMarker, Database
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.items import NewItem
from flexportd.tasks import Tasks

QUICK = Policy(max_attempts=3, base_delay=0.001, max_delay=0.002)


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True), st.floats(0, 5000))
def test_backoff_stays_below_its_bound_and_above_what_was_asked_for(attempt, jitter, floor):
    policy = Policy(max_attempts=150, base_delay=2, max_delay=900)
    delay = next_delay(attempt, Retry("x", retry_after=floor), policy, jitter)
    if attempt >= 150:
        assert delay == Dead("x")
    else:
        assert floor <= delay <= max(floor, min(900, 2 * 2.0 ** (attempt - 1)))


@pytest.mark.parametrize(("attempt", "expected"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (100, 900)])
def test_the_bound_doubles_up_to_the_largest_delay(attempt, expected):
    assert next_delay(attempt, Retry("x"), Policy(max_attempts=101), 0.9999999) == pytest.approx(expected, rel=1e-5)


class World:
    """A queue with one kind and a way to wait for what its handler was given."""

    def __init__(self, db, clock):
        self.db = db
        self.tasks = Tasks()
        self.queue = Queue(db, clock, QUICK)
        self.seen = asyncio.Queue()

    async def put(self, *items):
        at = self.queue.clock.stamp()
        await self.db.write(lambda tx: tx.items.add(at, items))
        self.queue.added(items[0].kind, len(items))

    async def next(self):
        async with asyncio.timeout(10):
            return await self.seen.get()

    async def empty(self):
        async with asyncio.timeout(10):
            while self.queue.pending:
                await self.db.read(lambda tx: None)

    async def dead(self):
        return await self.queue.dead_letters(PageRequest(100, "id", filters={"dead": (), "not_discarded": ()}))


@asynccontextmanager
async def world(path, kind_of, *, run=True, limits=LeaseLimits(workers=4, lease=5.0)):
    async with Database.open(path) as db:
        one = World(db, Clock())
        kind = kind_of(one)
        one.queue.add(kind)
        await one.queue.load()
        loop = (
            BatchWorker(one.queue, kind)
            if isinstance(kind, BatchHandler)
            else ItemWorker(one.queue, kind, one.tasks, limits)
        )
        if run:
            one.tasks.start("loop", loop.run)
        try:
            yield one
        finally:
            await one.tasks.stop()


def applying(outcome_of):
    def make(one):
        loop = asyncio.get_running_loop()

        def apply(tx, items, end_early):
            done = [(item, outcome_of(item, tx)) for item in items]
            for item, _ in done:
                loop.call_soon_threadsafe(one.seen.put_nowait, item)
            return done, None

        return BatchHandler(name="work", apply=apply)

    return make


def leasing(handle):
    def make(one):
        async def run(item):
            one.seen.put_nowait(item)
            return await handle(item)

        return ItemHandler(name="work", handle=run)

    return make


def outcome_by_payload(item, _tx=None):
    return {"ok": Applied(), "no": Ignored("not ours"), "dead": Dead("hopeless"), "again": Retry("for now")}[
        item.payload
    ]


async def handle_by_payload(item):
    return outcome_by_payload(item)


@pytest.mark.parametrize("make", [applying(outcome_by_payload), leasing(handle_by_payload)])
async def test_every_item_ends_finished_or_dead_with_its_chain_of_errors(tmp_path, make):
    async with world(tmp_path, make) as one:
        await one.put(*(NewItem("work", 1, payload=payload) for payload in ("ok", "no", "dead", "again")))
        await one.empty()
        letters = {row["payload"]: row for row in await one.dead()}
        assert set(letters) == {"dead", "again"}
        assert letters["dead"]["attempts"] == 1
        assert letters["again"]["attempts"] == 3
        tries = await one.db.read(lambda tx: tx.items.attempts(letters["again"]["id"]))
        assert [(row["attempt"], row["error"]) for row in tries] == [(n, "for now") for n in (1, 2, 3)]
        assert (await one.queue.stats())["ready"] == 0


async def test_effect_and_completion_commit_together_or_not_at_all(tmp_path):
    calls = []

    def outcome(item, tx):
        tx.meta.put(f"effect{item.id}", "x")
        calls.append(item.id)
        if len(calls) == 1:
            damaged = sqlite3.DatabaseError("database disk image is malformed")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged
        return Applied()

    async with world(tmp_path, applying(outcome), run=False) as one:
        loop = BatchWorker(one.queue, one.queue.handlers["work"])
        await one.put(NewItem("work", 1))
        assert await loop._batch(quiet=True) is None
        assert await one.db.read(lambda tx: tx.meta.get("effect1")) is None
        assert "malformed" in one.queue.counters.errors["work"]
        assert (await loop._batch(quiet=True)).result.finished == 1
        assert await one.db.read(lambda tx: tx.meta.get("effect1")) == "x"
        assert one.queue.counters.errors == {}


async def test_priorities_and_arrival_decide_the_order(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Applied()), run=False) as one:
        await one.put(
            *(NewItem("work", priority, payload=f"{priority}{n}") for n in range(2) for priority in (3, 1, 0))
        )
        items = await one.db.read(lambda tx: tx.items.due("work", "9999", 10))
        assert [item.payload for item in items] == ["00", "01", "10", "11", "30", "31"]


async def test_a_lane_runs_one_at_a_time_in_order_and_lanes_side_by_side(tmp_path):
    gate = {name: asyncio.Event() for name in ("a1", "a2", "b1")}

    async def handle(item):
        await gate[item.payload].wait()
        return Applied()

    async with world(tmp_path, leasing(handle)) as one:
        await one.put(*(NewItem("work", 1, lane=name[0], payload=name) for name in ("a1", "a2", "b1")))
        assert {(await one.next()).payload, (await one.next()).payload} == {"a1", "b1"}
        assert one.seen.empty()
        gate["a1"].set()
        assert (await one.next()).payload == "a2"
        gate["a2"].set(), gate["b1"].set()
        await one.empty()


async def test_an_item_that_waits_for_its_retry_does_not_hold_back_its_lane(tmp_path):
    async def handle(item):
        return Retry("later", retry_after=3600) if item.payload == "first" else Applied()

    async with world(tmp_path, leasing(handle)) as one:
        await one.put(NewItem("work", 1, lane="a", payload="first"))
        assert (await one.next()).payload == "first"
        await one.put(NewItem("work", 1, lane="a", payload="second"))
        assert (await one.next()).payload == "second"


async def test_waiting_items_with_one_key_are_one_item_and_the_higher_priority_wins(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Applied()), run=False) as one:
        for priority in (3, 0, 2):
            await one.put(NewItem("work", priority, merge_key="shipment 1"))
        items = await one.db.read(lambda tx: tx.items.due("work", "9999", 10))
        assert [item.priority for item in items] == [0]


async def test_a_snooze_is_not_an_attempt(tmp_path):
    async def handle(item):
        return (
            Snooze(0.0, "not yet") if item.attempts == 1 and one.seen.qsize() < 2 and not again.is_set() else Applied()
        )

    again = asyncio.Event()
    async with world(tmp_path, leasing(handle)) as one:
        await one.put(NewItem("work", 1))
        first = await one.next()
        again.set()
        second = await one.next()
        assert (first.attempts, second.attempts) == (1, 1)
        await one.empty()


@pytest.mark.parametrize(
    ("error", "ends"),
    [(UnavailableError("away"), "retried"), (InvalidError("wrong"), "dead"), (ValueError("unforeseen"), "retried")],
)
async def test_a_raised_error_is_judged_by_its_permanence(tmp_path, error, ends):
    async def handle(item):
        if item.attempts == 1:
            raise error
        return Applied()

    async with world(tmp_path, leasing(handle)) as one:
        one.queue.policy = Policy(max_attempts=3, base_delay=0, max_delay=0)
        await one.put(NewItem("work", 1))
        await one.next()
        if ends == "dead":
            await one.empty()
            assert [row["error"] for row in await one.dead()] == ["wrong"]
        else:
            # an unavailable other side asks for five seconds; the item waits for that long and is not lost
            items = (await one.queue.stats()) if isinstance(error, UnavailableError) else None
            assert items is None or items["dead"] == 0


async def test_a_handler_that_outlives_its_lease_is_stopped_and_retried(tmp_path):
    async def handle(item):
        if item.attempts == 1:
            await asyncio.Event().wait()
        return Applied()

    async with world(tmp_path, leasing(handle), limits=LeaseLimits(workers=1, lease=0.05)) as one:
        await one.put(NewItem("work", 1))
        assert (await one.next()).attempts == 1
        assert (await one.next()).attempts == 2
        await one.empty()


async def test_leases_of_a_dead_process_return_at_start_and_do_not_count(tmp_path):
    async with Database.open(tmp_path) as db:
        await db.write(lambda tx: tx.items.add("2026-01-01T00:00:00.000Z", [NewItem("work", 1)]))
        await db.write(lambda tx: tx.items.claim("work", "9999", "9998", 10))
    async with world(tmp_path, leasing(handle_ok)) as one:
        assert (await one.next()).attempts == 1


async def handle_ok(item):
    return Applied()


async def test_expired_leases_return_while_running(tmp_path):
    async with world(tmp_path, leasing(handle_ok), run=False) as one:
        await one.put(NewItem("work", 1))
        past = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        await one.db.write(lambda tx: tx.items.claim("work", "9999", past, 10))
        assert (await one.queue.stats())["leased"] == 1
        await one.queue.reclaim_expired_leases()
        assert (await one.queue.stats())["ready"] == 1


async def test_a_stop_in_the_middle_returns_the_item_and_does_not_count_the_try(tmp_path):
    async def handle(item):
        await asyncio.Event().wait()

    async with world(tmp_path, leasing(handle)) as one:
        await one.put(NewItem("work", 1))
        await one.next()
    async with Database.open(tmp_path) as db:
        [item] = await db.read(lambda tx: tx.items.due("work", "9999", 10))
        assert (item.state, item.attempts) == ("ready", 0)


async def test_pause_survives_a_restart(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Applied())) as one:
        await one.queue.set_paused(paused=True)
        await one.put(NewItem("work", 1))
    async with world(tmp_path, applying(lambda item, tx: Applied())) as one:
        assert (await one.queue.stats())["paused"] is True
        assert one.queue.pending == 1
        await one.queue.set_paused(paused=False)
        await one.empty()


async def test_dead_letters_are_retried_from_the_start_or_discarded_with_who_and_why(tmp_path):
    hopeful = asyncio.Event()
    async with world(tmp_path, applying(lambda item, tx: Applied() if hopeful.is_set() else Dead("no"))) as one:
        await one.put(NewItem("work", 1), NewItem("work", 1))
        await one.empty()
        first, second = sorted(row["id"] for row in await one.dead())
        hopeful.set()
        assert await one.queue.retry([first, 999]) == [first]
        await one.empty()
        await one.queue.discard(second, "anna", "a test")
        assert await one.dead() == []
        kept = await one.db.read(lambda tx: tx.items.by_id(second))
        assert (kept.discarded_by, kept.discard_reason) == ("anna", "a test")
        with pytest.raises(ConflictError, match="already"):
            await one.queue.discard(second, "anna", "again")
        with pytest.raises(NotFoundError):
            await one.queue.discard(first, "anna", "gone")


async def test_an_item_that_ends_before_it_is_counted_is_not_counted_as_unfinished(tmp_path):
    """The worker may take an item between its commit and the turn of who queued it."""
    async with world(tmp_path / "q.db", applying(lambda *_: Applied())) as one:
        await one.put(NewItem("work", 1))  # wakes the worker
        await one.next()
        at = one.queue.clock.stamp()
        await one.db.write(lambda tx: tx.items.add(at, [NewItem("work", 1)]))
        one.queue.wake_all()
        await one.next()
        async with asyncio.timeout(10):
            while one.queue.counters.finished < 2:
                await one.db.read(lambda tx: None)
        assert one.queue.pending == one.queue.waiting("work") == 0
        one.queue.added("work", 1)
        assert one.queue.pending == one.queue.waiting("work") == 0


async def test_ids_are_never_given_twice(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Applied())) as one:
        await one.put(NewItem("work", 1))
        first = await one.next()
        await one.empty()
        await one.put(NewItem("work", 1))
        assert (await one.next()).id > first.id


async def test_a_batch_ends_early_while_acknowledgements_wait_and_goes_on_all_the_same_after_a_while(tmp_path):
    sizes = []

    def make(one):
        def apply(tx, items, end_early):
            done = []
            for item in items:
                if done and end_early():
                    break
                done.append((item, Applied()))
            sizes.append(len(done))
            return done, None

        return BatchHandler(name="work", apply=apply)

    async with world(tmp_path, make, run=False) as one:
        loop = BatchWorker(one.queue, one.queue.handlers["work"])
        await one.put(*(NewItem("work", 1) for _ in range(400)))
        one.db.writer.urgent_waiting = lambda: True
        assert (await loop._batch(quiet=True)).more
        assert (await loop._batch(quiet=False)).more
        one.db.writer.urgent_waiting = lambda: False
        assert (await loop._batch(quiet=True)).full
        assert loop._size == 512
        assert sizes == [1, 64, 256]


UNFORESEEN = (
    TypeError("unhashable type: 'list'"), OverflowError("Python int too large to convert to SQLite INTEGER"),
    UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed"), RecursionError("too deep"), KeyError("id"),
    sqlite3.InterfaceError("bad"), sqlite3.IntegrityError("UNIQUE constraint failed"), AssertionError(),
)  # fmt: skip


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
async def test_items_that_raise_something_unforeseen_become_dead_letters_and_all_others_are_applied_in_order(
    tmp_path, error
):
    done = []

    def outcome(item, tx):
        tx.meta.put(f"effect{item.payload}", "x")
        if item.payload in ("0", "77", "78", "299"):
            raise error
        done.append(item.payload)
        return Applied()

    async with world(tmp_path, applying(outcome)) as one:
        await one.put(*(NewItem("work", 1, payload=str(number)) for number in range(300)))
        await one.empty()
        letters = {row["payload"]: row["error"] for row in await one.dead()}
        assert set(letters) == {"0", "77", "78", "299"}
        assert all(text.startswith(type(error).__name__) for text in letters.values())
        effects = {
            payload
            for payload in map(str, range(300))
            if await one.db.read(lambda tx, payload=payload: tx.meta.get(f"effect{payload}"))
        }
        assert effects == set(map(str, range(300))) - set(letters)
        last = {payload: place for place, payload in enumerate(done)}
        assert sorted(last, key=last.get) == [str(number) for number in range(300) if str(number) not in letters]
        assert one.queue.counters.errors == {}


async def test_what_fails_when_all_of_a_batch_is_written_is_found_too(tmp_path):
    def make(one):
        def apply(tx, items, end_early):
            if any(item.payload == "poison" for item in items):
                raise OverflowError("at the end")
            return [(item, Applied()) for item in items], None

        return BatchHandler(name="work", apply=apply)

    async with world(tmp_path, make) as one:
        await one.put(*(NewItem("work", 1, payload="poison" if n == 40 else "good") for n in range(100)))
        await one.empty()
        assert [row["payload"] for row in await one.dead()] == ["poison"]


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT]
)
async def test_what_the_database_suffers_from_buries_nothing(tmp_path, code):
    failing = True

    def outcome(item, tx):
        if failing:
            error = sqlite3.OperationalError("the database")
            error.sqlite_errorcode = code
            raise error
        return Applied()

    async with world(tmp_path, applying(outcome), run=False) as one:
        loop = BatchWorker(one.queue, one.queue.handlers["work"])
        await one.put(NewItem("work", 1), NewItem("work", 1))
        for _ in range(3):
            assert await loop._batch(quiet=True) is None
        assert await one.dead() == []
        assert "the database" in one.queue.counters.errors["work"]
        failing = False
        assert (await loop._batch(quiet=True)).result.finished == 2


async def test_no_memory_for_an_item_is_a_failure_that_may_pass(tmp_path):
    def outcome(item, tx):
        if item.attempts == 0:
            raise MemoryError
        return Applied()

    async with world(tmp_path, applying(outcome)) as one:
        await one.put(NewItem("work", 1))
        await one.next()
        await one.empty()
        assert await one.dead() == []


async def test_an_error_with_half_a_character_is_kept(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Dead("no \ud83d"))) as one:
        await one.put(NewItem("work", 1))
        await one.empty()
        assert [row["error"] for row in await one.dead()] == ["no \\ud83d"]


async def left_in_work(tmp_path, *ids):
    """As after a process that ended while it applied these items."""
    async with Database.open(tmp_path) as db:
        rows = [await db.read(lambda tx, one=one: tx.items.by_id(one)) for one in ids]
    marker = BatchMarker(tmp_path / "applying")
    marker.put([(row.id, row.attempts) for row in rows])


async def test_items_in_work_when_the_process_ended_are_tried_one_by_one_before_all_others(tmp_path):
    batches = []

    def make(one):
        def apply(tx, items, end_early):
            batches.append([item.payload for item in items])
            return [(item, Applied()) for item in items], None

        return BatchHandler(name="work", apply=apply)

    async with world(tmp_path, make, run=False) as one:
        await one.put(*(NewItem("work", 1, payload=str(number)) for number in range(6)))
    await left_in_work(tmp_path, 2, 4)
    async with world(tmp_path, make) as one:
        await one.empty()
    assert batches == [["1"], ["3"], ["0", "2", "4", "5"]]


@pytest.mark.parametrize("make", [applying(lambda item, tx: Applied()), leasing(handle_ok)])
async def test_what_was_in_work_at_the_end_of_three_processes_is_a_dead_letter_that_can_be_tried_again(tmp_path, make):
    async with world(tmp_path, make, run=False) as one:
        await one.put(NewItem("work", 1, payload="deadly"), NewItem("work", 1, payload="waits"))
        applies = isinstance(one.queue.handlers["work"], BatchHandler)
    for _ in range(MAX_DEATHS):
        async with world(tmp_path, make, run=False) as one:
            assert await one.dead() == []
            if not applies:
                await one.db.write(lambda tx: tx.items.claim("work", "9999", "9999", 1))
        if applies:
            await left_in_work(tmp_path, 1)
    async with world(tmp_path, make) as one:
        await one.empty()
        [letter] = await one.dead()
        assert (letter["payload"], letter["error"]) == (
            "deadly",
            f"the process ended {MAX_DEATHS} times while it worked on this item",
        )
        assert await one.queue.retry([letter["id"]]) == [letter["id"]]
        await one.empty()
        assert await one.dead() == []


async def test_however_often_the_process_ends_nothing_that_was_in_work_beside_others_is_given_up(tmp_path):
    make = applying(lambda item, tx: Applied())
    async with world(tmp_path, make, run=False) as one:
        await one.put(NewItem("work", 1), NewItem("work", 1))
    for _ in range(2 * MAX_DEATHS):
        await left_in_work(tmp_path, 1, 2)
        async with world(tmp_path, make, run=False) as one:
            assert one.queue.suspects["work"] == [1, 2]
    async with world(tmp_path, make) as one:
        await one.empty()
        assert await one.dead() == []


async def test_suspects_of_two_kinds_are_never_in_work_together(tmp_path):
    at_work, most = set(), []

    def handler(name):
        async def handle(item):
            at_work.add(name)
            most.append(len(at_work))
            await asyncio.sleep(0)
            at_work.discard(name)
            return Applied()

        return handle

    async with Database.open(tmp_path) as db:
        await db.write(lambda tx: tx.items.add("2026-01-01T00:00:00.000Z", [NewItem(k, 1) for k in "aabb"]))
        for kind in "ab":
            await db.write(lambda tx, kind=kind: tx.items.claim(kind, "9999", "9998", 10))
        queue, tasks = Queue(db, Clock(), QUICK), Tasks()
        for kind in "ab":
            queue.add(ItemHandler(name=kind, handle=handler(kind)))
        await queue.load()
        assert {kind: len(ids) for kind, ids in queue.suspects.items()} == {"a": 2, "b": 2}
        for kind in "ab":
            tasks.start(kind, ItemWorker(queue, queue.handlers[kind], tasks, LeaseLimits()).run)
        async with asyncio.timeout(10):
            while queue.pending:
                await db.read(lambda tx: None)
        await tasks.stop()
    assert most == [1, 1, 1, 1]


async def test_a_handled_try_and_an_orderly_stop_clear_what_was_suspected(tmp_path):
    async with world(tmp_path, applying(lambda item, tx: Retry("later", retry_after=3600)), run=False) as one:
        await one.put(NewItem("work", 1))
    await left_in_work(tmp_path, 1)
    async with world(tmp_path, applying(lambda item, tx: Retry("later", retry_after=3600))) as one:
        await one.next()
    async with world(tmp_path, applying(lambda item, tx: Applied()), run=False) as one:
        item = await one.db.read(lambda tx: tx.items.by_id(1))
        assert (item.attempts, item.deaths, one.queue.suspects["work"]) == (1, 0, [])


@pytest.mark.parametrize("text", [b"", b"\n", b"[[1,", b"\x00" * 100, b"[]\n", b'{"a":1}\n', b"[[99,0]]\n"])
async def test_a_marker_that_cannot_be_read_or_names_nothing_is_passed_over(tmp_path, text):
    async with world(tmp_path, applying(lambda item, tx: Applied()), run=False) as one:
        await one.put(NewItem("work", 1))
    (tmp_path / "applying").write_bytes(text)
    async with world(tmp_path, applying(lambda item, tx: Applied())) as one:
        await one.empty()
        assert one.queue.suspects["work"] == []
