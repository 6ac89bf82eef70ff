"""Search: anything by any reference, or a part of one."""

from aiohttp import web

from flexportd.core.search.fields import KINDS
from flexportd.core.search.query import SearchResults, find
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi.parameters import integer, several, text
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import given
from flexportd.expose.openapi.schemas import json_of
from flexportd.expose.security import authorization

_FEW, _MOST = 5, 50  # of each kind


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/search?q=`: by kind, the best first."""
    parts, seen = request.app[PARTS], authorization.of(request)
    wanted, limit = given(request, "q"), given(request, "limit", _FEW)
    kinds = given(request, "kind")

    async def build() -> SearchResults:
        return await parts.db.read(lambda tx: find(tx, wanted, kinds=kinds, limit=limit, audience=seen))

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/search",
        handler=show,
        name="search",
        tag="search",
        summary="Search all objects by reference",
        about="Searches shipment names, FLEX ids, containers, bills, POs, SKUs, invoices, bookings, companies, and "
        "finds shipments by vessel, voyage, IMO number, flight, carrier, SCAC, port, place and party. Matches parts of "
        "a reference; ignores case, spaces and dashes. All words must match, in any order, in one object or in a "
        "shipment and its objects. A label before a number (`PO 4471`, `container MSCU1234567`, `B/L EXA1`) selects "
        "the kind.",
        query=(
            text(
                "q",
                "The text to find. One or two characters match only the beginning of a reference, except in Chinese "
                "and Japanese, where two characters match anywhere. The first eight words count.",
                required=True,
                example="MSCU",
            ),
            several("kind", KINDS, "Limit to these kinds (comma-separated)."),
            integer("limit", 1, _MOST, "Maximum number of results per kind.", _FEW),
        ),
        returns=(json_of(SearchResults, "The results by kind, best match first."),),
        for_audiences=True,
    ),
)
