"""Carbon figures of a shipment: what Flexport calculated when it was asked, and asking it."""

import msgspec
from aiohttp import web

from flexportd.core import carbon
from flexportd.core.carbon import LegWithoutCarbon, ShipmentCarbon
from flexportd.core.resources import shipments
from flexportd.errors import NotFoundError
from flexportd.expose.api.shipments import shipment_id, visible_shipment_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, READS, UPSTREAM
from flexportd.expose.interfaces import require_flexport
from flexportd.expose.openapi.parameters import id_param
from flexportd.expose.openapi.problem_types import UPSTREAM_PROBLEMS
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.storage.transaction import Transaction


class CalculatedCarbon(ShipmentCarbon):
    """The figures after a new calculation; `failed` lists the legs without a new figure."""

    failed: list[LegWithoutCarbon]


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/carbon`: what Flexport calculated when it was asked, in order of travel."""
    number = await visible_shipment_id(request)
    return await respond(request, lambda: _document(request, number))


async def calculate(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/shipments/{id}/carbon`: have every leg calculated now.

    The document of GET, and in `failed` the legs that got no new figure.
    """
    number = shipment_id(request)
    failed: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": one["reason"]}
        for one in await require_flexport(request.app[UPSTREAM]).calculate_carbon(number)
    ]
    document = await _document(request, number)
    reasons = {one["leg_id"]: one["reason"] for one in failed}
    missing: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": reasons.get(one["leg_id"], one["reason"])} for one in document["missing"]
    ]
    calculated: CalculatedCarbon = {**document, "missing": missing, "failed": failed}
    return PreparedStreamResponse(PreparedResponse(200, msgspec.json.encode(calculated)))


async def _document(request: web.Request, number: int) -> ShipmentCarbon:
    reads = request.app[READS]

    def read(tx: Transaction) -> ShipmentCarbon:
        shipment = reads.get(tx, shipments.RESOURCE_TYPE, number)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        return carbon.document(shipment, reads.children(tx, "legs", number), tx.carbon.of_shipment(number))

    return await request.app[DB].read(read)


_ID = id_param(shipments.RESOURCE_TYPE)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/carbon",
        handler=show,
        name="get_shipment_carbon",
        tag="shipments",
        summary="Carbon figures of a shipment",
        path_parameters=(_ID,),
        returns=(json_response(ShipmentCarbon, "The stored figures."),),
        audience_allowed=True,
    ),
    Route(
        method="POST",
        path="/api/v1/shipments/{id}/carbon",
        handler=calculate,
        name="calculate_shipment_carbon",
        tag="shipments",
        summary="Request new carbon figures from Flexport",
        description="Covers every leg that Flexport can calculate.",
        scope="write",
        path_parameters=(_ID,),
        returns=(json_response(CalculatedCarbon, "The figures, and the legs without a new figure."),),
        problems=(*UPSTREAM_PROBLEMS, "flexport-unknown-outcome", "malformed-data"),
    ),
)
