"""Search by any reference, or a part of one."""

from aiohttp import web

from flexportd.core.search import query
from flexportd.core.search.fields import KINDS
from flexportd.core.search.query import SearchResults
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import DB
from flexportd.expose.openapi.parameters import csv_of, integer, text
from flexportd.expose.openapi.router import param, route
from flexportd.expose.security import authorization

_DEFAULT_LIMIT, _MAX_LIMIT = 5, 50  # of each kind


@route(
    "GET",
    "/search",
    returns=SearchResults,
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
    audience_allowed=True,
)
async def search(request: web.Request) -> web.StreamResponse:
    """Search all objects by reference.

    Searches shipment names, FLEX ids, containers, bills, POs, SKUs, invoices, bookings, companies, and finds
    shipments by vessel, voyage, IMO number, flight, carrier, SCAC, port, place and party. Matches parts of a
    reference; ignores case, spaces and dashes. All words must match, in any order, in one object or in a shipment
    and its objects. A label before a number (`PO 4471`, `container MSCU1234567`, `B/L EXA1`) selects the kind.
    """
    audience = authorization.audience_of(request)
    terms, limit = param(request, "q"), param(request, "limit", _DEFAULT_LIMIT)
    kinds = param(request, "kind")

    results = await request.app[DB].read(
        lambda tx: query.search(tx, terms, kinds=kinds, limit=limit, audience=audience)
    )
    return await respond_with(request, results)
