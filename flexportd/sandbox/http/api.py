"""The routes of the simulated API, under the published paths: every list and object, and the files of documents.

Writes are limited to the metadata of shipments, carbon calculations and tokens.
"""

import msgspec
from aiohttp import web

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.catalog.kinds import ALL_PATHS, COMPANY, PORT, SHIPMENT
from flexportd.sandbox.http.auth import ApiError, Authenticator
from flexportd.sandbox.http.middleware import TOKEN_PATH, ApiMiddleware, Handler
from flexportd.sandbox.http.queries import Lists
from flexportd.sandbox.http.responses import data_response, json_response, page
from flexportd.sandbox.objects.carbon import calculation
from flexportd.sandbox.world.world import World

OWN_COMPANY_PATH, CARBON_PATH = "/network/me/companies", "/carbon_calculation"


class Api:
    """The API of one world. With `complete_lists`, lists of shipments are as complete as single shipments."""

    def __init__(
        self, world: World, authenticator: Authenticator, middleware: ApiMiddleware, *, complete_lists: bool
    ) -> None:
        self._world = world
        self._authenticator = authenticator
        self._middleware = middleware
        self._lists = Lists(world, complete=complete_lists)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._middleware.handle], client_max_size=2**20)
        app.router.add_post(TOKEN_PATH, self._token)
        app.router.add_post(CARBON_PATH, self._carbon)
        app.router.add_get(OWN_COMPANY_PATH, self._own_company)
        app.router.add_get("/documents/{id}/download", self._download)
        for kind, path in ALL_PATHS.items():
            app.router.add_get(path, self._list_handler(kind))
            # Ports have no ids.
            if kind != PORT:
                app.router.add_get(f"{path}/{{id}}", self._object_handler(kind))
        app.router.add_patch("/shipments/{id}", self._update)
        return app

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
        return data_response(request, calculation(await _json(request)))

    async def _update(self, request: web.Request) -> web.Response:
        """Replace the whole metadata of a shipment: nothing else of it can be written."""
        shipment = self._world.find(SHIPMENT, request.match_info["id"])
        body = await _json(request)
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict) or not all(_is_text_list(value) for value in metadata.values()):
            raise InvalidError("metadata must be an object whose values are lists of texts.", "metadata")
        return data_response(request, self._world.edit_shipment(shipment["id"], {"metadata": metadata}))

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


async def _json(request: web.Request) -> object:
    try:
        found: object = msgspec.json.decode(await request.read())
    except msgspec.DecodeError:
        raise InvalidError("The body is not JSON.", "body") from None
    return found


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
