"""Who comes in: keys and their rates, the doors of the web servers, the access log."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flexportd import logs
from flexportd.clock import Clock
from flexportd.daemon.server import AccessPolicies, known_hosts
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.expose.security.authentication import KeyAuthenticator
from flexportd.expose.security.cors import origin_of
from flexportd.expose.security.rate_limit import KeyRateLimiter
from flexportd.http.access_log import AccessLog
from flexportd.settings import Rate, Settings
from flexportd.storage.database import Database
from flexportd.tasks import Tasks


class HttpSecurity:
    """What every request passes, and what is noted of it."""

    def __init__(self, settings: Settings, clock: Clock, gate: KeyAuthenticator) -> None:
        self._rate = settings.api.rate_limit
        self.gate = gate
        self.rates = KeyRateLimiter(self._default_rate)
        console = logs.is_console(settings.log.format)
        self.access_log = AccessLog(clock.machine, enabled=settings.log.access, console=console)
        network = AccessPolicy(clock, gate, self.rates)
        self.policies = AccessPolicies(gate, network=network, control=AccessPolicy(clock, checks_hosts=False))
        self.reload(settings)

    def _default_rate(self) -> Rate:
        return self._rate

    def reload(self, settings: Settings) -> None:
        """Take over what can change while running."""
        self._rate = settings.api.rate_limit
        self.access_log.enabled = settings.log.access and settings.log.level in ("debug", "info")
        network = self.policies.network
        self.policies.configure(settings.api.require_key, settings.exposures)
        network.cors_origins = tuple(settings.api.cors_origins)
        network.trusted_proxies = tuple(settings.server.trusted_proxies)
        network.hosts = known_hosts(settings)
        network.has_tls = settings.server.tls_cert is not None
        url = settings.server.public_url
        network.public_origin = None if url is None else origin_of(url)

    def start(self, tasks: Tasks) -> None:
        """The loops in the background."""
        tasks.start("key_usage", self.gate.usage.run)
        tasks.start("access_log", self.access_log.run)


@asynccontextmanager
async def open_security(settings: Settings, db: Database, clock: Clock) -> AsyncIterator[HttpSecurity]:
    """Open until the stack is left; no use and no line is lost."""
    gate = await KeyAuthenticator.open(db, clock, required=settings.keys_required)
    found = HttpSecurity(settings, clock, gate)
    try:
        yield found
    finally:
        with contextlib.suppress(OSError):
            await found.access_log.flush()
        await gate.usage.flush()
