"""Every problem that the API may tell of, by the slug at the end of its `type`: the status, and what to do."""

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One type of problem."""

    status: int
    about: str


PROBLEMS: Mapping[str, Kind] = {
    "invalid": Kind(400, "A parameter, header or body is wrong; `parameter` names it. Nothing was changed."),
    "http": Kind(400, "The request is no HTTP that can be read: a line or the headers are too long, or malformed."),
    "key-missing": Kind(401, "A key is needed: send `Authorization: Bearer fxd_…`."),
    "key-unknown": Kind(401, "No such key; it may have been mistyped or deleted."),
    "key-revoked": Kind(401, "The key was revoked. Ask for a new one."),
    "key-expired": Kind(401, "The key has expired. Ask for a new one."),
    "unsigned": Kind(401, "The delivery carries no signature."),
    "signature": Kind(401, "The delivery's signature does not match its body: another secret was used."),
    "no-secret": Kind(401, "No webhook secret is configured, so no delivery can be believed."),
    "sha1-only": Kind(401, "The delivery carries a SHA-1 signature alone; `[webhook] allow_sha1` takes those."),
    "scope": Kind(403, "The key does not allow this: another scope is needed."),
    "forbidden": Kind(403, "This may not be done from here, or not with this key."),
    "proxy-unknown": Kind(
        403,
        "A proxy has forwarded the request, none is configured, and no key is needed here: set `[server] "
        "trusted_proxies` and `public_url`, so that keys are needed, or `[api] require_key = false`.",
    ),
    "network": Kind(403, "Webhooks are not accepted from this address: `[webhook] allowed_networks`."),
    "not-found": Kind(404, "There is no such thing, or this key may not see it."),
    "method-not-allowed": Kind(405, "The path is right and the method is not; `Allow` lists those there are."),
    "slow": Kind(408, "The body did not arrive in time."),
    "conflict": Kind(409, "The thing is not in a state that allows this."),
    "ambiguous": Kind(409, "Several objects have this reference; the detail lists their ids. Use an id."),
    "file": Kind(409, "The file of a document is not fetched, or is gone; the detail says why."),
    "cursor-expired": Kind(410, "The cursor is too old: begin the list anew."),
    "share-expired": Kind(410, "The link has expired."),
    "share-revoked": Kind(410, "The link was revoked."),
    "too-large": Kind(413, "The body is larger than is taken."),
    "media-type": Kind(415, "The body has another media type than is taken."),
    "range": Kind(416, "The range lies outside of the file."),
    "rate-limit": Kind(429, "Asked too often; `Retry-After` says when to go on."),
    "key-failures": Kind(429, "Too many wrong keys came from this address; `Retry-After` says when to go on."),
    "internal": Kind(500, "Internal error. The log has the details under the `request_id`."),
    "flexport-not-found": Kind(404, "Flexport has no such thing."),
    "flexport-unauthorised": Kind(502, "Flexport does not accept the configured key."),
    "flexport-forbidden": Kind(502, "Flexport does not let the configured key see this."),
    "flexport-rejected": Kind(502, "Flexport refuses what was asked."),
    "flexport-malformed-answer": Kind(502, "Flexport's answer cannot be believed."),
    "flexport-answer-too-large": Kind(502, "Flexport's answer is larger than is taken here."),
    "flexport-unknown-outcome": Kind(502, "Flexport did not say whether it took effect."),
    "file-refused": Kind(502, "Flexport does not give the file of a document; the detail says why."),
    "malformed": Kind(502, "What was kept or fetched is not what it claims to be."),
    "flexport-rate-limited": Kind(503, "Flexport was asked too often; see `Retry-After`."),
    "flexport-unavailable": Kind(503, "Flexport cannot be asked for now; see `Retry-After`."),
    "flexport-tokens-exhausted": Kind(503, "Flexport gives no more tokens for now; see `Retry-After`."),
    "unavailable": Kind(503, "The store cannot be read or written for now; see `Retry-After`."),
    "file-failed": Kind(503, "The file of a document could not be fetched just now; see `Retry-After`."),
    "not-ready": Kind(503, "Webhooks cannot be kept or are not applied at present; the detail says why."),
    "busy": Kind(503, "Too many events wait to be applied; Flexport sends this one again."),
    "time-limit": Kind(503, "The answer took too long and was given up."),
    "too-many-streams": Kind(503, "As many streams are open as are allowed; see `Retry-After`."),
}

ANYWHERE = ("internal", "unavailable", "time-limit")
"""What may go wrong on every route."""

WITH_KEYS = (
    "key-missing", "key-unknown", "key-revoked", "key-expired", "key-failures", "scope", "forbidden", "rate-limit",
    "proxy-unknown",
)  # fmt: skip
"""What may go wrong where keys are asked for."""

WITH_UPSTREAM = (
    "conflict", "flexport-not-found", "flexport-unauthorised", "flexport-forbidden", "flexport-rejected",
    "flexport-malformed-answer", "flexport-answer-too-large", "flexport-rate-limited", "flexport-unavailable",
    "flexport-tokens-exhausted",
)  # fmt: skip
"""What may go wrong where Flexport is asked for this request."""
