"""The short way, before aiohttp's router: webhooks, and answers that lie ready.

Nine requests in ten are one of the two, and routing them costs more than answering them. Whatever is not plainly one of
these goes the long way, which gives the same answer.
"""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from flexportd.answers import EncodedResponse
from flexportd.expose.parts import Parts
from flexportd.expose.problems import is_ours, problems

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """Stands before an application's own handler."""

    def __init__(self, parts: Parts, long_way: Handler, *, private: bool) -> None:
        self._parts = parts
        self._cache = parts.cache
        self._long_way = long_way
        self._private = private

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer at once, or hand on."""
        headers = request.headers
        if request.method == hdrs.METH_GET:
            if self._private and hdrs.IF_NONE_MATCH not in headers and self._may_ask(headers.get(hdrs.HOST, "")):
                path = request.raw_path
                zipped = "gzip" in headers.get(hdrs.ACCEPT_ENCODING, "")
                answer = self._cache.get((path, True) if zipped else path)
                if answer is not None:
                    return EncodedResponse(answer)
        elif (
            request.method == hdrs.METH_POST
            and request.raw_path == self._parts.shown.webhook_path
            and hdrs.EXPECT not in headers
        ):
            return await problems(request, self._parts.webhook)
        return await self._long_way(request)

    def _may_ask(self, host: str) -> bool:
        return is_ours(host, self._parts.hosts)


def stand_before(runner: web.AppRunner, parts: Parts, *, private: bool) -> None:
    """Put a Front before the application of a runner that is set up."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    server.request_handler = Front(parts, server.request_handler, private=private).serve  # type: ignore[assignment]
