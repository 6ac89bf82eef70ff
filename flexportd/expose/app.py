"""The web application: the declared routes, and the pages."""

from aiohttp import hdrs, web

from flexportd.expose.api.jobs import JOBS
from flexportd.expose.authorization_middleware import entrance
from flexportd.expose.context import PARTS, Parts
from flexportd.expose.dashboard import assets, render
from flexportd.expose.dashboard.page_handler import failure_alone
from flexportd.expose.dashboard.pages import freight
from flexportd.expose.document_interfaces import FILING
from flexportd.expose.openapi.router import add
from flexportd.expose.routes import in_order
from flexportd.expose.security.access_policy import DOOR, REQUEST_ID_HEADER, Door, own_headers
from flexportd.expose.security.authentication import GATE
from flexportd.expose.streaming.sse import add_to
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID


def application(parts: Parts, door: Door, *, dashboard: bool) -> web.Application:
    """Everything that can be asked, behind this door."""
    app = web.Application(middlewares=[entrance])
    app[PARTS] = parts
    app[DOOR] = door
    app[FILING] = parts.filing
    app[GATE] = parts.gate
    app[JOBS] = parts.jobs
    app[FAILURE_PAGE] = failure_alone
    render.environment()  # read and compile now, not in a request
    add_to(app, parts.hub)
    add(app, in_order(parts.routes))
    app.on_response_prepare.append(_own)
    app.router.add_get("/static/{name}", assets.serve)
    if dashboard:
        freight.add_routes(app)
    return app


async def _own(request: web.Request, response: web.StreamResponse) -> None:
    """What streams: it gets the headers of its request's own before it begins, all else when it is sent."""
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's, with the versions of itself and of Python
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    for name, value in own_headers(request, request.app[DOOR]).items():
        response.headers.add(name, value)
