"""Every resource of the registry alike: its list, one object, the history of one, and fetching one anew.

An answer that holds what follows from the present day (`Domain.facts`) is not kept: the day is the one of UTC, and an
answer may not outlive it.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypedDict

import msgspec
from aiohttp import web

from flexportd.core.history.as_of import ListThen
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import Domain
from flexportd.errors import FlexportdError, NotFoundError
from flexportd.expose.api import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document, time_asked
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.api.resource_filters import asking, key_of
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.flexport_interfaces import needed
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import id_of, of_list, of_one
from flexportd.expose.openapi.problem_types import WITH_UPSTREAM
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_of, of_domain, page_of
from flexportd.expose.security import authorization
from flexportd.expose.security.opaque_values import codec_of
from flexportd.http.responses import Answer, EncodedResponse
from flexportd.storage.repositories.resources import Key, Record

_TAGS = {"shipments": "shipments", "documents": "documents"}

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
            then=lambda at, now: ListThen(domain, table, at, now),
            admit=self._admit,
            flat=table if domain.facts is None else None,
        )

    async def _admit(self, request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        return authorization.filters(request, self.asking.table)

    def routes(self) -> Iterator[Route]:
        """The routes of this resource; shipments have a list, a page and a history of their own."""
        path, one = f"/api/v1/{self.domain.route}", self.domain.one
        name, several = one.replace(" ", "_"), self.domain.name.replace("_", " ")
        model, tag = of_domain(self.domain), _TAGS.get(self.domain.name, "resources")
        common: dict[str, Any] = {"tag": tag, "for_audiences": authorization.is_seen(self.domain.table)}
        if self.domain.name != "shipments":
            yield Route(
                method="GET",
                path=path,
                handler=self.index,
                name=f"list_{self.domain.name}",
                summary=f"List {several}, last changed first",
                query=of_list(self.list.rules, past=True),
                returns=(page_of(model),),
                problems=("cursor-expired",),
                **common,
            )
            yield Route(
                method="GET",
                path=f"{path}/{{id}}",
                handler=self.show,
                name=f"get_{name}",
                summary=f"Get a {one}",
                about="Objects removed at Flexport are still returned, with `removed_at`.",
                path_parameters=(id_of(self.domain),),
                query=of_one(self.list.rules.fields, INCLUDES),
                returns=(json_of(model, f"The {one}."),),
                **common,
            )
            yield Route(
                method="GET",
                path=f"{path}/{{id}}/history",
                handler=self.history,
                name=f"list_{name}_history",
                summary=f"Change history of a {one}, newest first",
                path_parameters=(id_of(self.domain),),
                query=of_list(HISTORY.rules),
                returns=(page_of(Change),),
                problems=("cursor-expired",),
                **common,
            )
        yield Route(
            method="POST",
            path=f"{path}/{{id}}/refresh",
            handler=self.refresh,
            name=f"refresh_{name}",
            summary=f"Refresh a {one} from Flexport",
            scope="write",
            path_parameters=(id_of(self.domain),),
            query=of_one(self.list.rules.fields, ("raw",), past=False),
            returns=(json_of(model, f"The {one}; `refresh` is the outcome."),),
            problems=WITH_UPSTREAM,
            tag=tag,
        )

    def view(self, request: web.Request) -> ListView:
        """The list as it is shown on the day that is asked for, today or that of `as_of`. Raises InvalidError."""
        _, at = time_asked(request.query)
        today = request.app[PARTS].clock.now().date()
        return replace(self.list, document=self._document(today if at is None else date.fromisoformat(at[:10])))

    def _document(self, today: date) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda row: serialize.of_domain(self.domain, row, today)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}`, last changed first."""
        return await authorization.own_view(request, self.view(request), self.asking.table).respond(request)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}`; what Flexport no longer has still answers, with `removed_at`."""
        key = self.key(request)
        await authorization.check(request, self.domain, key)

        async def build() -> dict[str, Any]:
            return await object_document(request, self.domain, key, self.list.rules.fields)

        tags = () if self.domain.facts else ((self.domain.name, key), *self.asking.owners)
        return await respond(request, build, tags)

    def _shown(
        self, request: web.Request, record: Record, fields: tuple[str, ...] | None, includes: tuple[str, ...]
    ) -> dict[str, Any]:
        row = serialize.row_of(record, *includes)
        document = serialize.of_domain(self.domain, row, request.app[PARTS].clock.now().date())
        return serialize.only(document, None if fields is None else (*fields, *includes))

    async def history(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}/history`: one entry for each field that changed, newest first."""
        key = self.key(request)
        record = await self.record(request, key)
        view = history_view(request, record)
        return await view.respond(request, {"resource": (self.domain.name, str(key))})

    async def refresh(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/{route}/{id}/refresh`: ask Flexport now; the object, and in `refresh` what that brought.

        `new`, `changed`, `unchanged` or `removed`.
        """
        key = self.key(request)
        await authorization.check(request, self.domain, key)
        fields, includes = query_params.parts_of_one(request.query, self.list.rules.fields)
        try:
            outcome = await needed(request.app[PARTS].upstream).refresh(self.domain, key)
        except FlexportdError as error:
            if error.slug != _GONE_AT_FLEXPORT:
                raise
            outcome = "unchanged"  # it was gone before, or is known nowhere
        record = await self.record(request, key)
        document = self._shown(request, record, fields, includes) | {"refresh": outcome}
        return EncodedResponse(Answer(200, msgspec.json.encode(document)))

    def key(self, request: web.Request) -> Key:
        """The object that the path names. Raises NotFoundError for what none can be called."""
        text = request.match_info["id"]
        found = key_of(self.domain, text)
        if found is None:
            raise NotFoundError(f"there is no {self.domain.one} with the id or reference {text[:50]!r}")
        return found

    async def record(self, request: web.Request, key: Key) -> Record:
        """The newest known state of an object. Raises NotFoundError; ForbiddenError for whoever may see none."""
        parts = request.app[PARTS]
        await authorization.check(request, self.domain, key)
        found = await parts.db.read(lambda tx: parts.mirror.one(tx, self.domain, key))
        if found is None:
            named = repr(key[:50]) if isinstance(key, str) else key
            raise NotFoundError(f"there is no {self.domain.one} {named}")
        return found


def history_view(request: web.Request, record: Record) -> ListView:
    """The history of an object as the asker sees it: the numbers of its rows and of runs count those of all objects."""
    view, codec = replace(HISTORY, as_of=lambda _: record.as_of), codec_of(request)
    if codec is None:
        return view

    def document(row: Mapping[str, Any]) -> dict[str, Any]:
        return serialize.change({**row, "id": codec.number(row["id"]), "run_id": None})

    return replace(view, document=document)


class Change(TypedDict):
    """A changed field and its cause: an event or a sync run."""

    id: int
    field: str
    old: Any
    new: Any
    as_of: str | None
    changed_at: str
    source: str
    event_id: str | None
    run_id: str | None


HISTORY = ListView(
    rules=ListRules(
        sorts={"id": "id"},
        filters={"field": query_params.equals("field")},
        fields=serialize.CHANGE,
    ),
    read=lambda tx, page: tx.changes.page(page),
    document=serialize.change,
    as_of=lambda _: None,
    admit=authorization.of_history,
    written_at="changed_at",
)


@functools.lru_cache(maxsize=8)
def resources(registry: Registry) -> Mapping[str, Resource]:
    """Every resource by the name of its domain."""
    return {domain.name: Resource(domain, registry) for domain in registry}
