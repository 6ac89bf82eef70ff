"""API keys: their scopes, audiences and lifetimes.

A key is `fxd_<id>_<secret>`. The URL of a calendar has `fxc_<id>_<signature>` of the same id, and has only the scope
read of the key. Neither is stored.
"""

import base64
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypedDict

import msgspec

from flexportd.clock import stamp
from flexportd.core.json_types import document_of
from flexportd.errors import ConflictError, InvalidError, not_found
from flexportd.settings import Rate, format_duration, parse_duration, parse_rate
from flexportd.storage.repositories.access import StoredKey
from flexportd.storage.repositories.audiences import CONSIGNEE, METADATA, Audience
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

_META_KEY = "signing_secret"  # in `meta`
_BYTES = 32
_ALPHABET = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    """Random letters and digits, six bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Signer:
    """Signs for a purpose: a signature for one is not valid for another."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def load(cls, tx: Transaction) -> "Signer":
        """The signer of this database, created at first use; in a write transaction."""
        text = tx.meta.get(_META_KEY)
        if text is None:
            text = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
            tx.meta.put(_META_KEY, text)
        return cls(base64.b64decode(text))

    def sign(self, purpose: str, message: bytes, size: int) -> bytes:
        """The first `size` bytes of the signature."""
        return hmac.digest(self._secret, purpose.encode() + b"\0" + message, hashlib.sha256)[:size]

    def __repr__(self) -> str:
        return "Signer(...)"


Scope = Literal["read", "write", "admin"]

SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
"""Each includes those before it."""

MAX_KEYS = 10_000  # live keys
MAX_NAME_LENGTH = 80
MAX_VALUES = 200
MAX_VALUE_LENGTH = 300
_MAX_LIFETIME = timedelta(days=3650)
_ID, _SECRET = 8, 43  # characters: 47 and 256 bits
KEY_PATTERN = re.compile(rf"fxd_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}}")
FEED_PATTERN = re.compile(rf"fxc_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z_-]{{32}})")
_FEED_BYTES = 24
_EXPIRIES = "a duration (90d, 12h), a day (2027-01-31, the last one on which it works) or a time (2027-01-31T12:00:00Z)"
_SPAN = re.compile(r"[0-9]+[a-z]")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Not allowed in a line of text."""


class Principal(msgspec.Struct, frozen=True):
    """The caller of a request. `audience` None: sees everything; `rate` None: the rate limit of the settings."""

    key_id: str | None
    name: str
    scopes: frozenset[Scope]
    audience: Audience | None = None
    rate: Rate | None = None


UNRESTRICTED = Principal(None, "local", frozenset(SCOPES))
"""The caller on the control socket, or anyone if no key is required."""


class NewKey(msgspec.Struct, frozen=True):
    """A request for a key, as entered."""

    name: str
    scope: Scope = "read"
    expires: str | None = None
    consignees: Sequence[str] = ()
    metadata: Mapping[str, Sequence[str]] = {}
    rate_limit: str | None = None


class AccessKey(TypedDict):
    """A key as the API shows it; `state` is live, expired or revoked."""

    id: str
    name: str
    scopes: list[Scope]
    consignees: list[str] | None
    metadata: dict[str, list[str]] | None
    rate_limit: str | None
    state: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    uses: int


def create(tx: Transaction, wanted: NewKey, by: str, now: datetime) -> tuple[StoredKey, str]:
    """Create a key; returns it with its token, which is not stored. Raises InvalidError, ConflictError."""
    at, name = stamp(now), parse_line("name", wanted.name, MAX_NAME_LENGTH)
    audience = _audience(wanted)
    if audience is not None and wanted.scope != "read":
        why = f"scope is {wanted.scope}; a key limited to some shipments can only have the scope read"
        raise InvalidError(why, "scope")
    expires_at = None if wanted.expires is None else parse_expiry(wanted.expires, now, _MAX_LIFETIME)
    other = tx.keys.by_name(name, at)
    if other is not None:
        raise ConflictError(f"a key named {name!r} already exists ({other.id}); revoke it or choose another name")
    if tx.keys.count_live(at) >= MAX_KEYS:
        raise ConflictError(f"the limit of {MAX_KEYS} keys is reached; revoke some")
    key_id = random_text(_ID)
    while tx.keys.by_id(key_id) is not None:
        key_id = random_text(_ID)
    token = f"fxd_{key_id}_{random_text(_SECRET)}"
    key = StoredKey(
        key_id, name, msgspec.json.encode(expand_scope(wanted.scope)).decode(),
        None if audience is None else msgspec.json.encode(audience).decode(),
        _rate(wanted.rate_limit), at, by, expires_at,
    )  # fmt: skip
    tx.keys.add(key, digest(token))
    limited = "" if audience is None else ", limited to some shipments"
    tx.audit.add(at, by, "key.create", f"key {key_id}", f"{name}: scope {wanted.scope}{limited}")
    return key, token


def revoke(tx: Transaction, key_id: str, by: str, now: datetime) -> StoredKey:
    """Revoke a key and the share links that were made with it. Raises NotFoundError."""
    at = stamp(now)
    is_new = tx.keys.revoke(key_id, at)
    key = get_key(tx, key_id)
    tx.shares.revoke_of_key(key_id, at)
    if is_new:
        tx.audit.add(at, by, "key.revoke", f"key {key_id}", key.name)
    return key


def get_key(tx: Transaction, key_id: str) -> StoredKey:
    """The key with this id. Raises NotFoundError."""
    key = tx.keys.by_id(key_id)
    if key is None:
        raise not_found("key", key_id)
    return key


def digest(token: str) -> bytes:
    """The hash of a key, which is stored in its place."""
    return hashlib.sha256(token.encode()).digest()


def principal(key: StoredKey) -> Principal:
    """The principal of this key."""
    audience = None if key.audience is None else decode_as(key.audience, Audience)
    scopes = decode_as(key.scopes, frozenset[Scope])
    return Principal(key.id, key.name, scopes, audience, None if key.rate_limit is None else parse_rate(key.rate_limit))


def document(row: Mapping[str, Any], now: str) -> AccessKey:
    """A row of the list as the API returns it."""
    audience = None if row["audience"] is None else decode_as(row["audience"], Audience)
    mark, values = (None, []) if audience is None else (audience.mark, list(audience.values))
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    return document_of(
        AccessKey,
        row,
        scopes=msgspec.json.decode(row["scopes"]),
        consignees=values if mark == CONSIGNEE else None,
        metadata={mark.removeprefix(METADATA): values} if mark not in (None, CONSIGNEE) else None,
        state="revoked" if row["revoked_at"] else "expired" if expired else "live",
    )


def feed_token(signer: Signer, key_id: str) -> str:
    """The token in a calendar's URL; valid as long as the key."""
    signature = signer.sign("calendar", key_id.encode(), _FEED_BYTES)
    return f"fxc_{key_id}_{base64.urlsafe_b64encode(signature).decode()}"


