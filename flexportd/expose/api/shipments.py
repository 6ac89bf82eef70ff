"""Shipments: the list, one, and what belongs to one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from flexportd.core.exceptions.model import KINDS
from flexportd.core.exceptions.rules import HIDDEN
from flexportd.core.history.as_of import ListThen
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import in_order
from flexportd.core.resources.resource_type import Domain
from flexportd.core.search.query import by_index
from flexportd.core.timeline import TimelineEntry, timeline
from flexportd.errors import ForbiddenError, NotFoundError
from flexportd.expose.api import serialize
from flexportd.expose.api.as_of import INCLUDES, object_document
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.api.resources import HISTORY, Change, history_view
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.enum_values import of_table
from flexportd.expose.openapi.parameters import id_of, of_list, of_one
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Handler, Route
from flexportd.expose.openapi.schemas import json_of, list_of, of_domain, page_of
from flexportd.expose.security import authorization
from flexportd.storage.queries.filters import present
from flexportd.storage.repositories.resources import Record, Table
from flexportd.storage.transaction import Session

TABLE = replace(shipments.TABLE, asks={"removed": present("removed_at")})

STATUSES = of_table(shipments.DOMAIN, TABLE, "status", "status")
MODES = of_table(shipments.DOMAIN, TABLE, "mode", "mode")

# Whose changes show in what is told of a shipment: these may move without it.
_FAMILY = ("legs", "containers", "container_legs")


DATES = {
    f"{name}_{side}": take(f"{name}_{side}", f"With the {words} {when} this day at the place{or_time}.")
    for name, words in shipments.DATE_FILTERS.items()
    for take, or_time in ([(query_params.day_or_time, ", or this time")] if name == "eta" else [(query_params.day, "")])
    for side, when in (("before", "before"), ("after", "on or after"))
}
"""The filters by date."""


def _document(row: Mapping[str, Any], table: Table = TABLE) -> dict[str, Any]:
    document = serialize.of_row(table, row)
    if "raw" in row:
        document["raw"] = serialize.raw(row["raw"])
    return document


async def _admit(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    asked = request.query.get("exception")
    if (
        authorization.of(request) is not None
        and asked
        and HIDDEN.intersection(query_params.words("exception", asked, KINDS))
    ):
        raise ForbiddenError(f"{', '.join(sorted(HIDDEN))} are not available to a key limited to some shipments.")
    return authorization.filters(request, TABLE)


LIST = ListView(
    rules=ListRules(
        sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
        filters={
            "status": query_params.any_of("status", vocabulary=STATUSES),
            "mode": query_params.any_of("mode", vocabulary=MODES),
            "q": query_params.part_of("q", 3),
            **DATES,
            "updated_since": query_params.moment("updated_since"),
            "container": query_params.equals("container", "With this container number."),
            "po": query_params.equals("po", "With this purchase order number."),
            "sku": query_params.equals("sku", "With this SKU."),
            "bill": query_params.equals("bill", "With this house bill, master bill or carrier booking number."),
            "exception": query_params.some_of("exception", KINDS, "With an open exception of any of these kinds."),
            "archived": query_params.truth(
                "archived", "not_archived", "true: only shipments archived at Flexport; false: only the others."
            ),
            "removed": query_params.truth(
                "removed", "not_removed", "true: only shipments removed at Flexport; false: only the others."
            ),
        },
        fields=serialize.names(TABLE),
        includes=("raw",),
    ),
    read=lambda tx, page: tx.resources.page(TABLE, by_index(tx, page)),
    document=_document,
    as_of=lambda tx: tx.resources.newest_as_of(TABLE),
    tags=("shipments",),
    unshown=("eta_at",),
    unkept=("q", "exception"),  # both come a moment after what they are made of
    then=lambda at, now: ListThen(shipments.DOMAIN, TABLE, at, now),
    admit=_admit,
    flat=TABLE,
)


def shipment_id(request: web.Request) -> int:
    """The shipment that the path names: `910233`, `FLEX-910233`."""
    text = request.match_info["id"].upper().removeprefix("FLEX-")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no shipment with the id or reference {request.match_info['id'][:50]!r}")
    return int(text)


async def seen_id(request: web.Request) -> int:
    """The shipment that the path names. Raises NotFoundError for one that the asker may not see."""
    number = shipment_id(request)
    await authorization.check(request, shipments.DOMAIN, number)
    return number


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments`."""
    return await authorization.own_view(request, LIST, TABLE).respond(request)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}`."""
    number = await seen_id(request)

    async def build() -> dict[str, Any]:
        return await object_document(request, shipments.DOMAIN, number, serialize.names(TABLE))

    return await respond(request, build, (("shipments", number),))


def _asked(record: Record, table: Table, fields: tuple[str, ...] | None, includes: tuple[str, ...]) -> dict[str, Any]:
    document = _document(serialize.row_of(record, *includes), table)
    return serialize.only(document, None if fields is None else (*fields, *includes))


async def record_of(request: web.Request, number: int) -> Record:
    """The newest known state of a shipment. Raises NotFoundError."""
    parts = request.app[PARTS]
    record = await parts.db.read(lambda tx: parts.mirror.one(tx, shipments.DOMAIN, number))
    if record is None:
        raise NotFoundError(f"there is no shipment {number}")
    return record


async def show_timeline(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/timeline`: planned and actual, in order of time."""
    parts, number = request.app[PARTS], await seen_id(request)

    async def build() -> dict[str, Any]:
        family = await parts.db.read(lambda tx: parts.mirror.family(tx, number))
        if family is None:
            raise NotFoundError(f"there is no shipment {number}")
        shown = replace(family, events=authorization.events(request, family.events))
        # Of thousands of containers it takes seconds: not for the event loop.
        entries = await asyncio.to_thread(timeline, shown)
        data: list[TimelineEntry] = [entry.document() for entry in entries]
        return {"data": data, "next": None, "as_of": family.shipment.as_of or None}

    return await respond(request, build, (("shipments", number), *_FAMILY))


async def show_history(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/history`: one entry for each field that changed, newest first."""
    number = await seen_id(request)
    record = await record_of(request, number)
    view = history_view(request, record)
    return await view.respond(request, {"resource": ("shipments", str(number))})


