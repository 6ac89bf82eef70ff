"""The routes of the simulated API, under the published paths: every list and object, files of documents, and writes.

A write answers with status 200 and the object as the lists show it, or with 400 and the first problem of its body.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.catalog.kinds import (
    ALL_PATHS,
    AMENDMENTS_PATH,
    BOOKING,
    BOOKING_LINE,
    COMMERCIAL_INVOICE,
    COMPANY,
    CONTACT,
    DOCUMENT,
    ENTITY,
    LOCATION,
    PORT,
    PRODUCT,
    SHIPMENT,
    Wire,
)
from flexportd.sandbox.http.middleware import TOKEN_PATH, ApiError, ApiMiddleware, Authenticator, Handler
from flexportd.sandbox.http.queries import Lists
from flexportd.sandbox.http.responses import data_response, json_response, page
from flexportd.sandbox.http.write_log import RECEIVED_WRITE, decode_json
from flexportd.sandbox.objects.invoices import DIGITISED
from flexportd.sandbox.world.world import World
from flexportd.sandbox.writes.account import AccountObjects
from flexportd.sandbox.writes.body import RequestBody
from flexportd.sandbox.writes.bookings import amend_booking, create_booking, create_booking_line
from flexportd.sandbox.writes.commercial_invoices import create_commercial_invoice, update_commercial_invoice
from flexportd.sandbox.writes.documents import create_document, decode_file
from flexportd.sandbox.writes.network import create_company, create_company_entity, create_contact, create_location
from flexportd.sandbox.writes.products import create_product, update_product

OWN_COMPANY_PATH, CARBON_PATH = "/network/me/companies", "/carbon_calculation"
# Grams of CO2 equivalent per ton and kilometre, and default kilometres.
_MODES = {"air": (602.0, 8_000.0), "ocean": (16.0, 18_000.0), "rail": (28.0, 2_000.0), "truck": (105.0, 800.0)}
_TONS_A_TEU = 10.0
_LENGTHS = {"km": 1.0, "mi": 1.609344, "m": 0.001, "cm": 0.000_01, "in": 0.000_025_4}
_WEIGHTS = {"kg": 0.001, "lbs": 0.00045359237, "t": 1.0}
_MAX_BODY = 32 * 2**20  # a file of 20 MiB is 27 MiB of Base64

_CREATE: Mapping[str, Callable[[AccountObjects, RequestBody], Wire]] = {
    ALL_PATHS[PRODUCT]: create_product,
    ALL_PATHS[BOOKING]: create_booking,
    ALL_PATHS[BOOKING_LINE]: create_booking_line,
    ALL_PATHS[COMMERCIAL_INVOICE]: create_commercial_invoice,
    ALL_PATHS[COMPANY]: create_company,
    ALL_PATHS[ENTITY]: create_company_entity,
    ALL_PATHS[CONTACT]: create_contact,
    ALL_PATHS[LOCATION]: create_location,
}
# The id of a commercial invoice can only belong in the path, which no source shows.
_UPDATE: Mapping[str, Callable[[AccountObjects, RequestBody, str], Wire]] = {
    ALL_PATHS[PRODUCT]: update_product,
    ALL_PATHS[COMMERCIAL_INVOICE]: update_commercial_invoice,
}


class Api:
    """The API of one world. With `complete_lists`, lists of shipments are as complete as single shipments."""

    def __init__(
        self,
        world: World,
        authenticator: Authenticator,
        middleware: ApiMiddleware,
        send_events: Callable[[list[Wire]], Awaitable[None]],
        *,
        complete_lists: bool,
    ) -> None:
        """`send_events` sends the webhooks of events that a write causes."""
        self._world = world
        self._account = AccountObjects(world)
        self._send_events = send_events
        self._authenticator = authenticator
        self._middleware = middleware
        self._lists = Lists(world, complete=complete_lists)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._middleware.handle], client_max_size=_MAX_BODY)
        app.router.add_post(TOKEN_PATH, self._token)
        app.router.add_post(CARBON_PATH, self._carbon)
        app.router.add_get(OWN_COMPANY_PATH, self._own_company)
        app.router.add_get("/documents/{id}/download", self._download)
        for kind, path in ALL_PATHS.items():
            app.router.add_get(path, self._list_handler(kind))
            # Ports have no ids.
            if kind != PORT:
                app.router.add_get(f"{path}/{{id}}", self._object_handler(kind))
        for path, create in _CREATE.items():
            app.router.add_post(path, self._create_handler(create))
        for path, update in _UPDATE.items():
            app.router.add_patch(f"{path}/{{id}}", self._update_handler(update))
        app.router.add_patch("/shipments/{id}", self._set_metadata)
        app.router.add_post(AMENDMENTS_PATH, self._amend)
        # The tutorial has the slash, the reference not.
        for path in (ALL_PATHS[DOCUMENT], f"{ALL_PATHS[DOCUMENT]}/"):
            app.router.add_post(path, self._upload)
        return app

    def _create_handler(self, create: Callable[[AccountObjects, RequestBody], Wire]) -> Handler:
        async def created(request: web.Request) -> web.Response:
            made = create(self._account, await _write_body(request))
            response = _written(request, made)
            if made["_object"] == COMMERCIAL_INVOICE:
                await self._send_events([self._world.announce(made["shipment"]["id"], DIGITISED)])
            return response

        return created

    def _update_handler(self, update: Callable[[AccountObjects, RequestBody, str], Wire]) -> Handler:
        async def updated(request: web.Request) -> web.Response:
            return _written(request, update(self._account, await _write_body(request), request.match_info["id"]))

        return updated

    async def _amend(self, request: web.Request) -> web.Response:
        pending = request[RECEIVED_WRITE].fault == "pending_amendment"
        return _written(request, amend_booking(self._account, await _write_body(request), pending=pending))

    async def _upload(self, request: web.Request) -> web.Response:
        body = await _write_body(request)
        file = await asyncio.to_thread(decode_file, body)
        return _written(request, create_document(self._account, body, file))

    def _list_handler(self, kind: str) -> Handler:
        async def listed(request: web.Request) -> web.Response:
            query = {name: request.query.getall(name) for name in request.query}
            return data_response(request, page(request, self._lists.page(kind, query)))

        return listed

    def _object_handler(self, kind: str) -> Handler:
        async def shown(request: web.Request) -> web.Response:
            found = self._world.find(kind, request.match_info["id"])
            # A deleted leg is shown only on request.
            if found.get("deleted_at") and request.query.get("f.include_deleted") != "true":
                raise NotFoundError("This leg was deleted.")
            return data_response(request, found)

        return shown

    async def _own_company(self, request: web.Request) -> web.Response:
        """The company of the API key: one object, not a list, as published."""
        return data_response(request, self._world.collections[COMPANY].rows()[0])

    async def _download(self, request: web.Request) -> web.Response:
        body, media_type = self._world.file(request.match_info["id"])
        return web.Response(body=body, content_type=media_type)

    async def _carbon(self, request: web.Request) -> web.Response:
        return data_response(request, calculation(await decode_json(request)))

    async def _set_metadata(self, request: web.Request) -> web.Response:
        """Replace the whole metadata of a shipment: nothing else of it can be written."""
        shipment = self._world.find(SHIPMENT, request.match_info["id"])
        metadata = (await _write_body(request)).metadata("metadata")
        return _written(request, self._world.edit_shipment(shipment["id"], {"metadata": metadata}))

    async def _token(self, request: web.Request) -> web.Response:
        """OAuth client credentials, as JSON or as a form; errors in OAuth's own shape."""
        try:
            if request.content_type == "application/json":
                body = msgspec.json.decode(await request.read())
            else:
                body = dict(await request.post())
            return json_response(200, self._authenticator.issue_token(body if isinstance(body, dict) else {}))
        except msgspec.DecodeError:
            return json_response(400, {"error": "invalid_request", "error_description": "The body is not JSON."})
        except ApiError as error:
            response = json_response(error.status, {"error": error.code, "error_description": str(error)})
            if error.retry_after is not None:
                response.headers["Retry-After"] = str(error.retry_after)
            return response


