"""Every error as a problem document (RFC 9457), made in one place."""

import functools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from flexportd import errors
from flexportd.answers import HTML, Answer, EncodedResponse
from flexportd.expose.parts import PARTS

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"

STATUS_OF: dict[type[Exception], int] = {
    errors.InvalidError: 400,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.MalformedError: 502,
    errors.UnavailableError: 503,
}

# Flexport's errors by their slugs: their classes are of the wire, which ends below this layer.
OF_FLEXPORT = {
    "flexport-not-found": (404, "Flexport has no such thing"),
    "flexport-unauthorised": (502, "Flexport does not accept the configured key"),
    "flexport-forbidden": (502, "Flexport does not let the configured key see this"),
    "flexport-rejected": (502, "Flexport refuses what was asked"),
    "flexport-malformed-answer": (502, "Flexport's answer cannot be believed"),
    "flexport-answer-too-large": (502, "Flexport's answer is larger than is taken here"),
    "flexport-unknown-outcome": (502, "Flexport did not say whether it took effect"),
    "flexport-rate-limited": (503, "Flexport was asked too often"),
    "flexport-unavailable": (503, "Flexport cannot be asked for now"),
    "flexport-tokens-exhausted": (503, "Flexport gives no more tokens for now"),
}
_LATER = 30  # seconds, where Flexport does not say when

_TITLES = {
    400: "The request cannot be understood",
    401: "Not authorised",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Media type not supported",
    417: "Expectation failed",
    500: "Internal error",
    502: "Flexport's answer is of no use",
    503: "Not available now",
}


def problem(status: int, slug: str, detail: str, parameter: str | None = None, **headers: str) -> Answer:
    """A problem document; `slug` is its stable name."""
    document: dict[str, Any] = {
        "type": f"urn:flexportd:problem:{slug}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    if parameter is not None:
        document["parameter"] = parameter
    return Answer(status, msgspec.json.encode(document), PROBLEM, **headers)


FailurePage = Callable[[web.Request, int, str], Awaitable[bytes]]

FAILURE_PAGE: web.AppKey[FailurePage] = web.AppKey("failure_page", Callable)  # type: ignore[arg-type]
"""Makes the page that a browser is shown instead of a problem document; set where there is a dashboard."""


@dataclass(frozen=True)
class _Problem:
    status: int
    slug: str
    detail: str
    parameter: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document; unknown errors never show their text."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        found = _of_aiohttp(request, error)
    except Exception as error:  # noqa: BLE001 (the one place that answers for all handlers)
        found = _of_ours(request, error)
    answer = problem(found.status, found.slug, found.detail, found.parameter, **found.headers)
    if _is_for_a_person(request):
        body = await request.app[FAILURE_PAGE](request, found.status, found.detail)
        answer = Answer(found.status, body, HTML, cache_control="no-store", **found.headers)
    # The rest of a body that is not read cannot be told from a next request.
    return EncodedResponse(answer, close=not request.content.is_eof())


def _is_for_a_person(request: web.Request) -> bool:
    """Whether a browser looks for a page: programs get problem documents."""
    return (
        request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        and "text/html" in request.headers.get(hdrs.ACCEPT, "")
        and not request.path.startswith("/api/")
        and FAILURE_PAGE in request.app
    )


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> _Problem:
    headers = {"allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
    details = {
        404: f"There is nothing at {request.path[:200]}.",
        405: f"{request.method} is not for {request.path[:200]}.",
        413: "The body is larger than is taken here.",
    }
    slugs = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    detail = details.get(error.status, error.reason or "")
    return _Problem(error.status, slugs.get(error.status, "http"), detail, headers=headers)


def _of_ours(request: web.Request, error: Exception) -> _Problem:
    slug = getattr(error, "slug", "error")
    if slug in OF_FLEXPORT:
        return _of_flexport(slug, error)
    retry_after = getattr(error, "retry_after", None)
    headers = {"retry_after": str(retry_after)} if retry_after else {}
    if isinstance(error, errors.RefusedError):
        return _Problem(error.status, error.slug, str(error), headers=headers)
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
    if status == 500:
        log.error("request_failed", method=request.method, path=request.path[:200], exc_info=error)
        return _Problem(500, "internal", "Something failed here. The daemon's log tells more.")
    return _Problem(status, slug, str(error), getattr(error, "parameter", None), headers)


def _of_flexport(slug: str, error: Exception) -> _Problem:
    """What Flexport said to a request that was made for this one."""
    status, sentence = OF_FLEXPORT[slug]
    headers = {}
    if status == 503:
        headers["retry_after"] = str(max(1, math.ceil(getattr(error, "retry_after", None) or _LATER)))
    return _Problem(status, slug, f"{sentence}: {error}", headers=headers)


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse pages of other sites: by a name that is not ours (DNS rebinding), or by a write from elsewhere."""
    parts = request.app[PARTS]
    if request.path == parts.shown.webhook_path:
        return await handler(request)  # its signature says who may; a proxy may use any name
    host = request.headers.get(hdrs.HOST, "")
    if not is_ours(host, parts.hosts):
        raise errors.ForbiddenError(
            f"The host name {host[:100]!r} is not known here; [server] public_url tells the name people use."
        )
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        origin = request.headers.get(hdrs.ORIGIN)
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site == "cross-site" or (origin is not None and origin.partition("://")[2] != host):
            raise errors.ForbiddenError("The request comes from a page of another site.")
    return await handler(request)


@functools.lru_cache(maxsize=256)
def is_ours(host: str, known: frozenset[str]) -> bool:
    """Whether people may use this name for us. An address cannot be rebound, only a name can; browsers send one."""
    if not host:
        return True
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    if name.startswith("[") or name.replace(".", "").isdigit():
        return True
    return name.lower() in known
