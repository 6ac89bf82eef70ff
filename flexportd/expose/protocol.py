"""aiohttp's server with two things of ours: a Front before the application, and connections with bounds."""

from typing import cast

from aiohttp import web

from flexportd.expose.connections import ClientConnection
from flexportd.expose.front import Front


class Server(web.Server):
    """Makes the connections; a pool counts them."""

    def __call__(self) -> ClientConnection:
        """A connection that is still to be opened."""
        return ClientConnection(self, loop=self._loop, **self._kwargs)


def stand_before(runner: web.AppRunner, front: Front) -> Server:
    """Put a Front before the application of a runner that is set up; its server."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    server.__class__ = Server
    server.request_handler = front.serve  # type: ignore[assignment]
    return cast(Server, server)
