"""What an object refers to and what belongs to it: names that lead to the pages of other objects."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.expose.api.nested_lists import nested_lists
from flexportd.expose.api.resource_filters import param_name
from flexportd.expose.api.resources import ResourceEndpoints, resources
from flexportd.expose.dashboard.view.dates import ViewContext
from flexportd.expose.dashboard.view.labels import Text, json_or_none, text
from flexportd.expose.dashboard.view.values import money, value_text
from flexportd.expose.security import authorization
from flexportd.expose.serialize import record_row
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

MOST = 25  # of one kind on the page of another object

_NAMES = ("name", "container_number", "invoice_number", "entry_number", "file_name", "product", "sku", "item_key")
_STATES = ("status", "release_state", "document_type", "digitization_status", "type")
_PLURALS = {"entity_ids": "company_entities"}

Links = Mapping[str, tuple[Text, ...]]
"""Field -> the names of the objects that it refers to, each with the address of its page."""


@dataclass(frozen=True, slots=True)
class RelatedRow:
    """One object that belongs to another."""

    name: Text
    state: Text | None
    value: str | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class RelatedGroup:
    """Those of one kind that belong to an object; `all_url` leads to all of them where they are not all here."""

    kind: str
    title: str
    rows: tuple[RelatedRow, ...]
    all_url: str | None


@dataclass(frozen=True, slots=True)
class RelatedData:
    """The same as the store has them: one row more than is shown where others follow."""

    domain: ResourceType
    filter: str
    rows: Sequence[Mapping[str, Any]]


@functools.lru_cache(maxsize=8)
def _children_by_parent(registry: Registry) -> Mapping[str, Sequence[tuple[ResourceEndpoints, str]]]:
    """Domain -> (what belongs to its objects, the filter that names them)."""
    found: dict[str, list[tuple[ResourceEndpoints, str]]] = {domain.name: [] for domain in registry}
    for one in nested_lists(tuple(resources(registry).values())):
        found[one.parent.domain.name].append((one.child, one.filter))
    return found


def path(domain: ResourceType, key: Key | str) -> str | None:
    """The page of an object; None for an id that is too long for an address."""
    return f"/{domain.route}/{quote(str(key), safe='')}" if len(str(key)) <= MAX_ID_LENGTH else None


def title(domain: ResourceType, fields: Mapping[str, Any], key: Key) -> str:
    """What an object is called: by its name or number, else by its kind and id."""
    if domain.name == "shipments":
        return f"FLEX-{key}"
    if domain.name == "legs" and (fields["origin"] or fields["destination"]):
        return f"{fields['origin'] or '?'} → {fields['destination'] or '?'}"
    named_by = next((fields[name] for name in _NAMES if fields.get(name)), None)
    return str(named_by) if named_by else f"{domain.label.capitalize()} {key}"


def name(domain: ResourceType, fields: Mapping[str, Any], key: Key, limit: int = 80) -> Text:
    """The same, with the address of its page."""
    shown = text(title(domain, fields, key), limit) or Text("?")
    return Text(shown.shown, shown.whole, path(domain, key))


# --- what an object refers to ---


def links(request: web.Request, tx: Transaction, registry: Registry, record: Record) -> Links:
    """The fields that lead to objects that are known, and that the caller may see."""
    found: dict[str, tuple[Text, ...]] = {}
    for field, domain, keys in _references(registry, record):
        records = tx.resources.load(domain.table, keys[:MOST])
        seen = {key for key, one in records.items() if authorization.is_visible(request, tx, domain, one)}
        names = [
            name(domain, records[key].fields, key) if key in seen else (text(str(key), 80) or Text("?"))
            for key in keys[:MOST]
        ]
        more = [Text(f"and {len(keys) - MOST:,} more")] if len(keys) > MOST else []
        found[field] = (*names, *more)
    return found


def _references(registry: Registry, record: Record) -> Iterable[tuple[str, ResourceType, list[Key]]]:
    """(field, the domain that it leads to, the ids in it)."""
    known = {f"{param_name(domain)}_id": domain for domain in registry}
    several = {f"{param_name(domain)}_ids": domain for domain in registry}
    several |= {field: registry[domain] for field, domain in _PLURALS.items()}
    for field, value in record.fields.items():
        domain = known.get(field) or several.get(field)
        if domain is None or value is None:
            continue
        ids = json_or_none(value) if field in several else [value]
        keys = [key for one in ids if (key := domain.parse_id(str(one))) is not None] if isinstance(ids, list) else []
        if keys:
            yield field, domain, keys


# --- what belongs to an object ---


def read(
    request: web.Request,
    tx: Transaction,
    registry: Registry,
    owner: tuple[ResourceType, Key],
    leave_out: Sequence[str] = (),
) -> list[RelatedData]:
    """What belongs to an object, as far as the caller may see it, the newest of each kind first."""
    domain, key = owner
    found = []
    for child, filter_ in _children_by_parent(registry)[domain.name]:
        table = child.definition.table
        if child.domain.name in leave_out or (
            authorization.audience_of(request) is not None and not authorization.is_visible_to_audience(table)
        ):
            continue
        filters = {filter_: (key,), **authorization.list_filters(request, table)}
        rows = tx.resources.page(table, PageRequest(MOST + 1, "as_of", filters=filters))
        if rows:
            found.append(RelatedData(child.domain, filter_, rows))
    return found


def related_groups(found: Iterable[RelatedData], owner: Key, sight: ViewContext) -> tuple[RelatedGroup, ...]:
    """What belongs to an object, in words."""
    return tuple(_related_group(one, owner, sight) for one in found)


def _related_group(found: RelatedData, owner: Key, sight: ViewContext) -> RelatedGroup:
    domain = found.domain
    more = f"/{domain.route}?{found.filter}={quote(str(owner), safe='')}" if len(found.rows) > MOST else None
    rows = tuple(row(domain, one, sight) for one in found.rows[:MOST])
    return RelatedGroup(domain.route, heading(domain), rows, more)


def heading(domain: ResourceType) -> str:
    """`Purchase orders`."""
    words_of = {"invoices": "freight invoices"}
    return words_of.get(domain.name, domain.name.replace("_", " ")).capitalize()


def row(domain: ResourceType, fields: Mapping[str, Any], sight: ViewContext) -> RelatedRow:
    """One object in a list."""
    field = next((one for one in _STATES if fields.get(one)), None)
    value = money(fields.get("total_amount") or fields.get("total_value_amount"),
                  fields.get("total_currency") or fields.get("total_value_currency"))  # fmt: skip
    gone = sight.instant(fields["removed_at"])
    return RelatedRow(
        name(domain, fields, fields["id"], 60),
        text(value_text(fields[field], sight, field), 60) if field else None,
        value,
        f"Deleted at Flexport on {gone.day}" if gone else None,
    )


def record_rows(domain: ResourceType, records: Iterable[Record], sight: ViewContext) -> tuple[RelatedRow, ...]:
    """Records as such rows."""
    return tuple(row(domain, record_row(record), sight) for record in records)
