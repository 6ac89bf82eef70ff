"""Lists: one page of a table as the document `{"data": [...], "next": cursor, "as_of": time}`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web
from multidict import MultiDict, MultiMapping

from flexportd.core.history.as_of import check_filters, check_includes
from flexportd.expose import cursors
from flexportd.expose.api.as_of import AsOfListFactory, open_as_of, pop_as_of
from flexportd.expose.cached_response import EncodedPage, encode_page, respond
from flexportd.expose.context import CONTEXT
from flexportd.expose.cursors import Cursor
from flexportd.expose.feeds.csv_rows import CsvRowWriter
from flexportd.expose.feeds.export import ROWS_AT_ONCE, Export, send_export
from flexportd.expose.openapi.enum_values import check_words
from flexportd.expose.openapi.query_params import ListParams, ListRules, parse_list_params
from flexportd.expose.security.authorization import check_includes as check_own_includes
from flexportd.expose.security.authorization import deny_list
from flexportd.expose.security.opaque_values import OpaqueCodec, codec_of
from flexportd.expose.serialize import select_fields
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.stable_pagination import SnapshotPages
from flexportd.storage.repositories.resources import Table
from flexportd.storage.transaction import Transaction

Rows = list[dict[str, Any]]

Filters = Mapping[str, Sequence[Any]]

Authorize = Callable[[web.Request, Filters], Awaitable[Filters]]
"""(request, the filters that the path sets) -> what must be asked besides, so that one sees what one may see.