async def _write_body(request: web.Request) -> RequestBody:
    """The body of a write. Raises InvalidError for one that is no object."""
    return RequestBody(await decode_json(request))


def _written(request: web.Request, made: Wire) -> web.Response:
    request[RECEIVED_WRITE].made = made["_object"], made["id"]
    return data_response(request, made)


def calculation(body: object) -> Wire:
    """The result of a request. Raises InvalidError for one without a mode or a weight."""
    if not isinstance(body, Mapping):
        raise InvalidError("The body must be an object.", "body")
    mode = body.get("transportation_mode")
    if mode not in _MODES:
        raise InvalidError(f"transportation_mode must be one of {', '.join(_MODES)}.", "transportation_mode")
    grams, default_distance = _MODES[str(mode)]
    tons = _quantity(body.get("chargeable_weight") or body.get("weight"), _WEIGHTS, "weight")
    if tons is None and body.get("teus") is not None:
        tons = _number(body["teus"], "teus") * _TONS_A_TEU
    if tons is None:
        raise InvalidError("weight, chargeable_weight or teus is needed.", "weight")
    distance = _quantity(body.get("distance"), _LENGTHS, "distance")
    emitted = tons * (default_distance if distance is None else distance) * grams / 1_000_000
    weight = {"_object": "/quantity/weight", "value": round(emitted, 4), "unit": "t"}
    return {"_object": "/carbon_calculation", "co2e_emissions": weight}


def _quantity(given: object, units: Mapping[str, float], name: str) -> float | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("unit") not in units:
        raise InvalidError(f"{name} must be an object with value and unit, one of {', '.join(units)}.", name)
    return _number(given.get("value"), name) * units[str(given["unit"])]


def _number(given: object, name: str) -> float:
    """A number, or a text that is one: samples have both."""
    try:
        found = float(given) if isinstance(given, int | float | str) else -1.0
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e12:
        raise InvalidError(f"{name} must be a number of 0 or more.", name)
    return found
