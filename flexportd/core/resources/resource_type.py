"""Resource types: everything the rest of the daemon needs to know about one Flexport resource, as data."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, get_type_hints

from flexportd.core.resources.identifiers import int_id
from flexportd.core.resources.money import currency, decimal_text
from flexportd.core.resources.values import day, instant, json_text, moment, quantity, text
from flexportd.flexport.models import wire as wire_types
from flexportd.flexport.models.money import Currency
from flexportd.flexport.models.network import Link
from flexportd.flexport.models.places import CompanyEntity
from flexportd.flexport.published_schema import OpenEnum, published_schema
from flexportd.storage.queries.table import MOMENTS, Field, Key, Table
from flexportd.storage.transaction import Transaction

MAX_ID_LENGTH = 200  # characters

_TEXTS = (wire_types.Text, wire_types.Word, wire_types.Moment, wire_types.Day)  # wire types that are texts in JSON


# A wire field feeds the fields of its name, without this suffix, and with one of these parts.
_SUFFIX = re.compile("_(address|date|entity)$")
_PARTS = ("", "_id", "_ref", "_code", "_amount", "_currency")


def _no_timestamp(_: Any) -> str | None:
    return None


def _target_text(link: Link | None) -> str | None:
    return link.target_text if link else None


_CONVERSIONS: Mapping[Any, Callable[[Any], Any]] = {
    wire_types.Text: text,
    wire_types.Word: text,
    wire_types.Moment: instant,
    wire_types.Day: day,
    wire_types.Amount: decimal_text,
    Currency: currency,
    **dict.fromkeys((wire_types.Flag | None, wire_types.Whole | None), lambda value: value),
    **dict.fromkeys((wire_types.Reference | None, Link | None), lambda link: link.target_id if link else None),
    dict[str, Any] | None: json_text,
    wire_types.Quantity | None: quantity,
    CompanyEntity | None: lambda party: text(party.name) if party else None,
}
"""Wire types, each with what makes a field of it."""


def _conversion(ours: Field, wire_type: Any) -> Callable[[Any], Any] | None:
    """What makes a field of a wire value; None for a type that needs more than a conversion."""
    if wire_type == wire_types.Moment and (ours.kind in MOMENTS or ours.internal):  # an internal one becomes a moment
        return moment
    if wire_type == Link | None and ours.kind == "text":
        return _target_text
    return _CONVERSIONS.get(wire_type)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResourceType:
    """One resource. Adding one is a module with this, a wire model, a migration and a line in the registry."""

    name: str
    """Its name in the URL, table, CLI group, log field and history."""

    object_name: str
    """Flexport's canonical `_object`."""

    wire: type[wire_types.WireModel]
    table: Table

    computed_fields: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    """Wire model -> the fields that are more than one converted wire field. Pure."""

    timestamp: Callable[[Any], str | None] = _no_timestamp
    """Wire model -> its own `updated_at` as sent, where the resource has one."""

    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Wire field -> our fields that it feeds, if its name does not show them. The first is the converted wire field."""

    is_parsed_by_field: bool = False
    """Whether only the changed wire fields of a stored object are parsed and normalised again."""

    field_groups: tuple[frozenset[str], ...] = ()
    """Wire fields that feed one of our fields jointly: if one changed, all are read."""

    ids: Literal["integer", "text", "any"] = "integer"
    """The form of its ids; `any`: documented as integers, but never recorded."""

    singular: str = ""
    """The singular for people: `purchase order`. Empty: the name without its s."""

    owners: tuple[tuple[str, str], ...] = ()
    """(our field, resource type) through which an object without a shipment belongs to one."""

    derived: tuple[str, ...] = ()
    """Fields that come from other resources."""

    own_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields whose enumerated values are ours, not Flexport's -> these values."""

    has_details: bool = False
    """Whether list entries may lack data of the object's own response; see `core.importer.list_entries`."""

    derived_values: Callable[[Mapping[str, Any], date], Mapping[str, Any]] | None = None
    """Our fields and the present UTC day -> derived values, shown with the fields. Pure; has the same names for every
    object, also for one whose fields are all None."""

    related_values: Callable[[Transaction, Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]] | None = None
    """Fields of objects -> for each the values of other objects that `derived_values` takes besides its fields."""

    @functools.cached_property
    def derived_value_names(self) -> tuple[str, ...]:
        """The names of the derived values, in order."""
        return tuple(self.derived_values(dict.fromkeys(self.table.names), date.min)) if self.derived_values else ()

    def fields_from(self, wire_field: str) -> tuple[str, ...]:
        """Our fields that a wire field feeds."""
        if known := self.sources.get(wire_field):
            return known
        stem = _SUFFIX.sub("", wire_field)
        given = dict.fromkeys((wire_field, *(f"{stem}{part}" for part in _PARTS)))
        return tuple(name for name in given if name in self.table.names and name not in self.derived)

    @functools.cached_property
    def wire_fields(self) -> Mapping[str, tuple[str, ...]]:
        """Wire field -> our fields that it feeds."""
        return {name: ours for name in self.wire.model_fields if (ours := self.fields_from(name))}

    @functools.cached_property
    def text_fields(self) -> Mapping[str, tuple[str, Callable[[str | None], Any]]]:
        """Wire fields that are texts and feed one field: (our field, conversion). Read without the wire model."""
        hints = get_type_hints(self.wire, include_extras=True)
        single = {name: ours for name, ours in self._converted.items() if self.fields_from(name) == ours[:1]}
        return {name: ours for name, ours in single.items() if hints[name] in _TEXTS}

    @functools.cached_property
    def _converted(self) -> Mapping[str, tuple[str, Callable[[Any], Any]]]:
        hints, by_name = get_type_hints(self.wire, include_extras=True), {one.name: one for one in self.table.fields}
        pairs = ((name, ours, _conversion(by_name[ours], hints[name])) for name, (ours, *_) in self.wire_fields.items())
        return {name: (ours, convert) for name, ours, convert in pairs if convert is not None}

    def normalise(self, model: Any) -> dict[str, Any]:
        """Our fields of a wire model. Pure."""
        fields = {ours: convert(getattr(model, name)) for name, (ours, convert) in self._converted.items()}
        fields.update(self.computed_fields(model))
        return fields

    def known_values(self, name: str) -> tuple[str, ...]:
        """The published values of a field, in alphabetical order; empty if none are. Flexport may add values."""
        shape = published_schema().shapes.get(self.object_name)
        specs = [spec for source, spec in shape.fields.items() if name in self.fields_from(source)] if shape else []
        words = {word for spec in specs if isinstance(spec, OpenEnum) for word in spec.known}
        return tuple(sorted(self.own_values.get(name, words)))

    def retained_fields(self, fields: Mapping[str, Any], faults: Iterable[wire_types.FieldFault]) -> dict[str, Any]:
        """Our fields that faulty wire fields feed: they keep their stored values. A doubt is not a fault."""
        faulty = (fault.field for fault in faults if not isinstance(fault, wire_types.FieldDoubt))
        return {name: fields[name] for field in faulty for name in self.fields_from(field)}

    @property
    def label(self) -> str:
        """The singular name for people."""
        return self.singular or self.name.removesuffix("s").replace("_", " ")

    @property
    def route(self) -> str:
        """Its name in URLs and commands."""
        return self.name.replace("_", "-")

    @property
    def has_timestamp(self) -> bool:
        """Whether its objects have a timestamp."""
        return self.timestamp is not _no_timestamp

    def parse_id(self, text: str) -> Key | None:
        """Parse an id from a URL or a person; None for an invalid one."""
        if "\0" in text:
            return None  # SQLite's JSON functions end a text there: two such ids would be one
        if self.ids == "text":
            return text if 0 < len(text) <= MAX_ID_LENGTH else None
        number = int_id(text)
        if number is not None:
            return number
        return text if self.ids == "any" and 0 < len(text) <= MAX_ID_LENGTH else None
