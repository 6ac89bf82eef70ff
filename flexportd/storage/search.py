"""The search index: which objects there are to find, by which texts, and the index over parts of those."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.storage.audiences import Audience
from flexportd.storage.meta import Meta
from flexportd.storage.queries import queries
from flexportd.storage.resources import Key, Table
from flexportd.storage.trigrams import WAYS, Parts

_STATE = "search_index"
KIND_BITS = 40  # of an entry's id that number it within its kind
_ANYWHERE = 1 << 20  # a place behind the end of any text

FEW_ENTRIES = 2000  # up to which the shipments of what holds a text are told one by one

FILTERS = {
    "found": "id IN (SELECT value FROM json_each(?))",
    "holding": "EXISTS (SELECT 1 FROM search_entries entry WHERE entry.shipment_id = shipments.id "
    "AND instr(entry.folded, ?) BETWEEN 1 AND ? AND entry.id >> 40 IN (SELECT value FROM json_each(?)))",
}
"""Filters of a list of shipments; `Search.filter_of` says which of them, with which values."""


class Entry(NamedTuple):
    """A text that an object is known by: the number of the kind of what is found by it, and how it is compared."""

    kind: int
    field: str
    value: str
    folded: str


class Wanted(NamedTuple):
    """What the index should hold of one object; nothing when there are no entries."""

    key: Key
    shipment_id: int | None
    title: str
    removed_at: str | None
    entries: Sequence[Entry]


class Stored(NamedTuple):
    """What the index holds of one object: `entries` are (entry, id)."""

    id: int
    shipment_id: int | None
    title: str
    removed_at: str | None
    entries: Mapping[Entry, int]

    def is_as(self, wanted: Wanted) -> bool:
        """Whether nothing has to be written."""
        said = self.shipment_id == wanted.shipment_id and self.title == wanted.title
        return said and self.removed_at == wanted.removed_at and self.entries.keys() == set(wanted.entries)


class Held(NamedTuple):
    """One entry that was found, with its object."""

    entry: int
    object: int
    field: str
    value: str
    folded: str
    resource: str
    key: Key
    shipment_id: int | None
    title: str
    removed_at: str | None

    @property
    def kind(self) -> int:
        """The number of its kind."""
        return self.entry >> KIND_BITS


class IndexState(msgspec.Struct, frozen=True):
    """How far the index is: it holds all that the journal tells of up to entry `journal`, written at `at`.

    While everything is read anew, `resource` and `after` tell how far that is, and `journal` is where it goes on then.
    `version` is that of the contents, `way` the name of the index over parts.
    """

    version: str
    way: str
    journal: int
    at: str
    resource: str | None = None
    after: Key | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything has been read once."""
        return self.resource is None

    @property
    def parts(self) -> Parts:
        """The index over parts."""
        return next(way for way in WAYS if way.name == self.way)


class Sought(NamedTuple):
    """A folded text, looked for anywhere, where a text begins, or (both) as the whole of one."""

    folded: str
    begins: bool = False
    ends: bool = False

    @property
    def last_place(self) -> int:
        """The last place, from 1, at which a text may hold it."""
        return 1 if self.begins else _ANYWHERE


Change = tuple[str, Stored | None, Wanted]
"""(resource, what is stored, what should be)."""


