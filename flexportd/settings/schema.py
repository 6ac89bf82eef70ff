"""Every key by its dotted name: what it takes, whether it is secret, whether it can change while running."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flexportd.settings.exceptions import RequiredDocuments
from flexportd.settings.model import Settings
from flexportd.settings.profiles import default_lifetimes
from flexportd.settings.value_types import ValueType

_DAYS = (
    "eta_slip_days", "free_time_days", "empty_return_days", "silent_days", "invoice_due_days", "booking_days",
)  # fmt: skip

RELOADABLE = frozenset(
    {
        "webhook.secrets",
        "webhook.allow_sha1",
        "webhook.allowed_networks",
        "webhook.max_pending",
        "server.public_url",
        "server.trusted_proxies",
        "storage.event_retention",
        "storage.history_retention",
        "queue.max_attempts",
        "queue.base_delay",
        "queue.max_delay",
        "sync.full_interval",
        "sync.incremental_interval",
        "sync.events_interval",
        "sync.overlap",
        "sync.refresh_after_event",
        "documents.archive",
        "documents.max_size",
        "documents.types",
        "api.page_size",
        "api.max_page_size",
        "api.cors_origins",
        "api.rate_limit",
        "api.require_key",
        "dashboard.title",
        "dashboard.timezone",
        "log.level",
    }
    | {f"cache.ttl.{kind}" for kind in default_lifetimes()}
    | {f"exceptions.{name}" for name in _DAYS}
    | {f"exceptions.required_documents.{mode}" for mode in RequiredDocuments.model_fields}
)


@dataclass(frozen=True, slots=True)
class KeyDoc:
    """One key, as documentation shows it."""

    name: str
    type_text: str
    default_text: str
    description: str
    secret: bool
    reloadable: bool


@dataclass(frozen=True, slots=True)
class SectionDoc:
    """One section of the file."""

    name: str
    doc: str
    keys: tuple[KeyDoc, ...]


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key, as the loader and the writers need it."""

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
    def type_text(self) -> str:
        """The shape with its bounds: `whole number from 1 to 64`."""
        return f"{self.value_type.text}{_bounds(self.field, self.value_type)}"

    @property
    def extra(self) -> Mapping[str, Any]:
        """The `shown` and `sample` of the key, where given."""
        extra = self.field.json_schema_extra
        return extra if isinstance(extra, dict) else {}

    def display(self, value: object) -> str:
        """A value for people, without secrets."""
        if value is None or value == ():
            return self.value_type.missing
        return self.value_type.mask(value) if self.value_type.secret else self.value_type.show(value)


def section_models() -> dict[str, type[BaseModel]]:
    """The sections in the order of the file."""
    found = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: model for name, model in found.items() if isinstance(model, type) and issubclass(model, BaseModel)}


@cache
def key_specs() -> Mapping[str, KeySpec]:
    """Every key by its dotted name."""
    found = (entry for section, model in section_models().items() for entry in _key_specs(section, model, ""))
    return {entry.dotted: entry for entry in found}


@cache
def tables() -> frozenset[str]:
    """The dotted names of the tables within sections: `cache.ttl`."""
    return frozenset(dotted.rpartition(".")[0] for dotted in key_specs()) - frozenset(section_models())


@cache
def secret_files() -> Mapping[str, str]:
    """Dotted `x_file` by the dotted secret `x` it stands for."""
    return {f"{dotted}_file": dotted for dotted, entry in key_specs().items() if entry.value_type.secret}


def describe() -> tuple[SectionDoc, ...]:
    """What the documentation, the example file and `config show` are made of."""
    return tuple(
        SectionDoc(
            name,
            (model.__doc__ or "").strip(),
            tuple(_key_doc(entry) for entry in key_specs().values() if entry.section == name),
        )
        for name, model in section_models().items()
    )


def changed_keys(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """The keys that differ: those that can change while running, and those that need a restart."""
    moved = [name for name, before, after in _value_pairs(old, new) if before != after]
    return [name for name in moved if name in RELOADABLE], [name for name in moved if name not in RELOADABLE]


def value_of(settings: Settings, entry: KeySpec) -> object:
    """The value that a key has."""
    return attrgetter(entry.dotted)(settings)


def _value_pairs(old: Settings, new: Settings) -> Iterator[tuple[str, object, object]]:
    for dotted, entry in key_specs().items():
        yield dotted, value_of(old, entry), value_of(new, entry)


def _key_specs(section: str, model: type[BaseModel], prefix: str) -> Iterator[KeySpec]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _key_specs(section, inner, f"{prefix}{name}.")
        else:
            yield _key_spec(section, f"{prefix}{name}", field)


def _key_spec(section: str, name: str, field: FieldInfo) -> KeySpec:
    choices = tuple(choice for choice in get_args(field.annotation) if isinstance(choice, str))
    # The last form is the outermost, and so the most particular.
    forms = [part for part in field.metadata if isinstance(part, ValueType)] or [_choice_type(choices)]
    return KeySpec(section, name, field, forms[-1], choices)


def _choice_type(choices: tuple[str, ...]) -> ValueType:
    text = f"one of {', '.join(choices)}" if len(choices) > 1 else f"only {choices[0]}"
    return ValueType(text, article="")


def _key_doc(entry: KeySpec) -> KeyDoc:
    return KeyDoc(
        name=entry.name,
        type_text=entry.type_text,
        default_text=default_text(entry),
        description=entry.field.description or "",
        secret=entry.value_type.secret,
        reloadable=entry.dotted in RELOADABLE,
    )


def default_text(entry: KeySpec) -> str:
    """The default as one would read it out: text as in the file, or how it comes about."""
    if "shown" in entry.extra:
        return str(entry.extra["shown"])
    default = entry.field.default
    if default is None:
        return entry.value_type.missing
    return str(default).lower() if isinstance(default, bool) else str(default)


def _bounds(field: FieldInfo, form: ValueType) -> str:
    limits = {
        name: form.show(getattr(part, name))
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
