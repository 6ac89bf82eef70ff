"""The web application: all routes of the API, in the order of the documentation, and the pages."""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import hdrs, web

from flexportd.core.resources.registry import Registry
from flexportd.expose import api, api_docs, metrics
from flexportd.expose.api import events, resources
from flexportd.expose.context import REGISTRY
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.layout import failure, public_error_page
from flexportd.expose.dashboard.page import SUBMIT_GUARD, DoubleSubmitGuard
from flexportd.expose.dashboard.pages import add_routes, share
from flexportd.expose.feeds import icalendar
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.route import API, SERVED_ROUTES, TAGS, Route
from flexportd.expose.openapi.router import register, routes_of
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, AccessPolicy, response_headers
from flexportd.expose.streaming import sse
from flexportd.expose.streaming.sse import end_streams
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID

AddParts = Callable[[web.Application], None]


def create_app(add_parts: AddParts, policy: AccessPolicy, *, dashboard: bool) -> web.Application:
    """The application of one web server; `add_parts` sets the parts that handlers use (see `expose.context`)."""
    app = web.Application(middlewares=[auth_middleware])
    add_parts(app)
    app[ACCESS_POLICY] = policy
    app[FAILURE_PAGE] = public_error_page
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(_add_response_headers)
    for resource in _resources((*app[SERVED_ROUTES],), app[REGISTRY], dashboard=dashboard):
        app.router.register_resource(resource)
    if dashboard:
        app[FAILURE_PAGE], app[SUBMIT_GUARD] = failure, DoubleSubmitGuard()
    return app


@functools.lru_cache(maxsize=8)
def _resources(served: tuple[Route, ...], registry: Registry, *, dashboard: bool) -> list[web.AbstractResource]:
    """The paths and their handlers, the same for all applications; making them takes a fifth of the CPU of a start."""
    router = web.UrlDispatcher()
    register(router, literal_first(served))
    router.add_get("/static/{name}", render.serve_asset)
    if dashboard:
        add_routes(router, registry)
    return list(router.resources())


async def _add_response_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of this request to a streamed response; PreparedStreamResponse sends its own."""
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's, with the versions of itself and of Python
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    for name, value in response_headers(request, request.app[ACCESS_POLICY]).items():
        response.headers.add(name, value)


_MODULES = [importlib.import_module(f"{api.__name__}.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
_METHODS = ("GET", "POST", "PATCH", "DELETE")


@functools.lru_cache(maxsize=8)
def routes(registry: Registry, webhook_path: str) -> tuple[Route, ...]:
    """Those that the modules declare and those of the registry, by tag, resource and path."""
    listed = tuple(resources.resources(registry).values())
    declared = routes_of(*_MODULES, metrics, icalendar, sse, share, api_docs)
    found = (
        *(replace(one, path=webhook_path) if one.handler is events.receive_webhook else one for one in declared),
        *(route for resource in listed for route in resource.routes()),
        *resources.nested_routes(listed),
    )
    tags, ranks = list(TAGS), {domain.route: rank for rank, domain in enumerate(registry)}

    def order(route: Route) -> tuple[int, int, str, int]:
        segment = route.path.removeprefix(f"{API}/").partition("/")[0]
        return tags.index(route.tag), ranks.get(segment, len(ranks)), route.path, _METHODS.index(route.method)

    return tuple(sorted(found, key=order))


def literal_first(listed: Sequence[Route]) -> list[Route]:
    """In the order for a router that takes the first match: `/documents/files` before `/documents/{id}`."""
    return sorted(listed, key=lambda route: [part.startswith("{") for part in route.path.split("/")])
