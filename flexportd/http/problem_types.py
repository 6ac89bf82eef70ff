"""All problem types of the API, by the slug at the end of `type`: the status, and what it means."""

from collections.abc import Mapping
from typing import NamedTuple


class ProblemType(NamedTuple):
    """Status and meaning of a problem type."""

    status: int
    description: str


PROBLEMS: Mapping[str, ProblemType] = {
    "invalid-request": ProblemType(
        400, "A parameter, a header or the body is invalid; `parameter` names it. Nothing was changed."
    ),
    "malformed-request": ProblemType(
        400, "The request is not valid HTTP: a line or the headers are too long or malformed."
    ),
    "key-missing": ProblemType(401, "An API key is required: send `Authorization: Bearer fxd_…`."),
    "key-unknown": ProblemType(401, "Unknown API key. Check it for typing errors."),
    "key-revoked": ProblemType(401, "The API key was revoked. Request a new one."),
    "key-expired": ProblemType(401, "The API key has expired. Request a new one."),
    "signature-missing": ProblemType(401, "The delivery has no signature."),
    "signature-invalid": ProblemType(
        401, "The signature of the delivery does not match its body: another secret was used."
    ),
    "webhook-secret-missing": ProblemType(401, "No webhook secret is configured, so no delivery can be verified."),
    "sha1-signature": ProblemType(
        401, "The delivery has only a SHA-1 signature; `[webhook] allow_sha1` accepts these."
    ),
    "insufficient-scope": ProblemType(403, "The key lacks the required scope."),
    "forbidden": ProblemType(403, "Not allowed from this address or with this key."),
    "untrusted-proxy": ProblemType(
        403,
        "A proxy forwarded the request, but no trusted proxy is configured and no key is required. Set `[server] "
        "trusted_proxies` and `public_url`, so that keys are required, or `[api] require_key = false`.",
    ),
    "network-not-allowed": ProblemType(
        403, "Webhooks are not accepted from this address; see `[webhook] allowed_networks`."
    ),
    "not-found": ProblemType(404, "The object or page does not exist, or this key may not see it."),
    "flexport-not-found": ProblemType(404, "The object does not exist at Flexport."),
    "method-not-allowed": ProblemType(405, "The path does not support this method; `Allow` lists the supported ones."),
    "request-timeout": ProblemType(408, "The body did not arrive in time."),
    "conflict": ProblemType(409, "The current state of the object does not allow this."),
    "ambiguous-reference": ProblemType(
        409, "Several objects have this reference; the detail lists their ids. Use an id."
    ),
    "file-unavailable": ProblemType(
        409, "The file of a document cannot be fetched or is gone; the detail gives the reason."
    ),
    "cursor-expired": ProblemType(410, "The cursor has expired. Read the list again from the start."),
    "share-expired": ProblemType(410, "The link has expired."),
    "share-revoked": ProblemType(410, "The link was revoked."),
    "content-too-large": ProblemType(413, "The body exceeds the size limit."),
    "unsupported-media-type": ProblemType(415, "The body has an unsupported media type."),
    "range-not-satisfiable": ProblemType(416, "The range is outside the file."),
    "rate-limited": ProblemType(429, "Too many requests; retry after `Retry-After` seconds."),
    "too-many-invalid-keys": ProblemType(
        429, "Too many invalid keys from this address; retry after `Retry-After` seconds."
    ),
    "internal-error": ProblemType(500, "Internal error. The log contains the details under `request_id`."),
    "flexport-unauthorised": ProblemType(502, "Flexport does not accept the configured key."),
    "flexport-forbidden": ProblemType(502, "The configured Flexport key has no access to this."),
    "flexport-rejected": ProblemType(502, "Flexport rejected the request."),
    "flexport-malformed-response": ProblemType(502, "Flexport's response is malformed."),
    "flexport-response-too-large": ProblemType(502, "Flexport's response exceeds the size limit."),
    "flexport-unknown-outcome": ProblemType(502, "Flexport did not confirm whether the request took effect."),
    "file-access-denied": ProblemType(
        502, "Flexport refuses access to the file of a document; the detail gives the reason."
    ),
    "malformed-data": ProblemType(502, "The stored or fetched data is malformed."),
    "flexport-rate-limited": ProblemType(503, "Too many requests to Flexport; see `Retry-After`."),
    "flexport-unavailable": ProblemType(503, "Flexport is temporarily unavailable; see `Retry-After`."),
    "flexport-tokens-exhausted": ProblemType(503, "Flexport's token limit is reached; see `Retry-After`."),
    "database-unavailable": ProblemType(503, "The database is temporarily unavailable; see `Retry-After`."),
    "file-fetch-failed": ProblemType(503, "The file of a document could not be fetched; see `Retry-After`."),
    "not-ready": ProblemType(503, "Webhooks cannot be stored or applied at present; the detail gives the reason."),
    "overloaded": ProblemType(503, "Too many events are waiting; Flexport will send this one again."),
    "response-timeout": ProblemType(503, "The response took too long and was cancelled."),
    "too-many-streams": ProblemType(503, "The maximum number of streams is open; see `Retry-After`."),
}

FLEXPORT_PROBLEMS = {slug: found for slug, found in PROBLEMS.items() if slug.startswith("flexport-")}
"""Slugs of errors of `flexportd.flexport`, which this layer does not import."""

COMMON_PROBLEMS = ("internal-error", "database-unavailable", "response-timeout")
"""Problems of every route."""

AUTH_PROBLEMS = (
    "key-missing", "key-unknown", "key-revoked", "key-expired", "too-many-invalid-keys", "insufficient-scope",
    "forbidden", "rate-limited", "untrusted-proxy",
)  # fmt: skip
"""Problems of routes that need a key."""

UPSTREAM_PROBLEMS = (
    "conflict", "flexport-not-found", "flexport-unauthorised", "flexport-forbidden", "flexport-rejected",
    "flexport-malformed-response", "flexport-response-too-large", "flexport-rate-limited", "flexport-unavailable",
    "flexport-tokens-exhausted",
)  # fmt: skip
"""Problems of routes that send a request to Flexport."""
