"""The problems of a configuration: one sentence each, without secrets."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import PurePath

from pydantic import ValidationError

from flexportd.errors import ConfigError
from flexportd.settings.schema import CHANNELS, RULES, KeySpec
from flexportd.settings.value_types import RuleError, quote

# Further problems are only counted.
MAX_PROBLEMS = 100
DEFAULT = "default"
_QUERY = re.compile(r"[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value and its source. `line` orders the problems of a file; `stray` describes stray characters."""

    value: object = field(repr=False)
    source: str
    line: int = 0
    stray: str | None = None


@dataclass
class Problems:
    """Collects problems, to report all of them at once."""

    _problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, given: SourcedValue | None, sentence: str) -> None:
        """Add a problem at the source of the value."""
        line, source = (given.line, f"{given.source}: ") if given else (0, "")
        self._problems.append((line, f"{source}{sentence}"))

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def full(self) -> bool:
        """Whether further problems are only counted, so that a suggestion would waste time."""
        return len(self._problems) >= MAX_PROBLEMS

    def check(self) -> None:
        """Raise ConfigError with all problems, if any: those of the file by line, then the others."""
        ordered = sorted(self._problems, key=lambda problem: problem[0] or 10**9)
        sentences = list(dict.fromkeys(sentence for _, sentence in ordered))
        more = [f"and {len(sentences) - MAX_PROBLEMS} more problems"] if len(sentences) > MAX_PROBLEMS else []
        if sentences:
            raise ConfigError(sentences[:MAX_PROBLEMS] + more)


def format_value(value: object) -> str:
    """A value, short and on one line, without the credentials and query of a URL."""
    if isinstance(value, str | PurePath):
        text = str(value)
        start, end = text.find("//"), text.rfind("@")
        if 0 <= start < end:
            text = f"{text[:start]}//***{text[end:]}"
        elif ":" in text[: max(end, 0)]:  # user:password@host
            text = f"***{text[end:]}"
        text = _QUERY.sub("?***", text) if "://" in text else text
        return quote(text if len(text) <= 80 else f"{text[:77]}...")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "a very long number"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return "a table" if isinstance(value, Mapping) else "a list"


@dataclass(frozen=True)
class GivenValues:
    """The values of a configuration by dotted key, the keys that it can have, and where its channels and rules are."""

    values: Mapping[str, SourcedValue]
    specs: Mapping[str, KeySpec]
    entries: Mapping[str, SourcedValue] = field(default_factory=dict)
    failed: Collection[str] = ()
    """The keys that are set to something that could not be read, which has been reported."""


def explain(error: ValidationError, given: GivenValues, problems: Problems) -> None:
    """Add pydantic's errors as sentences with their source; for a key that is not set, that of a related key."""
    for detail in error.errors(include_url=False):
        # It follows from another problem: a default could not be computed.
        if detail["type"] == "default_factory_not_called":
            continue
        section, *rest = detail["loc"]
        reason = detail.get("ctx", {}).get("error")
        if not rest:  # a rule between keys of two sections
            text = str(reason or detail["msg"])
            problems.add(_find_mentioned(str(section), given.values, text), f"[{section}] {text}")
            continue
        spec, inner = _spec_at(detail["loc"], given.specs)
        is_entry = not spec.section.startswith(f"{RULES}[") or spec.section in given.entries
        has_failed = any(dotted.startswith(f"{spec.section}.") for dotted in given.failed)
        follows = has_failed and (isinstance(reason, RuleError) or spec.dotted in given.failed)
        if not is_entry or follows:
            continue  # reported before: a rule that is no table, or a secret that could not be read
        sourced = given.values.get(spec.dotted)
        text = str(reason) if isinstance(reason, ValueError) else _expected(spec, detail["type"], detail["input"])
        if sourced is not None and not isinstance(reason, RuleError):
            # pydantic may have converted the value already; the user wants to see what they wrote.
            value = detail["input"] if inner else sourced.value
            text = f"found {'***' if spec.value_type.secret else format_value(value)}; {text}"
            text = f"{text}; the value {sourced.stray}" if sourced.stray else text
        if sourced is None and detail["type"] == "missing":
            text = f"missing; {text}"
        if sourced is not None and isinstance(sourced.value, list) and inner and isinstance(inner[0], int):
            text = f"item {inner[0] + 1}: {text}"
        source = sourced if sourced and sourced.source != DEFAULT else _find_mentioned(spec.section, given.values, text)
        problems.add(source or given.entries.get(spec.section), _with_label(spec, sourced, text))


def refuse_stray_path(spec: KeySpec, given: SourcedValue, problems: Problems) -> None:
    """Refuse a path with stray characters: quotation marks would become part of a folder's name."""
    if given.stray:
        text = f"found {format_value(given.value)}, which {given.stray}; expected only the path"
        problems.add(given, _with_label(spec, given, text))


def _spec_at(location: Sequence[int | str], specs: Mapping[str, KeySpec]) -> tuple[KeySpec, Sequence[int | str]]:
    """The key at a location of pydantic, perhaps in a table within its section, and the rest of the location."""
    path = list(location)
    if ".".join(map(str, path[:2])) == CHANNELS:
        del path[3:4]  # the type of the channel
    elif ".".join(map(str, path[:2])) == RULES:
        path[1:3] = [f"{path[1]}[{path[2]}]"]
    for end in range(2, len(path) + 1):
        spec = specs.get(".".join(map(str, path[:end])))
        if spec is not None:
            return spec, path[end:]
    raise AssertionError(f"no key at {location}")


def _with_label(spec: KeySpec, given: SourcedValue | None, text: str) -> str:
    names_key = given is not None and given.source.startswith(("environment FLEXPORTD_", spec.dotted))
    return text if names_key else f"{spec.label}: {text}"


def _find_mentioned(section: str, given: Mapping[str, SourcedValue], text: str) -> SourcedValue | None:
    """The first key of the section that is set and that the sentence mentions; else one named with its section."""
    keys = [key for key in given if key.startswith(f"{section}.") and given[key].source != DEFAULT]
    named = (given[key] for key in keys if re.search(rf"\b{key.removeprefix(f'{section}.')}\b", text))
    elsewhere = (given[".".join(found)] for found in re.findall(r"\[(\w+)\] (\w+)", text) if ".".join(found) in given)
    return next(named, None) or next(elsewhere, None)


def _expected(spec: KeySpec, kind: str, value: object) -> str:
    if spec.choices and kind == "literal_error":
        choices = spec.choices if isinstance(value, str) else [quote(choice) for choice in spec.choices]
        return f"expected {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
    return f"expected {spec.value_type.article}{spec.type_text}"
