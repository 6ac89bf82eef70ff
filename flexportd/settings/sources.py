"""The sources of values: environment over file over systemd credential; secrets also from files."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flexportd.errors import ConfigError
from flexportd.settings.config_file import ConfigFile, decode_utf8, display_path, read_bytes
from flexportd.settings.defaults import expand_path
from flexportd.settings.entries import PREFIX, EntryFinder, is_table, variable
from flexportd.settings.errors import Problems, SourcedValue, format_value, refuse_stray_path
from flexportd.settings.notify import CHANNEL_MODELS
from flexportd.settings.schema import (
    CHANNELS,
    RULES,
    ConfigSchema,
    KeySpec,
    channel_specs,
    key_specs,
    rule_section,
    secret_files,
    section_models,
    tables,
)
from flexportd.settings.stray_characters import stray_characters
from flexportd.settings.value_types import quote_key, suggest

_SECRET_LIMIT = 2**16


@dataclass
class Sources:
    """The values of each source by dotted key, before they are validated."""

    environ: Mapping[str, str]
    document: ConfigFile | None
    problems: Problems
    schema: ConfigSchema = field(default_factory=ConfigSchema)
    entries: dict[str, SourcedValue] = field(default_factory=dict)
    """Where each channel and rule begins, by its dotted name."""
    from_file: dict[str, SourcedValue] = field(default_factory=dict)
    from_environ: dict[str, SourcedValue] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    """The secrets that are given, but could not be read."""

    def collect(self) -> dict[str, SourcedValue]:
        """All values, each from the source with the highest priority."""
        finder = EntryFinder(self.environ, self.document, self.problems, self.entries)
        self.schema = ConfigSchema(finder.channels(), finder.rules())
        if self.document:
            self._read_document(self.document)
        self._read_environ(finder.refused)
        known = self.schema.specs
        plain = {dotted: given for dotted, given in (self.from_file | self.from_environ).items() if dotted in known}
        merged = {dotted: given for dotted, given in plain.items() if not known[dotted].value_type.secret}
        for dotted in self.schema.secret_files.values():
            before = len(self.problems)
            given = self._secret(known[dotted])
            if given is not None:
                merged[dotted] = given
            elif len(self.problems) > before:
                self.failed.add(dotted)
        self._note_stray_characters(merged)
        return {dotted: self._expand_path(known[dotted], given) for dotted, given in merged.items()}

    def _note_stray_characters(self, given: Mapping[str, SourcedValue]) -> None:
        """Stray characters are noted, not removed: a secret may contain anything. In paths they are refused."""
        self.notes += [
            f"{sourced.source}: the value {sourced.stray}; remove these characters unless they are intended"
            for dotted, sourced in given.items()
            if sourced.stray and self.schema.specs[dotted].value_type.kind != "path"
        ]

    @property
    def inline_secrets(self) -> list[str]:
        """The secrets in the file itself."""
        return [dotted for dotted in self.schema.secret_files.values() if dotted in self.from_file]

    def _read_document(self, document: ConfigFile) -> None:
        for section, table in document.tables.items():
            source = document.sourced((section,), None)
            if section not in section_models():
                self.problems.add(source, "unknown section" if self.problems.full else _unknown_section(section, table))
            elif is_table(table, source, f"[{section}]", self.problems):
                self._read_table(document, (section,), table)

    def _read_table(self, document: ConfigFile, path: tuple[str, ...], table: Mapping[str, object]) -> None:
        section, *within = path
        for name, value in table.items():
            inner = (*within, name)
            dotted, given = ".".join((section, *inner)), document.sourced((section, *inner), value)
            # A quoted key may contain dots, which separate nothing.
            known = "." not in name
            if dotted in (CHANNELS, RULES) and known:
                self._read_entries(document, dotted, value)
            elif known and self._is_key(dotted):
                self._keep(dotted, given)
            elif known and dotted in tables():
                if is_table(value, given, f"[{section}] {name}", self.problems):
                    self._read_table(document, (*path, name), value)
            else:
                self.problems.add(given, "unknown key" if self.problems.full else _unknown_key(section, inner))

    def _read_entries(self, document: ConfigFile, dotted: str, value: object) -> None:
        """The channels or rules that `EntryFinder` has found; it has reported what is none."""
        tables = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, table in tables:
            section = f"{dotted}.{name}" if dotted == CHANNELS else rule_section(name)
            if section not in self.entries or not isinstance(table, dict):
                continue
            for key_name, each in table.items():
                given = document.sourced((*section.split("."), key_name), each)
                if "." not in key_name and self._is_key(f"{section}.{key_name}"):
                    self._keep(f"{section}.{key_name}", given)
                else:
                    self.problems.add(given, "unknown key" if self.problems.full else self._unknown(section, key_name))

    def _unknown(self, section: str, name: str) -> str:
        """An unknown key of a channel or rule, with the nearest known one."""
        home, known = f"{section}.", (*self.schema.specs, *self.schema.secret_files)
        names = [dotted.removeprefix(home) for dotted in known if dotted.startswith(home)]
        if not section.startswith(f"{CHANNELS}."):
            label = self.schema.specs[f"{section}.{names[0]}"].place
            return f"{label} {quote_key(name)}: unknown key; {suggest(name, names, knows='a rule has')}"
        kind = self.schema.channels[section.removeprefix(f"{CHANNELS}.")]
        others = [other for other in CHANNEL_MODELS if name in channel_specs(other)]
        hint = f"it belongs to the type {' or '.join(others)}" if others else suggest(name, names, knows="it has")
        return f"[{section}] {quote_key(name)}: unknown key for the type {kind}; {hint}"

    def _is_key(self, dotted: str) -> bool:
        return dotted in self.schema.specs or dotted in self.schema.secret_files

    def _keep(self, dotted: str, given: SourcedValue) -> None:
        is_path = dotted in self.schema.secret_files or self.schema.specs[dotted].value_type.kind == "path"
        stray = stray_characters(given.value) if is_path and isinstance(given.value, str) else None
        self.from_file[dotted] = replace(given, stray=stray)

    def _read_environ(self, refused: Sequence[str]) -> None:
        """Read the variables, except those of refused channels, which begin as `refused` says."""
        keys = (*self.schema.specs, *self.schema.secret_files)
        variables = {variable(dotted): dotted for dotted in keys if not dotted.startswith(RULES)}
        for name, text in sorted(self.environ.items()):
            if not name.startswith(PREFIX) or "__" not in name or name.startswith(tuple(refused)):
                continue
            given = SourcedValue(text, f"environment {quote_key(name)}")
            if name in variables:
                dotted = variables[name]
                entry = self.schema.specs.get(dotted)
                value = text if entry is None else parse_variable(entry, text)
                stray = _stray_in_variable(text, value, is_secret=entry is not None and entry.value_type.secret)
                self.from_environ[dotted] = SourcedValue(value, given.source, stray=stray)
            else:
                self.problems.add(given, _unknown_variable(name, variables))

    def _secret(self, entry: KeySpec) -> SourcedValue | None:
        for source in (self.from_environ, self.from_file):
            direct, by_file = source.get(entry.dotted), source.get(f"{entry.dotted}_file")
            if direct and by_file:
                self.problems.add(by_file, f"{entry.place} set either {entry.name} or {entry.name}_file, not both")
                return None
            if direct:
                return direct
            if by_file:
                return self._from_secret_file(entry, by_file)
        return self._credential(entry)

    def _from_secret_file(self, entry: KeySpec, given: SourcedValue) -> SourcedValue | None:
        label = f"{entry.label}_file"
        if not isinstance(given.value, str) or not given.value.strip():
            self.problems.add(given, f"{label}: expected the path of a file")
            return None
        if given.stray:
            text = f"found {format_value(given.value)}, which {given.stray}; expected only the path"
            self.problems.add(given, f"{label}: {text}")
            return None
        path = Path(expand_path(given.value, self._folder(), self.environ))
        return self._read_secret(entry, path, given, f"file {display_path(path)}")

    def _credential(self, entry: KeySpec) -> SourcedValue | None:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        for name in _credential_names(entry):
            path = Path(folder or "", name)
            if folder and os.path.lexists(path):
                return self._read_secret(entry, path, SourcedValue(None, f"credential {name}"), f"credential {name}")
        return None

    def _read_secret(self, entry: KeySpec, path: Path, source: SourcedValue, origin: str) -> SourcedValue | None:
        """A secret from a file; problems contain the path, never the content."""
        label = entry.label
        try:
            text = _text_of(path)
        except ConfigError as error:
            self.problems.add(source, f"{label}: {error}")
            return None
        value: str | list[str] = text.removesuffix("\r")
        stray = stray_characters(text, anywhere=True)
        if entry.value_type.kind == "list":
            value = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
            stray = _stray_lines(text)
        if not value:
            self.problems.add(source, f"{label}: {display_path(path)} is empty")
            return None
        return SourcedValue(value, origin, source.line, stray)

    def _expand_path(self, entry: KeySpec, given: SourcedValue) -> SourcedValue:
        """Make paths independent of the working directory."""
        if entry.value_type.kind != "path" or not isinstance(given.value, str):
            return given
        refuse_stray_path(entry, given, self.problems)
        return replace(given, value=expand_path(given.value, self._folder(), self.environ))

    def _folder(self) -> Path:
        return self.document.path.parent if self.document else Path()


def _credential_names(entry: KeySpec) -> Sequence[str]:
    """The names of a secret's credential: with its section, or alone if it is not one of a channel."""
    name = f"{entry.section}_{entry.name}"
    if entry.section.startswith(f"{CHANNELS}."):
        return (name.replace(".", "_").replace("-", "_"),)
    return (name, entry.name)


