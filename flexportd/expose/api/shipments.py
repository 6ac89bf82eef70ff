"""Shipments: the list, one, and what belongs to one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
from flexportd.expose.api import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.resources import HISTORY, ChangeRecord, history_view
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CONTEXT
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.enum_values import column_vocabulary
from flexportd.expose.openapi.parameters import id_param, list_params, object_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import H, route
from flexportd.expose.openapi.schemas import json_response, list_schema, page_response, resource_schema
from flexportd.expose.security import authorization
from flexportd.storage.queries.filters import is_present
from flexportd.storage.repositories.resources import Record, Table
from flexportd.storage.transaction import Transaction

TABLE = replace(shipments.TABLE, query_filters={"removed": is_present("removed_at")})

STATUSES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "status", "status")
MODES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "mode", "mode")

# Whose changes show in what is told of a shipment: these may move without it.
_RELATED = ("legs", "containers", "container_legs")


DATE_FILTERS = {
    f"{name}_{side}": take(f"{name}_{side}", f"With the {words} {when} this day at the place{or_time}.")
    for name, words in shipments.DATE_FILTERS.items()
    for take, or_time in ([(query_params.day_or_time, ", or this time")] if name == "eta" else [(query_params.day, "")])
    for side, when in (("before", "before"), ("after", "on or after"))
}
"""The filters by date."""


def _document(row: Mapping[str, Any], table: Table = TABLE) -> dict[str, Any]:
    document = serialize.serialize_row(table, row)
    if "raw" in row:
        document["raw"] = serialize.raw_json(row["raw"])
    return document


async def _authorize(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    asked = request.query.get("exception")
    if (
        authorization.audience_of(request) is not None
        and asked
        and HIDDEN_KINDS.intersection(query_params.choices("exception", asked, KINDS))
    ):
        raise ForbiddenError(f"{', '.join(sorted(HIDDEN_KINDS))} are not available to a key limited to some shipments.")
    return authorization.list_filters(request, TABLE)


LIST = ListEndpoint(
    rules=ListRules(
        sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
        filters={
            "status": query_params.any_of("status", vocabulary=STATUSES),
            "mode": query_params.any_of("mode", vocabulary=MODES),
            "q": query_params.contains("q", 3),
            **DATE_FILTERS,
            "updated_since": query_params.moment("updated_since"),
            "container": query_params.equals("container", "With this container number."),
            "po": query_params.equals("po", "With this purchase order number."),
            "sku": query_params.equals("sku", "With this SKU."),
            "bill": query_params.equals("bill", "With this house bill, master bill or carrier booking number."),
            "exception": query_params.subset_of("exception", KINDS, "With an open exception of any of these kinds."),
            "archived": query_params.boolean(
                "archived", "not_archived", "true: only shipments archived at Flexport; false: only the others."
            ),
            "removed": query_params.boolean(
                "removed", "not_removed", "true: only shipments removed at Flexport; false: only the others."
            ),
        },
        fields=serialize.field_names(TABLE),
        includes=("raw",),
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


_SHIPMENT = resource_schema(shipments.RESOURCE_TYPE)
_ID = id_param(shipments.RESOURCE_TYPE)


@route(
    "GET",
    "/shipments",
    tag="shipments",
    returns=page_response(_SHIPMENT),
    query=list_params(LIST.rules, past=True),
    audience_allowed=True,
)
async def list_shipments(request: web.Request) -> web.StreamResponse:
    """List shipments, last changed first."""
    return await authorization.restrict_as_of(request, LIST, TABLE).respond(request)


@route(
    "GET",
    "/shipments/{id}",
    tag="shipments",
    returns=_SHIPMENT,
    path_parameters=(_ID,),
    query=object_params(serialize.field_names(TABLE), INCLUDES),
    audience_allowed=True,
)
async def get_shipment(request: web.Request) -> web.StreamResponse:
    """Get a shipment, now or at an earlier time."""
    number = await visible_shipment_id(request)

    async def build() -> dict[str, Any]:
        return await object_document(request, shipments.RESOURCE_TYPE, number, serialize.field_names(TABLE))

    return await respond(request, build, (("shipments", number),))


def _serialize(
    record: Record, table: Table, fields: tuple[str, ...] | None, includes: tuple[str, ...]
) -> dict[str, Any]:
    document = _document(serialize.record_row(record, *includes), table)
    return serialize.select_fields(document, None if fields is None else (*fields, *includes))


async def record_of(request: web.Request, number: int) -> Record:
    """The newest known state of a shipment. Raises NotFoundError."""
    parts = request.app[CONTEXT]
    record = await parts.db.read(lambda tx: parts.reads.get(tx, shipments.RESOURCE_TYPE, number))
    if record is None:
        raise NotFoundError(f"there is no shipment {number}")
    return record


@route(
    "GET",
    "/shipments/{id}/timeline",
    tag="shipments",
    returns=json_response(list_schema(TimelineEntry), "The complete timeline, in chronological order."),
    path_parameters=(_ID,),
    audience_allowed=True,
)
async def get_shipment_timeline(request: web.Request) -> web.StreamResponse:
    """Timeline of a shipment: planned and actual times."""
    parts, number = request.app[CONTEXT], await visible_shipment_id(request)

    async def build() -> dict[str, Any]:
        family = await parts.db.read(lambda tx: parts.reads.shipment_bundle(tx, number))
        if family is None:
            raise NotFoundError(f"there is no shipment {number}")
        shown = replace(family, events=authorization.visible_events(request, family.events))
        # Of thousands of containers it takes seconds: not for the event loop.
        entries = await asyncio.to_thread(timeline, shown)
        data: list[TimelineEntry] = [entry.document() for entry in entries]
        return {"data": data, "next": None, "as_of": family.shipment.as_of or None}

    return await respond(request, build, (("shipments", number), *_RELATED))


@route(
    "GET",
    "/shipments/{id}/history",
    tag="shipments",
    returns=page_response(ChangeRecord),
    path_parameters=(_ID,),
    query=list_params(HISTORY.rules),
    audience_allowed=True,
)
async def list_shipment_history(request: web.Request) -> web.StreamResponse:
    """Change history of a shipment, newest first."""
    number = await visible_shipment_id(request)
    record = await record_of(request, number)
    view = history_view(request, record)
    return await view.respond(request, {"resource": ("shipments", str(number))})


def _complete_list_route(domain: ResourceType) -> Callable[[H], H]:
    """Declare the route of a list without pages: legs, containers."""
    return route(
        "GET",
        f"/shipments/{{id}}/{domain.route}",
        tag="shipments",
        path_parameters=(_ID,),
        query=object_params(serialize.field_names(domain.table), ("raw",), past=False),
        returns=json_response(list_schema(resource_schema(domain)), "The complete list."),
        audience_allowed=True,
    )


@_complete_list_route(legs.RESOURCE_TYPE)
async def list_shipment_legs(request: web.Request) -> web.StreamResponse:
    """List the legs of a shipment, in order of travel."""
    return await _nested_list(request, "legs", legs.TABLE)


@_complete_list_route(containers.RESOURCE_TYPE)
async def list_shipment_containers(request: web.Request) -> web.StreamResponse:
    """List the containers of a shipment."""
    return await _nested_list(request, "containers", containers.CONTAINERS)


async def _nested_list(request: web.Request, name: str, table: Table) -> web.StreamResponse:
    parts, number = request.app[CONTEXT], await visible_shipment_id(request)
    fields, includes = query_params.parse_selection(request.query, serialize.field_names(table))
    authorization.check_includes(request, includes)

    def read(tx: Transaction) -> tuple[Record | None, list[Record]]:
        return parts.reads.get(tx, shipments.RESOURCE_TYPE, number), parts.reads.children(tx, name, number)

    async def build() -> dict[str, Any]:
        shipment, found = await parts.db.read(read)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        records = sort_legs(found) if name == "legs" else found
        data = [_serialize(record, table, fields, includes) for record in records]
        return {"data": data, "next": None, "as_of": shipment.as_of or None}

    return await respond(request, build, (("shipments", number), name))
