"""Shipments: the list, one, and what belongs to one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from flexportd.answers import Answer, EncodedResponse
from flexportd.core import carbon, containers, legs, shipments
from flexportd.core.past import ListThen
from flexportd.core.routes import in_order
from flexportd.core.timeline import timeline
from flexportd.errors import NotFoundError
from flexportd.expose import documents, parameters
from flexportd.expose.api.resources import HISTORY
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.expose.parts import PARTS
from flexportd.expose.past import object_document
from flexportd.expose.responding import respond
from flexportd.expose.upstream import needed
from flexportd.storage.filters import present
from flexportd.storage.resources import Record, Table
from flexportd.storage.session import Session

TABLE = replace(shipments.TABLE, asks={"removed": present("removed_at")})

# Whose changes show in what is told of a shipment: these may move without it.
_FAMILY = ("legs", "containers", "container_legs")


def _document(row: Mapping[str, Any], table: Table = TABLE) -> dict[str, Any]:
    document = documents.of_row(table, row)
    if "raw" in row:
        document["raw"] = documents.raw(row["raw"])
    return document


LIST = ListView(
    rules=ListRules(
        sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
        filters={
            "status": parameters.any_of("status"),
            "mode": parameters.any_of("mode"),
            "q": parameters.part_of("q", 3),
            "eta_before": parameters.moment("eta_before"),
            "eta_after": parameters.moment("eta_after"),
            "updated_since": parameters.moment("updated_since"),
            "container": parameters.equals("container"),
            "po": parameters.equals("po"),
            "sku": parameters.equals("sku"),
            "bill": parameters.equals("bill"),
            "archived": parameters.truth("archived", "not_archived"),
            "removed": parameters.truth("removed", "not_removed"),
        },
        fields=documents.names(TABLE),
        includes=("raw",),
    ),
    read=lambda tx, page: tx.resources.page(TABLE, page),
    document=_document,
    as_of=lambda tx: tx.resources.newest_as_of(TABLE),
    tags=("shipments",),
    unshown=("eta_at",),
    then=lambda at, now: ListThen(shipments.DOMAIN, TABLE, at, now),
)


def shipment_id(request: web.Request) -> int:
    """The shipment that the path names: `910233`, `FLEX-910233`."""
    text = request.match_info["id"].upper().removeprefix("FLEX-")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no shipment {request.match_info['id'][:50]!r}: their ids are whole numbers")
    return int(text)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments`."""
    return await LIST.respond(request)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}`."""
    number = shipment_id(request)

    async def build() -> dict[str, Any]:
        return await object_document(request, shipments.DOMAIN, number, documents.names(TABLE))

    return await respond(request, build, (("shipments", number),))


def _asked(record: Record, table: Table, fields: tuple[str, ...] | None, includes: tuple[str, ...]) -> dict[str, Any]:
    document = _document(documents.row_of(record, *includes), table)
    return documents.only(document, None if fields is None else (*fields, *includes))


async def _record(request: web.Request, number: int) -> Record:
    parts = request.app[PARTS]
    record = await parts.db.read(lambda tx: parts.mirror.one(tx, shipments.DOMAIN, number))
    if record is None:
        raise NotFoundError(f"there is no shipment {number}")
    return record


async def show_timeline(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/timeline`: planned and actual, in order of time."""
    parts, number = request.app[PARTS], shipment_id(request)
    parameters.once(request.query, ())

    async def build() -> dict[str, Any]:
        family = await parts.db.read(lambda tx: parts.mirror.family(tx, number))
        if family is None:
            raise NotFoundError(f"there is no shipment {number}")
        data = [entry.document() for entry in timeline(family)]
        return {"data": data, "next": None, "as_of": family.shipment.as_of}

    return await respond(request, build, (("shipments", number), *_FAMILY))


async def show_history(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/history`: one entry for each field that changed, newest first."""
    number = shipment_id(request)
    record = await _record(request, number)
    view = replace(HISTORY, as_of=lambda _: record.as_of)
    return await view.respond(request, {"resource": ("shipments", str(number))})


async def show_legs(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/legs`, in order of travel."""
    return await _children(request, "legs", legs.TABLE)


async def show_containers(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/containers`."""
    return await _children(request, "containers", containers.CONTAINERS)


async def _children(request: web.Request, name: str, table: Table) -> web.StreamResponse:
    parts, number = request.app[PARTS], shipment_id(request)
    fields, includes = parameters.parts_of_one(request.query, documents.names(table))

    def read(tx: Session) -> tuple[Record | None, list[Record]]:
        return parts.mirror.one(tx, shipments.DOMAIN, number), parts.mirror.children(tx, name, number)

    async def build() -> dict[str, Any]:
        shipment, found = await parts.db.read(read)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        records = in_order(found) if name == "legs" else found
        data = [_asked(record, table, fields, includes) for record in records]
        return {"data": data, "next": None, "as_of": shipment.as_of}

    return await respond(request, build, (("shipments", number), name))


async def show_carbon(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/carbon`: what Flexport calculated when it was asked, in order of travel."""
    number = shipment_id(request)
    parameters.once(request.query, ())
    return await respond(request, lambda: _carbon(request, number))


async def calculate_carbon(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/shipments/{id}/carbon`: have every leg calculated now.

    The document of GET, and in `failed` the legs that got no new figure.
    """
    number = shipment_id(request)
    parameters.once(request.query, ())
    failed = await needed(request.app[PARTS].upstream).carbon(number)
    document = await _carbon(request, number)
    reasons = {one["leg_id"]: one["reason"] for one in failed}
    missing = [one | {"reason": reasons.get(one["leg_id"], one["reason"])} for one in document["missing"]]
    body = msgspec.json.encode(document | {"missing": missing, "failed": failed})
    return EncodedResponse(Answer(200, body, cache_control="no-store"))


async def _carbon(request: web.Request, number: int) -> dict[str, Any]:
    parts = request.app[PARTS]

    def read(tx: Session) -> dict[str, Any]:
        shipment = parts.mirror.one(tx, shipments.DOMAIN, number)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        return carbon.document(shipment, parts.mirror.children(tx, "legs", number), tx.carbon.of_shipment(number))

    return await parts.db.read(read)
