"""The gate: every key in memory, so that who asks is known without waiting."""

import base64
import binascii
import functools
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from aiohttp import hdrs, web
from multidict import MultiMapping

from flexportd.clock import Clock, parse, stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import UNRESTRICTED, Principal, Scope
from flexportd.core.access.signatures import Signer
from flexportd.errors import RefusedError
from flexportd.expose.security.rate_limit import FailureLimiter
from flexportd.expose.usage_counters import UsageCounters
from flexportd.storage.database import Database
from flexportd.storage.repositories.keys import StoredKey
from flexportd.storage.transaction import Transaction

PROXY_UNKNOWN = (
    "A proxy forwarded this request, but no proxy is configured. Set [server] trusted_proxies and public_url to "
    "require keys, or [api] require_key = false to give everyone who reaches the proxy full access."
)
"""Why a forwarded request is refused on a loopback listener that asks for no key."""

_PROXY_PREFIXES = (
    "x-forward", "forwarded", "http-x-forward", "x-original-", "x-originating-", "x-real-", "x-proxy",
    "x-cluster-client-", "x-envoy-", "x-azure-", "x-arr-", "x-appengine-", "x-akamai-", "x-vercel-", "akamai-", "cf-",
    "fastly-", "fly-", "tailscale-",
)  # fmt: skip
_PROXY_HEADERS = frozenset(
    {
        "via", "x-client-ip", "x-remote-ip", "x-remote-addr", "client-ip", "http-client-ip", "proxy-client-ip",
        "wl-proxy-client-ip", "true-client-ip", "incap-client-ip", "x-sucuri-clientip", "cdn-loop", "x-scheme",
        "x-url-scheme", "front-end-https", "x-varnish", "x-nginx-proxy", "x-rewrite-url", "surrogate-capability",
    }
)  # fmt: skip
"""Headers that proxies add, and all that begin as in _FORWARDED, with underscores as hyphens. Forwarded: RFC 7239; Via:
RFC 9110, 7.6.3; CDN-Loop: RFC 8586; the others are conventions of single programs."""

BEARER_CHALLENGE = 'Bearer realm="flexportd"'
"""The value of `WWW-Authenticate` with every 401 of the gate."""

BASIC_CHALLENGE = 'Basic realm="flexportd", charset="UTF-8"'
"""A browser that looks for a page gets this one: it then asks for a password, which is the key."""

MAX_CACHED_KEYS = 2 * keys.MAX_KEYS  # keys in memory: those that may be used, and the last that may not any more
_MAX_HEADER = 400  # characters of a header; a user's name may stand beside the key


@dataclass(frozen=True, slots=True, repr=False)
class _CachedKey:
    viewer: Principal
    digest: bytes
    expires_at: datetime | None
    revoked: bool


