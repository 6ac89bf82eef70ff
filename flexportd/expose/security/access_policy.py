"""Who may make which request: keys, rates, origins, hosts. One policy for the network, one for the control socket."""

import functools
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from itertools import count
from operator import itemgetter

from aiohttp import hdrs, web
from multidict import istr

from flexportd.clock import Clock
from flexportd.core.access.keys import UNRESTRICTED, Principal, Scope
from flexportd.errors import ForbiddenError, RefusedError
from flexportd.expose.context import BODIES, CANONICAL_PATH, DISPLAY, SERVER_INFO, DisplaySettings, ServerInfo
from flexportd.expose.security import cors
from flexportd.expose.security.authentication import KeyAuthenticator, KeyRateLimiter, RateLimitResult, require_scope
from flexportd.expose.security.cors import forwarded_hosts, forwarded_schemes
from flexportd.http.client_ip import Network, client_of, is_trusted
from flexportd.http.request_bodies import READ_BODY

REQUEST_ID_HEADER = istr("X-Request-Id")
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_NO_HEADERS: Mapping[str, str] = {}
_HSTS: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}

_AUTH_RESULT: web.RequestKey[Principal | RefusedError] = web.RequestKey("auth_result")
"""The caller, or why it was refused. The cache fast path and the router both authenticate; a request counts once."""

_RATE = web.RequestKey("rate", RateLimitResult)


@dataclass
class AccessPolicy:
    """What every request passes. Without an `authenticator` no key is needed; all may change while running."""

    clock: Clock
    authenticator: KeyAuthenticator | None = None
    rate_limiter: KeyRateLimiter | None = None
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    checks_hosts: bool = True
    has_tls: bool = False
    public_origin: str | None = None  # of public_url
    _numbers: "count[int]" = field(default_factory=count)
    _prefix: str = field(default_factory=lambda: secrets.token_hex(5))

    def request_id(self, headers: Mapping[str, str]) -> str:
        """The id that the client sent if it is valid, otherwise a new one."""
        given = headers.get(REQUEST_ID_HEADER)
        if given is not None and _VALID_REQUEST_ID.fullmatch(given):
            return given
        return f"{self._prefix}{next(self._numbers):06x}"

    @property
    def is_https(self) -> bool:
        """Whether public_url says that a proxy terminates TLS."""
        return self.public_origin is not None and self.public_origin.startswith("https:")

    @property
    def requires_key(self) -> bool:
        """Whether callers need a key."""
        return self.authenticator is not None and self.authenticator.required

    def client(self, request: web.BaseRequest) -> str:
        """The client's address, also behind trusted proxies; or `local` or `unknown` (see `RemoteClient.name`)."""
        return client_of(request, self.trusted_proxies).name

    def hsts(self, request: web.BaseRequest) -> Mapping[str, str]:
        """The header that keeps browsers on https, where the request came by https (RFC 6797)."""
        if not (self.has_tls or self.is_https):
            return _NO_HEADERS
        if self.has_tls and request.secure:
            return _HSTS
        by_https = (cors.forwarded_schemes(request) or ["https"])[0] == "https"
        return _HSTS if self.is_https and by_https and is_trusted(request, self.trusted_proxies) else _NO_HEADERS

    def is_public(self, headers: Mapping[str, str]) -> bool:
        """Whether a read needs no further checks: it has no key and needs none, and comes from no other site."""
        return (
            hdrs.AUTHORIZATION not in headers
            and (self.authenticator is None or self.authenticator.allows_anonymous(headers))
            and hdrs.ORIGIN not in headers
            and (not self.checks_hosts or is_known_host(headers.get(hdrs.HOST, ""), self.hosts))
        )

    def authenticate(self, request: web.BaseRequest, scope: Scope | None) -> Principal:
        """The caller. Raises RefusedError for a key that is missing, unknown, out of scope, or over its rate."""
        authenticator = self.authenticator
        if authenticator is None or scope is None:
            return UNRESTRICTED
        result = request.get(_AUTH_RESULT)
        if isinstance(result, RefusedError):
            raise result
        if result is None:
            result = self._identify(
                request, lambda now, client: authenticator.authenticate(request.headers, now, client)
            )
        require_scope(result, scope)
        return result

    def authenticate_feed(self, request: web.BaseRequest, token: str) -> Principal:
        """The caller by the token in a feed's URL, since calendar programs send no header. Raises RefusedError."""
        authenticator = self.authenticator
        if authenticator is None:
            return UNRESTRICTED
        return self._identify(request, lambda now, client: authenticator.authenticate_feed(token, now, client))

    def _identify(self, request: web.BaseRequest, identify: Callable[[datetime, str], Principal]) -> Principal:
        """Identify the caller, count the request against its rate, and keep the result. Raises RefusedError."""
        try:
            principal = identify(self.clock.now(), self.client(request))
            limiter = self.rate_limiter
            rate = None if limiter is None else limiter.acquire(principal, self.clock.machine.now())
            if rate is not None:
                request[_RATE] = rate
                if not rate.allowed:
                    raise RefusedError(429, "rate-limited", rate.sentence, retry_after=rate.reset_seconds)  # noqa: TRY301
        except RefusedError as error:
            request[_AUTH_RESULT] = error
            raise
        request[_AUTH_RESULT] = principal
        return principal

    def check_origin(self, request: web.BaseRequest) -> bool:
        """Refuse pages of other sites: by an unknown host name (DNS rebinding), or by a write from another origin.

        True if it is proven that no other site's page sent this; False if the browser does not say. A bearer token is
        proof: browsers do not add one by themselves. Raises ForbiddenError.
        """
        headers = request.headers
        if headers.get(hdrs.AUTHORIZATION, "")[:7].lower() == "bearer ":
            return True
        host = headers.get(hdrs.HOST, "")
        if self.checks_hosts and not is_known_host(host, self.hosts) and not self._is_proxied(request):
            raise ForbiddenError(cors.unknown_host_message(self._own_origins(request)[0], self.public_origin))
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return True
        own = self._own_origins(request)
        is_api = request.path.startswith("/api/")
        # A configured site acts with a key of its own, or where none is needed; never with one that a browser adds.
        allowed = self.cors_origins if is_api and hdrs.AUTHORIZATION not in headers else ()
        proven = cors.is_allowed_origin(request, own, allowed)
        if proven is False or (proven is None and is_api and hdrs.ORIGIN in headers):  # only pages have form tokens
            raise ForbiddenError(
                cors.foreign_origin_message(headers, own[0] if own else "an unknown name", self.public_origin)
            )
        return proven is True

    def _own_origins(self, request: web.BaseRequest) -> list[str]:
        """The origins under which people reach this server, as far as the request and the settings say."""
        reached = cors.request_origins(request, is_trusted=is_trusted(request, self.trusted_proxies))
        return reached if self.public_origin is None else [*reached, self.public_origin]

    def _is_proxied(self, request: web.BaseRequest) -> bool:
        """Whether a proxy may have set the Host header, in a way that leaves DNS rebinding without effect.

        A page behind a rebound name has no key that a browser adds by itself: keys belong to an origin. Where none is
        needed, `Sec-Fetch-Site` shows that the browser reached the name by TLS, which a rebound name cannot have.
        """
        has_proxy = self.public_origin is not None or is_trusted(request, self.trusted_proxies)
        return has_proxy and (self.requires_key or cors.FETCH_SITE in request.headers)


