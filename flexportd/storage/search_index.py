"""The search index: which objects there are to find, by which texts, and the index over parts of those."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flexportd.storage import substring_index
from flexportd.storage.change_log import ConsumerState
from flexportd.storage.queries.filters import any_of, expression
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.repositories.repository import Meta
from flexportd.storage.statements import Repository, bulk_insert, json_text

STATE = "search_index"
KIND_BITS = 40  # of an entry's id that number it within its kind
_ANY_POSITION = 1 << 20  # a position after the end of any text

MAX_LISTED_ENTRIES = 2000  # up to which the shipments that contain a text are listed one by one

MAX_TERMS = 8  # of one search

_WITH_TERM = expression(
    "EXISTS (SELECT 1 FROM search_entries entry WHERE entry.shipment_id = shipments.id "
    "AND instr(entry.folded, ?) BETWEEN 1 AND ? AND (entry.id >> 40 IN (SELECT value FROM json_each(?)) "
    "OR instr(entry.folded, ?) AND entry.id >> 40 IN (SELECT value FROM json_each(?))))",
    tables=("search_entries",),
)
FILTERS = {"found": any_of("id").internal(), **{f"holding_{number}": _WITH_TERM for number in range(1, MAX_TERMS + 1)}}
"""Filters of a list of shipments; `Search.filters_of` says which of them, with which values."""


class IndexEntry(NamedTuple):
    """A text that an object is known by: the number of the kind of what is found by it, and how it is compared."""

    kind: int
    field: str
    value: str
    folded: str


class Label(NamedTuple):
    """What is said of an object: its shipment, what a hit is called, and (of a shipment) its marks, coded."""

    shipment_id: int | None
    title: str
    removed_at: str | None
    marks: str = ""


class IndexUpdate(NamedTuple):
    """What the index should hold of one object; nothing when there are no entries."""

    key: Key
    label: Label
    entries: Sequence[IndexEntry]


class IndexedObject(NamedTuple):
    """What the index holds of one object: `entries` are (entry, id)."""

    id: int
    label: Label
    entries: Mapping[IndexEntry, int]

    def matches(self, wanted: IndexUpdate) -> bool:
        """Whether nothing has to be written."""
        return self.label == wanted.label and self.entries.keys() == set(wanted.entries)


class IndexHit(NamedTuple):
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


class IndexState(ConsumerState, frozen=True, kw_only=True):
    """How far the index is. `version` is that of the contents, `way` the name of the index over parts."""

    way: str = substring_index.NAME


class SearchTerm(NamedTuple):
    """A folded text, looked for anywhere, where a text begins, or (both) as the whole of one."""

    folded: str
    begins: bool = False
    ends: bool = False

    @property
    def last_position(self) -> int:
        """The last place, from 1, at which a text may hold it."""
        return 1 if self.begins else _ANY_POSITION


class Term(NamedTuple):
    """A folded text within entries of some kinds, or, spelt with a word before it, within entries of all kinds.

    A term without such a word has all kinds, and is spelt as it is.
    """

    folded: str
    kinds: Sequence[int]
    literal: str
    all_kinds: Sequence[int]
    begins: bool = False

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The values of what compares an entry with it."""
        last = SearchTerm(self.folded, self.begins).last_position
        return self.folded, last, json_text(self.kinds), self.literal, json_text(self.all_kinds)

    @property
    def is_plain(self) -> bool:
        """Whether there is no word before it."""
        return self.literal == self.folded


MatchGroup = tuple[int | None, int | None]
"""Within what several terms are looked for: (shipment, None), or (None, an object that belongs to no shipment)."""

IndexChange = tuple[str, IndexedObject | None, IndexUpdate]  # (resource, what is stored, what should be)


