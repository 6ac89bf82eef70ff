"""Lists that are read page by page while their rows move: what is there throughout comes exactly once."""

import asyncio
import random
import sqlite3
from dataclasses import replace

import msgspec
import pytest

from flexportd.core.resources import registry, shipments
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.errors import ExpiredError, InvalidError
from flexportd.storage.database import Database
from flexportd.storage.queries import stable_pagination
from flexportd.storage.queries.filters import any_of
from flexportd.storage.queries.list_query import PageRequest, sort_key
from flexportd.storage.queries.stable_pagination import POSITION, SnapshotPages
from flexportd.storage.repositories.resources import Record

REGISTRY = registry.Registry()
AT = "2026-03-04T02:41:10.000Z"
NAMES = ["", "a", "A", "\u00e9", "z", "\U0001f6a2", None]  # ties, and what SQLite and Python must sort alike


def _moment(rnd):
    day = f"2026-0{rnd.randint(1, 3)}-1{rnd.randint(0, 3)}"
    return rnd.choice([None, f"{day}T12:00:00+08:00", f"{day}T04:00:00+00:00", f"{day}T00:00:00-05:00"])


def _fields(domain, rnd):
    found = dict.fromkeys(domain.table.names)
    if domain.name == "shipments":
        found["actual_arrival"] = _moment(rnd) if rnd.random() < 0.3 else None
        found |= {"estimated_arrival": _moment(rnd), "status": rnd.choice(["booked", "arrived", "closed"])}
        found["archived_at"] = rnd.choice([None, AT])
    else:
        found |= {"name": rnd.choice(NAMES), "due_date": rnd.choice([None, "2026-03-01", "2026-03-02"])}
        found |= {"status": rnd.choice(["outstanding", "paid"]), "outstanding_amount": rnd.choice(["0", "5"])}
    return found


class World:
    """Objects that are written one batch after the other, each newer than the one before."""

    def __init__(self, db, domain, seed):
        self.db = db
        self.domain = domain
        self.table = replace(domain.table, sorts={name: name for name in domain.table.sorts.values()})
        self.rnd = random.Random(seed)
        self.count = 0
        self.known = {}

    def key(self, number):
        return number if self.domain.ids == "integer" else f"prf-{number}"

    def _stamp(self):
        self.count += self.rnd.random() < 0.7  # else a tie
        return f"2026-03-04T{self.count // 3600 % 24:02}:{self.count // 60 % 60:02}:{self.count % 60:02}.000Z"

    def write(self, *keys):
        """States of these objects in one commit; new ones for unknown keys."""

        def work(tx):
            workspace = UnitOfWork(tx)
            for key in keys:
                before = workspace.get(self.domain, key)
                fields = _fields(self.domain, self.rnd)
                if before is not None and self.rnd.random() < 0.5:
                    fields = dict(before.fields)  # nothing but its time moves
                gone = AT if before is not None and self.rnd.random() < 0.2 else None
                as_of = self._stamp()
                record = Record(key, fields, "{}", as_of, self.count, "webhook", AT, AT, gone)
                workspace.put(self.domain, record, ChangeCause(AT, "webhook", "evt"))
            workspace.flush(AT)

        return self.db.write(work)


async def _filled(db, name, count, seed):
    world = World(db, REGISTRY[name], seed)
    for begin in range(0, count, 10):
        await world.write(*(world.key(number) for number in range(begin, min(begin + 10, count))))
    return world


def _matching(raw, table, filters):
    where = " AND ".join(f"({table.listing.filters[name].condition})" for name in filters) or "1"
    values = [value for given in filters.values() for value in given]
    return {row[0] for row in raw.execute(f"SELECT id FROM {table.name} WHERE {where}", values)}


CASES = [
    ("shipments", "as_of", {}),
    ("shipments", "as_of", {"status": ('["booked","arrived"]',)}),
    ("shipments", "as_of", {"not_archived": ()}),
    ("shipments", "eta_at", {}),
    ("shipments", "eta_at", {"status": ('["closed"]',)}),
    ("shipments", "id", {"status": ('["booked","closed"]',)}),
    ("invoices", "as_of", {}),
    ("invoices", "name", {}),
    ("invoices", "name", {"open": ()}),
    ("invoices", "due_date", {"status": ('["paid","outstanding"]',)}),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("name", "sort", "filters"), CASES)
