"""Any document of the API for people: its fields in words, and a table for each list in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flexportd.cli.format import SOURCES, format_time, humanize, join_values, since
from flexportd.cli.output import Column, Output

# Shown last or not at all: these are the mirror's, not Flexport's.
MIRROR_FIELDS = ("as_of", "source", "synced_at", "first_seen_at", "removed_at", "day_only", "raw", "refresh")

Document = Mapping[str, Any]


def show(out: Output, document: Document, one: str) -> None:
    """One object: facts, then tables, then how old all this is. `one` is what such an object is called."""
    fields = {name: value for name, value in document.items() if name not in (*MIRROR_FIELDS, "id")}
    days = frozenset(document.get("day_only", ()))
    told = list(_display_fields(fields, days))
    pairs = [(label, text(value)) for label, value in told if not _is_table(value)]
    out.facts([(one, document["id"]), *pairs, *freshness_rows(document, out.now())])
    for label, value in told:
        if _is_table(value):
            out.heading(label.capitalize())
            rows = [dict(_display_fields(row, frozenset())) for row in value]
            out.table(rows, _columns(rows))


def freshness_rows(document: Document, now: datetime) -> list[tuple[str, str]]:
    """What the mirror knows of an object: whether Flexport deleted it, the age of its data, and the source."""
    as_of = document["as_of"]
    dated = f"{format_time(as_of)} ({since(as_of, now)})" if as_of else "unknown"
    return [
        ("deleted at Flexport", format_time(document["removed_at"])),
        ("data as of", dated),
        ("source", SOURCES.get(document["source"], humanize(document["source"]))),
    ]


def diff(before: Document, after: Document) -> list[tuple[str, str]]:
    """The fields in which two states of an object differ, each with what it was and is."""
    told = [
        dict(
            _display_fields(
                {n: v for n, v in one.items() if n not in MIRROR_FIELDS}, frozenset(one.get("day_only", ()))
            )
        )
        for one in (before, after)
    ]
    names = dict.fromkeys(name for one in told for name in one)
    return [
        (name, _change_text(*(one.get(name) for one in told)))
        for name in names
        if told[0].get(name) != told[1].get(name)
    ]


def _change_text(old: Any, new: Any) -> str:
    if _is_table(old) or _is_table(new):
        return f"{len(old or ())} entries, now {len(new or ())}"
    return f"{text(old) or 'none'} → {text(new) or 'none'}"


def _display_fields(fields: Document, days: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The fields under their names for people; amounts with their currencies, times with what is known of them."""
    for name, value in fields.items():
        stem, _, end = name.rpartition("_")
        if end in ("currency", "date") and f"{stem}_{_PARTNERS[end]}" in fields:
            continue  # shown with its partner
        if end == "amount":
            unit = fields.get(f"{stem}_currency" if stem else "currency")
            yield humanize(stem) or "amount", None if value is None else f"{value} {unit or ''}".rstrip()
        elif name == "currency" and "amount" in fields:
            continue
        elif end == "at" and stem:
            yield humanize(stem), fields[f"{stem}_date"] if stem in days else format_time(value)
        else:
            yield humanize(name), value


# What an entry of a list is known by; the rest follows in the order of the document.
_FIRST = ("line", "id", "type", "region", "sku", "name", "product", "description")
_REFERENCES = frozenset(("id", "number", "sku", "code", "key"))  # names of what must not be cut end so
_PARTNERS = {"currency": "amount", "date": "at"}
_MEASURES = (("value", "unit"), ("amount", "currency"))
_ONE_LINERS = [set(pair) for pair in _MEASURES]


def text(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        for number, unit in _MEASURES:
            if value.keys() == {number, unit}:
                return f"{value[number]} {value[unit] or ''}".rstrip()
        return "; ".join(f"{humanize(name)}: {text(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list):
        return join_values(map(text, value))
    return "" if value is None else str(value)


def _is_table(value: Any) -> bool:
    entries = [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
    return any(set(one) not in _ONE_LINERS for one in entries)


def _columns(rows: Sequence[Document]) -> tuple[Column, ...]:
    """A column for everything that any of the rows tells."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if text(value))
    ordered = sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return tuple(_column(name, rows) for name in ordered)


def _column(name: str, rows: Iterable[Document]) -> Column:
    numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
    whole = numbers or name == "id" or name.rpartition(" ")[2] in _REFERENCES
    return Column(name, lambda row: text(row.get(name)), narrows=not whole, right=numbers)
