"""Numbered, forward-only migrations, each in one transaction with the number it leads to.

A new database gets the result of all of them from one script, `migrations/schema.sql`, which is generated from them.
"""

import contextlib
import re
import sqlite3
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flexportd.errors import SchemaError
from flexportd.storage import substring_index
from flexportd.storage.connection import open_writer

_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_VERSION = re.compile(r"^-- Schema version (\d+)\b")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; `number` is the schema version it leads to."""

    number: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All steps in order, without a hole."""
    folder = resources.files("flexportd.storage").joinpath("migrations")
    found = []
    for entry in folder.iterdir():
        match = _FILE.match(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda step: step.number)
    if [step.number for step in found] != list(range(1, len(found) + 1)):
        raise SchemaError("the migrations are not numbered 1, 2, 3 …")
    return found


def initial_schema() -> Migration:
    """The schema of a new database as one step. If its version is not the last, the later migrations follow.

    Raises SchemaError for a script without a version.
    """
    sql = resources.files("flexportd.storage").joinpath("migrations", "schema.sql").read_text("utf-8")
    match = _VERSION.match(sql)
    if match is None:
        raise SchemaError("migrations/schema.sql does not begin with its schema version")
    return Migration(int(match[1]), "schema", sql)


def migrate(path: Path) -> int:
    """Bring the database up to this program; its schema version. A copy is kept from before.

    Raises SchemaError for a database from a newer program, one that is not ours, a step that fails, or an SQLite
    without what flexportd needs: the database is then as it was.
    """
    if not substring_index.is_supported():
        raise SchemaError(
            f"Python uses SQLite {sqlite3.sqlite_version}; flexportd needs SQLite 3.34 or newer, built with FTS5"
        )
    try:
        with contextlib.closing(open_writer(path)) as raw:
            return _migrate(raw, path)
    except sqlite3.DatabaseError as error:
        raise SchemaError(f"{path}: {error}") from error


def _migrate(raw: sqlite3.Connection, path: Path) -> int:
    steps = migrations()
    have: int = raw.execute("PRAGMA user_version").fetchone()[0]
    if have > len(steps):
        raise SchemaError(
            f"{path} has schema {have}, this flexportd knows {len(steps)}: it was written by a newer flexportd; "
            "install that version, or restore a backup made before it"
        )
    if have == 0 and raw.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise SchemaError(f"{path} is an SQLite database, but not one of flexportd's")
    if 0 < have < len(steps):
        _back_up(raw, path, have)
    if have == 0:
        initial = initial_schema()
        _apply(raw, initial)
        have = initial.number
    for step in steps[have:]:
        _apply(raw, step)
    return len(steps)


def _apply(raw: sqlite3.Connection, step: Migration) -> None:
    raw.execute("BEGIN IMMEDIATE")
    try:
        for statement in split_statements(step.sql):
            raw.execute(statement)
        raw.execute(f"PRAGMA user_version={step.number}")
        raw.execute("COMMIT")
    except sqlite3.Error as error:
        raw.execute("ROLLBACK")
        raise SchemaError(f"migration {step.number:04} ({step.name}) failed: {error}") from error


def split_statements(sql: str) -> list[str]:
    """A script cut into statements, so that one transaction can hold them all."""
    found, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def _back_up(raw: sqlite3.Connection, path: Path, version: int) -> None:
    folder = path.parent / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    copy = folder / f"{path.stem}-schema-{version:04}.db"
    if not copy.exists():
        raw.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
