"""The writer: groups, isolates the guilty, survives a disk that refuses, and keeps the WAL bounded."""

import asyncio
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from flexportd.errors import UnavailableError
from flexportd.storage import writer as writer_module
from flexportd.storage.connection import open_reader
from flexportd.storage.database import DataDir
from flexportd.storage.migrate import migrate
from flexportd.storage.writer import Writer


@pytest.fixture
async def writer(tmp_path):
    folder = DataDir(tmp_path)
    folder.lock()
    migrate(folder.database)
    one = Writer(folder.database)
    await one.open()
    yield one
    await one.close()
    folder.release()


def put(tx, payloads):
    for name in payloads:
        if name == "poison":
            raise ValueError("poison")
        tx.meta.put(name, "x")
    return [name.upper() for name in payloads]


async def stored(writer):
    return await writer.run(lambda tx: {row[0] for row in tx.raw.execute("SELECT name FROM meta")} - {"store_id"})


async def test_units_that_arrive_together_share_a_transaction(writer):
    accept = writer.batched(put)
    assert await asyncio.gather(*(accept(f"n{n}") for n in range(100))) == [f"N{n}" for n in range(100)]
    assert writer.groups < 10
    assert writer.units >= 100


async def test_one_bad_payload_takes_nobody_down_with_it(writer):
    accept = writer.batched(put)
    results = await asyncio.gather(accept("a"), accept("poison"), accept("b"), return_exceptions=True)
    assert results[0] == "A"
    assert isinstance(results[1], ValueError)
    assert results[2] == "B"
    assert await stored(writer) == {"a", "b"}


async def test_a_unit_that_raises_leaves_nothing(writer):
    def half(tx):
        tx.meta.put("half", "x")
        raise KeyError("half")

    with pytest.raises(KeyError):
        await writer.run(half)
    assert await stored(writer) == set()


async def test_a_full_disk_is_unavailable_and_passes_by_itself(writer):
    accept = writer.batched(put)
    pages = await writer.run(lambda tx: tx.raw.execute("PRAGMA page_count").fetchone()[0])
    await writer._connection.run(lambda raw: raw.execute(f"PRAGMA max_page_count={pages}").fetchall())
    with pytest.raises(UnavailableError, match="full"):
        for n in range(2000):
            await accept(f"{n}" * 200)
    assert "full" in writer.fault.reason
    await writer._connection.run(lambda raw: raw.execute("PRAGMA max_page_count=1000000").fetchall())
    assert await accept("again") == "AGAIN"
    await writer.probe("now")
    assert writer.fault is None


async def test_a_disk_that_takes_only_crumbs_has_not_recovered(writer, monkeypatch):
    """Small writes that still fit between large ones that do not: one fault, not one for each miss."""
    pages = await writer.run(lambda tx: tx.raw.execute("PRAGMA page_count").fetchone()[0])
    await writer._connection.run(lambda raw: raw.execute(f"PRAGMA max_page_count={pages + 4}").fetchall())
    said = []
    log = SimpleNamespace(error=lambda name, **_: said.append(name), info=lambda name, **_: said.append(name))
    monkeypatch.setattr(writer_module, "log", log)
    for n in range(5):
        with pytest.raises(UnavailableError, match="full"):
            await writer.run(lambda tx, n=n: tx.meta.put(f"large{n}", "x" * 50_000))
        await writer.run(lambda tx, n=n: tx.meta.put("small", str(n)))
        await writer.probe("now")
    assert writer.fault.count == 10
    await writer._connection.run(lambda raw: raw.execute("PRAGMA max_page_count=1000000").fetchall())
    await writer.probe("now")
    assert writer.fault is None
    assert said == ["storage_failed", "storage_recovered"]


async def test_acknowledgements_go_before_other_work(writer):
    accept, order = writer.batched(put), []

    async def note(awaitable, name):
        await awaitable
        order.append(name)

    first = writer.run(lambda tx: None)
    await first
    waiting = [note(writer.run(lambda tx: None), f"other{n}") for n in range(5)]
    await asyncio.gather(*waiting, note(accept("ack"), "ack"))
    assert order[0] == "ack"


