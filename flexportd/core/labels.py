"""Fields and their values in plain words, for sentences."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from flexportd.core.resources.values import is_day_only
from flexportd.storage.queries.table import Kind, Table, plausible_or_none

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MAX_LENGTH = 120  # characters of one value
_YEAR_CLEAR_DAYS = 183  # days within which a day of this year is clear without the year

_WORDS = {
    "skus": "SKUs",
    "it_number": "IT number",
    "is_lcl": "LCL",
    "scac": "SCAC",
    "vessel_imo": "vessel IMO number",
    "vessel_imo_valid": "IMO number valid",
    "airline_code": "airline IATA code",
    "airline_icao": "airline ICAO code",
    "origin_iata": "origin IATA code",
    "destination_iata": "destination IATA code",
    "container_iso_type": "ISO 6346 size and type",
    "container_number_valid": "ISO 6346 container number",
    "hs_codes": "HS codes",
    "unlocode": "UN/LOCODE",
}
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z")
_ENUM_VALUE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# How the names of fields end that hold enumerated values.
_ENUMERATED = (
    "status", "state", "type", "level", "mode", "kind", "stage", "size", "qualifier", "category", "slug", "priority",
)  # fmt: skip


def field_label(name: str) -> str:
    """What people call a field: `actual departure`."""
    return _WORDS.get(name) or name.removesuffix("_id").replace("_", " ")


def enum_label(name: str, value: str) -> str | None:
    """An enumerated value made readable; None for a value of another field: a SKU or a name may look like one."""
    is_enumerated = name.endswith(_ENUMERATED) and _ENUM_VALUE.fullmatch(value)
    return value.replace("_", " ") if is_enumerated else None


def value_label(table: Table, name: str, stored: str | None) -> str:
    """A value of the history (JSON text) as people write it; `nothing` for none."""
    if stored is None:
        return "nothing"
    value = msgspec.json.decode(stored)
    kinds: dict[str, Kind] = {field.name: field.kind for field in table.fields}
    words = enum_label(name, value) if isinstance(value, str) else None
    words = words or _format_value(kinds.get(name, "text"), value)
    return words if len(words) <= _MAX_LENGTH else words[: _MAX_LENGTH - 1] + "…"


def format_day(day: date, today: date) -> str:
    """`20 Nov`; with the year where the day is of another year or months away."""
    words = f"{day.day} {MONTHS[day.month - 1]}"
    return words if day.year == today.year and abs((day - today).days) <= _YEAR_CLEAR_DAYS else f"{words} {day.year}"


_STOPS = (
    ("arrival", "port_of_unloading", "Arrived", "Arrives"),
    ("ramp_arrival", "inland_ramp", "Arrived", "Arrives"),
    ("delivered_in_full", "destination", "Delivered", "Delivery"),
)


def arrival_summary(fields: Mapping[str, Any], today: date) -> str:
    """`Arrives Savannah, GA 17 Nov · delivery Memphis 27 Nov`: the arrivals of a shipment, each with its own place.

    An arrival whose place is not known has none. Before a delivery it is left out: by road the two are the same.
    """
    parts: list[str] = []
    for name, place, past, future in reversed(_STOPS):
        actual, planned = (plausible_or_none(fields[f"{kind}_{name}"]) for kind in ("actual", "estimated"))
        when = actual or planned
        if when is None or (parts and not fields[place]):
            continue
        words = [past if actual else future, fields[place] or "", format_day(date.fromisoformat(when[:10]), today)]
        parts.insert(0, " ".join(filter(None, words)))
    return " · ".join(part if number == 0 else part[0].lower() + part[1:] for number, part in enumerate(parts))


def format_minute(stamp: str) -> str:
    """A stored time to the minute: `21 Mar 2026 19:00 UTC`."""
    return f"{_format_full_day(stamp)} {stamp[11:16]} UTC"


def _format_full_day(stored: str) -> str:
    """`21 Mar 2026`."""
    try:
        found = date.fromisoformat(stored[:10])
    except ValueError:
        return stored[:10]
    return f"{found.day} {MONTHS[found.month - 1]} {found.year}"


def _format_value(kind: Kind, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_format_part(part) for part in value) or "nothing"
    return _format_text(kind, value) if isinstance(value, str) else _format_part(value)


def _format_text(kind: Kind, value: str) -> str:
    if kind == "moment" and len(value) >= 16:
        return (
            _format_full_day(value)
            if is_day_only(value)
            else f"{_format_full_day(value)} {value[11:16]} {_format_zone(value)}"
        )
    return format_minute(value) if _STAMP.fullmatch(value) else value


def _format_zone(moment: str) -> str:
    """`UTC`, `(UTC+8)`: the offset that the time was written with."""
    return "UTC" if moment.endswith(("+00:00", "Z")) else f"({format_offset(moment[-6:])})"


def format_offset(offset: str) -> str:
    """The offset of a zone, with a minus sign: `UTC+5:30` of `+0530`."""
    digits = offset[1:].replace(":", "")
    sign, hours, minutes = "\N{MINUS SIGN}" if offset[0] == "-" else "+", int(digits[:2]), digits[2:4]
    return f"UTC{sign}{hours}" + ("" if minutes == "00" else f":{minutes}")


def _format_part(value: Any) -> str:
    if isinstance(value, dict):
        if value.keys() == {"unit", "value"}:
            return f"{value['value']} {value['unit']}"
        return ", ".join(f"{name} {_format_part(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return " and ".join(_format_part(part) for part in value)
    return str(value)
