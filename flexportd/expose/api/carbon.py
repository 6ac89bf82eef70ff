"""Carbon figures of a shipment: what Flexport calculated when it was asked, and asking it."""

import msgspec
from aiohttp import web

from flexportd.core import carbon
from flexportd.core.carbon import LegWithoutCarbon, ShipmentCarbon
from flexportd.core.resources import shipments
from flexportd.errors import NotFoundError
from flexportd.expose.api.shipments import seen_id, shipment_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.flexport_interfaces import needed
from flexportd.expose.openapi.parameters import id_of
from flexportd.expose.openapi.problem_types import WITH_UPSTREAM
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_of
from flexportd.http.responses import Answer, EncodedResponse
from flexportd.storage.transaction import Session


class CalculatedCarbon(ShipmentCarbon):
    """The figures after a new calculation; `failed` lists the legs without a new figure."""

    failed: list[LegWithoutCarbon]


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/carbon`: what Flexport calculated when it was asked, in order of travel."""
    number = await seen_id(request)
    return await respond(request, lambda: _document(request, number))


async def calculate(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/shipments/{id}/carbon`: have every leg calculated now.

    The document of GET, and in `failed` the legs that got no new figure.
    """
    number = shipment_id(request)
    failed: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": one["reason"]}
        for one in await needed(request.app[PARTS].upstream).carbon(number)
    ]
    document = await _document(request, number)
    reasons = {one["leg_id"]: one["reason"] for one in failed}
    missing: list[LegWithoutCarbon] = [
        {"leg_id": one["leg_id"], "reason": reasons.get(one["leg_id"], one["reason"])} for one in document["missing"]
    ]
    calculated: CalculatedCarbon = {**document, "missing": missing, "failed": failed}
    return EncodedResponse(Answer(200, msgspec.json.encode(calculated)))


async def _document(request: web.Request, number: int) -> ShipmentCarbon:
    parts = request.app[PARTS]

    def read(tx: Session) -> ShipmentCarbon:
        shipment = parts.mirror.one(tx, shipments.DOMAIN, number)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {number}")
        return carbon.document(shipment, parts.mirror.children(tx, "legs", number), tx.carbon.of_shipment(number))

    return await parts.db.read(read)


_ID = id_of(shipments.DOMAIN)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/carbon",
        handler=show,
        name="get_shipment_carbon",
        tag="shipments",
        summary="Carbon figures of a shipment",
        path_parameters=(_ID,),
        returns=(json_of(ShipmentCarbon, "The stored figures."),),
        for_audiences=True,
    ),
    Route(
        method="POST",
        path="/api/v1/shipments/{id}/carbon",
        handler=calculate,
        name="calculate_shipment_carbon",
        tag="shipments",
        summary="Request new carbon figures from Flexport",
        about="Covers every leg that Flexport can calculate.",
        scope="write",
        path_parameters=(_ID,),
        returns=(json_of(CalculatedCarbon, "The figures, and the legs without a new figure."),),
        problems=(*WITH_UPSTREAM, "flexport-unknown-outcome", "malformed-data"),
    ),
)
