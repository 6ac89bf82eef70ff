"""Stable pagination: a list is read page by page in the order that it had when its first page was read.

The change log tells which rows were written since, and the history what they were sorted by before. A page is merged
from two sources: rows of the table that have not moved, and those that have, at their former positions. Positions no
longer change, so each row that exists throughout comes exactly once. It is shown as it is now, and only if it matches
the filters now. Rows that are new since then are left out. The cost grows with what was written since, not with the
size of the table.
"""

import sqlite3
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from flexportd.errors import ExpiredError, InvalidError
from flexportd.storage.change_log import Journal, decode_positions, decode_states, time_number
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.list_query import ListQuery, PageRequest, SortKey, sort_key
from flexportd.storage.queries.table import Key, Table, instant, plausible_or_none

MAX_SNAPSHOTS = 8  # that are remembered; others are read from the journal again
MAX_REMEMBERED_ROWS = 300_000  # rows of all walks together
POSITION = ""
"""The name under which a row of a walk bears the value it is sorted by there, that of then, and since when that is."""

_SCAN_WINDOW = 512  # entries of the journal, at most twice so many
_CANDIDATES = 4000  # moved rows that are held against the filters at once

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
            keys = {str(key): key for _, states in entries for key, _ in states if key not in learnt.known}
            learnt.new.update(key for _, states in entries for key, as_of in states if as_of is None)
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
                for key, as_of in states:
                    if key not in learnt.known and key not in moves:
                        moves[key] = {"as_of": as_of}
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