def parse_variable(entry: KeySpec, text: str) -> object:
    """The text of an environment variable as the type of its key; text that does not fit is returned unchanged."""
    kind = entry.value_type.kind
    if kind in {"text", "path"}:
        return text
    value = _toml(text)
    if kind == "list":
        items = [item.strip() for item in text.split(",")]
        return value if isinstance(value, list) else [item for item in items if item]
    return text if value is None or isinstance(value, str) else value


def _toml(text: str) -> object:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return None
    return table["value"] if len(table) == 1 else None


def _stray_in_variable(text: str, value: object, *, is_secret: bool) -> str | None:
    """The stray characters of a variable, or of an item of its list."""
    items = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    whole = None if text.strip().startswith("[") and items else stray_characters(text, anywhere=is_secret)
    of_items = (
        f"has an item {number} that {stray}"
        for number, item in enumerate(items, 1)
        if (stray := stray_characters(item, anywhere=is_secret))
    )
    return whole or next(of_items, None)


def _stray_lines(text: str) -> str | None:
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    described = ((number, stray_characters(line, anywhere=True)) for number, line in lines)
    return next((f"in line {number} {stray}" for number, stray in described if stray), None)


def _text_of(path: Path) -> str:
    content, _ = read_bytes(path, _SECRET_LIMIT)
    if len(content) > _SECRET_LIMIT:
        raise ConfigError(f"{display_path(path)} is larger than 64 KiB, too large for a secret")
    return decode_utf8(content, display_path(path)).removesuffix("\n")


