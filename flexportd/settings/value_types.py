"""The types of values: how each is checked, shown, documented and read from an environment variable.

Durations and sizes are text with a unit, never a bare number: that hides its unit, and `timeout = 30` has meant both
seconds and milliseconds to people.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, Strict

from flexportd.settings.guessable import weakness

Kind = Literal["text", "path", "number", "switch", "list", "table"]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")

_MILLISECONDS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_UNIT_SETS = [units for count in range(1, 7) for units in combinations(_MILLISECONDS, count)]
_BYTES = {
    "TiB": 2**40, "TB": 10**12, "GiB": 2**30, "GB": 10**9, "MiB": 2**20, "MB": 10**6, "KiB": 2**10, "KB": 1000,
    "kB": 1000, "B": 1,
}  # fmt: skip
_DURATION = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _MILLISECONDS))
_SIZE = re.compile(f"([0-9]{{1,19}})({'|'.join(_BYTES)})")
_RATE = re.compile(r"([0-9]{1,7})/([0-9a-z]{2,20})")
_MAX_DURATION = timedelta(days=36_500)  # a longer one would overflow when it is subtracted from a date
_MAX_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class ValueType:
    """One type of value. `kind` decides how an environment variable is read.

    `mask` shows the part of a secret value that is not secret; by default none.
    """

    text: str
    kind: Kind = "text"
    article: str = "a "
    secret: bool = False
    show: Callable[[Any], str] = str
    missing: str = "not set"
    mask: Callable[[Any], str] = lambda _: "***"


class RuleError(ValueError):
    """Keys that contradict each other; the message does not begin with the value."""


def key(default: Any, sentence: str, **rules: Any) -> Any:
    """A settings key.

    `default` is written as in the file; a callable computes it from the keys above it. `shown` is the text of a default
    that is not fixed, `sample` a value for the example file if there is no default.
    """
    extra = {name: rules.pop(name) for name in ("shown", "sample") if name in rules}
    rules |= {"description": sentence, "json_schema_extra": extra}
    return Field(default_factory=default, **rules) if callable(default) else Field(default, **rules)


def quote(text: str) -> str:
    """Text as a TOML basic string; characters that could disturb a terminal are escaped."""
    return "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
        for char in json.dumps(text, ensure_ascii=False)
    )


def quote_key(*parts: str) -> str:
    """A key as the user wrote it, with dots between its parts; unusual parts are quoted and escaped."""
    return ".".join(part if _PLAIN_KEY.fullmatch(part) else quote(part[:64]) for part in parts)


def suggest(name: str, known: Iterable[str], *, knows: str = "known names are") -> str:
    """`did you mean X?` for a mistyped name, or all known names."""
    choices = list(known)
    near = difflib.get_close_matches(name[:100], choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"{knows} {', '.join(choices)}"


def toml_value(value: object) -> str:
    """A plain value (text, number, switch, list or table of these) as TOML."""
    if isinstance(value, bool):
        return _show_switch(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{quote_key(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return str(value)


def show_list(value: Sequence[object]) -> str:
    """Items separated by commas, for people."""
    return ", ".join(map(str, value))


def _show_switch(value: bool) -> str:
    return "true" if value else "false"


def ensure(is_valid: Callable[[Any], bool], message: str) -> AfterValidator:
    """A validator that refuses values with this message."""

    def check(value: Any) -> Any:
        if not is_valid(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _check_path(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("expected a path")
    return value


def _check_webhook_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if any("\ud800" <= char <= "\udfff" for char in text):  # bytes of a variable that are not UTF-8 (PEP 383)
        raise ValueError("expected UTF-8 text")
    if len(text) < 16:
        raise ValueError("expected at least 16 characters")
    reason = weakness(text)
    if reason is not None:
        raise ValueError(f"this secret is easy to guess: {reason}; `flexportd init` creates a good one")
    return value


def parse_duration(value: object) -> timedelta:
    """Parse `1h30m`; a timedelta is returned unchanged. Raises ValueError with the expected form."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(
            f'expected a duration such as "{_with_unit(value, "s", "5m")}" (text with a unit: ms, s, m, h, d, w)'
        )
    parts = zip(match.groups(), _MILLISECONDS.values(), strict=True)
    total = sum(int(count) * each for count, each in parts if count is not None)
    if total > _MAX_DURATION / timedelta(milliseconds=1):
        raise ValueError(f"expected at most {format_duration(_MAX_DURATION)}")
    return timedelta(milliseconds=total)


