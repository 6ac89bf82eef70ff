"""Lists: filtered, sorted and cut into pages, built only from declared filters and columns."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import msgspec

from flexportd.storage.queries.filters import Filter, with_negations

SORT_IN_MEMORY_MAX = 300
"""Up to this many rows are found by a filter and then sorted; more are read in the order of the list."""

_decode = msgspec.json.Decoder(list[Any]).decode

Condition = tuple[str, list[Any]]  # a condition and the values of its `?`
SortKey = tuple[int, Any, bool, Any]  # a row's sort value and key in SQLite's order: NULL, numbers, texts


class SnapshotReader(Protocol):
    """Reads the pages of a list as it was ordered when its first page was read."""

    def read(self, raw: sqlite3.Connection, table: Any, page: "PageRequest") -> list[dict[str, Any]]:
        """The rows of a page."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for one page. `after` is the sort value and key of the last row of the page before.

    With `snapshots` the list is read as it was at `since`, a change log number: see
    `flexportd.storage.queries.stable_pagination`.
    """

    limit: int
    sort: str
    descending: bool = True
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    after: tuple[Any, Any] | None = None
    extra: Sequence[str] = ()  # further columns
    since: int | None = None
    snapshots: SnapshotReader | None = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The list of one table: its columns, sort orders and filters."""

    table: str
    columns: Sequence[str]
    key: str
    sorts: Mapping[str, str]
    filters: Mapping[str, Filter]
    literal_variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Filter -> one of its values -> the condition for that value alone, without `?`: an index may be for it."""
    order: str = ""
    """The column, never NULL, that is second in the indexes of filters; empty: the key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", with_negations(self.filters))

    def read(self, raw: sqlite3.Connection, page: PageRequest) -> list[dict[str, Any]]:
        """The rows as dictionaries, one more than `limit` when another page follows."""
        few = self._sort_in_memory(raw, page)
        if few is not None or any(name.startswith("(") for name in self.columns):
            # Subqueries are evaluated only for the rows that are shown.
            positions = self._rows(raw, page, (self.sorts[page.sort], self.key), page.limit + 1) if few is None else few
            keys = [row[-1] for row in islice(positions, page.limit + 1)]
            rows = self.by_keys(raw, page, keys)
            return [rows[key] for key in keys]
        names = self.names(page)
        return [dict(zip(names, row, strict=True)) for row in self._rows(raw, page, names, page.limit + 1)]

    def positions(self, raw: sqlite3.Connection, page: PageRequest, most: int) -> Iterator[tuple[Any, Any]]:
        """Sort value and key of the rows after `after`, in order, at most so many; read lazily."""
        few = self._sort_in_memory(raw, page)
        if few is not None:
            yield from ((value if rank else None, key) for rank, value, _, key in few)
        else:
            yield from self._rows(raw, page, (self.sorts[page.sort], self.key), most)

    def filter_keys(self, raw: sqlite3.Connection, page: PageRequest, keys: Sequence[Any]) -> set[Any]:
        """Those of these keys whose rows match a page's filters."""
        where, values = self._where(page.filters)
        sql = f"SELECT {self.key} {self._from_keys()} AND {where}"
        return {row[0] for row in raw.execute(sql, (msgspec.json.encode(keys).decode(), *values))}

    def matching(self, raw: sqlite3.Connection, page: PageRequest, most: int) -> list[Any] | None:
        """The keys of all rows that match a page's filters, unordered; None for more than `most`."""
        where, values = self._where(page.filters)
        sql = f"SELECT {self.key} FROM {self.table} WHERE {where} LIMIT ?"  # noqa: S608 (declared fragments)
        found = [row[0] for row in raw.execute(sql, (*values, most + 1))]
        return found if len(found) <= most else None

    def count(self, raw: sqlite3.Connection, filters: Mapping[str, Sequence[Any]]) -> int:
        """How many rows match these filters."""
        where, values = self._where(filters)
        count: int = raw.execute(f"SELECT count(*) FROM {self.table} WHERE {where}", values).fetchone()[0]  # noqa: S608
        return count

    def by_keys(self, raw: sqlite3.Connection, page: PageRequest, keys: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        """The rows with these keys by key; filters do not apply."""
        names = self.names(page)
        sql = f"SELECT {self.key}, {', '.join(names)} {self._from_keys()}"
        found = raw.execute(sql, (msgspec.json.encode(keys).decode(),))
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in found}

    def names(self, page: PageRequest) -> tuple[str, ...]:
        """The columns of a row, with the sort column."""
        found, column = (*self.columns, *page.extra), self.sorts[page.sort]
        return found if column in found else (*found, column)

    def statements(self, page: PageRequest, names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """The statements that are run in turn until the page is full, each with its values except the last, the limit.

        Each can be answered from an index in its order: a comparison of (value, key) would read all equal values, and
        a list of words all matching rows.
        """
        branches = self._union_branches(page)
        for after, order in self._keyset_ranges(page):
            parts = [[*branch, *after] for branch in branches]
            wheres = (
                " WHERE " + " AND ".join(f"({where})" for where, _ in branch) if branch else "" for branch in parts
            )
            selects = (f"SELECT {', '.join(names)} FROM {self.table}{where}" for where in wheres)  # noqa: S608
            values = [value for branch in parts for _, given in branch for value in given]
            yield f"{' UNION ALL '.join(selects)} ORDER BY {order} LIMIT ?", values

    def _rows(
        self, raw: sqlite3.Connection, page: PageRequest, names: Sequence[str], most: int
    ) -> Iterator[tuple[Any, ...]]:
        for sql, values in self.statements(page, names):
            for row in raw.execute(sql, (*values, most)):
                most -= 1
                yield row
            if most <= 0:
                return

    def _sort_in_memory(self, raw: sqlite3.Connection, page: PageRequest) -> list[SortKey] | None:
        """The positions after `after` in order, if one filter matches few rows for which no index has this order.

        SQLite cannot know whether few rows match. Following the order finds the first of many rows quickly, but reads
        the whole table to find a few.
        """
        for name in self.selective_filters(page):
            sql, values = self.probe(page, name)
            positions = [sort_key(*row) for row in raw.execute(sql, (*values, SORT_IN_MEMORY_MAX + 1))]
            if len(positions) > SORT_IN_MEMORY_MAX:
                continue
            if len(page.filters) > 1:
                here = self.filter_keys(raw, page, [key for *_, key in positions])
                positions = [one for one in positions if one[3] in here]
            positions.sort(reverse=page.descending)
            if page.after is not None:
                after = sort_key(*page.after)
                positions = [one for one in positions if (one < after if page.descending else one > after)]
            return positions
        return None

    def selective_filters(self, page: PageRequest) -> list[str]:
        """The filters of a page that may match few rows, if no index covers all filters in the order of the list."""
        unordered = [name for name in page.filters if self.needs_sorting(name, page)]
        equalities = (
            [name for name in page.filters if name not in unordered and self._is_equality(name)] if self.order else []
        )
        return [*unordered, *equalities] if unordered or len(equalities) > 1 else []

    def probe(self, page: PageRequest, name: str) -> tuple[str, list[Any]]:
        """The statement that finds out whether few rows match a filter, with its values except the last, the limit."""
        where, values = self._condition(name, page.filters[name])
        return f"SELECT {self.sorts[page.sort]}, {self.key} FROM {self.table} WHERE {where} LIMIT ?", values  # noqa: S608

    def _is_equality(self, name: str) -> bool:
        one = self.filters[name]
        return one.operator == "=" or (one.operator == "in" and one.column != self.key)

    def needs_sorting(self, name: str, page: PageRequest) -> bool:
        """Whether no index has the rows of a filter in the order of the list."""
        one, column = self.filters[name], self.sorts[page.sort]
        if one.selective:
            return bool(self.order)
        if self._is_equality(name):
            return column != (self.order or self.key)
        if one.operator in ("<", ">=", ">"):
            return one.column != column
        return one.operator in ("in", "subquery")

    def _condition(self, name: str, values: Sequence[Any]) -> Condition:
        literal = self.literal_variants.get(name, {}).get(values[0]) if values else None
        one = self.filters[name]
        return (one.condition, one.bind(values)) if literal is None else (literal, [])

    def _where(self, filters: Mapping[str, Sequence[Any]]) -> Condition:
        conditions = [self._condition(name, values) for name, values in filters.items()]
        where = " AND ".join(f"({condition})" for condition, _ in conditions) or "1"
        return where, [value for _, values in conditions for value in values]

    def _from_keys(self) -> str:
        # CROSS: otherwise the planner may scan the index of a filter for a few keys.
        return f"FROM (SELECT value AS named FROM json_each(?)) CROSS JOIN {self.table} WHERE {self.key} = named"  # noqa: S608

    def _union_branches(self, page: PageRequest) -> list[list[Condition]]:
        """The conditions of a page, once for each word of the first filter that has several."""
        branches: list[list[Condition]] = [[]]
        for name, values in page.filters.items():
            part = self._condition(name, values)
            one = self.filters[name]
            words: list[Any] = []
            if not self.needs_sorting(name, page):
                words = list(dict.fromkeys(_decode(values[0]))) if one.operator == "in" else []
            elif not one.selective:  # many rows match: the unary plus keeps to the order of the list
                part = (f"+{part[0]}", part[1])
            if len(words) > 1 and len(branches) == 1:
                branches = [[*branches[0], (f"{one.column} = ?", [word])] for word in words]
                continue
            if len(words) == 1:
                part = (f"{one.column} = ?", words)
            branches = [[*branch, part] for branch in branches]
        return branches

    def _keyset_ranges(self, page: PageRequest) -> Iterator[tuple[list[Condition], str]]:
        """The ranges of the list after `after`, each with its order. NULL sorts first."""
        column, key = self.sorts[page.sort], self.key
        direction, beyond = ("DESC", "<") if page.descending else ("ASC", ">")
        by_key, whole = f"{key} {direction}", f"{column} {direction}, {key} {direction}"
        if column == key:
            yield ([] if page.after is None else [(f"{key} {beyond} ?", [page.after[1]])]), by_key
            return
        if page.after is None:
            yield [], whole
            return
        value, last = page.after
        same: Condition = (f"{column} IS NULL", []) if value is None else (f"{column} = ?", [value])
        yield [same, (f"{key} {beyond} ?", [last])], by_key
        if value is not None:
            yield [(f"{column} {beyond} ?", [value])], whole
        if column == self.order:
            return
        if page.descending and value is not None:
            yield [(f"{column} IS NULL", [])], by_key
        if not page.descending and value is None:
            yield [(f"{column} IS NOT NULL", [])], whole


def sort_key(value: Any, key: Any) -> SortKey:
    """The position of a row with this sort value and key."""
    rank = 0 if value is None else 2 if isinstance(value, str) else 1
    return rank, value if rank else 0, isinstance(key, str), key
