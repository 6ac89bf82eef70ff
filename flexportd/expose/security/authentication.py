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
from flexportd.core.access.keys import EVERYTHING, Scope, Viewer
from flexportd.core.access.signatures import Signer
from flexportd.errors import RefusedError
from flexportd.expose.security.rate_limit import Failures
from flexportd.expose.usage_counters import Uses
from flexportd.storage.database import Database
from flexportd.storage.repositories.keys import Key
from flexportd.storage.transaction import Session

PROXY_UNKNOWN = (
    "A proxy forwarded this request, but no proxy is configured. Set [server] trusted_proxies and public_url to "
    "require keys, or [api] require_key = false to give everyone who reaches the proxy full access."
)
"""Why a forwarded request is refused on a loopback listener that asks for no key."""

_FORWARDED = (
    "x-forward", "forwarded", "http-x-forward", "x-original-", "x-originating-", "x-real-", "x-proxy",
    "x-cluster-client-", "x-envoy-", "x-azure-", "x-arr-", "x-appengine-", "x-akamai-", "x-vercel-", "akamai-", "cf-",
    "fastly-", "fly-", "tailscale-",
)  # fmt: skip
_BY_PROXIES = frozenset(
    {
        "via", "x-client-ip", "x-remote-ip", "x-remote-addr", "client-ip", "http-client-ip", "proxy-client-ip",
        "wl-proxy-client-ip", "true-client-ip", "incap-client-ip", "x-sucuri-clientip", "cdn-loop", "x-scheme",
        "x-url-scheme", "front-end-https", "x-varnish", "x-nginx-proxy", "x-rewrite-url", "surrogate-capability",
    }
)  # fmt: skip
"""Headers that proxies add, and all that begin as in _FORWARDED, with underscores as hyphens. Forwarded: RFC 7239; Via:
RFC 9110, 7.6.3; CDN-Loop: RFC 8586; the others are conventions of single programs."""

CHALLENGE = 'Bearer realm="flexportd"'
"""The value of `WWW-Authenticate` with every 401 of the gate."""

CHALLENGE_FOR_PEOPLE = 'Basic realm="flexportd", charset="UTF-8"'
"""A browser that looks for a page gets this one: it then asks for a password, which is the key."""

KNOWN = 2 * keys.MOST  # keys in memory: those that may be used, and the last that may not any more
_LONGEST = 400  # characters of a header; a user's name may stand beside the key


@dataclass(frozen=True, slots=True, repr=False)
class _Known:
    viewer: Viewer
    digest: bytes
    expires_at: datetime | None
    revoked: bool


