"""Lists that are read page by page while their rows move: each is walked as it lay when its first page was read.

What was written since then is told by the journal, and where it stood by the journal and the history. A page is merged
from two: the rows of the table that have not moved, and those that have, at their old places. Places do not change any
more, so that each row that existed throughout comes exactly once; it is shown as it is now, and only if it is let
through by the filters now. What is new since then is left out. The cost grows with what was written since, not with the
store.
"""

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import replace
from itertools import islice
from typing import Any

from flexportd.errors import ExpiredError, InvalidError
from flexportd.storage.change_log import Journal, time_number
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.list_query import ListQuery, PageRequest, SortKey, sort_key
from flexportd.storage.queries.moved_rows import SnapshotOrder, TableWithoutHistory, cursor_expired
from flexportd.storage.repositories.resources import Table

MAX_SNAPSHOTS = 8  # that are remembered; others are read from the journal again
MAX_REMEMBERED_ROWS = 300_000  # rows of all walks together
POSITION = ""
"""The name under which a row of a walk bears the value it is sorted by there, that of then, and since when that is."""

_SCAN_WINDOW = 512  # entries of the journal, at most twice so many
_CANDIDATES = 4000  # moved rows that are held against the filters at once


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
