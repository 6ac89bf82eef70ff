"""Accepts connections: as many as the pool has room for. It resumes after a shortage of file descriptors or memory.

The event loop's own server accepts every connection, counts none before its TLS handshake has ended, and may stop
listening when no file descriptor is left. aiohttp's server gets our request pipeline and bounded connections.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import cast

import structlog
from aiohttp import web

from flexportd.expose.middleware import RequestPipeline
from flexportd.http.connections import ClientConnection, ConnectionPool, ImmediateHandler
from flexportd.http.problems import problem

log = structlog.get_logger(__name__)

_BATCH = 64  # connections accepted before other work gets its turn
_PAUSE = 0.2  # seconds without accepting, when there is no descriptor or memory for a connection
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_BUSY = problem(503, "overloaded", "There are too many connections; try again later.", retry_after="5")
_BUSY_BYTES = _BUSY.head + b"Connection: close\r\n\r\n" + _BUSY.body


class Server(web.Server):
    """Creates the connections."""

    immediate: ImmediateHandler

    def __call__(self) -> ClientConnection:
        """A connection that is not yet open."""
        connection = ClientConnection(self, loop=self._loop, **self._kwargs)
        connection.immediate = self.immediate
        return connection


def install_pipeline(runner: web.AppRunner, pipeline: RequestPipeline) -> Server:
    """Put a request pipeline in front of the application of a runner that is set up; its server."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    server.__class__ = Server
    server.request_handler = pipeline.handle  # type: ignore[assignment]
    ours = cast(Server, server)
    ours.immediate = pipeline.at_once
    return ours


class Acceptor(web.BaseSite):
    """Serves the connections that arrive at one listening socket, as a site of aiohttp's runner."""

    __slots__ = ("_connecting", "_loop", "_pool", "_resume", "_server_factory", "_sock")

    def __init__(
        self,
        runner: web.AppRunner,
        server: Server,
        pool: ConnectionPool,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._server_factory = server
        self._pool = pool
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The address, for aiohttp."""
        return str(self._sock.getsockname())

    async def start(self) -> None:
        """Start accepting."""
        await super().start()
        self._sock.setblocking(False)  # systemd may hand over a blocking one, whose accept would stop the event loop
        self._loop.add_reader(self._sock.fileno(), self._accept)

    async def stop(self) -> None:
        """Stop accepting, and cancel handshakes."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await super().stop()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    continue  # the client has gone
                log.warning("connection_accept_failed", reason=error.strerror)
                self._pool.out_of_files()
                self._loop.remove_reader(self._sock.fileno())
                self._resume = self._loop.call_later(_PAUSE, self._resume_accepting)
                return
            self._handle_accepted(sock, None if sock.family == socket.AF_UNIX else peer[0])

    def _resume_accepting(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _handle_accepted(self, sock: socket.socket, address: str | None) -> None:
        sock.setblocking(False)
        if not self._pool.make_room(address):
            with contextlib.suppress(OSError):
                if self._ssl_context is None:
                    sock.send(_BUSY_BYTES)
            sock.close()
            return
        connection = self._server_factory()
        self._pool.add(connection, sock, address)
        task = self._loop.create_task(self._open(connection, sock))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, connection: ClientConnection, sock: socket.socket) -> None:
        limit = self._pool.timeouts.head if self._ssl_context is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._ssl_context, ssl_handshake_timeout=limit
            )
        except OSError:  # the client has gone, or does not speak TLS
            self._pool.remove(connection)
            sock.close()
        except BaseException:
            self._pool.remove(connection)
            sock.close()
            raise
