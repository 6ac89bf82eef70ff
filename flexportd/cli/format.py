"""Times, durations, sizes and lists as text for people."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

_SPANS = (("y", 365 * 86_400), ("mo", 30 * 86_400), ("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_NOW = 5  # seconds that are shown as "just now"

SOURCES = {"webhook": "webhook", "events": "Flexport's event log", "sync": "sync", "write": "written by flexportd"}
"""Labels of the sources of an object's state."""


def format_duration(seconds: float) -> str:
    """A duration in its largest unit: `3 min`."""
    for unit, size in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def ago(stamp: str | None, now: datetime) -> str:
    """The age of a stored time, or how far it is ahead; any other text unchanged."""
    if not stamp:
        return "never"
    try:
        seconds = (now - datetime.fromisoformat(stamp)).total_seconds()
    except (TypeError, ValueError):
        return str(stamp)
    if abs(seconds) < _NOW:
        return "just now"
    return f"{format_duration(seconds)} ago" if seconds > 0 else f"in {format_duration(-seconds)}"


def since(stamp: str, now: datetime) -> str:
    """The age of a stored time; the time itself if it is in the future, as on a simulated clock."""
    age = ago(stamp, now)
    return format_time(stamp) if age.startswith("in ") else age


def format_time(stamp: str | None) -> str:
    """A stored time to the minute: `2026-03-21 19:00Z`."""
    return f"{stamp[:10]} {stamp[11:16]}Z" if stamp and len(stamp) >= 16 else stamp or ""


def format_size(count: float) -> str:
    """Bytes in a suitable unit: `1.5 MiB`."""
    for unit in _SIZES[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_SIZES[-1]}"


def count_of(count: int, one: str, many: str | None = None) -> str:
    """`1 dead letter`, `2 dead letters`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def tally(counts: Mapping[str, Any]) -> str:
    """Counts other than zero, the largest first: `12 ocean, 3 air`."""
    filled = [(name, count) for name, count in counts.items() if isinstance(count, int) and count]
    filled.sort(key=lambda pair: -pair[1])
    return ", ".join(f"{count} {humanize(name)}" for name, count in filled) or "none"


def humanize(word: Any) -> str:
    """An enumerated value for people: `in transit` for `in_transit`."""
    return "" if word is None else str(word).replace("_", " ")


def join_values(values: Iterable[Any] | None) -> str:
    """Values separated by commas."""
    return ", ".join(str(value) for value in values or ())


def actual_or_estimate(document: Mapping[str, Any], name: str) -> str:
    """The day of `actual_NAME`, else the day of `estimated_NAME` with a `~`."""
    actual, estimated = document.get(f"actual_{name}_date"), document.get(f"estimated_{name}_date")
    if actual:
        return str(actual)
    return f"~{estimated}" if estimated else ""


def is_loopback(url: str) -> bool:
    """Whether only this machine can open a URL."""
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
