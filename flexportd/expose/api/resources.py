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

from flexportd.core.history.as_of import AsOfList
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import FlexportdError, NotFoundError
from flexportd.expose.api import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document, pop_as_of
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.resource_filters import list_definition, parse_object_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CONTEXT
from flexportd.expose.flexport_interfaces import require_flexport
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import id_param, list_params, object_params
from flexportd.expose.openapi.problem_types import UPSTREAM_PROBLEMS
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response, page_response, resource_schema
from flexportd.expose.security import authorization
from flexportd.expose.security.opaque_values import codec_of
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.storage.repositories.resources import Key, Record

_TAGS = {"shipments": "shipments", "documents": "documents"}

_NOT_FOUND_AT_FLEXPORT = "flexport-not-found"  # the slug of Flexport's own 404


class ResourceEndpoints:
    """The routes of one domain."""

    def __init__(self, domain: ResourceType, registry: Registry) -> None:
        self.domain = domain
        self.definition = found = list_definition(domain, registry)
        table = found.table
        self.list = ListEndpoint(
            rules=found.rules,
            read=lambda tx, page: tx.resources.page(table, page),
            document=dict,
            as_of=lambda tx: tx.resources.newest_as_of(table),
            tags=() if domain.derived_values else found.tables,
            hidden_sort_columns=tuple(column for column in table.sorts if column not in table.shown),
            as_of_view=lambda at, now: AsOfList(domain, table, at, now),
            authorize=self._authorize,
            csv_table=table if domain.derived_values is None else None,
        )

    async def _authorize(self, request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        return authorization.list_filters(request, self.definition.table)

    def routes(self) -> Iterator[Route]:
        """The routes of this resource; shipments have a list, a page and a history of their own."""
        path, one = f"/api/v1/{self.domain.route}", self.domain.label
        name, several = one.replace(" ", "_"), self.domain.name.replace("_", " ")
        model, tag = resource_schema(self.domain), _TAGS.get(self.domain.name, "resources")
        common: dict[str, Any] = {
            "tag": tag,
            "audience_allowed": authorization.is_visible_to_audience(self.domain.table),
        }
        if self.domain.name != "shipments":
            yield Route(
                method="GET",
                path=path,
                handler=self.index,
                name=f"list_{self.domain.name}",
                summary=f"List {several}, last changed first",
                query=list_params(self.list.rules, past=True),
                returns=(page_response(model),),
                problems=("cursor-expired",),
                **common,
            )
            yield Route(
                method="GET",
                path=f"{path}/{{id}}",
                handler=self.show,
                name=f"get_{name}",
                summary=f"Get a {one}",
                description="Objects removed at Flexport are still returned, with `removed_at`.",
                path_parameters=(id_param(self.domain),),
                query=object_params(self.list.rules.fields, INCLUDES),
                returns=(json_response(model, f"The {one}."),),
                **common,
            )
            yield Route(
                method="GET",
                path=f"{path}/{{id}}/history",
                handler=self.history,
                name=f"list_{name}_history",
                summary=f"Change history of a {one}, newest first",
                path_parameters=(id_param(self.domain),),
                query=list_params(HISTORY.rules),
                returns=(page_response(ChangeRecord),),
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
            path_parameters=(id_param(self.domain),),
            query=object_params(self.list.rules.fields, ("raw",), past=False),
            returns=(json_response(model, f"The {one}; `refresh` is the outcome."),),
            problems=UPSTREAM_PROBLEMS,
            tag=tag,
        )

    def view(self, request: web.Request) -> ListEndpoint:
        """The list as it is shown on the day that is asked for, today or that of `as_of`. Raises InvalidError."""
        _, at = pop_as_of(request.query)
        today = request.app[CONTEXT].clock.now().date()
        return replace(self.list, document=self._document(today if at is None else date.fromisoformat(at[:10])))

    def _document(self, today: date) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda row: serialize.serialize_resource(self.domain, row, today)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}`, last changed first."""
        return await authorization.restrict_as_of(request, self.view(request), self.definition.table).respond(request)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}`; what Flexport no longer has still answers, with `removed_at`."""
        key = self.key(request)
        await authorization.check_access(request, self.domain, key)

        async def build() -> dict[str, Any]:
            return await object_document(request, self.domain, key, self.list.rules.fields)

        tags = () if self.domain.derived_values else ((self.domain.name, key), *self.definition.owners)
        return await respond(request, build, tags)

    def _serialize(
        self, request: web.Request, record: Record, fields: tuple[str, ...] | None, includes: tuple[str, ...]
    ) -> dict[str, Any]:
        row = serialize.record_row(record, *includes)
        document = serialize.serialize_resource(self.domain, row, request.app[CONTEXT].clock.now().date())
        return serialize.select_fields(document, None if fields is None else (*fields, *includes))

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
        await authorization.check_access(request, self.domain, key)
        fields, includes = query_params.parse_selection(request.query, self.list.rules.fields)
        try:
            outcome = await require_flexport(request.app[CONTEXT].upstream).refresh(self.domain, key)
        except FlexportdError as error:
            if error.slug != _NOT_FOUND_AT_FLEXPORT:
                raise
            outcome = "unchanged"  # it was gone before, or is known nowhere
        record = await self.record(request, key)
        document = self._serialize(request, record, fields, includes) | {"refresh": outcome}
        return PreparedStreamResponse(PreparedResponse(200, msgspec.json.encode(document)))

    def key(self, request: web.Request) -> Key:
        """The object that the path names. Raises NotFoundError for what none can be called."""
        text = request.match_info["id"]
        found = parse_object_id(self.domain, text)
        if found is None:
            raise NotFoundError(f"there is no {self.domain.label} with the id or reference {text[:50]!r}")
        return found

    async def record(self, request: web.Request, key: Key) -> Record:
        """The newest known state of an object. Raises NotFoundError; ForbiddenError for whoever may see none."""
        parts = request.app[CONTEXT]
        await authorization.check_access(request, self.domain, key)
        found = await parts.db.read(lambda tx: parts.reads.get(tx, self.domain, key))
        if found is None:
            named = repr(key[:50]) if isinstance(key, str) else key
            raise NotFoundError(f"there is no {self.domain.label} {named}")
        return found


def history_view(request: web.Request, record: Record) -> ListEndpoint:
    """The history of an object as the asker sees it: the numbers of its rows and of runs count those of all objects."""
    view, codec = replace(HISTORY, as_of=lambda _: record.as_of), codec_of(request)
    if codec is None:
        return view

    def document(row: Mapping[str, Any]) -> dict[str, Any]:
        return serialize.serialize_change({**row, "id": codec.encode_number(row["id"]), "run_id": None})

    return replace(view, document=document)


class ChangeRecord(TypedDict):
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


HISTORY = ListEndpoint(
    rules=ListRules(
        sorts={"id": "id"},
        filters={"field": query_params.equals("field")},
        fields=serialize.CHANGE_FIELDS,
    ),
    read=lambda tx, page: tx.changes.page(page),
    document=serialize.serialize_change,
    as_of=lambda _: None,
    authorize=authorization.authorize_history,
    written_at="changed_at",
)


@functools.lru_cache(maxsize=8)
def resources(registry: Registry) -> Mapping[str, ResourceEndpoints]:
    """Every resource by the name of its domain."""
    return {domain.name: ResourceEndpoints(domain, registry) for domain in registry}
