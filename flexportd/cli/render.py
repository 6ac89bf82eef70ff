"""Documents of the API for people: fields with labels, and a table for each list."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flexportd.cli.format import SOURCES, format_time, humanize, join_values, since
from flexportd.cli.output import Column, Output

_PAYLOAD_LINES = 200
# Shown last or not at all: these are fields of flexportd, not of Flexport.
MIRROR_FIELDS = ("as_of", "source", "synced_at", "first_seen_at", "removed_at", "day_only", "raw", "refresh")

Document = Mapping[str, Any]


def show(out: Output, document: Document, one: str) -> None:
    """One object: its fields, then its tables. `one` is the label of the resource."""
    fields = {name: value for name, value in document.items() if name not in (*MIRROR_FIELDS, "id")}
    days = frozenset(document.get("day_only", ()))
    shown = list(_display_fields(fields, days))
    pairs = [(label, text(value)) for label, value in shown if not _is_table(value)]
    out.facts([(one, document["id"]), *pairs, *freshness_rows(document, out.now())])
    for label, value in shown:
        if _is_table(value):
            out.heading(label.capitalize())
            rows = [dict(_display_fields(row, frozenset())) for row in value]
            out.table(rows, _columns(rows))


def freshness_rows(document: Document, now: datetime) -> list[tuple[str, str]]:
    """Whether Flexport deleted the object, the age of its data, and the source."""
    as_of = document["as_of"]
    dated = f"{format_time(as_of)} ({since(as_of, now)})" if as_of else "unknown"
    return [
        ("deleted at Flexport", format_time(document["removed_at"])),
        ("data as of", dated),
        ("source", SOURCES.get(document["source"], humanize(document["source"]))),
    ]


def diff(before: Document, after: Document) -> list[tuple[str, str]]:
    """The fields in which two states of an object differ, with the old and new value."""
    old, new = (
        dict(
            _display_fields(
                {name: value for name, value in state.items() if name not in MIRROR_FIELDS},
                frozenset(state.get("day_only", ())),
            )
        )
        for state in (before, after)
    )
    changed = (name for name in old | new if old.get(name) != new.get(name))
    return [(name, _change_text(old.get(name), new.get(name))) for name in changed]


def _change_text(old: Any, new: Any) -> str:
    if _is_table(old) or _is_table(new):
        return f"{len(old or ())} entries, now {len(new or ())}"
    return f"{text(old) or 'none'} → {text(new) or 'none'}"


def _display_fields(fields: Document, days: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The fields with labels for people; amounts with currencies, times as days where only the day is known."""
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


# The first columns of a table; the rest follows in the order of the document.
_FIRST = ("line", "id", "type", "region", "sku", "name", "product", "description")
_REFERENCES = frozenset(("id", "number", "sku", "code", "key"))  # last words of names whose values are never truncated
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
    names = dict.fromkeys(name for row in rows for name, value in row.items() if text(value))
    ordered = sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return tuple(_column(name, rows) for name in ordered)


def _column(name: str, rows: Iterable[Document]) -> Column:
    numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
    whole = numbers or name == "id" or name.rpartition(" ")[2] in _REFERENCES
    return Column(name, lambda row: text(row.get(name)), narrows=not whole, right=numbers)


def show_payload(out: Output, document: dict[str, Any]) -> None:
    """The payload of an event or dead letter, at most 200 lines; bytes that are not JSON as text with escapes."""
    out.heading("Payload")
    text = document.get("payload_base64")
    if text is None:
        lines = json.dumps(document.get("payload"), indent=2, ensure_ascii=False).split("\n")
    else:
        lines = _decode_payload(str(text)).split("\n")
    for line in lines[:_PAYLOAD_LINES]:
        out.line(line)
    if len(lines) > _PAYLOAD_LINES:
        out.note(f"{len(lines) - _PAYLOAD_LINES} more lines; use --json to show all.")


def _decode_payload(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "backslashreplace")
    except (ValueError, binascii.Error):
        return text
