"""Answers spoilt on purpose: what a fault makes of a good envelope. See `faults` for what each one does."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flexportd.sandbox.catalog.wire_objects import Wire, utc

# Faults that change what is in the envelope; `repeat` also needs the page before.
BODY_FAULTS = frozenset(
    {
        "error_200",
        "repeat",
        "lying_total",
        "low_total",
        "foreign_next",
        "no_id",
        "twice",
        "future",
        "backwards",
        "empty",
        "cut",
        "unknown_field",
        "unknown_enum",
        "huge",
    }
)
FOREIGN_HOST = "http://elsewhere.invalid"
UNKNOWN_VALUE = "x_sandbox_novelty"
HUGE = 50 * 2**20
_STAMPS = ("updated_at", "last_updated_at")
_WORDS = ("status", "release_status", "document_type", "transportation_mode", "container_type", "type")


def inject(fault: str, envelope: Wire, now: datetime, before: Sequence[Wire] = ()) -> Wire:
    """The envelope with that fault in it; `before` are the rows of the page before, for `repeat`."""
    data = envelope["data"]
    if fault == "error_200":
        error = {"_object": "/api/error", "status": 500, "code": "internal_server_error", "message": "Try again later."}
        return {**envelope, "data": None, "error": {**error, "data": None}}
    if fault == "huge":
        return {**envelope, "padding": "x" * HUGE}
    if not isinstance(data, dict):
        return envelope
    if isinstance(data.get("data"), list):
        return {**envelope, "data": _page(fault, data, now, before)}
    return {**envelope, "data": _object(fault, data, now)}


def _page(fault: str, page: Wire, now: datetime, before: Sequence[Wire]) -> Wire:
    rows, total, following = page["data"], page["total_count"], page["next"]
    if fault == "repeat":
        rows = list(before)
    elif fault == "lying_total":
        total += 7
    elif fault == "low_total":
        total //= 2
    elif fault == "foreign_next":
        parts = urlsplit(page["next"] or "/shipments?page=2")
        following = f"{FOREIGN_HOST}{parts.path}?{parts.query}"
    elif fault == "twice":
        rows = [*rows, *rows[:1]]
    elif fault == "empty":
        return {**page, "data": [], "total_count": 0, "next": None, "prev": None}
    elif fault == "cut":
        rows, following = rows[: len(rows) // 2], None
    elif fault == "no_id":
        rows = [_object(fault, row, now) for row in rows[:1]] + rows[1:]
    else:
        rows = [_object(fault, row, now) for row in rows]
    return {**page, "data": rows, "total_count": total, "next": following}


def _object(fault: str, row: Wire, now: datetime) -> Wire:
    if fault == "no_id":
        return {name: value for name, value in row.items() if name != "id"}
    if fault == "future":
        return {**row, **{name: utc(now + timedelta(days=30)) for name in _STAMPS if row.get(name)}}
    if fault == "backwards":
        stamps = {name: datetime.fromisoformat(row[name]) for name in _STAMPS if row.get(name)}
        return {**row, **{name: utc(stamp - timedelta(days=1)) for name, stamp in stamps.items()}}
    if fault == "unknown_field":
        return {**row, UNKNOWN_VALUE: {"since": "2026", "values": [1, 2.5, None]}}
    if fault == "unknown_enum":
        return {**row, **{name: UNKNOWN_VALUE for name in _WORDS if isinstance(row.get(name), str)}}
    return row
