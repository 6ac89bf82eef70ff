"""The web application: the declared routes, and the pages."""

from aiohttp import hdrs, web

from flexportd.expose.api.jobs import JOBS
from flexportd.expose.authorization_middleware import auth_middleware
from flexportd.expose.context import CONTEXT, AppContext
from flexportd.expose.dashboard import assets, render
from flexportd.expose.dashboard.error_pages import public_error_page
from flexportd.expose.dashboard.routes import add_routes
from flexportd.expose.document_interfaces import FILES
from flexportd.expose.openapi.router import register
from flexportd.expose.routes import literal_first
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, AccessPolicy, response_headers
from flexportd.expose.security.authentication import AUTHENTICATOR
from flexportd.expose.streaming.sse import install
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID


def create_app(parts: AppContext, door: AccessPolicy, *, dashboard: bool) -> web.Application:
    """Everything that can be asked, behind this door."""
    app = web.Application(middlewares=[auth_middleware])
    app[CONTEXT] = parts
    app[ACCESS_POLICY] = door
    app[FILES] = parts.files
    app[AUTHENTICATOR] = parts.authenticator
    app[JOBS] = parts.jobs
    app[FAILURE_PAGE] = public_error_page
    render.environment()  # read and compile now, not in a request
    install(app, parts.broadcaster)
    register(app, literal_first(parts.routes))
    app.on_response_prepare.append(_add_response_headers)
    app.router.add_get("/static/{name}", assets.serve)
    if dashboard:
        add_routes(app)
    return app


async def _add_response_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What streams: it gets the headers of its request's own before it begins, all else when it is sent."""
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's, with the versions of itself and of Python
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    for name, value in response_headers(request, request.app[ACCESS_POLICY]).items():
        response.headers.add(name, value)
