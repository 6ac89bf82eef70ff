"""Liveness, readiness with reasons, and what is not as somebody would want it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from aiohttp import web

from flexportd import file_limit
from flexportd.clock import age
from flexportd.expose.context import PARTS, Parts
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_of
from flexportd.expose.security.authentication import PROXY_UNKNOWN
from flexportd.http.problems import problem
from flexportd.http.responses import Answer, EncodedResponse
from flexportd.settings import open_to_all
from flexportd.storage.repositories.events import EventVersion

_ALIVE = Answer(200, b'{"status":"alive"}')
_READY = Answer(200, b'{"status":"ready"}')


class Liveness(TypedDict):
    """The process is alive."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Webhooks can be stored and applied."""

    status: Literal["ready"]


async def healthz(_request: web.Request) -> web.StreamResponse:
    """`GET /healthz`: the process answers."""
    return EncodedResponse(_ALIVE)


async def readyz(request: web.Request) -> web.StreamResponse:
    """`GET /readyz`: webhooks can be kept and are applied; else 503 with the reasons."""
    reasons = reasons_against(request.app[PARTS])
    if not reasons:
        return EncodedResponse(_READY)
    return EncodedResponse(problem(503, "not-ready", "; ".join(reasons), retry_after="5"))


_LATELY = 7 * 86_400.0  # seconds for which something that came is news


def reasons_against(parts: Parts) -> list[str]:
    """Why the daemon is not ready, one sentence each; none when it is."""
    found = []
    fault = parts.db.writer.fault
    if fault:
        found.append(f"The database is not writable: {fault.reason}")
    if parts.db.hung:
        found.append("The disk does not respond: acknowledgements take too long")
    found += [f"Items of kind {kind} cannot be processed: {why}" for kind, why in parts.queue.tallies.trouble.items()]
    found += [f"The background task {name} has failed: {why}" for name, why in parts.task_deaths().items()]
    waiting = parts.queue.waiting("event")
    if waiting >= parts.shown.max_pending:
        found.append(f"{waiting} events are waiting; no more are accepted")
    return found


def warnings(parts: Parts) -> list[str]:
    """What works, but not as somebody would want it."""
    found = []
    if not parts.shown.has_secrets:
        found.append("No webhook secret is configured: every webhook is refused; see [webhook] secrets")
    found += _connection_warnings(parts)
    if parts.gate.exposures and not parts.gate.required:
        found.append(open_to_all(parts.gate.exposures))
    if parts.gate.refused_forwarded:
        found.append(f"{parts.gate.refused_forwarded} requests were refused since the daemon started. {PROXY_UNKNOWN}")
    if parts.time is not None and parts.time.problem:
        found.append(parts.time.problem)
    return found + _follower_warnings(parts) + parts.jobs.problems()


def _follower_warnings(parts: Parts) -> list[str]:
    """What the exceptions, the search index and the archive of documents lack."""
    found = []
    if parts.filing.archivist.trouble:
        found.append(f"Document files may be missing: {parts.filing.archivist.trouble}")
    if parts.examiner.trouble:
        found.append(f"Exceptions may be out of date: {parts.examiner.trouble}")
    if parts.examiner.omission:
        found.append(f"Exceptions are incomplete: {parts.examiner.omission}")
    if parts.indexer is not None and parts.indexer.trouble:
        found.append(f"Search may miss recent changes: {parts.indexer.trouble}")
    if parts.indexer is not None and parts.indexer.omission:
        found.append(f"Search is incomplete: {parts.indexer.omission}")
    return found


def _connection_warnings(parts: Parts) -> list[str]:
    """What keeps clients out."""
    pools, found = parts.connections, list(parts.start_warnings)
    pool = pools.network
    if pools.open_files < file_limit.LOW:
        found.append(
            f"Only {pools.open_files} open files are allowed, enough for {pool.limits.total} connections: "
            "raise the hard limit (LimitNOFILE= in systemd, ulimit -Hn)"
        )
    if pool.refused_lately:
        found.append(
            f"{pool.refused.total()} connections were refused, the latest within the last hour: too many at once "
            f"({len(pool)} of {pool.limits.total} now); see [server] max_connections"
        )
    if parts.bodies.refused_lately:
        found.append(
            f"{parts.bodies.refused} request bodies were refused, the latest within the last hour: too many large ones "
            "at once; Flexport sends refused webhooks again"
        )
    return found


def version_warnings(versions: Sequence[EventVersion], now: datetime) -> list[str]:
    """That events come in another version of Flexport's API, while some came lately."""
    late = [one for one in versions if (age(one.last_seen_at, now) or 0.0) < _LATELY]
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
        returns=(json_of(Liveness, "The process is alive."),),
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        name="get_readiness",
        tag="operations",
        summary="Readiness check: webhooks can be stored and are applied",
        scope=None,
        returns=(json_of(Readiness, "The daemon is ready."),),
        problems=("not-ready",),
    ),
)
