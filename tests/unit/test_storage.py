"""The store: folder, migrations, named queries, tables."""

import contextlib
import re
import sqlite3
import stat
from pathlib import Path

import msgspec
import pytest

from flexportd import storage
from flexportd.core.resources.registry import Registry
from flexportd.errors import InUseError, SchemaError, StorageError, UnavailableError
from flexportd.storage import migrate as migrate_module
from flexportd.storage import substring_index
from flexportd.storage.connection import open_reader, open_writer
from flexportd.storage.database import Database, DataDir
from flexportd.storage.migrate import Migration, migrate, migrations
from flexportd.storage.repositories.events import Events
from flexportd.storage.repositories.items import Items, NewItem
from flexportd.storage.repositories.resources import Resources
from flexportd.storage.statements import bulk_insert, queries


@pytest.fixture
def raw(tmp_path):
    migrate(tmp_path / "x.db")
    connection = open_writer(tmp_path / "x.db")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 63, 64, 149])
def test_many_rows_are_inserted_in_order_and_none_is_left_out(raw, count):
    raw.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE, said TEXT)")
    rows = [(number, f"'{number}") for number in range(count)]
    bulk_insert(raw, "INSERT OR IGNORE INTO numbers (number, said)\nVALUES (?, ?)", [*rows, *rows[:1]])
    assert raw.execute("SELECT number, said FROM numbers ORDER BY id").fetchall() == rows


def test_a_second_daemon_on_the_same_folder_is_refused(tmp_path):
    first, second = DataDir(tmp_path), DataDir(tmp_path)
    first.lock()
    with pytest.raises(InUseError, match="in use by another flexportd"):
        second.lock()
    first.release()
    second.lock()
    second.release()
    second.release()


def test_folder_and_files_are_private(tmp_path):
    folder = DataDir(tmp_path / "data")
    folder.lock()
    migrate(folder.database)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for file in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    folder.release()


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="data_dir"):
        DataDir(tmp_path / "file" / "data").lock()


def test_a_newer_database_is_refused_by_name(tmp_path):
    path = tmp_path / "x.db"
    migrate(path)
    with open_writer(path) as raw:
        raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(SchemaError, match="schema 99"):
        migrate(path)


def test_a_database_of_something_else_is_left_alone(tmp_path):
    raw = sqlite3.connect(tmp_path / "x.db")
    raw.execute("CREATE TABLE theirs (a)")
    raw.commit()
    raw.close()
    with pytest.raises(SchemaError, match="not one of flexportd"):
        migrate(tmp_path / "x.db")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(SchemaError):
        migrate(tmp_path / "x.db")


