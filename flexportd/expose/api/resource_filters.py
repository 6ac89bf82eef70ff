"""The list of each resource: the filters of its table, those that every list has, and their parameters.

Every list takes `updated_since`, `removed`, and a filter for each link, named after its target: the field `shipment_id`
gives `shipment`. `removed=false` leaves out what was deleted at Flexport, `removed=true` lists only that; without it
both are listed, so that a client that follows changes by `updated_since` sees removals too.
"""

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose import serialize
from flexportd.expose.openapi.enum_values import column_vocabulary
from flexportd.expose.openapi.parameters import filter_description, filter_param
from flexportd.expose.openapi.query_params import ListRules
from flexportd.storage.queries.filters import Filter, is_present, key, since
from flexportd.storage.queries.table import Table

REMOVED = is_present("removed_at", "deleted at Flexport")
_COMMON_FILTERS = {"updated_since": since("as_of"), "removed": REMOVED}


@dataclass(frozen=True)
class ListDefinition:
    """The list of a resource: its table with all filters, and the rules of its parameters.

    `owners` are the resources through which an object belongs to a shipment; a change of theirs may move it to another.
    `tables` are those whose rows decide what is in the list: its own, its owners, and those that filters read.
    """

    table: Table
    rules: ListRules
    owners: tuple[str, ...]
    tables: tuple[str, ...]


def list_definition(domain: ResourceType, registry: Registry) -> ListDefinition:
    """The list of a resource."""
    filters = filters_of(domain, registry)
    sorts = {"updated_at": "as_of", **domain.table.sorts}
    table = replace(domain.table, sorts={column: column for column in sorts.values()}, filters=filters)
    targets = {param_name(other): other for other in registry}
    rules = ListRules(
        sorts=sorts,
        filters=filters,
        fields=serialize.field_names(table, domain.derived_value_names),
        includes=("raw",),
        text_keys=domain.ids != "integer",
        vocabularies={
            name: column_vocabulary(domain, table, name, one.column)
            for name, one in filters.items()
            if one.value_type == "words" and one.operator == "in"
        },
        filter_params={
            name: filter_param(name, one, target=targets.get(name))
            for name, one in filters.items()
            if one.value_type == "id"
        },
        past=True,
    )
    owners = tuple(name for _, name in domain.owners)
    read_by_filters = (other.name for other in registry if any(other.name in one.tables for one in filters.values()))
    return ListDefinition(table, rules, owners, tuple(dict.fromkeys((domain.name, *owners, *read_by_filters))))


def filters_of(domain: ResourceType, registry: Registry) -> dict[str, Filter]:
    """The filters of a resource's list by parameter: those of its table, and those that every list has."""
    targets = {f"{param_name(other)}_id": param_name(other) for other in registry}
    links = {targets[name]: key(name) for name in domain.table.names if name in targets}
    own = {name: one for name, one in domain.table.filters.items() if name not in _COMMON_FILTERS}
    return links | own | _COMMON_FILTERS


def param_name(domain: ResourceType) -> str:
    """One object of a resource as a parameter: `purchase_order`."""
    return domain.label.replace(" ", "_")


def cli_specs(registry: Registry) -> dict[str, Any]:
    """The sort orders and filters of each list, from which the options of CLI commands are made."""
    specs: dict[str, Any] = {}
    for domain in registry:
        if domain.name == "shipments":
            continue  # their commands are written by hand
        rules = list_definition(domain, registry).rules
        filters = [
            (name, one.value_type, f"Limit to those {one.description}, or exclude them.")
            if one.value_type == "boolean"
            else (name, one.value_type, filter_description(name, one))
            for name, one in rules.public_filters.items()
        ]
        specs[domain.route] = {"label": domain.label, "sorts": list(rules.sorts), "filters": filters}
    return specs


if __name__ == "__main__":
    lines = (f"{json.dumps(route)}: {json.dumps(spec)}" for route, spec in cli_specs(Registry()).items())
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