class Search:
    """Reads and writes the search index."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._meta = Meta(raw)
        self._sql = queries("search")

    def state(self) -> IndexState | None:
        """How far the index is; None before it was begun."""
        found = self._meta.get(_STATE)
        return None if found is None else msgspec.json.decode(found, type=IndexState)

    def put_state(self, state: IndexState) -> None:
        """Note how far it is."""
        self._meta.put(_STATE, msgspec.json.encode(state).decode())

    def begin_empty(self, parts: Parts) -> None:
        """Forget all that is indexed, and have the index over parts made in this way."""
        for way in WAYS:
            # One that this SQLite cannot open stays behind; nobody looks into it.
            with contextlib.suppress(sqlite3.OperationalError):
                way.drop(self._raw)
        self._raw.execute(self._sql["clear_entries"])
        self._raw.execute(self._sql["clear_objects"])
        parts.make(self._raw)

    def rows(self, table: Table, columns: Sequence[str], keys: Sequence[Key]) -> list[dict[str, Any]]:
        """These columns of the objects that exist among these ids."""
        where, values = "id IN (SELECT value FROM json_each(?))", (msgspec.json.encode(keys).decode(),)
        return self._read(table, columns, where, values)

    def rows_after(self, table: Table, columns: Sequence[str], after: Key | None, limit: int) -> list[dict[str, Any]]:
        """These columns of the next objects in the order of their ids."""
        where, values = ("id > ?", (after,)) if after is not None else ("1", ())
        return self._read(table, columns, f"{where} ORDER BY id LIMIT ?", (*values, limit))

    def _read(self, table: Table, columns: Sequence[str], where: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        sql = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where}"  # noqa: S608 (declared names)
        return [dict(zip(columns, row, strict=True)) for row in self._raw.execute(sql, values)]

    def stored(self, resource: str, keys: Sequence[Key]) -> dict[Key, Stored]:
        """What is indexed of these objects."""
        found: dict[Key, Stored] = {}
        for row in self._raw.execute(self._sql["stored"], (resource, msgspec.json.encode(keys).decode())):
            key, number, shipment_id, title, removed_at, entry, *texts = row
            if key not in found:
                found[key] = Stored(number, shipment_id, title, removed_at, {})
            entries = found[key].entries
            entries[Entry(entry >> KIND_BITS, *texts)] = entry  # type: ignore[index]
        return found

    def write(self, parts: Parts, changes: Sequence[Change]) -> None:
        """Bring the index up to what it should hold of these objects."""
        gone: list[tuple[int, str]] = []
        new: list[tuple[int, str]] = []
        for _, stored, wanted in changes:
            keep = set(wanted.entries)
            held: Mapping[Entry, int] = stored.entries if stored else {}
            gone += [(number, entry.folded) for entry, number in held.items() if entry not in keep]
        parts.remove(self._raw, gone)
        self._raw.executemany(self._sql["drop_entry"], [(number,) for number, _ in gone])
        for resource, stored, wanted in changes:
            new += self._put(resource, stored, wanted)
        parts.add(self._raw, new)

    def merge(self, parts: Parts, *, begin: bool) -> bool:
        """A step of making the index over parts quicker; whether more are to come."""
        return parts.merge(self._raw, begin=begin)

    def _put(self, resource: str, stored: Stored | None, wanted: Wanted) -> Iterator[tuple[int, str]]:
        """Write one object and its new entries; those as (id, text)."""
        said = (wanted.shipment_id, wanted.title, wanted.removed_at)
        held: Mapping[Entry, int] = stored.entries if stored else {}
        if not wanted.entries:
            if stored:
                self._raw.execute(self._sql["drop_object"], (stored.id,))
            return
        if stored is None:
            row = (resource, wanted.key, *said)
            number = self._raw.execute(self._sql["add_object"], row).lastrowid or 0
        else:
            number = stored.id
            if said != (stored.shipment_id, stored.title, stored.removed_at):
                self._raw.execute(self._sql["change_object"], (*said, number))
            if wanted.shipment_id != stored.shipment_id:
                kept = [(wanted.shipment_id, held[entry]) for entry in wanted.entries if entry in held]
                self._raw.executemany(self._sql["move_entry"], kept)
        for entry in wanted.entries:
            if entry not in held:
                yield self._add(number, wanted.shipment_id, entry), entry.folded

    def _add(self, number: int, shipment_id: int | None, entry: Entry) -> int:
        first, last = ids_of((entry.kind,))
        newest = self._raw.execute(self._sql["newest"], (first, last)).fetchone()[0]
        fresh = first if newest is None else int(newest) + 1
        self._raw.execute(self._sql["add_entry"], (fresh, number, shipment_id, *entry[1:]))
        return fresh

    def newest(self, parts: Parts, sought: Sought, kinds: Sequence[int], limit: int) -> list[int]:
        """The ids of the newest entries with this text, of these kinds and those that lie between them."""
        phrase = parts.phrase(sought.folded, begins=sought.begins, ends=sought.ends)
        return parts.newest(self._raw, phrase, ids_of(kinds), limit)

    def hits(self, ids: Sequence[int], kinds: Sequence[int], audience: Audience | None = None) -> list[Held]:
        """Those of these entries that are of these kinds, and of shipments that an audience may see; in no order."""
        values = (msgspec.json.encode(ids).decode(), msgspec.json.encode(kinds).decode())
        if audience is None:
            return [Held(*row) for row in self._raw.execute(self._sql["hits"], values)]
        return [Held(*row) for row in self._raw.execute(self._sql["hits_of_audience"], (*values, *audience.parameters))]

    def few_shipments(self, audience: Audience, most: int) -> list[int] | None:
        """The shipments of an audience; None where there are more."""
        found = [row[0] for row in self._raw.execute(self._sql["audience"], (*audience.parameters, most + 1))]
        return found if len(found) <= most else None

    def of_shipments(self, shipments: Sequence[int], sought: Sought, limit: int) -> list[int]:
        """The ids of the entries of these shipments with this text, at most `limit` of a kind, the best of them."""
        values = (msgspec.json.encode(shipments).decode(), sought.folded, sought.last_place, limit)
        return [row[0] for row in self._raw.execute(self._sql["of_shipments"], values)]

    def filter_of(self, parts: Parts, sought: Sought, kinds: Sequence[int]) -> tuple[str, tuple[Any, ...]]:
        """How a list of shipments finds those that anything of these kinds belongs to with this text.

        A text that is rare gives its shipments; one that is common is looked for in one shipment after the other, as
        the list comes to it: the page is then soon full.
        """
        found = self.newest(parts, sought, kinds, FEW_ENTRIES + 1)
        chosen = msgspec.json.encode(kinds).decode()
        if len(found) > FEW_ENTRIES:
            return "holding", (sought.folded, sought.last_place, chosen)
        rows = self._raw.execute(self._sql["shipments"], (msgspec.json.encode(found).decode(), chosen, sought.folded))
        return "found", (msgspec.json.encode([row[0] for row in rows]).decode(),)


def ids_of(kinds: Sequence[int]) -> tuple[int, int]:
    """The first and the last id that entries from the lowest to the highest of these kinds can have."""
    return min(kinds) << KIND_BITS, (max(kinds) + 1 << KIND_BITS) - 1
