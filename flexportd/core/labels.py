"""Fields, values, days, times, durations and counts as people read them: one wording for pages, CLI and API.

Imports only the standard library and the clock.
"""

import json
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from flexportd.clock import age, parse

if TYPE_CHECKING:
    from flexportd.storage.queries.table import Kind, Table

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MAX_LENGTH = 120  # characters of one value
_YEAR_CLEAR_DAYS = 183  # days within which a day of this year is clear without the year
_JUST_NOW_SECONDS = 45
_DURATIONS = ((2 * 86_400, 86_400, "d"), (2 * 3600, 3600, "h"), (90, 60, "min"))  # from, size, unit

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
    """The name of a field for people: `actual departure`."""
    return _WORDS.get(name) or name.removesuffix("_id").replace("_", " ")


def enum_label(name: str, value: str) -> str | None:
    """An enumerated value for people; None for a value of another field: a SKU or a name may look like one."""
    is_enumerated = name.endswith(_ENUMERATED) and _ENUM_VALUE.fullmatch(value)
    return value.replace("_", " ") if is_enumerated else None


def value_label(table: "Table", name: str, stored: str | None) -> str:
    """A value of the history (JSON text) for people; `nothing` for none."""
    if stored is None:
        return "nothing"
    value = json.loads(stored)
    kind: Kind = next((field.kind for field in table.fields if field.name == name), "text")
    words = enum_label(name, value) if isinstance(value, str) else None
    words = words or _format_value(kind, value)
    return words if len(words) <= _MAX_LENGTH else words[: _MAX_LENGTH - 1] + "…"


def format_day(day: date, today: date) -> str:
    """`20 Nov`; with the year if that is another year or many months away."""
    words = f"{day.day} {MONTHS[day.month - 1]}"
    return words if day.year == today.year and abs((day - today).days) <= _YEAR_CLEAR_DAYS else f"{words} {day.year}"


def format_minute(stamp: str) -> str:
    """A stored time to the minute: `21 Mar 2026 19:00 UTC`."""
    return f"{_format_full_day(stamp)} {stamp[11:16]} UTC"


def time_text(at: str | None, now: datetime) -> str:
    """A stored time to the minute, with its day unless that is today: `14:02 UTC`, `3 Mar 14:02 UTC`."""
    if at is None:
        return "the first start"
    moment, today = parse(at), now.astimezone(UTC).date()
    time = f"{moment:%H:%M} UTC"
    return time if moment.date() == today else f"{format_day(moment.date(), today)} {time}"


def time_ago(at: str | None, now: datetime) -> str:
    """How long ago a stored time was: `just now`, `2 min ago`."""
    seconds = age(at, now) or 0.0
    return "just now" if seconds < _JUST_NOW_SECONDS else f"{format_duration(seconds)} ago"


def format_duration(seconds: float) -> str:
    """A duration in a suitable unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    for start, size, unit in _DURATIONS:
        if seconds >= start:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """`1 event`, `1,204 events`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def is_day_only(moment: str) -> bool:
    """Whether a moment has a day but no time of day."""
    return moment[11:19] in ("12:00:00", "00:00:00")


def _format_full_day(stored: str) -> str:
    """`21 Mar 2026`."""
    try:
        found = date.fromisoformat(stored[:10])
    except ValueError:
        return stored[:10]
    return f"{found.day} {MONTHS[found.month - 1]} {found.year}"


def _format_value(kind: "Kind", value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_format_part(part) for part in value) or "nothing"
    return _format_text(kind, value) if isinstance(value, str) else _format_part(value)


def _format_text(kind: "Kind", value: str) -> str:
    if kind == "moment" and len(value) >= 16:
        zone = "UTC" if value.endswith(("+00:00", "Z")) else f"({format_offset(value[-6:])})"
        return _format_full_day(value) + ("" if is_day_only(value) else f" {value[11:16]} {zone}")
    return format_minute(value) if _STAMP.fullmatch(value) else value


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
