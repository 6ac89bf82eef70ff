"""The published enumerated values of fields. Flexport adds values at any time."""

from typing import get_args

from flexportd.core.resources.customs import ReleaseState
from flexportd.core.resources.resource_type import ResourceType
from flexportd.flexport.milestones import CATALOGUE
from flexportd.flexport.published_schema import OpenEnum, published_schema

# Fields whose values are ours, not Flexport's.
_OWN_VALUES = {("customs_entries", "release_state"): get_args(ReleaseState)}


def known_values(domain: ResourceType, field: str) -> tuple[str, ...]:
    """The known values of a field, in alphabetical order; empty if none are published."""
    if (domain.name, field) in _OWN_VALUES:
        return tuple(sorted(_OWN_VALUES[domain.name, field]))
    shape = published_schema().shapes.get(domain.object_name)
    specs = [spec for name, spec in shape.fields.items() if field in domain.fields_from(name)] if shape else []
    return tuple(sorted({word for spec in specs if isinstance(spec, OpenEnum) for word in spec.known}))


def event_types() -> tuple[str, ...]:
    """The event types that Flexport documents, and others that were recorded."""
    return tuple(milestone.type for milestone in CATALOGUE)
