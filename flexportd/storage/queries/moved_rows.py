"""What has moved in a list since it began to be read, and where it stood then."""

import sqlite3
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from flexportd.errors import ExpiredError
from flexportd.storage.change_log import decode_positions, decode_states
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.list_query import ListQuery, SortKey, sort_key
from flexportd.storage.repositories.resources import Key, Table, instant, plausible_or_none

MAX_ROWS = 200_000  # that may have moved since a list began to be read

_BATCH_SIZE = 500  # of the journal that are read at once

_OldValues = dict[Key, dict[str, Any]]
_Entry = tuple[tuple[int, int] | None, list[Any]]
"""(first and last row of the history, [(key, as_of before)])."""


@dataclass(frozen=True)
class TableWithoutHistory:
    """A table that has no history, and rows that move in its lists: the journal tells where they stood.

    Whoever writes a row notes in the journal what its `columns` were, None for a new row. `numbers` are whole numbers.
    """

    name: str
    listing: ListQuery
    columns: tuple[str, ...]
    numbers: frozenset[str] = frozenset()


class SnapshotOrder:
    """Where the rows of one table stood at a number of the journal, as far as they were written since.

    It may be used by several threads, one after the other.
    """

    def __init__(self, table: Table | TableWithoutHistory, column: str, since: int) -> None:
        self.name = table.name
        self.column = column
        self.since = since
        self.through = since
        self.moved: dict[Key, SortKey | None] = {}  # where each stood; None: it is new
        self.positions: list[SortKey] = []  # of those that were there, in order
        self.lock = threading.Lock()
        self._moves = (
            _JournalReader(table, column) if isinstance(table, TableWithoutHistory) else _HistoryReader(table, column)
        )

    def catch_up(self, raw: sqlite3.Connection, last: int) -> None:
        """Learn what was written up to this number, the last of this snapshot. Raises ExpiredError."""
        if last <= self.through:
            return
        learnt = _Delta(self.name, self.moved)
        self._add(self._moves.read(raw, self.through, learnt), learnt.new)
        self.through = last

    def _add(self, values: Mapping[Key, Any], new: Iterable[Key]) -> None:
        """Give what moved its place, for good."""
        stood = {key: sort_key(value, key) for key, value in values.items()}
        self.positions = sorted([*self.positions, *stood.values()])
        self.moved |= {**dict.fromkeys(new), **stood}

    def after(
        self, after: SortKey, until: SortKey | None, *, descending: bool, keys: Iterable[Key] | None = None
    ) -> Iterator[SortKey]:
        """The places of moved rows behind one and not behind another, in order; of these keys alone where given."""
        if keys is not None:
            some = sorted((one for key in keys if (one := self.moved.get(key))), reverse=descending)
            yield from (one for one in some if _between(after, one, until, descending=descending))
            return
        if descending:
            low = 0 if until is None else bisect_left(self.positions, until)
            yield from (self.positions[at] for at in range(bisect_left(self.positions, after) - 1, low - 1, -1))
        else:
            high = len(self.positions) if until is None else bisect_right(self.positions, until)
            yield from islice(self.positions, bisect_right(self.positions, after), high)


def _between(after: SortKey, one: SortKey, until: SortKey | None, *, descending: bool) -> bool:
    if descending:
        return one < after and (until is None or one >= until)
    return one > after and (until is None or one <= until)


@dataclass
class _Delta:
    """What was written since a walk last looked: the fields of rows as they first were, and which rows are new."""

    name: str
    known: Mapping[Key, Any]
    moves: _OldValues = field(default_factory=dict)
    new: set[Key] = field(default_factory=set)

    def is_new(self, key: Key) -> bool:
        """Whether nothing was learnt of this row yet."""
        return key not in self.known and key not in self.moves and key not in self.new

    def check(self) -> None:
        """Raises ExpiredError where it is more than is remembered."""
        if len(self.known) + len(self.new) + len(self.moves) > MAX_ROWS:
            raise cursor_expired(f"more than {MAX_ROWS} {self.name.replace('_', ' ')} have changed since")


class _JournalReader:
    """The journal tells where each row stood."""

    def __init__(self, table: TableWithoutHistory, column: str) -> None:
        self._name = table.name
        self._column = column
        self._at = table.columns.index(column)
        self._sql = queries("moves")

    def read(self, raw: sqlite3.Connection, behind: int, learnt: _Delta) -> Mapping[Key, Any]:
        """Read what was written behind a number of the journal; what each row was sorted by. Raises ExpiredError."""
        while True:
            rows = raw.execute(self._sql["placed"], (behind, _BATCH_SIZE)).fetchall()
            for _, told in rows:
                for key, values in decode_positions(told).get(self._name, ()):
                    if learnt.is_new(key):
                        if values is None:
                            learnt.new.add(key)
                        else:
                            learnt.moves[key] = {self._column: values[self._at]}
            learnt.check()
            if len(rows) < _BATCH_SIZE:
                return {key: fields[self._column] for key, fields in learnt.moves.items()}
            behind = rows[-1][0]


