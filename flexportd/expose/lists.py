"""Lists: one page of a table as the document `{"data": [...], "next": cursor, "as_of": time}`."""

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from flexportd.core.past import check_includes
from flexportd.expose.documents import only
from flexportd.expose.export import ROWS_AT_ONCE, stream
from flexportd.expose.parameters import Asked, ListRules, asked, cursor
from flexportd.expose.parts import PARTS
from flexportd.expose.past import Then, remembered, time_asked
from flexportd.expose.responding import respond
from flexportd.storage.database import Database
from flexportd.storage.listing import Page
from flexportd.storage.session import Session

Rows = list[dict[str, Any]]


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
    then: Then | None = None  # the list as it was, where it can be told

    async def respond(self, request: web.Request, always: Mapping[str, Any] | None = None) -> web.StreamResponse:
        """Answer the request; `always` are filters that the path sets."""
        parts = request.app[PARTS]
        query, at = (request.query, None) if self.then is None else time_asked(request.query)
        wanted = asked(query, self.rules, parts.shown)
        page = replace(wanted.page, filters={**wanted.page.filters, **(always or {})})
        extra = ("raw",) if "raw" in wanted.includes else ()
        page = replace(page, extra=(*extra, *(name for name in self.unshown if name == page.sort)))
        if self.then is None or at is None:
            return await self.answer(request, wanted, page)
        check_includes(wanted.includes)
        async with remembered(parts, self.then, at) as then:
            if wanted.form != "json":
                await parts.db.read(then.ready)  # before an answer begins
            return await replace(self, read=then.read, as_of=then.as_of).answer(request, wanted, page)

    async def answer(self, request: web.Request, wanted: Asked, page: Page) -> web.StreamResponse:
        """This page of the list, in the form asked for."""
        parts = request.app[PARTS]
        if wanted.form != "json":
            columns = wanted.fields or tuple(self.rules.fields)
            pages = self._pages(parts.db, wanted, page)
            return await stream(request, wanted.form, (*columns, *wanted.includes), pages)

        async def build() -> dict[str, Any]:
            rows, as_of = await parts.db.read(lambda tx: (self.read(tx, page), self.as_of(tx)))
            return self._document(wanted, rows, as_of)

        return await respond(request, build, self.tags)

    async def _pages(self, db: Database, wanted: Asked, page: Page) -> AsyncIterator[Rows]:
        """Every page from here on, each read in a snapshot of its own."""
        left = wanted.most
        while left is None or left > 0:
            size = ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)
            page = replace(page, limit=size)
            rows = await db.read(self._reading(page))
            yield [self._shown(wanted, row) for row in rows[:size]]
            if len(rows) <= size:
                return
            page = replace(page, after=(rows[size - 1][page.sort], rows[size - 1][self.key]))
            left = None if left is None else left - size

    def _reading(self, page: Page) -> Callable[[Session], Rows]:
        return lambda tx: self.read(tx, page)

    def _shown(self, wanted: Asked, row: Mapping[str, Any]) -> dict[str, Any]:
        fields = None if wanted.fields is None else (*wanted.fields, *wanted.includes)
        return only(self.document(row), fields)

    def _document(self, wanted: Asked, rows: Rows, as_of: str | None) -> dict[str, Any]:
        limit, more = wanted.page.limit, None
        if len(rows) > limit:
            last = rows[limit - 1]
            more = cursor(wanted, last[wanted.page.sort], last[self.key])
        data = [self._shown(wanted, row) for row in rows[:limit]]
        return {"data": data, "next": more, "as_of": as_of}
