"""Client connections: how many are allowed, how long each may take, and which is closed to make room.

aiohttp only closes idle connections after a while, so a pool limits them. Each server (network, control socket) has its
own pool, so that one cannot fill the other. The pool decides whether to accept a connection, and checks all of them
once a second:

- a request head must arrive within `Timeouts.head`: 408 for one that has started, otherwise the connection is closed;
- a client must read: a response that waits in memory and does not shrink within `Timeouts.write` ends the connection;
- all waiting responses together have a limit, and so have all incomplete heads: beyond it connections are closed.

When there is no room for a new connection, the connection that has been idle longest is closed; if none is idle, one
whose request body or whose reader is slow. So a client that sends its request at once is served, however many others
only hold connections.
"""

import asyncio
import contextlib
import functools
import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from flexportd.http.client_ip import Network, client_at, is_allowed, site_of
from flexportd.http.problems import problem
from flexportd.http.responses import PreparedStreamResponse

log = structlog.get_logger(__name__)

REFUSAL_REASONS = ("max_connections", "max_connections_per_address", "open_files")
"""Why a new connection is refused: a limit is reached, or no file descriptor is left."""

ABORT_REASONS = ("idle", "slow", "header_timeout", "header_memory", "write_timeout", "write_memory")
"""Why a connection is aborted: idle or slow while a new one needs its place; no complete head in time, or too many
incomplete heads; a client that does not read, or too much data that waits for such clients."""

MAX_HEAD = 64 << 10  # bytes of one incomplete request head
MAX_HEADS = 32 << 20  # bytes of all of them
MAX_UNSENT = 32 << 20  # bytes of responses that wait for clients to read them
CONTROL_CONNECTIONS = 128
RESERVED_FILES = CONTROL_CONNECTIONS + 192  # for the control socket, the store, the cache, and requests to Flexport
_FILES_EACH = 2  # a connection, and the file that is sent through it
_MIN_CONNECTIONS = 16  # connections, however few files may be open
_MIN_READ = 64 << 10  # bytes that a client must take within `Timeouts.write`, unless it takes all
_MAX_DISCARDED = 256 << 10  # bytes of a refused body that are read before the connection is closed
_DISCARD_TIME = 1.0  # seconds
_SLOW_AFTER = 1.0  # seconds after which a body or a reader that does not get on may be closed for a new connection
_RECENT = 3600.0  # seconds for which a refused connection is a warning
_LOG_INTERVAL = 60.0  # seconds between log entries about refused connections
_RESET, _CLOSE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # SO_LINGER: what closing a socket does
_QUEUED_REQUESTS = 4  # pipelined requests of one connection beyond which nothing is read


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one connection may take, in seconds."""

    head: float = 15.0  # for a request head, from the beginning of the connection or from its first byte
    write: float = 30.0  # without reading
    check: float = 1.0  # between checks


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The most connections, in total and from one address; those of trusted proxies count only in total."""

    total: int
    per_address: int
    trusted: Sequence[Network] = ()


