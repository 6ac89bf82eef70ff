"""Lists of what has no history, read page by page in an order that moves: the journal tells where a row stood."""

import random

import pytest

from flexportd.errors import ExpiredError
from flexportd.storage.database import Database
from flexportd.storage.file_store import StoredFile
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.stable_pagination import POSITION, SnapshotPages
from flexportd.storage.repositories.document_files import DeclaredFile, FetchedFile, FetchFailure
from flexportd.storage.repositories.schema_drift import DriftRecord


class Ledger:
    """Findings that are seen again and again, at times that tie."""

    sorts = ("last_seen_at", "first_seen_at", "count", "id")
    filters = ({}, {"kind": ("field",)})

    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.hour = 0

    def page(self, tx, page):
        return tx.drift.page(page)

    def write(self, db, numbers):
        self.hour += self.rnd.random() < 0.7
        at = f"2026-03-04T{self.hour:05}Z"
        kinds = ("field", "value", "shape")
        found = [
            DriftRecord(kinds[n % 3], "/shipment", f"f{n}", "1", "sync", self.rnd.choice((1, 1, 5))) for n in numbers
        ]
        return db.write(lambda tx: tx.drift.merge(found, at))


class Files:
    """Files of documents that are tried, fetched, changed and forgotten."""

    sorts = ("fetched_at", "last_attempt_at", "id")
    filters = ({}, {"current": ()}, {"state": ("fetched",)})

    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.hour = 0

    def page(self, tx, page):
        return tx.files.page(page)

    def write(self, db, numbers):
        self.hour += self.rnd.random() < 0.7
        at = f"2026-03-04T{self.hour:05}Z"

        def work(tx):
            for number in numbers:
                key, told = f"doc-{number}", DeclaredFile(self.rnd.randint(1, 2), None)
                match self.rnd.randint(0, 5):
                    case 0:
                        tx.files.cancel_request(key)
                    case 1 | 2:
                        tx.files.request(key, told, at, at)
                        tx.files.record_failure(key, FetchFailure("failed", "it broke", at), at)
                    case 3:
                        tx.files.mark_bad(self._sha(number, 1), "missing", "it is gone", at)
                    case _:
                        kept = StoredFile(self._sha(number, self.rnd.randint(1, 3)), told.size)
                        tx.files.record_fetched(key, FetchedFile(kept, "text/plain", "a.txt", told), at)

        return db.write(work)

    def _sha(self, number, version):
        return f"{number:060}{version:04}"


def _ids(rows):
    return {row["id"] for row in rows}


CASES = [(kind, sort, filters) for kind in (Ledger, Files) for sort in kind.sorts for filters in kind.filters]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("kind", "sort", "filters"), CASES)
async def test_rows_that_are_there_throughout_come_exactly_once(tmp_path, kind, sort, filters, descending, seed):
    rnd = random.Random(f"{seed}{sort}{kind}")
    async with Database.open(tmp_path / "data") as db:
        world = kind(seed)
        for begin in range(0, 50, 10):
            await world.write(db, range(begin, begin + 10))

        def matching(tx):
            return _ids(world.page(tx, PageRequest(1000, "id", filters=filters)))

        throughout, walks, after, since, seen = await db.read(matching), SnapshotPages(), None, None, []
        limit = rnd.choice([1, 3, 7, 20])
        while True:
            page = PageRequest(limit, sort, descending, filters, after, since=since, snapshots=walks)
            rows, now = await db.read(lambda tx, page=page: (world.page(tx, page), matching(tx)))
            throughout &= now
            assert _ids(rows) <= now
            seen += [row["id"] for row in rows[:limit]]
            assert len(seen) <= 500, "it goes on and on"
            if len(rows) <= limit:
                break
            end = rows[limit - 1]
            value, since = end.get(POSITION, (end[sort], since))
            after = (value, end["id"])
            for _ in range(rnd.randint(0, 3)):
                await world.write(db, rnd.sample(range(60), rnd.randint(1, 12)))  # those from 50 on are new
            if rnd.random() < 0.2:
                walks = SnapshotPages()  # the daemon was restarted
        assert len(seen) == len(set(seen))
        assert throughout <= set(seen)


async def test_the_first_page_is_in_the_order_asked_for(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        world = Ledger(1)
        for _ in range(5):
            await world.write(db, world.rnd.sample(range(30), 12))
        for sort in Ledger.sorts:
            page = PageRequest(100, sort, snapshots=SnapshotPages())
            rows = await db.read(lambda tx, page=page: tx.drift.page(page))
            places = [(row[sort], row["id"]) for row in rows]
            assert places == sorted(places, reverse=True)


async def test_a_cursor_is_too_old_when_its_journal_is_gone(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        world = Ledger(1)
        await world.write(db, range(30))
        since = await db.read(lambda tx: tx.journal.last())
        for _ in range(3):
            await world.write(db, range(30))
        await db.write(lambda tx: tx.retention.delete_journal("2027", 1000))
        page = PageRequest(5, "count", after=(1, 1), since=since, snapshots=SnapshotPages())
        with pytest.raises(ExpiredError, match="start over"):
            await db.read(lambda tx: tx.drift.page(page))
