"""Every error as a problem document (RFC 9457), made in one place; `problem_types.json` lists all types."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from aiohttp import hdrs, web

from flexportd import errors
from flexportd.http.access_log import redact_path
from flexportd.http.responses import PreparedResponse

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class ProblemType(NamedTuple):
    """Status and meaning of a problem type."""

    status: int
    description: str


PROBLEMS = msgspec.json.decode(Path(__file__).with_name("problem_types.json").read_bytes(), type=dict[str, ProblemType])
"""All problem types of the API, by the slug at the end of `type`."""

FLEXPORT_PROBLEMS = {slug: found for slug, found in PROBLEMS.items() if slug.startswith("flexport-")}
"""Slugs of errors of `flexportd.flexport`, which this layer does not import."""

COMMON_PROBLEMS = ("internal-error", "database-unavailable", "response-timeout")  # problems of every route
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

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)  # the request id in logs and problem documents
STATUS_OF: dict[type[Exception], int] = {
    errors.InvalidError: 400,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.ExpiredError: 410,
    errors.MalformedError: 502,
    errors.UnavailableError: 503,
}

_DEFAULT_RETRY_AFTER = 30  # seconds, where Flexport does not say when

TITLES = msgspec.json.decode(Path(__file__).with_name("titles.json").read_bytes(), type=dict[int, str])
"""The title of a problem by its status."""


def problem(
    status: int, slug: str, detail: str, parameter: str | None = None, request_id: str | None = None, **headers: str
) -> PreparedResponse:
    """A problem document; `slug` is its stable name, `request_id` finds the request in the logs."""
    return Problem(status, slug, detail, parameter, headers).response(request_id)


FailurePage = Callable[[web.Request, int, str], Awaitable[bytes]]

FAILURE_PAGE: web.AppKey[FailurePage] = web.AppKey("failure_page", Callable)  # type: ignore[arg-type]
"""Renders the page that a browser gets instead of a problem document; set where there is a dashboard."""


@dataclass(frozen=True)
class Problem:
    """The content of a problem document, and its response's headers.

    `errors` are all problems of a body: `pointer` (RFC 6901) and `detail`.
    """

    status: int
    slug: str
    detail: str
    parameter: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    errors: Sequence[Mapping[str, str]] = ()

    def response(self, request_id: str | None) -> PreparedResponse:
        """The response with the document."""
        document: dict[str, Any] = {
            "type": f"urn:flexportd:problem:{self.slug}",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.parameter is not None:
            document["parameter"] = self.parameter
        if self.errors:
            document["errors"] = self.errors
        if request_id is not None:
            document["request_id"] = request_id
        return PreparedResponse(self.status, msgspec.json.encode(document), PROBLEM_JSON, **self.headers)


def as_problem(request: web.Request | None, error: Exception) -> Problem:
    """The problem for an error that a handler raised; `request` is None where there is no request object."""
    if request is not None and isinstance(error, web.HTTPException):
        return _from_aiohttp(request, error)
    slug = getattr(error, "slug", "error")
    retry_after = getattr(error, "retry_after", None)
    if slug in FLEXPORT_PROBLEMS:
        status, description = FLEXPORT_PROBLEMS[slug]
        headers = {}
        if status == 503:
            headers["retry_after"] = str(max(1, math.ceil(retry_after or _DEFAULT_RETRY_AFTER)))
        return Problem(status, slug, f"{(str(error) or description).rstrip('.')}.", headers=headers)
    headers = {"retry_after": str(retry_after)} if retry_after else {}
    if isinstance(error, errors.RefusedError):
        return Problem(error.status, error.slug, str(error), headers=headers | error.headers)
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
    transport = None if request is None else request.transport
    if isinstance(error, ConnectionError) and (transport is None or transport.is_closing()):
        return Problem(400, "malformed-request", "The client has disconnected.")  # nobody reads it
    if status == 500:
        context: dict[str, Any] = {}
        if request is not None:
            context |= {"method": request.method, "path": redact_path(request.path)}
            context["request_id"] = request.get(REQUEST_ID)
        log.error("request_failed", exc_info=error, **context)
        return Problem(500, "internal-error", "Internal error. See the daemon's log.")
    parameter, listed = getattr(error, "parameter", None), getattr(error, "errors", ())
    return Problem(status, slug, str(error), parameter, headers, listed)


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> Problem:
    headers = {"allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
    details = {
        404: f"No page at {request.path[:200]}.",
        405: f"{request.method} is not supported by {request.path[:200]}.",
        413: "The body exceeds the size limit.",
    }
    slugs = {404: "not-found", 405: "method-not-allowed", 413: "content-too-large"}
    detail = details.get(error.status, error.reason or "")
    return Problem(error.status, slugs.get(error.status, "malformed-request"), detail, headers=headers)
