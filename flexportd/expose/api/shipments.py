"""Shipments: the list, one, and what belongs to one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.exceptions.model import KINDS
from flexportd.core.exceptions.rules import HIDDEN_KINDS
from flexportd.core.history.as_of import AsOfList
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.query import use_index
from flexportd.core.timeline import TimelineEntry, timeline
from flexportd.errors import ForbiddenError, NotFoundError
from flexportd.expose import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document
from flexportd.expose.api.list_endpoint import ListEndpoint, restrict_as_of
from flexportd.expose.api.resource_filters import REMOVED
from flexportd.expose.api.resources import HISTORY, ChangeRecord, history_view
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, READS
from flexportd.expose.openapi.enum_values import column_vocabulary
from flexportd.expose.openapi.parameters import id_param
from flexportd.expose.openapi.query_params import ListRules, list_params, object_params
from flexportd.expose.openapi.route import Handler, Route
from flexportd.expose.openapi.router import param
from flexportd.expose.openapi.schemas import json_response, list_schema, page_response, resource_schema
from flexportd.expose.security import authorization
from flexportd.storage.queries.table import Table
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

TABLE = replace(shipments.TABLE, filters={**shipments.TABLE.filters, "removed": REMOVED})

STATUSES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "status", "status")
MODES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "mode", "mode")

# Whose changes show in what is told of a shipment: these may move without it.
_RELATED = ("legs", "containers", "container_legs")


def _document(row: Mapping[str, Any], table: Table = TABLE) -> dict[str, Any]:
    document = serialize.serialize_row(table, row)
    if "raw" in row:
        document["raw"] = serialize.raw_json(row["raw"])
    return document


async def _authorize(request: web.Request, filters: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    kinds = msgspec.json.decode(filters["exception"][0]) if "exception" in filters else ()
    if authorization.audience_of(request) is not None and HIDDEN_KINDS.intersection(kinds):
        raise ForbiddenError(f"{', '.join(sorted(HIDDEN_KINDS))} are not available to a key limited to some shipments.")
    return authorization.list_filters(request, TABLE)


LIST = ListEndpoint(
    rules=ListRules(
        sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
        filters={**TABLE.filters, "exception": replace(TABLE.filters["exception"], choices=KINDS)},
        fields=serialize.field_names(TABLE),
        includes=("raw",),
        vocabularies={"status": STATUSES, "mode": MODES},
        past=True,
    ),
    read=lambda tx, page: tx.resources.page(TABLE, use_index(tx, page)),
    document=_document,
    as_of=lambda tx: tx.resources.newest_as_of(TABLE),
    tags=("shipments",),
    hidden_sort_columns=("eta_at",),
    uncacheable_filters=("q", "exception"),  # both come a moment after what they are made of
    as_of_view=lambda at, now: AsOfList(shipments.RESOURCE_TYPE, TABLE, at, now),
    authorize=_authorize,
    csv_table=TABLE,
)


def shipment_id(request: web.Request) -> int:
    """The shipment that the path names: `910233`, `FLEX-910233`."""
    text = request.match_info["id"].upper().removeprefix("FLEX-")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no shipment with the id or reference {request.match_info['id'][:50]!r}")
    return int(text)


async def visible_shipment_id(request: web.Request) -> int:
    """The shipment that the path names. Raises NotFoundError for one that the asker may not see."""
    number = shipment_id(request)
    await authorization.check_access(request, shipments.RESOURCE_TYPE, number)
    return number


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments`."""
    return await restrict_as_of(request, LIST, TABLE).respond(request)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}`."""
    number = await visible_shipment_id(request)

    async def build() -> dict[str, Any]:
        return await object_document(request, shipments.RESOURCE_TYPE, number)

    return await respond(request, build, (("shipments", number),))


def _serialize(
    record: Record, table: Table, fields: tuple[str, ...] | None, includes: tuple[str, ...]
) -> dict[str, Any]:
    document = _document(serialize.record_row(record, *includes), table)
    return serialize.select_fields(document, None if fields is None else (*fields, *includes))


async def record_of(request: web.Request, number: int) -> Record:
    """The newest known state of a shipment. Raises NotFoundError."""
    record = await request.app[DB].read(lambda tx: request.app[READS].get(tx, shipments.RESOURCE_TYPE, number))
    if record is None:
        raise NotFoundError(f"there is no shipment {number}")
    return record


async def show_timeline(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/timeline`: planned and actual, in order of time."""
    number = await visible_shipment_id(request)

    async def build() -> dict[str, Any]:
        family = await request.app[DB].read(lambda tx: request.app[READS].shipment_bundle(tx, number))
        if family is None:
            raise NotFoundError(f"there is no shipment {number}")
        shown = replace(family, events=authorization.visible_events(request, family.events))
        # Of thousands of containers it takes seconds: not for the event loop.
        entries = await asyncio.to_thread(timeline, shown)
        data: list[TimelineEntry] = [entry.document() for entry in entries]
        return {"data": data, "next": None, "as_of": family.shipment.as_of or None}

    return await respond(request, build, (("shipments", number), *_RELATED))


async def show_history(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/history`: one entry for each field that changed, newest first."""
    number = await visible_shipment_id(request)
    record = await record_of(request, number)
    view = history_view(request, record)
    return await view.respond(request, {"resource": ("shipments", str(number))})


