"""What a domain is: everything the rest of the daemon needs to know of one Flexport resource, as data."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from flexportd.flexport.models.wire import FieldDoubt, FieldFault, WireModel
from flexportd.storage.queries.table import Key, Table

MAX_ID_LENGTH = 200  # characters


def _no_timestamp(_: Any) -> str | None:
    """For resources that do not say when they changed."""
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResourceType:
    """One resource. Adding one is a module with this, a wire model, a migration and a line in the registry."""

    name: str
    """The word for it everywhere: URL, table, CLI group, log field, history."""

    object_name: str
    """Flexport's canonical `_object`."""

    wire: type[WireModel]
    table: Table

    normalise: Callable[[Any], Mapping[str, Any]]
    """Wire model -> our fields. Pure."""

    timestamp: Callable[[Any], str | None] = _no_timestamp
    """Wire model -> its own `updated_at` as sent, where the resource has one."""

    wire_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Wire field -> our fields that it feeds. Where given, only what changed is read and normalised again."""

    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Without `feeds`: the same for wire fields that feed others than the field of their name (without `_date`)."""

    text_fields: Mapping[str, tuple[str, Callable[[str | None], Any]]] = field(default_factory=dict)
    """Wire fields that are text and feed one of ours alone: (ours, how). Read without the whole wire model."""

    field_groups: tuple[frozenset[str], ...] = ()
    """Wire fields that feed one of ours jointly: when one changed, all are read."""

    ids: Literal["integer", "text", "any"] = "integer"
    """What its ids look like; `any`: documented as integers and never recorded."""

    singular: str = ""
    """One of them, for people: `purchase order`. Empty: the name without its s."""

    owners: tuple[tuple[str, str], ...] = ()
    """(our field, domain) through which an object that does not name its shipment belongs to one."""

    derived: tuple[str, ...] = ()
    """Fields that `normalise` does not give: they come from other resources."""

    has_details: bool = False
    """Whether an entry of its list may tell less than the object's own response; see `core.shipment_details`."""

    derived_values: Callable[[Mapping[str, Any], date], Mapping[str, Any]] | None = None
    """Our fields and the present UTC day -> what follows from both, shown beside the fields. Pure; it gives the same
    names for every object, also for one whose fields are all None."""

    @functools.cached_property
    def derived_value_names(self) -> tuple[str, ...]:
        """The names of what follows from the fields, in order."""
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
        """Of our fields, those that faulty wire fields feed: what is known of them stays. A doubt is no fault."""
        faulty = (fault.field for fault in faults if not isinstance(fault, FieldDoubt))
        return {name: fields[name] for field in faulty for name in self.fields_from(field)}

    @property
    def label(self) -> str:
        """One of them, in words."""
        return self.singular or self.name.removesuffix("s").replace("_", " ")

    @property
    def route(self) -> str:
        """Its name in URLs and commands."""
        return self.name.replace("_", "-")

    @property
    def has_timestamp(self) -> bool:
        """Whether its objects say themselves when they changed."""
        return self.timestamp is not _no_timestamp

    def parse_id(self, text: str) -> Key | None:
        """The id that a URL or a person names; None for what no object of this domain can be called."""
        if "\0" in text:
            return None  # SQLite's JSON functions end a text there: two such ids would be one
        if self.ids == "text":
            return text if 0 < len(text) <= MAX_ID_LENGTH else None
        if text.isascii() and text.isdigit() and len(text) <= 18:
            return int(text)
        return text if self.ids == "any" and 0 < len(text) <= MAX_ID_LENGTH else None
