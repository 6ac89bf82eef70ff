"""Lists: one page of a table as the document `{"data": [...], "next": cursor, "as_of": time}`."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web
from multidict import MultiMapping

from flexportd.core.history.as_of import AsOfList, check_filters, check_includes
from flexportd.expose.cached_response import EncodedPage, encode_page, respond
from flexportd.expose.context import CLOCK, DB, DISPLAY, QUERY
from flexportd.expose.feeds.export import ROWS_AT_ONCE, CsvRowWriter, Export, send_export
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import MAX_CURSOR, check_words
from flexportd.expose.openapi.query_params import Cursor, ListRequest, ListRules
from flexportd.expose.openapi.router import list_route
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import OpaqueCodec, codec_of, deny_list
from flexportd.expose.security.authorization import check_includes as check_own_includes
from flexportd.expose.serialize import select_fields, serialize_fields
from flexportd.storage.database import Database
from flexportd.storage.queries.filters import Filter
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.stable_pagination import SnapshotPages
from flexportd.storage.queries.table import Table
from flexportd.storage.transaction import Transaction

AsOfListFactory = Callable[[str, str], AsOfList]
"""(as_of, now) -> the list at that time."""

ReadPage = Callable[[Transaction, PageRequest], list[dict[str, Any]]]

Filters = Mapping[str, Sequence[Any]]

Authorize = Callable[[web.Request, Filters], Awaitable[Filters]]
"""(request, its filters) -> further filters, which limit the list to what the caller may see.