def _unknown_section(section: str, table: object) -> str:
    if isinstance(table, dict):
        hint = suggest(section, section_models())
        near = re.sub(r"^did you mean (.+)\?$", r"did you mean [\1]?", hint)
        return f"[{quote_key(section)}]: unknown section; {near}"
    homes = [f"[{entry.section}]" for entry in key_specs().values() if entry.name == section]
    where = f"it belongs under {homes[0]}" if homes else suggest(section, section_models(), knows="sections are")
    return f"{quote_key(section)}: unknown key outside any section; {where}"


def _unknown_variable(name: str, variables: Iterable[str]) -> str:
    if name.startswith(f"{variable(RULES)}__"):
        return "unknown variable; rules can be set only in the configuration file"
    start = f"{variable(CHANNELS)}__"
    channel, _, key_name = name.removeprefix(start).rpartition("__")
    channels = {known.removeprefix(start).rpartition("__")[0]: None for known in variables if known.startswith(start)}
    if name.startswith(start) and channel and channel not in channels:
        near = difflib.get_close_matches(channel, channels, n=1)
        hint = (
            f"did you mean {start}{near[0]}__{key_name}?" if near else f"to add a channel, set {start}{channel}__TYPE"
        )
        return f"unknown variable; {hint}"
    return f"unknown variable; {suggest(name, variables)}"


def _unknown_key(section: str, path: tuple[str, ...]) -> str:
    *tables, name = path
    home = ".".join((section, *tables, ""))
    all_known = (*key_specs(), *secret_files(), CHANNELS, RULES)
    known = [dotted.removeprefix(home) for dotted in all_known if dotted.startswith(home)]
    hint = suggest(name, known, knows="this table has" if tables else "this section has")
    if tables:
        hint = hint.replace("did you mean ", f"did you mean {'.'.join(tables)}.")
    elsewhere = [entry for entry in key_specs().values() if entry.name == name]
    if elsewhere and not hint.startswith("did you mean"):
        hint = f"did you mean [{elsewhere[0].section}] {name}?"
    return f"[{section}] {quote_key(*path)}: unknown key; {hint}"
