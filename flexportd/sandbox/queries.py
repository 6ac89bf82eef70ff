"""Filters, sort and pages of the lists, as published for shipments, legs, containers, container legs and events.

Whether Flexport refuses unknown parameters or ignores them is undocumented. The sandbox ignores them, because that is
harder on a client: a filter with a typing error then returns every row, and the client has to notice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flexportd.errors import InvalidError
from flexportd.sandbox.filters import FILTERS, Predicate, choice, flag, metadata, whole
from flexportd.sandbox.shapes import CONTAINER, EVENT, LEG, SHIPMENT, Wire
from flexportd.sandbox.world import World

DEFAULT_PER, MAX_PER = 10, 100

_SORTS = ("id", "transportation_mode", "status", "updated_at", "archived_at")

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its number, its size, the rows on it, and how many there are on all pages."""

    number: int
    per: int
    rows: Sequence[Wire]
    total: int


def page_of(rows: Sequence[Wire], query: Query) -> Page:
    """The page asked for. Raises InvalidError for a page below 1 or a size outside 1 to 100."""
    number = whole("page", _last(query, "page", "1"))
    per = whole("per", _last(query, "per", str(DEFAULT_PER)))
    if number < 1:
        raise InvalidError("page must be 1 or more.", "page")
    if not 1 <= per <= MAX_PER:
        raise InvalidError(f"per must be from 1 to {MAX_PER}.", "per")
    begin = (number - 1) * per
    return Page(number, per, rows[begin : begin + per], len(rows))


def select(world: World, kind: str, query: Query) -> list[Wire]:
    """The rows of a list, filtered and in order. Raises InvalidError."""
    if "f.status" in query and "f.statuses.any" in query and kind == SHIPMENT:
        raise InvalidError("f.status and f.statuses.any exclude each other.", "f.status")
    predicates = _predicates(world, kind, query)
    if kind == LEG and not flag("f.include_deleted", _last(query, "f.include_deleted", "false")):
        predicates.append(lambda row: row["deleted_at"] is None)
    rows = list(world.tables[kind].values())
    for holds in predicates:
        rows = [row for row in rows if holds(row)]
    if kind == SHIPMENT:
        return _sorted(rows, query)
    # Legs and containers are documented newest first but recorded oldest first; events are newest first here.
    return sorted(rows, key=lambda row: int(row["id"]), reverse=kind == EVENT)


def _predicates(world: World, kind: str, query: Query) -> list[Predicate]:
    found: list[Predicate] = []
    for name, values in query.items():
        if name.startswith("f.metadata.") and kind in {SHIPMENT, CONTAINER}:
            found.append(metadata(name.removeprefix("f.metadata."), frozenset(values)))
        elif name in FILTERS[kind]:
            found.append(FILTERS[kind][name](world, name, values[-1]))
    return found


def _sorted(rows: list[Wire], query: Query) -> list[Wire]:
    by, direction = _last(query, "sort", "id"), _last(query, "direction", "desc")
    choice("sort", by, _SORTS)
    choice("direction", direction, ("asc", "desc"))
    # Rows without a value come last either way; equal values are in order of id.
    filled = [row for row in rows if row[by] is not None]
    filled.sort(key=lambda row: (row[by], row["id"]), reverse=direction == "desc")
    return filled + [row for row in rows if row[by] is None]


def _last(query: Query, name: str, default: str) -> str:
    values = query.get(name)
    return values[-1] if values else default
