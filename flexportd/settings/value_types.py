"""What the value of a key looks like: read by validation messages, documentation and environment variables."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, Strict

from flexportd.settings.guessable import weakness

Kind = Literal["text", "path", "number", "switch", "list"]


@dataclass(frozen=True, slots=True)
class ValueType:
    """One shape of value. `kind` decides how an environment variable is read.

    `masked` shows what of a secret value may be seen; without it that is nothing.
    """

    text: str
    kind: Kind = "text"
    article: str = "a "
    secret: bool = False
    show: Callable[[Any], str] = str
    missing: str = "not set"
    mask: Callable[[Any], str] = lambda _: "***"


def key(default: Any, sentence: str, **rules: Any) -> Any:
    """A settings key.

    `default` is written as in the file; a callable makes it from the keys above it. `shown` is the default's text
    where it is not fixed, `sample` a value for the example file where there is no default.
    """
    extra = {name: rules.pop(name) for name in ("shown", "sample") if name in rules}
    rules |= {"description": sentence, "json_schema_extra": extra}
    if callable(default):
        return Field(default_factory=default, **rules)
    return Field(default, **rules)


def quote(text: str) -> str:
    """Text as a TOML basic string; what no terminal should get to see is escaped."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else _escape(ord(sign)) for sign in written)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def toml_value(value: object) -> str:
    """A plain value (text, number, switch, list of these) as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return str(value)


class RuleError(ValueError):
    """Keys that contradict each other; the message has no value before it."""


def default_path(folders: str | None, otherwise: Path) -> Path:
    """The first of systemd's colon-separated folders, else the other."""
    first = (folders or "").split(":")[0]
    return Path(first) if first else otherwise


def _check_path(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("expected a path")
    return value


def _check_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("expected one line of text")
    return value


def _check_token(value: SecretStr) -> SecretStr:
    # These travel in HTTP headers and forms, where a stray newline or umlaut fails late and far from here.
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ValueError("expected one line of ASCII text without spaces")
    return value


def _check_webhook_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if any("\ud800" <= char <= "\udfff" for char in text):  # bytes of a variable that are no UTF-8 (PEP 383)
        raise ValueError("expected UTF-8 text")
    if len(text) < 16:
        raise ValueError("expected at least 16 characters")
    found = weakness(text)
    if found is not None:
        raise ValueError(f"this secret is easy to guess: {found}; `flexportd init` creates a good one")
    return value


def _check_whole(value: int) -> int:
    if abs(value) >= 2**63:
        raise ValueError("this number is too large")
    return value


def _show_switch(value: bool) -> str:
    return "true" if value else "false"


def show_list(value: Sequence[object]) -> str:
    """Items side by side, for people."""
    return ", ".join(str(item) for item in value)


Whole = Annotated[int, Strict(), AfterValidator(_check_whole), ValueType("whole number", kind="number")]
Number = Annotated[
    float, Strict(), ValueType("number", kind="number", show=lambda value: str(value).removesuffix(".0"))
]
Switch = Annotated[bool, Strict(), ValueType("true or false", kind="switch", article="", show=_show_switch)]
OptionalSwitch = Annotated[
    Annotated[bool, Strict()] | None, ValueType("true or false", kind="switch", article="", show=_show_switch)
]
Line = Annotated[str, AfterValidator(_check_line), ValueType("text", article="")]
OptionalLine = Annotated[
    str | None,
    AfterValidator(lambda value: None if value is None else _check_line(value)),
    ValueType("text", article=""),
]
Token = Annotated[
    SecretStr | None,
    AfterValidator(lambda value: None if value is None else _check_token(value)),
    ValueType("text", article="", secret=True),
]
WebhookSecrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_webhook_secret)], ...],
    ValueType("list of texts of at least 16 characters that are hard to guess", kind="list", secret=True),
]
FilePath = Annotated[Path, BeforeValidator(_check_path), ValueType("path", kind="path")]
OptionalPath = Annotated[Path | None, BeforeValidator(_check_path), ValueType("path", kind="path")]
Words = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,99}$")], ...],
    ValueType("list of lower-case words such as packing_list", kind="list", show=show_list, missing="all"),
]
