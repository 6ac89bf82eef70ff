"""Liveness, readiness with reasons, warnings, and the status of the daemon in one document."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web

from flexportd import __version__, file_limit
from flexportd.clock import age
from flexportd.core.events.applier import is_known_type
from flexportd.core.json_types import Stamp, doc
from flexportd.core.outages import DeliveryHealth, health
from flexportd.core.resources import shipments
from flexportd.core.system_conditions import PathCheckStep
from flexportd.expose.api.deliveries import channel_documents
from flexportd.expose.api.events import EventDelivery, delivery_document
from flexportd.expose.cached_response import respond
from flexportd.expose.context import (
    BODIES,
    CACHE,
    CLOCK,
    CONDITIONS,
    CONNECTIONS,
    DB,
    DISPLAY,
    EXCEPTION_WORKER,
    FILES,
    INDEXER,
    JOBS,
    NOTIFICATIONS,
    OPERATIONS,
    PATH_CHECK,
    QUEUE,
    SERVER_INFO,
    TRUSTED_TIME,
    UPSTREAM,
    WEBHOOK_REFUSALS,
    WEBHOOKS,
    FlexportState,
    SyncForecast,
)
from flexportd.expose.openapi.router import route
from flexportd.expose.security.authentication import AUTHENTICATOR, PROXY_UNKNOWN
from flexportd.expose.serialize import json_document
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.expose.webhook_refusals import current_refusals, hint, sentence
from flexportd.http.problems import problem
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.queue.queue import QueueState
from flexportd.settings import open_access_warning
from flexportd.storage.repositories.events import EventVersion
from flexportd.storage.transaction import Transaction

_ALIVE = PreparedResponse(200, b'{"status":"alive"}')


class Liveness(TypedDict):
    """The process is alive."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Webhooks can be stored and applied. `warnings`: conditions that an operator should act on."""

    status: Literal["ready"]
    warnings: list[str]


@route("GET", "/healthz", prefix="", returns=Liveness, scope=None)
async def get_liveness(_request: web.Request) -> web.StreamResponse:
    """Check liveness."""
    return PreparedStreamResponse(_ALIVE)


@route("GET", "/readyz", prefix="", returns=Readiness, scope=None, problems=("not-ready",))
async def get_readiness(request: web.Request) -> web.StreamResponse:
    """Check readiness: webhooks can be stored and are applied."""
    reasons = not_ready_reasons(request.app)
    if not reasons:
        return json_document({"status": "ready", "warnings": readiness_warnings(request.app)})
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


def readiness_warnings(app: web.Application) -> list[str]:
    """The open conditions of the daemon itself and of its channels, one sentence each.

    None of them keeps it from storing webhooks.
    """
    others = [one.detail for one in app[CONDITIONS].open_conditions if one.kind != "webhook_check_failed"]
    problem_ = app[PATH_CHECK].result.problem
    return [*others, *([] if problem_ is None else [problem_]), *app[NOTIFICATIONS].problems(with_causes=False)]


def condition_warnings(app: web.Application) -> list[str]:
    """Those of the daemon's own conditions that nothing else of its status reports."""
    low = [one.detail for one in app[CONDITIONS].open_conditions if one.kind == "disk_low"]
    path = app[PATH_CHECK].result.problem
    return low if path is None else [*low, path]


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
    found = condition_warnings(app) + _consumer_warnings(app) + app[NOTIFICATIONS].problems()
    return messages + found + app[JOBS].problems()


def _consumer_warnings(app: web.Application) -> list[str]:
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


class RejectedWebhooks(TypedDict):
    """Webhook deliveries rejected for one reason: the problem slug, or `wrong-path`."""

    reason: str
    count: int
    first_at: Stamp
    last_at: Stamp
    last_address: Annotated[str, doc("Client address of the last one; `local` for a Unix socket.")]
    last_path: Annotated[str, doc("Path of the last one.")]
    hint: Annotated[str, doc("How to fix it.")]


class WebhookStatus(TypedDict):
    """Webhook deliveries."""

    path: str
    has_secrets: Annotated[bool, doc("Without a secret every delivery is rejected.")]
    last_received_at: Stamp | None
    last_created_at: Annotated[Stamp | None, doc("When Flexport recorded the last event received.")]
    deliveries: Annotated[dict[str, int], doc("Deliveries by outcome.")]
    rejected: Annotated[list[RejectedWebhooks], doc("Rejected deliveries by reason, latest first; kept permanently.")]


class WebhookCheck(TypedDict):
    """The path check of webhooks (`[webhook] self_check`)."""

    state: Literal["off", "pending", "ok", "failed"]
    step: Annotated[PathCheckStep | None, doc("The step that fails; `accepted` if the event came back.")]
    detail: str
    checked_at: Stamp | None


class EventCounts(TypedDict):
    """All processed events."""

    processed: int
    by_state: dict[str, int]
    by_type: Annotated[
        dict[str, dict[str, bool | int]],
        doc("By type: `known` (whether Flexport documents it), and the number by state."),
    ]
    other_versions: Annotated[
        dict[str, int], doc("Number of events in a version of Flexport's API other than 2, by version.")
    ]


