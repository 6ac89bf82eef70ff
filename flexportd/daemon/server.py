"""The web servers: which addresses they are bound to, and what each of them may be asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog
from aiohttp import web

from flexportd.daemon import control_socket as control
from flexportd.daemon.acceptor import Acceptor
from flexportd.daemon.protocol import Server, install_pipeline
from flexportd.daemon.sockets import (
    BoundSocket,
    UnavailableAddressError,
    activated_sockets,
    bind,
    resolve_addresses,
    tls_context,
)
from flexportd.daemon.systemd import is_already_bound, is_bound_to
from flexportd.errors import ConfigError
from flexportd.expose.app import AppContext, create_app
from flexportd.expose.middleware import RequestPipeline
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.expose.security.authentication import KeyAuthenticator
from flexportd.expose.security.cors import origin_of
from flexportd.settings import ListenAddress, Settings, open_access_warning

log = structlog.get_logger(__name__)

KEEPALIVE_TIMEOUT = 75.0  # seconds from an answer to the next request's head
SHUTDOWN_TIMEOUT = 5.0  # seconds for requests under way to be answered
_LOOKUP_TIMEOUT = 10.0  # seconds for the addresses of a name
_READ_BUFFER = 64 << 10  # bytes of a body that arrive before they are read; twice as many stop the reading


@dataclass
class AccessPolicies:
    """Who comes in over the network, and by the control socket, which only our own user may open."""

    gate: KeyAuthenticator
    network: AccessPolicy
    control: AccessPolicy
    _require_key: bool | None = None
    _settings: tuple[str, ...] = ()
    _bound: tuple[str, ...] = ()

    def configure(self, require_key: bool | None, exposures: Sequence[str]) -> None:
        """Take over the settings that decide whether keys are needed (`Gate.configure`)."""
        self._require_key, self._settings = require_key, tuple(exposures)
        self._apply()

    def set_bound(self, names: Sequence[str]) -> None:
        """Take into account the sockets that others can reach and that stay until the end: a reload closes none."""
        self._bound = tuple(names)
        self._apply()

    def _apply(self) -> None:
        self.gate.configure(self._require_key, dict.fromkeys((*self._settings, *self._bound)))


def known_hosts(settings: Settings) -> frozenset[str]:
    """The names that people may use for this server."""
    names = {"localhost", "flexportd"}
    url = settings.server.public_url
    if url:
        host = origin_of(url).partition("://")[2]
        names |= {host, host.rpartition(":")[0] or host}
    return frozenset(names)


async def listen(stack: AsyncExitStack, settings: Settings, parts: AppContext, doors: AccessPolicies) -> list[str]:
    """Serve until the stack is left; the addresses. Raises ConfigError for one that cannot be used.

    An address that this machine does not have is a warning, where there is another.
    """
    runner, server = await _runner(stack, settings, parts, doors.network)
    tls = await asyncio.to_thread(_tls, settings)
    served, parts.server.has_tls = parts.server.addresses, tls is not None
    held = activated_sockets()
    exposures, unavailable = list[str](), list[str]()
    # One after the other: what is bound belongs to a runner, which closes it, before the next can fail.
    async for (sock, is_loopback, address), name in _sockets(settings, held, unavailable):
        if not is_loopback:
            exposures.append(name)
            doors.set_bound(exposures)  # before anything is accepted
        is_unix = sock.family.name == "AF_UNIX"
        await Acceptor(runner, server, parts.connections.network, sock, None if is_unix else tls).start()
        served.append(address)
    if not served:
        raise ConfigError(unavailable)
    parts.server.start_warnings += unavailable
    for warning in unavailable:
        log.warning("listen_address_unavailable", reason=warning)
    if doors.gate.exposures != settings.exposures and not doors.gate.required:
        log.warning("unauthenticated_access_allowed", detail=open_access_warning(doors.gate.exposures))
    path = settings.storage.control_socket
    if any(is_bound_to(sock, path) for sock, _, _ in held):
        raise ConfigError(f"[storage] control_socket: systemd uses {path} for the web server; choose another path")
    runner, server = await _runner(stack, settings, parts, doors.control, for_operator=True)
    await Acceptor(runner, server, parts.connections.control, control.bind(path), None).start()
    stack.callback(control.remove, path)
    return served


async def _sockets(
    settings: Settings, held: Sequence[BoundSocket], warnings: list[str]
) -> AsyncIterator[tuple[BoundSocket, str]]:
    """The sockets of systemd and those for what they leave of `listen`, each with its name for warnings.

    `warnings` gets the addresses that do not exist here.
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
        except UnavailableAddressError as error:
            warnings += error.problems
            continue
        if place != address and place.port == 0:
            ports.setdefault(place, bound[0].getsockname()[1])
        yield bound, f"listen {place}"


async def _resolve_in_time(place: ListenAddress) -> list[ListenAddress]:
    try:
        async with asyncio.timeout(_LOOKUP_TIMEOUT):
            return await asyncio.to_thread(resolve_addresses, place)
    except TimeoutError:
        raise ConfigError(
            f"[server] listen {place}: the name could not be resolved within {_LOOKUP_TIMEOUT:g} s"
        ) from None


def _deduplicate(
    places: Sequence[tuple[ListenAddress, ListenAddress]],
) -> Iterator[tuple[ListenAddress, ListenAddress]]:
    """Every address once: without those that `0.0.0.0` or `[::]` with the same port includes."""
    fixed, seen = {address for _, address in places if address.port}, set[ListenAddress]()
    for place, address in places:
        every = replace(address, host="::" if ":" in str(address.host) else "0.0.0.0")  # noqa: S104
        if address in seen or (address != every and every in fixed):
            continue
        if address.port:
            seen.add(address)
        yield place, address


def _bind(address: ListenAddress, place: ListenAddress, port: int) -> BoundSocket:
    """Bind, for port 0 to this port if it is free."""
    if port and address.port == 0:
        try:
            return bind(replace(address, port=port), place)
        except UnavailableAddressError:
            raise
        except ConfigError:  # somebody else has it
            pass
    return bind(address, place)


async def _runner(
    stack: AsyncExitStack, settings: Settings, parts: AppContext, door: AccessPolicy, *, for_operator: bool = False
) -> tuple[web.AppRunner, Server]:
    app = create_app(parts, door, dashboard=settings.dashboard.enabled)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        auto_decompress=False,
        lingering_time=0,  # a connection sees to that itself, within a bound of bytes
        read_bufsize=_READ_BUFFER,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None
    front = RequestPipeline(app, runner.server.request_handler, for_operator=for_operator)
    return runner, install_pipeline(runner, front)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cert, key = settings.server.tls_cert, settings.server.tls_key
    if cert is None:
        return None
    assert key is not None  # the settings see to it
    return tls_context(cert, key)
