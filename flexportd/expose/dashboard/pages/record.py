"""The page of one object of any resource but shipments, and the pages that list objects and changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose.api.exceptions import visible_rows
from flexportd.expose.context import READS, REGISTRY
from flexportd.expose.dashboard.pages.exceptions import ExceptionListRow, shipment_exceptions
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.changes import changes_of, event_types
from flexportd.expose.dashboard.view.dates import DateText, ViewContext, count
from flexportd.expose.dashboard.view.history import ChangeGroup, change_groups, field_words
from flexportd.expose.dashboard.view.labels import SOURCES, Text, json_or_none, text
from flexportd.expose.dashboard.view.related import Links, RelatedData, RelatedGroup, RelatedRow
from flexportd.expose.dashboard.view.values import (
    NamedValues,
    NestedTable,
    ValueGroup,
    facts,
    nested_tables,
    pairs,
    value_group,
    value_text,
)
from flexportd.expose.openapi.query_params import ListRequest
from flexportd.expose.security import authorization
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_CHANGES = 40
_CAUSES = 15

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RecordData:
    """What the store says of one object."""

    domain: ResourceType
    record: Record
    links: Links
    shipment: Text | None
    related: Sequence[RelatedData]
    exceptions: Sequence[ExceptionRow]
    changes: Rows
    types: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Everything the page of one object shows."""

    kind: str
    list_title: str
    list_url: str
    title: Text
    id: Text
    shipment: Text | None
    mark: str | None
    groups: tuple[ValueGroup, ...]
    sheets: tuple[NestedTable, ...]
    related: tuple[RelatedGroup, ...]
    exceptions: tuple[ExceptionListRow, ...]
    causes: tuple[ChangeGroup, ...]
    history_url: str | None
    json_url: str | None
    file_url: str | None
    as_of: DateText | None
    synced: DateText | None
    source: str


