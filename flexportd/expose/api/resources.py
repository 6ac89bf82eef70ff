"""The routes of every resource: list, object, history, refresh.

Responses with values that depend on the current UTC day (`ResourceType.derived_values`) are not cached.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypedDict

from aiohttp import web

from flexportd.core.history.as_of import AsOfList
from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import FlexportdError, not_found
from flexportd.expose import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document
from flexportd.expose.api.list_endpoint import ListEndpoint, restrict_as_of
from flexportd.expose.api.resource_filters import list_definition
from flexportd.expose.api.shipments import LIST as SHIPMENT_LIST
from flexportd.expose.api.shipments import TABLE as SHIPMENT_TABLE
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CLOCK, DB, READS, UPSTREAM, require_flexport
from flexportd.expose.openapi.parameters import id_param, parse_object_id
from flexportd.expose.openapi.query_params import ListRules, list_params, object_params
from flexportd.expose.openapi.route import API, TAGS, Route
from flexportd.expose.openapi.router import param
from flexportd.expose.openapi.schemas import json_response, page_response, resource_schema
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import codec_of
from flexportd.http.problem_types import UPSTREAM_PROBLEMS
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories import changes
from flexportd.storage.repositories.resources import Record

_NOT_FOUND_AT_FLEXPORT = "flexport-not-found"  # the slug of Flexport's own 404


class ResourceEndpoints:
    """The routes of one resource."""

    def __init__(self, domain: ResourceType, registry: Registry) -> None:
        self.domain = domain
        self.definition = definition = list_definition(domain, registry)
        if domain is shipments.RESOURCE_TYPE:
            self.list, self.table = SHIPMENT_LIST, SHIPMENT_TABLE
            return
        self.table = table = definition.table
        self.list = ListEndpoint(
            rules=definition.rules,
            read=lambda tx, page: tx.resources.page(table, page),
            document=self._document(date.min),  # `view` sets the day if values depend on it
            as_of=lambda tx: tx.resources.newest_as_of(table),
            tags=() if domain.derived_values else definition.tables,
            hidden_sort_columns=tuple(column for column in table.sorts if column not in table.shown),
            as_of_view=lambda at, now: AsOfList(domain, table, at, now),
            authorize=self._authorize,
            csv_table=table if domain.derived_values is None else None,
        )

    async def _authorize(self, request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        return authorization.list_filters(request, self.table)

    def routes(self) -> Iterator[Route]:
        """The routes of this resource."""
        one, several = self.domain.label, self.domain.name.replace("_", " ")
        model, name = resource_schema(self.domain), one.replace(" ", "_")
        route = functools.partial(
            Route,
            tag=self.domain.name if self.domain.name in TAGS else "resources",
            audience_allowed=authorization.is_visible_to_audience(self.domain.table),
        )
        path = f"{API}/{self.domain.route}"
        ids = (id_param(self.domain),)
        yield route(
            method="GET",
            path=path,
            handler=self.index,
            name=f"list_{self.domain.name}",
            summary=f"List {several}, last changed first",
            query=list_params(self.list.rules),
            returns=(page_response(model),),
        )
        yield route(
            method="GET",
            path=f"{path}/{{id}}",
            handler=self.show,
            name=f"get_{name}",
            summary=f"Get a {one}",
            description="Objects removed at Flexport are still returned, with `removed_at`.",
            query=object_params(self.list.rules.fields, INCLUDES),
            returns=(json_response(model, f"The {one}."),),
            path_parameters=ids,
        )
        yield route(
            method="GET",
            path=f"{path}/{{id}}/history",
            handler=self.history,
            name=f"list_{name}_history",
            summary=f"List the changes of a {one}, newest first",
            query=list_params(HISTORY.rules),
            returns=(page_response(ChangeRecord),),
            path_parameters=ids,
        )
        yield route(
            method="POST",
            path=f"{path}/{{id}}/refresh",
            handler=self.refresh,
            name=f"refresh_{name}",
            summary=f"Refresh a {one} from Flexport",
            scope="write",
            query=object_params(self.list.rules.fields, ("raw",), past=False),
            returns=(json_response(model, f"The {one}, with the outcome in `refresh`."),),
            problems=UPSTREAM_PROBLEMS,
            audience_allowed=False,
            path_parameters=ids,
        )

    def view(self, request: web.Request) -> ListEndpoint:
        """The list with the values of the requested day, today or that of `as_of`."""
        if self.domain.derived_values is None:
            return self.list
        at = param(request, "as_of")
        today = request.app[CLOCK].now().date()
        return replace(self.list, document=self._document(today if at is None else date.fromisoformat(at[:10])))

    def _document(self, today: date) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda row: serialize.serialize_resource(self.domain, row, today)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}`."""
        return await restrict_as_of(request, self.view(request), self.table).respond(request)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}`."""
        key = self.key(request)
        await authorization.check_access(request, self.domain, key)

        async def build() -> dict[str, Any]:
            return await object_document(request, self.domain, key)

        tags = () if self.domain.derived_values else ((self.domain.name, key), *self.definition.owners)
        return await respond(request, build, tags)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}/history`: one entry per changed field."""
        key = self.key(request)
        record = await self.record(request, key)
        view = history_view(request, record)
        return await view.respond(request, {"resource": (self.domain.name, str(key))})

    async def refresh(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/{route}/{id}/refresh`; `refresh` is `new`, `changed`, `unchanged` or `removed`."""
        key = self.key(request)
        await authorization.check_access(request, self.domain, key)
        fields, includes = param(request, "fields"), param(request, "include", ())
        try:
            outcome = await require_flexport(request.app[UPSTREAM]).refresh(self.domain, key)
        except FlexportdError as error:
            if error.slug != _NOT_FOUND_AT_FLEXPORT:
                raise
            outcome = "unchanged"  # already removed, or unknown
        record = await self.record(request, key)
        today = request.app[CLOCK].now().date()
        document = serialize.serialize_record(self.domain, record, today, fields, includes) | {"refresh": outcome}
        return serialize.json_document(document)

    def key(self, request: web.Request) -> Key:
        """The id in the path. Raises NotFoundError if it cannot be one."""
        text = request.match_info["id"]
        key = parse_object_id(self.domain, text)
        if key is None:
            raise not_found(f"{self.domain.label} with the id or reference", text)
        return key

    async def record(self, request: web.Request, key: Key) -> Record:
        """The current state of an object. Raises NotFoundError; ForbiddenError if the key may not read the resource."""
        await authorization.check_access(request, self.domain, key)
        record = await request.app[DB].read(lambda tx: request.app[READS].get(tx, self.domain, key))
        if record is None:
            raise not_found(self.domain.label, key)
        return record


def history_view(request: web.Request, record: Record) -> ListEndpoint:
    """The history of an object; for a limited key without the sequence numbers, which count rows of all objects."""
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
        filters=changes.LISTING.filters,
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
    """The endpoints of every resource, by its name."""
    return {domain.name: ResourceEndpoints(domain, registry) for domain in registry}
