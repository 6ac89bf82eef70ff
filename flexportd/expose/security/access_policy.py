"""Who comes in, and how often: keys, rates, pages of other sites. One for the network, one for the control socket."""

import functools
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from aiohttp import hdrs, web
from multidict import istr

from flexportd.clock import Clock
from flexportd.core.access.keys import UNRESTRICTED, Principal, Scope
from flexportd.errors import ForbiddenError, RefusedError
from flexportd.expose.request_keys import AUTH_ERROR, AUTHENTICATED, CANONICAL_PATH, RATE, RESPONSE_HEADERS
from flexportd.expose.security import cors as origins
from flexportd.expose.security.authentication import KeyAuthenticator, require_scope
from flexportd.expose.security.rate_limit import KeyRateLimiter, RateLimitResult
from flexportd.http.client_ip import Network, client_of, is_trusted

REQUEST_ID_HEADER = istr("X-Request-Id")
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_EXPOSED_HEADERS = (
    "ETag, Link, Age, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Content-Disposition, "
    "Content-Range, Accept-Ranges"
)
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, If-None-Match, If-Range, Range, Idempotency-Key, Last-Event-ID, X-Request-Id"
)
_CORS_HEADERS: dict[str, str] = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED_HEADERS,
}
_NO_HEADERS: Mapping[str, str] = {}
_HSTS: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}
_VARY_ORIGIN: dict[str, str] = {hdrs.VARY: "Origin"}


