"""How the daemon is, in one document: everything an operator asks first."""

from typing import Annotated, Any, TypedDict

from aiohttp import web
from msgspec import Meta

from flexportd import __version__
from flexportd.clock import age
from flexportd.core.events.applier import is_known_type
from flexportd.core.json_types import Stamp
from flexportd.core.outages import DeliveryHealth, health
from flexportd.core.resources import shipments
from flexportd.expose.api.gaps import EventDelivery, delivery_document
from flexportd.expose.api.health import not_ready_reasons, version_warnings, warnings
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CONTEXT, AppContext
from flexportd.expose.flexport_interfaces import FlexportState, SyncForecast
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.webhook_refusals import hint, refusal_warnings
from flexportd.queue.queue import QueueState
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal
from flexportd.storage.transaction import Transaction


class RejectedWebhooks(TypedDict):
    """Webhook deliveries rejected for one reason: the problem slug, or `wrong-path`."""

    reason: str
    count: int
    first_at: Stamp
    last_at: Stamp
    last_address: Annotated[str, Meta(description="Client address of the last one; `local` for a Unix socket.")]
    last_path: Annotated[str, Meta(description="Path of the last one.")]
    hint: Annotated[str, Meta(description="How to fix it.")]


class WebhookStatus(TypedDict):
    """Webhook deliveries."""

    path: str
    has_secrets: Annotated[bool, Meta(description="Without a secret every delivery is rejected.")]
    last_received_at: Stamp | None
    last_created_at: Annotated[Stamp | None, Meta(description="When Flexport recorded the last event received.")]
    deliveries: Annotated[dict[str, int], Meta(description="Deliveries by outcome.")]
    rejected: Annotated[
        list[RejectedWebhooks], Meta(description="Rejected deliveries by reason, latest first; kept permanently.")
    ]


