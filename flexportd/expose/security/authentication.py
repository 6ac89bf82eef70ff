"""Authentication by API key, from keys in memory, without waiting for the database; usage of keys; rate limits."""

import base64
import binascii
import functools
import hmac
import math
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import NamedTuple

from aiohttp import hdrs, web
from multidict import MultiMapping

from flexportd.clock import Clock, parse, stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import UNRESTRICTED, Principal, Scope, Signer
from flexportd.errors import RefusedError, UnavailableError
from flexportd.http.client_ip import client_at, site_of
from flexportd.settings import Rate
from flexportd.storage.database import Database
from flexportd.storage.repositories.access import StoredKey
from flexportd.storage.transaction import Transaction

MAX_KEYS = 20_000  # more than there can be keys
MAX_ADDRESSES = 10_000
FAILURE_RATE = Rate(20, 60)  # invalid keys from one address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """The result for one request. `reset_seconds`: until the bucket is full; for a refused request, until the next."""

    allowed: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int

    @property
    def sentence(self) -> str:
        """The error for a refused request."""
        return (
            f"This key has used all {self.limit} requests allowed per {self.window_seconds} s; "
            f"retry after {self.reset_seconds} s."
        )


class _TokenBuckets:
    """By name: when each is full, in microseconds times the rate's count; the least recently used are dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._full_at: OrderedDict[str, tuple[Rate, int]] = OrderedDict()

    def acquire(self, name: str, rate: Rate, now: datetime) -> RateLimitResult:
        """Take a token if there is one."""
        at = (now - _EPOCH) // _TICK * rate.requests
        size = rate.seconds * _SECOND * rate.requests
        each = rate.seconds * _SECOND
        known, full_at = self._full_at.pop(name, (rate, at))
        # After a change of the rate the bucket starts full, and so it does when the clock was set back far.
        full_at = max(full_at, at) if known == rate and full_at <= at + size else at
        allowed = full_at + each <= at + size
        if allowed:
            full_at += each
        self._full_at[name] = rate, full_at
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        lacking = full_at - at
        wait = lacking if allowed else full_at + each - size - at
        seconds = max(1, math.ceil(wait / (_SECOND * rate.requests)))
        return RateLimitResult(allowed, rate.requests, rate.seconds, (size - lacking) // each, seconds)


class KeyRateLimiter:
    """Limits requests by key; callers without a key are not limited."""

    def __init__(self, default: Callable[[], Rate]) -> None:
        """`default` returns the configured rate, which may change while running."""
        self._default = default
        self._buckets = _TokenBuckets(MAX_KEYS)

    def acquire(self, principal: Principal, now: datetime) -> RateLimitResult | None:
        """Count a request; None if there is no limit."""
        if principal.key_id is None:
            return None
        rate = self._default() if principal.rate is None else principal.rate
        return self._buckets.acquire(principal.key_id, rate, now) if rate.requests else None


class FailureLimiter:
    """Limits invalid keys by client address; a valid key from the same address is still accepted."""

    def __init__(self) -> None:
        self._buckets = _TokenBuckets(MAX_ADDRESSES)

    def count(self, error: RefusedError, client: str, now: datetime) -> RefusedError:
        """The error to raise: the given one, or 429 after too many from this client (`RemoteClient.name`)."""
        address = client_at(client).address  # counted by its network
        taken = self._buckets.acquire(client if address is None else str(site_of(address)), FAILURE_RATE, now)
        if taken.allowed:
            return error
        sentence = (
            f"More than {FAILURE_RATE.requests} wrong keys were sent from this address within {FAILURE_RATE.seconds} s."
        )
        return RefusedError(429, "too-many-invalid-keys", sentence, taken.reset_seconds)


_INTERVAL = 60.0  # seconds between writes of the usage


class UsageCounter:
    """Unwritten uses by id: the time of the last one, and how many."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[datetime, int]] = {}

    def record(self, name: str, now: datetime) -> None:
        """Count one use."""
        self._counts[name] = now, self._counts.get(name, (now, 0))[1] + 1

    def pending(self, name: str) -> tuple[str, int] | None:
        """The time of the last use and the number of unwritten uses; None without any."""
        count = self._counts.get(name)
        return None if count is None else (stamp(count[0]), count[1])

    def drain(self) -> list[tuple[str, str, int]]:
        """Remove and return all counts."""
        counts, self._counts = self._counts, {}
        return [(name, stamp(at), count) for name, (at, count) in counts.items()]

    def restore(self, uses: list[tuple[str, str, int]]) -> None:
        """Add counts again that could not be written."""
        for name, at, count in uses:
            last, more = self._counts.get(name, (datetime.fromisoformat(at), 0))
            self._counts[name] = last, more + count


