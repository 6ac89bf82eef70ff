"""Tables as they were: a present row with every later change undone, and lists of such rows.

A list is read from two places with the same filters and order. What was not written since is read from the table
itself; the rest is rolled back into a `Shadow`, so that the cost grows with what was written since, not with the store.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec

from flexportd.errors import InvalidError
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import expression
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key, Table, plausible_or_none

MAX_OBJECTS = 25_000  # of one list that are rolled back
MAX_CHANGES = 500_000  # that are undone for them
_BATCH_SIZE = 200

Row = dict[str, Any]
References = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]

_REFERENCES = "shipment_references"
_UNKNOWN = ""  # in a shadow, whose marks may not be null
_STATE_COLUMNS = ("as_of", "source", "synced_at")


class AsOfTable:
    """One table as it was at a time of ours, as far as it was written since: in a database of its own.

    It holds little in memory, leaves no file behind, and must be closed. It may be read again and again, from one
    thread after the other: what is written in between joins it. Only filters that ask the table itself, or the
    references of shipments, can be asked of it. `derived` are the fields that other objects tell.
    """

    def __init__(
        self, table: Table, at: str, derived: Collection[str] = (), references: References | None = None
    ) -> None:
        self.table = table
        self.at = at
        self.derived = frozenset(derived)
        self.references = references
        self.listing = replace(table.listing, filters={**table.listing.filters, "still": expression("+synced_at <= ?")})
        self.seen: set[Key] = set()
        self.undone = 0
        self.lock = threading.Lock()
        self._raw: sqlite3.Connection | None = None

    def open(self, shapes: Iterable[str]) -> sqlite3.Connection:
        """The database, made at first use with tables of these shapes."""
        if self._raw is None:
            # No name: SQLite keeps it in memory while it is small, and else in a file that nobody else can open.
            raw = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=OFF", "cache_size=-8192", "ignore_check_constraints=1"):
                raw.execute(f"PRAGMA {pragma}")
            for shape in shapes:
                raw.execute(shape)
            self._raw = raw
        return self._raw

    def read(self, page: PageRequest) -> list[Row]:
        """What of a page is among the rows that were rolled back."""
        return [] if self._raw is None else self.listing.read(self._raw, page)

    def newest_as_of(self) -> str | None:
        """The newest state among them."""
        if self._raw is None:
            return None
        row = self._raw.execute(f"SELECT max(as_of) FROM {self.table.name}").fetchone()  # noqa: S608 (declared names)
        return row[0] or None

    def close(self) -> None:
        """Forget it all; waits for a read that is under way."""
        with self.lock:
            if self._raw is not None:
                self._raw.close()
                self._raw = None


class Past:
    """Reads what was known at a time of ours. That the history reaches back so far is for the caller to see to."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("past")

    def object_at(
        self, table: Table, key: Key, at: str, derived: Collection[str] = ()
    ) -> tuple[Row | None, str | None]:
        """One object as a list's row, None where it was not known then; and when it was first seen, None for never.

        `as_of`, `source` and `synced_at` are None where the history that would tell them is no longer kept.
        """
        sql = f"SELECT {', '.join(table.shown)} FROM {table.name} WHERE id = ?"  # noqa: S608 (declared names)
        found = self._raw.execute(sql, (key,)).fetchone()
        if found is None:
            return None, None
        row = dict(zip(table.shown, found, strict=True))
        first_seen_at = row["first_seen_at"]
        return (row if self._roll_back(table, row, at, derived) is not None else None), first_seen_at

    def page(self, shadow: AsOfTable, page: PageRequest) -> list[Row]:
        """One page of a list as it was. Raises InvalidError when too much was written since.

        The rows are those of `Listing.read`.
        """
        with shadow.lock:
            self._catch_up(shadow)
            listing = shadow.listing
            column = listing.sorts[page.sort]
            beside = () if column in (*listing.columns, *page.extra) else (column,)
            page = replace(page, extra=(*page.extra, *beside))
            rows = listing.read(self._raw, replace(page, filters={**page.filters, "still": (shadow.at,)}))
            rows += shadow.read(_with_blank_position(page, column))
        rows.sort(key=lambda row: (_rank(row[column]), _rank(row[listing.key])), reverse=page.descending)
        rows = rows[: page.limit + 1]
        for row in rows:
            for name in _STATE_COLUMNS:
                row[name] = row[name] or None
        return rows

    def prepare(self, shadow: AsOfTable) -> None:
        """Roll back what was written since. Raises InvalidError when it is too much."""
        with shadow.lock:
            self._catch_up(shadow)

    def newest_as_of(self, shadow: AsOfTable) -> str | None:
        """The newest state that any object of the list had."""
        sql = f"SELECT as_of FROM {shadow.table.name} WHERE +synced_at <= ? ORDER BY as_of DESC LIMIT 1"  # noqa: S608
        with shadow.lock:
            still = self._raw.execute(sql, (shadow.at,)).fetchone()
            return max(filter(None, (still and still[0], shadow.newest_as_of())), default=None)

    def _catch_up(self, shadow: AsOfTable) -> None:
        table = shadow.table
        sql = f"SELECT id FROM {table.name} WHERE synced_at > ? LIMIT ?"  # noqa: S608 (declared names)
        written = [row[0] for row in self._raw.execute(sql, (shadow.at, MAX_OBJECTS + 1))]
        if len(written) > MAX_OBJECTS:
            raise _too_many_changes(shadow, f"more than {MAX_OBJECTS} {table.name.replace('_', ' ')}")
        new = [key for key in written if key not in shadow.seen]
        if not new:
            return
        shapes = (table.name, *((_REFERENCES,) if shadow.references is not None else ()))
        into = shadow.open(self._raw.execute(self._sql["shape"], (name,)).fetchone()[0] for name in shapes)
        some: list[Row] = []
        with closing(self._rows(table, new)) as rows:
            for row in rows:
                past = self._roll_back(table, row, shadow.at, shadow.derived, shadow)
                if past is not None:
                    some.append(past)
                if len(some) == _BATCH_SIZE:
                    _insert(into, shadow, some)
                    some.clear()
        _insert(into, shadow, some)
        shadow.seen.update(new)

    def _rows(self, table: Table, keys: list[Key]) -> Generator[Row, None, None]:
        # While this statement is open, an interrupt of the connection ends whatever is done with its rows.
        sql = f"SELECT {', '.join(table.shown)} FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        with closing(self._raw.execute(sql, (msgspec.json.encode(keys).decode(),))) as cursor:
            for found in cursor:
                yield dict(zip(table.shown, found, strict=True))

    def _roll_back(
        self, table: Table, row: Row, at: str, derived: Collection[str], shadow: AsOfTable | None = None
    ) -> Row | None:
        """Undo in place what was written after `at`; None for an object that was not known then.

        From the newest change back to the first that is not later: should our clock have been set back meanwhile,
        this is what was known when it last showed this time.
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
        if shadow is not None:
            shadow.undone += undone
            if shadow.undone > MAX_CHANGES:
                raise _too_many_changes(shadow, f"more than {MAX_CHANGES} fields")
        return row

    def _revert(self, table: Table, row: Row, at: str, derived: Collection[str]) -> int:
        """How many changes were undone. The marks are those of the last change that was not."""
        key, undone, then = row["id"], 0, False
        row |= dict.fromkeys(_STATE_COLUMNS)
        with closing(self._raw.execute(self._sql["back"], (table.name, str(row["id"])))) as history:
            for field, old, as_of, changed_at, source in history:
                if not then and changed_at > at:
                    undone += 1
                    if field in row:
                        row[field] = old if old is None or field in table.json_names else msgspec.json.decode(old)
                    continue
                if not then:
                    then, row["as_of"], row["synced_at"] = True, as_of, changed_at
                if field not in derived:  # what other objects tell says nothing of this one's own source
                    row["source"] = source
                    break
        row["id"] = key
        return undone


def _insert(into: sqlite3.Connection, shadow: AsOfTable, rows: list[Row]) -> None:
    table = shadow.table
    blank = {"seq": 0, "raw": "", "older": None, "digest": None, "tie_breaker": "", **dict.fromkeys(table.internal)}
    values = [
        [row[name] if name not in _STATE_COLUMNS else row[name] or _UNKNOWN for name in table.columns]
        for row in (blank | row for row in rows)
    ]
    into.execute("BEGIN")
    into.executemany(table.insert, values)
    if shadow.references is not None:
        found = [(kind, value, row["id"]) for row in rows for kind, value in shadow.references(row)]
        into.executemany(f"INSERT OR IGNORE INTO {_REFERENCES} VALUES (?, ?, ?)", found)  # noqa: S608 (declared name)
    into.execute("COMMIT")


def _with_blank_position(page: PageRequest, column: str) -> PageRequest:
    """The page as a shadow is asked for it: a mark that is not known is empty there."""
    if page.after is None or page.after[0] is not None or column not in _STATE_COLUMNS:
        return page
    return replace(page, after=(_UNKNOWN, page.after[1]))


def _rank(value: Any) -> tuple[int, Any]:
    """A value where SQLite sorts it: nothing, numbers, texts."""
    return (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, value)


def _too_many_changes(shadow: AsOfTable, what: str) -> InvalidError:
    return InvalidError(
        f"as_of is {shadow.at}: {what} have changed since, too many to roll back for a list; "
        "ask for a later time, or for single objects",
        "as_of",
    )
