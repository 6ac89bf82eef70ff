"""Taking in answers: as many in one transaction as there is room for, and no longer than nobody waits."""

import asyncio
import json

import pytest

from flexportd.clock import Clock
from flexportd.core.importer.importer import BATCH_SIZE, BUSY_BATCH_SIZE, Importer, PendingImport, RequestStart
from flexportd.core.resources.registry import Registry
from flexportd.core.unit_of_work import ChangeCause
from flexportd.storage.database import Database
from tests.events import shipment

AT = "2026-06-01T00:00:00.000Z"
PAGE = 100
CAUSE = ChangeCause(AT, "sync")


class Answers:
    """Pages of new shipments, and what was noted of each."""

    def __init__(self, db):
        self.db = db
        self.intake = Importer(db, Clock())
        self.noted = []

    async def pending(self, pages, size=PAGE):
        found = []
        for number in range(pages):
            ids = range(1 + number * size, 1 + (number + 1) * size)
            rows = [json.dumps(shipment(key)).encode() for key in ids]
            answered = self.intake.make_batch(Registry()["shipments"], rows, (AT, AT), RequestStart())
            found.append(PendingImport(answered, await self.intake.compare(answered), self._note(number)))
        return found

    def _note(self, number):
        return lambda tx, taken: self.noted.append((number, taken.result.new, taken.unchanged))

    async def transactions(self, pending):
        before = self.db.writer.groups
        await self.intake.apply(pending, CAUSE)
        return self.db.writer.groups - before

    async def kept(self):
        return await self.db.read(lambda tx: tx.raw.execute("SELECT count(*) FROM shipments").fetchone()[0])


@pytest.fixture
async def answers(tmp_path):
    async with Database.open(tmp_path) as db:
        yield Answers(db)


async def test_pages_that_came_together_share_a_transaction_while_nobody_waits(answers):
    assert await answers.transactions(await answers.pending(BATCH_SIZE // PAGE)) == 1
    assert answers.noted == [(number, PAGE, 0) for number in range(BATCH_SIZE // PAGE)]
    assert await answers.kept() == BATCH_SIZE


async def test_a_transaction_ends_early_when_an_acknowledgement_waits(answers, monkeypatch):
    pending = await answers.pending(2)
    monkeypatch.setattr(answers.db.writer, "urgent_waiting", lambda: True)
    assert await answers.transactions(pending) > 2
    assert answers.noted == [(0, PAGE, 0), (1, PAGE, 0)]
    assert await answers.kept() == 2 * PAGE


async def test_while_webhooks_come_a_few_objects_are_written_at_a_time(answers, monkeypatch):
    pending = await answers.pending(1)
    monkeypatch.setattr(answers.db.writer, "quiet", lambda _: False)
    assert await answers.transactions(pending) == -(-PAGE // BUSY_BATCH_SIZE)
    assert answers.noted == [(0, PAGE, 0)]


async def test_answers_without_news_are_noted_too(answers):
    await answers.intake.apply(await answers.pending(3), CAUSE)
    answers.noted.clear()
    assert await answers.transactions(await answers.pending(3)) == 1
    assert answers.noted == [(number, 0, PAGE) for number in range(3)]


async def test_while_webhooks_come_it_does_not_read_and_write_side_by_side(answers, monkeypatch):
    pending = await answers.pending(1)
    monkeypatch.setattr(answers.db.writer, "quiet", lambda _: False)
    monkeypatch.setattr("flexportd.core.importer.importer._MAX_YIELD", 0.0)
    working, most = 0, 0

    def watched(run):
        async def counted(work):
            nonlocal working, most
            working += 1
            most = max(most, working)
            try:
                return await run(work)
            finally:
                working -= 1

        return counted

    monkeypatch.setattr(answers.db, "read", watched(answers.db.read))
    monkeypatch.setattr(answers.db, "write", watched(answers.db.write))
    await asyncio.gather(answers.intake.apply(pending, CAUSE), answers.pending(1))
    assert most == 1
