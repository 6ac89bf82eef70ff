"""Prometheus metrics, collected on request from the counters of the components."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flexportd import __version__
from flexportd.clock import parse
from flexportd.core.events.counts import by_milestone
from flexportd.expose.api.status import not_ready_reasons
from flexportd.expose.context import (
    BODIES,
    CACHE,
    CONNECTIONS,
    DB,
    INDEXER,
    QUEUE,
    SERVER_INFO,
    UPSTREAM,
    WEBHOOK_REFUSALS,
    WEBHOOKS,
)
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.route import Response
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.expose.webhook_refusals import EXPLANATIONS
from flexportd.http.connections import ABORT_REASONS, REFUSAL_REASONS
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse

_MEDIA = "text/plain; version=0.0.4"
_TYPE = f"{_MEDIA}; charset=utf-8"


_Counts = list[tuple[str, str, int]]
_Sums = list[tuple[str, int, int]]


class _Snapshot(Collector):
    def __init__(self, app: web.Application, stats: Mapping[str, Any], sums: tuple[_Counts, _Sums, int]) -> None:
        self._app = app
        self._stats = stats
        self._counts, self._drift, self._details_waiting = sums

    def collect(self) -> Iterable[Metric]:
        app = self._app
        info = GaugeMetricFamily("flexportd_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield _gauge(
            "flexportd_start_time_seconds", "Start time of the daemon.", parse(app[SERVER_INFO].started_at).timestamp()
        )
        yield _gauge("flexportd_ready", "1 if webhooks can be stored and applied.", not not_ready_reasons(app))
        yield from self._queue()
        webhooks = CounterMetricFamily(
            "flexportd_webhook_deliveries", "Webhook deliveries since the start, by result.", labels=["result"]
        )
        for result, count in app[WEBHOOKS].results.items():
            webhooks.add_metric([result], count)
        yield webhooks
        refused = CounterMetricFamily(
            "flexportd_webhooks_rejected",
            "Rejected webhook deliveries, by reason; kept across restarts.",
            labels=["reason"],
        )
        counts = {one.reason: one.count for one in app[WEBHOOK_REFUSALS]()}
        for reason in EXPLANATIONS:
            refused.add_metric([reason], counts.get(reason, 0))
        yield refused
        events = CounterMetricFamily("flexportd_events", "All events, by type and state.", labels=["type", "state"])
        for (event_type, state), count in sorted(by_milestone(self._counts).items()):
            events.add_metric([event_type, state], count)
        yield events
        yield from self._storage()
        yield from self._connections()
        yield from self._streams()
        yield from self._upstream()

    def _queue(self) -> Iterable[Metric]:
        items = GaugeMetricFamily("flexportd_queue_items", "Items in the queue, by state.", labels=["state"])
        oldest = GaugeMetricFamily(
            "flexportd_queue_oldest_item_age_seconds", "Age of the oldest item in each state.", labels=["state"]
        )
        for state in ("ready", "leased", "dead"):
            items.add_metric([state], self._stats[state])
            oldest.add_metric([state], self._stats["oldest_seconds"][state] or 0)
        yield from (items, oldest)
        yield _gauge("flexportd_queue_paused", "1 while paused.", self._stats["paused"])
        counters = self._app[QUEUE].counters
        ended = CounterMetricFamily(
            "flexportd_queue_items_processed", "Completed items since the start, by outcome.", labels=["outcome"]
        )
        for outcome, count in (("done", counters.finished), ("dead", counters.dead), ("retried", counters.retried)):
            ended.add_metric([outcome], count)
        yield ended
        yield CounterMetricFamily("flexportd_queue_batches", "Batches since the start.", value=counters.batches)

    def _storage(self) -> Iterable[Metric]:
        writer, cache = self._app[DB].writer, self._app[CACHE]
        yield CounterMetricFamily(
            "flexportd_database_transactions", "Write transactions since the start.", value=writer.groups
        )
        yield CounterMetricFamily(
            "flexportd_database_writes", "Units of work in write transactions since the start.", value=writer.units
        )
        yield _gauge(
            "flexportd_database_unavailable", "1 while the database cannot be written.", writer.fault is not None
        )
        yield _gauge("flexportd_database_wal_bytes", "Size of SQLite's write-ahead log.", writer.wal_bytes())
        yield _gauge("flexportd_cache_bytes", "Bytes of cached responses in memory.", cache.size)
        lookups = CounterMetricFamily(
            "flexportd_cache_lookups", "Cache lookups since the start, by result.", labels=["tier", "result"]
        )
        disk = cache.disk_stats()
        for tier, hits, misses in (("memory", cache.hits, cache.misses), ("disk", disk.hits, disk.misses)):
            lookups.add_metric([tier, "hit"], hits)
            lookups.add_metric([tier, "miss"], misses)
        yield lookups
        yield _gauge("flexportd_cache_disk_bytes", "Bytes of the cache on disk.", disk.bytes)
        yield _gauge("flexportd_cache_disk_entries", "Entries of the cache on disk.", disk.entries)

    def _connections(self) -> Iterable[Metric]:
        pools, bodies = self._app[CONNECTIONS], self._app[BODIES]
        current = GaugeMetricFamily("flexportd_connections", "Client connections.", labels=["server"])
        limit = GaugeMetricFamily(
            "flexportd_connections_max", "Maximum number of client connections.", labels=["server"]
        )
        refused = CounterMetricFamily(
            "flexportd_connections_refused", "New connections refused since the start.", labels=["server", "reason"]
        )
        closed = CounterMetricFamily(
            "flexportd_connections_closed",
            "Connections closed by the daemon since the start, by reason.",
            labels=["server", "reason"],
        )
        for pool in (pools.network, pools.control):
            current.add_metric([pool.name], len(pool))
            limit.add_metric([pool.name], pool.limits.total)
            for reason in REFUSAL_REASONS:
                refused.add_metric([pool.name, reason], pool.refused[reason])
            for reason in ABORT_REASONS:
                closed.add_metric([pool.name, reason], pool.closed[reason])
        yield from (current, limit, refused, closed)
        yield _gauge("flexportd_open_files_max", "Maximum number of open files.", pools.open_files)
        yield _gauge(
            "flexportd_unsent_response_bytes", "Bytes of responses not read by clients yet.", pools.network.unsent
        )
        yield _gauge("flexportd_request_body_bytes", "Bytes of request bodies in memory.", bodies.used)
        yield _gauge("flexportd_request_body_max_bytes", "Maximum bytes of request bodies in memory.", bodies.total)
        yield CounterMetricFamily(
            "flexportd_request_bodies_rejected", "Request bodies refused since the start.", value=bodies.refused
        )
        yield CounterMetricFamily(
            "flexportd_request_bodies_timed_out",
            "Slow request bodies cancelled since the start.",
            value=bodies.evicted,
        )

    def _streams(self) -> Iterable[Metric]:
        broadcaster, indexer = self._app[BROADCASTER], self._app[INDEXER]
        yield _gauge("flexportd_streams", "Open streams.", len(broadcaster))
        yield CounterMetricFamily(
            "flexportd_stream_messages", "Stream messages sent since the start.", value=broadcaster.sent
        )
        yield CounterMetricFamily(
            "flexportd_streams_dropped", "Slow stream clients disconnected since the start.", value=broadcaster.dropped
        )
        if indexer is not None:
            yield _gauge("flexportd_search_index_lag_commits", "Commits not in the search index yet.", indexer.lag)
            yield _gauge("flexportd_search_index_complete", "1 if the search index is complete.", indexer.is_complete)

    def _upstream(self) -> Iterable[Metric]:
        drift = CounterMetricFamily(
            "flexportd_schema_drift", "Undocumented API fields and values seen, by kind.", labels=["kind"]
        )
        names = GaugeMetricFamily(
            "flexportd_schema_drift_findings", "Distinct undocumented API fields and values, by kind.", labels=["kind"]
        )
        for kind, different, count in self._drift:
            drift.add_metric([kind], count)
            names.add_metric([kind], different)
        yield from (drift, names)
        upstream = self._app[UPSTREAM]
        if upstream is None:
            return
        state = upstream.state()
        yield _gauge(
            "flexportd_flexport_breaker_open",
            "1 while the circuit breaker to Flexport is open.",
            state["breaker"]["state"] != "closed",
        )
        calls = CounterMetricFamily(
            "flexportd_flexport_requests", "Requests to Flexport since the start, by purpose.", labels=["purpose"]
        )
        errors = CounterMetricFamily(
            "flexportd_flexport_request_errors",
            "Failed requests to Flexport since the start, by purpose.",
            labels=["purpose"],
        )
        for purpose, sums in state["calls"].items():
            calls.add_metric([purpose], sums["calls"])
            errors.add_metric([purpose], sums["errors"])
        yield from (calls, errors)
        yield _gauge("flexportd_shipment_details_pending", "Shipments to be fetched one by one.", self._details_waiting)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


@route(
    "GET",
    "/metrics",
    prefix="",
    returns=Response(description="The metrics in Prometheus' text format.", media=(_MEDIA,)),
)
async def get_metrics(request: web.Request) -> web.StreamResponse:
    """Get metrics for Prometheus."""
    stats = await request.app[QUEUE].stats()
    sums = await request.app[DB].read(
        lambda tx: (tx.events.counts(), tx.drift.sums(), tx.shipment_details.count_pending())
    )
    registry = CollectorRegistry()
    registry.register(_Snapshot(request.app, stats, sums))
    return PreparedStreamResponse(PreparedResponse(200, generate_latest(registry), _TYPE))
