"""Values of the fields of any object: money, measures, times, lists; fields as named values and tables. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from flexportd.core.resources.money import amount, minor_units
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.history import field_words
from flexportd.expose.dashboard.view.labels import (
    LABELS,
    Text,
    and_more,
    enum_text,
    json_or_none,
    measure,
    place,
    short_text,
    size,
    text,
)
from flexportd.storage.queries.table import DATES, Field

MOST_ROWS = 60  # of a table in an object
_MOST_COLUMNS = 14
_MOST_PARTS = 40  # of a list or an object in one value
_MAX_DEPTH = 4

_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d\d:\d\d)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

_FIRST = ("line", "line_number", "id", "type", "sku", "name", "product", "description")  # columns
_KEEP_IS_PREFIX = ("is_lcl", "is_ftl")
_SHOWN_IF_FALSE = frozenset(("container_number_valid", "vessel_imo_valid"))  # flags for wrong numbers


class NamedValues(NamedTuple):
    """A name and its values."""

    name: str
    values: tuple[Text, ...]


def money(number: Any, currency: Any) -> str | None:
    """`1,234.50 USD`, `1,234 JPY`: all digits of the amount, and at least those of the currency."""
    decimal = amount(number)
    if decimal is None:
        return None
    own = minor_units(currency if isinstance(currency, str) else None)
    places = max(own, -int(decimal.as_tuple().exponent))  # not quantize, which refuses more than 28 digits
    return f"{decimal:,.{places}f} {short_text(currency, 12) or ''}".rstrip()


def label(name: str) -> str:
    """The label of a field; of a reference, that of its object."""
    if name in ("id", "flex_id"):
        return "ID" if name == "id" else field_words(name)
    if name.endswith("_ref"):
        return f"{field_words(name.removesuffix('_ref'))} reference"
    short = name.removesuffix("_id").removesuffix("_ids")
    return field_words(short if short in _KEEP_IS_PREFIX else short.removeprefix("is_"))


def value_text(value: Any, view: ViewContext, name: str = "", depth: int = 0) -> str:
    """A value as text; empty for none."""
    if isinstance(value, str):
        return _text(value, view, name)
    if isinstance(value, Mapping | list):
        return "…" if depth >= _MAX_DEPTH else _compound_text(value, view, name, depth)
    if isinstance(value, bool):
        return "Yes" if value else "No"
    is_count = isinstance(value, int) and name != "id" and not name.endswith(("_id", "_ids"))
    return "" if value is None else f"{value:,}" if is_count else str(value)


def _compound_text(value: Mapping[str, Any] | list[Any], view: ViewContext, name: str, depth: int) -> str:
    if isinstance(value, list):
        return ", ".join(part for one in value[:_MOST_PARTS] if (part := value_text(one, view, name, depth + 1)))
    if value.keys() == {"value", "unit"}:
        return measure(value) or ""
    if value.keys() == {"amount", "currency"}:
        return money(value["amount"], value["currency"]) or ""
    parts = [(key, value_text(member, view, key, depth + 1)) for key, member in list(value.items())[:_MOST_PARTS]]
    return "; ".join(f"{label(key)}: {part}" for key, part in parts if part)


def _text(value: str, view: ViewContext, name: str) -> str:
    if _STAMP.fullmatch(value) or _DAY.fullmatch(value):
        return _time(value, view)
    return enum_text(name, value)


def _time(value: str, view: ViewContext) -> str:
    if _DAY.fullmatch(value):
        when = view.calendar_day(value)
    else:
        when = view.instant(value) if value.endswith("Z") else view.moment(value)
    return when.text if when else value


def facts(
    fields: Mapping[str, Any],
    declared: Sequence[Field],
    links: Mapping[str, tuple[Text, ...]],
    view: ViewContext,
    leave_out: Collection[str] = (),
) -> tuple[NamedValues, ...]:
    """The fields that have a value, in their order; `links` are references to other objects."""
    rows = []
    for field in declared:
        if (
            field.name in LABELS.hidden_fields
            or field.name in leave_out
            or fields.get(field.name) in (None, "", "[]", "{}")
        ):
            continue
        if field.name in _SHOWN_IF_FALSE and fields[field.name]:
            continue
        values = links.get(field.name) or _values(field, fields, view)
        if values:
            rows.append(NamedValues(label(field.name.removesuffix("_amount")), values))
    return tuple(rows)


def _values(field: Field, fields: Mapping[str, Any], view: ViewContext) -> tuple[Text, ...]:
    name, value = field.name, fields[field.name]
    if field.kind == "list":
        parts = json_or_none(value)
        if not isinstance(parts, list) or _is_table(parts):
            return ()
        shown = [part for each in parts[:_MOST_PARTS] if (part := text(value_text(each, view, name), 120))]
        return and_more(shown, len(parts) - _MOST_PARTS)
    single = text(_field_text(field, fields, view), 300)
    return () if single is None else (single,)


def _field_text(field: Field, fields: Mapping[str, Any], view: ViewContext) -> str | None:
    name, value = field.name, fields[field.name]
    if field.kind in DATES:
        when = view.moment(value, _zone(name, fields)) if field.kind == "moment" else view.calendar_day(value)
        return when.text if when else None
    if field.kind == "json":
        return value_text(json_or_none(value), view, name)
    if name.endswith("_amount"):
        return money(value, fields.get(f"{name.removesuffix('_amount')}_currency")) or str(value)
    if name.endswith(("_currency", "_code")) and fields.get(_partner_field(name)) is not None:
        return None  # shown with its amount or place
    return _plain(name, value, fields, view)


def _plain(name: str, value: Any, fields: Mapping[str, Any], view: ViewContext) -> str | None:
    if f"{name}_code" in fields and isinstance(value, str):
        where = place(fields, name)
        return None if where is None else f"{where.name.shown} {where.code or ''}".rstrip()
    return size(value) if name == "size" and isinstance(value, int) else value_text(value, view, name)


def _partner_field(name: str) -> str:
    return f"{name.removesuffix('_currency')}_amount" if name.endswith("_currency") else name.removesuffix("_code")


def _zone(name: str, fields: Mapping[str, Any]) -> str | None:
    end = "origin" if "departure" in name else "destination"
    zone = fields.get(f"{end}_timezone")
    return zone if find_zone(zone) else None


def value_group(title: str, values: Sequence[NamedValues]) -> tuple[SimpleNamespace, ...]:
    """Values under a heading; nothing without values."""
    return (SimpleNamespace(title=title, facts=tuple(values)),) if values else ()


def pairs(value: Any, view: ViewContext) -> tuple[NamedValues, ...]:
    """The members of a JSON object, such as metadata."""
    members = []
    for name, member in list(value.items())[:_MOST_PARTS] if isinstance(value, Mapping) else ():
        parts = member if isinstance(member, list) else [member]
        shown = tuple(part for each in parts[:12] if (part := text(value_text(each, view, name), 200)))
        if shown:
            members.append(NamedValues((text(name, 40) or Text("(unnamed)")).shown, shown))
    return tuple(members)


def named_values(details: Iterable[tuple[str, Text | None]]) -> list[NamedValues]:
    """Single values with their names, without those that are not known."""
    return [NamedValues(name, (value,)) for name, value in details if value is not None]


def time_text(at: str | None, view: ViewContext) -> Text | None:
    """A time of a system as text."""
    when = view.instant(at)
    return Text(when.text) if when else None


def evidence_values(evidence: Mapping[str, Any], view: ViewContext) -> list[NamedValues]:
    """The evidence of an exception."""
    return [NamedValues(member.name.replace("_", " ").capitalize(), member.values) for member in pairs(evidence, view)]


def nested_tables(
    fields: Mapping[str, Any], declared: Iterable[Field], view: ViewContext
) -> tuple[SimpleNamespace, ...]:
    """The fields that are lists of objects, as tables."""
    lists = [(field.name, json_or_none(fields.get(field.name))) for field in declared if field.kind == "list"]
    return tuple(_nested_table(label(name), value, view) for name, value in lists if _is_table(value))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _nested_table(title: str, value: Sequence[Any], view: ViewContext) -> SimpleNamespace:
    rows = [_merge_units(one) for one in value[:MOST_ROWS] if isinstance(one, Mapping)]
    cells = [{name: value_text(one, view, name, 1) for name, one in row.items()} for row in rows]
    names = dict.fromkeys(name for row in cells for name, shown in row.items() if shown)
    ordered = sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))[:_MOST_COLUMNS]
    return SimpleNamespace(
        title=title,
        columns=tuple((text(label(name), 40) or Text("?")).shown for name in ordered),
        rows=tuple(tuple(text(row.get(name), 80) for name in ordered) for row in cells),
        more=f"and {len(value) - MOST_ROWS:,} more" if len(value) > MOST_ROWS else None,
    )


def _merge_units(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with each amount and its currency, and each measure and its unit, in one column."""
    merged: dict[str, Any] = {}
    for name, value in row.items():
        stem, _, end = name.rpartition("_")
        prefix = f"{stem}_" if stem else ""
        if end == "amount" and f"{prefix}currency" in row:
            merged[stem or "amount"] = {"amount": value, "currency": row[f"{prefix}currency"]}
        elif f"{name}_unit" in row:
            merged[name] = None if value is None else {"value": value, "unit": row[f"{name}_unit"]}
        elif not (end == "currency" and f"{prefix}amount" in row) and not (end == "unit" and stem in row):
            merged[name] = value
    return merged
