"""Fields and their values in plain words, for sentences."""

import re
from typing import Any

import msgspec

from flexportd.core.values import is_day_only
from flexportd.storage.resources import Kind, Table

_LONGEST = 120  # characters of one value

_WORDS = {
    "skus": "SKUs",
    "it_number": "IT number",
    "is_lcl": "LCL",
    "scac": "SCAC",
    "vessel_imo": "vessel's IMO number",
    "hs_codes": "HS codes",
    "unlocode": "UN/LOCODE",
}
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z")
_WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")


def field_words(name: str) -> str:
    """What people call a field: `actual departure`."""
    return _WORDS.get(name) or name.removesuffix("_id").replace("_", " ")


def value_words(table: Table, name: str, stored: str | None) -> str:
    """A value of the history (JSON text) as people write it; `nothing` for none."""
    if stored is None:
        return "nothing"
    value = msgspec.json.decode(stored)
    kinds: dict[str, Kind] = {field.name: field.kind for field in table.fields}
    words = _spelt(kinds.get(name, "text"), value)
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def minute(stamp: str) -> str:
    """A stored time to the minute: `2026-03-21 19:00Z`."""
    return f"{stamp[:10]} {stamp[11:16]}Z"


def _spelt(kind: Kind, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_part(part) for part in value) or "nothing"
    return _text(kind, value) if isinstance(value, str) else _part(value)


def _text(kind: Kind, value: str) -> str:
    if kind == "moment" and len(value) >= 16:
        return value[:10] if is_day_only(value) else f"{value[:10]} {value[11:16]} ({_zone(value)})"
    if _STAMP.fullmatch(value):
        return minute(value)
    return value.replace("_", " ") if _WORD.fullmatch(value) else value


def _zone(moment: str) -> str:
    return "UTC" if moment.endswith(("+00:00", "Z")) else moment[-6:]


def _part(value: Any) -> str:
    if isinstance(value, dict):
        if value.keys() == {"unit", "value"}:
            return f"{value['value']} {value['unit']}"
        return ", ".join(f"{name} {_part(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return " and ".join(_part(part) for part in value)
    return str(value)
