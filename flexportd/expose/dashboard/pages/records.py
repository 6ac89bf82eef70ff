"""The pages of the objects of any resource: the list, one object, its history, and the pending removals of a list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web
from multidict import MultiDict

from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import NotFoundError
from flexportd.expose.api.exceptions import visible_rows
from flexportd.expose.api.list_endpoint import authorized_params
from flexportd.expose.api.resources import HISTORY, ResourceEndpoints, resources
from flexportd.expose.api.shipments import current_record
from flexportd.expose.context import READS, REGISTRY
from flexportd.expose.dashboard.page import ListPageQuery, Page, PageTable, no_query
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext, object_exceptions
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.history import change_groups, field_words
from flexportd.expose.dashboard.view.labels import SOURCES, Text, json_or_none, page_url, text
from flexportd.expose.dashboard.view.operations import ObjectWrites, read_writes, writes_view
from flexportd.expose.dashboard.view.related import Links, RelatedData
from flexportd.expose.dashboard.view.values import (
    NamedValues,
    facts,
    named_values,
    nested_tables,
    pairs,
    value_group,
    value_text,
)
from flexportd.expose.openapi import query_params
from flexportd.expose.security import authorization
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_CHANGES = 40
_CAUSES = 15
_MAX_REVIEW = 200

Rows = Sequence[Mapping[str, Any]]


def record_pages(registry: Registry) -> PageTable:
    """The pages of every resource."""
    table = PageTable("sync")
    for endpoints in resources(registry).values():
        pages, path = RecordPages(endpoints), f"/{endpoints.domain.route}"
        section, is_shipment = endpoints.domain.route, endpoints.domain.name == "shipments"
        visible = authorization.is_visible_to_audience(endpoints.domain.table)
        one, history = f"{path}/{{id:[^/]+}}", f"{path}/{{id:[^/]+}}/history"
        if not is_shipment:
            index = Page("records.html", section, pages.query_list, pages.read_list, records_page)
            table.add(path, index, for_audiences=visible)
            show = Page("record.html", section, pages.query, pages.read, record_page, is_cached=lambda _: True)
            table.add(one, show, for_audiences=visible)
        changes = Page("history.html", section, pages.query_history, pages.read_history, history_page)
        table.add(history, changes, for_audiences=visible)
    review = Page("records.html", "sync", _query_review, read_review, review_page)
    table.add("/sync/pending-removals/{route}", review)
    return table


class RecordPages:
    """What the pages of one resource look up."""

    def __init__(self, endpoints: ResourceEndpoints) -> None:
        self._endpoints = endpoints
        self._domain = endpoints.domain

    async def query_list(self, request: web.Request) -> ListPageQuery:
        """`/{route}`: with the filters of the API's list."""
        rules = self._endpoints.list.rules
        sent = query_params.parse_unique(request.query, ("limit", "cursor", "sort", *rules.public_filters))
        filters = MultiDict({name: value for name, value in sent.items() if value.strip()})
        return ListPageQuery(sent, await authorized_params(request, filters, self._endpoints.list))

    def read_list(self, tx: Transaction, _request: web.Request, query: ListPageQuery) -> "ListData":
        """One page of the list."""
        rows = tx.resources.page(self._endpoints.definition.table, query.params.page)
        return ListData(self._domain, query, rows, query.params.encode_next_cursor(tx, rows))

    async def query(self, request: web.Request) -> Record:
        """`/{route}/{id}`."""
        record = await current_record(request, self._domain)
        await no_query(request)
        return record

    async def query_history(self, request: web.Request) -> tuple[Record, ListPageQuery]:
        """`/{route}/{id}/history`."""
        record = await current_record(request, self._domain)
        sent = query_params.parse_unique(request.query, ("limit", "cursor"))
        always = {"resource": (self._domain.name, str(record.id))}
        return record, ListPageQuery(sent, await authorized_params(request, MultiDict(sent), HISTORY, always))

    def read(self, tx: Transaction, request: web.Request, known: Record) -> "RecordData":
        """What the caller may see of the object."""
        record, domain, registry = self._visible(tx, request, known), self._domain, request.app[REGISTRY]
        changes = related.changes_of(request, tx, domain, record, _CHANGES)
        return RecordData(
            domain,
            record,
            related.links(request, tx, registry, record),
            _shipment(request, tx, domain, record),
            related.read(request, tx, registry, (domain, record.id)),
            visible_rows(request, tx, tx.exceptions.open_of_objects(domain.name, [record.id])),
            changes,
            related.event_types(request, tx, {row["event_id"] for row in changes}),
            {} if domain.related_values is None else domain.related_values(tx, [record.fields])[0],
            read_writes(tx, request, domain, record),
        )

    def read_history(
        self, tx: Transaction, request: web.Request, record_query: tuple[Record, ListPageQuery]
    ) -> "HistoryData":
        """One page of all changes, newest first."""
        record, query = record_query
        self._visible(tx, request, record)
        rows = tx.changes.page(query.params.page)
        shown = rows[: query.params.page.limit]
        types = related.event_types(request, tx, {row["event_id"] for row in shown})
        following = query.params.encode_next_cursor(tx, rows)
        return HistoryData(self._domain, record, shown, types, following, query.sent)

    def _visible(self, tx: Transaction, request: web.Request, known: Record) -> Record:
        """The object in the snapshot of the page: it may have changed since the request was authorized."""
        record = request.app[READS].get(tx, self._domain, known.id)
        if record is None or not authorization.is_visible(request, tx, self._domain, record):
            raise NotFoundError(f"there is no {self._domain.label} {request.match_info['id'][:50]!r}")
        return record


