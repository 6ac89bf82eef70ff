"""What is wrong with a configuration, one sentence each, without a secret in any of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import PurePath

from pydantic import ValidationError

from flexportd.errors import ConfigError
from flexportd.settings.schema import KeySpec, key_specs
from flexportd.settings.value_types import RuleError, quote

# A file of ten thousand mistakes is no configuration; beyond this many they are counted only.
MAX_PROBLEMS = 100
DEFAULT = "default"
_QUERY = re.compile(r"[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value and where it was found. `line` orders the problems of a file; `stray` is what hardly belongs to it."""

    value: object = field(repr=False)
    source: str
    line: int = 0
    stray: str | None = None


@dataclass
class Problems:
    """Collects all that is wrong, to be reported at once."""

    _found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, given: SourcedValue | None, sentence: str) -> None:
        """Note a problem at the place where the value was found."""
        line, place = (given.line, f"{given.source}: ") if given else (0, "")
        self._found.append((line, f"{place}{sentence}"))

    @property
    def full(self) -> bool:
        """Whether further problems are only counted, so that a suggestion would be wasted time."""
        return len(self._found) >= MAX_PROBLEMS

    def check(self) -> None:
        """Raise ConfigError with everything noted, problems of the file in the order of its lines."""
        if not self._found:
            return
        # Problems without a line come after those of the file.
        ordered = sorted(self._found, key=lambda found: found[0] or 10**9)
        sentences = list(dict.fromkeys(sentence for _, sentence in ordered))
        more = [f"and {len(sentences) - MAX_PROBLEMS} more problems"] if len(sentences) > MAX_PROBLEMS else []
        raise ConfigError(sentences[:MAX_PROBLEMS] + more)


def format_value(value: object) -> str:
    """A value that was found, short and on one line; sign-in data and queries of addresses are left out."""
    if isinstance(value, str | PurePath):
        text = _without_credentials(str(value))
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


def explain(error: ValidationError, given: Mapping[str, SourcedValue], problems: Problems) -> None:
    """Turn what pydantic found into sentences with places. A key that was not given points at its neighbour."""
    for detail in error.errors(include_url=False):
        # Follows from another problem: a default that could not be worked out.
        if detail["type"] == "default_factory_not_called":
            continue
        section, *rest = detail["loc"]
        reason = detail.get("ctx", {}).get("error")
        if not rest:  # a rule between keys of two sections
            text = str(reason or detail["msg"])
            problems.add(_find_mentioned(str(section), given, text), f"[{section}] {text}")
            continue
        entry, inner = _spec_at(str(section), rest)
        found = given.get(entry.dotted)
        text = str(reason) if isinstance(reason, ValueError) else _expected(entry, detail["type"], detail["input"])
        if found is not None and not isinstance(reason, RuleError):
            # What pydantic saw may have been converted already; the user wants to see what they wrote.
            value = detail["input"] if inner else found.value
            text = f"found {'***' if entry.value_type.secret else format_value(value)}; {text}"
            text = f"{text}; the value {found.stray}" if found.stray else text
        if found is not None and isinstance(found.value, list) and inner and isinstance(inner[0], int):
            text = f"item {inner[0] + 1}: {text}"
        place = found if found and found.source != DEFAULT else _find_mentioned(entry.section, given, text)
        problems.add(place, _with_label(entry, found, text))


def refuse_stray_path(entry: KeySpec, given: SourcedValue, problems: Problems) -> None:
    """A path in quotation marks would be a folder of that name beside the configuration."""
    if given.stray:
        text = f"found {format_value(given.value)}, which {given.stray}; expected only the path"
        problems.add(given, _with_label(entry, given, text))


def _spec_at(section: str, path: Sequence[int | str]) -> tuple[KeySpec, Sequence[int | str]]:
    """The key at a place that pydantic names, which may lie in a table within its section, and what is left of it."""
    for end in range(1, len(path) + 1):
        entry = key_specs().get(".".join(map(str, (section, *path[:end]))))
        if entry is not None:
            return entry, path[end:]
    raise AssertionError(f"no key at {section} {path}")


def _with_label(entry: KeySpec, found: SourcedValue | None, text: str) -> str:
    named_already = found is not None and found.source.startswith(("environment FLEXPORTD_", entry.dotted))
    return text if named_already else f"[{entry.section}] {entry.name}: {text}"


def _find_mentioned(section: str, given: Mapping[str, SourcedValue], text: str) -> SourcedValue | None:
    """The first given key of the section that the sentence mentions."""
    found = [key for key in given if key.startswith(f"{section}.") and given[key].source != DEFAULT]
    return next((given[key] for key in found if re.search(rf"\b{key.partition('.')[2]}\b", text)), None)


def _expected(entry: KeySpec, kind: str, value: object) -> str:
    if entry.choices and kind == "literal_error":
        choices = entry.choices if isinstance(value, str) else [quote(choice) for choice in entry.choices]
        return f"expected {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
    return f"expected {entry.value_type.article}{entry.type_text}"


def _without_credentials(text: str) -> str:
    """A URL without the name and the password in it."""
    start, end = text.find("//"), text.rfind("@")
    return f"{text[:start]}//***{text[end:]}" if 0 <= start < end else text
