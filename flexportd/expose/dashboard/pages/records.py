"""Routes and handlers of the pages of single objects, events, exceptions and dead letters, and of lists of objects."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from flexportd.core.history.provenance import trace_event
from flexportd.core.resources.registry import Registry
from flexportd.errors import NotFoundError
from flexportd.escape import escape_control
from flexportd.expose.api.dead_letters import detail, item_id
from flexportd.expose.api.exceptions import load_visible, public_id
from flexportd.expose.api.list_endpoint import authorized_params
from flexportd.expose.api.resources import HISTORY, ResourceEndpoints, resources
from flexportd.expose.cached_response import respond
from flexportd.expose.context import READS, REGISTRY
from flexportd.expose.dashboard.page_handler import cached_page, html_errors, page
from flexportd.expose.dashboard.pages import details, record
from flexportd.expose.dashboard.pages.exceptions import names_of
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.changes import event_types
from flexportd.expose.dashboard.view.labels import Text, event_url
from flexportd.expose.openapi import query_params
from flexportd.expose.security import authorization
from flexportd.http.responses import HTML
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_MAX_REVIEW = 200


def add_routes(app: web.Application) -> None:
    """The pages of every resource, and of what is about them."""
    for resource in resources(app[REGISTRY]).values():
        pages, domain = RecordPages(resource), resource.domain
        seen = authorization.is_visible_to_audience(domain.table)
        path, section = f"/{domain.route}", "shipments" if domain.name == "shipments" else domain.route
        if domain.name != "shipments":
            app.router.add_get(path, html_errors(section, pages.index, for_audiences=seen))
            app.router.add_get(f"{path}/{{id:[^/]+}}", html_errors(section, pages.show, for_audiences=seen))
        app.router.add_get(f"{path}/{{id:[^/]+}}/history", html_errors(section, pages.history, for_audiences=seen))
    app.router.add_get("/exceptions/{id}", html_errors("exceptions", _exception, for_audiences=True))
    app.router.add_get("/events/{id:[^/]+}", html_errors("events", _event))
    app.router.add_get("/queue/dead-letters/{id}", html_errors("queue", _dead_letter))
    app.router.add_get("/sync/pending-removals/{route}", html_errors("sync", _review))


class RecordPages:
    """The pages of one resource."""

    def __init__(self, resource: ResourceEndpoints) -> None:
        self._resource = resource
        self._domain = resource.domain

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /{route}`: the objects, last updated first, with the filters of the API's list."""
        rules = self._resource.list.rules
        query = query_params.parse_unique(request.query, ("limit", "cursor", "sort", *rules.public_filters))
        given = MultiDict({name: value for name, value in query.items() if value.strip()})
        asked = await authorized_params(request, given, self._resource.list)

        def read(tx: Transaction) -> tuple[Sequence[Mapping[str, Any]], str | None]:
            rows = tx.resources.page(self._resource.definition.table, asked.page)
            return rows, asked.encode_next_cursor(tx, rows)

        def model(found: tuple[Sequence[Mapping[str, Any]], str | None], look: PageContext) -> record.RecordsPage:
            return record.records_page(self._domain, found[0], (asked, found[1]), query, look.view)

        async def build() -> bytes:
            return await page(request, "records.html", read, model)

        return await respond(request, build, (), HTML)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /{route}/{id}`."""
        known = await self._record(request)
        query_params.parse_unique(request.query, ())

        def read(tx: Transaction) -> record.RecordData:
            return record.read(request, tx, self._domain, self._load_visible(request, tx, known))

        async def build() -> bytes:
            return await page(request, "record.html", read, lambda data, look: record.record_page(data, look.view))

        return await respond(request, cached_page(request, build), (), HTML)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """`GET /{route}/{id}/history`: every change, newest first."""
        known = await self._record(request)
        query = query_params.parse_unique(request.query, ("limit", "cursor"))
        always = {"resource": (self._domain.name, str(known.id))}
        asked = await authorized_params(request, MultiDict(query), HISTORY, always)

        def read(tx: Transaction) -> record.HistoryData:
            self._load_visible(request, tx, known)
            rows = tx.changes.page(asked.page)
            shown = rows[: asked.page.limit]
            types = event_types(request, tx, {row["event_id"] for row in shown})
            return record.HistoryData(known, shown, types, asked.encode_next_cursor(tx, rows))

        def model(data: record.HistoryData, look: PageContext) -> record.HistoryPage:
            return record.history_page(self._domain, data, query, look.view)

        async def build() -> bytes:
            return await page(request, "history.html", read, model)

        return await respond(request, build, (), HTML)

    async def _record(self, request: web.Request) -> Record:
        return await self._resource.record(request, self._resource.key(request))

    def _load_visible(self, request: web.Request, tx: Transaction, known: Record) -> Record:
        """The object in the snapshot of the page: it may have become another's since the request was let in."""
        found = request.app[READS].get(tx, self._domain, known.id)
        if found is None or not authorization.is_visible(request, tx, self._domain, found):
            raise NotFoundError(f"there is no {self._domain.label} {request.match_info['id'][:50]!r}")
        return found


async def _exception(request: web.Request) -> web.StreamResponse:
    """`GET /exceptions/{id}`."""
    query_params.parse_unique(request.query, ())

    def read(tx: Transaction) -> tuple[ExceptionRow, dict[int, str | None]]:
        row = load_visible(request, tx)
        shown = msgspec.structs.replace(row, id=public_id(request, row.id))
        return shown, names_of(tx, set() if row.shipment_id is None else {row.shipment_id})

    def model(found: tuple[ExceptionRow, dict[int, str | None]], look: PageContext) -> details.ExceptionPage:
        return details.exception_page(*found, look.view)

    async def build() -> bytes:
        return await page(request, "exception_page.html", read, model)

    return await respond(request, build, (), HTML)


async def _event(request: web.Request) -> web.StreamResponse:
    """`GET /events/{id}`: what it was, and what became of it."""
    registry, event_id = request.app[REGISTRY], request.match_info["id"]
    query_params.parse_unique(request.query, ())

    def read(tx: Transaction) -> details.EventData:
        row, steps = trace_event(tx, registry, event_id)
        links = _links(tx, registry, row)
        item = tx.items.of_event(row["seq"])
        if item is not None and item[1] == "dead":
            links["Dead letter"] = Text(str(item[0]), url=f"/queue/dead-letters/{item[0]}")
        return details.EventData(row, steps, links)

    async def build() -> bytes:
        return await page(request, "event.html", read, lambda data, look: details.event_page(data, look.view))

    return await respond(request, build, (), HTML)


def _links(tx: Transaction, registry: Registry, row: Mapping[str, Any]) -> dict[str, Text]:
    """The pages of the shipment and the object of an event, those that are known here."""
    shipment, domain = registry["shipments"], registry.of_object(row["resource"] or "")
    named = [(shipment, row["shipment_id"]), (domain, row["resource_id"])]
    found: dict[str, Text] = {}
    for kind, text in named:
        key = kind.parse_id(str(text)) if kind is not None and text is not None else None
        known = tx.resources.load(kind.table, (key,)).get(key) if kind is not None and key is not None else None
        if kind is not None and known is not None:
            found[kind.label.capitalize()] = related.name(kind, known.fields, known.id)
    return found


async def _dead_letter(request: web.Request) -> web.StreamResponse:
    """`GET /queue/dead-letters/{id}`: what failed, and every attempt."""
    registry, number = request.app[REGISTRY], item_id(request)
    query_params.parse_unique(request.query, ())

    def read(tx: Transaction) -> tuple[dict[str, Any], dict[str, Text]]:
        document = detail(tx, number)
        event = tx.events.by_id(document["event_id"]) if document["event_id"] else None
        if event is None:
            return document, {}
        name = Text(escape_control(event["id"], 80), url=event_url(event["id"]))
        return document, {"Event": name, **_links(tx, registry, event)}

    async def build() -> bytes:
        return await page(
            request, "dead_letter.html", read, lambda found, look: details.dead_letter_page(found, look.view)
        )

    return await respond(request, build, (), HTML)


async def _review(request: web.Request) -> web.StreamResponse:
    """`GET /sync/pending-removals/{route}`: the objects that are missing from Flexport's list of this resource."""
    name = request.match_info["route"]
    query_params.parse_unique(request.query, ())
    domain = next((one for one in request.app[REGISTRY] if one.route == name), None)
    if domain is None:
        raise NotFoundError(f"there is no list {name[:50]!r}")

    def read(tx: Transaction) -> tuple[list[Record], int]:
        keys = tx.sync.held_keys(domain.name, _MAX_REVIEW)
        found = tx.resources.load(domain.table, keys)
        return [found[key] for key in keys if key in found], tx.sync.held_counts().get(domain.name, (0, ""))[0]

    async def build() -> bytes:
        return await page(
            request, "records.html", read, lambda found, look: record.review_page(domain, found, look.view)
        )

    return await respond(request, build, (), HTML)