class SearchIndex(Repository):
    """Reads and writes the search index."""

    family = "search_index"

    def state(self) -> IndexState | None:
        """How far the index is; None before it was begun, and for one that an earlier version has made in its way."""
        state = Meta(self._raw).load(STATE, IndexState)
        return state if state is not None and state.way == substring_index.NAME else None

    def clear(self) -> None:
        """Forget all that is indexed."""
        self._run("clear_entries")
        self._run("clear_objects")
        substring_index.create(self._raw)

    def rows(self, table: Table, columns: Sequence[str], keys: Sequence[Key]) -> list[dict[str, Any]]:
        """These columns of the objects that exist among these ids."""
        sql = f"SELECT {', '.join(columns)} FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 (declared names)
        return [dict(zip(columns, row, strict=True)) for row in self._raw.execute(sql, (json_text(keys),))]

    def stored(self, resource: str, keys: Sequence[Key]) -> dict[Key, IndexedObject]:
        """What is indexed of these objects."""
        found: dict[Key, IndexedObject] = {}
        for row in self._run("stored", resource, json_text(keys)):
            key, number, shipment_id, title, removed_at, marks, entry, *texts = row
            if key not in found:
                found[key] = IndexedObject(number, Label(shipment_id, title, removed_at, marks), {})
            entries = found[key].entries
            entries[IndexEntry(entry >> KIND_BITS, *texts)] = entry  # type: ignore[index]
        return found

    def write(self, changes: Sequence[IndexChange]) -> None:
        """Bring the index up to what it should hold of these objects."""
        touched = self._touched(changes)
        before = self._indexed_texts(touched)
        self._raw.executemany(self._sql["delete_entry"], _removed_entries(changes))
        numbers: dict[int, int] = {}
        new = [row for change in changes for row in self._write_object(change, numbers)]
        bulk_insert(self._raw, self._sql["add_entry"], new)
        after = self._indexed_texts([*touched, *(row[0] for row in new)])
        substring_index.remove(self._raw, before.items() - after.items())
        substring_index.add(self._raw, after.items() - before.items())

    def _touched(self, changes: Sequence[IndexChange]) -> list[int]:
        """The entries that go, or come to another shipment, and all that belong to a shipment whose marks change."""
        found: set[int] = set()
        for _, stored, one in changes:
            if stored is not None:
                stays = set(one.entries) if one.label.shipment_id == stored.label.shipment_id else set()
                found.update(number for entry, number in stored.entries.items() if entry not in stays)
        marked = [one.key for name, stored, one in changes if name == "shipments" and _marks(stored) != _marks(one)]
        found.update(self._first_column("of_shipments", json_text(marked)))
        return list(found)

    def _indexed_texts(self, entries: Sequence[int]) -> dict[int, substring_index.Text]:
        """What the index over parts should hold of these entries, as they are stored now."""
        return {number: tuple(text) for number, *text in self._run("indexed_texts", json_text(entries))}

    def merge(self, *, begin: bool) -> bool:
        """A step of making the index over parts quicker; whether more are to come."""
        return substring_index.merge(self._raw, begin=begin)

    def _write_object(self, change: IndexChange, numbers: dict[int, int]) -> Iterator[tuple[Any, ...]]:
        """Write one object; the rows of its new entries. `numbers`: kind -> the newest entry of this transaction."""
        resource, stored, wanted = change
        held: Mapping[IndexEntry, int] = stored.entries if stored else {}
        if not wanted.entries:
            if stored:
                self._run("delete_object", stored.id)
            return
        if stored is None:
            number = self._run("add_object", resource, wanted.key, *wanted.label).lastrowid or 0
        else:
            number = stored.id
            if wanted.label != stored.label:
                self._run("update_object", *wanted.label, number)
            if wanted.label.shipment_id != stored.label.shipment_id:
                kept = [(wanted.label.shipment_id, held[entry]) for entry in wanted.entries if entry in held]
                self._raw.executemany(self._sql["move_entry"], kept)
        for entry in wanted.entries:
            if entry not in held:
                yield (self._next_id(entry.kind, numbers), number, wanted.label.shipment_id, *entry[1:])

    def _next_id(self, kind: int, numbers: dict[int, int]) -> int:
        if kind in numbers:
            numbers[kind] += 1
        else:
            first, last = id_range((kind,))
            newest = self._run("newest", first, last).fetchone()[0]
            numbers[kind] = first if newest is None else int(newest) + 1
        return numbers[kind]

    def newest_matches(self, sought: SearchTerm, ids: tuple[int, int], limit: int, marks: str = "") -> list[int]:
        """The ids of the newest entries within a range of ids that may hold this text, and bear one of these marks."""
        phrase = substring_index.match_phrase(sought.folded, begins=sought.begins, ends=sought.ends, marks=marks)
        return substring_index.newest(self._raw, phrase, ids, limit)

    def hits(
        self,
        ids: Sequence[int],
        kinds: Sequence[int],
        audience: Audience | None = None,
        document_types: Collection[str] = (),
    ) -> list[IndexHit]:
        """Those of these entries that are of these kinds, and of shipments that an audience may see; in no order.

        For an audience, of documents those of `document_types` alone.
        """
        values: tuple[str, ...] = (json_text(ids), json_text(kinds))
        if audience is None:
            return self._all(IndexHit, "hits", *values)
        values = (*values, *audience.parameters, json_text(list(document_types)))
        return self._all(IndexHit, "hits_of_audience", *values)

    def entries_with(self, term: Term, limit: int, marks: str = "", upto: int | None = None) -> list[int]:
        """The ids of the newest entries, up to one, that may hold a term, from the highest down.

        Of a short term only those that begin with it, unless it is found as it is spelt.
        """
        begins = substring_index.is_short(term.folded)
        searches = [(SearchTerm(term.folded, begins), term.kinds)]
        if not term.is_plain:
            searches.append((SearchTerm(term.literal), term.all_kinds))
        found: set[int] = set()
        for sought, kinds in searches:
            if not kinds:
                continue
            first, last = id_range(kinds)
            ids = (first, last if upto is None else min(last, upto))
            found.update(self.newest_matches(sought, ids, limit, marks))
        return sorted(found, reverse=True)[:limit]

    def groups_with(self, ids: Sequence[int], term: Term) -> list[MatchGroup]:
        """Where these entries hold a term, each once."""
        rows = self._run("units", json_text(ids), *term.parameters)
        return list(dict.fromkeys((shipment, None if shipment is not None else thing) for shipment, thing in rows))

    def groups_with_all(self, units: Sequence[MatchGroup], terms: Iterable[Term]) -> list[MatchGroup]:
        """Those of these units that hold every term, in their order."""
        shipments, objects = _split_groups(units)
        for term in terms:
            shipments = self._numbers("shipments_with_text", shipments, term)
            objects = self._numbers("objects_with_text", objects, term)
        kept = {*((number, None) for number in shipments), *((None, number) for number in objects)}
        return [unit for unit in units if unit in kept]

    def entries_in(self, units: Sequence[MatchGroup], term: Term) -> list[int]:
        """The entries of these units that hold a term."""
        shipments, objects = _split_groups(units)
        return self._numbers("entries_of_shipments", shipments, term) + self._numbers(
            "entries_of_objects", objects, term
        )

    def _numbers(self, name: str, numbers: Sequence[int], term: Term) -> list[int]:
        return self._first_column(name, json_text(numbers), *term.parameters) if numbers else []

    def filters_of(self, terms: Sequence[Term]) -> dict[str, tuple[Any, ...]]:
        """How a list of shipments finds those that hold every term, by themselves or by what belongs to them.

        A term that is rare gives the shipments; where all are common they are looked for in one shipment after the
        other, as the list comes to it: the page is then soon full.
        """
        for term in terms:
            found = self.entries_with(term, MAX_LISTED_ENTRIES + 1)
            if len(found) <= MAX_LISTED_ENTRIES and (len(terms) == 1 or not substring_index.is_short(term.folded)):
                units = [unit for unit in self.groups_with(found, term) if unit[0] is not None]
                kept = self.groups_with_all(units, [other for other in terms if other is not term])
                return {"found": (json_text(_split_groups(kept)[0]),)}
        return {f"holding_{number}": term.parameters for number, term in enumerate(terms, 1)}

    def titles(self, shipments: Sequence[int]) -> dict[int, tuple[int, str, str | None]]:
        """Of those of these shipments that are indexed: (its object, what a hit is called, when it was removed)."""
        return {key: tuple(rest) for key, *rest in self._run("titles", json_text(shipments))}


def id_range(kinds: Sequence[int]) -> tuple[int, int]:
    """The first and the last id that entries from the lowest to the highest of these kinds can have."""
    return min(kinds) << KIND_BITS, (max(kinds) + 1 << KIND_BITS) - 1


def _removed_entries(changes: Sequence[IndexChange]) -> list[tuple[int]]:
    found: list[tuple[int]] = []
    for _, stored, wanted in changes:
        keep = set(wanted.entries)
        found += [(number,) for entry, number in (stored.entries if stored else {}).items() if entry not in keep]
    return found


def _split_groups(units: Iterable[MatchGroup]) -> tuple[list[int], list[int]]:
    shipments = [shipment for shipment, _ in units if shipment is not None]
    return shipments, [number for _, number in units if number is not None]


def _marks(one: IndexedObject | IndexUpdate | None) -> str:
    return one.label.marks if one is not None and one.entries else ""
