"""The columns of lists, from `columns.json`. A resource that is not listed there shows its first fields."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flexportd.cli.format import actual_or_estimate, ago, format_time, humanize, join_values
from flexportd.cli.output import Column, Output
from flexportd.cli.render import text

Document = Mapping[str, Any]

_FIRST = 5  # fields of a resource that has no columns of its own


def _money(row: Document, name: str) -> str:
    amount, currency = row[f"{name}_amount"], row[f"{name}_currency"]
    return "" if amount is None else f"{amount} {currency or ''}".rstrip()


def _container_number(row: Document, name: str) -> str:
    invalid = " (not valid)" if row["container_number_valid"] is False else ""  # by ISO 6346
    return f"{row[name] or row['id']}{invalid}"


# How a column shows its field, by `as`.
_FORMATS: Mapping[str, Callable[[Document, str], Any]] = {
    "text": lambda row, name: text(row[name]),
    "word": lambda row, name: humanize(row[name]),
    "list": lambda row, name: join_values(row[name]),
    "ago": lambda row, name: ago(row[name], Output.now()),
    "time": lambda row, name: format_time(row[name]),
    "day": actual_or_estimate,  # of an actual date, or of an estimate with a ~ before it
    "money": _money,
    "shipment": lambda row, name: "" if row[name] is None else f"FLEX-{row[name]}",
    "shipments": lambda row, name: join_values(f"FLEX-{key}" for key in row[name] or ()),
    "container": _container_number,
    "vehicle": lambda row, name: row[name] or row["flight"] or row["tracking_number"],
}


def _column(spec: dict[str, Any]) -> Column:
    name, shown = spec.pop("field"), _FORMATS[spec.pop("as", "text")]
    return Column(value=lambda row: shown(row, name), **spec)


def _load(section: str) -> dict[str, tuple[Column, ...]]:
    lists = json.loads(Path(__file__).with_suffix(".json").read_text())[section]
    return {name: tuple(map(_column, specs)) for name, specs in lists.items()}


COMMAND_COLUMNS = _load("commands")
COLUMNS = _load("resources")
"""Route -> columns. Of columns that do not fit, the one with the highest priority goes first."""
LEGS, CONTAINERS = COLUMNS["legs"][:-1], COLUMNS["containers"][1:-1]  # of one shipment
DELETED_COLUMN = Column("deleted at Flexport", lambda row: format_time(row["removed_at"]), priority=1)


def columns_of(route: str, rows: Sequence[Document]) -> Sequence[Column]:
    """The columns of a list; one more where any of its rows was deleted at Flexport."""
    listed = COLUMNS.get(route) or _first(rows)
    return (*listed, DELETED_COLUMN) if any(row.get("removed_at") for row in rows) else listed


def _first(rows: Sequence[Document]) -> Sequence[Column]:
    names = list(rows[0])[: _FIRST + 1] if rows else ["id"]
    specs = ({"title": humanize(name), "field": name, "narrows": True} for name in names)
    return tuple(_column({**spec, "priority": place}) for place, spec in enumerate(specs))