class KeyAuthenticator:
    """Says who holds a key. `required`: whether every caller needs one; it may change while running.

    `exposures` are the settings and sockets by which callers from elsewhere can come in. `open_on_loopback`: no key is
    needed only because there are none, so a request that a proxy has forwarded is not let in without one.

    `uses` counts, for whoever runs us: start `uses.run`, and `uses.flush` at the end.
    """

    def __init__(self, signer: Signer, uses: UsageCounters, *, required: bool) -> None:
        self.required = required
        self.exposures: tuple[str, ...] = ()
        self.open_on_loopback = False
        self.refused_forwarded = 0
        self.signer = signer
        self.usage = uses
        self._failures = FailureLimiter()
        self._cached_keys: dict[str, _CachedKey] = {}

    @classmethod
    async def open(cls, db: Database, clock: Clock, *, required: bool) -> "KeyAuthenticator":
        """With the keys of the store."""

        def work(tx: Transaction) -> tuple[Signer, list[tuple[StoredKey, bytes]]]:
            return Signer.load(tx), tx.keys.with_digests(MAX_CACHED_KEYS)

        signer, known = await db.write(work)
        gate = cls(signer, UsageCounters(db, clock), required=required)
        gate.reload(known)
        return gate

    def configure(self, require_key: bool | None, exposures: Iterable[str]) -> None:
        """Decide whether keys are needed: as `require_key` says, else where callers from elsewhere can come in."""
        self.exposures = tuple(exposures)
        self.required = bool(self.exposures) if require_key is None else require_key
        self.open_on_loopback = require_key is None and not self.required

    def reload(self, known: Iterable[tuple[StoredKey, bytes]]) -> None:
        """Take the keys as they are now (`tx.keys.known(KNOWN)`, after the write that changed one)."""
        self._cached_keys = {
            key.id: _CachedKey(
                keys.principal(key),
                digest,
                parse(key.expires_at) if key.expires_at else None,
                key.revoked_at is not None,
            )
            for key, digest in known
        }

    def allows_anonymous(self, headers: Mapping[str, str]) -> bool:
        """Whether a request without a key is let in, for everything."""
        return not self.required and not (self.open_on_loopback and is_forwarded(headers))

    def authenticate(self, headers: MultiMapping[str], now: datetime, address: str) -> Principal:
        """Who asks. Raises RefusedError: 401, or 429 for an address from which too many wrong keys come.

        The key is a bearer token, or the password of HTTP Basic with any user, so that browsers can send it.
        """
        given = headers.getall(hdrs.AUTHORIZATION, None)
        if given is None:
            if self.required:
                raise _unauthorised("key-missing", "A key is required: Authorization: Bearer fxd_...")
            if self.open_on_loopback and is_forwarded(headers):
                self.refused_forwarded += 1
                raise RefusedError(403, "untrusted-proxy", PROXY_UNKNOWN)
            return UNRESTRICTED
        token = _token(given)
        found = keys.KEY_PATTERN.fullmatch(token) if token is not None else None
        if token is None or found is None:
            error = _unauthorised(
                "key-unknown", "The Authorization header contains no valid key. Expected: Bearer fxd_..."
            )
            raise self._failures.count(error, address, now)
        known = self._cached_keys.get(found[1])
        if known is None or not hmac.compare_digest(known.digest, keys.digest(token)):
            raise self._failures.count(_unauthorised("key-unknown", "Unknown key."), address, now)
        return self._accept(known, now)

    def authenticate_feed(self, token: str, now: datetime, address: str) -> Principal:
        """Who asks with the token of a calendar's address; as `admit`, and it opens what can be read alone."""
        found = keys.FEED_PATTERN.fullmatch(token)
        known = self._cached_keys.get(found[1]) if found is not None else None
        if found is None or known is None or not hmac.compare_digest(keys.feed_token(self.signer, found[1]), token):
            raise self._failures.count(_unauthorised("key-unknown", "Unknown calendar address."), address, now)
        viewer = self._accept(known, now)
        return Principal(viewer.key_id, viewer.name, frozenset({"read"}), viewer.audience, viewer.rate)

    def feed_token(self, key_id: str) -> str:
        """What the address of a calendar holds in place of this key."""
        return keys.feed_token(self.signer, key_id)

    def still_valid(self, viewer: Principal, now: datetime) -> bool:
        """Whether who was let in would be let in again, and see the same; it counts as no use."""
        if viewer.key_id is None:
            return not self.required
        known = self._cached_keys.get(viewer.key_id)
        if known is None or known.revoked or (known.expires_at is not None and known.expires_at <= now):
            return False
        return known.viewer == viewer

    def _accept(self, known: _CachedKey, now: datetime) -> Principal:
        if known.revoked:
            raise _unauthorised("key-revoked", "This key was revoked.")
        if known.expires_at is not None and known.expires_at <= now:
            raise _unauthorised("key-expired", f"This key expired at {stamp(known.expires_at)}.")
        viewer = known.viewer
        self.usage.keys.record(viewer.key_id or "", now)
        return viewer


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy has forwarded the request that has these headers, as far as they say."""
    return _has_proxy_header(tuple(headers))


@functools.lru_cache(maxsize=256)  # one client sends the same names each time
def _has_proxy_header(names: tuple[str, ...]) -> bool:
    plain = [name.lower().replace("_", "-") for name in names]
    return any(name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES) for name in plain)


def require_scope(viewer: Principal, scope: Scope) -> None:
    """Raises RefusedError (403) unless the viewer has this scope."""
    if scope not in viewer.scopes:
        has = ", ".join(one for one in keys.SCOPES if one in viewer.scopes)
        raise RefusedError(
            403, "insufficient-scope", f"This requires a key with the scope {scope}; this key has {has}."
        )


def _token(given: list[str]) -> str | None:
    """The key in the header, as far as it can be one."""
    text = given[0]
    if len(given) > 1 or len(text) > _MAX_HEADER or not text.isascii():
        return None
    scheme, _, rest = text.partition(" ")
    kind = scheme.lower()
    if kind == "bearer":
        return rest.strip()
    if kind != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return None


def _unauthorised(slug: str, sentence: str) -> RefusedError:
    return RefusedError(401, slug, sentence, headers={"www_authenticate": BEARER_CHALLENGE})


AUTHENTICATOR = web.AppKey("authenticator", KeyAuthenticator)
"""On the control socket as well, where keys are made and revoked though none is asked for."""
