"""Opaque text and numbers for a key that sees some shipments only.

Numbers of ours (of the journal, the history, the exceptions) count what happens to all shipments. A key that sees some
of them gets such a number encrypted with a secret of the key: it says nothing, is taken back from that key alone, and
cannot be made by anybody else. The cipher is built of HMAC-SHA256, since the standard library has no other.
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
_BLOCK = 32  # bytes: the length of a text says no more than how many of them it has
_PADDING = b"\x80"  # before the zeros that fill the last block
_HALF_BITS = 26  # bits: a number has two halves, so that JSON readers that use doubles take it
_ROUNDS = 8
MAX_NUMBER = 2 ** (2 * _HALF_BITS) - 1


class OpaqueCodec:
    """Encrypts for one key. The same text always becomes the same, unless it is told to vary."""

    __slots__ = ("_secret",)

    def __init__(self, signer: Signer, key_id: str) -> None:
        self._secret = Signer(signer.sign("opaque", key_id.encode(), 32))

    def encode(self, text: str, *, vary: bool = False) -> str:
        """The text, encrypted and authenticated. `vary`: another one each time, so that two cannot be compared."""
        data = text.encode() + _PADDING
        data += bytes(-len(data) % _BLOCK)
        nonce = secrets.token_bytes(_NONCE) if vary else self._secret.sign("nonce", data, _NONCE)
        body = nonce + self._apply_keystream(nonce, data)
        return base64.urlsafe_b64encode(body + self._secret.sign("tag", body, _TAG)).decode().rstrip("=")

    def decode(self, token: str) -> str | None:
        """The text; None for what this key was never given."""
        try:
            found = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, tag = found[:-_TAG], found[-_TAG:]
        if len(body) <= _NONCE or not hmac.compare_digest(self._secret.sign("tag", body, _TAG), tag):
            return None
        return self._apply_keystream(body[:_NONCE], body[_NONCE:]).rstrip(b"\0")[: -len(_PADDING)].decode()

    def encode_number(self, number: int) -> int:
        """Another number in its place, from 0 to `LARGEST`, and a different one for each."""
        left, right = number >> _HALF_BITS, number & (1 << _HALF_BITS) - 1
        for turn in range(_ROUNDS):
            left, right = right, left ^ self._round(turn, right)
        return left << _HALF_BITS | right

    def decode_number(self, shown: int) -> int:
        """The number in whose place this one is."""
        left, right = shown >> _HALF_BITS, shown & (1 << _HALF_BITS) - 1
        for turn in reversed(range(_ROUNDS)):
            left, right = right ^ self._round(turn, left), left
        return left << _HALF_BITS | right

    def _round(self, turn: int, half: int) -> int:
        found = self._secret.sign("number", bytes([turn]) + half.to_bytes(4, "big"), 4)
        return int.from_bytes(found, "big") & (1 << _HALF_BITS) - 1

    def _apply_keystream(self, nonce: bytes, data: bytes) -> bytes:
        size = hashlib.sha256().digest_size
        stream = b"".join(
            self._secret.sign("stream", nonce + at.to_bytes(4, "big"), size) for at in range(-(-len(data) // size))
        )
        return bytes(one ^ other for one, other in zip(data, stream, strict=False))


def codec_of(request: web.Request) -> OpaqueCodec | None:
    """The codec of a caller who sees some shipments only; None for one who sees everything."""
    viewer: Principal | None = request.get(PRINCIPAL)
    if viewer is None or viewer.audience is None or viewer.key_id is None:
        return None
    return OpaqueCodec(request.app[AUTHENTICATOR].signer, viewer.key_id)