class UsageCounters:
    """The uses of keys and the views of share links: counted in memory, written in the background."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self.keys = UsageCounter()
        self.shares = UsageCounter()

    async def run(self) -> None:
        """Write the counts every minute until cancelled; call `flush` afterwards."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write the counts; if the disk cannot be written, they wait for the next time."""
        keys, shares = self.keys.drain(), self.shares.drain()
        if not keys and not shares:
            return

        def work(tx: Transaction) -> None:
            tx.keys.record_uses(keys)
            tx.shares.record_views(shares)

        try:
            await self._db.write(work)
        except UnavailableError:
            self.keys.restore(keys)
            self.shares.restore(shares)


PROXY_UNKNOWN = (
    "A proxy forwarded this request, but no proxy is configured. Set [server] trusted_proxies and public_url to "
    "require keys, or [api] require_key = false to give everyone who reaches the proxy full access."
)
"""Why a forwarded request is refused on a loopback listener that needs no key."""

_PROXY_HEADERS = tomllib.loads((files(__package__) / "proxy_headers.toml").read_text(encoding="utf-8"))

BEARER_CHALLENGE = 'Bearer realm="flexportd"'
"""The value of `WWW-Authenticate` with every 401."""

BASIC_CHALLENGE = 'Basic realm="flexportd", charset="UTF-8"'
"""The same for browsers that request a page: they ask for a password, which is the key."""

MAX_CACHED_KEYS = 2 * keys.MAX_KEYS  # valid keys, and the last ones that were revoked or have expired
_MAX_HEADER = 400  # characters of a header; it may contain a user name besides the key


class _CachedKey(NamedTuple):
    principal: Principal
    digest: bytes
    expires_at: datetime | None
    revoked: bool