class Gate:
    """Says who holds a key. `required`: whether every caller needs one; it may change while running.

    `exposures` are the settings and sockets by which callers from elsewhere can come in. `open_on_loopback`: no key is
    needed only because there are none, so a request that a proxy has forwarded is not let in without one.

    `uses` counts, for whoever runs us: start `uses.run`, and `uses.flush` at the end.
    """

    def __init__(self, signer: Signer, uses: Uses, *, required: bool) -> None:
        self.required = required
        self.exposures: tuple[str, ...] = ()
        self.open_on_loopback = False
        self.refused_forwarded = 0
        self.signer = signer
        self.uses = uses
        self._failures = Failures()
        self._known: dict[str, _Known] = {}

    @classmethod
    async def open(cls, db: Database, clock: Clock, *, required: bool) -> "Gate":
        """With the keys of the store."""

        def work(tx: Session) -> tuple[Signer, list[tuple[Key, bytes]]]:
            return Signer.of(tx), tx.keys.known(KNOWN)

        signer, known = await db.write(work)
        gate = cls(signer, Uses(db, clock), required=required)
        gate.reload(known)
        return gate

    def configure(self, require_key: bool | None, exposures: Iterable[str]) -> None:
        """Decide whether keys are needed: as `require_key` says, else where callers from elsewhere can come in."""
        self.exposures = tuple(exposures)
        self.required = bool(self.exposures) if require_key is None else require_key
        self.open_on_loopback = require_key is None and not self.required

    def reload(self, known: Iterable[tuple[Key, bytes]]) -> None:
        """Take the keys as they are now (`tx.keys.known(KNOWN)`, after the write that changed one)."""
        self._known = {
            key.id: _Known(
                keys.viewer(key), digest, parse(key.expires_at) if key.expires_at else None, key.revoked_at is not None
            )
            for key, digest in known
        }

    def admits_all(self, headers: Mapping[str, str]) -> bool:
        """Whether a request without a key is let in, for everything."""
        return not self.required and not (self.open_on_loopback and is_forwarded(headers))

    def admit(self, headers: MultiMapping[str], now: datetime, address: str) -> Viewer:
        """Who asks. Raises RefusedError: 401, or 429 for an address from which too many wrong keys come.

        The key is a bearer token, or the password of HTTP Basic with any user, so that browsers can send it.
        """
        given = headers.getall(hdrs.AUTHORIZATION, None)
        if given is None:
            if self.required:
                raise _refused("key-missing", "A key is required: Authorization: Bearer fxd_...")
            if self.open_on_loopback and is_forwarded(headers):
                self.refused_forwarded += 1
                raise RefusedError(403, "untrusted-proxy", PROXY_UNKNOWN)
            return EVERYTHING
        token = _token(given)
        found = keys.KEY.fullmatch(token) if token is not None else None
        if token is None or found is None:
            error = _refused("key-unknown", "The Authorization header contains no valid key. Expected: Bearer fxd_...")
            raise self._failures.counted(error, address, now)
        known = self._known.get(found[1])
        if known is None or not hmac.compare_digest(known.digest, keys.digest(token)):
            raise self._failures.counted(_refused("key-unknown", "Unknown key."), address, now)
        return self._let_in(known, now)

    def admit_feed(self, token: str, now: datetime, address: str) -> Viewer:
        """Who asks with the token of a calendar's address; as `admit`, and it opens what can be read alone."""
        found = keys.FEED.fullmatch(token)
        known = self._known.get(found[1]) if found is not None else None
        if found is None or known is None or not hmac.compare_digest(keys.feed_token(self.signer, found[1]), token):
            raise self._failures.counted(_refused("key-unknown", "Unknown calendar address."), address, now)
        viewer = self._let_in(known, now)
        return Viewer(viewer.key_id, viewer.name, frozenset({"read"}), viewer.audience, viewer.rate)

    def feed_token(self, key_id: str) -> str:
        """What the address of a calendar holds in place of this key."""
        return keys.feed_token(self.signer, key_id)

    def still_admits(self, viewer: Viewer, now: datetime) -> bool:
        """Whether who was let in would be let in again, and see the same; it counts as no use."""
        if viewer.key_id is None:
            return not self.required
        known = self._known.get(viewer.key_id)
        if known is None or known.revoked or (known.expires_at is not None and known.expires_at <= now):
            return False
        return known.viewer == viewer

    def _let_in(self, known: _Known, now: datetime) -> Viewer:
        if known.revoked:
            raise _refused("key-revoked", "This key was revoked.")
        if known.expires_at is not None and known.expires_at <= now:
            raise _refused("key-expired", f"This key expired at {stamp(known.expires_at)}.")
        viewer = known.viewer
        self.uses.keys.note(viewer.key_id or "", now)
        return viewer


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy has forwarded the request that has these headers, as far as they say."""
    return _names_a_proxy(tuple(headers))


@functools.lru_cache(maxsize=256)  # one client sends the same names each time
def _names_a_proxy(names: tuple[str, ...]) -> bool:
    plain = [name.lower().replace("_", "-") for name in names]
    return any(name in _BY_PROXIES or name.startswith(_FORWARDED) for name in plain)


def require(viewer: Viewer, scope: Scope) -> None:
    """Raises RefusedError (403) unless the viewer has this scope."""
    if scope not in viewer.scopes:
        has = ", ".join(one for one in keys.SCOPES if one in viewer.scopes)
        raise RefusedError(
            403, "insufficient-scope", f"This requires a key with the scope {scope}; this key has {has}."
        )


def _token(given: list[str]) -> str | None:
    """The key in the header, as far as it can be one."""
    text = given[0]
    if len(given) > 1 or len(text) > _LONGEST or not text.isascii():
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


def _refused(slug: str, sentence: str) -> RefusedError:
    return RefusedError(401, slug, sentence, headers={"www_authenticate": CHALLENGE})


GATE: web.AppKey[Gate] = web.AppKey("gate", Gate)
"""On the control socket as well, where keys are made and revoked though none is asked for."""
