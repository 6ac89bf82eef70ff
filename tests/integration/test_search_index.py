"""The search index follows what is stored, without anybody waiting for it, whatever breaks off in between."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.core.changes.consumer import run_consumer
from flexportd.core.search import indexer as indexing
from flexportd.core.search.fields import columns
from flexportd.core.search.indexer import Indexer
from flexportd.core.search.query import search
from flexportd.errors import UnavailableError
from flexportd.storage import substring_index
from flexportd.storage.database import Database
from flexportd.storage.search_index import SearchIndex
from flexportd.tasks import Tasks
from tests.events import event, shipment
from tests.stored import AT, REGISTRY, put, record
from tests.under_test import look_again


def follower(db, clock=None):
    return Indexer(db, REGISTRY, clock or Clock())


async def found(db, text):
    answer = await db.read(lambda tx: search(tx, text, limit=50))
    return {(hit["resource"], hit["id"]) for group in answer["data"] for hit in group["hits"]}


def contents(tx):
    """What is indexed, whatever its numbers, and that the index over parts holds exactly that."""
    rows = tx.raw.execute(
        "SELECT o.resource, o.key, o.shipment_id, o.title, o.removed_at, e.shipment_id, e.id >> 40, e.field, e.value, e.folded "
        "FROM search_entries e JOIN search_objects o ON o.id = e.object"
    ).fetchall()
    parts = substring_index
    for number, folded in tx.raw.execute("SELECT id, folded FROM search_entries"):
        ids = parts.newest(tx.raw, parts.match_phrase(folded, begins=True, ends=True), (number, number), 2)
        assert ids == [number]
    assert tx.raw.execute(
        f"SELECT count(*) FROM {parts.TABLE} WHERE {parts.TABLE} MATCH ?",
        (parts.match_phrase("", begins=True, ends=True),),
    ).fetchone() == (0,)
    lone = tx.raw.execute("SELECT count(*) FROM search_objects WHERE id NOT IN (SELECT object FROM search_entries)")
    assert lone.fetchone() == (0,)
    return sorted(map(repr, rows))


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path / "data") as opened:
        yield opened


async def test_what_was_there_before_and_what_comes_is_found(db):
    await db.write(put(record("shipments", 1, name="Lamps"), record("products", 2, sku="LMP-1")))
    indexer = follower(db)
    assert (indexer.is_complete, indexer.lag) == (False, 0)
    await indexer.process()
    assert indexer.is_complete
    assert await found(db, "lamp") == {("shipments", 1)}
    await db.write(put(record("shipments", 1, name="Chairs"), record("shipments", 3, name="Lamps too")))
    assert await found(db, "lamp") == {("shipments", 1)}  # to apply an event writes nothing of the index
    await indexer.process()
    assert await found(db, "lamp") == {("shipments", 3)}
    assert await found(db, "chairs") == {("shipments", 1)}
    assert indexer.lag == 0


async def test_an_object_that_moves_to_a_shipment_takes_its_texts_along(db):
    indexer = follower(db)
    await db.write(put(record("containers", 1, container_number="MSCU1234567", seal_number="S1")))
    await indexer.process()
    await db.write(put(record("containers", 1, shipment_id=9, container_number="MSCU1234567", seal_number="S2")))
    await indexer.process()
    rows = await db.read(lambda tx: tx.raw.execute("SELECT shipment_id, value FROM search_entries").fetchall())
    assert sorted(rows) == [(9, "MSCU1234567"), (9, "S2")]
    await db.write(put(record("containers", 1, shipment_id=9)))
    await indexer.process()
    assert await db.read(contents) == []


async def test_a_pass_that_is_broken_off_goes_on_where_it_was(db, monkeypatch):
    monkeypatch.setattr(Indexer, "read_batch", 10)
    await db.write(put(*(record("shipments", number, name=f"Lot {number}") for number in range(95))))
    indexer, reads = follower(db), []
    plain = db.read

    async def thrice(work):
        reads.append(1)
        if len(reads) == 5:
            raise UnavailableError("the reader has gone")
        return await plain(work)

    with monkeypatch.context() as broken:
        broken.setattr(db, "read", thrice)
        with pytest.raises(UnavailableError):
            await indexer.process()
    state = await db.read(lambda tx: tx.search.state())
    assert (state.resource, state.after) == ("shipments", 29)
    assert not (await db.read(lambda tx: search(tx, "lot")))["complete"]
    await db.write(put(record("shipments", 5, name="Renamed"), record("shipments", 200, name="Lot 200")))
    await follower(db).process()
    assert await found(db, "renamed") == {("shipments", 5)}
    assert await found(db, "lot 200") == {("shipments", 200)}
    assert await db.read(lambda tx: tx.raw.execute("SELECT count(*) FROM search_objects").fetchone()) == (96,)


async def test_it_goes_on_after_a_restart_without_reading_all_again(db, monkeypatch):
    await db.write(put(record("shipments", 1, name="Lamps")))
    await follower(db).process()
    await db.write(put(record("shipments", 2, name="Chairs")))
    second = follower(db)

    def never(*_):
        raise AssertionError("read anew")

    monkeypatch.setattr(second, "_next_objects", never)
    await second.process()
    assert await found(db, "chairs") == {("shipments", 2)}


@pytest.mark.parametrize("why", ["the journal was cut off", "the contents changed", "the journal is shorter"])
async def test_what_it_cannot_follow_is_read_anew(db, monkeypatch, why):
    await db.write(put(record("shipments", 1, name="Lamps"), record("shipments", 2, name="Old")))
    first = follower(db)
    await first.process()
    await db.write(put(record("shipments", 1, name="Chairs")))
    if why == "the journal was cut off":
        await db.write(put(record("shipments", 3, name="Tables")))
        await db.write(lambda tx: tx.raw.execute("DELETE FROM journal WHERE id < 3"))
    elif why == "the contents changed":
        await db.write(lambda tx: tx.raw.execute("DELETE FROM journal WHERE id < 2"))
        monkeypatch.setattr(indexing, "VERSION", "other")
    else:
        await db.write(lambda tx: tx.raw.execute("DELETE FROM journal"))
    for indexer in (first, follower(db)) if why != "the contents changed" else (follower(db),):
        await indexer.process()
        assert await found(db, "chairs") == {("shipments", 1)}
        assert await found(db, "lamps") == set()
    await db.read(contents)


async def test_nothing_holds_the_writer_for_long(db):
    """Hundreds of objects with many texts are written in several transactions."""
    await db.write(put(*(record("shipments", n, skus=[f"SKU-{n}-{m}" for m in range(40)]) for n in range(120))))
    indexer, sizes = follower(db), []
    plain = db.writer.run

    def counted(work):
        def inside(tx):
            before = tx.raw.execute("SELECT count(*) FROM search_entries").fetchone()[0]
            done = work(tx)
            sizes.append(tx.raw.execute("SELECT count(*) FROM search_entries").fetchone()[0] - before)
            return done

        return plain(inside)

    db.write = counted
    await indexer.process()
    assert sum(sizes) == 120 * 42
    assert max(sizes) <= 1100


async def test_states_that_say_nothing_new_are_not_written(db):
    indexer = follower(db)
    await db.write(put(record("shipments", 1, name="Lamps")))
    await indexer.process()
    await db.write(put(record("shipments", 1, name="Lamps", status="departed")))
    before = await db.write(lambda tx: tx.raw.total_changes)
    await indexer.process()
    assert await db.write(lambda tx: tx.raw.total_changes) == before
    assert indexer.lag == 0


async def test_an_event_is_indexed_by_what_it_moved_alone(daemon):
    db, depends_on = daemon.daemon.queue.db, frozenset(columns(REGISTRY["shipments"]))

    def consignees(reference):
        return [{"_object": "/company_entity", "id": 7, "name": "Lamp Works", "ref": reference}]

    for day, fields in enumerate(
        (
            {"status": "booked"},
            {"status": "in_transit_to_arrival_port"},
            {"estimated_arrival_date": "2026-05-01T12:00:00Z"},
            {"consignees": consignees("ours-2")},  # of which our fields hold the name alone
            {"consignees": consignees("ours-2"), "name": "Lamps"},
        ),
        1,
    ):
        given = {"consignees": consignees("ours-1"), **fields}
        await daemon.receive(event(shipment(updated_at=f"2026-04-0{day}T00:00:00Z", **given)))
        await daemon.settled()
    entries = await db.read(lambda tx: tx.journal.after(0, 100))
    written = [one for entry in entries for one in entry.states.get("shipments", ())]
    assert [one.concerns(depends_on) for one in written] == [True, False, False, True, True]
    await daemon.daemon.consumers.indexer.process()
    assert await found(db, "ours-2") == await found(db, "lamps") == {("shipments", 910_233)}


# --- as a loop ---


@asynccontextmanager
async def running(indexer):
    tasks = Tasks()
    tasks.start("search-index", lambda: run_consumer(indexer, Hasty()))
    try:
        yield indexer.wake
    finally:
        await tasks.stop()
    assert not tasks.dead


async def until(db, text, expected):
    async with asyncio.timeout(20):
        while await found(db, text) != expected:
            await look_again()


class Hasty(Clock):
    async def sleep(self, seconds):
        await asyncio.sleep(0)


async def test_it_follows_when_it_is_woken(db):
    async with running(follower(db, clock=Hasty())) as wake:
        for number in range(3):
            await db.write(put(record("shipments", number, name=f"Lot {number}")))
            wake.set()
            await until(db, f"lot {number}", {("shipments", number)})


async def test_a_full_disk_only_delays_it(db):
    await db.write(put(record("shipments", 1, name="Lamps")))
    indexer = follower(db, clock=Hasty())
    await indexer.process()
    await db.write(put(*(record("shipments", n, name=f"Chair {n} " * 20) for n in range(2, 200))))
    pages = await db.write(lambda tx: tx.raw.execute("PRAGMA page_count").fetchone()[0])
    await db.write(lambda tx: tx.raw.execute(f"PRAGMA max_page_count={pages}").fetchall())
    async with running(indexer) as wake:
        wake.set()
        async with asyncio.timeout(20):
            while indexer.error is None:
                await db.read(lambda tx: tx.meta.get("x"))
        assert "full" in indexer.error
        await db.write(lambda tx: tx.raw.execute("PRAGMA max_page_count=1000000").fetchall())
        await until(db, "chair199", {("shipments", 199)})


async def test_an_object_that_cannot_be_read_is_left_out_and_said_until_it_can(db, monkeypatch):
    await db.write(put(record("shipments", 1, name="Lamps"), record("shipments", 2, name="Chairs")))
    wanted = indexing.index_entry

    def unfit(domain, row):
        if row["id"] == 1:
            raise TypeError("not as it should be")
        return wanted(domain, row)

    monkeypatch.setattr(indexing, "index_entry", unfit)
    indexer = follower(db)
    await indexer.process()
    assert indexer.is_complete
    assert await found(db, "chairs") == {("shipments", 2)}
    assert (
        indexer.skipped_reason == "1 objects cannot be indexed, such as 1 of shipments: TypeError: not as it should be"
    )
    monkeypatch.setattr(indexing, "index_entry", wanted)
    await db.write(put(record("shipments", 1, name="Lamps again")))
    await indexer.process()
    assert indexer.skipped_reason is None
    assert await found(db, "lamps") == {("shipments", 1)}


@pytest.mark.parametrize("bad", [1, 3, 5])
async def test_an_object_that_cannot_be_written_keeps_no_other_out(db, monkeypatch, bad):
    await db.write(put(*(record("shipments", number, name=f"Lamps {number}") for number in range(1, 6))))
    write = SearchIndex.write

    def refuse(self, changes):
        if any(one.key == bad for _, _, one in changes):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return write(self, changes)

    monkeypatch.setattr(SearchIndex, "write", refuse)
    indexer = follower(db)
    await indexer.process()
    assert indexer.is_complete
    assert await found(db, "lamps") == {("shipments", number) for number in range(1, 6) if number != bad}
    assert "OverflowError" in indexer.skipped_reason
    await db.write(put(record("shipments", 7, name="Lamps 7")))
    await indexer.process()
    assert ("shipments", 7) in await found(db, "lamps")


async def test_an_error_does_not_end_it(db, monkeypatch):
    indexer, calls = follower(db, clock=Hasty()), []
    plain = indexer.read

    def once(*given):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("odd")
        return plain(*given)

    monkeypatch.setattr(indexer, "read", once)
    await db.write(put(record("shipments", 1, name="Lamps")))
    async with running(indexer):
        await until(db, "lamps", {("shipments", 1)})  # nobody has to wake it
        async with asyncio.timeout(20):
            while indexer.error is not None:
                await db.read(lambda tx: tx.meta.get("x"))
    assert len(calls) > 1


# --- whatever happens, in any order ---

_KEYS = st.integers(1, 4)
_TEXTS = st.lists(st.sampled_from(["A-1", "a 1", "PO-77", "FLEX-3", "Müller", "", "--", "3"]), max_size=3)
_STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda key, names, skus, gone: record(
                "shipments", key, AT if gone else None, name=" ".join(names) or None, skus=skus, metadata={"k": names}
            ),
            _KEYS, _TEXTS, _TEXTS, st.booleans(),
        ),
        st.builds(
            lambda key, shipment, names: record("containers", key, shipment_id=shipment, container_number="".join(names) or None),
            _KEYS, st.none() | _KEYS, _TEXTS,
        ),
        st.builds(lambda key, names: record("invoices", f"i{key}", name=" ".join(names) or None), _KEYS, _TEXTS),
        st.sampled_from(["catch up", "restart", "cut the journal"]),
    ),
    max_size=15,
)  # fmt: skip


@given(steps=_STEPS)
@settings(max_examples=25)
def test_however_it_came_about_the_index_is_that_of_what_is_stored(tmp_path_factory, steps):
    async def check():
        async with Database.open(tmp_path_factory.mktemp("search")) as db:
            indexer = follower(db)
            for step in steps:
                if step == "catch up":
                    await indexer.process()
                elif step == "restart":
                    indexer = follower(db)
                elif step == "cut the journal":
                    await db.write(lambda tx: tx.retention.delete_journal("2027", 200))
                else:
                    await db.write(put(step))
            await indexer.process()
            followed = await db.read(contents)
            await db.write(lambda tx: tx.raw.execute("DELETE FROM meta WHERE name = 'search_index'"))
            await follower(db).process()
            assert followed == await db.read(contents)

    asyncio.run(check())
