"""Finds the channels and rules of a configuration: their names and types decide which keys it can have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from flexportd.settings.config_file import ConfigFile
from flexportd.settings.errors import Problems, SourcedValue, format_value
from flexportd.settings.notify import CHANNEL_MODELS, CHANNEL_NAME, MAX_CHANNELS, MAX_RULES
from flexportd.settings.schema import CHANNELS, RULES, rule_heading, rule_section
from flexportd.settings.value_types import quote_key, suggest

PREFIX = "FLEXPORTD_"
_CHANNELS = CHANNELS.split(".")
_NAMES = "lower-case letters, digits, _ and -, at most 64, beginning with a letter or digit"


def variable(dotted: str) -> str:
    """The environment variable that overrides a key. A `-` in the name of a channel is written as `_`."""
    return PREFIX + dotted.replace(".", "__").replace("-", "_").upper()


def is_table(value: object, source: SourcedValue, label: str, problems: Problems) -> TypeGuard[dict[str, object]]:
    """Whether a value is a table; if not, a problem is added."""
    if isinstance(value, dict):
        return True
    problems.add(
        source, f"{label}: found {'a list' if isinstance(value, list) else 'a value'}; expected a table of keys"
    )
    return False


@dataclass
class EntryFinder:
    """Finds channels and rules, and adds to `entries` where each begins. What is none becomes a problem."""

    environ: Mapping[str, str]
    document: ConfigFile | None
    problems: Problems
    entries: dict[str, SourcedValue]
    refused: list[str] = field(default_factory=list)
    """The beginnings of the variables of channels that have a problem."""

    def channels(self) -> dict[str, str]:
        """The channels of file and environment: name -> type."""
        found: dict[str, str] = {}
        for name, (table, source) in self._candidates().items():
            kind = self._kind(name, table, source)
            if kind is None:
                self.refused.append(f"{variable(f'{CHANNELS}.{name}')}__")
            elif len(found) < MAX_CHANNELS:
                found[name] = kind
                self.entries[f"{CHANNELS}.{name}"] = source
            else:
                self.problems.add(source, f"[{CHANNELS}]: at most {MAX_CHANNELS} channels are allowed")
                self.refused.append(f"{variable(CHANNELS)}__")
                break
        return found

    def rules(self) -> list[str]:
        """The names of the rules in the file; an empty text for one without."""
        given = self._section().get("rules", [])
        source = self._source(*RULES.split("."))
        if not isinstance(given, list):
            what = "a table" if isinstance(given, dict) else format_value(given)
            self.problems.add(source, f"[{RULES}]: found {what}; write [[{RULES}]], with two brackets, for each rule")
            return []
        if len(given) > MAX_RULES:
            self.problems.add(source, f"[[{RULES}]]: found {len(given)} rules; at most {MAX_RULES} are allowed")
        found: list[str] = []
        for number, table in enumerate(given[:MAX_RULES]):
            section, name = rule_section(number), table.get("name") if isinstance(table, dict) else None
            source = self._source(*section.split("."))
            found.append(name if isinstance(name, str) else "")
            if not is_table(table, source, rule_heading(number, None), self.problems):
                continue
            if table:
                self.entries[section] = source
            else:
                self.problems.add(source, f"{rule_heading(number, None)}: found no keys; a rule needs name and on")
        return found

    def _candidates(self) -> dict[str, tuple[Mapping[str, object], SourcedValue]]:
        """The channels by name, with the table in the file and where it begins."""
        given, found = self._section().get("channels", {}), dict[str, tuple[Mapping[str, object], SourcedValue]]()
        spellings: dict[str, str] = {}
        if is_table(given, self._source(*_CHANNELS), f"[{CHANNELS}]", self.problems):
            for name, table in given.items():
                source, label = self._source(*_CHANNELS, name), f"[{CHANNELS}.{quote_key(name)}]"
                if not CHANNEL_NAME.fullmatch(name):
                    self.problems.add(source, f"{label}: expected a name of {_NAMES}{_table_hint(table)}")
                elif is_table(table, source, label, self.problems):
                    other = spellings.setdefault(variable(name), name)
                    if other != name:  # both would have the same variables
                        self.problems.add(source, f"{label}: the name differs from {other} only in - and _")
                    else:
                        found[name] = table, source
        start, end = f"{variable(CHANNELS)}__", "__TYPE"
        for key in sorted(self.environ):
            name = key[len(start) : -len(end)].lower()
            if key.startswith(start) and key.endswith(end) and len(key) > len(start + end) and key == key.upper():
                source = SourcedValue(None, f"environment {quote_key(key)}")
                if not CHANNEL_NAME.fullmatch(name):
                    self.problems.add(source, f"expected a name of {_NAMES}, found {quote_key(name)}")
                    self.refused.append(key.removesuffix("TYPE"))
                elif variable(name) not in spellings:
                    found[name] = {}, source
        return found

    def _kind(self, name: str, table: Mapping[str, object], source: SourcedValue) -> str | None:
        """The type of a channel; None, with a problem, if it has none that is known."""
        section = f"{CHANNELS}.{name}"
        by_variable = self.environ.get(variable(f"{section}.type"))
        kind, label = table.get("type"), f"[{section}] type"
        if by_variable is not None:
            kind, source, label = by_variable, SourcedValue(None, f"environment {variable(f'{section}.type')}"), ""
        elif "type" in table:
            source = self._source(*_CHANNELS, name, "type")
        if isinstance(kind, str) and kind in CHANNEL_MODELS:
            return kind
        hint = suggest(str(kind), CHANNEL_MODELS, knows="expected one of")
        found = "missing" if kind is None else f"found {format_value(kind)}"
        self.problems.add(source, f"{label}{': ' if label else ''}{found}; {hint}")
        return None

    def _section(self) -> Mapping[str, object]:
        section = self.document.tables.get(_CHANNELS[0]) if self.document else None
        return section if isinstance(section, dict) else {}

    def _source(self, *path: str) -> SourcedValue:
        return self.document.sourced(path, None) if self.document else SourcedValue(None, "")


def _table_hint(value: object) -> str:
    """Keys directly below `channels` are those of a channel without a name."""
    return "" if isinstance(value, dict) else f"; keys belong to a channel, such as [{CHANNELS}.ops]"