async def show_legs(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/legs`, in order of travel."""
    return await _children(request, "legs", legs.TABLE)


async def show_containers(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/containers`."""
    return await _children(request, "containers", containers.CONTAINERS)


async def _children(request: web.Request, name: str, table: Table) -> web.StreamResponse:
    parts, number = request.app[PARTS], await seen_id(request)
    fields, includes = query_params.parts_of_one(request.query, serialize.names(table))
    authorization.check_includes(request, includes)

    def read(tx: Session) -> tuple[Record | None, list[Record]]:
        return parts.mirror.one(tx, shipments.DOMAIN, number), parts.mirror.children(tx, name, number)

    async def build() -> dict[str, Any]:
        shipment, found = await parts.db.read(read)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        records = in_order(found) if name == "legs" else found
        data = [_asked(record, table, fields, includes) for record in records]
        return {"data": data, "next": None, "as_of": shipment.as_of or None}

    return await respond(request, build, (("shipments", number), name))


_SHIPMENT = of_domain(shipments.DOMAIN)
_ID = id_of(shipments.DOMAIN)


def _whole(domain: Domain, handler: Handler, name: str, summary: str) -> Route:
    """The route of a list that is whole: legs, containers."""
    return Route(
        method="GET",
        path=f"/api/v1/shipments/{{id}}/{domain.route}",
        handler=handler,
        name=name,
        tag="shipments",
        summary=summary,
        path_parameters=(_ID,),
        query=of_one(serialize.names(domain.table), ("raw",), past=False),
        returns=(json_of(list_of(of_domain(domain)), "The complete list."),),
        for_audiences=True,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/shipments",
        handler=index,
        name="list_shipments",
        tag="shipments",
        summary="List shipments, last changed first",
        query=of_list(LIST.rules, past=True),
        returns=(page_of(_SHIPMENT),),
        problems=("cursor-expired",),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}",
        handler=show,
        name="get_shipment",
        tag="shipments",
        summary="Get a shipment, now or at an earlier time",
        path_parameters=(_ID,),
        query=of_one(serialize.names(TABLE), INCLUDES),
        returns=(json_of(_SHIPMENT, "The shipment."),),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/timeline",
        handler=show_timeline,
        name="get_shipment_timeline",
        tag="shipments",
        summary="Timeline of a shipment: planned and actual times",
        path_parameters=(_ID,),
        returns=(json_of(list_of(TimelineEntry), "The complete timeline, in chronological order."),),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/history",
        handler=show_history,
        name="list_shipment_history",
        tag="shipments",
        summary="Change history of a shipment, newest first",
        path_parameters=(_ID,),
        query=of_list(HISTORY.rules),
        returns=(page_of(Change),),
        problems=("cursor-expired",),
        for_audiences=True,
    ),
    _whole(legs.DOMAIN, show_legs, "list_shipment_legs", "List the legs of a shipment, in order of travel"),
    _whole(containers.DOMAIN, show_containers, "list_shipment_containers", "List the containers of a shipment"),
)
