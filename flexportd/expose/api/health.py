"""Liveness, readiness with reasons, and warnings."""

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
from flexportd.expose.openapi.declaration import route
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


@route("GET", "/healthz", prefix="", returns=Liveness, scope=None)
async def get_liveness(_request: web.Request) -> web.StreamResponse:
    """Check liveness."""
    return PreparedStreamResponse(_ALIVE)


@route("GET", "/readyz", prefix="", returns=Readiness, scope=None, problems=("not-ready",))
async def get_readiness(request: web.Request) -> web.StreamResponse:
    """Check readiness: webhooks can be stored and are applied."""
    reasons = not_ready_reasons(request.app)
    if not reasons:
        return PreparedStreamResponse(_READY)
    return PreparedStreamResponse(problem(503, "not-ready", "; ".join(reasons), retry_after="5"))


_RECENT = 7 * 86_400.0  # seconds; older events cause no warning


def not_ready_reasons(app: web.Application) -> list[str]:
    """Why the daemon is not ready, one sentence each; empty if it is ready."""
    reasons = []
    fault = app[DB].writer.fault
    if fault:
        reasons.append(f"The database is not writable: {fault.reason}")
    if app[DB].stalled:
        reasons.append("The disk does not respond: acknowledgements take too long")
    reasons += [f"Items of kind {kind} cannot be processed: {why}" for kind, why in app[QUEUE].counters.errors.items()]
    reasons += [
        f"The background task {name} has failed: {why}" for name, why in app[SERVER_INFO].task_failures().items()
    ]
    waiting = app[QUEUE].waiting("event")
    if waiting >= app[DISPLAY].max_pending:
        reasons.append(f"{waiting} events are waiting; no more are accepted")
    return reasons


def warnings(app: web.Application) -> list[str]:
    """Conditions that an operator should act on, one sentence each."""
    messages = []
    if not app[DISPLAY].has_secrets:
        messages.append("No webhook secret is configured: every webhook is refused; see [webhook] secrets")
    messages += _connection_warnings(app)
    authenticator, trusted_time = app[AUTHENTICATOR], app[TRUSTED_TIME]
    if authenticator.exposures and not authenticator.required:
        messages.append(open_access_warning(authenticator.exposures))
    if authenticator.refused_forwarded:
        messages.append(
            f"{authenticator.refused_forwarded} requests were refused since the daemon started. {PROXY_UNKNOWN}"
        )
    if trusted_time is not None and trusted_time.problem:
        messages.append(trusted_time.problem)
    return messages + _consumer_warnings(app) + app[JOBS].problems()


def _consumer_warnings(app: web.Application) -> list[str]:
    """Warnings about exceptions, the search index and the document archive."""
    indexer, worker = app[INDEXER], app[EXCEPTION_WORKER]
    causes = {
        "Document files may be missing": app[FILES].requester.error,
        "Exceptions may be out of date": worker.error,
        "Exceptions are incomplete": worker.skipped_reason,
        "Search may miss recent changes": indexer.error,
        "Search is incomplete": indexer.skipped_reason,
    }
    return [f"{consequence}: {cause}" for consequence, cause in causes.items() if cause]


def _connection_warnings(app: web.Application) -> list[str]:
    """Warnings about refused clients."""
    pools, messages = app[CONNECTIONS], list(app[SERVER_INFO].start_warnings)
    pool = pools.network
    if pools.open_files < file_limit.LOW:
        messages.append(
            f"Only {pools.open_files} open files are allowed, enough for {pool.limits.total} connections: "
            "raise the hard limit (LimitNOFILE= in systemd, ulimit -Hn)"
        )
    if pool.recently_refused:
        messages.append(
            f"{pool.refused.total()} connections were refused, the latest within the last hour: too many at once "
            f"({len(pool)} of {pool.limits.total} now); see [server] max_connections"
        )
    if app[BODIES].recently_refused:
        messages.append(
            f"{app[BODIES].refused} request bodies were refused, the latest within the last hour: too many large ones "
            "at once; Flexport sends refused webhooks again"
        )
    return messages


def version_warnings(versions: Sequence[EventVersion], now: datetime) -> list[str]:
    """Warnings about recent events in another version of Flexport's API."""
    recent = [one for one in versions if (age(one.last_seen_at, now) or 0.0) < _RECENT]
    return [
        f"{one.count} event{'s' if one.count > 1 else ''} arrived in version {one.version} of Flexport's API "
        f"instead of 2, the latest at {one.last_seen_at}; fields that cannot be parsed keep their previous values"
        for one in recent
    ]