async def test_the_wal_is_bounded_while_writes_never_pause(writer, monkeypatch):
    monkeypatch.setattr(writer_module, "CHECKPOINT_BYTES", 1 << 20)
    writer._checkpoint_at = 1 << 20
    accept, largest = writer.batched(put), 0
    for n in range(300):
        await asyncio.gather(*(accept(f"{n}-{k}" + "x" * 2000) for k in range(8)))
        largest = max(largest, writer.wal_bytes())
    assert largest < 6 << 20  # the bound, what journal_size_limit leaves, and one group


async def test_a_reader_that_holds_a_snapshot_cannot_make_the_writer_checkpoint_at_every_commit(writer, monkeypatch):
    monkeypatch.setattr(writer_module, "CHECKPOINT_BYTES", 1 << 20)
    writer._checkpoint_at = 1 << 20
    reader = open_reader(writer._path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM meta").fetchone()
    asked = []
    checkpoint = writer_module._checkpoint
    monkeypatch.setattr(writer_module, "_checkpoint", lambda raw, mode: asked.append(mode) or checkpoint(raw, mode))
    accept = writer.batched(put)
    for n in range(300):
        await accept(f"{n}" + "x" * 6000)
    reader.close()
    assert 1 <= len(asked) < 60


async def test_a_reader_cannot_write(writer):
    reader = open_reader(writer._path)
    try:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("INSERT INTO meta VALUES ('a', 'b')")
    finally:
        reader.close()


async def test_a_disk_that_hangs_does_not_keep_callers_waiting_for_ever(writer):
    import threading

    stuck, release = threading.Event(), threading.Event()

    def hang(tx, payloads):
        stuck.set()
        release.wait(10)
        return payloads

    waiting = [asyncio.ensure_future(writer.batched(hang)("a"))]
    await asyncio.to_thread(stuck.wait, 10)
    waiting.append(asyncio.ensure_future(writer.batched(hang)("b")))
    await asyncio.sleep(0)
    assert writer.fail_after(3600) == 0
    assert writer.fail_after(-1) == 2
    for one in waiting:
        with pytest.raises(UnavailableError, match="not answered"):
            await one
    release.set()
    assert await writer.run(lambda tx: "alive") == "alive"


async def test_an_acknowledgement_breaks_off_the_folding_of_the_wal(writer, monkeypatch):
    """Folding in a quiet moment stops at once when the moment ends, and harms nothing."""
    import threading

    accept, begun, broken = writer.batched(put), threading.Event(), []

    def slow(raw, mode):
        begun.set()
        try:
            raw.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
            ).fetchone()
        except sqlite3.OperationalError as error:
            broken.append(str(error))
            raise
        return False

    await asyncio.gather(*(accept(f"{n}" + "x" * 20_000) for n in range(100)))
    with monkeypatch.context() as patched:
        patched.setattr(writer_module, "_checkpoint", slow)
        folding = asyncio.ensure_future(writer.checkpoint_if_idle())
        await asyncio.to_thread(begun.wait, 10)
        assert await asyncio.wait_for(accept("new"), 10) == "NEW"
        await folding
    assert broken == ["interrupted"]
    assert writer.fault is None
    await writer.checkpoint_if_idle()
    assert writer._checkpointed_groups == writer.groups


async def test_what_the_wal_holds_is_told_apart_from_how_large_it_is(writer):
    await writer.run(lambda tx: tx.meta.put("large", "x" * (1 << 20)))
    used, size = writer._wal.used_bytes(), writer.wal_bytes()
    assert 1 << 20 < used <= size
    await writer.checkpoint_if_idle()
    await writer.run(lambda tx: tx.meta.put("small", "x"))
    assert writer._wal.used_bytes() < 1 << 18
    assert writer.wal_bytes() == size


async def test_looking_at_the_wal_gives_up_no_lock(writer, tmp_path):
    """Each connection holds byte 128 of the WAL-index, by which other programs know that it is in use.

    https://www.sqlite.org/walformat.html#wal_locks; a process loses the locks that it has on a file when it closes it.
    """
    await writer.run(lambda tx: tx.meta.put("large", "x" * 1000))
    assert writer._wal.used_bytes() > 0
    asked = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)"
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", asked, DataDir(tmp_path).database.with_name("flexportd.db-shm"), stderr=subprocess.PIPE
    )
    _, said = await other.communicate()
    assert b"BlockingIOError" in said or b"PermissionError" in said
    assert other.returncode == 1
