"""Liveness, readiness with reasons, and warnings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from aiohttp import web

from flexportd import file_limit
from flexportd.clock import age
from flexportd.expose.context import CONTEXT, AppContext
from flexportd.expose.openapi.declaration import route
from flexportd.expose.security.authentication import PROXY_UNKNOWN
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
    reasons = not_ready_reasons(request.app[CONTEXT])
    if not reasons:
        return PreparedStreamResponse(_READY)
    return PreparedStreamResponse(problem(503, "not-ready", "; ".join(reasons), retry_after="5"))


_RECENT = 7 * 86_400.0  # seconds; older events cause no warning


def not_ready_reasons(parts: AppContext) -> list[str]:
    """Why the daemon is not ready, one sentence each; empty if it is ready."""
    reasons = []
    fault = parts.db.writer.fault
    if fault:
        reasons.append(f"The database is not writable: {fault.reason}")
    if parts.db.stalled:
        reasons.append("The disk does not respond: acknowledgements take too long")
    reasons += [f"Items of kind {kind} cannot be processed: {why}" for kind, why in parts.queue.counters.errors.items()]
    reasons += [f"The background task {name} has failed: {why}" for name, why in parts.task_failures().items()]
    waiting = parts.queue.waiting("event")
    if waiting >= parts.display.max_pending:
        reasons.append(f"{waiting} events are waiting; no more are accepted")
    return reasons


def warnings(parts: AppContext) -> list[str]:
    """Conditions that an operator should act on, one sentence each."""
    messages = []
    if not parts.display.has_secrets:
        messages.append("No webhook secret is configured: every webhook is refused; see [webhook] secrets")
    messages += _connection_warnings(parts)
    if parts.authenticator.exposures and not parts.authenticator.required:
        messages.append(open_access_warning(parts.authenticator.exposures))
    if parts.authenticator.refused_forwarded:
        messages.append(
            f"{parts.authenticator.refused_forwarded} requests were refused since the daemon started. {PROXY_UNKNOWN}"
        )
    if parts.trusted_time is not None and parts.trusted_time.problem:
        messages.append(parts.trusted_time.problem)
    return messages + _consumer_warnings(parts) + parts.jobs.problems()


def _consumer_warnings(parts: AppContext) -> list[str]:
    """Warnings about exceptions, the search index and the document archive."""
    indexer, worker = parts.indexer, parts.exception_worker
    causes = {
        "Document files may be missing": parts.files.requester.error,
        "Exceptions may be out of date": worker.error,
        "Exceptions are incomplete": worker.skipped_reason,
        "Search may miss recent changes": None if indexer is None else indexer.error,
        "Search is incomplete": None if indexer is None else indexer.skipped_reason,
    }
    return [f"{consequence}: {cause}" for consequence, cause in causes.items() if cause]


def _connection_warnings(parts: AppContext) -> list[str]:
    """Warnings about refused clients."""
    pools, messages = parts.connections, list(parts.start_warnings)
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
    if parts.bodies.recently_refused:
        messages.append(
            f"{parts.bodies.refused} request bodies were refused, the latest within the last hour: too many large ones "
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
