"""Every request on the long way: who asks and whether they may, a time limit, and any error as a problem document."""

import asyncio

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from flexportd.core.access.keys import Principal, Scope
from flexportd.errors import ForbiddenError, RefusedError
from flexportd.expose.openapi.route import Route
from flexportd.expose.request_keys import PRINCIPAL, TIMEOUT
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy
from flexportd.expose.security.authentication import BASIC_CHALLENGE, BEARER_CHALLENGE
from flexportd.expose.security.csrf import check_form_token
from flexportd.http.access_log import has_token
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID, answer_of, as_problem
from flexportd.http.responses import HTML, NO_REFERRER, PreparedResponse, PreparedStreamResponse

KEY_PROBLEMS = ("key-missing", "key-unknown", "key-revoked", "key-expired")

AUDIENCE_ALLOWED = "for_audiences"
"""The attribute of a page's handler that a key for some shipments may open; the handler limits what it shows."""

TIME_LIMIT = 30.0  # seconds for an answer; what streams sees to itself


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in, or refuse; then answer within the time limit."""

    async def admitted(request: web.Request) -> web.StreamResponse:
        route = route_of(request)
        if request.match_info.http_exception is not None:
            return await handler(request)
        is_proven = _authorize(request, route)
        if route is not None and route.streams:
            return await handler(request)
        try:
            async with asyncio.timeout(TIME_LIMIT) as limit:
                request[TIMEOUT] = limit
                if route is None and not is_proven:
                    await check_form_token(request)
                return await handler(request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise RefusedError(
                503, "response-timeout", f"The answer took longer than {TIME_LIMIT:g} s.", retry_after=5
            ) from None

    return await error_middleware(request, admitted)


def _authorize(request: web.Request, route: Route | None) -> bool:
    """Whether it is proven that no other site's page sent this. Raises RefusedError, ForbiddenError."""
    door: AccessPolicy = request.app[ACCESS_POLICY]
    scope = required_scope(request, route)
    is_proven = scope is None or door.check_origin(request)
    viewer = door.authenticate(request, scope)
    request[PRINCIPAL] = viewer
    if scope is not None and viewer.audience is not None:
        if route is None and not getattr(request.match_info.handler, AUDIENCE_ALLOWED, False):
            raise web.HTTPNotFound  # of the pages, such a key has a few; the others do not exist for it
        if route is not None and not route.audience_allowed:
            raise ForbiddenError("This key can only open its own shipments.")
    return is_proven


def principal_of(request: web.Request) -> Principal | None:
    """Who asks, also where no route was found; None for a caller who was not let in."""
    try:
        return request.app[ACCESS_POLICY].authenticate(request, "read")
    except RefusedError:
        return None


def route_of(request: web.Request) -> Route | None:
    """The route that a request goes to; None for pages, and where there is none."""
    found: Route | None = getattr(request.match_info.handler, "route", None)
    return found


def required_scope(request: web.Request, route: Route | None) -> Scope | None:
    """What a key must allow: a route says so itself; pages are read, and what they do is an administrator's."""
    if route is not None:
        return route.scope
    if request.path.startswith("/static/"):
        return None
    return "read" if request.method in (hdrs.METH_GET, hdrs.METH_HEAD) else "admin"


async def error_middleware(request: web.Request, handler: Handler, *, as_pages: bool = True) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document; unknown errors never show their text.

    `as_pages`: a browser that looks for a page gets one.
    """
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        if request.writer.output_size and request.transport is not None:
            request.transport.abort()  # a body has begun, and must not look complete
            raise
        found = as_problem(request, error)
    is_page = as_pages and _wants_html(request)
    if found.slug in KEY_PROBLEMS:
        found.headers["www_authenticate"] = BASIC_CHALLENGE if is_page else BEARER_CHALLENGE
    if is_page:
        if has_token(request.rel_url):
            found.headers["referrer_policy"] = NO_REFERRER
        body = await request.app[FAILURE_PAGE](request, found.status, found.detail)
        answer = PreparedResponse(found.status, body, HTML, **found.headers)
    else:
        answer = answer_of(found, request.get(REQUEST_ID))
    # The rest of a body that is not read cannot be told from a next request.
    return PreparedStreamResponse(answer, close=not request.content.is_eof())


def _wants_html(request: web.Request) -> bool:
    """Whether a browser looks for a page: programs get problem documents, also those that take any text (Java)."""
    return (
        "text/html" in request.headers.get(hdrs.ACCEPT, "")
        and not request.path.startswith("/api/")
        and (request.method in (hdrs.METH_GET, hdrs.METH_HEAD) or route_of(request) is None)
        and FAILURE_PAGE in request.app
    )