class RecordData(NamedTuple):
    """One object, with what refers to it and what it refers to."""

    domain: ResourceType
    record: Record
    links: Links
    shipment: Text | None
    related: Sequence[RelatedData]
    exceptions: Sequence[ExceptionRow]
    changes: Rows
    types: Mapping[str, str | None]
    related_values: Mapping[str, Any] = {}  # of other objects, for the derived values
    writes: ObjectWrites = ObjectWrites()


def _shipment(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> Text | None:
    number = authorization.shipment_of(domain, record)
    if number is None:
        return None
    app = request.app
    shipment = app[READS].get(tx, app[REGISTRY]["shipments"], number)
    return Text(f"FLEX-{number}", url=None if shipment is None else f"/shipments/{number}")


def record_page(data: RecordData, context: PageContext) -> SimpleNamespace:
    """One object."""
    domain, record, view = data.domain, data.record, context.view
    path = related.path(domain, record.id)
    return SimpleNamespace(
        kind=domain.label.capitalize(),
        list_title=related.heading(domain),
        list_url=f"/{domain.route}",
        title=text(related.title(domain, record.fields, record.id), 120) or Text("?"),
        id=text(str(record.id), 80) or Text("?"),
        shipment=data.shipment,
        mark=related.removed_mark(record.removed_at, view),
        groups=_groups(data, view),
        tables=nested_tables(record.fields, domain.table.public, view),
        related=related.related_groups(data.related, record.id, view),
        exceptions=object_exceptions(data.exceptions, view),
        causes=change_groups([(row, None) for row in data.changes], data.types, view, domain.name)[:_CAUSES],
        history_url=f"{path}/history" if path else None,
        json_url=f"/api/v1{path}" if path else None,
        file_url=f"/api/v1{path}/file" if path and domain.name == "documents" else None,
        writes=writes_view(data.writes, view),
        as_of=view.instant(record.as_of),
        synced=view.instant(record.synced_at),
        source=SOURCES.get(record.source, record.source),
    )


def _groups(data: RecordData, view: ViewContext) -> tuple[SimpleNamespace, ...]:
    domain, fields = data.domain, data.record.fields
    hidden = {"shipment_ids"} if fields.get("shipment_ids") == f"[{fields.get('shipment_id')}]" else set[str]()
    plain = facts(fields, domain.table.public, data.links, view, hidden)
    return (
        *value_group("Details", [*plain, *_derived(domain, {**fields, **data.related_values}, view)]),
        *value_group("Metadata", pairs(json_or_none(fields.get("metadata")), view)),
    )


def _derived(domain: ResourceType, fields: Mapping[str, Any], view: ViewContext) -> list[NamedValues]:
    if domain.derived_values is None:
        return []
    derived = domain.derived_values(fields, view.now.astimezone(UTC).date()).items()
    return named_values((field_words(name), text(value_text(value, view, name), 200)) for name, value in derived)


class ListData(NamedTuple):
    """One page of a list, one row more than is shown if there is a next page, with its cursor."""

    domain: ResourceType
    query: ListPageQuery
    rows: Rows
    next: str | None


def records_page(data: ListData, context: PageContext) -> SimpleNamespace:
    """One page of the list of a resource."""
    domain, sent, path = data.domain, data.query.sent, f"/{data.domain.route}"
    rows = tuple(related.row(domain, row, context.view) for row in data.rows[: data.query.params.page.limit])
    return SimpleNamespace(
        title=related.heading(domain),
        summary=f"{_entries(rows, more=data.next is not None)}, most recently updated first",
        rows=rows,
        search=sent.get("q", ""),
        next_url=page_url(path, sent, cursor=data.next) if data.next else None,
        first_url=page_url(path, sent, cursor="") if "cursor" in sent else None,
        json_url=f"/api/v1{path}",
    )


def _entries(rows: Sequence[SimpleNamespace], *, more: bool) -> str:
    return f"{'First ' if more else ''}{count(len(rows), 'entry', 'entries')}"


class ReviewData(NamedTuple):
    """The objects that are missing from Flexport's list, the first of them, and how many there are."""

    domain: ResourceType
    records: Sequence[Record]
    total: int


async def _query_review(request: web.Request) -> ResourceType:
    await no_query(request)
    name = request.match_info["route"]
    for domain in request.app[REGISTRY]:
        if domain.route == name:
            return domain
    raise NotFoundError(f"there is no list {name[:50]!r}")


def read_review(tx: Transaction, _request: web.Request, domain: ResourceType) -> ReviewData:
    """The pending removals of one list."""
    keys = tx.sync.held_keys(domain.name, _MAX_REVIEW)
    records = tx.resources.load(domain.table, keys)
    total = tx.sync.held_counts().get(domain.name, (0, ""))[0]
    return ReviewData(domain, [records[key] for key in keys if key in records], total)


def review_page(data: ReviewData, context: PageContext) -> SimpleNamespace:
    """The objects whose removal a person has to confirm."""
    domain, rows = data.domain, related.record_rows(data.domain, data.records, context.view)
    return SimpleNamespace(
        title=f"{related.heading(domain)} missing from Flexport's list",
        summary=f"{_entries(rows, more=data.total > len(rows))}. Items that reappear need no action.",
        rows=rows,
        search=None,
        next_url=None,
        first_url="/sync",
        json_url=f"/api/v1/sync/pending-removals?resource={domain.route}",
    )


@dataclass(frozen=True, slots=True)
class HistoryData:
    """One page of the changes of an object, the types of their events, and the cursor of the next page."""

    domain: ResourceType
    record: Record
    rows: Rows
    types: Mapping[str, str | None]
    next: str | None
    sent: Mapping[str, str] = field(default_factory=dict)


def history_page(data: HistoryData, context: PageContext) -> SimpleNamespace:
    """One page of the changes of an object, newest first."""
    domain, record = data.domain, data.record
    path = related.path(domain, record.id) or ""
    return SimpleNamespace(
        kind=domain.label.capitalize(),
        title=related.name(domain, record.fields, record.id, 120),
        causes=change_groups([(row, None) for row in data.rows], data.types, context.view, domain.name),
        next_url=page_url(f"{path}/history", data.sent, cursor=data.next) if data.next else None,
        first_url=f"{path}/history" if "cursor" in data.sent else None,
        json_url=f"/api/v1{path}/history",
    )