class EventCounts(TypedDict):
    """All processed events."""

    processed: int
    by_state: dict[str, int]
    by_type: Annotated[
        dict[str, dict[str, bool | int]],
        Meta(description="By type: `known` (whether Flexport documents it), and the number by state."),
    ]
    other_versions: Annotated[
        dict[str, int], Meta(description="Number of events in a version of Flexport's API other than 2, by version.")
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

    configured: Annotated[bool, Meta(description="Whether a Flexport API key is configured.")]
    complete_at: Stamp | None
    forecast: SyncForecast | None
    pending_removals: Annotated[dict[str, int], Meta(description="By resource: missing objects that need review.")]
    unavailable: Annotated[dict[str, str | None], Meta(description="Resources that cannot be read, with the reason.")]


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


class ConnectionStatus(TypedDict):
    """Network connections. Counters since the start."""

    open: int
    limit: Annotated[int, Meta(description="Maximum number of connections; see [server] max_connections.")]
    open_files_limit: Annotated[int, Meta(description="Maximum number of open files of the process.")]
    refused: Annotated[dict[str, int], Meta(description="Refused connections, by reason.")]
    closed: Annotated[dict[str, int], Meta(description="Closed connections, by reason.")]
    unsent_response_bytes: Annotated[int, Meta(description="Bytes of responses not read by clients yet.")]
    request_body_bytes: Annotated[int, Meta(description="Bytes of request bodies in memory.")]
    request_bodies_rejected: Annotated[int, Meta(description="Request bodies refused because too many were in memory.")]


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
    events: EventCounts
    shipments: ShipmentCounts
    storage: StorageStatus
    flexport: FlexportState | None
    sync: SyncStatus
    event_delivery: EventDelivery
    cache: CacheStatus
    search: SearchStatus
    stream: StreamStatus
    connections: ConnectionStatus


def _sync_warnings(parts: AppContext, held: dict[str, tuple[int, str]], hearing: DeliveryHealth) -> list[str]:
    """What of the mirror needs a person."""
    if parts.upstream is None:
        return ["No Flexport API key is configured: data is updated only by webhooks; see [flexport] api_key"]
    found = [
        f"{count} {name.replace('_', ' ')} missing from Flexport's list need review: flexportd sync accept "
        f"{name.replace('_', '-')}"
        for name, (count, _) in held.items()
    ]
    state = parts.upstream.state()
    if state["breaker"]["state"] != "closed":
        found.append(f"No requests to Flexport since {state['breaker']['since']}: {state['breaker']['reason']}")
    if state["auth"].get("reason"):
        found.append(f"Flexport refuses the sign-in: {state['auth']['reason']}")
    if hearing.needs_attention:
        found.append(hearing.sentence)
    return found


async def status(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/status`."""
    parts = request.app[CONTEXT]
    return await respond(request, lambda: document(parts))


async def document(parts: AppContext) -> dict[str, Any]:
    """Everything an operator asks first."""
    now = parts.clock.now()

    def read(tx: Transaction) -> tuple[Any, ...]:
        return (
            tx.events.counts(),
            tx.events.newest(),
            tx.resources.counts(shipments.TABLE, "status"),
            tx.resources.counts(shipments.TABLE, "mode"),
            tx.resources.newest_as_of(shipments.TABLE),
            tx.sync.list_states(),
            tx.sync.held_counts(),
            health(tx, now),
            tx.events.versions(),
        )

    counts, (_, created_at), by_status, by_mode, as_of, lists, held, hearing, versions = await parts.db.read(read)
    reasons, upstream = not_ready_reasons(parts), parts.upstream
    forecast = upstream.forecast(lists) if upstream else None
    return {
        "version": __version__,
        "started_at": parts.started_at,
        "uptime_seconds": round(age(parts.started_at, parts.clock.now()) or 0.0, 3),
        "ready": not reasons,
        "reasons": reasons,
        "warnings": [
            *warnings(parts),
            *refusal_warnings(parts, hearing.signals.last_webhook_at),
            *version_warnings(versions, now),
            *_sync_warnings(parts, held, hearing),
        ],
        "queue": await parts.queue.stats(),
        "webhook": {
            "path": parts.display.webhook_path,
            "has_secrets": parts.display.has_secrets,
            "last_received_at": hearing.signals.last_webhook_at,
            "last_created_at": created_at,
            "deliveries": parts.webhook_results(),
            "rejected": [_refused_webhooks(one, parts) for one in parts.webhook_refusals()],
        },
        "events": {**_events(counts), "other_versions": {one.version: one.count for one in versions}},
        "shipments": {
            "total": sum(by_status.values()),
            "by_status": by_status,
            "by_mode": by_mode,
            "as_of": as_of,
        },
        "storage": {
            "wal_bytes": parts.db.writer.wal_bytes(),
            "error": parts.db.writer.fault.reason if parts.db.writer.fault else None,
        },
        "flexport": upstream.state() if upstream else None,
        "sync": {
            "configured": upstream is not None,
            "complete_at": min((one.complete_at for one in lists.values() if one.complete_at), default=None),
            "forecast": forecast,
            "pending_removals": {name: count for name, (count, _) in held.items()},
            "unavailable": {name: one.unavailable_reason for name, one in lists.items() if one.unavailable_at},
        },
        "event_delivery": delivery_document(hearing),
        "cache": {"bytes": parts.cache.size, "hits": parts.cache.hits, "misses": parts.cache.misses},
        "search": _search(parts),
        "stream": {
            "open": len(parts.broadcaster),
            "sent": parts.broadcaster.sent,
            "dropped": parts.broadcaster.dropped,
            "error": parts.broadcaster.error,
        },
        "connections": _connections(parts),
    }


def _refused_webhooks(one: WebhookRefusal, parts: AppContext) -> RejectedWebhooks:
    return {
        "reason": one.reason,
        "count": one.count,
        "first_at": one.first_at,
        "last_at": one.last_at,
        "last_address": one.last_address,
        "last_path": one.last_path,
        "hint": hint(one, parts.display),
    }


def _connections(parts: AppContext) -> ConnectionStatus:
    pool, bodies = parts.connections.network, parts.bodies
    return {
        "open": len(pool),
        "limit": pool.limits.total,
        "open_files_limit": parts.connections.open_files,
        "refused": dict(pool.refused),
        "closed": dict(pool.closed),
        "unsent_response_bytes": pool.unsent,
        "request_body_bytes": bodies.used,
        "request_bodies_rejected": bodies.refused,
    }


def _search(parts: AppContext) -> SearchStatus:
    indexer = parts.indexer
    if indexer is None:
        return {"complete": False, "lag_commits": 0, "error": "search is not available: this SQLite has no FTS5"}
    return {
        "complete": indexer.is_complete,
        "lag_commits": indexer.lag,
        "error": indexer.error or indexer.skipped_reason,
    }


def _events(counts: list[tuple[str, str, int]]) -> dict[str, Any]:
    by_type: dict[str, dict[str, Any]] = {}
    by_state: dict[str, int] = dict.fromkeys(("applied", "coalesced", "ignored", "dead"), 0)
    for event_type, state, count in counts:
        entry = by_type.setdefault(event_type or "(none)", {"known": is_known_type(event_type)})
        entry[state] = count
        by_state[state] = by_state.get(state, 0) + count
    return {"processed": sum(by_state.values()), "by_state": by_state, "by_type": by_type}


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/status",
        handler=status,
        name="get_status",
        tag="operations",
        summary="Status of the daemon",
        returns=(json_response(DaemonStatus, "Status of the daemon."),),
    ),
)
