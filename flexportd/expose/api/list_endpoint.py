"""Lists: one page of a table as the document `{"data": [...], "next": cursor, "as_of": time}`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web
from multidict import MultiDict, MultiMapping

from flexportd.core.history.as_of import check_filters, check_includes
from flexportd.expose import cursors
from flexportd.expose.api.as_of import Then, remembered, time_asked
from flexportd.expose.api.serialize import only
from flexportd.expose.cached_response import Listed, listed, respond
from flexportd.expose.context import PARTS
from flexportd.expose.cursors import Cursor
from flexportd.expose.feeds.csv_rows import Flat
from flexportd.expose.feeds.export import ROWS_AT_ONCE, Export, stream
from flexportd.expose.openapi.enum_values import prove
from flexportd.expose.openapi.query_params import Asked, ListRules, asked
from flexportd.expose.security.authorization import check_includes as check_own_includes
from flexportd.expose.security.authorization import refused
from flexportd.expose.security.opaque_values import OpaqueCodec, codec_of
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import Page
from flexportd.storage.queries.stable_pagination import Walks
from flexportd.storage.repositories.resources import Table
from flexportd.storage.transaction import Session

Rows = list[dict[str, Any]]

Filters = Mapping[str, Sequence[Any]]

Admit = Callable[[web.Request, Filters], Awaitable[Filters]]
"""(request, the filters that the path sets) -> what must be asked besides, so that one sees what one may see.

