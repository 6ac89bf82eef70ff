"""The signature on a webhook: an HMAC over the exact body bytes.

Source: https://apidocs.flexport.com/v2/tag/Webhook-Endpoints. `X-Hub-Signature-256: sha256=<hex>` decides when it
is present; `X-Hub-Signature: sha1=<hex>` alone counts only when the configuration allows it.
"""

import hmac
from collections.abc import Mapping, Sequence

SHA256_HEADER = "X-Hub-Signature-256"
SHA1_HEADER = "X-Hub-Signature"


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

    def problem(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        """None when the signature is right; else why not: `missing`, `sha1_only`, `malformed` or `mismatch`.

        Upper-case hex, a bare digest and surrounding blanks are accepted.
        """
        claimed = headers.get(SHA256_HEADER)
        if claimed is not None:
            return self._check(body, claimed, "sha256")
        claimed = headers.get(SHA1_HEADER)
        if claimed is None:
            return "missing"
        return self._check(body, claimed, "sha1") if self._allow_sha1 else "sha1_only"

    def _check(self, body: bytes, claimed: str, algorithm: str) -> str | None:
        text = claimed.strip().lower().removeprefix(algorithm + "=")
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            return "malformed"
        # Every secret is tried, so the time taken does not tell which one matched.
        matches = [hmac.compare_digest(hmac.digest(key, body, algorithm), digest) for key in self._keys]
        return None if any(matches) else "mismatch"
