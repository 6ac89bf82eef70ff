"""aiohttp's server with two things of ours: a Front before the application, and connections with bounds."""

from typing import cast

from aiohttp import web

from flexportd.expose.middleware import RequestPipeline
from flexportd.http.connections import ClientConnection, ImmediateHandler


class Server(web.Server):
    """Makes the connections; a pool counts them."""

    immediate: ImmediateHandler

    def __call__(self) -> ClientConnection:
        """A connection that is still to be opened."""
        connection = ClientConnection(self, loop=self._loop, **self._kwargs)
        connection.immediate = self.immediate
        return connection


def install_pipeline(runner: web.AppRunner, front: RequestPipeline) -> Server:
    """Put a Front before the application of a runner that is set up; its server."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    server.__class__ = Server
    server.request_handler = front.handle  # type: ignore[assignment]
    ours = cast(Server, server)
    ours.immediate = front.at_once
    return ours