async def test_rows_that_are_there_throughout_come_exactly_once(
    tmp_path, monkeypatch, name, sort, filters, descending, seed
):
    rnd = random.Random(f"{seed}{name}{sort}")
    monkeypatch.setattr(stable_pagination, "_CANDIDATES", rnd.choice([3, 50, 4000]))
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, name, 60, seed)
        table, walks, after, since, seen = world.table, SnapshotPages(), None, None, []
        throughout = await db.read(lambda tx: _matching(tx.raw, table, filters))
        limit = rnd.choice([1, 3, 7, 20])
        while True:
            page = PageRequest(limit, sort, descending, filters, after, since=since, snapshots=walks)

            def read(tx, page=page):
                return tx.resources.page(table, page), _matching(tx.raw, table, filters)

            rows, matching = await db.read(read)
            throughout &= matching
            assert {row["id"] for row in rows} <= matching
            seen += [row["id"] for row in rows[:limit]]
            assert len(seen) <= 70, "it goes on and on"
            if len(rows) <= limit:
                break
            end = rows[limit - 1]
            value, since = end.get(POSITION, (end["id"], since))
            after = (value, end["id"])
            for _ in range(rnd.randint(0, 3)):
                numbers = rnd.sample(range(70), rnd.randint(1, 12))  # those from 60 on are new
                await world.write(*(world.key(number) for number in numbers))
            if rnd.random() < 0.2:
                walks = SnapshotPages()  # the daemon was restarted
        assert len(seen) == len(set(seen))
        assert throughout <= set(seen)


@pytest.mark.parametrize(("sort", "descending"), [("as_of", True), ("as_of", False), ("eta_at", True), ("id", True)])
async def test_nothing_is_missed_while_a_writer_writes_as_fast_as_it_can(tmp_path, sort, descending):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 400, 5)
        table, walks, after, since, seen = world.table, SnapshotPages(), None, None, []
        done, wrote = asyncio.Event(), asyncio.Event()

        async def write():
            while not done.is_set():
                await world.write(*world.rnd.sample(range(500), 5))
                wrote.set()

        writing = asyncio.get_running_loop().create_task(write())
        try:
            there = await db.read(lambda tx: _matching(tx.raw, table, {}))
            while True:
                page = PageRequest(9, sort, descending, {}, after, since=since, snapshots=walks)
                rows = await db.read(lambda tx, page=page: tx.resources.page(table, page))
                seen += [row["id"] for row in rows[:9]]
                assert len(seen) <= 500, "it goes on and on"
                wrote.clear()
                await wrote.wait()  # how often both get their turn is else the machine's affair
                if len(rows) <= 9:
                    break
                end = rows[8]
                value, since = end.get(POSITION, (end["id"], since))
                after = (value, end["id"])
        finally:
            done.set()
            await writing
        assert len(seen) == len(set(seen))
        assert there <= set(seen)
        assert sort == "id" or await db.read(lambda tx: tx.journal.last()) > since + len(seen) // 9


async def test_a_page_is_the_same_whether_a_walk_is_remembered_or_not(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 50, 1)
        table, walks = world.table, SnapshotPages()
        since = await db.read(lambda tx: tx.journal.last())
        first = (await db.read(lambda tx: tx.resources.page(table, PageRequest(10, "as_of"))))[9]
        for _ in range(5):
            await world.write(*world.rnd.sample(range(50), 10))
            page = PageRequest(10, "as_of", after=(first["as_of"], first["id"]), since=since, snapshots=walks)
            kept = await db.read(lambda tx, page=page: tx.resources.page(table, page))
            page = PageRequest(10, "as_of", after=page.after, since=since, snapshots=SnapshotPages())
            assert await db.read(lambda tx, page=page: tx.resources.page(table, page)) == kept


async def test_a_list_that_stands_still_begins_where_it_began(tmp_path, monkeypatch):
    """Else each commit would change the cursors, and so the ETag, of every list."""
    monkeypatch.setattr(stable_pagination, "_SCAN_WINDOW", 8)
    async with Database.open(tmp_path / "data") as db:
        world, walks = await _filled(db, "shipments", 12, 1), SnapshotPages()
        other = World(db, REGISTRY["invoices"], 1)

        async def begun(walks):
            page = PageRequest(5, "as_of", snapshots=walks)
            return (await db.read(lambda tx: tx.resources.page(world.table, page)))[0][POSITION][1]

        assert [await begun(walks), await begun(SnapshotPages())] == [2, 2]
        for number in range(5):
            await other.write(other.key(number))
            assert [await begun(walks), await begun(SnapshotPages())] == [2, 2]
        for number in range(40):
            await (world.write(3) if number % 13 == 0 else other.write(other.key(number)))
            last = await db.read(lambda tx: tx.journal.last())
            for at in (await begun(walks), await begun(SnapshotPages())):
                told = await db.read(
                    lambda tx, at=at: [e.id for e in tx.journal.after(at, 100) if "shipments" in e.states]
                )
                assert last - 16 <= at <= last
                assert told == []


async def test_walks_that_are_not_followed_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(stable_pagination, "MAX_SNAPSHOTS", 3)
    monkeypatch.setattr(stable_pagination, "MAX_REMEMBERED_ROWS", 25)
    async with Database.open(tmp_path / "data") as db:
        world, walks = await _filled(db, "shipments", 30, 1), SnapshotPages()
        begun = []
        for number in range(5):
            begun.append(await db.read(lambda tx: tx.journal.last()))
            await world.write(*range(number, number + 4))
        for since in begun:
            page = PageRequest(5, "as_of", after=(AT, 1), since=since, snapshots=walks)
            await db.read(lambda tx, page=page: tx.resources.page(world.table, page))
            assert len(walks) <= 3
            assert walks.rows <= 25
        assert len(walks) > 1


