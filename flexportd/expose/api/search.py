"""Search: anything by any reference, or a part of one."""

from aiohttp import web

from flexportd.core.finding import Found, find
from flexportd.core.references import KINDS
from flexportd.expose import audience
from flexportd.expose.contract.binding import given
from flexportd.expose.contract.route import Route
from flexportd.expose.contract.schemas import json_of
from flexportd.expose.contract.typed import integer, several, text
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond

_FEW, _MOST = 5, 50  # of each kind


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/search?q=`: by kind, the best first."""
    parts, seen = request.app[PARTS], audience.of(request)
    wanted, limit = given(request, "q"), given(request, "limit", _FEW)
    kinds = given(request, "kind")

    async def build() -> Found:
        return await parts.db.read(lambda tx: find(tx, wanted, kinds=kinds, limit=limit, audience=seen))

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/search",
        handler=show,
        name="search",
        tag="search",
        summary="Find anything by any reference",
        about="Shipment name or FLEX id, container, bill, PO, SKU, invoice, booking, company and more; parts of them, "
        "in any case, with or without blanks and dashes.",
        query=(
            text("q", "What is looked for; of one or two characters, what begins so.", required=True, example="MSCU"),
            several("kind", KINDS, "Only these kinds, with commas between them."),
            integer("limit", 1, _MOST, "Objects of each kind.", _FEW),
        ),
        returns=(json_of(Found, "What was found, by kind; the best first."),),
        for_audiences=True,
    ),
)
