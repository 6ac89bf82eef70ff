"""Every resource of the registry alike: its list, one object, the history of one, and fetching one anew.

An answer that holds what follows from the present day (`Domain.facts`) is not kept: the day is the one of UTC, and an
answer may not outlive it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
from aiohttp import web

from flexportd.answers import Answer, EncodedResponse
from flexportd.core.domain import Domain
from flexportd.core.registry import Registry
from flexportd.errors import FlexportdError, NotFoundError
from flexportd.expose import documents, parameters
from flexportd.expose.api.filters import asking, key_of
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.expose.parts import PARTS
from flexportd.expose.past import object_document
from flexportd.expose.responding import respond
from flexportd.expose.upstream import needed
from flexportd.storage.resources import Key, Record

ID = "{id:[^/]+}"
"""An id in a route: it may hold anything, a slash as %2F."""

_GONE_AT_FLEXPORT = "flexport-not-found"  # the slug of Flexport's own 404


class Resource:
    """The routes of one domain."""

    def __init__(self, domain: Domain, registry: Registry) -> None:
        self.domain = domain
        self.asking = found = asking(domain, registry)
        table = found.table
        self.list = ListView(
            rules=found.rules,
            read=lambda tx, page: tx.resources.page(table, page),
            document=dict,
            as_of=lambda tx: tx.resources.newest_as_of(table),
            tags=() if domain.facts else found.tables,
            unshown=tuple(column for column in table.sorts if column not in table.shown),
        )

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Serve this resource; shipments have a list, a page and a history of their own."""
        path = f"{prefix}/{self.domain.route}"
        if self.domain.name != "shipments":
            router.add_get(path, self.index)
            router.add_get(f"{path}/{ID}", self.show)
            router.add_get(f"{path}/{ID}/history", self.history)
        router.add_post(f"{path}/{ID}/refresh", self.refresh)

    def view(self, today: date) -> ListView:
        """The list as it is shown on this day."""
        return replace(self.list, document=self._document(today))

    def _document(self, today: date) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda row: documents.of_domain(self.domain, row, today)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}`, last changed first."""
        return await self.view(request.app[PARTS].clock.now().date()).respond(request)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}`; what Flexport no longer has still answers, with `removed_at`."""
        key = self.key(request)

        async def build() -> dict[str, Any]:
            return await object_document(request, self.domain, key, self.list.rules.fields)

        tags = () if self.domain.facts else ((self.domain.name, key), *self.asking.owners)
        return await respond(request, build, tags)

    def _shown(
        self, request: web.Request, record: Record, fields: tuple[str, ...] | None, includes: tuple[str, ...]
    ) -> dict[str, Any]:
        row = documents.row_of(record, *includes)
        document = documents.of_domain(self.domain, row, request.app[PARTS].clock.now().date())
        return documents.only(document, None if fields is None else (*fields, *includes))

    async def history(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}/history`: one entry for each field that changed, newest first."""
        key = self.key(request)
        record = await self.record(request, key)
        view = replace(HISTORY, as_of=lambda _: record.as_of)
        return await view.respond(request, {"resource": (self.domain.name, str(key))})

    async def refresh(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/{route}/{id}/refresh`: ask Flexport now; the object, and in `refresh` what that brought.

        `new`, `changed`, `unchanged` or `removed`.
        """
        key = self.key(request)
        fields, includes = parameters.parts_of_one(request.query, self.list.rules.fields)
        try:
            outcome = await needed(request.app[PARTS].upstream).refresh(self.domain, key)
        except FlexportdError as error:
            if error.slug != _GONE_AT_FLEXPORT:
                raise
            outcome = "unchanged"  # it was gone before, or is known nowhere
        record = await self.record(request, key)
        document = self._shown(request, record, fields, includes) | {"refresh": outcome}
        return EncodedResponse(Answer(200, msgspec.json.encode(document), cache_control="no-store"))

    def key(self, request: web.Request) -> Key:
        """The object that the path names. Raises NotFoundError for what none can be called."""
        text = request.match_info["id"]
        found = key_of(self.domain, text)
        if found is None:
            why = ": their ids are whole numbers" if self.domain.ids == "integer" else ""
            raise NotFoundError(f"there is no {self.domain.one} {text[:50]!r}{why}")
        return found

    async def record(self, request: web.Request, key: Key) -> Record:
        """The newest known state of an object. Raises NotFoundError."""
        parts = request.app[PARTS]
        found = await parts.db.read(lambda tx: parts.mirror.one(tx, self.domain, key))
        if found is None:
            named = repr(key[:50]) if isinstance(key, str) else key
            raise NotFoundError(f"there is no {self.domain.one} {named}")
        return found


HISTORY = ListView(
    rules=ListRules(
        sorts={"id": "id"},
        filters={"field": parameters.equals("field")},
        fields=documents.CHANGE,
    ),
    read=lambda tx, page: tx.changes.page(page),
    document=documents.change,
    as_of=lambda _: None,
)