Raises ForbiddenError, NotFoundError."""

_snapshot_pages: WeakKeyDictionary[Database, SnapshotPages] = WeakKeyDictionary()


@dataclass(frozen=True)
class ListEndpoint:
    """One list: how it is read, limited and shown."""

    rules: ListRules
    read: ReadPage
    document: Callable[[Mapping[str, Any]], dict[str, Any]]
    as_of: Callable[[Transaction], str | None]
    tags: tuple[Hashable, ...] = ()
    key: str = "id"
    hidden_sort_columns: tuple[str, ...] = ()  # sort columns that are not in the documents
    uncacheable_filters: tuple[str, ...] = ()  # filters with which a response is not cached
    as_of_view: AsOfListFactory | None = None  # the list as of an earlier time, if it has one
    authorize: Authorize = deny_list  # for keys that are limited to some shipments
    written_at: str | None = None  # the column with our time of a row; for lists without stable pagination
    csv_table: Table | None = None  # its columns are those of the CSV

    @classmethod
    def of(
        cls, model: type, sorts: Mapping[str, str], filters: Mapping[str, Filter], *, read: ReadPage, **options: Any
    ) -> "ListEndpoint":
        """A list of documents of this type, as of the newest event; `options`: fields of ListRules and this class."""
        names = {one.name for one in fields(cls)}
        own: dict[str, Any] = {
            "document": functools.partial(serialize_fields, model),
            "as_of": lambda tx: tx.events.newest()[0],
        }
        own |= {name: value for name, value in options.items() if name in names}
        rules = {name: value for name, value in options.items() if name not in names}
        return cls(rules=ListRules(sorts, filters, tuple(model.__annotations__), **rules), read=read, **own)

    def declare(self, path: str, item: type, name: str, summary: str, order: str = "newest first") -> None:
        """Declare the route of this list. `item` is the model of a row, `name` the operation id."""
        list_route(path, self.rules, item, order, name=name, summary=summary)(self.respond)

    async def respond(self, request: web.Request, always: Filters | None = None) -> web.StreamResponse:
        """Respond to the request; `always` are filters that the path sets."""
        params = await authorized_request(request, request[QUERY], self, always)
        page = params.page
        extra = ("raw",) if "raw" in params.includes else ()
        page = replace(page, extra=(*extra, *(name for name in self.hidden_sort_columns if name == page.sort)))
        params = replace(params, page=page)
        if self.as_of_view is None or params.as_of is None:
            return await self.respond_to(request, params)
        check_includes(params.includes)
        past = self.as_of_view(params.as_of, request.app[CLOCK].stamp())
        try:
            check_filters(past.table, page.filters)
            if params.output_format != "json":
                await request.app[DB].read(past.prepare)  # before the response begins
            view = replace(self, read=past.read, as_of=past.as_of)
            return await view.respond_to(request, params)
        finally:
            await asyncio.to_thread(past.close)  # it may be on disk, and a read may be in progress

    async def respond_to(self, request: web.Request, params: ListRequest) -> web.StreamResponse:
        """This page of the list, or an export of every page from here on."""
        db = request.app[DB]
        if params.output_format != "json":
            columns = (*(params.fields or tuple(self.rules.fields)), *params.includes)
            export = Export(params.output_format, columns, params.bom)
            return await send_export(request, export, self._export_chunks(db, params, export))

        is_cached = not any(name in params.page.filters for name in self.uncacheable_filters)
        return await respond(
            request, lambda: db.read(lambda tx: self._encode_page(tx, params)), self.tags if is_cached else ()
        )

    async def _export_chunks(self, db: Database, params: ListRequest, export: Export) -> AsyncGenerator[bytes, None]:
        """Every page from here on, each read in a snapshot of its own and encoded where it was read."""
        table = self.csv_table if export.output_format == "csv" else None
        csv_rows = None if table is None else CsvRowWriter(table, export.columns)

        def read(tx: Transaction, page: PageRequest) -> tuple[bytes, Cursor | None]:
            rows = self.read(tx, page)
            shown = rows[: page.limit]
            end = params.next_cursor(shown[-1], self.key) if len(rows) > page.limit else None
            if csv_rows is not None:
                return csv_rows.encode(shown), end
            return export.encode([self.document(row) for row in shown]), end

        left, page = params.row_limit, params.page
        while left is None or left > 0:
            size = ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)
            chunk, end = await db.read(functools.partial(read, page=replace(page, limit=size)))
            yield chunk
            if end is None:
                return
            page = replace(page, after=(end.value, end.key), since=end.since)
            left = None if left is None else left - size

    def _encode_page(self, tx: Transaction, params: ListRequest) -> EncodedPage:
        rows = self.read(tx, params.page)
        as_of = self.as_of(tx) or None
        more = params.encode_next_cursor(tx, rows, self.key)
        names = None if params.fields is None else (*params.fields, *params.includes)
        shown = rows[: params.page.limit]
        return encode_page((select_fields(self.document(row), names) for row in shown), more, as_of)


async def authorized_request(
    request: web.Request, values: Mapping[str, Any], view: ListEndpoint, always: Filters | None = None
) -> ListRequest:
    """The request with these values of the list's parameters, limited to what the caller may see.

    The cursors of a key that is limited to some shipments are encrypted: they have numbers that count the rows of all.
    Raises InvalidError, ExpiredError, ForbiddenError, NotFoundError.
    """
    codec = codec_of(request)
    decrypt = None if codec is None else functools.partial(_decrypt_cursor, codec)
    params = ListRequest.of(values, view.rules, request.app[DISPLAY], decrypt)
    check_own_includes(request, params.includes)
    filters = {**params.page.filters, **(always or {})}
    filters |= await view.authorize(request, filters)
    params = await bind_cursor(request, replace(params, page=replace(params.page, filters=filters)))
    return params if codec is None else replace(params, written_at=view.written_at, encrypt_cursor=codec.encode)


async def authorized_params(
    request: web.Request, query: MultiMapping[str], view: ListEndpoint, always: Filters | None = None
) -> ListRequest:
    """The request of a page of the dashboard for a list, limited to what the caller may see."""
    return await authorized_request(request, view.rules.parse(query), view, always)


async def bind_cursor(request: web.Request, params: ListRequest) -> ListRequest:
    """The request in a stable order, its cursors bound to it. Raises InvalidError for unknown words and cursors."""
    filters, resource = params.page.filters, request.match_info.route.resource
    path = request.path if resource is None else resource.canonical
    await check_words(request, params.unknown_words, filters, params.as_of)
    binding = query_params.cursor_binding(path, {**filters, "as_of": (params.as_of,)})
    since, db = None, request.app[DB]
    if params.cursor is not None:
        query_params.check_binding(params.cursor, binding)
        await query_params.check_origin(db, params.cursor)
        since = params.cursor.since
    snapshots = _snapshot_pages.setdefault(db, SnapshotPages())
    return replace(params, binding=binding, page=replace(params.page, since=since, snapshots=snapshots))


def _decrypt_cursor(codec: OpaqueCodec, encrypted: str) -> str:
    """The cursor as the list made it. Raises InvalidError for one that was not given to this key."""
    cursor = codec.decode(encrypted) if len(encrypted) <= MAX_CURSOR else None
    if cursor is None:
        raise query_params.invalid_cursor()
    return cursor


def restrict_as_of(request: web.Request, endpoint: ListEndpoint, table: Table) -> ListEndpoint:
    """The list of a table for this caller: its `as_of` is that of the newest state among the rows it may see."""
    audience = authorization.audience_of(request)
    if audience is None or not authorization.is_visible_to_audience(table):
        return endpoint
    filters = authorization.list_filters(request, table) if "as_of" not in request.query else {}
    return replace(endpoint, as_of=lambda tx: tx.resources.newest_as_of_filtered(table, filters))
