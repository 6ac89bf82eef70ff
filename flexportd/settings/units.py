"""Durations and sizes: text with a unit, never a bare number.

A bare number hides its unit, and `timeout = 30` has meant both seconds and milliseconds to people.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import combinations
from typing import Annotated

from pydantic import BeforeValidator

from flexportd.settings.value_types import ValueType

_MILLISECONDS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_UNIT_SETS = [units for count in range(1, 7) for units in combinations(_MILLISECONDS, count)]
_BYTES = {
    "TiB": 2**40,
    "TB": 10**12,
    "GiB": 2**30,
    "GB": 10**9,
    "MiB": 2**20,
    "MB": 10**6,
    "KiB": 2**10,
    "KB": 1000,
    "kB": 1000,
    "B": 1,
}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _MILLISECONDS))
_SIZE = re.compile(f"([0-9]{{1,19}})({'|'.join(_BYTES)})")
# Longer spans would overflow when subtracted from a date.
MAX_DURATION = timedelta(days=36_500)
MAX_SIZE = 2**63 - 1


def parse_duration(value: object) -> timedelta:
    """Read `1h30m` and the like; a timedelta passes. Raises ValueError with the right form for anything else."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(
            f'expected a duration such as "{_with_unit(value, "s", "5m")}" (text with a unit: ms, s, m, h, d, w)'
        )
    parts = zip(match.groups(), _MILLISECONDS.values(), strict=True)
    total = sum(int(count) * each for count, each in parts if count is not None)
    if total > MAX_DURATION / timedelta(milliseconds=1):
        raise ValueError(f"expected at most {format_duration(MAX_DURATION)}")
    return timedelta(milliseconds=total)


def parse_size(value: object) -> int:
    """Read `8MiB` and the like as bytes. Raises ValueError with the right form for anything else."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f'expected a size such as "{_with_unit(value, "B", "8MiB")}" '
            "(text with a unit: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)"
        )
    total = int(match[1]) * _BYTES[match[2]]
    if total > MAX_SIZE:
        raise ValueError("this size is too large")
    return total


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as exactly `value`: `90s`, `1h`, `400d`.

    Raises ValueError for what no text can give back: below zero, or finer than a millisecond.
    """
    total, rest = divmod(value, timedelta(milliseconds=1))
    if rest or total < 0:
        raise ValueError(f"{value!r} is no duration of whole milliseconds")
    if total == 0:
        return "0s"
    return _shortest((_spell(total, units) for units in _UNIT_SETS), f"{total}ms")


def format_size(value: int) -> str:
    """The shortest text that `parse_size` reads as exactly `value`: `8MiB`, `1500KB`."""
    if value < 0:
        raise ValueError(f"{value} is no size")
    exact = ((value, unit, each) for unit, each in _BYTES.items() if value % each == 0 and unit != "kB")
    return _shortest((f"{count // each}{unit}" for count, unit, each in exact if count), f"{value}B")


def _spell(total: int, units: Iterable[str]) -> str | None:
    """The count split over these units, largest first; None when something is left over."""
    text = ""
    for unit in units:
        count, total = divmod(total, _MILLISECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return None if total or not text else text


def _shortest(choices: Iterable[str | None], fallback: str) -> str:
    return min((text for text in choices if text), key=len, default=fallback)


def _with_unit(value: object, unit: str, otherwise: str) -> str:
    """What was probably meant by a bare number, for the message."""
    text = str(value) if isinstance(value, int) and 0 < value < 10**9 and not isinstance(value, bool) else value
    plain = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10
    return f"{text}{unit}" if plain else otherwise


def _parse_retention(value: object) -> timedelta | None:
    if value is None or value == "forever":
        return None
    span = parse_duration(value)
    if not span:
        raise ValueError('expected a duration above 0s or "forever"')
    return span


def _spell_retention(value: timedelta | None) -> str:
    return "forever" if value is None else format_duration(value)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), ValueType("duration", show=format_duration)]
Retention = Annotated[
    timedelta | None,
    BeforeValidator(_parse_retention),
    ValueType('duration above 0s, or "forever"', show=_spell_retention, missing="forever"),
]
Size = Annotated[int, BeforeValidator(parse_size), ValueType("size", show=format_size)]