class ShipmentCounts(TypedDict):
    """Number of shipments, by Flexport's status."""

    total: int
    by_status: dict[str, int]
    by_mode: dict[str, int]
    as_of: Stamp | None


class StorageStatus(TypedDict):
    """State of the database; `error`: why it cannot be written."""

    wal_bytes: int
    error: str | None


class SyncStatus(TypedDict):
    """Sync summary. `complete_at`: when the least recently read list was last read completely."""

    configured: Annotated[bool, doc("Whether a Flexport API key is configured.")]
    complete_at: Stamp | None
    forecast: SyncForecast | None
    pending_removals: Annotated[dict[str, int], doc("By resource: missing objects that need review.")]
    unavailable: Annotated[dict[str, str | None], doc("Resources that cannot be read, with the reason.")]


class CacheStatus(TypedDict):
    """Cached responses in memory, and lookups since the start."""

    bytes: int
    hits: int
    misses: int


class SearchStatus(TypedDict):
    """The search index. `complete`: every object is indexed; `lag_commits`: commits not indexed yet."""

    complete: bool
    lag_commits: int
    error: str | None


class StreamStatus(TypedDict):
    """Event streams. `sent` (messages sent) and `dropped` (slow readers disconnected) count since the start."""

    open: int
    sent: int
    dropped: int
    error: str | None


class NotificationStatus(TypedDict):
    """Channels by name with their state (working, failing, off), and the messages to them."""

    channels: dict[str, str]
    pending: Annotated[int, doc("Number of messages that are not sent yet.")]
    failed: Annotated[int, doc("Number of messages that failed.")]


class WriteStatus(TypedDict):
    """Writes to Flexport, and their operations."""

    enabled: Annotated[bool, doc("Whether [writes] enabled is set, and a key for Flexport.")]
    operations: Annotated[dict[str, int], doc("Number of operations by state.")]
    needs_decision: Annotated[int, doc("Number of unknown operations that a person must decide.")]


class ConnectionStatus(TypedDict):
    """Network connections. Counters since the start."""

    open: int
    limit: Annotated[int, doc("Maximum number of connections; see [server] max_connections.")]
    open_files_limit: Annotated[int, doc("Maximum number of open files of the process.")]
    refused: Annotated[dict[str, int], doc("Refused connections, by reason.")]
    closed: Annotated[dict[str, int], doc("Closed connections, by reason.")]
    unsent_response_bytes: Annotated[int, doc("Bytes of responses not read by clients yet.")]
    request_body_bytes: Annotated[int, doc("Bytes of request bodies in memory.")]
    request_bodies_rejected: Annotated[int, doc("Request bodies refused because too many were in memory.")]


class DaemonStatus(TypedDict):
    """Status of the daemon. `reasons`: why it is not ready; `warnings`: what needs attention."""

    version: str
    started_at: Stamp
    uptime_seconds: float
    ready: bool
    reasons: list[str]
    warnings: list[str]
    queue: QueueState
    webhook: WebhookStatus
    webhook_check: WebhookCheck
    events: EventCounts
    shipments: ShipmentCounts
    storage: StorageStatus
    flexport: FlexportState | None
    sync: SyncStatus
    event_delivery: EventDelivery
    notifications: NotificationStatus
    writes: WriteStatus
    cache: CacheStatus
    search: SearchStatus
    stream: StreamStatus
    connections: ConnectionStatus


def _sync_warnings(app: web.Application, pending: dict[str, tuple[int, str]], delivery: DeliveryHealth) -> list[str]:
    upstream = app[UPSTREAM]
    if upstream is None:
        return ["No Flexport API key is configured: data is updated only by webhooks; see [flexport] api_key"]
    messages = [
        f"{count} {name.replace('_', ' ')} missing from Flexport's list need review: flexportd sync accept "
        f"{name.replace('_', '-')}"
        for name, (count, _) in pending.items()
    ]
    state = upstream.state()
    if state["breaker"]["state"] != "closed":
        messages.append(f"No requests to Flexport since {state['breaker']['since']}: {state['breaker']['reason']}")
    if state["auth"].get("reason"):
        messages.append(f"Flexport refuses the sign-in: {state['auth']['reason']}")
    if delivery.needs_attention:
        messages.append(delivery.sentence)
    return messages


def failed_warnings(failed: int) -> list[str]:
    """A warning about messages that could not be sent."""
    if not failed:
        return []
    what = "1 notification" if failed == 1 else f"{failed} notifications"
    return [f"{what} could not be sent: flexportd deliveries list --state failed"]


def decision_warnings(count: int) -> list[str]:
    """A warning about operations that a person must decide."""
    if not count:
        return []
    what = "1 write to Flexport needs" if count == 1 else f"{count} writes to Flexport need"
    return [f"{what} a decision, since the outcome is unknown: flexportd operations list --needs-decision"]


@route("GET", "/status", returns=DaemonStatus)
async def get_status(request: web.Request) -> web.StreamResponse:
    """Get the status of the daemon."""
    return await respond(request, lambda: document(request.app))


