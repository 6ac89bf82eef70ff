"""What a domain is: everything the rest of the daemon needs to know of one Flexport resource, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flexportd.flexport.wire import WireModel
from flexportd.storage.resources import Table


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One resource. Adding one is a module with this, a wire model, a migration and a line in the registry."""

    name: str
    """The word for it everywhere: URL, table, CLI group, log field, history."""

    object_name: str
    """Flexport's canonical `_object`."""

    wire: type[WireModel]
    table: Table

    normalise: Callable[[Any], Mapping[str, Any]]
    """Wire model -> our fields. Pure."""

    stamp: Callable[[Any], str | None] = lambda _: None
    """Wire model -> its own `updated_at` as stored, where the resource has one."""

    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Wire field -> our fields that it feeds. Where given, only what changed is read and normalised again."""

    texts: Mapping[str, tuple[str, Callable[[str | None], Any]]] = field(default_factory=dict)
    """Wire fields that are text and feed one of ours alone: (ours, how). Read without the whole wire model."""

    together: tuple[frozenset[str], ...] = ()
    """Wire fields that feed one of ours jointly: when one changed, all are read."""

    derived: tuple[str, ...] = ()
    """Fields that `normalise` does not give: they come from other resources."""
