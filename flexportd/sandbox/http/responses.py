"""Flexport's responses: the envelope, its error member, and pages with absolute links.

Source: https://apidocs.flexport.com/v2/tag/Pagination and recorded responses.
"""

from http import HTTPStatus

import msgspec
from aiohttp import web
from yarl import URL

from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.http.queries import ResultPage

VERSION = 2


def data_response(request: web.Request, data: Wire) -> web.Response:
    """An object or a page, in the envelope."""
    return _envelope(request, 200, data, None)


def error_response(request: web.Request, status: int, code: str, message: str) -> web.Response:
    """An error, in the envelope."""
    error = {"_object": "/api/error", "status": status, "code": code, "message": message, "data": None}
    return _envelope(request, status, None, error)


def page(request: web.Request, found: ResultPage) -> Wire:
    """One page of a list, with links to the pages before and after it."""
    more = found.number * found.per < found.total
    return {
        "_object": "/api/collections/paginated",
        "prev": _link(request, found, found.number - 1) if found.number > 1 else None,
        "next": _link(request, found, found.number + 1) if more else None,
        "total_count": found.total,
        "data": list(found.rows),
    }


def gateway_page(status: int) -> web.Response:
    """The HTML page of a gateway before the API."""
    reason = HTTPStatus(status).phrase
    text = f"<html><head><title>{status} {reason}</title></head><body><h1>{status} {reason}</h1></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


def json_response(status: int, body: Wire) -> web.Response:
    """A JSON response."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def request_url(request: web.Request) -> URL:
    """The URL as the client wrote it: host from its own header, nothing decoded, no default added."""
    return URL(f"{request.scheme}://{request.host}{request.raw_path}", encoded=True)


def _envelope(request: web.Request, status: int, data: Wire | None, error: Wire | None) -> web.Response:
    body = {
        "_object": "/api/response",
        "self": str(request_url(request)),
        "version": _version(request),
        "data": data,
        "error": error,
    }
    return json_response(status, body)


def _version(request: web.Request) -> int:
    """The requested version; dated versions get the account's default."""
    text = request.headers.get("Flexport-Version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else VERSION


def _link(request: web.Request, found: ResultPage, number: int) -> str:
    kept = [(name, value) for name, value in request.query.items() if name not in {"page", "per"}]
    query = [*kept, ("page", str(number)), ("per", str(found.per))]
    return str(request_url(request).with_query(query))
