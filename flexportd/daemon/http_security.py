"""Who may send requests: API keys, rate limits, the access policies of both web servers, the access log."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from flexportd import logs
from flexportd.clock import Clock
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.expose.security.authentication import KeyAuthenticator, KeyRateLimiter
from flexportd.expose.security.cors import origin_of
from flexportd.http.access_log import AccessLog
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.tasks import Tasks


class HttpSecurity:
    """What every request passes. `network` is the policy for TCP, `control` for the socket of our own user."""

    def __init__(self, settings: Settings, clock: Clock, authenticator: KeyAuthenticator) -> None:
        self._rate = settings.api.rate_limit
        self._bound: tuple[str, ...] = ()
        self.authenticator = authenticator
        console = logs.is_console(settings.log.format)
        self.access_log = AccessLog(clock.machine, enabled=settings.log.access, console=console)
        self.network = AccessPolicy(clock, authenticator, KeyRateLimiter(lambda: self._rate))
        self.control = AccessPolicy(clock, checks_hosts=False)
        self.reload(settings)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, db: Database, clock: Clock) -> AsyncIterator["HttpSecurity"]:
        """Open until the context ends, which writes what is left of the access log and of the use of keys."""
        authenticator = await KeyAuthenticator.open(db, clock, required=settings.keys_required)
        security = cls(settings, clock, authenticator)
        try:
            yield security
        finally:
            with contextlib.suppress(OSError):
                await security.access_log.flush()
            await authenticator.usage.flush()

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running."""
        self._rate = settings.api.rate_limit
        self._require_key, self._exposures = settings.api.require_key, settings.server.exposures
        self._configure_keys()
        self.access_log.enabled = settings.log.access and settings.log.level in ("debug", "info")
        url = settings.server.public_url
        self.network.cors_origins = tuple(settings.api.cors_origins)
        self.network.trusted_proxies = tuple(settings.server.trusted_proxies)
        self.network.hosts = _known_hosts(settings)
        self.network.has_tls = settings.server.tls_cert is not None
        self.network.public_origin = None if url is None else origin_of(url)

    def set_bound(self, names: Sequence[str]) -> None:
        """Count sockets that other machines can reach as exposures, until the end: a reload closes none."""
        self._bound = tuple(names)
        self._configure_keys()

    def _configure_keys(self) -> None:
        self.authenticator.configure(self._require_key, dict.fromkeys((*self._exposures, *self._bound)))

    def start(self, tasks: Tasks) -> None:
        """Start the loops in the background."""
        tasks.start("key_usage", self.authenticator.usage.run)
        tasks.start("access_log", self.access_log.run)


def _known_hosts(settings: Settings) -> frozenset[str]:
    names = {"localhost", "flexportd"}
    url = settings.server.public_url
    if url:
        host = origin_of(url).partition("://")[2]
        names |= {host, host.rpartition(":")[0] or host}
    return frozenset(names)
