"""Filters, sort and pages of the lists, as published.

Whether Flexport refuses unknown parameters or ignores them is undocumented. The sandbox ignores them, because that is
harder on a client: a misspelt filter then returns every row, and the client has to notice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog import kinds
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.wire_objects import list_entry
from flexportd.sandbox.http.filters import (
    FILTERS,
    Predicate,
    has_property,
    metadata,
    parse_choice,
    parse_flag,
    parse_int,
)
from flexportd.sandbox.world.collections import LazyRows
from flexportd.sandbox.world.world import World

DEFAULT_PER, MAX_PER = 10, 100

# The fields by which each list is sorted, and the default direction. Order lines have neither and keep their order.
SORTS: dict[str, tuple[tuple[str, ...], str]] = {
    kinds.SHIPMENT: (("id", "transportation_mode", "status", "updated_at", "archived_at"), "desc"),
    kinds.INVOICE: (("due_date",), "desc"),
    kinds.BOOKING: (("cargo_ready_date", "created_at"), "desc"),
    kinds.BOOKING_LINE: (("cargo_ready_date", "created_at"), "desc"),
    kinds.ORDER: (("id",), "asc"),
    kinds.ORDER_LINE: (("cargo_ready_date", "created_at"), "desc"),
}
_WITH_METADATA = frozenset({kinds.SHIPMENT, kinds.CONTAINER, kinds.BOOKING, kinds.COMPANY, kinds.LOCATION})
_METADATA, _PROPERTY = "f.metadata.", "f.product_properties."
_CACHED_LISTS = 16

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """One page of a list: its number, its size, the rows on it, and how many there are on all pages."""

    number: int
    per: int
    rows: Sequence[Wire]
    total: int


class Lists:
    """The lists of one world. The rows of a query are cached until the world changes, for its other pages.

    With `complete`, lists of shipments are as complete as single shipments; else as at Flexport: see `list_entry`.
    """

    def __init__(self, world: World, *, complete: bool) -> None:
        self._world = world
        self._complete = complete
        self._cache: dict[tuple[str, str], tuple[int, LazyRows]] = {}

    def page(self, kind: str, query: Query) -> ResultPage:
        """The requested page. Raises InvalidError."""
        key = repr(sorted((name, list(values)) for name, values in query.items() if name not in {"page", "per"}))
        revision, rows = self._cache.pop((kind, key), (-1, None))
        if rows is None or revision != self._world.revision:
            rows = select(self._world, kind, query)
        self._cache[kind, key] = self._world.revision, rows
        if len(self._cache) > _CACHED_LISTS:
            del self._cache[next(iter(self._cache))]
        result = page_of(rows, query)
        if kind != kinds.SHIPMENT or self._complete:
            return result
        return replace(result, rows=[list_entry(row) for row in result.rows])


def page_of(rows: Sequence[Wire], query: Query) -> ResultPage:
    """The requested page. Raises InvalidError for a page below 1 or a size outside 1 to 100."""
    number = parse_int("page", _last_value(query, "page", "1"))
    per = parse_int("per", _last_value(query, "per", str(DEFAULT_PER)))
    if number < 1:
        raise InvalidError("page must be 1 or more.", "page")
    if not 1 <= per <= MAX_PER:
        raise InvalidError(f"per must be from 1 to {MAX_PER}.", "per")
    begin = (number - 1) * per
    return ResultPage(number, per, rows[begin : begin + per], len(rows))


def select(world: World, kind: str, query: Query) -> LazyRows:
    """The rows of a list, filtered and in order. Raises InvalidError."""
    if "f.status" in query and "f.statuses.any" in query and kind == kinds.SHIPMENT:
        raise InvalidError("f.status and f.statuses.any exclude each other.", "f.status")
    predicates = _predicates(world, kind, query)
    if kind == kinds.LEG and not parse_flag("f.include_deleted", _last_value(query, "f.include_deleted", "false")):
        predicates.append(lambda row: row["deleted_at"] is None)
    shipment = _last_value(query, "f.shipment.id", "")
    collection = world.collections[kind]
    narrow = "f.shipment.id" in FILTERS[kind] and shipment.isascii() and shipment.isdigit() and len(shipment) < 19
    rows = collection.for_shipment(int(shipment)) if narrow else collection.rows()
    for holds in predicates:
        rows = rows.where(holds)
    return _sorted(kind, rows, query)


def _predicates(world: World, kind: str, query: Query) -> list[Predicate]:
    found: list[Predicate] = []
    for name, values in query.items():
        if name.startswith(_METADATA) and kind in _WITH_METADATA:
            found.append(metadata(name.removeprefix(_METADATA), frozenset(values)))
        elif name.startswith(_PROPERTY) and kind == kinds.PRODUCT:
            found.append(has_property(name.removeprefix(_PROPERTY), values[-1]))
        elif name in FILTERS[kind]:
            found.append(FILTERS[kind][name](world, name, values[-1]))
    return found


def _sorted(kind: str, rows: LazyRows, query: Query) -> LazyRows:
    fields, default = SORTS.get(kind, ((), "asc"))
    if not fields:
        return rows
    by, direction = _last_value(query, "sort", ""), _last_value(query, "direction", default)
    parse_choice("direction", direction, ("asc", "desc"))
    if by:
        parse_choice("sort", by, fields)
    elif "id" in fields and direction != default:
        by = "id"
    if not by:
        return rows
    # Rows without a value come last either way; equal values are in order of id.
    empty = rows.where(lambda row: row.get(by) is None)
    if len(empty) == len(rows):
        return rows
    filled = rows.where(lambda row: row.get(by) is not None)
    return filled.ordered(lambda row: (row[by], row["id"]), reverse=direction == "desc").concat(empty)


def _last_value(query: Query, name: str, default: str) -> str:
    values = query.get(name)
    return values[-1] if values else default
