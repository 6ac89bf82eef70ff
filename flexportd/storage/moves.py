"""What has moved in a list since it began to be read, and where it stood then."""

import sqlite3
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from flexportd.errors import ExpiredError
from flexportd.storage.journal import decode_states
from flexportd.storage.listing import Place, place
from flexportd.storage.queries import queries
from flexportd.storage.resources import Key, Table, instant

MOST_ROWS = 200_000  # that may have moved since a list began to be read

_ENTRIES = 500  # of the journal that are read at once

_Moves = dict[Key, dict[str, Any]]


class Walk:
    """Where the rows of one table stood at a number of the journal, as far as they were written since.

    It may be used by several threads, one after the other.
    """

    def __init__(self, table: Table, column: str, since: int) -> None:
        self.table = table
        self.column = column
        self.since = since
        self.through = since
        self.moved: dict[Key, Place | None] = {}  # where each stood; None: it is new
        self.places: list[Place] = []  # of those that were there, in order
        self.lock = threading.Lock()
        self._sql = queries("moves")

    def catch_up(self, raw: sqlite3.Connection, last: int) -> None:
        """Learn what was written up to this number, the last of this snapshot. Raises ExpiredError."""
        if last <= self.through:
            return
        new: set[Key] = set()
        moves: _Moves = {}
        for entries in self._entries(raw):
            keys = {str(key): key for _, states in entries for key, _ in states if key not in self.moved}
            new.update(key for _, states in entries for key, as_of in states if as_of is None)
            self._note(raw, entries, keys, moves)
            if len(self.moved) + len(new) + len(moves) > MOST_ROWS:
                raise outdated(f"more than {MOST_ROWS} {self.table.name.replace('_', ' ')} have moved since")
        self._take(raw, {key: old for key, old in moves.items() if key not in new}, new)
        self.through = last

    def _entries(self, raw: sqlite3.Connection) -> Iterator[list[tuple[tuple[int, int] | None, list[Any]]]]:
        """What was written of the table: (first and last row of the history, [(key, as_of before)])."""
        behind = self.through
        while True:
            rows = raw.execute(self._sql["written"], (behind, _ENTRIES)).fetchall()
            found = [
                (None if first is None else (first, last), states)
                for _, first, last, told in rows
                if (states := decode_states(told).get(self.table.name))
            ]
            if found:
                yield found
            if len(rows) < _ENTRIES:
                return
            behind = rows[-1][0]

    def _note(
        self,
        raw: sqlite3.Connection,
        entries: Sequence[tuple[tuple[int, int] | None, list[Any]]],
        keys: dict[str, Key],
        moves: _Moves,
    ) -> None:
        """The first value that each row had, of each field that decides on its place."""
        if self.column == "as_of":
            for _, states in entries:
                for key, as_of in states:
                    if key not in self.moved and key not in moves:
                        moves[key] = {"as_of": as_of}
            return
        spans = [span for span, _ in entries if span is not None]
        if not spans:
            return
        oldest = raw.execute(self._sql["oldest_change"]).fetchone()[0]
        if oldest is None or oldest > spans[0][0]:
            raise outdated("the history of that time is no longer kept")
        asked = (spans[0][0], spans[-1][1], self.table.name, msgspec.json.encode(self._fields()).decode())
        for text, name, old in raw.execute(self._sql["moved"], asked):
            if text in keys:
                moves.setdefault(keys[text], {}).setdefault(name, old and msgspec.json.decode(old))

    def _fields(self) -> Sequence[str]:
        column, table = self.column, self.table
        if column in table.computed:
            return table.computed[column]
        return (column.removesuffix("_at") if column.removesuffix("_at") in table.moments else column,)

    def _take(self, raw: sqlite3.Connection, moves: _Moves, new: Iterable[Key]) -> None:
        """Give what moved its place, for good."""
        if self.column != "as_of":
            _complete(raw, self.table, self._fields(), moves)
        value_of = self._value_of()
        stood = {key: place(value_of(fields), key) for key, fields in moves.items()}
        self.places = sorted([*self.places, *stood.values()])
        self.moved |= {**stood, **dict.fromkeys(new)}

    def _value_of(self) -> Callable[[dict[str, Any]], Any]:
        if self.column == "as_of":
            return lambda fields: fields["as_of"]
        names = self._fields()
        if names[0] not in self.table.moments:
            return lambda fields: fields[names[0]]

        def value(fields: dict[str, Any]) -> Any:
            found = next((fields[name] for name in names if fields[name]), None)
            return instant(found) if found else None

        return value

    def behind(
        self, after: Place, until: Place | None, *, descending: bool, keys: Iterable[Key] | None = None
    ) -> Iterator[Place]:
        """The places of moved rows behind one and not behind another, in order; of these keys alone where given."""
        if keys is not None:
            some = sorted((one for key in keys if (one := self.moved.get(key))), reverse=descending)
            yield from (one for one in some if _between(after, one, until, descending=descending))
            return
        if descending:
            low = 0 if until is None else bisect_left(self.places, until)
            yield from (self.places[at] for at in range(bisect_left(self.places, after) - 1, low - 1, -1))
        else:
            high = len(self.places) if until is None else bisect_right(self.places, until)
            yield from islice(self.places, bisect_right(self.places, after), high)


def _between(after: Place, one: Place, until: Place | None, *, descending: bool) -> bool:
    if descending:
        return one < after and (until is None or one >= until)
    return one > after and (until is None or one <= until)


def _complete(raw: sqlite3.Connection, table: Table, names: Sequence[str], moves: _Moves) -> None:
    """Add the fields that have not moved: they are as they were."""
    lacking = [key for key, old in moves.items() if len(old) < len(names)]
    if lacking:
        sql = f"SELECT id, {', '.join(names)} FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        for key, *values in raw.execute(sql, (msgspec.json.encode(lacking).decode(),)):
            moves[key] = dict(zip(names, values, strict=True)) | moves[key]
    for old in moves.values():
        for name in names:
            old.setdefault(name, None)


def outdated(why: str) -> ExpiredError:
    """For a cursor that no longer can be followed."""
    return ExpiredError(f"cursor is too old: {why}; leave it away to begin anew", "cursor")
