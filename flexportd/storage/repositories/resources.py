"""One table a Flexport resource, all of the same build: our normalised fields, the newest state's marks, and `raw`."""

import functools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import datetime, time
from operator import itemgetter
from typing import Any, Literal

import msgspec

from flexportd.clock import parse, stamp, zone_of
from flexportd.storage.bulk_insert import bulk_insert
from flexportd.storage.queries.filters import Filter, fragments
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.repositories.audiences import audience_condition as audience_fragment

Kind = Literal["text", "integer", "boolean", "json", "list", "day", "moment", "deadline"]

_END_OF_DAY = time(23, 59, 59, 999_000)

# What every table has beside its fields.
STATE_COLUMNS = (
    "as_of",
    "seq",
    "source",
    "synced_at",
    "first_seen_at",
    "removed_at",
    "older",
    "digest",
    "tie_breaker",
    "raw",
)

MOMENTS = frozenset({"moment", "deadline"})
"""The kinds of fields that are points in time."""

DATES = MOMENTS | {"day"}
"""The kinds of fields that tell a day."""

Key = int | str
"""An object's id: Flexport's own, a number or a text."""


@dataclass(frozen=True, slots=True)
class Field:
    """One normalised field.

    A `moment` is a time on the clock of its place, such as `2026-03-03T12:00:00+08:00`; the table adds `<name>_at`
    (the UTC instant, to sort and filter by) and `<name>_date` (the calendar day at the place). A `deadline` is one
    whose day counts: its `<name>_at` is the end of that day at the place. `zone` names the field that holds the time
    zone of the place. `json` fields hold the text of a JSON object, `list` that of a JSON list, `day` an ISO date.
    An `internal` field is stored for later computation: it is neither shown nor has a history. What follows from other
    fields alone has none either: the first that there is of `first_of`, or what is `explained` by them. `about`
    describes, in the description of the API, what the name does not say.
    """

    name: str
    kind: Kind = "text"
    zone: str | None = None
    internal: bool = False
    first_of: tuple[str, ...] = ()
    derived: bool = False
    description: str = ""