class SnapshotPages:
    """The walks of one store that are under way. It may be used by several threads."""

    def __init__(self) -> None:
        self._walks: OrderedDict[tuple[str, str, int], SnapshotOrder] = OrderedDict()
        self._newest: dict[str, tuple[int, int]] = {}  # table -> its newest entry, as far as the journal was looked at
        self._lock = threading.Lock()

    def read(
        self, raw: sqlite3.Connection, table: Table | TableWithoutHistory, page: PageRequest
    ) -> list[dict[str, Any]]:
        """The rows of a page that says since when, as `Listing.read` gives them, each with its `PLACE`.

        Raises InvalidError for a number that the journal has not given out, ExpiredError for one too far back.
        """
        listing = table.listing
        column = listing.sorts[page.sort]
        own: int | None = None
        if "audience" in page.filters:
            own, page = _audience_start(raw, table, page)
        begun = self._start_number(raw, table) if own is None and page.since is None else page.since
        if column == listing.key or (isinstance(table, TableWithoutHistory) and column not in table.columns):
            # It stands still by itself: its cursors carry since when for the sake of their origin alone.
            mark = begun if own is None else own
            return [row | {POSITION: (row[column], mark)} for row in listing.read(raw, page)]
        is_number = isinstance(table, TableWithoutHistory) and column in table.numbers
        if page.after is None or page.since is None or not self._has_changes(raw, page.since):
            if page.after is not None:
                page = replace(
                    page, after=(_cursor_value(raw, listing, page, None, is_number=is_number), page.after[1])
                )
            mark = begun if own is None else own
            return [row | {POSITION: (row[column], mark)} for row in listing.read(raw, page)]
        walk = self._order(table, column, page.since)
        with walk.lock:
            try:
                walk.catch_up(raw, Journal(raw).last())
            except ExpiredError:
                self._discard(walk)
                raise
            after = (_cursor_value(raw, listing, page, walk, is_number=is_number), page.after[1])
            places = _merge(raw, listing, replace(page, after=after), walk)
        self._make_room(walk)
        rows = listing.by_keys(raw, page, [key for *_, key in places])
        shown = ((value if rank else None, key) for rank, value, _, key in places)
        mark = page.since if own is None else own
        return [rows[key] | {POSITION: (value, mark)} for value, key in shown if key in rows]

    def __len__(self) -> int:
        return len(self._walks)

    @property
    def rows(self) -> int:
        """How many rows are remembered."""
        return sum(len(one.moved) for one in self._walks.values())

    def _start_number(self, raw: sqlite3.Connection, table: Table | TableWithoutHistory) -> int:
        """Since when a list that begins now is read: the newest entry that tells of its table, if it is not long ago.

        So the cursor of a list that stands still stays what it is, whatever else is written.
        """
        journal = Journal(raw)
        last = journal.last()
        base = max(0, journal.first() - 1, last // _SCAN_WINDOW * _SCAN_WINDOW - _SCAN_WINDOW)
        newest, through = self._newest.get(table.name, (base, base))
        if newest > last:
            return last  # another reader is ahead of this snapshot
        if last > through:
            mark = f'"{table.name}":['
            found = raw.execute(queries("walk")["newest"], (max(through, base), last, mark, mark)).fetchone()[0]
            newest = max(base, newest if found is None else found)
            self._newest[table.name] = newest, last
        return max(newest, base)

    def _has_changes(self, raw: sqlite3.Connection, since: int) -> bool:
        journal = Journal(raw)
        last = journal.last()
        if not 0 <= since <= last:
            raise _foreign_cursor()
        if since < last and journal.first() > since + 1:
            raise cursor_expired("the changes since then are no longer stored")
        return since < last

    def _order(self, table: Table | TableWithoutHistory, column: str, since: int) -> SnapshotOrder:
        named = (table.name, column, since)
        with self._lock:
            walk = self._walks.setdefault(named, SnapshotOrder(table, column, since))
            self._walks.move_to_end(named)
            return walk

    def _make_room(self, walk: SnapshotOrder) -> None:
        with self._lock:
            while len(self) > MAX_SNAPSHOTS or (len(self) > 1 and self.rows > MAX_REMEMBERED_ROWS):
                oldest = next(iter(self._walks.values()))
                if oldest is walk:
                    return
                self._drop(oldest)

    def _discard(self, walk: SnapshotOrder) -> None:
        with self._lock:
            self._drop(walk)

    def _drop(self, walk: SnapshotOrder) -> None:
        self._walks.pop((walk.name, walk.column, walk.since), None)


def _audience_start(
    raw: sqlite3.Connection, table: Table | TableWithoutHistory, page: PageRequest
) -> tuple[int, PageRequest]:
    """What the cursors of an audience's list say of when it began, and the page with the number of the journal.

    Numbers of the journal count what is written of all shipments. So these cursors tell when a row of the audience's
    own was last written, by which they stay what they are whatever is written of others.
    """
    where = table.listing.filters["audience"]
    sql = f"SELECT max(synced_at) FROM {table.name} WHERE {where}"  # noqa: S608 (declared fragments)
    written = raw.execute(sql, page.filters["audience"]).fetchone()[0]
    newest = time_number(written) if written else 0
    if page.after is None or page.since is None:
        return newest, replace(page, since=None)
    journal = Journal(raw)
    return page.since, replace(page, since=journal.last() if page.since == newest else journal.entry_at(page.since))


def _merge(raw: sqlite3.Connection, listing: ListQuery, page: PageRequest, walk: SnapshotOrder) -> list[SortKey]:
    """The next places of the list, one more than `limit` when another page follows."""
    wanted, after = page.limit + 1, page.after or (None, "")
    still: list[SortKey] = []
    for value, key in listing.positions(raw, page, wanted + len(walk.moved)):
        if key not in walk.moved:
            still.append(sort_key(value, key))
            if len(still) == wanted:
                break
    until = still[-1] if len(still) == wanted else None
    moved: list[SortKey] = []
    # Where much has moved and few rows match, those are looked up among the moved, and not the other way round.
    some_match = page.filters and len(walk.moved) > _CANDIDATES
    matching = listing.matching(raw, page, _CANDIDATES) if some_match else None
    candidates = walk.after(sort_key(*after), until, descending=page.descending, keys=matching)
    if matching is not None:
        return sorted([*still, *candidates], reverse=page.descending)[:wanted]
    step = wanted
    while len(moved) < wanted and (some := list(islice(candidates, step))):
        here = listing.filter_keys(raw, page, [key for *_, key in some])  # some may be gone
        moved += [one for one in some if one[3] in here]
        step = _CANDIDATES
    return sorted(still + moved, reverse=page.descending)[:wanted]


def _cursor_value(
    raw: sqlite3.Connection, listing: ListQuery, page: PageRequest, walk: SnapshotOrder | None, *, is_number: bool
) -> str | int | None:
    """The value at which the page before ended; True stands for that of the row with this key, then."""
    value, key = page.after or (None, "")
    if value is True:
        seen = {name: values for name, values in page.filters.items() if name == "audience"}
        if seen and key not in listing.filter_keys(raw, replace(page, filters=seen), [key]):
            raise _foreign_cursor()  # a cursor can be forged: it must not tell of rows that its owner may not see
        found = walk.moved.get(key) if walk is not None else None
        if found is not None:
            value = found[1] if found[0] else None
        else:
            row = listing.by_keys(raw, page, [key]).get(key)
            value = None if row is None else row[listing.sorts[page.sort]]
    if value is not None and type(value) is not (int if is_number else str):
        raise _foreign_cursor()
    return value


def _foreign_cursor() -> InvalidError:
    return InvalidError("cursor was not issued by this list; omit it to start over", "cursor")
