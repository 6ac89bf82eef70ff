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
from flexportd.storage.queries.list_query import Listing, Page, Place, place
from flexportd.storage.queries.moved_rows import Moving, Walk, outdated
from flexportd.storage.repositories.resources import Table

MOST_WALKS = 8  # that are remembered; others are read from the journal again
MOST_REMEMBERED = 300_000  # rows of all walks together
PLACE = ""
"""The name under which a row of a walk bears the value it is sorted by there, that of then, and since when that is."""

_LOOKED_AT = 512  # entries of the journal, at most twice so many
_CANDIDATES = 4000  # moved rows that are held against the filters at once


class Walks:
    """The walks of one store that are under way. It may be used by several threads."""

    def __init__(self) -> None:
        self._walks: OrderedDict[tuple[str, str, int], Walk] = OrderedDict()
        self._newest: dict[str, tuple[int, int]] = {}  # table -> its newest entry, as far as the journal was looked at
        self._lock = threading.Lock()

    def read(self, raw: sqlite3.Connection, table: Table | Moving, page: Page) -> list[dict[str, Any]]:
        """The rows of a page that says since when, as `Listing.read` gives them, each with its `PLACE`.

        Raises InvalidError for a number that the journal has not given out, ExpiredError for one too far back.
        """
        listing = table.listing
        column = listing.sorts[page.sort]
        own: int | None = None
        if "audience" in page.filters:
            own, page = _own(raw, table, page)
        begun = self._begin(raw, table) if own is None and page.since is None else page.since
        if column == listing.key or (isinstance(table, Moving) and column not in table.columns):
            # It stands still by itself: its cursors carry since when for the sake of their origin alone.
            mark = begun if own is None else own
            return [row | {PLACE: (row[column], mark)} for row in listing.read(raw, page)]
        is_number = isinstance(table, Moving) and column in table.numbers
        if page.after is None or page.since is None or not self._moved(raw, page.since):
            if page.after is not None:
                page = replace(page, after=(_value(raw, listing, page, None, is_number=is_number), page.after[1]))
            mark = begun if own is None else own
            return [row | {PLACE: (row[column], mark)} for row in listing.read(raw, page)]
        walk = self._walk(table, column, page.since)
        with walk.lock:
            try:
                walk.catch_up(raw, Journal(raw).last())
            except ExpiredError:
                self._forget(walk)
                raise
            after = (_value(raw, listing, page, walk, is_number=is_number), page.after[1])
            places = _merged(raw, listing, replace(page, after=after), walk)
        self._make_room(walk)
        rows = listing.these(raw, page, [key for *_, key in places])
        shown = ((value if rank else None, key) for rank, value, _, key in places)
        mark = page.since if own is None else own
        return [rows[key] | {PLACE: (value, mark)} for value, key in shown if key in rows]

    def __len__(self) -> int:
        return len(self._walks)

    @property
    def rows(self) -> int:
        """How many rows are remembered."""
        return sum(len(one.moved) for one in self._walks.values())

    def _begin(self, raw: sqlite3.Connection, table: Table | Moving) -> int:
        """Since when a list that begins now is read: the newest entry that tells of its table, if it is not long ago.

        So the cursor of a list that stands still stays what it is, whatever else is written.
        """
        journal = Journal(raw)
        last = journal.last()
        base = max(0, journal.first() - 1, last // _LOOKED_AT * _LOOKED_AT - _LOOKED_AT)
        newest, through = self._newest.get(table.name, (base, base))
        if newest > last:
            return last  # another reader is ahead of this snapshot
        if last > through:
            mark = f'"{table.name}":['
            found = raw.execute(queries("walk")["newest"], (max(through, base), last, mark, mark)).fetchone()[0]
            newest = max(base, newest if found is None else found)
            self._newest[table.name] = newest, last
        return max(newest, base)

    def _moved(self, raw: sqlite3.Connection, since: int) -> bool:
        journal = Journal(raw)
        last = journal.last()
        if not 0 <= since <= last:
            raise _unknown()
        if since < last and journal.first() > since + 1:
            raise outdated("the changes since then are no longer stored")
        return since < last

    def _walk(self, table: Table | Moving, column: str, since: int) -> Walk:
        named = (table.name, column, since)
        with self._lock:
            walk = self._walks.setdefault(named, Walk(table, column, since))
            self._walks.move_to_end(named)
            return walk

    def _make_room(self, walk: Walk) -> None:
        with self._lock:
            while len(self) > MOST_WALKS or (len(self) > 1 and self.rows > MOST_REMEMBERED):
                oldest = next(iter(self._walks.values()))
                if oldest is walk:
                    return
                self._drop(oldest)

    def _forget(self, walk: Walk) -> None:
        with self._lock:
            self._drop(walk)

    def _drop(self, walk: Walk) -> None:
        self._walks.pop((walk.name, walk.column, walk.since), None)


def _own(raw: sqlite3.Connection, table: Table | Moving, page: Page) -> tuple[int, Page]:
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
    return page.since, replace(page, since=journal.last() if page.since == newest else journal.entry_of(page.since))


def _merged(raw: sqlite3.Connection, listing: Listing, page: Page, walk: Walk) -> list[Place]:
    """The next places of the list, one more than `limit` when another page follows."""
    wanted, after = page.limit + 1, page.after or (None, "")
    still: list[Place] = []
    for value, key in listing.places(raw, page, wanted + len(walk.moved)):
        if key not in walk.moved:
            still.append(place(value, key))
            if len(still) == wanted:
                break
    until = still[-1] if len(still) == wanted else None
    moved: list[Place] = []
    # Where much has moved and few rows match, those are looked up among the moved, and not the other way round.
    some_match = page.filters and len(walk.moved) > _CANDIDATES
    matching = listing.matching(raw, page, _CANDIDATES) if some_match else None
    candidates = walk.behind(place(*after), until, descending=page.descending, keys=matching)
    if matching is not None:
        return sorted([*still, *candidates], reverse=page.descending)[:wanted]
    step = wanted
    while len(moved) < wanted and (some := list(islice(candidates, step))):
        here = listing.among(raw, page, [key for *_, key in some])  # some may be gone
        moved += [one for one in some if one[3] in here]
        step = _CANDIDATES
    return sorted(still + moved, reverse=page.descending)[:wanted]


def _value(
    raw: sqlite3.Connection, listing: Listing, page: Page, walk: Walk | None, *, is_number: bool
) -> str | int | None:
    """The value at which the page before ended; True stands for that of the row with this key, then."""
    value, key = page.after or (None, "")
    if value is True:
        seen = {name: values for name, values in page.filters.items() if name == "audience"}
        if seen and key not in listing.among(raw, replace(page, filters=seen), [key]):
            raise _unknown()  # a cursor can be forged: it must not tell of rows that its owner may not see
        found = walk.moved.get(key) if walk is not None else None
        if found is not None:
            value = found[1] if found[0] else None
        else:
            row = listing.these(raw, page, [key]).get(key)
            value = None if row is None else row[listing.sorts[page.sort]]
    if value is not None and type(value) is not (int if is_number else str):
        raise _unknown()
    return value


def _unknown() -> InvalidError:
    return InvalidError("cursor was not issued by this list; omit it to start over", "cursor")
