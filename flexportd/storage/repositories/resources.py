"""The objects of Flexport's resources: reads and writes their tables."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import STATE_COLUMNS, Key, Table
from flexportd.storage.statements import bulk_insert, json_text


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
    tie_breaker: str = ""  # orders states of equal as_of: see core.merge.TieBreaker

    def with_fields(self, fields: Mapping[str, Any]) -> "Record":
        """The same state with other normalised fields."""
        return msgspec.structs.replace(self, fields=fields)


class Resources:
    """Reads and writes the tables of resources."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def load(self, table: Table, ids: Sequence[Key]) -> dict[Key, Record]:
        """The records that exist among these ids."""
        return self._records(table, "id IN (SELECT value FROM json_each(?))", json_text(ids))

    def keys_after(self, table: Table, key: Key | None, limit: int) -> list[Key]:
        """The next ids of a table after one, in order; the first ones for None."""
        where, values = ("", ()) if key is None else ("WHERE id > ?", (key,))
        sql = f"SELECT id FROM {table.name} {where} ORDER BY id LIMIT ?"  # noqa: S608 (declared names)
        return [row[0] for row in self._raw.execute(sql, (*values, limit))]

    def of_shipment(self, table: Table, shipment_id: int) -> list[Record]:
        """All records of a table that belong to one shipment, by id."""
        return list(self._records(table, "shipment_id = ?", shipment_id).values())

    def of_shipments(self, table: Table, shipment_ids: Sequence[int]) -> dict[int, list[Record]]:
        """All records of a table that belong to these shipments, by shipment; an empty list for none."""
        records: dict[int, list[Record]] = {shipment_id: [] for shipment_id in shipment_ids}
        if records:
            where = "shipment_id IN (SELECT value FROM json_each(?))"
            for record in self._records(table, where, json_text(shipment_ids)).values():
                records[record.fields["shipment_id"]].append(record)
        return records

    def with_value(self, table: Table, column: str, value: str, limit: int) -> list[Record]:
        """The records with exactly this text in a column, without removed ones, by id."""
        if column not in table.columns:
            raise KeyError(column)
        # The columns that are searched by a person have an index without case; it finds the exact ones as well.
        where = f"{column} = ?1 COLLATE NOCASE AND {column} = ?1 AND removed_at IS NULL"
        return list(self._records(table, where, value, limit).values())

    def content_hashes(self, table: Table, ids: Sequence[Key]) -> dict[Key, "ContentHash"]:
        """What a response of Flexport is compared with, for those of these ids that are stored."""
        sql = (
            "SELECT id, digest, removed_at IS NOT NULL, CASE WHEN digest IS NULL THEN raw END "  # noqa: S608
            f"FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {row[0]: ContentHash(*row[1:]) for row in self._raw.execute(sql, (json_text(ids),))}

    def raw_members(self, table: Table, ids: Sequence[Key], name: str) -> dict[Key, str]:
        """A member of Flexport's own JSON, as JSON text, of those of these objects that have it; null is none.

        SQLite returns the text of a number as it is written only in an array, so it makes one of the member, twice; to
        read the JSON here would cost twice as much.
        """
        sql = (
            "SELECT id, CASE WHEN json_valid(raw) THEN json_extract(raw, ?1, ?1) END "  # noqa: S608 (declared names)
            f"FROM {table.name} WHERE id IN (SELECT value FROM json_each(?2))"
        )
        pairs = self._raw.execute(sql, (f"$.{name}", json_text(ids)))
        members = {key: pair[1 : len(pair) // 2] for key, pair in pairs if pair}
        return {key: text for key, text in members.items() if text != "null"}

    def object_states(self, table: Table, ids: Sequence[Key]) -> dict[Key, "ObjectState"]:
        """The states of those of these objects that are stored; a shipment belongs to itself."""
        sql = (
            f"SELECT id, {table.owner or 'NULL'}, as_of, source FROM {table.name} "  # noqa: S608 (declared names)
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {row[0]: ObjectState(*row[1:]) for row in self._raw.execute(sql, (json_text(ids),))}

    def orphans(self, table: Table, by: str, owners: Sequence[Key]) -> list[Key]:
        """The ids of these owners' rows that have no shipment yet; `by` is the column with the owner's id."""
        sql = (
            f"SELECT id FROM {table.name} WHERE {by} IN (SELECT value FROM json_each(?)) "  # noqa: S608 (declared names)
            "AND shipment_id IS NULL"
        )
        return [row[0] for row in self._raw.execute(sql, (json_text(owners),))]

    def _records(self, table: Table, where: str, value: Any, limit: int = -1) -> dict[Key, Record]:
        columns = ", ".join(("id", *table.names, *STATE_COLUMNS))
        sql = f"SELECT {columns} FROM {table.name} WHERE {where} ORDER BY id LIMIT {limit}"  # noqa: S608 (declared)
        return {row[0]: _record(table, row) for row in self._raw.execute(sql, (value,))}

    def save(self, table: Table, states: Iterable[tuple[Record, frozenset[str] | None]]) -> None:
        """Write states, each with its changed fields; None for a new object."""
        new: list[tuple[Any, ...]] = []
        moved: dict[frozenset[str], list[Record]] = {}
        for record, names in states:
            if names is None:
                new.append(_row(table, record))
            else:
                moved.setdefault(names, []).append(record)
        if new:
            bulk_insert(self._raw, table.insert, new)
        for names, records in moved.items():
            sql, values = table.update(names)
            self._raw.executemany(sql, map(values, records))

    def page(self, table: Table, page: PageRequest) -> list[dict[str, Any]]:
        """One page of a resource's list; in a stable order if the page has `snapshots`."""
        if page.snapshots is None:
            return table.listing.read(self._raw, page)
        return page.snapshots.read(self._raw, table, page)

    def counts(self, table: Table, column: str) -> dict[str, int]:
        """The number of records by the value of one column, without removed ones; NULL counts as `unknown`."""
        if column not in table.columns:
            raise KeyError(column)
        sql = f"SELECT {column}, count(*) FROM {table.name} WHERE removed_at IS NULL GROUP BY {column}"  # noqa: S608
        counts: Counter[str] = Counter()
        for value, count in self._raw.execute(sql):
            counts["unknown" if value is None else str(value)] += count
        return dict(counts)

    def newest(self, table: Table, limit: int) -> list[Key]:
        """The ids of the objects that changed most recently."""
        sql = f"SELECT id FROM {table.name} ORDER BY as_of DESC, id DESC LIMIT ?"  # noqa: S608
        return [row[0] for row in self._raw.execute(sql, (limit,))]

    def newest_as_of(self, table: Table) -> str | None:
        """The newest `as_of` in the table."""
        value: str | None = self._raw.execute(f"SELECT max(as_of) FROM {table.name}").fetchone()[0]  # noqa: S608
        return value or None

    def newest_as_of_filtered(self, table: Table, filters: Mapping[str, Sequence[Any]]) -> str | None:
        """The newest `as_of` of the records that match these filters."""
        listing = replace(table.listing, sorts={"as_of": "as_of"})
        rows = listing.read(self._raw, PageRequest(1, "as_of", filters=filters))
        return rows[0]["as_of"] if rows else None

    def has_any(self, table: Table, filters: Mapping[str, Sequence[Any]]) -> bool:
        """Whether any record matches these filters."""
        listing = replace(table.listing, sorts={"id": "id"})
        return bool(listing.read(self._raw, PageRequest(1, "id", filters=filters)))

    def distinct_values(self, table: Table, column: str, limit: int) -> list[str]:
        """The distinct values of a column, up to a limit."""
        sql = f"SELECT DISTINCT {column} FROM {table.name} WHERE {column} IS NOT NULL LIMIT ?"  # noqa: S608 (declared)
        return [str(row[0]) for row in self._raw.execute(sql, (limit,))]

    def put_references(self, references: Mapping[int, Iterable[tuple[str, str]]]) -> None:
        """Replace the references (kind, value) of these shipments."""
        self._raw.execute(
            "DELETE FROM shipment_references WHERE shipment_id IN (SELECT value FROM json_each(?))",
            (json_text(list(references)),),
        )
        rows = [(kind, value, number) for number, pairs in references.items() for kind, value in pairs]
        bulk_insert(self._raw, "INSERT OR IGNORE INTO shipment_references VALUES (?, ?, ?)", rows)


class ObjectState(msgspec.Struct, frozen=True, gc=False):
    """The shipment that an object belongs to now, and the source and time of its newest state."""

    shipment_id: int | None
    as_of: str
    source: str


class ContentHash(msgspec.Struct, frozen=True, gc=False):
    """What comparing needs of a stored object; `raw` only if there is no digest."""

    digest: int | None
    removed: int
    raw: str | None


def _record(table: Table, row: Sequence[Any]) -> Record:
    fields = dict(zip(table.names, row[1:], strict=False))  # the rest of the row are state columns
    for name in table.booleans:
        if fields[name] is not None:
            fields[name] = bool(fields[name])
    return Record(row[0], fields, row[-1], *row[-len(STATE_COLUMNS) : -1])


def _row(table: Table, record: Record) -> tuple[Any, ...]:
    fields = record.fields
    return (
        record.id, *table.values_of(fields), *table.instants(fields),
        record.as_of, record.seq, record.source, record.synced_at, record.first_seen_at, record.removed_at,
        record.older, record.digest, record.tie_breaker, record.raw,
    )  # fmt: skip