async def show_legs(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/legs`, in order of travel."""
    return await _nested_list(request, "legs", legs.TABLE)


async def show_containers(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/containers`."""
    return await _nested_list(request, "containers", containers.CONTAINERS)


async def _nested_list(request: web.Request, name: str, table: Table) -> web.StreamResponse:
    reads, number = request.app[READS], await visible_shipment_id(request)
    fields, includes = param(request, "fields"), param(request, "include", ())
    authorization.check_includes(request, includes)

    def read(tx: Transaction) -> tuple[Record | None, list[Record]]:
        return reads.get(tx, shipments.RESOURCE_TYPE, number), reads.children(tx, name, number)

    async def build() -> dict[str, Any]:
        shipment, found = await request.app[DB].read(read)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        records = sort_legs(found) if name == "legs" else found
        data = [_serialize(record, table, fields, includes) for record in records]
        return {"data": data, "next": None, "as_of": shipment.as_of or None}

    return await respond(request, build, (("shipments", number), name))


_SHIPMENT = resource_schema(shipments.RESOURCE_TYPE)
_ID = id_param(shipments.RESOURCE_TYPE)


def _complete_list_route(domain: ResourceType, handler: Handler, name: str, summary: str) -> Route:
    """The route of a list that is whole: legs, containers."""
    return Route(
        method="GET",
        path=f"/api/v1/shipments/{{id}}/{domain.route}",
        handler=handler,
        name=name,
        tag="shipments",
        summary=summary,
        path_parameters=(_ID,),
        query=object_params(serialize.field_names(domain.table), ("raw",), past=False),
        returns=(json_response(list_schema(resource_schema(domain)), "The complete list."),),
        audience_allowed=True,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/shipments",
        handler=index,
        name="list_shipments",
        tag="shipments",
        summary="List shipments, last changed first",
        query=list_params(LIST.rules),
        returns=(page_response(_SHIPMENT),),
        problems=("cursor-expired",),
        audience_allowed=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}",
        handler=show,
        name="get_shipment",
        tag="shipments",
        summary="Get a shipment, now or at an earlier time",
        path_parameters=(_ID,),
        query=object_params(serialize.field_names(TABLE), INCLUDES),
        returns=(json_response(_SHIPMENT, "The shipment."),),
        audience_allowed=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/timeline",
        handler=show_timeline,
        name="get_shipment_timeline",
        tag="shipments",
        summary="Timeline of a shipment: planned and actual times",
        path_parameters=(_ID,),
        returns=(json_response(list_schema(TimelineEntry), "The complete timeline, in chronological order."),),
        audience_allowed=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/history",
        handler=show_history,
        name="list_shipment_history",
        tag="shipments",
        summary="Change history of a shipment, newest first",
        path_parameters=(_ID,),
        query=list_params(HISTORY.rules),
        returns=(page_response(ChangeRecord),),
        problems=("cursor-expired",),
        audience_allowed=True,
    ),
    _complete_list_route(
        legs.RESOURCE_TYPE, show_legs, "list_shipment_legs", "List the legs of a shipment, in order of travel"
    ),
    _complete_list_route(
        containers.RESOURCE_TYPE, show_containers, "list_shipment_containers", "List the containers of a shipment"
    ),
)
