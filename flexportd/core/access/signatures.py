"""HMAC signatures for calendar URLs and share links."""

import base64
import hashlib
import hmac
import secrets
import string

from flexportd.storage.transaction import Transaction

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
