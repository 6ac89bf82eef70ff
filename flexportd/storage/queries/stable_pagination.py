"""Stable pagination: a list is read page by page in the order that it had when its first page was read.

The change log says which rows were written since, and the history what they were sorted by before. A page is merged
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
from flexportd.storage.queries.list_query import ListQuery, PageRequest, SortKey, sort_key
from flexportd.storage.queries.table import Key, Table, instant, plausible_or_none
from flexportd.storage.statements import queries

MAX_SNAPSHOTS = 8  # that are remembered; others are read from the change log again
MAX_REMEMBERED_ROWS = 300_000  # moved rows of all snapshots together
MAX_ROWS = 200_000  # that may have moved in one list since its first page
POSITION = ""  # the name under which a row has its former sort value and the number at which its list began to be read
_SCAN_WINDOW = 512  # entries of the change log; at most twice as many are scanned
_CANDIDATES = 4000  # moved rows that are compared with the filters at once
_BATCH_SIZE = 500  # entries of the change log that are read at once

_OldValues = dict[Key, dict[str, Any]]
_Entry = tuple[tuple[int, int] | None, list[Any]]
"""((first and last row of the history), the objects that were written)."""


@dataclass(frozen=True)
class TableWithoutHistory:
    """A table that has no history, and whose rows move in its lists: the change log has their former positions.

    Each write of a row notes its previous `columns` in the change log, None for a new row. `numbers` are those of
    whole numbers.
    """

    name: str
    listing: ListQuery
    columns: tuple[str, ...]
    numbers: frozenset[str] = frozenset()


AnyTable = Table | TableWithoutHistory


class SnapshotPages:
    """The lists of one database that are being read page by page. Several threads may use it."""

    def __init__(self) -> None:
        self._orders: OrderedDict[tuple[str, str, int], SnapshotOrder] = OrderedDict()
        self._newest: dict[str, tuple[int, int]] = {}  # table -> (its newest entry, the last entry that was scanned)
        self._lock = threading.Lock()

    def read(self, raw: sqlite3.Connection, table: AnyTable, page: PageRequest) -> list[dict[str, Any]]:
        """The rows of a page as `ListQuery.read` gives them, each with its `POSITION`.

        Raises InvalidError for a number that the change log has not given out, ExpiredError for one too far back.
        """
        query = table.listing
        column = query.sorts[page.sort]
        mark: int | None = None
        if "audience" in page.filters:
            mark, page = _audience_start(raw, table, page)
        elif page.since is None:
            mark = self._start_number(raw, table)
        else:
            mark = page.since
        order: SnapshotOrder | None = None
        is_static = column == query.key or (isinstance(table, TableWithoutHistory) and column not in table.columns)
        if not is_static and page.after is not None:
            is_number = isinstance(table, TableWithoutHistory) and column in table.numbers
            if page.since is not None and self._has_changes(raw, page.since):
                order = self._order(table, column, page.since)
                positions = self._merge(raw, query, page, order, is_number=is_number)
            else:
                value = _cursor_value(raw, query, page, None, is_number=is_number)
                page = replace(page, after=(value, page.after[1]))
        if order is None:
            return [row | {POSITION: (row[column], mark)} for row in query.read(raw, page)]
        self._make_room(order)
        rows = query.by_keys(raw, page, [key for *_, key in positions])
        shown = ((value if rank else None, key) for rank, value, _, key in positions)
        return [rows[key] | {POSITION: (value, mark)} for value, key in shown if key in rows]

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def rows(self) -> int:
        """How many moved rows are remembered."""
        return sum(len(order.moved) for order in self._orders.values())

    def _merge(
        self, raw: sqlite3.Connection, query: ListQuery, page: PageRequest, order: "SnapshotOrder", *, is_number: bool
    ) -> list[SortKey]:
        assert page.after is not None
        with order.lock:
            try:
                order.catch_up(raw, Journal(raw).last())
            except ExpiredError:
                with self._lock:
                    self._drop(order)
                raise
            value = _cursor_value(raw, query, page, order, is_number=is_number)
            return _merge(raw, query, replace(page, after=(value, page.after[1])), order)

    def _start_number(self, raw: sqlite3.Connection, table: AnyTable) -> int:
        """The number at which a list that begins now is read: that of the newest entry of its table, if recent.

        So the cursor of a list that does not change stays the same, whatever else is written.
        """
        journal = Journal(raw)
        last = journal.last()
        base = max(0, journal.first() - 1, last // _SCAN_WINDOW * _SCAN_WINDOW - _SCAN_WINDOW)
        newest, through = self._newest.get(table.name, (base, base))
        if newest > last:
            return last  # another reader is ahead of this snapshot
        if last > through:
            name = f'"{table.name}":['
            entry = raw.execute(
                queries("stable_pagination")["newest"], (max(through, base), last, name, name)
            ).fetchone()[0]
            newest = max(base, newest if entry is None else entry)
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

    def _order(self, table: AnyTable, column: str, since: int) -> "SnapshotOrder":
        key = (table.name, column, since)
        with self._lock:
            order = self._orders.setdefault(key, SnapshotOrder(table, column, since))
            self._orders.move_to_end(key)
            return order

    def _make_room(self, latest: "SnapshotOrder") -> None:
        with self._lock:
            while len(self) > MAX_SNAPSHOTS or (len(self) > 1 and self.rows > MAX_REMEMBERED_ROWS):
                oldest = next(iter(self._orders.values()))
                if oldest is latest:
                    return
                self._drop(oldest)

    def _drop(self, order: "SnapshotOrder") -> None:
        self._orders.pop((order.table.name, order.column, order.since), None)


class SnapshotOrder:
    """The positions that the rows of one table had at a number of the change log, as far as they were written since.

    Several threads may use it, one after the other.
    """

    def __init__(self, table: AnyTable, column: str, since: int) -> None:
        self.table = table
        self.column = column
        self.since = since
        self.through = since
        self.moved: dict[Key, SortKey | None] = {}  # former position of each; None: it is new
        self.positions: list[SortKey] = []  # of those that existed, in order
        self.lock = threading.Lock()

    def catch_up(self, raw: sqlite3.Connection, last: int) -> None:
        """Read what was written up to this number, the last of this snapshot. Raises ExpiredError."""
        if last <= self.through:
            return
        delta = _Delta(self.table.name, self.moved)
        if isinstance(self.table, TableWithoutHistory):
            values = _read_positions(raw, self.table, self.column, self.through, delta)
        else:
            values = _HistoryReader(raw, self.table, self.column).read(self.through, delta)
        former = {key: sort_key(value, key) for key, value in values.items()}
        self.positions = sorted([*self.positions, *former.values()])
        self.moved |= {**dict.fromkeys(delta.new), **former}
        self.through = last

    def after(
        self, after: SortKey, until: SortKey | None, *, descending: bool, keys: Iterable[Key] | None = None
    ) -> Iterator[SortKey]:
        """The former positions between two, in order; of these keys only where given."""
        if keys is not None:
            positions = sorted((position for key in keys if (position := self.moved.get(key))), reverse=descending)
            yield from (position for position in positions if _between(after, position, until, descending=descending))
        elif descending:
            low = 0 if until is None else bisect_left(self.positions, until)
            yield from (self.positions[at] for at in range(bisect_left(self.positions, after) - 1, low - 1, -1))
        else:
            high = len(self.positions) if until is None else bisect_right(self.positions, until)
            yield from islice(self.positions, bisect_right(self.positions, after), high)


def _between(after: SortKey, position: SortKey, until: SortKey | None, *, descending: bool) -> bool:
    if descending:
        return position < after and (until is None or position >= until)
    return position > after and (until is None or position <= until)


@dataclass
class _Delta:
    """What was written since a snapshot was last updated: the first former fields of each row, and the new rows."""

    name: str
    known: Mapping[Key, Any]
    moves: _OldValues = field(default_factory=dict)
    new: set[Key] = field(default_factory=set)

    def check(self) -> None:
        """Raises ExpiredError where it is more than may be remembered."""
        if len(self.known) + len(self.new) + len(self.moves) > MAX_ROWS:
            raise cursor_expired(f"more than {MAX_ROWS} {self.name.replace('_', ' ')} have changed since")


def _read_positions(
    raw: sqlite3.Connection, table: TableWithoutHistory, column: str, after: int, delta: _Delta
) -> Mapping[Key, Any]:
    """Read the entries after a number; what each row was sorted by. Raises ExpiredError."""
    at, sql = table.columns.index(column), queries("stable_pagination")["positions_after"]
    while True:
        rows = raw.execute(sql, (after, _BATCH_SIZE)).fetchall()
        for _, encoded in rows:
            for key, values in decode_positions(encoded).get(table.name, ()):
                if key not in delta.known and key not in delta.moves and key not in delta.new:
                    if values is None:
                        delta.new.add(key)
                    else:
                        delta.moves[key] = {column: values[at]}
        delta.check()
        if len(rows) < _BATCH_SIZE:
            return {key: fields[column] for key, fields in delta.moves.items()}
        after = rows[-1][0]


class _HistoryReader:
    """Reads which rows of a resource were written from the change log, and their former fields from the history."""

    def __init__(self, raw: sqlite3.Connection, table: Table, column: str) -> None:
        self._raw = raw
        self._table = table
        self._column = column
        self._sql = queries("stable_pagination")
        without_suffix = column.removesuffix("_at")
        self._fields = table.computed.get(column) or (without_suffix if without_suffix in table.moments else column,)

    def read(self, after: int, delta: _Delta) -> Mapping[Key, Any]:
        """Read the entries after a number; what each row was sorted by. Raises ExpiredError."""
        for entries in self._entries(after):
            states = [state for _, written in entries for state in written if state.key not in delta.known]
            delta.new.update(state.key for _, written in entries for state in written if state.as_of is None)
            if self._column == "as_of":
                for state in states:
                    delta.moves.setdefault(state.key, {"as_of": state.as_of})
            else:
                self._collect(entries, {str(state.key): state.key for state in states}, delta.moves)
            delta.check()
        for key in delta.new:
            delta.moves.pop(key, None)
        return self._values(delta.moves)

    def _entries(self, after: int) -> Iterator[list[_Entry]]:
        while True:
            rows = self._raw.execute(self._sql["changes_after"], (after, _BATCH_SIZE)).fetchall()
            entries: list[_Entry] = [
                (None if first is None else (first, last), list(states))
                for _, first, last, encoded in rows
                if (states := decode_states(encoded).get(self._table.name))
            ]
            if entries:
                yield entries
            if len(rows) < _BATCH_SIZE:
                return
            after = rows[-1][0]

    def _collect(self, entries: Sequence[_Entry], keys: Mapping[str, Key], moves: _OldValues) -> None:
        spans = [span for span, _ in entries if span is not None]
        if not spans:
            return
        oldest = self._raw.execute(self._sql["oldest_change"]).fetchone()[0]
        if oldest is None or oldest > spans[0][0]:
            raise cursor_expired("the history of that time was deleted")
        arguments = (spans[0][0], spans[-1][1], self._table.name, msgspec.json.encode(self._fields).decode())
        for text, name, old in self._raw.execute(self._sql["values_before"], arguments):
            if text in keys:
                moves.setdefault(keys[text], {}).setdefault(name, old and msgspec.json.decode(old))

    def _values(self, moves: _OldValues) -> Mapping[Key, Any]:
        if self._column == "as_of":
            return {key: fields["as_of"] for key, fields in moves.items()}
        names = self._fields
        self._fill_unchanged(moves)
        if names[0] not in self._table.moments:
            return {key: fields[names[0]] for key, fields in moves.items()}
        is_known = plausible_or_none if self._column in self._table.computed else bool
        moments = {
            key: next((fields[name] for name in names if is_known(fields[name])), None) for key, fields in moves.items()
        }
        return {key: instant(moment) if moment else None for key, moment in moments.items()}

    def _fill_unchanged(self, moves: _OldValues) -> None:
        names, table = self._fields, self._table.name
        missing = [key for key, old in moves.items() if len(old) < len(names)]
        if missing:
            sql = f"SELECT id, {', '.join(names)} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
            for key, *values in self._raw.execute(sql, (msgspec.json.encode(missing).decode(),)):
                moves[key] = dict(zip(names, values, strict=True)) | moves[key]
        for old in moves.values():
            for name in names:
                old.setdefault(name, None)


def _audience_start(raw: sqlite3.Connection, table: AnyTable, page: PageRequest) -> tuple[int, PageRequest]:
    """The number in the cursors of an audience's list, and the page with the number of the change log.

    Numbers of the change log count writes of all shipments. So these cursors have the time of the last write of a row
    of the audience instead, and stay the same whatever is written of other rows.
    """
    where = table.listing.filters["audience"].condition
    sql = f"SELECT max(synced_at) FROM {table.name} WHERE {where}"  # noqa: S608 (declared filter)
    written = raw.execute(sql, page.filters["audience"]).fetchone()[0]
    newest = time_number(written) if written else 0
    if page.after is None or page.since is None:
        return newest, replace(page, since=None)
    journal = Journal(raw)
    return page.since, replace(page, since=journal.last() if page.since == newest else journal.entry_at(page.since))


def _merge(raw: sqlite3.Connection, query: ListQuery, page: PageRequest, order: SnapshotOrder) -> list[SortKey]:
    """The next positions of the list, one more than `limit` when another page follows."""
    wanted, after = page.limit + 1, page.after or (None, "")
    unmoved: list[SortKey] = []
    for value, key in query.positions(raw, page, wanted + len(order.moved)):
        if key not in order.moved:
            unmoved.append(sort_key(value, key))
            if len(unmoved) == wanted:
                break
    until = unmoved[-1] if len(unmoved) == wanted else None
    # Where many rows have moved and few match, the matching ones are looked up among the moved, not vice versa.
    probe = page.filters and len(order.moved) > _CANDIDATES
    matching = query.matching(raw, page, _CANDIDATES) if probe else None
    candidates = order.after(sort_key(*after), until, descending=page.descending, keys=matching)
    if matching is not None:
        return sorted([*unmoved, *candidates], reverse=page.descending)[:wanted]
    moved: list[SortKey] = []
    step = wanted
    while len(moved) < wanted and (batch := list(islice(candidates, step))):
        present = query.filter_keys(raw, page, [key for *_, key in batch])  # some may be gone
        moved += [position for position in batch if position[3] in present]
        step = _CANDIDATES
    return sorted(unmoved + moved, reverse=page.descending)[:wanted]


def _cursor_value(
    raw: sqlite3.Connection, query: ListQuery, page: PageRequest, order: SnapshotOrder | None, *, is_number: bool
) -> str | int | None:
    """The value at which the previous page ended; True means the former value of the row with this key."""
    value, key = page.after or (None, "")
    if value is True:
        audience = {name: values for name, values in page.filters.items() if name == "audience"}
        if audience and key not in query.filter_keys(raw, replace(page, filters=audience), [key]):
            raise _foreign_cursor()  # a cursor can be forged: it must not reveal rows that its owner may not see
        former = order.moved.get(key) if order is not None else None
        if former is not None:
            value = former[1] if former[0] else None
        else:
            row = query.by_keys(raw, page, [key]).get(key)
            value = None if row is None else row[query.sorts[page.sort]]
    if value is not None and type(value) is not (int if is_number else str):
        raise _foreign_cursor()
    return value


def cursor_expired(why: str) -> ExpiredError:
    """For a cursor that can no longer be followed."""
    return ExpiredError(f"cursor has expired: {why}; omit it to start over", "cursor")


def _foreign_cursor() -> InvalidError:
    return InvalidError("cursor was not issued by this list; omit it to start over", "cursor")
