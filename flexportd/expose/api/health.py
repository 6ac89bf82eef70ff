"""Liveness, readiness with reasons, and what is not as somebody would want it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from aiohttp import web

from flexportd import file_limit
from flexportd.clock import age
from flexportd.expose.context import (
    BODIES,
    CONNECTIONS,
    DB,
    DISPLAY,
    EXCEPTION_WORKER,
    FILES,
    INDEXER,
    JOBS,
    QUEUE,
    SERVER_INFO,
    TRUSTED_TIME,
)
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security.authentication import AUTHENTICATOR, PROXY_UNKNOWN
from flexportd.http.problems import problem
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.settings import open_access_warning
from flexportd.storage.repositories.events import EventVersion

_ALIVE = PreparedResponse(200, b'{"status":"alive"}')
_READY = PreparedResponse(200, b'{"status":"ready"}')


class Liveness(TypedDict):
    """The process is alive."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Webhooks can be stored and applied."""

    status: Literal["ready"]


async def healthz(_request: web.Request) -> web.StreamResponse:
    """`GET /healthz`: the process answers."""
    return PreparedStreamResponse(_ALIVE)


async def readyz(request: web.Request) -> web.StreamResponse:
    """`GET /readyz`: webhooks can be kept and are applied; else 503 with the reasons."""
    reasons = not_ready_reasons(request.app)
    if not reasons:
        return PreparedStreamResponse(_READY)
    return PreparedStreamResponse(problem(503, "not-ready", "; ".join(reasons), retry_after="5"))


_RECENT = 7 * 86_400.0  # seconds for which something that came is news


def not_ready_reasons(app: web.Application) -> list[str]:
    """Why the daemon is not ready, one sentence each; none when it is."""
    found = []
    fault = app[DB].writer.fault
    if fault:
        found.append(f"The database is not writable: {fault.reason}")
    if app[DB].stalled:
        found.append("The disk does not respond: acknowledgements take too long")
    found += [f"Items of kind {kind} cannot be processed: {why}" for kind, why in app[QUEUE].counters.errors.items()]
    found += [f"The background task {name} has failed: {why}" for name, why in app[SERVER_INFO].task_failures().items()]
    waiting = app[QUEUE].waiting("event")
    if waiting >= app[DISPLAY].max_pending:
        found.append(f"{waiting} events are waiting; no more are accepted")
    return found


def warnings(app: web.Application) -> list[str]:
    """What works, but not as somebody would want it."""
    found = []
    if not app[DISPLAY].has_secrets:
        found.append("No webhook secret is configured: every webhook is refused; see [webhook] secrets")
    found += _connection_warnings(app)
    authenticator, trusted_time = app[AUTHENTICATOR], app[TRUSTED_TIME]
    if authenticator.exposures and not authenticator.required:
        found.append(open_access_warning(authenticator.exposures))
    if authenticator.refused_forwarded:
        found.append(
            f"{authenticator.refused_forwarded} requests were refused since the daemon started. {PROXY_UNKNOWN}"
        )
    if trusted_time is not None and trusted_time.problem:
        found.append(trusted_time.problem)
    return found + _consumer_warnings(app) + app[JOBS].problems()


def _consumer_warnings(app: web.Application) -> list[str]:
    """What the exceptions, the search index and the archive of documents lack."""
    found = []
    if app[FILES].requester.error:
        found.append(f"Document files may be missing: {app[FILES].requester.error}")
    worker, indexer = app[EXCEPTION_WORKER], app[INDEXER]
    if worker.error:
        found.append(f"Exceptions may be out of date: {worker.error}")
    if worker.skipped_reason:
        found.append(f"Exceptions are incomplete: {worker.skipped_reason}")
    if indexer is not None and indexer.error:
        found.append(f"Search may miss recent changes: {indexer.error}")
    if indexer is not None and indexer.skipped_reason:
        found.append(f"Search is incomplete: {indexer.skipped_reason}")
    return found


def _connection_warnings(app: web.Application) -> list[str]:
    """What keeps clients out."""
    pools, found = app[CONNECTIONS], list(app[SERVER_INFO].start_warnings)
    pool = pools.network
    if pools.open_files < file_limit.LOW:
        found.append(
            f"Only {pools.open_files} open files are allowed, enough for {pool.limits.total} connections: "
            "raise the hard limit (LimitNOFILE= in systemd, ulimit -Hn)"
        )
    if pool.recently_refused:
        found.append(
            f"{pool.refused.total()} connections were refused, the latest within the last hour: too many at once "
            f"({len(pool)} of {pool.limits.total} now); see [server] max_connections"
        )
    if app[BODIES].recently_refused:
        found.append(
            f"{app[BODIES].refused} request bodies were refused, the latest within the last hour: too many large ones "
            "at once; Flexport sends refused webhooks again"
        )
    return found


def version_warnings(versions: Sequence[EventVersion], now: datetime) -> list[str]:
    """That events come in another version of Flexport's API, while some came lately."""
    late = [one for one in versions if (age(one.last_seen_at, now) or 0.0) < _RECENT]
    return [
        f"{one.count} event{'s' if one.count > 1 else ''} arrived in version {one.version} of Flexport's API "
        f"instead of 2, the latest at {one.last_seen_at}; fields that cannot be parsed keep their previous values"
        for one in late
    ]


ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        handler=healthz,
        name="get_liveness",
        tag="operations",
        summary="Liveness check",
        scope=None,
        returns=(json_response(Liveness, "The process is alive."),),
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        name="get_readiness",
        tag="operations",
        summary="Readiness check: webhooks can be stored and are applied",
        scope=None,
        returns=(json_response(Readiness, "The daemon is ready."),),
        problems=("not-ready",),
    ),
)
