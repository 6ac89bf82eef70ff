"""The routes of the look-alike: lists and objects, metadata of shipments, and tokens.

Base paths are the published ones. Other published lists (bookings, invoices, …) are served empty, as an account that
has none of them sees them, so that a client may sync everything.
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from flexportd.clock import Clock
from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.access import Access, RefusedError
from flexportd.sandbox.answers import answer, encoded, failure, gateway_page, page
from flexportd.sandbox.faults import Dice
from flexportd.sandbox.queries import Page, page_of, select
from flexportd.sandbox.shapes import PATHS, Wire
from flexportd.sandbox.world import World

EMPTY_LISTS = (
    "/products",
    "/invoices",
    "/commercial_invoices",
    "/bookings",
    "/booking_line_items",
    "/purchase_orders",
    "/purchase_order_line_items",
    "/documents",
    "/customs_entries",
    "/network/companies",
    "/network/me/companies",
    "/network/company_entities",
    "/network/contacts",
    "/network/locations",
    "/ports",
)
TOKEN_PATH = "/oauth/token"  # noqa: S105 (a path)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The HTTP side of one world."""

    def __init__(self, world: World, access: Access, dice: Dice, clock: Clock) -> None:
        self._world = world
        self._access = access
        self._dice = dice
        self._clock = clock

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard], client_max_size=2**20)
        app.router.add_post(TOKEN_PATH, self._token)
        for kind, path in PATHS.items():
            app.router.add_get(path, self._list_of(kind))
            app.router.add_get(f"{path}/{{id}}", self._one_of(kind))
        app.router.add_patch("/shipments/{id}", self._update)
        for path in EMPTY_LISTS:
            app.router.add_get(path, self._empty)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the caller, make faults, and turn every error into an envelope."""
        if request.path == TOKEN_PATH and request.method == "POST":
            # Tokens are ten a day: a fault here would lock a client out for reasons of no interest.
            return await handler(request)
        try:
            self._access.check(request.headers.get("Authorization"))
            return await self._faulty(request, handler)
        except RefusedError as error:
            response = failure(request, error.status, error.code, str(error))
            if error.retry_after is not None:
                response.headers["Retry-After"] = str(error.retry_after)
            return response
        except InvalidError as error:
            return failure(request, 400, "bad_request", str(error))
        except NotFoundError as error:
            return failure(request, 404, "not_found", str(error))
        except web.HTTPException as error:
            return _translated(request, error)

    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer with the faults asked for. A reset or a cut comes after the work is done: its outcome is unknown."""
        if self._dice.faults.latency:
            await self._clock.sleep(self._dice.faults.latency)
        fault = self._dice.answer()
        if fault == "429":
            raise RefusedError(429, "too_many_requests", "Too many requests.", retry_after=1)
        if fault == "5xx":
            status = self._dice.server_error()
            if status == 500:
                return failure(request, 500, "internal_server_error", "Something went wrong.")
            return gateway_page(status)
        response = await handler(request)
        if fault == "reset" and request.transport is not None:
            request.transport.abort()
        if fault == "truncate" and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return web.Response(body=response.body[: len(response.body) // 2], content_type="application/json")
        return response

    def _list_of(self, kind: str) -> Handler:
        async def listed(request: web.Request) -> web.Response:
            query = {name: request.query.getall(name) for name in request.query}
            return answer(request, page(request, page_of(select(self._world, kind, query), query)))

        return listed

    def _one_of(self, kind: str) -> Handler:
        async def shown(request: web.Request) -> web.Response:
            found = self._find(kind, request.match_info["id"])
            # A deleted leg is shown only on request.
            if found.get("deleted_at") and request.query.get("f.include_deleted") != "true":
                raise NotFoundError("This leg was deleted.")
            return answer(request, found)

        return shown

    async def _empty(self, request: web.Request) -> web.Response:
        query = {name: request.query.getall(name) for name in request.query}
        asked = page_of([], query)
        return answer(request, page(request, Page(asked.number, asked.per, [], 0)))

    async def _update(self, request: web.Request) -> web.Response:
        """Replace the whole metadata of a shipment: nothing else of it can be written."""
        shipment = self._find("/shipment", request.match_info["id"])
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            raise InvalidError("The body is not JSON.", "body") from None
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict) or not all(_is_texts(value) for value in metadata.values()):
            raise InvalidError("metadata must be an object whose values are lists of texts.", "metadata")
        return answer(request, self._world.amend(shipment["id"], {"metadata": metadata}))

    async def _token(self, request: web.Request) -> web.Response:
        """OAuth client credentials, as JSON or as a form; errors in OAuth's own shape."""
        try:
            if request.content_type == "application/json":
                asked = msgspec.json.decode(await request.read())
            else:
                asked = dict(await request.post())
            return encoded(200, self._access.token(asked if isinstance(asked, dict) else {}))
        except msgspec.DecodeError:
            return encoded(400, {"error": "invalid_request", "error_description": "The body is not JSON."})
        except RefusedError as error:
            response = encoded(error.status, {"error": error.code, "error_description": str(error)})
            if error.retry_after is not None:
                response.headers["Retry-After"] = str(error.retry_after)
            return response

    def _find(self, kind: str, text: str) -> Wire:
        found = (
            self._world.tables[kind].get(int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None
        )
        if found is None:
            raise NotFoundError(f"There is no {kind} {text}.")
        return found


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _translated(request: web.Request, error: web.HTTPException) -> web.Response:
    """An error of the router in an envelope, with the headers that matter."""
    response = failure(request, error.status, error.reason.lower().replace(" ", "_"), error.reason)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
