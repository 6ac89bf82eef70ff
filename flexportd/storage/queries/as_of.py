"""Tables as of an earlier time: current rows with every later change undone, and lists of such rows.

A list is merged from two sources with the same filters and order. Rows that were not written since come from the table
itself; the others are rolled back into an `AsOfTable`. So the cost grows with what was written since, not with the
size of the table.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec

from flexportd.errors import InvalidError
from flexportd.storage.queries.filters import expression
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key, Table, plausible_or_none
from flexportd.storage.statements import Repository

MAX_OBJECTS = 25_000  # objects of one list that are rolled back
MAX_CHANGES = 500_000  # changes that are undone for them
_BATCH_SIZE = 200

Row = dict[str, Any]
References = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]

_REFERENCES = "shipment_references"
_UNKNOWN = ""  # in an `AsOfTable`, whose state columns may not be null
_STATE_COLUMNS = ("as_of", "source", "synced_at")


class AsOfTable:
    """The rows of one table that were written since a time on our clock, as they were then, in a temporary database.

    It uses little memory, leaves no file behind, and must be closed. It can be read repeatedly, by one thread after the
    other; rows that are written in between are added. Only filters that read the table itself, or the references of
    shipments, apply to it. `derived` are the fields that come from other objects.
    """

    def __init__(
        self, table: Table, at: str, derived: Collection[str] = (), references: References | None = None
    ) -> None:
        self.table = table
        self.at = at
        self.derived = frozenset(derived)
        self.references = references
        self.listing = replace(
            table.listing, filters={**table.listing.filters, "unchanged": expression("+synced_at <= ?")}
        )
        self.seen: set[Key] = set()
        self.undone = 0
        self.lock = threading.Lock()
        self._raw: sqlite3.Connection | None = None

    def open(self, statements: Iterable[str]) -> sqlite3.Connection:
        """The database, created at first use with these CREATE TABLE statements."""
        if self._raw is None:
            # No name: SQLite keeps it in memory while it is small, and else in a file that no other process can open.
            raw = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=OFF", "cache_size=-8192", "ignore_check_constraints=1"):
                raw.execute(f"PRAGMA {pragma}")
            for statement in statements:
                raw.execute(statement)
            self._raw = raw
        return self._raw

    def read(self, page: PageRequest) -> list[Row]:
        """The rows of a page among those that were rolled back."""
        return [] if self._raw is None else self.listing.read(self._raw, page)

    def newest_as_of(self) -> str | None:
        """The `as_of` of the newest state among them."""
        if self._raw is None:
            return None
        row = self._raw.execute(f"SELECT max(as_of) FROM {self.table.name}").fetchone()  # noqa: S608 (declared names)
        return row[0] or None

    def close(self) -> None:
        """Delete the database; waits for a read in progress."""
        with self.lock:
            if self._raw is not None:
                self._raw.close()
                self._raw = None


class Past(Repository):
    """Reads the state at an earlier time. The caller checks that the history reaches back that far."""

    family = "as_of"

    def object_at(
        self, table: Table, key: Key, at: str, derived: Collection[str] = ()
    ) -> tuple[Row | None, str | None]:
        """One object as a list's row, None if it was not known then; and when it was first seen, None if never.

        `as_of`, `source` and `synced_at` are None where their history is no longer stored.
        """
        sql = f"SELECT {', '.join(table.shown)} FROM {table.name} WHERE id = ?"  # noqa: S608 (declared names)
        values = self._raw.execute(sql, (key,)).fetchone()
        if values is None:
            return None, None
        row = dict(zip(table.shown, values, strict=True))
        first_seen_at = row["first_seen_at"]
        return (row if self._roll_back(table, row, at, derived) is not None else None), first_seen_at

    def page(self, table_then: AsOfTable, page: PageRequest) -> list[Row]:
        """One page of a list as it was, as `ListQuery.read` gives it. Raises InvalidError if too much has changed."""
        with table_then.lock:
            self._catch_up(table_then)
            listing = table_then.listing
            column = listing.sorts[page.sort]
            if column not in (*listing.columns, *page.extra):
                page = replace(page, extra=(*page.extra, column))
            rows = listing.read(self._raw, replace(page, filters={**page.filters, "unchanged": (table_then.at,)}))
            if page.after is not None and page.after[0] is None and column in _STATE_COLUMNS:
                page = replace(page, after=(_UNKNOWN, page.after[1]))
            rows += table_then.read(page)
        rows.sort(key=lambda row: (_sort_rank(row[column]), _sort_rank(row[listing.key])), reverse=page.descending)
        rows = rows[: page.limit + 1]
        for row in rows:
            for name in _STATE_COLUMNS:
                row[name] = row[name] or None
        return rows

    def prepare(self, table_then: AsOfTable) -> None:
        """Roll back what was written since. Raises InvalidError if it is too much."""
        with table_then.lock:
            self._catch_up(table_then)

    def newest_as_of(self, table_then: AsOfTable) -> str | None:
        """The `as_of` of the newest state that any object of the list had."""
        sql = f"SELECT as_of FROM {table_then.table.name} WHERE +synced_at <= ? ORDER BY as_of DESC LIMIT 1"  # noqa: S608
        with table_then.lock:
            unchanged = self._raw.execute(sql, (table_then.at,)).fetchone()
            return max(filter(None, (unchanged and unchanged[0], table_then.newest_as_of())), default=None)

    def _catch_up(self, table_then: AsOfTable) -> None:
        table = table_then.table
        sql = f"SELECT id FROM {table.name} WHERE synced_at > ? LIMIT ?"  # noqa: S608 (declared names)
        written = [row[0] for row in self._raw.execute(sql, (table_then.at, MAX_OBJECTS + 1))]
        if len(written) > MAX_OBJECTS:
            raise _too_many_changes(table_then, f"more than {MAX_OBJECTS} {table.name.replace('_', ' ')}")
        new = [key for key in written if key not in table_then.seen]
        if not new:
            return
        shapes = (table.name, *((_REFERENCES,) if table_then.references is not None else ()))
        into = table_then.open(str(self._text("table_definition", name)) for name in shapes)
        batch: list[Row] = []
        with closing(self._rows(table, new)) as rows:
            for row in rows:
                past = self._roll_back(table, row, table_then.at, table_then.derived, table_then)
                if past is not None:
                    batch.append(past)
                if len(batch) == _BATCH_SIZE:
                    _insert(into, table_then, batch)
                    batch.clear()
        _insert(into, table_then, batch)
        table_then.seen.update(new)

    def _rows(self, table: Table, keys: list[Key]) -> Generator[Row, None, None]:
        # While this statement is open, an interrupt of the connection also stops the processing of its rows.
        sql = f"SELECT {', '.join(table.shown)} FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        with closing(self._raw.execute(sql, (msgspec.json.encode(keys).decode(),))) as cursor:
            for values in cursor:
                yield dict(zip(table.shown, values, strict=True))

    def _roll_back(
        self, table: Table, row: Row, at: str, derived: Collection[str], table_then: AsOfTable | None = None
    ) -> Row | None:
        """Undo in place what was written after `at`; None for an object that was not known then.

        It goes from the newest change back to the first that is not later. If our clock was set back meanwhile, this is
        the state when it last showed this time.
        """
        if row["first_seen_at"] > at:
            return None
        if row["synced_at"] <= at:
            return row
        undone = self._revert(table, row, at, derived)
        for field in table.public:
            if field.first_of:
                row[field.name] = next((row[name] for name in field.first_of if plausible_or_none(row[name])), None)
            elif field.derived:
                row[field.name] = None
        row |= {f"{name}_at": at for name, at in zip(table.moments, table.instants(row), strict=True)}
        if table_then is not None:
            table_then.undone += undone
            if table_then.undone > MAX_CHANGES:
                raise _too_many_changes(table_then, f"more than {MAX_CHANGES} fields")
        return row

    def _revert(self, table: Table, row: Row, at: str, derived: Collection[str]) -> int:
        """How many changes were undone. The state columns become those of the last change that was not."""
        key, undone, then = row["id"], 0, False
        row |= dict.fromkeys(_STATE_COLUMNS)
        with closing(self._raw.execute(self._sql["history_back"], (table.name, str(row["id"])))) as history:
            for field, old, as_of, changed_at, source in history:
                if not then and changed_at > at:
                    undone += 1
                    if field in row:
                        row[field] = old if old is None or field in table.json_names else msgspec.json.decode(old)
                    continue
                if not then:
                    then, row["as_of"], row["synced_at"] = True, as_of, changed_at
                if field not in derived:  # the source of a derived field is not that of the object
                    row["source"] = source
                    break
        row["id"] = key
        return undone


def _insert(into: sqlite3.Connection, table_then: AsOfTable, rows: list[Row]) -> None:
    table = table_then.table
    blank = {"seq": 0, "raw": "", "older": None, "digest": None, "tie_breaker": "", **dict.fromkeys(table.internal)}
    values = [
        [row[name] if name not in _STATE_COLUMNS else row[name] or _UNKNOWN for name in table.columns]
        for row in (blank | row for row in rows)
    ]
    into.execute("BEGIN")
    into.executemany(table.insert, values)
    if table_then.references is not None:
        references = [(kind, value, row["id"]) for row in rows for kind, value in table_then.references(row)]
        into.executemany(f"INSERT OR IGNORE INTO {_REFERENCES} VALUES (?, ?, ?)", references)  # noqa: S608 (declared name)
    into.execute("COMMIT")


def _sort_rank(value: Any) -> tuple[int, Any]:
    return (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, value)


def _too_many_changes(table_then: AsOfTable, what: str) -> InvalidError:
    return InvalidError(
        f"as_of is {table_then.at}: {what} have changed since, too many to roll back for a list; "
        "ask for a later time, or for single objects",
        "as_of",
    )