ACCESS_POLICY = web.AppKey("access_policy", AccessPolicy)


def response_headers(request: web.BaseRequest, policy: AccessPolicy) -> Mapping[str, str]:
    """CORS, HSTS, Content-Location, and the rate limit by draft-ietf-httpapi-ratelimit-headers."""
    headers = {**cors.cors_headers(request, policy.cors_origins), **policy.hsts(request)}
    if CANONICAL_PATH in request:
        headers[hdrs.CONTENT_LOCATION] = request[CANONICAL_PATH]
    rate = request.get(_RATE)
    if rate is not None:
        headers["RateLimit-Policy"] = f'"default";q={rate.limit};w={rate.window_seconds}'
        headers["RateLimit"] = f'"default";r={rate.remaining};t={rate.reset_seconds}'
    return headers


async def read_body(request: web.Request, most: int) -> bytes:
    """The request's body. Raises RefusedError: 413 for more than `most` bytes, 408, 503."""
    policy = request.app[ACCESS_POLICY]
    with request.app[BODIES].reserve(lambda: policy.client(request)) as reservation:
        request[READ_BODY] = body = b"".join(await reservation.read(request, most))
        return body


@functools.lru_cache(maxsize=256)
def is_known_host(host: str, known: frozenset[str]) -> bool:
    """Whether people may use this name for the server. An address cannot be rebound, only a name can."""
    if not host:
        return True
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    if name.startswith("[") or name.replace(".", "").isdigit():
        return True
    return name.lower() in known


NO_BASE_URL = (
    "flexportd listens only on Unix sockets, so links have no URL that others can open: set [server] public_url"
)

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# Documentation addresses. No packet is sent: connecting a UDP socket only selects the local address.
_PROBE_ADDRESSES = {4: ("192.0.2.1", 9), 6: ("2001:db8::1", 9)}


def base_url(request: web.Request) -> str | None:
    """The base URL, without a trailing slash; None if the daemon listens only on Unix sockets.

    Requests on the control socket have no host that others could use, so they get a listening address.
    """
    display, policy = request.app[DISPLAY], request.app[ACCESS_POLICY]
    if display.public_url is not None:
        return display.public_url
    host, scheme = request.headers.get(hdrs.HOST, ""), request.scheme
    if is_trusted(request, policy.trusted_proxies):
        host = next(iter(forwarded_hosts(request)), host)
        scheme = next(iter(forwarded_schemes(request)), scheme)
    if policy.checks_hosts and _HOST.fullmatch(host):
        return f"{scheme}://{host}"
    return configured_url(display, request.app[SERVER_INFO])


def configured_url(display: DisplaySettings, server: ServerInfo) -> str | None:
    """The base URL regardless of the request, for content that all callers share."""
    return display.public_url or reachable_url(server.addresses, "https" if server.has_tls else "http")


def reachable_url(addresses: Iterable[str], scheme: str) -> str | None:
    """The first listening address that other machines can reach, else a loopback one; None without any."""
    urls: list[tuple[bool, str]] = []
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if address.startswith("unix:") or not colon:
            continue
        ip = ip_address(host.strip("[]").partition("%")[0])
        reachable = _own_address(ip.version) if ip.is_unspecified else host
        urls.append((ip.is_loopback, f"{scheme}://{reachable}:{port}"))
    return min(urls, key=itemgetter(0))[1] if urls else None


def _own_address(version: int) -> str:
    """The address of this machine in the network; the loopback address without one."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(_PROBE_ADDRESSES[version])
            own = str(sock.getsockname()[0])
    except OSError:
        own = "127.0.0.1" if version == 4 else "::1"
    return f"[{own}]" if version == 6 else own