@dataclass(frozen=True, eq=False)  # one is itself alone
class Table:
    """A resource's table. `sorts`, `filters` and `asks` are what its list lets itself be asked.

    `asks` are filters that say themselves what they take; `filters` are plain fragments for whoever knows the table.
    """

    name: str
    fields: tuple[Field, ...]
    sorts: Mapping[str, str]
    filters: Mapping[str, str] = dataclass_field(default_factory=dict)
    query_filters: Mapping[str, Filter] = dataclass_field(default_factory=dict)
    computed: Mapping[str, tuple[str, ...]] = dataclass_field(default_factory=dict)
    """Column to sort by -> the moments whose first that is there it holds."""

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The stored columns in order: id, fields, the instants of moments, marks."""
        return ("id", *self.names, *(f"{name}_at" for name in self.moments), *STATE_COLUMNS)

    @functools.cached_property
    def shown(self) -> tuple[str, ...]:
        """The columns that a list reads: all but the raw JSON and what only merging needs."""
        hidden = {"raw", "older", "seq", "digest", "tie_breaker", *self.internal}
        return tuple(name for name in self.columns if name not in hidden)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(field.name for field in self.fields)

    @functools.cached_property
    def moments(self) -> tuple[str, ...]:
        """The names of the fields that are moments or deadlines."""
        return tuple(field.name for field in self.moment_fields)

    @functools.cached_property
    def moment_fields(self) -> tuple[Field, ...]:
        """The fields that are moments or deadlines."""
        return tuple(field for field in self.fields if field.kind in MOMENTS)

    @functools.cached_property
    def date_names(self) -> tuple[str, ...]:
        """The names of the fields that tell a day, with those that are stored for a moment to be made of."""
        return tuple(one.name for one in self.fields if one.kind in DATES or (one.internal and one.kind == "text"))

    @functools.cached_property
    def internal(self) -> frozenset[str]:
        """The names of the fields that are not shown."""
        return frozenset(field.name for field in self.fields if field.internal)

    @functools.cached_property
    def unrecorded(self) -> frozenset[str]:
        """The names of the fields that have no history."""
        return frozenset(one.name for one in self.fields if one.internal or one.first_of or one.derived)

    @functools.cached_property
    def recorded(self) -> Mapping[str, int]:
        """The names of the fields that have a history, each with its place in the order of fields."""
        return {name: place for place, name in enumerate(self.names) if name not in self.unrecorded}

    @functools.cached_property
    def public(self) -> tuple[Field, ...]:
        """The fields that are shown."""
        return tuple(field for field in self.fields if not field.internal)

    @functools.cached_property
    def instants(self) -> Callable[[Mapping[str, Any]], list[str | None]]:
        """Of all fields, the UTC instants of the moments, in their order."""
        plans = [(field.name, field) for field in self.fields if field.kind in MOMENTS]

        def found(fields: Mapping[str, Any]) -> list[str | None]:
            return [instant_of(field, value, fields) if (value := fields[name]) else None for name, field in plans]

        return found

    @functools.cached_property
    def booleans(self) -> tuple[str, ...]:
        """The names of the fields that are true or false."""
        return tuple(field.name for field in self.fields if field.kind == "boolean")

    @functools.cached_property
    def lists(self) -> tuple[str, ...]:
        """The names of the fields that are lists."""
        return tuple(field.name for field in self.fields if field.kind == "list")

    @functools.cached_property
    def values_of(self) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
        """The values of all fields in order; a field that is missing is a KeyError."""
        return itemgetter(*self.names)

    @functools.cached_property
    def json_names(self) -> frozenset[str]:
        """The names of the fields that hold JSON text."""
        return frozenset(field.name for field in self.fields if field.kind in ("json", "list"))

    @functools.cached_property
    def listing(self) -> ListQuery:
        """The list over this table; `audience` keeps it to the shipments that somebody may see."""
        audience = {} if self.owner is None else {"audience": audience_fragment(self.owner)}
        filters = {**self.filters, **fragments(self.query_filters), **audience}
        return ListQuery(self.name, self.shown, "id", self.sorts, filters, order="as_of")

    @property
    def owner(self) -> str | None:
        """The column that names the shipment that a row is or belongs to, if any."""
        return "id" if self.name == "shipments" else "shipment_id" if "shipment_id" in self.names else None

    @functools.cached_property
    def insert(self) -> str:
        """A new object's row."""
        marks = ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"  # noqa: S608 (declared names)

    @functools.lru_cache(maxsize=256)  # noqa: B019 (tables live as long as the program)
    def update(self, names: frozenset[str]) -> tuple[str, tuple[int, ...]]:
        """One statement for all resources; which state wins is decided before, in the same transaction.

        Only the fields that moved (`removed_at` like one of them) are set, so that only their indexes are touched.
        The statement, and which values of a row it takes, `id` at the end.
        """
        always = {name for name in STATE_COLUMNS if name not in ("first_seen_at", "removed_at")}
        moved = {*names, *(f"{name}_at" for name in names), *always}
        places = [place for place, column in enumerate(self.columns) if column in moved]
        sets = ", ".join(f"{self.columns[place]} = ?" for place in places)
        return f"UPDATE {self.name} SET {sets} WHERE id = ?", (*places, 0)  # noqa: S608 (declared names)


class Record(msgspec.Struct, frozen=True):
    """The newest known state of one object of a resource."""

    id: Key
    fields: Mapping[str, Any]
    raw: str
    as_of: str  # on Flexport's clock; empty where no time is known
    seq: int  # the place of the state's cause in the order of arrival
    source: str
    synced_at: str
    first_seen_at: str
    removed_at: str | None = None
    older: str | None = None  # JSON: keys of raw that the newest snapshot did not carry -> how old they are
    digest: int | None = None  # of raw, where it is a whole answer of Flexport's, to the byte
    tie_breaker: str = ""  # orders states of equal as_of: see core.snapshots.TieBreaker

    def with_fields(self, fields: Mapping[str, Any]) -> "Record":
        """The same state with other normalised fields."""
        return msgspec.structs.replace(self, fields=fields)


_FIRST_PLAUSIBLE, _FIRST_IMPLAUSIBLE = "2000", "2070"  # years


def is_plausible(value: str) -> bool:
    """Whether a day or a moment may be that of a shipment. 1970 and 2099 stand for a date that is missing."""
    return _FIRST_PLAUSIBLE <= value[:4] < _FIRST_IMPLAUSIBLE


