"""Related objects: what an object refers to and what belongs to it, with links to their pages; its changes."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web

from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.expose.api.resources import ResourceEndpoints, nested_lists, param_name, resources
from flexportd.expose.dashboard.view.dates import ViewContext
from flexportd.expose.dashboard.view.labels import Text, and_more, json_or_none, text
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
"""Field -> the names of the objects that it refers to, with links."""


class RelatedData(NamedTuple):
    """The same as stored; one row more than is shown if there are more."""

    domain: ResourceType
    filter: str
    rows: Sequence[Mapping[str, Any]]


@functools.lru_cache(maxsize=8)
def _children_by_parent(registry: Registry) -> Mapping[str, Sequence[tuple[ResourceEndpoints, str]]]:
    """Resource -> (a resource whose objects belong to it, the filter for them)."""
    children: dict[str, list[tuple[ResourceEndpoints, str]]] = {domain.name: [] for domain in registry}
    for nested in nested_lists(tuple(resources(registry).values())):
        children[nested.parent.domain.name].append((nested.child, nested.filter))
    return children


def path(domain: ResourceType, key: Key | str) -> str | None:
    """The page of an object; None for an id that is too long for a URL."""
    return f"/{domain.route}/{quote(str(key), safe='')}" if len(str(key)) <= MAX_ID_LENGTH else None


def title(domain: ResourceType, fields: Mapping[str, Any], key: Key) -> str:
    """The name or number of an object, else its kind and id."""
    if domain.name == "shipments":
        return f"FLEX-{key}"
    if domain.name == "legs" and (fields["origin"] or fields["destination"]):
        return f"{fields['origin'] or '?'} → {fields['destination'] or '?'}"
    named_by = next((fields[name] for name in _NAMES if fields.get(name)), None)
    return str(named_by) if named_by else f"{domain.label.capitalize()} {key}"


def name(domain: ResourceType, fields: Mapping[str, Any], key: Key, limit: int = 80) -> Text:
    """The same, linked to its page."""
    shown = text(title(domain, fields, key), limit) or Text("?")
    return Text(shown.shown, shown.whole, path(domain, key))


def removed_mark(removed_at: str | None, view: ViewContext) -> str | None:
    """`Deleted at Flexport on 20 Nov`."""
    at = view.instant(removed_at)
    return f"Deleted at Flexport on {at.day}" if at else None


def changes_of(
    request: web.Request, tx: Transaction, domain: ResourceType, record: Record, most: int
) -> list[dict[str, Any]]:
    """The newest changes of an object that the caller may see."""
    filters = {"resource": (domain.name, str(record.id)), **authorization.history_filters(request, tx, domain, record)}
    return tx.changes.page(PageRequest(most, "id", filters=filters))[:most]


def event_types(request: web.Request, tx: Transaction, ids: Iterable[str | None]) -> dict[str, str | None]:
    """The types of these events, as far as they are stored and visible to the caller."""
    events = [event for event_id in ids if event_id and (event := tx.events.by_id(event_id)) is not None]
    return {event["id"]: event["type"] for event in authorization.visible_events(request, events)}


def links(request: web.Request, tx: Transaction, registry: Registry, record: Record) -> Links:
    """The references to other objects; linked where the object is stored and visible to the caller."""
    names_by_field: dict[str, tuple[Text, ...]] = {}
    for field, domain, keys in _references(registry, record):
        records = tx.resources.load(domain.table, keys[:MOST])
        visible = {key for key, record in records.items() if authorization.is_visible(request, tx, domain, record)}
        names = [
            name(domain, records[key].fields, key) if key in visible else (text(str(key), 80) or Text("?"))
            for key in keys[:MOST]
        ]
        names_by_field[field] = and_more(names, len(keys) - MOST)
    return names_by_field


def _references(registry: Registry, record: Record) -> Iterable[tuple[str, ResourceType, list[Key]]]:
    """(field, the resource that it refers to, the ids in it)."""
    known = {f"{param_name(domain)}_id": domain for domain in registry}
    several = {f"{param_name(domain)}_ids": domain for domain in registry}
    several |= {field: registry[domain] for field, domain in _PLURALS.items()}
    for field, value in record.fields.items():
        domain = known.get(field) or several.get(field)
        if domain is None or value is None:
            continue
        ids = json_or_none(value) if field in several else [value]
        keys = [key for each in ids if (key := domain.parse_id(str(each))) is not None] if isinstance(ids, list) else []
        if keys:
            yield field, domain, keys


def event_links(tx: Transaction, registry: Registry, row: Mapping[str, Any]) -> dict[str, Text]:
    """The pages of the shipment and the object of an event, as far as they are stored here."""
    shipment, domain = registry["shipments"], registry.of_object(row["resource"] or "")
    links: dict[str, Text] = {}
    for kind, reference in ((shipment, row["shipment_id"]), (domain, row["resource_id"])):
        key = kind.parse_id(str(reference)) if kind is not None and reference is not None else None
        record = tx.resources.load(kind.table, (key,)).get(key) if kind is not None and key is not None else None
        if kind is not None and record is not None:
            links[kind.label.capitalize()] = name(kind, record.fields, record.id)
    return links


def read(
    request: web.Request,
    tx: Transaction,
    registry: Registry,
    owner: tuple[ResourceType, Key],
    leave_out: Sequence[str] = (),
) -> list[RelatedData]:
    """The objects that belong to another one, as far as the caller may see them, newest first."""
    domain, key = owner
    groups = []
    for child, filter_ in _children_by_parent(registry)[domain.name]:
        table = child.definition.table
        if child.domain.name in leave_out or (
            authorization.audience_of(request) is not None and not authorization.is_visible_to_audience(table)
        ):
            continue
        filters = {filter_: (key,), **authorization.list_filters(request, table)}
        rows = tx.resources.page(table, PageRequest(MOST + 1, "as_of", filters=filters))
        if rows:
            groups.append(RelatedData(child.domain, filter_, rows))
    return groups


def related_groups(groups: Iterable[RelatedData], owner: Key, view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The same for the template."""
    return tuple(
        SimpleNamespace(
            kind=data.domain.route,
            title=heading(data.domain),
            rows=tuple(row(data.domain, fields, view) for fields in data.rows[:MOST]),
            all_url=f"/{data.domain.route}?{data.filter}={quote(str(owner), safe='')}"
            if len(data.rows) > MOST
            else None,
        )
        for data in groups
    )


def heading(domain: ResourceType) -> str:
    """`Purchase orders`."""
    words_of = {"invoices": "freight invoices"}
    return words_of.get(domain.name, domain.name.replace("_", " ")).capitalize()


def row(domain: ResourceType, fields: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    """One object in a list."""
    state = next((field for field in _STATES if fields.get(field)), None)
    amount = fields.get("total_amount") or fields.get("total_value_amount")
    currency = fields.get("total_currency") or fields.get("total_value_currency")
    return SimpleNamespace(
        name=name(domain, fields, fields["id"], 60),
        state=text(value_text(fields[state], view, state), 60) if state else None,
        value=money(amount, currency),
        mark=removed_mark(fields["removed_at"], view),
    )


def record_rows(domain: ResourceType, records: Iterable[Record], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The same of records."""
    return tuple(row(domain, record_row(record), view) for record in records)
