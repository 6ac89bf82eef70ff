"""aiohttp's server with two things of ours: a Front before the application, and problems told of what is no HTTP.

aiohttp answers bytes that it cannot read by itself, with a page of its own, before any handler of ours. The only hook
for that is its RequestHandler, which `Server` makes; the version is bounded in pyproject.toml and
tests/integration/test_entrance.py holds what is relied on here.
"""

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from flexportd.answers import EncodedResponse
from flexportd.expose.front import Front
from flexportd.expose.problems import problem


class _Protocol(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or larger than is taken."""
        if status != 400 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        detail = "The request is no HTTP that can be read here, or its line or headers are too long."
        return EncodedResponse(problem(400, "http", detail, cache_control="no-store"), close=True)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


def stand_before(runner: web.AppRunner, front: Front) -> None:
    """Put a Front before the application of a runner that is set up."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    server.__class__ = _Server
    server.request_handler = front.serve  # type: ignore[assignment]
