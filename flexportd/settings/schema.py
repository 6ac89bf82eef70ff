"""The schema of the configuration: every key by its dotted name, with its type, documentation and properties.

Most keys are fixed. Channels and rules are entries of collections: their keys depend on the names and types that a
configuration gives (`notify.channels.ops.url`, `notify.rules[0].when`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flexportd.settings.notify import CHANNEL_MODELS, RuleSettings
from flexportd.settings.sections import Settings
from flexportd.settings.value_types import ValueType, quote

# The keys that can change while flexportd runs.
_RELOADABLE = {
    "webhook": ("secrets", "allow_sha1", "allowed_networks", "max_pending", "self_check"),
    "server": ("public_url", "trusted_proxies"),
    "storage": ("event_retention", "history_retention"),
    "queue": ("max_attempts", "base_delay", "max_delay"),
    "sync": ("full_interval", "incremental_interval", "events_interval", "overlap", "refresh_after_event"),
    "documents": ("archive", "max_size", "types"),
    "api": ("page_size", "max_page_size", "cors_origins", "rate_limit", "require_key"),
    "dashboard": ("title", "timezone"),
    "log": ("level",),
}
_RELOADABLE_TABLES = ("cache.ttl.", "exceptions.", "notify.", "writes.")

CHANNELS, RULES = "notify.channels", "notify.rules"
"""The collections: tables by name, and a list of tables."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key; `name` is that within its section, such as `ttl.shipment`.

    The section of a key in a collection is its entry, such as `notify.channels.ops`.
    """

    section: str
    name: str
    field: FieldInfo
    value_type: ValueType
    choices: tuple[str, ...]
    attribute: str
    """The attribute of the model, or a path of attributes."""
    heading: str = ""
    """The section in messages, if not in the form `[section]`."""

    @property
    def dotted(self) -> str:
        """`section.name`, or `section.table.name`."""
        return f"{self.section}.{self.name}"

    @property
    def place(self) -> str:
        """The section in messages: `[queue]`."""
        return self.heading or f"[{self.section}]"

    @property
    def label(self) -> str:
        """The key in messages: `[queue] workers`."""
        return f"{self.place} {self.name}"

    @property
    def description(self) -> str:
        """A sentence or more."""
        return self.field.description or ""

    @property
    def type_text(self) -> str:
        """The type with its bounds: `whole number from 1 to 64`."""
        return f"{self.value_type.text}{_bounds(self.field, self.value_type)}"

    @property
    def default_text(self) -> str:
        """The default for people: text as in the file, or how it is computed."""
        default = self.field.default
        if "shown" in self.extra:
            return str(self.extra["shown"])
        if self.is_required:
            return "required"
        if default is None:
            return self.value_type.missing
        return str(default).lower() if isinstance(default, bool) else str(default)

    @property
    def reloadable(self) -> bool:
        """Whether the key can change while flexportd runs."""
        return self.name in _RELOADABLE.get(self.section, ()) or self.dotted.startswith(_RELOADABLE_TABLES)

    @property
    def is_required(self) -> bool:
        """Whether the key must be set where its table exists."""
        return self.field.is_required()

    @property
    def extra(self) -> Mapping[str, Any]:
        """The `shown` and `sample` of the key, if given."""
        extra = self.field.json_schema_extra
        return extra if isinstance(extra, dict) else {}

    def display(self, value: object) -> str:
        """A value for people, without secrets."""
        if value is None or value in ((), {}):
            return self.value_type.missing
        return self.value_type.mask(value) if self.value_type.secret else self.value_type.show(value)


def section_models() -> dict[str, type[BaseModel]]:
    """The sections in the order of the file."""
    models = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: model for name, model in models.items() if isinstance(model, type) and issubclass(model, BaseModel)}


@cache
def key_specs() -> Mapping[str, KeySpec]:
    """Every key by its dotted name."""
    specs = (spec for section, model in section_models().items() for spec in _key_specs(section, model, ""))
    return {spec.dotted: spec for spec in specs}


@cache
def tables() -> frozenset[str]:
    """The dotted names of the tables within sections: `cache.ttl`."""
    return frozenset(dotted.rpartition(".")[0] for dotted in key_specs()) - frozenset(section_models())


@cache
def channel_specs(kind: str) -> Mapping[str, KeySpec]:
    """The keys of a type of channel by their names."""
    return {spec.name: spec for spec in _key_specs(f"{CHANNELS}.*", CHANNEL_MODELS[kind], "")}


@cache
def rule_specs() -> Mapping[str, KeySpec]:
    """The keys of a rule by their names."""
    return {spec.name: spec for spec in _key_specs(f"{RULES}[*]", RuleSettings, "")}


@dataclass(frozen=True)
class ConfigSchema:
    """The keys of one configuration: the fixed ones, and those of its channels (name -> type) and rules (names)."""

    channels: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[str] = ()

    @classmethod
    def of(cls, settings: Settings) -> "ConfigSchema":
        """The schema of settings."""
        notify = settings.notify
        return cls({name: one.type for name, one in notify.channels.items()}, [rule.name for rule in notify.rules])

    @cached_property
    def specs(self) -> Mapping[str, KeySpec]:
        """Every key by its dotted name, in the order of the file."""
        found: dict[str, KeySpec] = {}
        for section in section_models():
            found |= {dotted: spec for dotted, spec in key_specs().items() if spec.section == section}
            if section == CHANNELS.partition(".")[0]:
                found |= {spec.dotted: spec for spec in self._collected()}
        return found

    @cached_property
    def secret_files(self) -> Mapping[str, str]:
        """Dotted `x_file` -> the dotted secret `x` that it sets."""
        return _secret_files(self.specs)

    def _collected(self) -> Iterator[KeySpec]:
        for name, kind in self.channels.items():
            for spec in channel_specs(kind).values():
                yield replace(spec, section=f"{CHANNELS}.{name}")
        for number, name in enumerate(self.rules):
            for spec in rule_specs().values():
                yield replace(spec, section=rule_section(number), heading=rule_heading(number, name))


def rule_section(number: int) -> str:
    """The dotted name of a rule, from 0."""
    return f"{RULES}[{number}]"


def rule_heading(number: int, name: object) -> str:
    """A rule in messages: by its name, or else its number from 1."""
    has_name = isinstance(name, str) and name.strip()
    return f"[[{RULES}]] {quote(str(name)[:100]) if has_name else f'number {number + 1}'}"


@cache
def secret_files() -> Mapping[str, str]:
    """Dotted `x_file` -> the dotted secret `x` that it sets, of the fixed keys."""
    return _secret_files(key_specs())


def _secret_files(specs: Mapping[str, KeySpec]) -> dict[str, str]:
    return {f"{dotted}_file": dotted for dotted, entry in specs.items() if entry.value_type.secret}


def changed_keys(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """The keys that differ: those that can change while running, and those that need a restart."""
    specs = {**ConfigSchema.of(old).specs, **ConfigSchema.of(new).specs}
    changed = [spec for spec in specs.values() if value_of(old, spec) != value_of(new, spec)]
    reloadable = [spec.dotted for spec in changed if spec.reloadable]
    return reloadable, [spec.dotted for spec in changed if not spec.reloadable]


def value_of(settings: Settings, entry: KeySpec) -> object:
    """The value of a key; None if the settings do not have its channel or rule."""
    if entry.section.startswith(f"{CHANNELS}."):
        channel = settings.notify.channels.get(entry.section.removeprefix(f"{CHANNELS}."))
        return getattr(channel, entry.attribute, None)
    if entry.section.startswith(f"{RULES}["):
        number = int(entry.section.removeprefix(f"{RULES}[").removesuffix("]"))
        rules = settings.notify.rules
        return getattr(rules[number], entry.attribute) if number < len(rules) else None
    return attrgetter(f"{entry.section}.{entry.attribute}")(settings)


def _key_specs(section: str, model: type[BaseModel], prefix: str) -> Iterator[KeySpec]:
    for attribute, field_info in model.model_fields.items():
        inner, name = field_info.annotation, field_info.alias or attribute
        if f"{section}.{prefix}{name}" in (CHANNELS, RULES):
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _key_specs(section, inner, f"{prefix}{name}.")
        else:
            yield _key_spec(section, f"{prefix}{name}", field_info, f"{prefix}{attribute}")


def _key_spec(section: str, name: str, field_info: FieldInfo, attribute: str) -> KeySpec:
    arguments = get_args(field_info.annotation)
    choices = tuple(choice for choice in arguments if isinstance(choice, str))
    # An optional type has its own inside; the last one is the outermost, and so the most specific.
    metadata = [part for argument in arguments for part in getattr(argument, "__metadata__", ())] + field_info.metadata
    types = [part for part in metadata if isinstance(part, ValueType)]
    if not types:
        text = f"one of {', '.join(choices)}" if len(choices) > 1 else f"only {choices[0]}"
        types = [ValueType(text, article="")]
    return KeySpec(section, name, field_info, types[-1], choices, attribute)


def _bounds(field_info: FieldInfo, value_type: ValueType) -> str:
    limits = {
        name: value_type.show(getattr(part, name))
        for part in field_info.metadata
        for name in ("ge", "gt", "le", "lt", "max_length")
        if getattr(part, name, None) is not None
    }
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']} to {limits['le']}"
    if "ge" in limits:
        return f", {limits['ge']} or more"
    if "gt" in limits:
        return f" above {limits['gt']}"
    return f" of at most {limits['max_length']} characters" if "max_length" in limits else ""