def plausible_or_none(value: str | None) -> str | None:
    """The day or moment; None for one that cannot be computed with."""
    return value if value and is_plausible(value) else None


class Resources:
    """Reads and writes the tables of resources."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def load(self, table: Table, ids: Sequence[Key]) -> dict[Key, Record]:
        """The records that exist among these ids."""
        return self._records(table, "id IN (SELECT value FROM json_each(?))", msgspec.json.encode(ids).decode())

    def keys_after(self, table: Table, key: Key | None, limit: int) -> list[Key]:
        """The next ids of a table behind one, in their order; the first for None."""
        where, values = ("", ()) if key is None else ("WHERE id > ?", (key,))
        sql = f"SELECT id FROM {table.name} {where} ORDER BY id LIMIT ?"  # noqa: S608 (declared names)
        return [row[0] for row in self._raw.execute(sql, (*values, limit))]

    def of_shipment(self, table: Table, shipment_id: int) -> list[Record]:
        """All records of a table that belong to one shipment, by id."""
        return list(self._records(table, "shipment_id = ?", shipment_id).values())

    def of_shipments(self, table: Table, shipment_ids: Sequence[int]) -> dict[int, list[Record]]:
        """All records of a table that belong to these shipments, by shipment; an empty list for none."""
        found: dict[int, list[Record]] = {shipment_id: [] for shipment_id in shipment_ids}
        if found:
            where = "shipment_id IN (SELECT value FROM json_each(?))"
            for record in self._records(table, where, msgspec.json.encode(shipment_ids).decode()).values():
                found[record.fields["shipment_id"]].append(record)
        return found

    def content_hashes(self, table: Table, ids: Sequence[Key]) -> dict[Key, "ContentHash"]:
        """What tells whether an answer of Flexport's is news, for those of these ids that are known."""
        sql = (
            "SELECT id, digest, removed_at IS NOT NULL, CASE WHEN digest IS NULL THEN raw END "  # noqa: S608
            f"FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {row[0]: ContentHash(*row[1:]) for row in self._raw.execute(sql, (msgspec.json.encode(ids).decode(),))}

    def orphans(self, table: Table, by: str, owners: Sequence[Key]) -> list[Key]:
        """The ids of the rows of these owners that know no shipment yet; `by` is the column that names the owner."""
        sql = (
            f"SELECT id FROM {table.name} WHERE {by} IN (SELECT value FROM json_each(?)) "  # noqa: S608 (declared names)
            "AND shipment_id IS NULL"
        )
        return [row[0] for row in self._raw.execute(sql, (msgspec.json.encode(owners).decode(),))]

    def _records(self, table: Table, where: str, value: Any) -> dict[Key, Record]:
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {where} ORDER BY id"  # noqa: S608
        return {row[0]: _record(table, row) for row in self._raw.execute(sql, (value,))}

    def save(self, table: Table, states: Iterable[tuple[Record, frozenset[str] | None]]) -> None:
        """Write states; each with the fields that moved, None for a new object."""
        new: list[tuple[Any, ...]] = []
        moved: dict[frozenset[str], list[tuple[Any, ...]]] = {}
        for record, names in states:
            if names is None:
                new.append(_row(table, record))
            else:
                moved.setdefault(names, []).append(_row(table, record))
        if new:
            bulk_insert(self._raw, table.insert, new)
        for names, rows in moved.items():
            sql, places = table.update(names)
            take = itemgetter(*places)
            self._raw.executemany(sql, [take(row) for row in rows])

    def page(self, table: Table, page: PageRequest) -> list[dict[str, Any]]:
        """One page of a resource's list; as it lay when it began to be read, where the page says how."""
        return (
            table.listing.read(self._raw, page)
            if page.snapshots is None
            else page.snapshots.read(self._raw, table, page)
        )

    def counts(self, table: Table, column: str) -> dict[str, int]:
        """How many records there are by the value of one declared column, those that are gone left out.

        Those without a value count as `unknown`.
        """
        if column not in table.columns:
            raise KeyError(column)
        sql = f"SELECT {column}, count(*) FROM {table.name} WHERE removed_at IS NULL GROUP BY {column}"  # noqa: S608
        found: Counter[str] = Counter()
        for value, count in self._raw.execute(sql):
            found["unknown" if value is None else str(value)] += count
        return dict(found)

    def newest(self, table: Table, limit: int) -> list[Key]:
        """The ids of the objects that changed last."""
        sql = f"SELECT id FROM {table.name} ORDER BY as_of DESC, id DESC LIMIT ?"  # noqa: S608
        return [row[0] for row in self._raw.execute(sql, (limit,))]

    def newest_as_of(self, table: Table) -> str | None:
        """The newest state that any record of the table has."""
        value: str | None = self._raw.execute(f"SELECT max(as_of) FROM {table.name}").fetchone()[0]  # noqa: S608
        return value or None

    def newest_as_of_filtered(self, table: Table, filters: Mapping[str, Sequence[Any]]) -> str | None:
        """The newest state that any record which these filters of the list let through has."""
        listing = replace(table.listing, sorts={"as_of": "as_of"})
        rows = listing.read(self._raw, PageRequest(1, "as_of", filters=filters))
        return rows[0]["as_of"] if rows else None

    def has_any(self, table: Table, filters: Mapping[str, Sequence[Any]]) -> bool:
        """Whether these filters of the list let any record through."""
        listing = replace(table.listing, sorts={"id": "id"})
        return bool(listing.read(self._raw, PageRequest(1, "id", filters=filters)))

    def distinct_values(self, table: Table, column: str, limit: int) -> list[str]:
        """The different values of a column of words, at most so many."""
        sql = f"SELECT DISTINCT {column} FROM {table.name} WHERE {column} IS NOT NULL LIMIT ?"  # noqa: S608 (declared)
        return [str(row[0]) for row in self._raw.execute(sql, (limit,))]

    def put_references(self, references: Mapping[int, Iterable[tuple[str, str]]]) -> None:
        """Replace the references (kind, value) by which these shipments are found."""
        self._raw.execute(
            "DELETE FROM shipment_references WHERE shipment_id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(list(references)).decode(),),
        )
        rows = [(kind, value, number) for number, pairs in references.items() for kind, value in pairs]
        bulk_insert(self._raw, "INSERT OR IGNORE INTO shipment_references VALUES (?, ?, ?)", rows)


class ContentHash(msgspec.Struct, frozen=True, gc=False):
    """What is stored of one object, as far as comparing needs it; `raw` only where there is no digest."""

    digest: int | None
    removed: int
    raw: str | None


def _record(table: Table, row: Sequence[Any]) -> Record:
    fields = dict(zip(table.names, row[1:], strict=False))  # the rest of the row is instants and marks
    for name in table.booleans:
        if fields[name] is not None:
            fields[name] = bool(fields[name])
    as_of, seq, source, synced_at, first_seen_at, removed_at, older, digest, tie_breaker, raw = row[
        -len(STATE_COLUMNS) :
    ]
    marks = (as_of, seq, source, synced_at, first_seen_at, removed_at, older, digest, tie_breaker)
    return Record(row[0], fields, raw, *marks)


def _row(table: Table, record: Record) -> tuple[Any, ...]:
    fields = record.fields
    return (
        record.id, *table.values_of(fields), *table.instants(fields),
        record.as_of, record.seq, record.source, record.synced_at, record.first_seen_at, record.removed_at,
        record.older, record.digest, record.tie_breaker, record.raw,
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)  # as core.values: what repeats, repeats within a batch
def instant(local: str) -> str:
    """The UTC instant of a moment, as stored: `2026-03-03T04:00:00.000Z`."""
    if len(local) == 25 and local.endswith("+00:00"):
        return local[:19] + ".000Z"
    return stamp(parse(local))


def instant_of(field: Field, local: str, fields: Mapping[str, Any]) -> str:
    """The UTC instant of a moment, and the end of the day of a deadline; `fields` have the zone of its place."""
    if field.kind != "deadline":
        return instant(local)
    return _end_of_day(local, fields.get(field.zone) if field.zone else None)


@functools.lru_cache(maxsize=1024)
def _end_of_day(local: str, zone: str | None) -> str:
    """The last millisecond of the day of a moment, by the clock of the zone, else by the offset that is written."""
    moment = parse(local)
    place = (zone_of(zone) if zone else None) or moment.tzinfo
    with suppress(OverflowError):  # of the last day that there is
        return stamp(datetime.combine(moment.date(), _END_OF_DAY, place))
    return instant(local)