class KeyAuthenticator:
    """Authenticates callers by key. `required`: whether every caller needs one; it may change while running.

    `exposures` are the settings and sockets that make the server reachable from other machines. `open_on_loopback`: no
    key is needed only because there are none, so a request that a proxy has forwarded is refused without one.

    The owner runs `usage.run`, and `usage.flush` at the end.
    """

    def __init__(self, signer: Signer, usage: UsageCounters, *, required: bool) -> None:
        self.required = required
        self.exposures: tuple[str, ...] = ()
        self.open_on_loopback = False
        self.refused_forwarded = 0
        self.signer = signer
        self.usage = usage
        self._failures = FailureLimiter()
        self._cached_keys: dict[str, _CachedKey] = {}

    @classmethod
    async def open(cls, db: Database, clock: Clock, *, required: bool) -> "KeyAuthenticator":
        """Load the keys from the database."""

        def work(tx: Transaction) -> tuple[Signer, list[tuple[StoredKey, bytes]]]:
            return Signer.load(tx), tx.keys.with_digests(MAX_CACHED_KEYS)

        signer, stored = await db.write(work)
        authenticator = cls(signer, UsageCounters(db, clock), required=required)
        authenticator.reload(stored)
        return authenticator

    def configure(self, require_key: bool | None, exposures: Iterable[str]) -> None:
        """Set whether keys are needed: as `require_key` says, by default if other machines can reach the server."""
        self.exposures = tuple(exposures)
        self.required = bool(self.exposures) if require_key is None else require_key
        self.open_on_loopback = require_key is None and not self.required

    def reload(self, stored: Iterable[tuple[StoredKey, bytes]]) -> None:
        """Replace the keys in memory with `tx.keys.with_digests(MAX_CACHED_KEYS)`; call it after each change."""
        self._cached_keys = {
            key.id: _CachedKey(
                keys.principal(key),
                digest,
                parse(key.expires_at) if key.expires_at else None,
                key.revoked_at is not None,
            )
            for key, digest in stored
        }

    def allows_anonymous(self, headers: Mapping[str, str]) -> bool:
        """Whether a request without a key has full access."""
        return not self.required and not (self.open_on_loopback and is_forwarded(headers))

    def authenticate(self, headers: MultiMapping[str], now: datetime, address: str) -> Principal:
        """The caller, by bearer token or Basic password. Raises RefusedError: 401, or 429 after many invalid keys."""
        given = headers.getall(hdrs.AUTHORIZATION, None)
        if given is None:
            if self.required:
                raise _unauthorised("key-missing", "A key is required: Authorization: Bearer fxd_...")
            if self.open_on_loopback and is_forwarded(headers):
                self.refused_forwarded += 1
                raise RefusedError(403, "untrusted-proxy", PROXY_UNKNOWN)
            return UNRESTRICTED
        token = _token(given)
        match = keys.KEY_PATTERN.fullmatch(token) if token is not None else None
        if token is None or match is None:
            error = _unauthorised(
                "key-unknown", "The Authorization header contains no valid key. Expected: Bearer fxd_..."
            )
            raise self._failures.count(error, address, now)
        key = self._cached_keys.get(match[1])
        if key is None or not hmac.compare_digest(key.digest, keys.digest(token)):
            raise self._failures.count(_unauthorised("key-unknown", "Unknown key."), address, now)
        return self._accept(key, now)

    def authenticate_feed(self, token: str, now: datetime, address: str) -> Principal:
        """The caller by the token of a calendar URL, with read access only. Raises as `authenticate`."""
        match = keys.FEED_PATTERN.fullmatch(token)
        key = self._cached_keys.get(match[1]) if match is not None else None
        if match is None or key is None or not hmac.compare_digest(keys.feed_token(self.signer, match[1]), token):
            raise self._failures.count(_unauthorised("key-unknown", "Unknown calendar address."), address, now)
        principal = self._accept(key, now)
        return Principal(principal.key_id, principal.name, frozenset({"read"}), principal.audience, principal.rate)

    def feed_token(self, key_id: str) -> str:
        """The token of the calendar URL of this key."""
        return keys.feed_token(self.signer, key_id)

    def still_valid(self, principal: Principal, now: datetime) -> bool:
        """Whether an accepted caller would be accepted again with the same access; it does not count as a use."""
        if principal.key_id is None:
            return not self.required
        key = self._cached_keys.get(principal.key_id)
        if key is None or key.revoked or (key.expires_at is not None and key.expires_at <= now):
            return False
        return key.principal == principal

    def _accept(self, key: _CachedKey, now: datetime) -> Principal:
        if key.revoked:
            raise _unauthorised("key-revoked", "This key was revoked.")
        if key.expires_at is not None and key.expires_at <= now:
            raise _unauthorised("key-expired", f"This key expired at {stamp(key.expires_at)}.")
        self.usage.keys.record(key.principal.key_id or "", now)
        return key.principal


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether the headers show that a proxy has forwarded the request."""
    return _has_proxy_header(tuple(headers))


@functools.lru_cache(maxsize=256)  # a client sends the same names each time
def _has_proxy_header(names: tuple[str, ...]) -> bool:
    known, prefixes = _PROXY_HEADERS["names"], tuple(_PROXY_HEADERS["prefixes"])
    plain = [name.lower().replace("_", "-") for name in names]
    return any(name in known or name.startswith(prefixes) for name in plain)


def require_scope(principal: Principal, scope: Scope) -> None:
    """Raises RefusedError (403) unless the caller has this scope."""
    if scope not in principal.scopes:
        has = ", ".join(name for name in keys.SCOPES if name in principal.scopes)
        raise RefusedError(
            403, "insufficient-scope", f"This requires a key with the scope {scope}; this key has {has}."
        )


def _token(given: list[str]) -> str | None:
    """The key in the header; None if it cannot be one."""
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
"""Also set on the control socket, where keys are managed though none is needed."""