@dataclass
class ConnectionPools:
    """The connections of the web server and of the control socket; `open_files` is the limit of file descriptors."""

    network: "ConnectionPool"
    control: "ConnectionPool"
    open_files: int

    @classmethod
    def create(cls, limits: ConnectionLimits, open_files: int) -> "ConnectionPools":
        """Pools for so many connections, or as many as there are files for."""
        total = min(limits.total, max(_MIN_CONNECTIONS, (open_files - RESERVED_FILES) // _FILES_EACH))
        network = ConnectionPool("network", replace(limits, total=total))
        control = ConnectionPool("control", ConnectionLimits(CONTROL_CONNECTIONS, CONTROL_CONNECTIONS))
        return cls(network, control, open_files)

    async def run(self) -> None:
        """Check all connections, until cancelled."""
        while True:
            await asyncio.sleep(self.network.timeouts.check)
            for pool in (self.network, self.control):
                pool.check(asyncio.get_running_loop().time())


class _Host:
    __slots__ = ("count", "idle", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        self.idle: OrderedDict[ClientConnection, None] = OrderedDict()


class ConnectionPool:
    """The connections of one server."""

    def __init__(self, name: str, limits: ConnectionLimits) -> None:
        self.name = name
        self.limits = limits
        self.timeouts = Timeouts()
        self.refused: Counter[str] = Counter()  # connections by `REFUSAL_REASONS`
        self.closed: Counter[str] = Counter()  # connections by `ABORT_REASONS`
        self._refused_at: float | None = None  # the loop's time
        self.unsent = self.partial_heads = 0  # bytes
        self.requests = 0  # that have arrived since the start
        self._all: set[ClientConnection] = set()
        self._hosts: dict[str, _Host] = {}
        self._idle: OrderedDict[ClientConnection, None] = OrderedDict()
        self._stalled: OrderedDict[ClientConnection, None] = OrderedDict()
        self._slow: list[ClientConnection] = []  # as of the last check; the slowest last
        self._loop = asyncio.get_running_loop()
        self._logged: Counter[str] = Counter()
        self._log_at = 0.0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def recently_refused(self) -> bool:
        """Whether a connection was refused within the last hour."""
        return self._refused_at is not None and self._loop.time() - self._refused_at < _RECENT

    def make_room(self, address: str | None) -> bool:
        """Whether one more connection may begin, from this address (None: a Unix socket); closes others for it."""
        key = self._key(address)
        host = self._hosts.get(key) if key is not None else None
        if host is not None and host.count >= self.limits.per_address and not self._evict(host):
            return self._refuse("max_connections_per_address")
        if len(self._all) >= self.limits.total and not self._evict(None):
            return self._refuse("max_connections")
        return True

    def set_trusted(self, proxies: Sequence[Network]) -> None:
        """Hold new connections of these proxies to no limit by address."""
        self.limits = replace(self.limits, trusted=proxies)

    def out_of_files(self) -> None:
        """No descriptor was left for a new connection: close one, so that there is."""
        self._evict(None)
        self._refuse("open_files")

    def add(self, connection: "ClientConnection", sock: socket.socket, address: str | None) -> None:
        """Count a new connection; `remove` it if it is not established."""
        key = self._key(address)
        host = None if key is None else self._hosts.setdefault(key, _Host(key))
        if host is not None:
            host.count += 1
        self._all.add(connection)
        connection.attach(self, host, sock)
        self.set_idle(connection)

    def remove(self, connection: "ClientConnection") -> None:
        """The connection has ended; may be called again."""
        if connection not in self._all:
            return
        self._all.discard(connection)
        self.set_busy(connection)
        self.set_reading(connection)
        host = connection.host
        if host is not None:
            host.count -= 1
            if not host.count:
                self._hosts.pop(host.key, None)

    def _key(self, address: str | None) -> str | None:
        """The key of an address (`client_ip.site_of`); None for peers without a limit: trusted proxies."""
        if address is None:
            return None
        found = client_at(address).address
        if found is None:
            return address
        if self.limits.trusted and is_allowed(found, self.limits.trusted):
            return None
        return str(site_of(found))

    def _refuse(self, reason: str) -> bool:
        self.refused[reason] += 1
        self._refused_at = self._loop.time()
        return False

    def _evict(self, host: _Host | None) -> bool:
        """Close an idle or slow connection, of one address or of all; False if there is none."""
        idle = self._idle if host is None else host.idle
        if idle:
            self.abort(next(iter(idle)), "idle")
            return True
        for connection in reversed(self._slow):
            if (host is None or connection.host is host) and connection in self._all and connection.is_slow():
                self._slow.remove(connection)
                self.abort(connection, "slow")
                return True
        return False

    def set_idle(self, connection: "ClientConnection") -> None:
        """It waits for a request head."""
        self._idle[connection] = None
        if connection.host is not None:
            connection.host.idle[connection] = None

    def set_busy(self, connection: "ClientConnection") -> None:
        """A request has arrived, or the connection has ended."""
        self._idle.pop(connection, None)
        if connection.host is not None:
            connection.host.idle.pop(connection, None)
        if connection.head_bytes:
            self.partial_heads -= connection.head_bytes
            connection.head_bytes = 0

    def add_head_bytes(self, connection: "ClientConnection", count: int) -> None:
        """A part of a head has arrived."""
        connection.head_bytes += count
        self.partial_heads += count
        if self.partial_heads > MAX_HEADS:
            self.abort(connection, "header_memory")

    def set_stalled(self, connection: "ClientConnection", unsent: int) -> None:
        """An answer waits for the client to read it."""
        connection.unsent = unsent
        self.unsent += unsent
        self._stalled[connection] = None
        while self.unsent > MAX_UNSENT and len(self._stalled) > 1:
            self.abort(next(iter(self._stalled)), "write_memory")

    def set_reading(self, connection: "ClientConnection") -> None:
        """The client has read what waited, or the connection has ended."""
        if self._stalled.pop(connection, self) is None:
            self.unsent -= connection.unsent
            connection.unsent = 0

    def abort(self, connection: "ClientConnection", reason: str) -> None:
        """End a connection now, whatever waits to be sent; `reason` is counted."""
        self.closed[reason] += 1
        self.remove(connection)
        connection.abort(reason)

    def check(self, now: float) -> None:
        """End what has taken too long; to be called once in `Timeouts.check`."""
        for connection in list(self._all):
            connection.check(now)
        slow = [connection for connection in self._all if connection.is_slow(now)]
        self._slow = sorted(slow, key=lambda connection: -connection.busy_since)
        if now >= self._log_at and self.refused != self._logged:
            new = self.refused - self._logged
            log.warning("connections_refused", server=self.name, open=len(self._all), **new)
            self._logged, self._log_at = Counter(self.refused), now + _LOG_INTERVAL


@dataclass(frozen=True, slots=True)
class PendingResponse:
    """A response that can be rendered once `done` is done; `render` must not raise."""

    done: asyncio.Future[Any]
    render: Callable[[asyncio.Future[Any]], bytes]


ImmediateHandler = Callable[[RawRequestMessage, bytes, str | None], bytes | PendingResponse | None]
"""Answers what needs neither a request object nor a task of its own: the response to send for a message with its body
from the address of a peer. None: the request takes the normal path, as if it had not been seen here."""


class ClientConnection(RequestHandler):
    """aiohttp's connection, with the limits of a pool, and problem documents for what is not HTTP.

    aiohttp responds to malformed requests itself, with its own page, before any handler is called. The only hook for
    that, and for what a pool must see, is its RequestHandler. Its version is bounded in pyproject.toml;
    tests/integration/test_middleware.py and test_connections.py check what this class relies on.
    """

    __slots__ = (
        "_busy", "_closing_since", "_deadline", "_held", "_pool", "_remote", "_resets", "_sock", "_stalled_since",
        "_wire", "abort_reason", "busy_since", "head_bytes", "host", "immediate", "unsent",
    )  # fmt: skip

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._max_msg_queue_size, self._msg_queue_resume_size = _QUEUED_REQUESTS, 1
        self._pool: ConnectionPool | None = None
        self._sock: socket.socket | None = None
        self._wire: asyncio.Transport | None = None  # aiohttp lets go of its own before everything is sent
        self.immediate: ImmediateHandler | None = None
        self._held: asyncio.Future[None] | None = None  # aiohttp's waiter, while a response is being made without it
        self._remote: str | None = None
        self._busy = self._resets = False
        self._deadline = float("inf")  # of a head, in the loop's time
        self._stalled_since = self._closing_since = self.busy_since = 0.0
        self.host: _Host | None = None
        self.head_bytes = self.unsent = 0
        self.abort_reason: str | None = None

    def attach(self, pool: ConnectionPool, host: _Host | None, sock: socket.socket) -> None:
        """Be watched by a pool."""
        self._pool, self.host, self._sock = pool, host, sock
        self._deadline = self._loop.time() + pool.timeouts.head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; a TLS handshake has ended."""
        self._wire, self._sock = cast(asyncio.Transport, transport), None
        if self.abort_reason is not None:
            self._wire.abort()
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, (list, tuple)) else None if peer is None else str(peer)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""
        if self._pool is not None:
            self._pool.remove(self)
        self._wire = None
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and answer it at once where that is possible."""
        waiter, handler = self._waiter, self.immediate
        if waiter is None or waiter.done() or handler is None or self._paused:
            super().data_received(data)
        elif self._receive_idle(data, waiter, handler):
            return
        if self._busy or self._close or self._force_close or self._pool is None:
            return
        if self._messages:
            self._busy, self._deadline = True, float("inf")
            self.busy_since = self._loop.time()
            self._pool.requests += 1
            self._pool.set_busy(self)
        elif data:
            if not self.head_bytes:
                self._deadline = min(self._deadline, self._loop.time() + self._pool.timeouts.head)
            self._pool.add_head_bytes(self, len(data))
            if self.head_bytes > MAX_HEAD:
                self._refuse(431, f"A request head has at most {MAX_HEAD} bytes.")

    def _receive_idle(self, data: bytes, waiter: asyncio.Future[None], handler: ImmediateHandler) -> bool:
        """Parse what has arrived for a connection that waits for a request; whether that was answered at once."""
        self._waiter, answered = None, False  # so that aiohttp does not begin with the request by itself
        try:
            super().data_received(data)
            answered = self._answers_at_once(handler, waiter)
        finally:
            if not answered:
                self._waiter = waiter
                if self._close or self._force_close:
                    waiter.cancel()
                elif self._messages:
                    waiter.set_result(None)
        return answered

    def _answers_at_once(self, handler: ImmediateHandler, waiter: asyncio.Future[None]) -> bool:
        """Respond to the one request that has arrived, if `handler` can; aiohttp goes on waiting for the next.

        Only on a connection that waits for a request and has sent everything, so responses keep their order and no
        more than one is ever buffered.
        """
        wire, messages = self._wire, self._messages
        if len(messages) != 1 or wire is None or self._close or self._force_close or wire.get_write_buffer_size():
            return False
        message, payload = messages[0]
        if not isinstance(message, RawRequestMessage) or message.version != HttpVersion11 or not payload.is_eof():
            return False
        if message.should_close or message.upgrade or message.chunked or payload.exception() is not None:
            return False
        # Not read from the stream: what is not answered here is read by the normal path.
        body = b"" if payload is EMPTY_PAYLOAD else b"".join(payload._buffer)  # noqa: SLF001 (no public way to peek)
        found = handler(message, body, self._remote)
        if found is None:
            return False
        messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._manager is not None:
            self._manager.requests_count += 1
        if self._pool is not None:
            self._pool.requests += 1
            self._pool.set_busy(self)
        if isinstance(found, bytes):
            self._waiter = waiter
            wire.write(found)
            self._await_next()
            return True
        self._held, self._busy, self._deadline = waiter, True, float("inf")
        self.busy_since = self._loop.time()
        self._request_in_progress = True  # a soft stop waits for it
        found.done.add_done_callback(functools.partial(self._answer_held, found.render))
        return True

    def _answer_held(self, render: Callable[[asyncio.Future[Any]], bytes], done: asyncio.Future[Any]) -> None:
        """The response can be made: send it, and wait for the next request."""
        response, waiter = render(done), self._held
        if waiter is None:  # the connection has ended
            return
        self._held, self._waiter = None, waiter
        self._busy = self._request_in_progress = False
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(response)
        if self._handler_waiter is not None:
            self._handler_waiter.set_result(None)
        if self._force_close or self._close:
            waiter.cancel()
            if self._wire is not None:
                self._wire.close()
        elif self._messages:
            self._busy = True
            waiter.set_result(None)
        else:
            self._await_next()

    def _await_next(self) -> None:
        """As aiohttp after a response: an idle connection ends after a while."""
        self._deadline, self._keepalive = float("inf"), True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._pool is not None and self.abort_reason is None:
            self._pool.set_idle(self)

    def _let_go(self) -> None:
        """Give aiohttp its waiter back: the connection ends."""
        if self._held is not None:
            self._held, self._waiter = None, self._held
            self._request_in_progress = False

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        try:
            found = await super()._handle_request(request, start_time, request_handler)
            if not request.content.is_eof():
                await _discard(request.content)
            if not found[0].keep_alive or not request.content.is_eof():
                self.close()  # what still arrives is no further request
            return found
        finally:
            if self._pool is not None and not self._messages:
                self._busy, self._deadline = False, float("inf")  # aiohttp ends idle connections after a request
                if self._wire is not None and self.abort_reason is None:
                    self._pool.set_idle(self)

    def pause_writing(self) -> None:
        """More waits to be sent than the transport takes."""
        super().pause_writing()
        if self._pool is not None and self._wire is not None and self.abort_reason is None:
            self._stalled_since = self._loop.time()
            self._pool.set_stalled(self, self._wire.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has read enough."""
        super().resume_writing()
        if self._pool is not None:
            self._pool.set_reading(self)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Respond to what is not HTTP, or too large."""
        if status != 400 or request.writer.output_size > 0:
            super().handle_error(request, status, exc, message)  # logs it, and raises once an answer has begun
            answer = problem(status, "internal-error", "Internal error. See the daemon's log.")
        else:
            detail = "The request is not valid HTTP, or its line or headers are too long."
            answer = problem(400, "malformed-request", detail)
        return PreparedStreamResponse(answer, close=True)

    @property
    def can_reset(self) -> bool:
        """Whether closing it can reset it, once a body has begun, and still end a complete one properly.

        Not a Unix socket, which has no reset. Not TLS: it is unknown when the kernel has what was written, because
        only the TLS layer's own buffer is known, and a reset would drop the end of a complete body.
        """
        wire = self._wire
        if wire is None or wire.get_extra_info("sslcontext") is not None:
            return False
        sock = wire.get_extra_info("socket")
        return sock is not None and sock.family != socket.AF_UNIX

    def reset_on_close(self, *, on: bool) -> bool:
        """Have whatever closes the connection reset it, or no longer; whether it can be reset."""
        wire = self._wire
        if wire is None or not self.can_reset:
            return False
        if on:
            wire.set_write_buffer_limits(0)  # so that `drain` waits until the kernel has everything
        with contextlib.suppress(OSError):  # it has gone
            wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if on else _CLOSE)
        self._resets = on
        return True

    def force_close(self) -> None:
        """Close. A body that ends with the connection is cut at once."""
        if self._resets and self._wire is not None:
            self._wire.abort()
        self._let_go()
        super().force_close()

    def abort(self, reason: str) -> None:
        """End now; what waits to be sent is dropped."""
        self.abort_reason = reason
        if self._wire is not None:
            self._wire.abort()
        elif self._sock is not None:
            with contextlib.suppress(OSError):  # in a TLS handshake, which fails then
                self._sock.shutdown(socket.SHUT_RDWR)

    def is_slow(self, now: float | None = None) -> bool:
        """Whether it has made its request or read its answer for a while, and has not come to an end."""
        if not self._busy:
            return False
        now = self._loop.time() if now is None else now
        if self._paused:
            return now - self._stalled_since >= _SLOW_AFTER
        request = self._current_request
        return request is not None and now - self.busy_since >= _SLOW_AFTER and not request.content.is_eof()

    def check(self, now: float) -> None:
        """End it if it takes too long."""
        wire, pool = self._wire, self._pool
        if wire is None or pool is None:
            return
        if wire.is_closing():  # but something waits to be sent
            self._closing_since = self._closing_since or now
            if now - self._closing_since >= pool.timeouts.write:
                pool.abort(self, "write_timeout")
        elif self._paused and now - self._stalled_since >= pool.timeouts.write:
            unsent = wire.get_write_buffer_size()
            if unsent > self.unsent - _MIN_READ:
                pool.abort(self, "write_timeout")
            else:
                pool.set_reading(self)
                self._stalled_since = now
                pool.set_stalled(self, unsent)
        elif now >= self._deadline:
            pool.closed["header_timeout"] += 1
            if self.head_bytes:
                self._refuse(408, f"The request head did not arrive within {pool.timeouts.head:g} s.")
            self.force_close()

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, "request-timeout" if status == 408 else "content-too-large", detail)
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(b"%bConnection: close\r\n\r\n%b" % (answer.head, answer.body))
        self.force_close()


def was_aborted(request: web.BaseRequest) -> bool:
    """Whether a pool has ended the connection of this request."""
    connection = request.protocol
    return isinstance(connection, ClientConnection) and connection.abort_reason is not None


async def _discard(content: StreamReader) -> None:
    """Read the start of an unwanted body: if closed at once, a client that still sends would lose the response."""
    left = _MAX_DISCARDED
    with contextlib.suppress(Exception):  # whatever is wrong with the rest of it, the connection ends
        async with asyncio.timeout(_DISCARD_TIME):
            while left > 0 and not content.at_eof():
                left -= len(await content.readany())
