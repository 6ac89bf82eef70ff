"""Search: anything by any reference, or a part of one."""

from aiohttp import web

from flexportd.core.search.fields import KINDS
from flexportd.core.search.query import SearchResults, search
from flexportd.expose.cached_response import respond
from flexportd.expose.context import DB
from flexportd.expose.openapi.parameters import csv_of, integer, text
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import param
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security import authorization

_DEFAULT_LIMIT, _MAX_LIMIT = 5, 50  # of each kind


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/search?q=`: by kind, the best first."""
    seen = authorization.audience_of(request)
    wanted, limit = param(request, "q"), param(request, "limit", _DEFAULT_LIMIT)
    kinds = param(request, "kind")

    async def build() -> SearchResults:
        return await request.app[DB].read(lambda tx: search(tx, wanted, kinds=kinds, limit=limit, audience=seen))

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/search",
        handler=show,
        name="search",
        tag="search",
        summary="Search all objects by reference",
        description="Searches shipment names, FLEX ids, containers, bills, POs, SKUs, invoices, bookings, companies, "
        "and finds shipments by vessel, voyage, IMO number, flight, carrier, SCAC, port, place and party. Matches "
        "parts of a reference; ignores case, spaces and dashes. All words must match, in any order, in one object or "
        "in a shipment and its objects. A label before a number (`PO 4471`, `container MSCU1234567`, `B/L EXA1`) "
        "selects the kind.",
        query=(
            text(
                "q",
                "The text to find. One or two characters match only the beginning of a reference, except in Chinese "
                "and Japanese, where two characters match anywhere. The first eight words count.",
                required=True,
                example="MSCU",
            ),
            csv_of("kind", KINDS, "Limit to these kinds (comma-separated)."),
            integer("limit", 1, _MAX_LIMIT, "Maximum number of results per kind.", _DEFAULT_LIMIT),
        ),
        returns=(json_response(SearchResults, "The results by kind, best match first."),),
        audience_allowed=True,
    ),
)