Raises ForbiddenError, NotFoundError."""

_walks: WeakKeyDictionary[Database, Walks] = WeakKeyDictionary()


@dataclass(frozen=True)
class ListView:
    """How one list is read and shown."""

    rules: ListRules
    read: Callable[[Session, Page], Rows]
    document: Callable[[Mapping[str, Any]], dict[str, Any]]
    as_of: Callable[[Session], str | None]
    tags: tuple[Hashable, ...] = ()
    key: str = "id"
    unshown: tuple[str, ...] = ()  # columns to sort by that no document shows
    unkept: tuple[str, ...] = ()  # filters with which an answer is not kept
    then: Then | None = None  # the list as it was, where it can be told
    admit: Admit = refused  # whoever sees some shipments only
    written_at: str | None = None  # the column with our time of a row; for lists that are not walked
    flat: Table | None = None  # whose rows its documents are, part by part

    async def respond(self, request: web.Request, always: Filters | None = None) -> web.StreamResponse:
        """Answer the request; `always` are filters that the path sets."""
        parts = request.app[PARTS]
        query, at = (request.query, None) if self.then is None else time_asked(request.query)
        wanted = await list_request(request, query, self, always, at)
        page = wanted.page
        extra = ("raw",) if "raw" in wanted.includes else ()
        page = replace(page, extra=(*extra, *(name for name in self.unshown if name == page.sort)))
        reading = Reading(self, replace(wanted, page=page))
        if self.then is None or at is None:
            return await reading.answer(request)
        check_includes(wanted.includes)
        async with remembered(parts, self.then, at) as then:
            check_filters(then.table, page.filters)
            if wanted.form != "json":
                await parts.db.read(then.ready)  # before an answer begins
            past = replace(self, read=then.read, as_of=then.as_of)
            return await replace(reading, view=past).answer(request)


@dataclass(frozen=True)
class Reading:
    """One reading of a list, as it was asked for."""

    view: ListView
    wanted: Asked

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """This page of the list, in the form asked for."""
        parts, wanted, view = request.app[PARTS], self.wanted, self.view
        if wanted.form != "json":
            columns = (*(wanted.fields or tuple(view.rules.fields)), *wanted.includes)
            export = Export(wanted.form, columns, wanted.bom)
            return await stream(request, export, self._pieces(parts.db, export))

        async def build() -> Listed:
            return await parts.db.read(self._listed)

        kept = not any(name in wanted.page.filters for name in view.unkept)
        return await respond(request, build, view.tags if kept else ())

    async def _pieces(self, db: Database, export: Export) -> AsyncGenerator[bytes, None]:
        """Every page from here on, each read in a snapshot of its own and written where it was read."""
        left, page = self.wanted.most, self.wanted.page
        while left is None or left > 0:
            size = ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)
            piece, end = await db.read(self._writing(replace(page, limit=size), export))
            yield piece
            if end is None:
                return
            page = replace(page, after=(end.value, end.key), since=end.since)
            left = None if left is None else left - size

    def _writing(self, page: Page, export: Export) -> Callable[[Session], tuple[bytes, Cursor | None]]:
        table = self.view.flat if export.form == "csv" else None
        flat = None if table is None else Flat(table, export.columns)

        def work(tx: Session) -> tuple[bytes, Cursor | None]:
            rows = self.view.read(tx, page)
            shown = rows[: page.limit]
            end = self.wanted.behind(shown[-1], self.view.key) if len(rows) > page.limit else None
            if flat is not None:
                return flat.encode(shown), end
            return export.encode([self.view.document(row) for row in shown]), end

        return work

    def _listed(self, tx: Session) -> Listed:
        wanted, limit = self.wanted, self.wanted.page.limit
        rows = self.view.read(tx, wanted.page)
        as_of = self.view.as_of(tx) or None
        more = wanted.next(tx, rows, self.view.key)
        fields = None if wanted.fields is None else (*wanted.fields, *wanted.includes)
        return listed((only(self.view.document(row), fields) for row in rows[:limit]), more, as_of)


async def list_request(
    request: web.Request,
    query: MultiMapping[str],
    view: ListView,
    always: Filters | None = None,
    at: str | None = None,
) -> Asked:
    """A list as these parameters ask for it, limited to what the caller may see, in the API and on pages.

    The cursors of a key that sees some shipments only are encrypted: they hold numbers that count the rows of all.
    Raises InvalidError, ExpiredError, ForbiddenError, NotFoundError.
    """
    codec = codec_of(request)
    wanted = asked(query if codec is None else _with_cursor(query, codec), view.rules, request.app[PARTS].shown)
    check_own_includes(request, wanted.includes)
    allowed = await view.admit(request, always or {})
    filters = {**wanted.page.filters, **(always or {}), **allowed}
    wanted = await bound(request, replace(wanted, page=replace(wanted.page, filters=filters)), at)
    return wanted if codec is None else replace(wanted, written_at=view.written_at, seal=codec.encode)


async def bound(request: web.Request, wanted: Asked, at: str | None = None) -> Asked:
    """A list whose cursors are bound to it, its filters and the time of which it tells, walked as it lay at first.

    Raises InvalidError for a word of a filter that nobody knows, and for a cursor that is bound to something else, or
    comes from another history of the database.
    """
    await prove(request, wanted.unproven, wanted.page.filters, at)
    mark = cursors.binding(_place(request), {**wanted.page.filters, "as_of": (at,)})
    if wanted.begin is not None:
        cursors.check(wanted.begin, mark)
        await cursors.check_origin(request.app[PARTS].db, wanted.begin)
    since = None if wanted.begin is None else wanted.begin.since
    walks = _walks.setdefault(request.app[PARTS].db, Walks())
    return replace(wanted, bound=mark, page=replace(wanted.page, since=since, walks=walks))


def _with_cursor(query: MultiMapping[str], codec: OpaqueCodec) -> MultiMapping[str]:
    """The parameters with the cursor as the list made it. Raises InvalidError for one that this key was not given."""
    found = query.getall("cursor", [])
    if len(found) != 1:
        return query
    text = codec.decode(found[0]) if len(found[0]) <= cursors.MAX_CURSOR else None
    if text is None:
        raise cursors.unknown()
    given = MultiDict(query)
    given["cursor"] = text
    return given


def _place(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical
