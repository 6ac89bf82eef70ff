"""Shipments: the list, timeline, legs, containers, carbon figures. Other routes are those of every resource."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core import carbon
from flexportd.core.access.audiences import HIDDEN_KINDS
from flexportd.core.carbon import LegWithoutCarbon, ShipmentCarbon
from flexportd.core.exceptions.model import KINDS
from flexportd.core.history.as_of import AsOfList
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.query import use_index
from flexportd.core.timeline import TimelineEntry, timeline
from flexportd.errors import ForbiddenError, not_found
from flexportd.expose import serialize
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CLOCK, DB, READS, UPSTREAM, require_flexport
from flexportd.expose.openapi.parameters import column_vocabulary, parse_object_id
from flexportd.expose.openapi.query_params import ListRules, object_params
from flexportd.expose.openapi.router import H, param, route
from flexportd.expose.openapi.schemas import json_response, list_schema, resource_schema
from flexportd.expose.security import authorization
from flexportd.expose.serialize import json_document
from flexportd.http.problems import UPSTREAM_PROBLEMS
from flexportd.storage.queries.filters import is_present
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

REMOVED = is_present("removed_at", "deleted at Flexport")
"""A filter of every list of a resource."""

TABLE = replace(shipments.TABLE, filters={**shipments.TABLE.filters, "removed": REMOVED})

STATUSES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "status", "status")
MODES = column_vocabulary(shipments.RESOURCE_TYPE, TABLE, "mode", "mode")

# Resources whose changes affect the timeline of a shipment.
_RELATED = ("legs", "containers", "container_legs")


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
    document=lambda row: serialize.serialize_resource(shipments.RESOURCE_TYPE, row, date.min),  # no day is needed
    as_of=lambda tx: tx.resources.newest_as_of(TABLE),
    tags=("shipments",),
    hidden_sort_columns=("eta_at",),
    uncacheable_filters=("q", "exception"),  # computed shortly after the data that they depend on
    as_of_view=lambda at, now: AsOfList(shipments.RESOURCE_TYPE, TABLE, at, now),
    authorize=_authorize,
    csv_table=TABLE,
)


def object_key(request: web.Request, domain: ResourceType) -> Key:
    """The id in the path, such as `910233` or `FLEX-910233`. Raises NotFoundError if it cannot be one."""
    key = parse_object_id(domain, request.match_info["id"])
    if key is None:
        raise not_found(f"{domain.label} with the id or reference", request.match_info["id"])
    return key


async def visible_shipment_id(request: web.Request) -> int:
    """The shipment in the path. Raises NotFoundError if the key may not read it."""
    number = int(object_key(request, shipments.RESOURCE_TYPE))
    await authorization.check_access(request, shipments.RESOURCE_TYPE, number)
    return number


async def current_record(request: web.Request, domain: ResourceType) -> Record:
    """The object in the path. Raises NotFoundError; ForbiddenError if the key may not read the resource."""
    key = object_key(request, domain)
    await authorization.check_access(request, domain, key)
    record = await request.app[DB].read(lambda tx: request.app[READS].get(tx, domain, key))
    if record is None:
        raise not_found(domain.label, key)
    return record


@route(
    "GET",
    "/shipments/{id}/timeline",
    returns=json_response(list_schema(TimelineEntry), "The complete timeline, in chronological order."),
    audience_allowed=True,
)
async def get_shipment_timeline(request: web.Request) -> web.StreamResponse:
    """Get the timeline of a shipment: planned and actual times."""
    number = await visible_shipment_id(request)

    async def build() -> dict[str, Any]:
        bundle = await request.app[DB].read(lambda tx: request.app[READS].shipment_bundle(tx, number))
        if bundle is None:
            raise not_found("shipment", number)
        visible = replace(bundle, events=authorization.visible_events(request, bundle.events))
        # In a thread: with thousands of containers it takes seconds.
        entries = await asyncio.to_thread(timeline, visible)
        data: list[TimelineEntry] = [entry.document() for entry in entries]
        return {"data": data, "next": None, "as_of": bundle.shipment.as_of or None}

    return await respond(request, build, (("shipments", number), *_RELATED))


def _complete_list_route(domain: ResourceType) -> Callable[[H], H]:
    """Declare the route of a list without pages: legs, containers."""
    return route(
        "GET",
        f"/shipments/{{id}}/{domain.route}",
        query=object_params(serialize.field_names(domain.table), ("raw",), past=False),
        returns=json_response(list_schema(resource_schema(domain)), "The complete list."),
        audience_allowed=True,
    )


@_complete_list_route(legs.RESOURCE_TYPE)
async def list_shipment_legs(request: web.Request) -> web.StreamResponse:
    """List the legs of a shipment, in order of travel."""
    return await _nested_list(request, legs.RESOURCE_TYPE)


@_complete_list_route(containers.RESOURCE_TYPE)
async def list_shipment_containers(request: web.Request) -> web.StreamResponse:
    """List the containers of a shipment."""
    return await _nested_list(request, containers.RESOURCE_TYPE)


async def _nested_list(request: web.Request, domain: ResourceType) -> web.StreamResponse:
    reads, number = request.app[READS], await visible_shipment_id(request)
    fields, includes = param(request, "fields"), param(request, "include", ())
    authorization.check_includes(request, includes)

    def read(tx: Transaction) -> tuple[Record | None, list[Record]]:
        return reads.get(tx, shipments.RESOURCE_TYPE, number), reads.children(tx, domain.name, number)

    async def build() -> dict[str, Any]:
        shipment, records = await request.app[DB].read(read)
        if shipment is None:
            raise not_found("shipment", number)
        records = sort_legs(records) if domain is legs.RESOURCE_TYPE else records
        today = request.app[CLOCK].now().date()
        data = [serialize.serialize_record(domain, record, today, fields, includes) for record in records]
        return {"data": data, "next": None, "as_of": shipment.as_of or None}

    return await respond(request, build, (("shipments", number), domain.name))


class CalculatedCarbon(ShipmentCarbon):
    """The figures after a new calculation; `failed` lists the legs without a new figure."""

    failed: list[LegWithoutCarbon]


@route("GET", "/shipments/{id}/carbon", returns=ShipmentCarbon, audience_allowed=True)
async def get_shipment_carbon(request: web.Request) -> web.StreamResponse:
    """Get the carbon figures of a shipment."""
    number = await visible_shipment_id(request)
    return await respond(request, lambda: _carbon_document(request, number))


@route(
    "POST",
    "/shipments/{id}/carbon",
    returns=CalculatedCarbon,
    scope="write",
    problems=(*UPSTREAM_PROBLEMS, "flexport-unknown-outcome", "malformed-data"),
)
async def calculate_shipment_carbon(request: web.Request) -> web.StreamResponse:
    """Request new carbon figures from Flexport.

    Covers every leg that Flexport can calculate.
    """
    number = int(object_key(request, shipments.RESOURCE_TYPE))
    failed: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": one["reason"]}
        for one in await require_flexport(request.app[UPSTREAM]).calculate_carbon(number)
    ]
    document = await _carbon_document(request, number)
    reasons = {one["leg_id"]: one["reason"] for one in failed}
    missing: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": reasons.get(one["leg_id"], one["reason"])} for one in document["missing"]
    ]
    calculated: CalculatedCarbon = {**document, "missing": missing, "failed": failed}
    return json_document(calculated)


async def _carbon_document(request: web.Request, number: int) -> ShipmentCarbon:
    reads = request.app[READS]

    def read(tx: Transaction) -> ShipmentCarbon:
        shipment = reads.get(tx, shipments.RESOURCE_TYPE, number)
        if shipment is None:
            raise not_found("shipment", number)
        return carbon.document(shipment, reads.children(tx, "legs", number), tx.carbon.of_shipment(number))

    return await request.app[DB].read(read)
