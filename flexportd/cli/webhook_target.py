"""The target of test webhooks: the daemon's own address, or a given URL."""

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flexportd.cli.connections import UnixConnection
from flexportd.daemon.sockets import address_error, resolve_addresses
from flexportd.errors import ConfigError, InvalidError

if TYPE_CHECKING:
    from flexportd.settings import ListenAddress, Settings

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (replaced by the loopback address)


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """A receiver of webhooks. `is_own` is the daemon on this machine, whose certificate names another host."""

    scheme: str
    host: str
    port: int
    path: str
    unix: Path | None = None
    is_own: bool = False

    @property
    def url(self) -> str:
        """The address for people."""
        if self.unix is not None:
            return f"unix:{self.unix} {self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def connection(self, timeout: float) -> HTTPConnection:
        """A connection, not yet open."""
        if self.unix is not None:
            return UnixConnection(self.unix, timeout)
        if self.scheme == "http":
            return HTTPConnection(self.host, self.port, timeout=timeout)
        import ssl

        context = ssl.create_default_context()
        if self.is_own:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return HTTPSConnection(self.host, self.port, timeout=timeout, context=context)


def parse_url(url: str, path: str) -> WebhookTarget:
    """The target of a URL; one without a path gets `path`. Raises InvalidError."""
    invalid = InvalidError(f"--url is {url!r}; expected an http:// or https:// address")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise invalid from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or not url.isprintable():
        raise invalid
    query = f"?{parts.query}" if parts.query else ""
    chosen = parts.path if parts.path not in ("", "/") else path
    return WebhookTarget(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), chosen + query)


def local_target(settings: "Settings") -> WebhookTarget:
    """The webhook address of the daemon with this configuration, without leaving this machine.

    A port that only the daemon knows is replaced by its control socket. Raises ConfigError if it listens on no
    loopback address.
    """
    targets = [(listen, target) for listen in settings.server.listen if (target := _target_of(listen, settings))]
    for listen, target in targets:
        if any(address_error(address, listen) is None for address in resolve_addresses(listen)):
            return target
    if targets:
        return targets[0][1]
    named = ", ".join(map(str, settings.server.listen))
    error = ConfigError(f"[server] listen is {named}, which is not a loopback address; use --url")
    error.add_note("flexportd webhook send --url URL ...")
    raise error


def _target_of(listen: "ListenAddress", settings: "Settings") -> WebhookTarget | None:
    path = settings.webhook.path
    if listen.unix is not None:
        return WebhookTarget("http", "flexportd", 80, path, unix=listen.unix, is_own=True)
    if listen.port == 0:
        return WebhookTarget("http", "flexportd", 80, path, unix=settings.storage.control_socket, is_own=True)
    host = str(listen.host)
    if not listen.is_loopback and host not in _WILDCARDS:
        return None
    scheme = "http" if settings.server.tls_cert is None else "https"
    return WebhookTarget(scheme, _WILDCARDS.get(host, host), listen.port or 0, path, is_own=True)
