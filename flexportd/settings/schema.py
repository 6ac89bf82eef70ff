"""The schema of the configuration: every key by its dotted name, with its type, documentation and properties."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flexportd.settings.sections import Settings
from flexportd.settings.value_types import ValueType

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
_RELOADABLE_TABLES = ("cache.ttl.", "exceptions.", "notify.")

COLLECTIONS = ("notify.channels", "notify.rules")


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key; `name` is that within its section, such as `ttl.shipment`."""

    section: str
    name: str
    field: FieldInfo
    value_type: ValueType
    choices: tuple[str, ...]

    @property
    def dotted(self) -> str:
        """`section.name`, or `section.table.name`."""
        return f"{self.section}.{self.name}"

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
        if default is None:
            return self.value_type.missing
        return str(default).lower() if isinstance(default, bool) else str(default)

    @property
    def reloadable(self) -> bool:
        """Whether the key can change while flexportd runs."""
        return self.name in _RELOADABLE.get(self.section, ()) or self.dotted.startswith(_RELOADABLE_TABLES)

    @property
    def extra(self) -> Mapping[str, Any]:
        """The `shown` and `sample` of the key, if given."""
        extra = self.field.json_schema_extra
        return extra if isinstance(extra, dict) else {}

    def display(self, value: object) -> str:
        """A value for people, without secrets."""
        if value is None or value == ():
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
def secret_files() -> Mapping[str, str]:
    """Dotted `x_file` -> the dotted secret `x` that it sets."""
    return {f"{dotted}_file": dotted for dotted, entry in key_specs().items() if entry.value_type.secret}


def changed_keys(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """The keys that differ: those that can change while running, and those that need a restart."""
    changed = [spec for spec in key_specs().values() if value_of(old, spec) != value_of(new, spec)]
    reloadable = [spec.dotted for spec in changed if spec.reloadable]
    return reloadable, [spec.dotted for spec in changed if not spec.reloadable]


def value_of(settings: Settings, entry: KeySpec) -> object:
    """The value of a key."""
    return attrgetter(entry.dotted)(settings)


def _key_specs(section: str, model: type[BaseModel], prefix: str) -> Iterator[KeySpec]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if f"{section}.{prefix}{name}" in COLLECTIONS:
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _key_specs(section, inner, f"{prefix}{name}.")
        else:
            yield _key_spec(section, f"{prefix}{name}", field)


def _key_spec(section: str, name: str, field: FieldInfo) -> KeySpec:
    arguments = get_args(field.annotation)
    choices = tuple(choice for choice in arguments if isinstance(choice, str))
    # An optional type has its own inside; the last one is the outermost, and so the most specific.
    metadata = [part for argument in arguments for part in getattr(argument, "__metadata__", ())] + field.metadata
    types = [part for part in metadata if isinstance(part, ValueType)]
    if not types:
        text = f"one of {', '.join(choices)}" if len(choices) > 1 else f"only {choices[0]}"
        types = [ValueType(text, article="")]
    return KeySpec(section, name, field, types[-1], choices)


def _bounds(field: FieldInfo, value_type: ValueType) -> str:
    limits = {
        name: value_type.show(getattr(part, name))
        for part in field.metadata
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
