"""Rows of a resource's table as lines of CSV, without a document in between: most of an export's time went into those.

What stands in a line is what `documents.of_row` and `Export.encode` would give.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from flexportd.core.labels import is_day_only
from flexportd.expose.feeds.export import quote, text_cell
from flexportd.storage.queries.table import DATES, MOMENTS, Field, Table, is_plausible

_WHOLE_ROW = "*"
"""The name under which a row stands in itself, for what several of its columns tell."""

Row = Mapping[str, Any]
CellWriter = Callable[[Any], str]


class CsvRowWriter:
    """How the rows of a table are written, with these columns of its documents."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        known: dict[str, tuple[str, CellWriter]] = {
            "id": ("id", _id),
            "flex_id": ("id", lambda value: f'"FLEX-{value}"'),
            "raw": ("raw", quote),
            "day_only": (_WHOLE_ROW, _field_names_writer(table, MOMENTS, _is_day_only)),
            "implausible": (_WHOLE_ROW, _field_names_writer(table, DATES, lambda _, value: not is_plausible(value))),
        }
        for field in table.public:
            known |= _field_writers(field)
        for mark in ("as_of", "source", "synced_at", "first_seen_at", "removed_at"):
            known[mark] = (mark, _plain)
        self._columns = [known[name] for name in columns]
        self._needs_whole = bool({"day_only", "implausible"}.intersection(columns))

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Lines of CSV."""
        given: Iterable[Row] = ({**row, _WHOLE_ROW: row} for row in rows) if self._needs_whole else rows
        lines = [",".join([write(row[name]) for name, write in self._columns]) for row in given]
        return "".join([f"{line}\r\n" for line in lines]).encode("utf-8", "backslashreplace")


def _is_day_only(field: Field, value: str) -> bool:
    return field.kind == "deadline" or is_day_only(value)


def _field_names_writer(table: Table, kinds: Collection[str], holds: Callable[[Field, str], bool]) -> CellWriter:
    """Lists the names of the fields of these kinds whose value is such a one."""
    fields = [field for field in table.public if field.kind in kinds]

    def write(row: Row) -> str:
        names = [field.name for field in fields if (value := row[field.name]) and holds(field, value)]
        return '"[' + ",".join(f'""{name}""' for name in names) + ']"'

    return write


def _field_writers(field: Field) -> dict[str, tuple[str, CellWriter]]:
    name, kind = field.name, field.kind
    if kind in MOMENTS:
        return {f"{name}_at": (f"{name}_at", _plain), f"{name}_date": (name, _date)}
    if kind == "list":
        return {name: (name, lambda value: quote(value) if value else '"[]"')}
    if kind == "json":
        return {name: (name, lambda value: quote(value) if value else "")}
    if kind == "boolean":
        return {name: (name, _boolean)}
    if kind == "integer":
        return {name: (name, _id if name.endswith("_id") else _number)}
    return {name: (name, text_cell)}


def _id(value: Any) -> str:
    return "" if value is None else f'"{value}"' if isinstance(value, int) else text_cell(value)


def _plain(value: str | None) -> str:
    return f'"{value}"' if value is not None else ""


def _date(value: str | None) -> str:
    return f'"{value[:10]}"' if value else ""


def _boolean(value: Any) -> str:
    return "" if value is None else "true" if value else "false"


def _number(value: Any) -> str:
    return "" if value is None else text_cell(value) if isinstance(value, str) else str(value)
