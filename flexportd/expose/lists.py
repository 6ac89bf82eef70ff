"""Lists: one page of a table as the document `{"data": [...], "next": cursor, "as_of": time}`."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from flexportd.expose.documents import only
from flexportd.expose.parameters import Asked, ListRules, asked, cursor
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond
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

    async def respond(self, request: web.Request, always: Mapping[str, Any] | None = None) -> web.StreamResponse:
        """Answer the request; `always` are filters that the path sets."""
        parts = request.app[PARTS]
        wanted = asked(request.query, self.rules, parts.shown)
        page = replace(wanted.page, filters={**wanted.page.filters, **(always or {})})
        extra = ("raw",) if "raw" in wanted.includes else ()
        page = replace(page, extra=(*extra, *(name for name in self.unshown if name == page.sort)))

        async def build() -> dict[str, Any]:
            rows, as_of = await parts.db.read(lambda tx: (self.read(tx, page), self.as_of(tx)))
            return self._document(wanted, rows, as_of)

        return await respond(request, build, self.tags)

    def _document(self, wanted: Asked, rows: Rows, as_of: str | None) -> dict[str, Any]:
        limit, more = wanted.page.limit, None
        if len(rows) > limit:
            last = rows[limit - 1]
            more = cursor(wanted, last[wanted.page.sort], last[self.key])
        data = [only(self.document(row), wanted.fields) for row in rows[:limit]]
        return {"data": data, "next": more, "as_of": as_of}
