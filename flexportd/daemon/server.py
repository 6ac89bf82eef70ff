"""The web servers: the addresses that they listen on, and the control socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog
from aiohttp import web

from flexportd.daemon import control_socket as control
from flexportd.daemon.acceptor import Acceptor, Server, install_pipeline
from flexportd.daemon.http_security import HttpSecurity
from flexportd.daemon.sockets import (
    BoundSocket,
    UnavailableAddressError,
    bind,
    resolve_addresses,
    tls_context,
)
from flexportd.daemon.systemd import activated_sockets, is_already_bound, is_bound_to
from flexportd.errors import ConfigError
from flexportd.expose.app import AddParts, create_app
from flexportd.expose.context import CONNECTIONS, SERVER_INFO
from flexportd.expose.middleware import RequestPipeline
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.settings import ListenAddress, Settings, open_access_warning

log = structlog.get_logger(__name__)

KEEPALIVE_TIMEOUT = 75.0  # seconds from a response to the head of the next request
SHUTDOWN_TIMEOUT = 5.0  # seconds for requests in progress
_LOOKUP_TIMEOUT = 10.0  # seconds to resolve a name
_READ_BUFFER = 64 << 10  # bytes of a body that are buffered; at twice as many, reading pauses


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
    if security.authenticator.exposures != settings.exposures and not security.authenticator.required:
        log.warning("unauthenticated_access_allowed", detail=open_access_warning(security.authenticator.exposures))
    path = settings.storage.control_socket
    if any(is_bound_to(sock, path) for sock, _, _ in held):
        raise ConfigError(f"[storage] control_socket: systemd uses {path} for the web server; choose another path")
    runner, server = await _runner(stack, settings, add_parts, security.control, for_operator=True)
    await Acceptor(runner, server, connections.control, control.bind(path), None).start()
    stack.callback(control.remove, path)
    return served


async def _sockets(
    settings: Settings, held: Sequence[BoundSocket], warnings: list[str]
) -> AsyncIterator[tuple[BoundSocket, str]]:
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
    """Each address once, without those that `0.0.0.0` or `[::]` includes at the same port."""
    fixed, seen = {address for _, address in places if address.port}, set[ListenAddress]()
    for place, address in places:
        every = replace(address, host="::" if ":" in str(address.host) else "0.0.0.0")  # noqa: S104
        if address in seen or (address != every and every in fixed):
            continue
        if address.port:
            seen.add(address)
        yield place, address


def _bind(address: ListenAddress, place: ListenAddress, port: int) -> BoundSocket:
    """Bind; for port 0, to `port` if it is free."""
    if port and address.port == 0:
        try:
            return bind(replace(address, port=port), place)
        except UnavailableAddressError:
            raise
        except ConfigError:  # the port is taken
            pass
    return bind(address, place)


async def _runner(
    stack: AsyncExitStack, settings: Settings, add_parts: AddParts, policy: AccessPolicy, *, for_operator: bool = False
) -> tuple[web.AppRunner, Server]:
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
    return runner, install_pipeline(runner, pipeline)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cert, key = settings.server.tls_cert, settings.server.tls_key
    if cert is None:
        return None
    assert key is not None  # the settings check that
    return tls_context(cert, key)