@dataclass
class AccessPolicy:
    """What every request passes. `gate` is None where no key is asked for; all may change while running."""

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
        """The one that the caller gave, where it can be believed, or a new one."""
        given = headers.get(REQUEST_ID_HEADER)
        if given is not None and _VALID_REQUEST_ID.fullmatch(given):
            return given
        return f"{self._prefix}{next(self._numbers):06x}"

    @property
    def is_https(self) -> bool:
        """Whether public_url says that a proxy encrypts."""
        return self.public_origin is not None and self.public_origin.startswith("https:")

    def client(self, request: web.BaseRequest) -> str:
        """The client's own address, behind trusted proxies too; or `local`, or `unknown` (see `peers.Client`)."""
        return client_of(request, self.trusted_proxies).name

    def hsts(self, request: web.BaseRequest) -> Mapping[str, str]:
        """The header that keeps browsers on https, where the request came by it (RFC 6797)."""
        if not (self.has_tls or self.is_https):
            return _NO_HEADERS
        if self.has_tls and request.secure:
            return _HSTS
        by_https = (origins.forwarded_schemes(request) or ["https"])[0] == "https"
        return _HSTS if self.is_https and by_https and is_trusted(request, self.trusted_proxies) else _NO_HEADERS

    def is_public(self, headers: Mapping[str, str]) -> bool:
        """Whether a request that only reads can come in without a further look: no key, no page of another site."""
        return (
            hdrs.AUTHORIZATION not in headers
            and (self.authenticator is None or self.authenticator.allows_anonymous(headers))
            and hdrs.ORIGIN not in headers
            and (not self.checks_hosts or is_known_host(headers.get(hdrs.HOST, ""), self.hosts))
        )

    def authenticate(self, request: web.BaseRequest, scope: Scope | None) -> Principal:
        """Who asks. Raises RefusedError for a key that is lacking, unknown or too narrow, or used too often."""
        if self.authenticator is None or scope is None:
            return UNRESTRICTED
        # The short way asks before the long way does: each request counts once.
        if AUTH_ERROR in request:
            raise request[AUTH_ERROR]
        viewer = request.get(AUTHENTICATED)
        if viewer is None:
            now = self.clock.now()
            try:
                viewer = self._rate_limited(
                    request, self.authenticator.authenticate(request.headers, now, self.client(request))
                )
            except RefusedError as error:
                request[AUTH_ERROR] = error
                raise
        require_scope(viewer, scope)
        return viewer

    def authenticate_feed(self, request: web.BaseRequest, token: str) -> Principal:
        """Who asks with the token of a feed's address, since calendar programs send no header; as `enter`."""
        if self.authenticator is None:
            return UNRESTRICTED
        now = self.clock.now()
        return self._rate_limited(request, self.authenticator.authenticate_feed(token, now, self.client(request)))

    def _rate_limited(self, request: web.BaseRequest, viewer: Principal) -> Principal:
        """The viewer, unless it asks too often. Raises RefusedError."""
        taken = self.rate_limiter.acquire(viewer, self.clock.machine.now()) if self.rate_limiter is not None else None
        if taken is not None:
            request[RATE] = taken
            if not taken.allowed:
                raise RefusedError(429, "rate-limited", taken.sentence, retry_after=taken.reset_seconds)
        request[AUTHENTICATED] = viewer
        return viewer

    @property
    def requires_key(self) -> bool:
        """Whether who comes in here needs a key."""
        return self.authenticator is not None and self.authenticator.required

    # --- pages of other sites ---

    def check_origin(self, request: web.BaseRequest) -> bool:
        """Refuse pages of other sites: by a name that is not ours (DNS rebinding), or by a write from elsewhere.

        Whether it is proven that no other site's page sent this; where it is not, the browser does not say. A bearer
        token is proof: browsers do not add one by themselves.
        """
        headers = request.headers
        if headers.get(hdrs.AUTHORIZATION, "")[:7].lower() == "bearer ":
            return True
        host = headers.get(hdrs.HOST, "")
        if self.checks_hosts and not is_known_host(host, self.hosts) and not self._is_proxied(request):
            raise ForbiddenError(origins.unknown_host_message(self._own_origins(request)[0], self.public_origin))
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return True
        own = self._own_origins(request)
        is_api = request.path.startswith("/api/")
        # A configured site acts with a key of its own, or where none is needed; never with one that a browser adds.
        allowed = self.cors_origins if is_api and hdrs.AUTHORIZATION not in headers else ()
        proven = origins.is_allowed_origin(request, own, allowed)
        if proven is False or (proven is None and is_api and hdrs.ORIGIN in headers):  # only pages have form tokens
            raise ForbiddenError(
                origins.foreign_origin_message(headers, own[0] if own else "an unknown name", self.public_origin)
            )
        return proven is True

    def _own_origins(self, request: web.BaseRequest) -> list[str]:
        """The origins under which people reach us, as far as request and settings tell."""
        reached = origins.request_origins(request, is_trusted=is_trusted(request, self.trusted_proxies))
        return reached if self.public_origin is None else [*reached, self.public_origin]

    def _is_proxied(self, request: web.BaseRequest) -> bool:
        """Whether a proxy may have set the Host header, in a way that leaves DNS rebinding without effect.

        A page behind a rebound name has no key that a browser adds by itself: keys belong to an origin. Where none is
        needed, `Sec-Fetch-Site` shows that the browser reached the name by TLS, which a rebound name cannot have.
        """
        has_proxy = self.public_origin is not None or is_trusted(request, self.trusted_proxies)
        return has_proxy and (self.requires_key or origins.FETCH_SITE in request.headers)

    def cors(self, request: web.BaseRequest) -> Mapping[str, str]:
        """The headers that let a page of a configured origin read the answer.

        A cache on the way may give the answer to another page, or to none: it is told on what they depend, if they do.
        https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches
        """
        if not self.cors_origins or not request.path.startswith("/api/"):
            return {}
        if "*" in self.cors_origins:
            return _CORS_HEADERS
        origin = request.headers.get(hdrs.ORIGIN)
        if origin not in self.cors_origins:
            return _VARY_ORIGIN
        return {**_CORS_HEADERS, **_VARY_ORIGIN, hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin}

    def preflight(self, request: web.BaseRequest) -> dict[str, str] | None:
        """The answer's headers for a browser that asks whether it may ask; None for all other requests."""
        if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
            return None
        found = self.cors(request)
        if hdrs.ORIGIN not in request.headers or hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in found:
            return None
        return {
            **found,
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, PATCH, DELETE",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ALLOWED_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: "3600",
        }


def rate_headers(taken: RateLimitResult) -> dict[str, str]:
    """How often may still be asked, after the IETF's draft (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "RateLimit-Policy": f'"default";q={taken.limit};w={taken.window_seconds}',
        "RateLimit": f'"default";r={taken.remaining};t={taken.reset_seconds}',
    }


def response_headers(request: web.BaseRequest, door: AccessPolicy) -> Mapping[str, str]:
    """What the answer to this request bears beside what is in it: rates, what other sites may read, https alone."""
    found = {**(request.get(RESPONSE_HEADERS) or door.cors(request)), **door.hsts(request)}
    if CANONICAL_PATH in request:
        found[hdrs.CONTENT_LOCATION] = request[CANONICAL_PATH]
    taken = request.get(RATE)
    return found if taken is None else {**found, **rate_headers(taken)}


@functools.lru_cache(maxsize=256)
def is_known_host(host: str, known: frozenset[str]) -> bool:
    """Whether people may use this name for us. An address cannot be rebound, only a name can; browsers send one."""
    if not host:
        return True
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    if name.startswith("[") or name.replace(".", "").isdigit():
        return True
    return name.lower() in known


ACCESS_POLICY = web.AppKey("access_policy", AccessPolicy)
