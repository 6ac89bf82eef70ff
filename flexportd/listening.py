"""The web servers: which addresses they are bound to, and what each of them may be asked."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from itertools import chain

from aiohttp import web

from flexportd import control
from flexportd.errors import ConfigError
from flexportd.expose.app import private_app, public_app
from flexportd.expose.front import stand_before
from flexportd.expose.parts import Parts
from flexportd.settings import Settings
from flexportd.sockets import bind, inherited

SOFT_STOP = 5.0  # seconds for requests under way to be answered


def hosts_of(settings: Settings) -> frozenset[str]:
    """The names that people may use for this server."""
    names = {"localhost", "flexportd"}
    url = settings.server.public_url
    if url:
        host = url.partition("://")[2].partition("/")[0].lower()
        names |= {host, host.rpartition(":")[0] or host}
    return frozenset(names)


async def listen(stack: AsyncExitStack, settings: Settings, parts: Parts) -> list[str]:
    """Serve until the stack is left; the addresses. Raises ConfigError for one that cannot be used."""
    max_body, addresses = settings.webhook.max_body, list[str]()
    private = private_app(parts, max_body, dashboard=settings.dashboard.enabled)
    private_runner = await _runner(stack, private)
    stand_before(private_runner, parts, private=True)
    public_runner: web.AppRunner | None = None
    tls = await asyncio.to_thread(_tls, settings)
    # One after the other: what is bound belongs to a runner, which closes it, before the next can fail.
    for sock, is_private, address in chain(inherited(), map(bind, settings.server.listen)):
        if is_private:
            runner = private_runner
        else:
            if public_runner is None:
                public_runner = await _runner(stack, public_app(parts, max_body))
                stand_before(public_runner, parts, private=False)
            runner = public_runner
        await web.SockSite(runner, sock, ssl_context=None if sock.family.name == "AF_UNIX" else tls).start()
        addresses.append(address)
    path = settings.storage.control_socket
    await control.listen(private_runner, path)
    stack.callback(control.remove, path)
    return addresses


async def _runner(stack: AsyncExitStack, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SOFT_STOP,
        keepalive_timeout=75,
        auto_decompress=False,
        lingering_time=1.0,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cert, key = settings.server.tls_cert, settings.server.tls_key
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[server] tls_cert, tls_key: {cert}, {key} cannot be used: {error}") from error
    return context
