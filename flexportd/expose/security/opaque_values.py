"""Encrypted texts and numbers for audience keys.

Internal numbers (of the change log, the history, the exceptions) count what happens to all shipments. An audience key
gets such a number encrypted with a secret of its own: it reveals nothing, is valid only with that key, and cannot be
forged. The cipher is built from HMAC-SHA256, since the standard library has no other.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

from aiohttp import web

from flexportd.core.access.keys import Principal
from flexportd.core.access.signatures import Signer
from flexportd.expose.request_keys import PRINCIPAL
from flexportd.expose.security.authentication import AUTHENTICATOR

_NONCE = _TAG = 12  # bytes
_BLOCK = 32  # bytes: the length reveals only the number of blocks
_PADDING = b"\x80"  # before the zeros that fill the last block
_HALF_BITS = 26  # bits: a number has two halves, so that JSON readers that use doubles take it
_ROUNDS = 8
MAX_NUMBER = 2 ** (2 * _HALF_BITS) - 1


class OpaqueCodec:
    """Encrypts for one key. Deterministic, unless `vary` is set."""

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
