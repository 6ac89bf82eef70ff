"""The signature of a webhook: an HMAC over the exact body bytes.

Source: https://apidocs.flexport.com/v2/tag/Webhook-Endpoints. `X-Hub-Signature-256: sha256=<hex>` decides if it is
present; `X-Hub-Signature: sha1=<hex>` alone counts only if the configuration allows it.
"""

import hmac
from collections.abc import Mapping, Sequence

SHA256_HEADER = "X-Hub-Signature-256"
SHA1_HEADER = "X-Hub-Signature"
_SIZES = {"sha256": 32, "sha1": 20}  # bytes


def sign(body: bytes, secret: str) -> str:
    """The value of `X-Hub-Signature-256` for these bytes."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def sign_sha1(body: bytes, secret: str) -> str:
    """The value of the older `X-Hub-Signature` for these bytes."""
    return "sha1=" + hmac.digest(secret.encode(), body, "sha1").hex()


class Verifier:
    """Checks signatures against every configured secret, in constant time."""

    def __init__(self, secrets: Sequence[str], *, allow_sha1: bool = False) -> None:
        self._keys = [secret.encode() for secret in secrets]
        self._allow_sha1 = allow_sha1

    def begin(self, headers: Mapping[str, str]) -> "SignatureCheck":
        """The check of one delivery, before its body is received.

        Upper-case hex, a bare digest and surrounding blanks are accepted.
        """
        claimed = headers.get(SHA256_HEADER)
        if claimed is not None:
            return SignatureCheck(self._keys, claimed, "sha256")
        claimed = headers.get(SHA1_HEADER)
        if claimed is None:
            return SignatureCheck((), "", "sha1", "missing")
        if not self._allow_sha1:
            return SignatureCheck((), "", "sha1", "sha1_only")
        return SignatureCheck(self._keys, claimed, "sha1")


class SignatureCheck:
    """The signature of one delivery, computed while its body arrives.

    `problem` is known before the body: `missing`, `sha1_only` or `malformed`; None if the body decides.
    """

    __slots__ = ("_algorithm", "_claimed", "_first", "_hashes", "_keys", "problem")

    def __init__(self, keys: Sequence[bytes], claimed: str, algorithm: str, problem: str | None = None) -> None:
        self.problem = problem
        self._keys = keys
        self._algorithm = algorithm
        self._first: bytes | None = None
        self._hashes: list[hmac.HMAC] = []
        self._claimed = b""
        if problem is None:
            try:
                self._claimed = bytes.fromhex(claimed.strip().lower().removeprefix(algorithm + "="))
            except ValueError:
                self.problem = "malformed"
            if len(self._claimed) != _SIZES[algorithm]:
                self.problem = "malformed"

    def update(self, piece: bytes) -> None:
        """Add the next bytes of the body."""
        if self._first is None:
            self._first = piece  # most bodies come in one piece, for which there is a faster function
            return
        if not self._hashes:
            self._hashes = [hmac.new(key, self._first, self._algorithm) for key in self._keys]
        for signature in self._hashes:
            signature.update(piece)

    def matches(self) -> bool:
        """Whether the bytes so far are signed with one of the secrets."""
        # Every secret is compared, so the time taken does not reveal which one matched.
        if self._hashes:
            digests = [signature.digest() for signature in self._hashes]
        else:
            digests = [hmac.digest(key, self._first or b"", self._algorithm) for key in self._keys]
        matches = [hmac.compare_digest(digest, self._claimed) for digest in digests]
        return any(matches)
