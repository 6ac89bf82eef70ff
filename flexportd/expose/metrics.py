"""Prometheus metrics, collected on request from the counters of the components."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flexportd import __version__
from flexportd.clock import parse
from flexportd.core.events.applier import by_milestone
from flexportd.expose.api.deliveries import channel_documents
from flexportd.expose.api.status import not_ready_reasons
from flexportd.expose.context import (
    BODIES,
    CACHE,
    CONNECTIONS,
    DB,
    INDEXER,
    NOTIFICATIONS,
    OPERATIONS,
    QUEUE,
    SERVER_INFO,
    UPSTREAM,
    WEBHOOK_REFUSALS,
    WEBHOOKS,
)
from flexportd.expose.openapi.route import Response
from flexportd.expose.openapi.router import route
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.expose.webhook_refusals import EXPLANATIONS
from flexportd.http.connections import ABORT_REASONS, REFUSAL_REASONS
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse

_MEDIA = "text/plain; version=0.0.4"
_TYPE = f"{_MEDIA}; charset=utf-8"

Value = float | Iterable[tuple[Any, ...]]
"""A number, or rows: the values of the labels, and the number."""

_METRICS = tomllib.loads(resources.files("flexportd.expose").joinpath("metrics.toml").read_text(encoding="utf-8"))
_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


class _Snapshot(Collector):
    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def collect(self) -> Iterable[Metric]:
        for name, metric in _METRICS.items():
            if name in self._values:
                value = self._values[name]
                family = _FAMILIES[metric["type"]](f"flexportd_{name}", metric["help"], labels=metric.get("labels", ()))
                for *labels, number in [(value,)] if isinstance(value, float | int) else value:
                    family.add_metric(labels, number)
                yield family


async def _values(app: web.Application) -> dict[str, Value]:
    stats: Mapping[str, Any] = await app[QUEUE].stats()
    counters, states = app[QUEUE].counters, ("ready", "leased", "dead")
    control = app[NOTIFICATIONS]
    counts, drift, pending, channels, operations, undecided = await app[DB].read(
        lambda tx: (
            tx.events.counts(),
            tx.drift.sums(),
            tx.shipment_details.count_pending(),
            channel_documents(tx, control.list_channels()),
            tx.operations.counts(),
            tx.operations.count_needing_decision(),
        )
    )
    refused = {one.reason: one.count for one in app[WEBHOOK_REFUSALS]()}
    broadcaster, indexer, writer, cache = app[BROADCASTER], app[INDEXER], app[DB].writer, app[CACHE]
    pools, bodies, disk = app[CONNECTIONS], app[BODIES], cache.disk.stats()
    both = (pools.network, pools.control)
    upstream = app[UPSTREAM]
    values: dict[str, Value] = {
        "info": [(__version__, 1)],
        "start_time_seconds": parse(app[SERVER_INFO].started_at).timestamp(),
        "ready": not not_ready_reasons(app),
        "webhook_deliveries": app[WEBHOOKS].results.items(),
        "webhooks_rejected": [(reason, refused.get(reason, 0)) for reason in EXPLANATIONS],
        "events": [(*labels, count) for labels, count in sorted(by_milestone(counts).items())],
        "streams": len(broadcaster),
        "stream_messages": broadcaster.sent,
        "streams_dropped": broadcaster.dropped,
        "search_index_lag_commits": indexer.lag,
        "search_index_complete": indexer.is_complete,
        "queue_items": [(state, stats[state]) for state in states],
        "queue_oldest_item_age_seconds": [(state, stats["oldest_seconds"][state] or 0) for state in states],
        "queue_paused": stats["paused"],
        "queue_items_processed": [("done", counters.finished), ("dead", counters.dead), ("retried", counters.retried)],
        "queue_batches": counters.batches,
        "database_transactions": writer.groups,
        "database_writes": writer.units,
        "database_unavailable": writer.fault is not None,
        "database_wal_bytes": writer.wal_bytes(),
        "cache_bytes": cache.size,
        "cache_lookups": [
            (tier, result, count)
            for tier, hits, misses in (("memory", cache.hits, cache.misses), ("disk", disk.hits, disk.misses))
            for result, count in (("hit", hits), ("miss", misses))
        ],
        "cache_disk_bytes": disk.bytes,
        "cache_disk_entries": disk.entries,
        "connections": [(pool.name, len(pool)) for pool in both],
        "connections_max": [(pool.name, pool.limits.total) for pool in both],
        "connections_refused": [(pool.name, why, pool.refused[why]) for pool in both for why in REFUSAL_REASONS],
        "connections_closed": [(pool.name, why, pool.closed[why]) for pool in both for why in ABORT_REASONS],
        "open_files_max": pools.open_files,
        "unsent_response_bytes": pools.network.unsent,
        "request_body_bytes": bodies.used,
        "request_body_max_bytes": bodies.total,
        "request_bodies_rejected": bodies.refused,
        "request_bodies_timed_out": bodies.evicted,
        "schema_drift": [(kind, count) for kind, _, count in drift],
        "schema_drift_findings": [(kind, count) for kind, count, _ in drift],
        "notification_attempts": control.attempts(),
        "notification_deliveries": [
            (one["name"], state, one[state]) for one in channels for state in ("pending", "failed")
        ],
        "notification_channel_working": [(one["name"], one["state"] == "working") for one in channels],
        "writes_enabled": app[OPERATIONS].rules.enabled and upstream is not None,
        "operations": operations.items(),
        "operations_needing_decision": undecided,
    }
    if upstream is not None:
        state = upstream.state()
        values["flexport_breaker_open"] = state["breaker"]["state"] != "closed"
        values["flexport_requests"] = [(purpose, sums["calls"]) for purpose, sums in state["calls"].items()]
        values["flexport_request_errors"] = [(purpose, sums["errors"]) for purpose, sums in state["calls"].items()]
        values["shipment_details_pending"] = pending
    return values


@route(
    "GET",
    "/metrics",
    prefix="",
    returns=Response(description="The metrics in Prometheus' text format.", media=(_MEDIA,)),
)
async def get_metrics(request: web.Request) -> web.StreamResponse:
    """Get metrics for Prometheus."""
    metrics = generate_latest(_Snapshot(await _values(request.app)))
    return PreparedStreamResponse(PreparedResponse(200, metrics, _TYPE))
