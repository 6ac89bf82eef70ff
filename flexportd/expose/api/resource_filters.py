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
from flexportd.core.resources.resource_type import LONGEST_ID, Domain
from flexportd.errors import InvalidError
from flexportd.expose.api import serialize
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.blanks import strip
from flexportd.expose.openapi.enum_values import Vocabulary, of_table
from flexportd.expose.openapi.query_params import ListRules, Parse
from flexportd.storage.queries.filters import Filter, Takes, column_of_words, key, present, since
from flexportd.storage.repositories.resources import Key, Table

_OF_EVERY_LIST = {"updated_since": since("as_of"), "removed": present("removed_at")}
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Asking:
    """A domain's list: the table with all that it may be asked, and the rules of its parameters.

    `owners` are the domains through which an object belongs to a shipment: theirs may tell of another.
    `tables` are those whose rows decide who is in the list: its own, its owners, and those that filters look into.
    """

    table: Table
    rules: ListRules
    owners: tuple[str, ...]
    tables: tuple[str, ...]


def asking(domain: Domain, registry: Registry) -> Asking:
    """Everything that the list of a domain lets itself be asked."""
    table, asks = domain.table, filters_of(domain, registry)
    sorts = {"updated_at": "as_of", **table.sorts}
    asked = replace(table, sorts={column: column for column in sorts.values()}, asks=asks)

    def vocabulary_of(name: str, one: Filter) -> Vocabulary | None:
        column = column_of_words(one.where)
        return None if column is None else of_table(domain, asked, name, column)

    rules = ListRules(
        sorts=sorts,
        filters={name: _parse(name, one, registry, vocabulary_of(name, one)) for name, one in asks.items()},
        fields=serialize.names(table, domain.fact_names),
        includes=("raw",),
        text_keys=domain.ids != "integer",
    )
    owners = tuple(name for _, name in domain.owners)
    others = [other.name for other in registry if _looks_into(asks, other.name)]
    return Asking(asked, rules, owners, tuple(dict.fromkeys((domain.name, *owners, *others))))


def filters_of(domain: Domain, registry: Registry) -> dict[str, Filter]:
    """The filters of a domain's list by parameter: those of its table, and those that every list has."""
    known = {f"{named(other)}_id": named(other) for other in registry}
    links = {known[name]: key(name) for name in domain.table.names if name in known}
    return _OF_EVERY_LIST | links | dict(domain.table.asks)


def _looks_into(asks: Mapping[str, Filter], table: str) -> bool:
    word = re.compile(rf"\b{table}\b")
    return any(word.search(one.where) for one in asks.values())


def _parse(name: str, asked: Filter, registry: Registry, vocabulary: Vocabulary | None) -> Parse:
    makers: dict[Takes, Callable[[], Parse]] = {
        "words": lambda: query_params.any_of(name, vocabulary=vocabulary),
        "text": lambda: query_params.equals(name),
        "part": lambda: query_params.part_of(name, asked.where.count("?")),
        "id": lambda: _link(name, next((domain for domain in registry if named(domain) == name), None)),
        "moment": lambda: query_params.moment(name, _when(name)),
        "day": lambda: query_params.day(name, _when(name)),
        "truth": lambda: query_params.truth(name, f"not_{name}", _whether(name)),
    }
    return makers[asked.takes]()


def named(domain: Domain) -> str:
    """One of a domain as a parameter: `purchase_order`."""
    return domain.one.replace(" ", "_")


def _link(name: str, domain: Domain | None) -> Parse:
    """The id of what a list's objects lead to."""
    numbers = domain is not None and domain.ids == "integer"

    def read(_: str, text: str) -> tuple[str, Sequence[Any]]:
        found = _any_key(text) if domain is None else key_of(domain, strip(text))
        if found is None:
            needed = "a whole number" if numbers else "an id"
            raise InvalidError(f"{name} is {text[:50]!r}; {needed} is allowed", name)
        return name, (found,)

    what = domain.one if domain is not None else name.replace("_", " ")
    schema: query_params.Schema = {**query_params.TEXT, "maxLength": LONGEST_ID}
    if domain is not None and numbers:
        schema = query_params.NUMBER if domain.name == "shipments" else query_params.DIGITS
    return Parse(read, schema, f"Only objects of this {what}, by id.")


def _when(name: str) -> str:
    word, _, end = name.rpartition("_")
    what = word.replace("_", " ").capitalize()
    return {
        "before": f"{what} before this day or time.",
        "after": f"{what} on or after this day or time.",
        "since": f"{what} at this time or later.",
    }.get(end, f"{what} at this time.")


def _whether(name: str) -> str:
    if name == "removed":
        return "true: only objects removed at Flexport; false: only existing ones. Omit it for both."
    state = "add up" if name == "adds_up" else f"are {name.replace('_', ' ')}"
    return f"true: only objects that {state}; false: only the others."


def key_of(domain: Domain, text: str) -> Key | None:
    """The id that a URL names; a shipment may be named FLEX-910233. None for what no object can be called."""
    return domain.key_of(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)


def _any_key(text: str) -> Key | None:
    found = strip(text)
    if found.isascii() and found.isdigit() and len(found) <= _MOST_DIGITS:
        return int(found)
    return found or None