def expand_scope(scope: Scope) -> tuple[Scope, ...]:
    """A scope with all that it includes."""
    return SCOPES[: SCOPES.index(scope) + 1]


def _audience(wanted: NewKey) -> Audience | None:
    if wanted.consignees and wanted.metadata:
        raise InvalidError("metadata and consignees cannot be combined in one key", "metadata")
    if len(wanted.metadata) > 1:
        raise InvalidError(f"metadata has {len(wanted.metadata)} keys; exactly one is allowed", "metadata")
    if wanted.consignees:
        return Audience(CONSIGNEE, _values("consignees", wanted.consignees))
    for key, values in wanted.metadata.items():
        if not 0 < len(key) <= MAX_VALUE_LENGTH or "\0" in key:
            raise InvalidError(f"metadata has a wrong key; 1 to {MAX_VALUE_LENGTH} characters, no NUL", "metadata")
        return Audience(f"{METADATA}{key}", _values("metadata", values))
    return None


def _values(parameter: str, values: Sequence[str]) -> tuple[str, ...]:
    if not 0 < len(values) <= MAX_VALUES:
        raise InvalidError(f"{parameter} has {len(values)} values; from 1 to {MAX_VALUES} are allowed", parameter)
    return tuple(dict.fromkeys(_value(parameter, value) for value in values))


def _value(parameter: str, value: str) -> str:
    text = value.strip()  # inner spaces stay: names of companies have all sorts of them
    if not 0 < len(text) <= MAX_VALUE_LENGTH or "\0" in text:
        why = f"{parameter} has {value[:50]!r}; 1 to {MAX_VALUE_LENGTH} characters are required"
        raise InvalidError(why, parameter)
    return text


def parse_line(parameter: str, value: str, most: int) -> str:
    """One line of text without surrounding blanks. Raises InvalidError for another, or more than `most` characters."""
    text = value.strip()
    if not 0 < len(text) <= most or CONTROL_CHARACTERS.search(text):
        raise InvalidError(f"{parameter} is {value[:50]!r}; one line of 1 to {most} characters is required", parameter)
    return text


def _rate(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(parse_rate(text))
    except ValueError as error:
        raise InvalidError(f"rate_limit is {text[:50]!r}; {error}", "rate_limit") from None


def parse_expiry(text: str, now: datetime, most: timedelta) -> str:
    """Parse an expiry to a stamp of whole seconds. Raises InvalidError unless it is in the future, within `most`."""
    try:
        at = now + parse_duration(text) if _SPAN.match(text) and len(text) < 100 else _moment(text)
        at = at.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise InvalidError(f"expires is {text[:50]!r}; allowed is {_EXPIRIES}", "expires") from None
    if at <= now:
        raise InvalidError(f"expires is {text[:50]!r}, which is not in the future; now it is {stamp(now)}", "expires")
    if at > now + most:
        longest = format_duration(most)
        raise InvalidError(f"expires is {text[:50]!r}; at most {longest} from now is allowed", "expires")
    return stamp(at)


def _moment(text: str) -> datetime:
    if len(text) == 10:
        day = date.fromisoformat(text) + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