def parse_size(value: object) -> int:
    """Parse `8MiB` as bytes. Raises ValueError with the expected form."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f'expected a size such as "{_with_unit(value, "B", "8MiB")}" '
            "(text with a unit: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)"
        )
    total = int(match[1]) * _BYTES[match[2]]
    if total >= 2**63:
        raise ValueError("this size is too large")
    return total


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as exactly `value`: `90s`, `1h`, `400d`.

    Raises ValueError if no text can: below zero, or finer than a millisecond.
    """
    total, rest = divmod(value, timedelta(milliseconds=1))
    if rest or total < 0:
        raise ValueError(f"{value!r} is not a duration of whole milliseconds")
    if total == 0:
        return "0s"
    return _shortest((_format(total, units) for units in _UNIT_SETS), f"{total}ms")


def format_size(value: int) -> str:
    """The shortest text that `parse_size` reads as exactly `value`: `8MiB`, `1500KB`."""
    if value < 0:
        raise ValueError(f"{value} is not a size")
    exact = ((value, unit, each) for unit, each in _BYTES.items() if value % each == 0 and unit != "kB")
    return _shortest((f"{count // each}{unit}" for count, unit, each in exact if count), f"{value}B")


def _format(total: int, units: Iterable[str]) -> str | None:
    """The count in these units, largest first; None if there is a remainder."""
    text = ""
    for unit in units:
        count, total = divmod(total, _MILLISECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return None if total or not text else text


def _shortest(choices: Iterable[str | None], fallback: str) -> str:
    return min((text for text in choices if text), key=len, default=fallback)


def _with_unit(value: object, unit: str, otherwise: str) -> str:
    """The probable meaning of a bare number, for the message."""
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


def _parse_interval(value: object) -> timedelta | None:
    if value is None or value == "off":
        return None
    span = parse_duration(value)
    if span < timedelta(minutes=1):
        raise ValueError('expected a duration of at least 1m, or "off"')
    return span


class Rate(NamedTuple):
    """A number of requests in `seconds`; 0 requests mean no limit."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.requests}/{format_duration(timedelta(seconds=self.seconds))}" if self.requests else "off"


UNLIMITED = Rate(0, 1)


def parse_rate(value: object) -> Rate:
    """Parse `3000/1m` or `off`; a Rate is returned unchanged. Raises ValueError with the expected form."""
    if isinstance(value, Rate):
        return value
    if value in ("off", ""):
        return UNLIMITED
    match = _RATE.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    if match is None:
        raise ValueError('expected a rate such as "3000/1m" (requests / time) or "off"')
    span = parse_duration(match[2])
    if not timedelta(seconds=1) <= span <= timedelta(days=1) or span % timedelta(seconds=1):
        raise ValueError("expected a time from 1s to 1d in whole seconds")
    if not 1 <= int(match[1]) <= _MAX_REQUESTS:
        raise ValueError(f'expected from 1 to {_MAX_REQUESTS} requests, or "off" for no limit')
    return Rate(int(match[1]), int(span.total_seconds()))


Whole = Annotated[
    int,
    Strict(),
    ensure(lambda value: abs(value) < 2**63, "this number is too large"),
    ValueType("whole number", kind="number"),
]
Number = Annotated[
    float, Strict(), ValueType("number", kind="number", show=lambda value: str(value).removesuffix(".0"))
]
Switch = Annotated[bool, Strict(), ValueType("true or false", kind="switch", article="", show=_show_switch)]
Line = Annotated[
    str,
    ensure(lambda text: text.strip() and text.isprintable(), "expected one line of text"),
    ValueType("text", article=""),
]
# Sent in HTTP headers and forms, where a stray newline or umlaut fails late and far from here.
_TOKEN = re.compile("[!-~]+")
Token = Annotated[
    SecretStr,
    ensure(lambda value: _TOKEN.fullmatch(value.get_secret_value()), "expected one line of ASCII text without spaces"),
    ValueType("text", article="", secret=True),
]
WebhookSecrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_webhook_secret)], ...],
    ValueType("list of texts of at least 16 characters that are hard to guess", kind="list", secret=True),
]
FilePath = Annotated[Path, BeforeValidator(_check_path), ValueType("path", kind="path")]
Words = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,99}$")], ...],
    ValueType("list of lower-case words such as packing_list", kind="list", show=show_list, missing="all"),
]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), ValueType("duration", show=format_duration)]
Retention = Annotated[
    timedelta | None,
    BeforeValidator(_parse_retention),
    ValueType(
        'duration above 0s, or "forever"',
        show=lambda value: format_duration(value) if value else "forever",
        missing="forever",
    ),
]
Interval = Annotated[
    timedelta | None,
    BeforeValidator(_parse_interval),
    ValueType(
        'duration of at least 1m, or "off"',
        show=lambda value: format_duration(value) if value else "off",
        missing="off",
    ),
]
Size = Annotated[int, BeforeValidator(parse_size), ValueType("size", show=format_size)]
RateLimit = Annotated[Rate, BeforeValidator(parse_rate), ValueType('rate such as 3000/1m, or "off"')]