def shipment_counts(tx: Transaction) -> dict[str, Any]:
    """Shipments in all, by status and by mode."""
    by_status = tx.resources.counts(shipments.TABLE, "status")
    return {
        "total": sum(by_status.values()),
        "by_status": by_status,
        "by_mode": tx.resources.counts(shipments.TABLE, "mode"),
        "as_of": tx.resources.newest_as_of(shipments.TABLE),
    }


async def document(app: web.Application) -> dict[str, Any]:
    """The status."""
    now = app[CLOCK].now()

    def read(tx: Transaction) -> tuple[Any, ...]:
        return (
            tx.events.counts(),
            tx.events.newest(),
            shipment_counts(tx),
            tx.sync.list_states(),
            tx.sync.held_counts(),
            health(tx, now),
            tx.events.versions(),
            channel_documents(tx, app[NOTIFICATIONS].list_channels()),
            sum(tx.deliveries.failed().values()),
            (tx.operations.counts(), tx.operations.count_needing_decision()),
        )

    found = await app[DB].read(read)
    counts, (_, created_at), shipment_count, lists, pending, delivery, versions, channels, failed, writes = found
    operations, undecided = writes
    refused = current_refusals(app[WEBHOOK_REFUSALS](), delivery.signals.last_webhook_at, now)
    reasons, upstream, writer = not_ready_reasons(app), app[UPSTREAM], app[DB].writer
    indexer, pool, bodies = app[INDEXER], app[CONNECTIONS].network, app[BODIES]
    return {
        "version": __version__,
        "started_at": app[SERVER_INFO].started_at,
        "uptime_seconds": round(age(app[SERVER_INFO].started_at, app[CLOCK].now()) or 0.0, 3),
        "ready": not reasons,
        "reasons": reasons,
        "warnings": [
            *warnings(app),
            *(sentence(one, app[DISPLAY]) for one in refused),
            *version_warnings(versions, now),
            *_sync_warnings(app, pending, delivery),
            *failed_warnings(failed),
            *decision_warnings(undecided),
        ],
        "queue": await app[QUEUE].stats(),
        "webhook": {
            "path": app[DISPLAY].webhook_path,
            "has_secrets": app[DISPLAY].has_secrets,
            "last_received_at": delivery.signals.last_webhook_at,
            "last_created_at": created_at,
            "deliveries": dict(app[WEBHOOKS].results),
            "rejected": [
                msgspec.structs.asdict(refusal) | {"hint": hint(refusal, app[DISPLAY])}
                for refusal in app[WEBHOOK_REFUSALS]()
            ],
        },
        "webhook_check": app[PATH_CHECK].result._asdict(),
        "events": {**_events(counts), "other_versions": {one.version: one.count for one in versions}},
        "shipments": shipment_count,
        "storage": {"wal_bytes": writer.wal_bytes(), "error": writer.fault.reason if writer.fault else None},
        "flexport": upstream.state() if upstream else None,
        "sync": {
            "configured": upstream is not None,
            "complete_at": min((one.complete_at for one in lists.values() if one.complete_at), default=None),
            "forecast": upstream.forecast(lists) if upstream else None,
            "pending_removals": {name: count for name, (count, _) in pending.items()},
            "unavailable": {name: one.unavailable_reason for name, one in lists.items() if one.unavailable_at},
        },
        "event_delivery": delivery_document(delivery),
        "notifications": {
            "channels": {channel["name"]: channel["state"] for channel in channels},
            "pending": sum(channel["pending"] for channel in channels),
            "failed": failed,
        },
        "writes": {
            "enabled": app[OPERATIONS].rules.enabled and upstream is not None,
            "operations": operations,
            "needs_decision": undecided,
        },
        "cache": {"bytes": app[CACHE].size, "hits": app[CACHE].hits, "misses": app[CACHE].misses},
        "search": {
            "complete": indexer.is_complete,
            "lag_commits": indexer.lag,
            "error": indexer.error or indexer.skipped_reason,
        },
        "stream": {
            "open": len(app[BROADCASTER]),
            "sent": app[BROADCASTER].sent,
            "dropped": app[BROADCASTER].dropped,
            "error": app[BROADCASTER].error,
        },
        "connections": {
            "open": len(pool),
            "limit": pool.limits.total,
            "open_files_limit": app[CONNECTIONS].open_files,
            "refused": dict(pool.refused),
            "closed": dict(pool.closed),
            "unsent_response_bytes": pool.unsent,
            "request_body_bytes": bodies.used,
            "request_bodies_rejected": bodies.refused,
        },
    }


def _events(counts: list[tuple[str, str, int]]) -> dict[str, Any]:
    by_type: dict[str, dict[str, Any]] = {}
    by_state: dict[str, int] = dict.fromkeys(("applied", "coalesced", "ignored", "dead"), 0)
    for event_type, state, count in counts:
        entry = by_type.setdefault(event_type or "(none)", {"known": is_known_type(event_type)})
        entry[state] = count
        by_state[state] = by_state.get(state, 0) + count
    return {"processed": sum(by_state.values()), "by_state": by_state, "by_type": by_type}
