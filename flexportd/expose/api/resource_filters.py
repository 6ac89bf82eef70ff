"""What a resource's list lets itself be asked: the filters of its table as parameters.

Every list takes `updated_since`, `removed`, and a filter for each link, named by what it leads to: the field
`shipment_id` gives `shipment`. `removed=false` leaves out what Flexport no longer has, `removed=true` leaves only that;
without it both are listed, so that whoever follows changes by `updated_since` hears of removals too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.errors import InvalidError
from flexportd.expose import serialize
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.blanks import strip
from flexportd.expose.openapi.enum_values import Vocabulary, column_vocabulary
from flexportd.expose.openapi.query_params import FilterParser, ListRules
from flexportd.storage.queries.filters import Filter, FilterKind, any_of_column, is_present, key, since
from flexportd.storage.repositories.resources import Key, Table

_COMMON_FILTERS = {"updated_since": since("as_of"), "removed": is_present("removed_at")}
_MAX_DIGITS = 18


@dataclass(frozen=True)
class ListDefinition:
    """A domain's list: the table with all that it may be asked, and the rules of its parameters.

    `owners` are the domains through which an object belongs to a shipment: theirs may tell of another.
    `tables` are those whose rows decide who is in the list: its own, its owners, and those that filters look into.
    """

    table: Table
    rules: ListRules
    owners: tuple[str, ...]
    tables: tuple[str, ...]


def list_definition(domain: ResourceType, registry: Registry) -> ListDefinition:
    """Everything that the list of a domain lets itself be asked."""
    table, asks = domain.table, filters_of(domain, registry)
    sorts = {"updated_at": "as_of", **table.sorts}
    asked = replace(table, sorts={column: column for column in sorts.values()}, query_filters=asks)

    def vocabulary_of(name: str, one: Filter) -> Vocabulary | None:
        column = any_of_column(one.where)
        return None if column is None else column_vocabulary(domain, asked, name, column)

    rules = ListRules(
        sorts=sorts,
        filters={name: _filter_parser(name, one, registry, vocabulary_of(name, one)) for name, one in asks.items()},
        fields=serialize.field_names(table, domain.derived_value_names),
        includes=("raw",),
        text_keys=domain.ids != "integer",
    )
    owners = tuple(name for _, name in domain.owners)
    others = [other.name for other in registry if _references(asks, other.name)]
    return ListDefinition(asked, rules, owners, tuple(dict.fromkeys((domain.name, *owners, *others))))


def filters_of(domain: ResourceType, registry: Registry) -> dict[str, Filter]:
    """The filters of a domain's list by parameter: those of its table, and those that every list has."""
    known = {f"{param_name(other)}_id": param_name(other) for other in registry}
    links = {known[name]: key(name) for name in domain.table.names if name in known}
    return _COMMON_FILTERS | links | dict(domain.table.query_filters)


def _references(asks: Mapping[str, Filter], table: str) -> bool:
    word = re.compile(rf"\b{table}\b")
    return any(word.search(one.where) for one in asks.values())


def _filter_parser(name: str, asked: Filter, registry: Registry, vocabulary: Vocabulary | None) -> FilterParser:
    makers: dict[FilterKind, Callable[[], FilterParser]] = {
        "words": lambda: query_params.any_of(name, vocabulary=vocabulary),
        "text": lambda: query_params.equals(name),
        "part": lambda: query_params.contains(name, asked.where.count("?")),
        "id": lambda: _link_parser(name, next((domain for domain in registry if param_name(domain) == name), None)),
        "moment": lambda: query_params.moment(name, _time_description(name)),
        "day": lambda: query_params.day(name, _time_description(name)),
        "truth": lambda: query_params.boolean(name, f"not_{name}", _boolean_description(name)),
    }
    return makers[asked.value_kind]()


def param_name(domain: ResourceType) -> str:
    """One of a domain as a parameter: `purchase_order`."""
    return domain.label.replace(" ", "_")


def _link_parser(name: str, domain: ResourceType | None) -> FilterParser:
    """The id of what a list's objects lead to."""
    numbers = domain is not None and domain.ids == "integer"

    def read(_: str, text: str) -> tuple[str, Sequence[Any]]:
        found = _parse_any_id(text) if domain is None else parse_object_id(domain, strip(text))
        if found is None:
            needed = "a whole number" if numbers else "an id"
            raise InvalidError(f"{name} is {text[:50]!r}; {needed} is allowed", name)
        return name, (found,)

    what = domain.label if domain is not None else name.replace("_", " ")
    schema: query_params.Schema = {**query_params.TEXT, "maxLength": MAX_ID_LENGTH}
    if domain is not None and numbers:
        schema = query_params.NUMBER if domain.name == "shipments" else query_params.DIGITS
    return FilterParser(read, schema, f"Only objects of this {what}, by id.")


def _time_description(name: str) -> str:
    word, _, end = name.rpartition("_")
    what = word.replace("_", " ").capitalize()
    return {
        "before": f"{what} before this day or time.",
        "after": f"{what} on or after this day or time.",
        "since": f"{what} at this time or later.",
    }.get(end, f"{what} at this time.")


def _boolean_description(name: str) -> str:
    if name == "removed":
        return "true: only objects removed at Flexport; false: only existing ones. Omit it for both."
    state = "add up" if name == "adds_up" else f"are {name.replace('_', ' ')}"
    return f"true: only objects that {state}; false: only the others."


def parse_object_id(domain: ResourceType, text: str) -> Key | None:
    """The id that a URL names; a shipment may be named FLEX-910233. None for what no object can be called."""
    return domain.parse_id(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)


def _parse_any_id(text: str) -> Key | None:
    found = strip(text)
    if found.isascii() and found.isdigit() and len(found) <= _MAX_DIGITS:
        return int(found)
    return found or None