def test_an_sqlite_without_trigrams_is_refused_by_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(substring_index, "_COLUMNS", "fts5(folded, tokenize='no_such_tokenizer')")
    with pytest.raises(SchemaError, match=f"SQLite {sqlite3.sqlite_version}; flexportd needs SQLite 3.34 or newer"):
        migrate(tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()


def test_a_failing_migration_undoes_itself_and_keeps_a_copy(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    steps = migrations()
    migrate(path)
    broken = [*steps, Migration(len(steps) + 1, "broken", "CREATE TABLE new (a);\nCREATE TABLE new (a);")]
    monkeypatch.setattr(migrate_module, "migrations", lambda: broken)
    with pytest.raises(SchemaError, match="broken"):
        migrate(path)
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (len(steps),)
    assert raw.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'new'").fetchone() == (0,)
    raw.close()
    assert [copy.name for copy in (tmp_path / "backups").iterdir()] == [f"x-schema-{len(steps):04}.db"]


def test_migrating_twice_changes_nothing(tmp_path):
    assert migrate(tmp_path / "x.db") == migrate(tmp_path / "x.db") == len(migrations())


BEFORE_STANDARD_NAMES = """
INSERT INTO job_runs (id, job, cause, started_at) VALUES (1, 'retention', 'hand', 'a'), (2, 'retention', 'schedule', 'a');
INSERT INTO sync_runs (id, kind, cause, state, started_at) VALUES (1, 'full', 'person', 'running', 'a');
INSERT INTO sync_receipts (run_id, resource, state, skips) VALUES (1, 'legs', 'running', '{"older":1}');
INSERT INTO drift VALUES (1, 'answer', '', 'x', 1, 'a', 'b', 'sync', ''), (2, 'field', '', 'x', 1, 'a', 'b', 'sync', '');
INSERT INTO document_files (id, document_id, current, state, wanted_at, tried_at) VALUES (1, 'd', 1, 'wanted', 'a', 'b');
INSERT INTO webhook_refusals VALUES ('unsigned', 2, 'a', 'b', 'local', '/'), ('wrong-path', 1, 'a', 'b', 'local', '/');
INSERT INTO meta VALUES ('archive_verified', '{"state":"done","sound":3,"strange":["y"],"set_aside":[],"more":2}');
"""


def test_stored_values_get_their_standard_names(tmp_path, monkeypatch):
    path, steps = tmp_path / "x.db", migrations()
    monkeypatch.setattr(migrate_module, "initial_schema", lambda: steps[0])
    monkeypatch.setattr(migrate_module, "migrations", lambda: steps[:32])
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.executescript(BEFORE_STANDARD_NAMES)
    monkeypatch.setattr(migrate_module, "migrations", lambda: steps)
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        read = lambda sql: raw.execute(sql).fetchall()  # noqa: E731
        assert read("SELECT cause FROM job_runs ORDER BY id") == [("manual",), ("schedule",)]
        assert read("SELECT cause, state FROM sync_runs") == [("manual", "running")]
        assert read("SELECT skipped_by_reason FROM sync_results") == [('{"older":1}',)]
        assert read("SELECT kind FROM drift ORDER BY id") == [("response",), ("field",)]
        assert read("SELECT state, requested_at, last_attempt_at FROM document_files") == [("pending", "a", "b")]
        assert read("SELECT reason, count FROM webhook_refusals ORDER BY count") == [
            ("wrong-path", 1), ("signature-missing", 2)
        ]  # fmt: skip
        report = msgspec.json.decode(read("SELECT value FROM meta WHERE name = 'archive_verified'")[0][0])
        assert report == {"state": "done", "intact": 3, "unexpected": ["y"], "quarantined": [], "omitted": 2}
        assert read("PRAGMA foreign_key_check") == []


def test_notices_about_invoices_keep_the_due_day_that_they_were_sent_for(tmp_path, monkeypatch):
    path, steps = tmp_path / "x.db", migrations()
    (at,) = (step.number for step in steps if step.name == "system_conditions")
    monkeypatch.setattr(migrate_module, "initial_schema", lambda: steps[0])
    monkeypatch.setattr(migrate_module, "migrations", lambda: steps[: at - 1])
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("INSERT INTO exception_notices VALUES ('invoice.due', 'i', 'a'), ('invoice.due', 'gone', 'b')")
        raw.execute(
            "INSERT INTO invoices (id, due_date, shipment_ids, items, credit_memos, notes, as_of, seq, source, synced_at, "
            "first_seen_at, raw) VALUES ('i', '2026-03-01', '[]', '[]', '[]', '[]', 'a', 1, 'sync', 'a', 'a', '{}')"
        )
        raw.commit()
    monkeypatch.setattr(migrate_module, "migrations", lambda: steps)
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT key, occasion, at FROM exception_notices ORDER BY at").fetchall()
    assert rows == [("i", "2026-03-01", "a"), ("gone", "", "b")]


def _content(raw):
    """Every object by name with its SQL, every row of every table, and the version."""
    objects = raw.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    tables = [name for kind, name, _, _ in objects if kind == "table"]
    rows = {name: sorted(raw.execute(f"SELECT * FROM {name}").fetchall()) for name in tables}
    return objects, rows, raw.execute("PRAGMA user_version").fetchone()


def test_a_new_database_is_what_all_migrations_one_by_one_make_of_an_empty_one(tmp_path, monkeypatch):
    migrate(tmp_path / "new.db")
    migrate(tmp_path / "other.db")
    monkeypatch.setattr(migrate_module, "initial_schema", lambda: migrations()[0])
    migrate(tmp_path / "stepwise.db")
    found = []
    for name in ("new", "other", "stepwise"):
        with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.db")) as raw:
            found.append(_content(raw))
    stores = [dict(rows["meta"]).pop("store_id") for _, rows, _ in found]
    assert len(set(stores)) == 3
    assert all(re.fullmatch("[0-9a-f]{12}", store) for store in stores)
    for _, rows, _ in found:
        rows["meta"] = [row for row in rows["meta"] if row[0] != "store_id"]
    assert found[0] == found[1] == found[2]
    assert found[0][1]["shipment_list_completeness"]
    assert found[0][2] == (len(migrations()),)


def test_a_schema_script_behind_the_last_migration_is_followed_by_the_rest(tmp_path, monkeypatch):
    steps = [*migrations(), Migration(len(migrations()) + 1, "later", "CREATE TABLE later (a);")]
    monkeypatch.setattr(migrate_module, "migrations", lambda: steps)
    assert migrate(tmp_path / "x.db") == len(steps)
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as raw:
        assert raw.execute("SELECT count(*) FROM later").fetchone() == (0,)
        assert raw.execute("PRAGMA user_version").fetchone() == (len(steps),)
    assert not (tmp_path / "backups").exists()


FAMILIES = sorted(path.stem for path in Path(storage.__file__).parent.joinpath("sql").glob("*.sql"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_named_query_compiles(raw, family):
    for name, sql in queries(family).items():
        text = sql.replace("{columns}", "id").replace("{prefixed}", "f.id")
        parameters = text.count("?") if "?1" not in text else max(map(int, re.findall(r"\?(\d+)", text)))
        raw.execute("EXPLAIN " + text, (None,) * parameters), name


def test_every_named_query_is_used():
    sources = [path.read_text() for path in Path(storage.__file__).parent.rglob("*.py")]
    for family in FAMILIES:
        source = "".join(text for text in sources if f'"{family}"' in text)
        for name in queries(family):
            assert f'"{name}"' in source, (family, name)


def test_the_hot_queries_scan_no_table(raw):
    items = Items(raw)
    hot = [
        (items._sql["due"], 4), (items._sql["lease"], 5), (items._sql["next_ready_at"], 1), (items._sql["release_expired"], 1),
        (items._sql["of_event"], 1), (Events(raw)._sql["to_apply"], 1), (Events(raw)._sql["of_shipment"], 2),
    ]  # fmt: skip
    for sql, parameters in hot:
        plan = raw.execute("EXPLAIN QUERY PLAN " + sql, ("[]",) * parameters).fetchall()
        for row in plan:
            assert not (row[3].startswith("SCAN") and "VIRTUAL TABLE" not in row[3] and "INDEX" not in row[3]), (
                sql,
                row,
            )


@pytest.mark.parametrize("domain", list(Registry()), ids=lambda domain: domain.name)
def test_a_domain_and_its_table_agree(raw, domain):
    columns = {row[1] for row in raw.execute(f"PRAGMA table_xinfo({domain.name})")}
    assert set(domain.table.columns) <= columns
    assert columns - set(domain.table.columns) <= {
        "eta_at",
        "eta_date",
        "etd_at",
        "etd_date",
        "ramp_date",
        "delivery_date",
    }
    assert domain.table.name == domain.name
    fed = {ours for names in domain.wire_fields.values() for ours in names}
    if domain.is_parsed_by_field:
        assert fed | set(domain.derived) == set(domain.table.names)


async def test_readers_cannot_write_and_see_what_is_committed(tmp_path):
    async with Database.open(tmp_path) as db:
        await db.write(lambda tx: tx.meta.put("a", "1"))
        assert await db.read(lambda tx: tx.meta.get("a")) == "1"
        with pytest.raises(UnavailableError, match="readonly"):
            await db.read(lambda tx: tx.meta.put("a", "2"))


async def test_fifty_cycles_leave_no_file_and_no_thread_open(tmp_path):
    import os
    import threading

    def ours():
        return [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")]

    async with Database.open(tmp_path):
        pass
    files, threads = len(os.listdir("/proc/self/fd")), len(ours())
    for _ in range(50):
        async with Database.open(tmp_path) as db:
            await db.write(lambda tx: tx.meta.put("a", "1"))
    assert len(os.listdir("/proc/self/fd")) <= files
    assert len(ours()) <= threads


def test_the_connections_are_what_durability_needs(tmp_path):
    """Promise 1 stands on these: a commit is on disk when it returns, and only the writer resets the WAL."""
    migrate(tmp_path / "x.db")
    writer, reader = open_writer(tmp_path / "x.db"), open_reader(tmp_path / "x.db")
    try:
        told = {
            name: writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        }
        assert told == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
        assert reader.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        assert reader.execute("PRAGMA query_only").fetchone() == (1,)
    finally:
        reader.close()
        writer.close()


@pytest.mark.parametrize("column", ["status", "mode"])
def test_counting_shipments_reads_an_index_alone(raw, column):
    """The overview asks every few seconds: what that costs must not grow with the rows themselves."""
    asked = []
    raw.set_trace_callback(asked.append)
    Resources(raw).counts(Registry()["shipments"].table, column)
    raw.set_trace_callback(None)
    plan = raw.execute("EXPLAIN QUERY PLAN " + asked[-1]).fetchall()
    assert all("COVERING INDEX" in row[3] for row in plan), plan


def test_archived_shipments_are_found_by_an_index(raw):
    sql = "SELECT id FROM shipments WHERE archived_at IS NOT NULL ORDER BY as_of DESC, id DESC LIMIT 51"
    plan = raw.execute("EXPLAIN QUERY PLAN " + sql).fetchall()
    assert ["shipments_archived" in row[3] for row in plan] == [True]


@pytest.mark.parametrize("way", ["postpone", "take_back", "revive"])
def test_work_that_waits_again_takes_in_what_wants_the_same(raw, way):
    items = Items(raw)
    at = "2026-03-04T00:00:00.000Z"
    items.add(at, [NewItem("refresh", 2, merge_key="legs:7", payload="first")])
    (first,) = items.claim("refresh", at, "2026-03-04T00:01:00.000Z", 5)
    if way == "revive":
        items.mark_dead(first.id, at, 1)
    items.add(at, [NewItem("refresh", 0, merge_key="legs:7", payload="second")])
    if way == "postpone":
        items.postpone(first.id, "2026-03-04T00:05:00.000Z", 1)
    elif way == "take_back":
        assert items.reclaim_expired("9999") == 1
    else:
        assert items.retry_dead(first.id, at)
    rows = raw.execute("SELECT id, state, priority FROM items").fetchall()
    assert [(row[0], row[1]) for row in rows] == [(first.id, "ready")]
    if way == "postpone":
        assert rows[0][2] == 0
