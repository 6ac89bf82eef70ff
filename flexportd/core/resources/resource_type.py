"""Resource types: everything the rest of the daemon needs to know about one Flexport resource, as data."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from flexportd.core.resources.identifiers import int_id
from flexportd.flexport.models.wire import FieldDoubt, FieldFault, WireModel
from flexportd.storage.queries.table import Key, Table

MAX_ID_LENGTH = 200  # characters


def _no_timestamp(_: Any) -> str | None:
    """For resources without a timestamp."""
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResourceType:
    """One resource. Adding one is a module with this, a wire model, a migration and a line in the registry."""

    name: str
    """Its name in the URL, table, CLI group, log field and history."""

    object_name: str
    """Flexport's canonical `_object`."""

    wire: type[WireModel]
    table: Table

    normalise: Callable[[Any], Mapping[str, Any]]
    """Wire model -> our fields. Pure."""

    timestamp: Callable[[Any], str | None] = _no_timestamp
    """Wire model -> its own `updated_at` as sent, where the resource has one."""

    wire_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Wire field -> our fields that it feeds. If given, only changed wire fields are parsed and normalised again."""

    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Without `wire_fields`: the same, only for wire fields that feed other fields than the one of their name."""

    text_fields: Mapping[str, tuple[str, Callable[[str | None], Any]]] = field(default_factory=dict)
    """Text wire fields that feed one of our fields: (our field, conversion). Read without the complete wire model."""

    field_groups: tuple[frozenset[str], ...] = ()
    """Wire fields that feed one of our fields jointly: if one changed, all are read."""

    ids: Literal["integer", "text", "any"] = "integer"
    """The form of its ids; `any`: documented as integers, but never recorded."""

    singular: str = ""
    """The singular for people: `purchase order`. Empty: the name without its s."""

    owners: tuple[tuple[str, str], ...] = ()
    """(our field, resource type) through which an object without a shipment belongs to one."""

    derived: tuple[str, ...] = ()
    """Fields that `normalise` does not set: they come from other resources."""

    has_details: bool = False
    """Whether list entries may lack data of the object's own response; see `core.importer.list_entries`."""

    derived_values: Callable[[Mapping[str, Any], date], Mapping[str, Any]] | None = None
    """Our fields and the present UTC day -> derived values, shown with the fields. Pure; has the same names for every
    object, also for one whose fields are all None."""

    @functools.cached_property
    def derived_value_names(self) -> tuple[str, ...]:
        """The names of the derived values, in order."""
        return (
            () if self.derived_values is None else tuple(self.derived_values(dict.fromkeys(self.table.names), date.min))
        )

    def fields_from(self, wire_field: str) -> tuple[str, ...]:
        """Our fields that a wire field feeds."""
        known = self.wire_fields.get(wire_field) or self.sources.get(wire_field)
        if known is not None or self.wire_fields:
            return known or ()
        names = self.table.names
        return tuple(name for name in (wire_field, wire_field.removesuffix("_date")) if name in names)[:1]

    def retained_fields(self, fields: Mapping[str, Any], faults: Iterable[FieldFault]) -> dict[str, Any]:
        """Our fields that faulty wire fields feed: they keep their stored values. A doubt is not a fault."""
        faulty = (fault.field for fault in faults if not isinstance(fault, FieldDoubt))
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