class _HistoryReader:
    """The journal tells which rows of a resource were written, and the history what their fields were."""

    def __init__(self, table: Table, column: str) -> None:
        self._table = table
        self._column = column
        self._sql = queries("moves")

    def read(self, raw: sqlite3.Connection, behind: int, learnt: _Delta) -> Mapping[Key, Any]:
        """Read what was written behind a number of the journal; what each row was sorted by. Raises ExpiredError."""
        for entries in self._entries(raw, behind):
            keys = {str(one.key): one.key for _, states in entries for one in states if one.key not in learnt.known}
            learnt.new.update(one.key for _, states in entries for one in states if one.as_of is None)
            self._collect(raw, entries, keys, learnt)
            learnt.check()
        for key in learnt.new:
            learnt.moves.pop(key, None)
        return self._values(raw, learnt.moves)

    def _entries(
        self, raw: sqlite3.Connection, behind: int
    ) -> Iterator[list[tuple[tuple[int, int] | None, list[Any]]]]:
        """What was written of the table."""
        while True:
            rows = raw.execute(self._sql["written"], (behind, _BATCH_SIZE)).fetchall()
            found = [
                (None if first is None else (first, last), states)
                for _, first, last, told in rows
                if (states := decode_states(told).get(self._table.name))
            ]
            if found:
                yield found
            if len(rows) < _BATCH_SIZE:
                return
            behind = rows[-1][0]

    def _collect(
        self,
        raw: sqlite3.Connection,
        entries: Sequence[_Entry],
        keys: dict[str, Key],
        learnt: _Delta,
    ) -> None:
        """The first value that each row had, of each field that decides on its place."""
        moves = learnt.moves
        if self._column == "as_of":
            for _, states in entries:
                for one in states:
                    if one.key not in learnt.known and one.key not in moves:
                        moves[one.key] = {"as_of": one.as_of}
            return
        spans = [span for span, _ in entries if span is not None]
        if not spans:
            return
        oldest = raw.execute(self._sql["oldest_change"]).fetchone()[0]
        if oldest is None or oldest > spans[0][0]:
            raise cursor_expired("the history of that time was deleted")
        asked = (spans[0][0], spans[-1][1], self._table.name, msgspec.json.encode(self._fields()).decode())
        for text, name, old in raw.execute(self._sql["moved"], asked):
            if text in keys:
                moves.setdefault(keys[text], {}).setdefault(name, old and msgspec.json.decode(old))

    def _fields(self) -> Sequence[str]:
        column, table = self._column, self._table
        if column in table.computed:
            return table.computed[column]
        return (column.removesuffix("_at") if column.removesuffix("_at") in table.moments else column,)

    def _values(self, raw: sqlite3.Connection, moves: _OldValues) -> Mapping[Key, Any]:
        if self._column == "as_of":
            return {key: fields["as_of"] for key, fields in moves.items()}
        names = self._fields()
        _fill_unchanged(raw, self._table, names, moves)
        if names[0] not in self._table.moments:
            return {key: fields[names[0]] for key, fields in moves.items()}
        fits = plausible_or_none if self._column in self._table.computed else bool
        told = {
            key: next((fields[name] for name in names if fits(fields[name])), None) for key, fields in moves.items()
        }
        return {key: instant(value) if value else None for key, value in told.items()}


def _fill_unchanged(raw: sqlite3.Connection, table: Table, names: Sequence[str], moves: _OldValues) -> None:
    """Add the fields that have not moved: they are as they were."""
    lacking = [key for key, old in moves.items() if len(old) < len(names)]
    if lacking:
        sql = f"SELECT id, {', '.join(names)} FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        for key, *values in raw.execute(sql, (msgspec.json.encode(lacking).decode(),)):
            moves[key] = dict(zip(names, values, strict=True)) | moves[key]
    for old in moves.values():
        for name in names:
            old.setdefault(name, None)


def cursor_expired(why: str) -> ExpiredError:
    """For a cursor that no longer can be followed."""
    return ExpiredError(f"cursor has expired: {why}; omit it to start over", "cursor")