@pytest.mark.parametrize("sort", ["as_of", "eta_at"])
async def test_a_cursor_is_too_old_when_too_much_has_moved_or_its_journal_is_gone(tmp_path, monkeypatch, sort):
    async with Database.open(tmp_path / "data") as db:
        world, walks = await _filled(db, "shipments", 30, 1), SnapshotPages()
        table = world.table
        since = await db.read(lambda tx: tx.journal.last())
        for _ in range(4):
            await world.write(*range(30))
        page = PageRequest(5, sort, after=(AT, 1), since=since, snapshots=walks)
        assert await db.read(lambda tx: tx.resources.page(table, page))
        monkeypatch.setattr(stable_pagination, "MAX_ROWS", 20)
        fresh = PageRequest(5, sort, after=(AT, 1), since=since, snapshots=SnapshotPages())
        with pytest.raises(ExpiredError, match="more than 20 shipments have changed since"):
            await db.read(lambda tx: tx.resources.page(table, fresh))
        monkeypatch.setattr(stable_pagination, "MAX_ROWS", 200)
        await db.write(lambda tx: tx.retention.delete_journal("2027", 1000))
        with pytest.raises(ExpiredError, match="start over"):
            await db.read(lambda tx: tx.resources.page(table, page))


async def test_a_cursor_is_too_old_when_the_history_that_tells_its_places_is_gone(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 30, 1)
        table = world.table
        since = await db.read(lambda tx: tx.journal.last())
        for _ in range(3):
            await world.write(*range(30))
        await db.write(lambda tx: tx.retention.delete_changes("2027", 10_000))
        page = PageRequest(5, "eta_at", after=(AT, 1), since=since, snapshots=SnapshotPages())
        with pytest.raises(ExpiredError, match="history"):
            await db.read(lambda tx: tx.resources.page(table, page))


@pytest.mark.parametrize(("since", "after"), [(10**6, (AT, 1)), (-1, (AT, 1)), (1, (5, 1)), (None, (5, 1))])
async def test_a_cursor_that_was_not_issued_is_refused(tmp_path, since, after):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 30, 1)
        page = PageRequest(5, "as_of", after=after, since=since, snapshots=SnapshotPages())
        with pytest.raises(InvalidError, match="not issued by this list"):
            await db.read(lambda tx: tx.resources.page(world.table, page))


@pytest.mark.parametrize("moved", [False, True])
async def test_a_value_that_no_cursor_carries_is_looked_up(tmp_path, moved):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 30, 1)
        table = world.table
        first = (await db.read(lambda tx: tx.resources.page(table, PageRequest(10, "as_of"))))[9]
        since = await db.read(lambda tx: tx.journal.last())
        await world.write(*([first["id"]] if moved else [29]))
        found = []
        for value in (first["as_of"], True):
            page = PageRequest(10, "as_of", after=(value, first["id"]), since=since, snapshots=SnapshotPages())
            found.append(await db.read(lambda tx, page=page: tx.resources.page(table, page)))
        assert found[0] == found[1] != []


def test_places_sort_as_sqlite_sorts():
    raw = sqlite3.connect(":memory:")
    raw.execute("CREATE TABLE t (value TEXT, id ANY) STRICT")
    rows = [(name, key) for name in NAMES for key in (1, 2, "1", "a", "\U0001f6a2", "\uffff")]
    raw.executemany("INSERT INTO t VALUES (?, ?)", random.Random(1).sample(rows, len(rows)))
    expected = raw.execute("SELECT value, id FROM t ORDER BY value, id").fetchall()
    raw.close()
    assert sorted(rows, key=lambda row: sort_key(*row)) == expected


async def test_a_filter_may_name_thousands_of_keys(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        world = await _filled(db, "shipments", 60, 1)
        table = replace(world.table, filters={**world.table.filters, "found": any_of("id")})
        for keys in ([1, 3, 5], list(range(2000))):
            page = PageRequest(
                50, "as_of", filters={"found": (msgspec.json.encode(keys).decode(),)}, snapshots=SnapshotPages()
            )
            rows = await db.read(lambda tx, page=page: tx.resources.page(table, page))
            assert len(rows) == min(len(keys), 51)


async def test_a_list_that_begins_after_the_journal_was_trimmed_can_be_walked(tmp_path):
    """Where nothing of a table is told any more, its walk begins where the journal does."""
    async with Database.open(tmp_path / "data") as db:
        await db.write(lambda tx: tx.raw.execute("INSERT INTO journal (id, at, states) VALUES (5000, '2026', '{}')"))
        walks = SnapshotPages()
        begun = await db.read(lambda tx: walks._start_number(tx.raw, shipments.TABLE))
        assert begun >= await db.read(lambda tx: tx.journal.first()) - 1
