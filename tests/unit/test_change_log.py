"""The journal: what each commit did, in order, for whoever follows it."""

from flexportd.core.changes import stream_messages
from flexportd.core.resources import registry, shipments
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.storage.change_log import WrittenObject, decode_states
from flexportd.storage.database import Database
from flexportd.storage.repositories.resources import Record

AT = "2026-03-04T02:41:10.000Z"


def _record(number, as_of, **fields):
    blank = dict.fromkeys(shipments.TABLE.names)
    return Record(number, {**blank, **fields}, "{}", as_of, 1, "webhook", AT, AT)


def _put(*records):
    def work(tx):
        workspace = UnitOfWork(tx)
        for record in records:
            workspace.put(registry.Registry()["shipments"], record, ChangeCause(AT, "webhook", "evt"))
        workspace.flush(AT, [7])

    return work


async def test_an_entry_tells_what_was_written_and_what_it_was_before(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(_put(_record(1, "2026-01-01T00:00:00.000Z"), _record(2, "2026-01-01T00:00:00.000Z")))
        await db.write(_put(_record(1, "2026-01-02T00:00:00.000Z", status="x"), _record(1, "2026-01-03T00:00:00.000Z")))
        await db.write(_put(_record(2, "2026-01-05T00:00:00.000Z")))  # nothing but its time has moved
        first, second, third = await db.read(lambda tx: tx.journal.after(0, 10))
        ids = await db.read(lambda tx: [row[0] for row in tx.raw.execute("SELECT id FROM changes ORDER BY id")])
        assert (first.id, second.id, third.id) == (1, 2, 3)
        assert first.states == {"shipments": [WrittenObject(1, None), WrittenObject(2, None)]}
        assert first.changes == (ids[0], ids[1])
        assert first.events == [7]
        assert second.states == {"shipments": [WrittenObject(1, "2026-01-01T00:00:00.000Z", "status")]}
        assert second.changes == (ids[2], ids[3])
        assert third.states == {"shipments": [WrittenObject(2, "2026-01-01T00:00:00.000Z", "")]}
        assert third.changes is None
        assert await db.read(lambda tx: (tx.journal.first(), tx.journal.last())) == (1, 3)
        assert [one.id for one in await db.read(lambda tx: tx.journal.after(1, 1))] == [2]


def test_an_entry_of_an_earlier_version_says_not_what_moved():
    (one,) = decode_states('{"shipments":[[1,null]]}')["shipments"]
    assert one == WrittenObject(1, None)
    assert one.concerns(frozenset({"name"}))
    assert not WrittenObject(1, None, "status").concerns(frozenset({"name"}))


async def test_nothing_is_noted_for_nothing_and_notices_are_kept(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(lambda tx: UnitOfWork(tx).flush(AT))
        assert await db.read(lambda tx: tx.journal.last()) == 0
        notice = {"topic": "system.dead_letter", "id": "4"}
        await db.write(lambda tx: tx.journal.add(AT, notices=[notice]))
        (entry,) = await db.read(lambda tx: tx.journal.after(0, 10))
        assert (entry.changes, entry.states, entry.events, entry.notices) == (None, {}, (), [notice])


async def test_the_newest_entry_and_change_are_never_forgotten(tmp_path):
    """Else their numbers would be given twice, and a cursor would mean something else."""
    async with Database.open(tmp_path / "data") as db:
        for number in range(3):
            await db.write(_put(_record(number, "2026-01-01T00:00:00.000Z")))
        assert await db.write(lambda tx: tx.retention.delete_journal("2027", 200)) == 2
        assert await db.write(lambda tx: tx.retention.delete_changes("2027", 200)) == 2
        assert await db.read(lambda tx: (tx.journal.first(), tx.journal.last())) == (3, 3)


async def test_an_entry_that_cannot_be_told_is_a_loss_and_those_behind_it_are_told(tmp_path, monkeypatch):
    async with Database.open(tmp_path / "data") as db:
        for number in (1, 2, 3):
            await db.write(_put(_record(number, "2026-01-01T00:00:00.000Z")))
        await db.write(lambda tx: tx.raw.execute("UPDATE journal SET events = '[]'"))
        tell = stream_messages.messages_of

        def unfit(given, entry, known):
            if entry.id == 2:
                raise KeyError("what should be there")
            return tell(given, entry, known)

        monkeypatch.setattr(stream_messages, "messages_of", unfit)
        place, told, lost = stream_messages.StreamPosition(0), [], []
        while True:
            found = await db.read(lambda tx, place=place: stream_messages.read_messages(tx, registry.Registry(), place))
            told += [one.position.entry for one in found.messages]
            lost += [found.position.entry] * found.lost
            if not found.more:
                break
            place = found.position
        assert (told, lost) == ([1, 3], [2])
