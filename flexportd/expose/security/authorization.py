"""What an audience key may see, one limited to some shipments: these, and the objects that belong to them.

Its holder is a customer of the Flexport client. So it never sees freight invoices, which are the client's costs,
documents that show the client's prices (all but `documents.CUSTOMER_TYPES`), Flexport's own JSON, which may contain
anything, or objects that belong to no shipment. Everything else is as if it did not exist: the responses are the same.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web

from flexportd.core.access.audiences import is_for_customers, visible_from
from flexportd.core.access.keys import Principal, Signer
from flexportd.core.resources import documents
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import ForbiddenError, NotFoundError
from flexportd.expose.context import DB, PRINCIPAL, READS, REGISTRY
from flexportd.expose.security.authentication import AUTHENTICATOR
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.audiences import FROM_BEGINNING, Audience, MembershipStart
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_HIDDEN_RESOURCES = frozenset({"invoices"})


def audience_of(request: web.Request) -> Audience | None:
    """The audience of the caller's key; None for full access."""
    principal = request.get(PRINCIPAL)
    return None if principal is None else principal.audience


def is_visible_to_audience(table: Table) -> bool:
    """Whether audience keys may see any object of a resource."""
    return table.name not in _HIDDEN_RESOURCES and table.owner is not None


def shipment_of(domain: ResourceType, record: Record) -> int | None:
    """The shipment that an object is or belongs to."""
    owner = record.id if domain.table.owner == "id" else record.fields.get(domain.table.owner or "")
    return None if owner is None else int(owner)


