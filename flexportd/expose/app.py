"""The web application: the declared routes and the pages, and the parts that their handlers use."""

from collections.abc import Callable

from aiohttp import hdrs, web

from flexportd.expose import context
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.error_pages import public_error_page
from flexportd.expose.dashboard.pages import add_routes
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.route import SERVED_ROUTES
from flexportd.expose.openapi.router import register
from flexportd.expose.routes import literal_first
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, AccessPolicy, response_headers
from flexportd.expose.streaming.sse import end_streams
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID

AddParts = Callable[[web.Application], None]


def create_app(add_parts: AddParts, policy: AccessPolicy, *, dashboard: bool) -> web.Application:
    """The application of one web server; `add_parts` sets the parts that handlers use (see `expose.context`)."""
    app = web.Application(middlewares=[auth_middleware])
    add_parts(app)
    app[ACCESS_POLICY] = policy
    app[FAILURE_PAGE] = public_error_page
    app[context.RENDER_PAGE] = render.render
    render.environment()  # read and compile now, not in a request
    app.on_shutdown.append(end_streams)
    register(app, literal_first(app[SERVED_ROUTES]))
    app.on_response_prepare.append(_add_response_headers)
    app.router.add_get("/static/{name}", render.serve_asset)
    if dashboard:
        add_routes(app)
    return app


async def _add_response_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of this request to a streamed response; PreparedStreamResponse sends its own."""
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's, with the versions of itself and of Python
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    for name, value in response_headers(request, request.app[ACCESS_POLICY]).items():
        response.headers.add(name, value)
