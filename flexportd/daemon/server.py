"""The web servers: the addresses that they listen on, the control socket, and the connections that they accept.

The event loop's own server accepts every connection, counts none before its TLS handshake has ended, and may stop
listening when no file descriptor is left. aiohttp's server gets our request pipeline and bounded connections.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import cast

import structlog
from aiohttp import web

from flexportd.daemon import sockets
from flexportd.daemon.http_security import HttpSecurity
from flexportd.daemon.systemd import activated_sockets, is_already_bound, is_bound_to
from flexportd.errors import ConfigError
from flexportd.expose.app import AddParts, create_app
from flexportd.expose.context import CONNECTIONS, SERVER_INFO
from flexportd.expose.dashboard import render
from flexportd.expose.middleware import RequestPipeline
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.http.connections import ClientConnection, ConnectionPool, ImmediateHandler
from flexportd.http.problems import problem
from flexportd.settings import ListenAddress, Settings, open_access_warning

log = structlog.get_logger(__name__)

KEEPALIVE_TIMEOUT = 75.0  # seconds from a response to the head of the next request
SHUTDOWN_TIMEOUT = 5.0  # seconds for requests in progress
_LOOKUP_TIMEOUT = 10.0  # seconds to resolve a name
_READ_BUFFER = 64 << 10  # bytes of a body that are buffered; at twice as many, reading pauses
_BATCH = 64  # connections accepted before other work gets its turn
_PAUSE = 0.2  # seconds without accepting, when there is no descriptor or memory for a connection
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_BUSY = problem(503, "overloaded", "There are too many connections; try again later.", retry_after="5")
_BUSY_BYTES = _BUSY.head + b"Connection: close\r\n\r\n" + _BUSY.body


class Server(web.Server):
    """Creates the connections."""

    immediate: ImmediateHandler

    def __call__(self) -> ClientConnection:
        connection = ClientConnection(self, loop=self._loop, **self._kwargs)
        connection.immediate = self.immediate
        return connection


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
        self._connecting: set[asyncio.Task[object]] = set()
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
                self._resume = self._loop.call_later(_PAUSE, self._loop.add_reader, self._sock.fileno(), self._accept)
                return
            self._handle_accepted(sock, None if sock.family == socket.AF_UNIX else peer[0])

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
        limit = self._pool.timeouts.head if self._ssl_context is not None else None
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._ssl_context, ssl_handshake_timeout=limit
            )
        )
        self._connecting.add(task)
        # As a callback, since a task that is cancelled before its first step runs nothing of its own.
        task.add_done_callback(partial(self._end_opening, connection, sock))

    def _end_opening(self, connection: ClientConnection, sock: socket.socket, task: "asyncio.Task[object]") -> None:
        self._connecting.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return
        self._pool.remove(connection)
        sock.close()
        if not isinstance(error, (OSError, asyncio.CancelledError)):  # not a client that has gone or speaks no TLS
            self._loop.call_exception_handler({"message": "A connection was not opened", "exception": error})


async def listen(stack: AsyncExitStack, settings: Settings, add_parts: AddParts, security: HttpSecurity) -> list[str]:
    """Serve until the stack is left; the addresses. Raises ConfigError for an address that cannot be used.

    An address that this machine does not have is only a warning if there is another.
    """
    runner, server = await _runner(stack, settings, add_parts, security.network)
    tls = await asyncio.to_thread(_tls, settings)
    info, connections = runner.app[SERVER_INFO], runner.app[CONNECTIONS]
    served, info.has_tls = info.addresses, tls is not None
    held = activated_sockets()
    exposures, unavailable = list[str](), list[str]()
    # One after the other: each socket belongs to a runner, which closes it, before binding the next can fail.
    async for (sock, is_loopback, address), name in _sockets(settings, held, unavailable):
        if not is_loopback:
            exposures.append(name)
            security.set_bound(exposures)  # before anything is accepted
        is_unix = sock.family.name == "AF_UNIX"
        await Acceptor(runner, server, connections.network, sock, None if is_unix else tls).start()
        served.append(address)
    if not served:
        raise ConfigError(unavailable)
    info.start_warnings += unavailable
    for warning in unavailable:
        log.warning("listen_address_unavailable", reason=warning)
    if security.authenticator.exposures != settings.server.exposures and not security.authenticator.required:
        log.warning("unauthenticated_access_allowed", detail=open_access_warning(security.authenticator.exposures))
    path = settings.storage.control_socket
    if any(is_bound_to(sock, path) for sock, _, _ in held):
        raise ConfigError(f"[storage] control_socket: systemd uses {path} for the web server; choose another path")
    runner, server = await _runner(stack, settings, add_parts, security.control, for_operator=True)
    await Acceptor(runner, server, connections.control, sockets.bind_control_socket(path), None).start()
    stack.callback(sockets.remove_socket, path)
    return served


async def _sockets(
    settings: Settings, held: Sequence[sockets.BoundSocket], warnings: list[str]
) -> AsyncIterator[tuple[sockets.BoundSocket, str]]:
    """The sockets of systemd and those for the rest of `listen`, each with its name for warnings.

    `warnings` receives the addresses that this machine does not have.
    """
    for bound in held:
        yield bound, f"systemd's {bound[2]}"
    places = [
        (place, address)
        for place in settings.server.listen
        for address in await _resolve_in_time(place)
        if not is_already_bound(address, held)
    ]
    ports = dict[ListenAddress, int]()  # a name with port 0 has one free port for all of its addresses
    for place, address in _deduplicate(places):
        try:
            bound = _bind(address, place, ports.get(place, 0))
        except sockets.UnavailableAddressError as error:
            warnings += error.problems
            continue
        if place != address and place.port == 0:
            ports.setdefault(place, bound[0].getsockname()[1])
        yield bound, f"listen {place}"


async def _resolve_in_time(place: ListenAddress) -> list[ListenAddress]:
    try:
        async with asyncio.timeout(_LOOKUP_TIMEOUT):
            return await asyncio.to_thread(sockets.resolve_addresses, place)
    except TimeoutError:
        raise ConfigError(
            f"[server] listen {place}: the name could not be resolved within {_LOOKUP_TIMEOUT:g} s"
        ) from None


def _deduplicate(
    places: Sequence[tuple[ListenAddress, ListenAddress]],
) -> Iterator[tuple[ListenAddress, ListenAddress]]:
    """Each address once, without those that `0.0.0.0` or `[::]` includes at the same port."""
    fixed, seen = {address for _, address in places if address.port}, set[ListenAddress]()
    for place, address in places:
        every = replace(address, host="::" if ":" in str(address.host) else "0.0.0.0")  # noqa: S104
        if address in seen or (address != every and every in fixed):
            continue
        if address.port:
            seen.add(address)
        yield place, address


def _bind(address: ListenAddress, place: ListenAddress, port: int) -> sockets.BoundSocket:
    if port and address.port == 0:
        try:
            return sockets.bind(replace(address, port=port), place)
        except sockets.UnavailableAddressError:
            raise
        except ConfigError:  # the port is taken
            pass
    return sockets.bind(address, place)


async def _runner(
    stack: AsyncExitStack, settings: Settings, add_parts: AddParts, policy: AccessPolicy, *, for_operator: bool = False
) -> tuple[web.AppRunner, Server]:
    await asyncio.to_thread(render.environment)  # reads and compiles the templates now, not in a request
    app = create_app(add_parts, policy, dashboard=settings.dashboard.enabled)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        auto_decompress=False,
        lingering_time=0,  # the connection does that itself, for a limited number of bytes
        read_bufsize=_READ_BUFFER,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None
    pipeline = RequestPipeline(app, runner.server.request_handler, for_operator=for_operator)
    runner.server.__class__ = Server
    server = cast(Server, runner.server)
    server.request_handler, server.immediate = pipeline.handle, pipeline.at_once  # type: ignore[assignment]
    return runner, server


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cert, key = settings.server.tls_cert, settings.server.tls_key
    if cert is None:
        return None
    assert key is not None  # the settings check that
    return sockets.tls_context(cert, key)