def is_visible(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> bool:
    """Whether the caller may see this object."""
    audience = audience_of(request)
    if audience is None:
        return True
    shipment = shipment_of(domain, record) if is_visible_to_audience(domain.table) else None
    if shipment is None or not tx.audiences.visible(audience, (shipment,)):
        return False
    return domain is not documents.RESOURCE_TYPE or documents.is_for_customers(record.fields)


def visible_since(request: web.Request, tx: Transaction, domain: ResourceType, record: Record) -> MembershipStart:
    """The change with which a visible object entered the caller's audience; earlier ones are hidden."""
    audience, shipment = audience_of(request), shipment_of(domain, record)
    if audience is None or shipment is None:
        return FROM_BEGINNING
    key = (domain.name, str(record.id), shipment)
    return visible_from(tx, audience, (key,))[key]


def history_filters(
    request: web.Request, tx: Transaction, domain: ResourceType, record: Record
) -> Mapping[str, Sequence[Any]]:
    """The filters of the history of a visible object: for an audience key, from `visible_since`."""
    return (
        {} if audience_of(request) is None else {"since_start": visible_since(request, tx, domain, record).parameters}
    )


def visible_events(request: web.Request, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The events of a visible shipment that the caller may see."""
    return [row for row in rows if audience_of(request) is None or is_for_customers(row["type"])]


async def check_access(request: web.Request, domain: ResourceType, key: Key) -> None:
    """Raises ForbiddenError if the caller may see nothing of a resource, NotFoundError if not this object.

    For an audience key, an object that does not exist is refused here as well, before anything else is checked, so that
    the response is the same as for an object of another audience.
    """
    audience = audience_of(request)
    if audience is None:
        return
    if not is_visible_to_audience(domain.table):
        raise _forbidden(domain.name)

    def work(tx: Transaction) -> bool:
        if domain.table.owner == "id" and not tx.audiences.visible(audience, (int(key),)):
            return False  # without reading the shipment: the response time must not show that it exists
        record = request.app[READS].get(tx, domain, key)
        return record is not None and is_visible(request, tx, domain, record)

    if not await request.app[DB].read(work):
        raise NotFoundError(f"there is no {domain.label} {key if isinstance(key, int) else repr(key[:50])}")


def check_includes(request: web.Request, includes: Collection[str]) -> None:
    """Raises ForbiddenError for Flexport's own JSON, which may contain the client's freight costs."""
    if "raw" in includes and audience_of(request) is not None:
        raise ForbiddenError("include=raw is not available to a key that is limited to some shipments.")


def list_filters(request: web.Request, table: Table) -> Mapping[str, Sequence[Any]]:
    """The filters that limit a list to the caller's audience. Raises ForbiddenError."""
    audience = audience_of(request)
    if audience is None:
        return {}
    if not is_visible_to_audience(table):
        raise _forbidden(table.name)
    if "as_of" in request.query:
        raise ForbiddenError("as_of is not available for lists with a key limited to some shipments.")
    return {"audience": audience.parameters, **({"for_customers": ()} if table.name == documents.TABLE.name else {})}


async def deny_list(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """For lists that belong to no shipment. Raises ForbiddenError."""
    if audience_of(request) is not None:
        raise ForbiddenError("This key can only open its own shipments.")
    return {}


async def authorize_history(request: web.Request, always: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The filters of the history of the object in `always["resource"]`. Raises ForbiddenError, NotFoundError."""
    if audience_of(request) is None:
        return {}
    name, text = always["resource"]
    domain = request.app[REGISTRY][name]
    key = domain.parse_id(text) or text
    await check_access(request, domain, key)

    def read(tx: Transaction) -> Mapping[str, Sequence[Any]]:
        record = request.app[READS].get(tx, domain, key)
        return {} if record is None else history_filters(request, tx, domain, record)

    return await request.app[DB].read(read)


def _forbidden(name: str) -> ForbiddenError:
    what = name.replace("_", " ").capitalize()
    why = "are freight costs" if name in _HIDDEN_RESOURCES else "do not belong to a single shipment"
    return ForbiddenError(f"{what} {why}; this key is limited to some shipments and cannot read them.")


_NONCE = _TAG = 12  # bytes
_BLOCK = 32  # bytes: the length reveals only the number of blocks
_PADDING = b"\x80"  # before the zeros that fill the last block
_HALF_BITS = 26  # bits: a number has two halves, so that JSON readers that use doubles take it
_ROUNDS = 8
MAX_NUMBER = 2 ** (2 * _HALF_BITS) - 1


class OpaqueCodec:
    """Encrypts texts and numbers for one audience key. Deterministic, unless `vary` is set.

    Internal numbers (of the change log, the history, the exceptions) count what happens to all shipments. An encrypted
    one reveals nothing, is valid only with its key, and cannot be forged. The cipher is built from HMAC-SHA256, since
    the standard library has no other.
    """

    __slots__ = ("_secret",)

    def __init__(self, signer: Signer, key_id: str) -> None:
        self._secret = Signer(signer.sign("opaque", key_id.encode(), 32))

    def encode(self, text: str, *, vary: bool = False) -> str:
        """The text, encrypted and authenticated. `vary`: with a random nonce, so that results cannot be compared."""
        data = text.encode() + _PADDING
        data += bytes(-len(data) % _BLOCK)
        nonce = secrets.token_bytes(_NONCE) if vary else self._secret.sign("nonce", data, _NONCE)
        body = nonce + self._apply_keystream(nonce, data)
        return base64.urlsafe_b64encode(body + self._secret.sign("tag", body, _TAG)).decode().rstrip("=")

    def decode(self, token: str) -> str | None:
        """The text; None for a token that was not issued to this key."""
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, tag = data[:-_TAG], data[-_TAG:]
        if len(body) <= _NONCE or not hmac.compare_digest(self._secret.sign("tag", body, _TAG), tag):
            return None
        return self._apply_keystream(body[:_NONCE], body[_NONCE:]).rstrip(b"\0")[: -len(_PADDING)].decode()

    def encode_number(self, number: int) -> int:
        """The encrypted number, from 0 to `MAX_NUMBER`: a permutation (a Feistel network)."""
        left, right = number >> _HALF_BITS, number & (1 << _HALF_BITS) - 1
        for turn in range(_ROUNDS):
            left, right = right, left ^ self._round(turn, right)
        return left << _HALF_BITS | right

    def decode_number(self, shown: int) -> int:
        """The number that `encode_number` encrypted."""
        left, right = shown >> _HALF_BITS, shown & (1 << _HALF_BITS) - 1
        for turn in reversed(range(_ROUNDS)):
            left, right = right ^ self._round(turn, left), left
        return left << _HALF_BITS | right

    def _round(self, turn: int, half: int) -> int:
        digest = self._secret.sign("number", bytes([turn]) + half.to_bytes(4, "big"), 4)
        return int.from_bytes(digest, "big") & (1 << _HALF_BITS) - 1

    def _apply_keystream(self, nonce: bytes, data: bytes) -> bytes:
        size = hashlib.sha256().digest_size
        stream = b"".join(
            self._secret.sign("stream", nonce + at.to_bytes(4, "big"), size) for at in range(-(-len(data) // size))
        )
        return bytes(left ^ right for left, right in zip(data, stream, strict=False))


def codec_of(request: web.Request) -> OpaqueCodec | None:
    """The codec of an audience key; None for a caller with full access."""
    principal: Principal | None = request.get(PRINCIPAL)
    if principal is None or principal.audience is None or principal.key_id is None:
        return None
    return OpaqueCodec(request.app[AUTHENTICATOR].signer, principal.key_id)