def read(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> RecordData:
    """What the caller may see of an object that the caller may see."""
    registry = request.app[REGISTRY]
    changes = changes_of(request, tx, domain, record, _CHANGES)
    return RecordData(
        domain,
        record,
        related.links(request, tx, registry, record),
        _shipment(request, tx, domain, record),
        related.read(request, tx, registry, (domain, record.id)),
        visible_rows(request, tx, tx.exceptions.open_of_object(domain.name, str(record.id))),
        changes,
        event_types(request, tx, {row["event_id"] for row in changes}),
    )


def _shipment(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> Text | None:
    """The shipment that an object belongs to, where that is known."""
    number = authorization.shipment_of(domain, record)
    if number is None:
        return None
    shipments = request.app[REGISTRY]["shipments"]
    known = request.app[READS].get(tx, shipments, number)
    return Text(f"FLEX-{number}", url=None if known is None else f"/shipments/{number}")


def record_page(data: RecordData, sight: ViewContext) -> RecordPage:
    """One object in words."""
    domain, record = data.domain, data.record
    path, gone = related.path(domain, record.id), sight.instant(record.removed_at)
    return RecordPage(
        kind=domain.label.capitalize(),
        list_title=related.heading(domain),
        list_url=f"/{domain.route}",
        title=text(related.title(domain, record.fields, record.id), 120) or Text("?"),
        id=text(str(record.id), 80) or Text("?"),
        shipment=data.shipment,
        mark=f"Deleted at Flexport on {gone.day}" if gone else None,
        groups=_groups(data, sight),
        sheets=nested_tables(record.fields, domain.table.public, sight),
        related=related.related_groups(data.related, record.id, sight),
        exceptions=shipment_exceptions(data.exceptions, sight),
        causes=change_groups([(row, None) for row in data.changes], data.types, sight, domain.name)[:_CAUSES],
        history_url=f"{path}/history" if path else None,
        json_url=f"/api/v1{path}" if path else None,
        file_url=f"/api/v1{path}/file" if path and domain.name == "documents" else None,
        as_of=sight.instant(record.as_of),
        synced=sight.instant(record.synced_at),
        source=SOURCES.get(record.source, record.source),
    )


def _groups(data: RecordData, sight: ViewContext) -> tuple[ValueGroup, ...]:
    domain, fields = data.domain, data.record.fields
    known = {"shipment_ids"} if fields.get("shipment_ids") == f"[{fields.get('shipment_id')}]" else set[str]()
    plain = facts(fields, domain.table.public, data.links, sight, known)
    return (
        *value_group("Details", [*plain, *_derived(domain, fields, sight)]),
        *value_group("Metadata", pairs(json_or_none(fields.get("metadata")), sight)),
    )


def _derived(domain: ResourceType, fields: Mapping[str, Any], sight: ViewContext) -> tuple[NamedValues, ...]:
    """What follows from the fields and the present day."""
    found = {} if domain.derived_values is None else domain.derived_values(fields, sight.now.astimezone(UTC).date())
    told = [(field_words(name), text(value_text(value, sight, name), 200)) for name, value in found.items()]
    return tuple(NamedValues(name, (value,)) for name, value in told if value is not None)


# --- lists ---


@dataclass(frozen=True, slots=True)
class RecordsPage:
    """A list of objects of one resource."""

    title: str
    about: str
    rows: tuple[RelatedRow, ...]
    query: str | None
    next_url: str | None
    first_url: str | None
    json_url: str


def records_page(
    domain: ResourceType,
    rows: Rows,
    asked: tuple[ListRequest, str | None],
    query: Mapping[str, str],
    sight: ViewContext,
) -> RecordsPage:
    """One page of a resource's list in words; `asked` with the cursor of the next page."""
    limit, following = asked[0].page.limit, asked[1]
    shown = tuple(related.row(domain, row, sight) for row in rows[:limit])
    first = {name: value for name, value in query.items() if name != "cursor" and value.strip()}
    return RecordsPage(
        title=related.heading(domain),
        about=f"{'First ' if following else ''}{count(len(shown), 'entry', 'entries')}, most recently updated first",
        rows=shown,
        query=query.get("q", ""),
        next_url=f"/{domain.route}?{urlencode({**first, 'cursor': following})}" if following else None,
        first_url=f"/{domain.route}?{urlencode(first)}".removesuffix("?") if "cursor" in query else None,
        json_url=f"/api/v1/{domain.route}",
    )


def review_page(domain: ResourceType, found: tuple[Sequence[Record], int], sight: ViewContext) -> RecordsPage:
    """The objects that are missing from Flexport's list, which a person has to review, and how many there are."""
    records, total = found
    shown = related.record_rows(domain, records, sight)
    several = f"{'First ' if total > len(shown) else ''}{count(len(shown), 'entry', 'entries')}"
    return RecordsPage(
        title=f"{related.heading(domain)} missing from Flexport's list",
        about=f"{several}. Items that reappear need no action.",
        rows=shown,
        query=None,
        next_url=None,
        first_url="/sync",
        json_url=f"/api/v1/sync/pending-removals?resource={domain.route}",
    )


# --- all changes of one object ---


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of the changes of an object, newest first."""

    kind: str
    title: Text
    causes: tuple[ChangeGroup, ...]
    next_url: str | None
    first_url: str | None
    json_url: str


@dataclass(frozen=True, slots=True)
class HistoryData:
    """The object, one page of its changes, the types of the events behind them, and the cursor of the next page."""

    record: Record
    rows: Rows
    types: Mapping[str, str | None]
    next: str | None


def history_page(domain: ResourceType, data: HistoryData, query: Mapping[str, str], sight: ViewContext) -> HistoryPage:
    """The changes in words."""
    record = data.record
    path = related.path(domain, record.id) or ""
    shown = [(row, None) for row in data.rows]
    return HistoryPage(
        kind=domain.label.capitalize(),
        title=related.name(domain, record.fields, record.id, 120),
        causes=change_groups(shown, data.types, sight, domain.name),
        next_url=f"{path}/history?{urlencode({**query, 'cursor': data.next})}" if data.next else None,
        first_url=f"{path}/history" if "cursor" in query else None,
        json_url=f"/api/v1{path}/history",
    )