Raises ForbiddenError, NotFoundError."""

_snapshot_pages: WeakKeyDictionary[Database, SnapshotPages] = WeakKeyDictionary()


@dataclass(frozen=True)
class ListEndpoint:
    """How one list is read and shown."""

    rules: ListRules
    read: Callable[[Transaction, PageRequest], Rows]
    document: Callable[[Mapping[str, Any]], dict[str, Any]]
    as_of: Callable[[Transaction], str | None]
    tags: tuple[Hashable, ...] = ()
    key: str = "id"
    hidden_sort_columns: tuple[str, ...] = ()  # columns to sort by that no document shows
    uncacheable_filters: tuple[str, ...] = ()  # filters with which an answer is not kept
    as_of_view: AsOfListFactory | None = None  # the list as it was, where it can be told
    authorize: Authorize = deny_list  # whoever sees some shipments only
    written_at: str | None = None  # the column with our time of a row; for lists that are not walked
    csv_table: Table | None = None  # whose rows its documents are, part by part

    async def respond(self, request: web.Request, always: Filters | None = None) -> web.StreamResponse:
        """Answer the request; `always` are filters that the path sets."""
        parts = request.app[CONTEXT]
        query, at = (request.query, None) if self.as_of_view is None else pop_as_of(request.query)
        wanted = await authorized_params(request, query, self, always, at)
        page = wanted.page
        extra = ("raw",) if "raw" in wanted.includes else ()
        page = replace(page, extra=(*extra, *(name for name in self.hidden_sort_columns if name == page.sort)))
        reading = ListRequest(self, replace(wanted, page=page))
        if self.as_of_view is None or at is None:
            return await reading.respond(request)
        check_includes(wanted.includes)
        async with open_as_of(parts, self.as_of_view, at) as then:
            check_filters(then.table, page.filters)
            if wanted.output_format != "json":
                await parts.db.read(then.prepare)  # before an answer begins
            past = replace(self, read=then.read, as_of=then.as_of)
            return await replace(reading, view=past).respond(request)


@dataclass(frozen=True)
class ListRequest:
    """One reading of a list, as it was asked for."""

    view: ListEndpoint
    params: ListParams

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """This page of the list, in the form asked for."""
        parts, wanted, view = request.app[CONTEXT], self.params, self.view
        if wanted.output_format != "json":
            columns = (*(wanted.fields or tuple(view.rules.fields)), *wanted.includes)
            export = Export(wanted.output_format, columns, wanted.bom)
            return await send_export(request, export, self._export_chunks(parts.db, export))

        async def build() -> EncodedPage:
            return await parts.db.read(self._encode_page)

        kept = not any(name in wanted.page.filters for name in view.uncacheable_filters)
        return await respond(request, build, view.tags if kept else ())

    async def _export_chunks(self, db: Database, export: Export) -> AsyncGenerator[bytes, None]:
        """Every page from here on, each read in a snapshot of its own and written where it was read."""
        left, page = self.params.row_limit, self.params.page
        while left is None or left > 0:
            size = ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)
            piece, end = await db.read(self._chunk_writer(replace(page, limit=size), export))
            yield piece
            if end is None:
                return
            page = replace(page, after=(end.value, end.key), since=end.since)
            left = None if left is None else left - size

    def _chunk_writer(self, page: PageRequest, export: Export) -> Callable[[Transaction], tuple[bytes, Cursor | None]]:
        table = self.view.csv_table if export.output_format == "csv" else None
        flat = None if table is None else CsvRowWriter(table, export.columns)

        def work(tx: Transaction) -> tuple[bytes, Cursor | None]:
            rows = self.view.read(tx, page)
            shown = rows[: page.limit]
            end = self.params.next_cursor(shown[-1], self.view.key) if len(rows) > page.limit else None
            if flat is not None:
                return flat.encode(shown), end
            return export.encode([self.view.document(row) for row in shown]), end

        return work

    def _encode_page(self, tx: Transaction) -> EncodedPage:
        wanted, limit = self.params, self.params.page.limit
        rows = self.view.read(tx, wanted.page)
        as_of = self.view.as_of(tx) or None
        more = wanted.encode_next_cursor(tx, rows, self.view.key)
        fields = None if wanted.fields is None else (*wanted.fields, *wanted.includes)
        return encode_page((select_fields(self.view.document(row), fields) for row in rows[:limit]), more, as_of)


async def authorized_params(
    request: web.Request,
    query: MultiMapping[str],
    view: ListEndpoint,
    always: Filters | None = None,
    at: str | None = None,
) -> ListParams:
    """A list as these parameters ask for it, limited to what the caller may see, in the API and on pages.

    The cursors of a key that sees some shipments only are encrypted: they hold numbers that count the rows of all.
    Raises InvalidError, ExpiredError, ForbiddenError, NotFoundError.
    """
    codec = codec_of(request)
    wanted = parse_list_params(
        query if codec is None else _decrypt_cursor(query, codec), view.rules, request.app[CONTEXT].display
    )
    check_own_includes(request, wanted.includes)
    allowed = await view.authorize(request, always or {})
    filters = {**wanted.page.filters, **(always or {}), **allowed}
    wanted = await bind_cursor(request, replace(wanted, page=replace(wanted.page, filters=filters)), at)
    return wanted if codec is None else replace(wanted, written_at=view.written_at, encrypt_cursor=codec.encode)


async def bind_cursor(request: web.Request, wanted: ListParams, at: str | None = None) -> ListParams:
    """A list whose cursors are bound to it, its filters and the time of which it tells, walked as it lay at first.

    Raises InvalidError for a word of a filter that nobody knows, and for a cursor that is bound to something else, or
    comes from another history of the database.
    """
    await check_words(request, wanted.unknown_words, wanted.page.filters, at)
    mark = cursors.binding(_route_path(request), {**wanted.page.filters, "as_of": (at,)})
    if wanted.cursor is not None:
        cursors.check_binding(wanted.cursor, mark)
        await cursors.check_origin(request.app[CONTEXT].db, wanted.cursor)
    since = None if wanted.cursor is None else wanted.cursor.since
    walks = _snapshot_pages.setdefault(request.app[CONTEXT].db, SnapshotPages())
    return replace(wanted, binding=mark, page=replace(wanted.page, since=since, snapshots=walks))


def _decrypt_cursor(query: MultiMapping[str], codec: OpaqueCodec) -> MultiMapping[str]:
    """The parameters with the cursor as the list made it. Raises InvalidError for one that this key was not given."""
    found = query.getall("cursor", [])
    if len(found) != 1:
        return query
    text = codec.decode(found[0]) if len(found[0]) <= cursors.MAX_CURSOR else None
    if text is None:
        raise cursors.invalid_cursor()
    given = MultiDict(query)
    given["cursor"] = text
    return given


def _route_path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical
