"""Carbon figures of a shipment: the stored ones, and new ones from Flexport."""

from aiohttp import web

from flexportd.core import carbon
from flexportd.core.carbon import LegWithoutCarbon, ShipmentCarbon
from flexportd.core.resources import shipments
from flexportd.errors import not_found
from flexportd.expose.api.shipments import shipment_id, visible_shipment_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB, READS, UPSTREAM, require_flexport
from flexportd.expose.openapi.declaration import route
from flexportd.expose.serialize import json_document
from flexportd.http.problem_types import UPSTREAM_PROBLEMS
from flexportd.storage.transaction import Transaction


class CalculatedCarbon(ShipmentCarbon):
    """The figures after a new calculation; `failed` lists the legs without a new figure."""

    failed: list[LegWithoutCarbon]


@route("GET", "/shipments/{id}/carbon", returns=ShipmentCarbon, audience_allowed=True)
async def get_shipment_carbon(request: web.Request) -> web.StreamResponse:
    """Get the carbon figures of a shipment."""
    number = await visible_shipment_id(request)
    return await respond(request, lambda: _document(request, number))


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
    return json_document(calculated)


async def _document(request: web.Request, number: int) -> ShipmentCarbon:
    reads = request.app[READS]

    def read(tx: Transaction) -> ShipmentCarbon:
        shipment = reads.get(tx, shipments.RESOURCE_TYPE, number)
        if shipment is None:
            raise not_found("shipment", number)
        return carbon.document(shipment, reads.children(tx, "legs", number), tx.carbon.of_shipment(number))

    return await request.app[DB].read(read)
