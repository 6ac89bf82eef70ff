"""Prometheus metrics, collected on request from the counters of the components."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flexportd import __version__
from flexportd.clock import parse
from flexportd.core.events.applier import by_milestone
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
from flexportd.expose.openapi.route import Response
from flexportd.expose.openapi.router import route
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.expose.webhook_refusals import EXPLANATIONS
from flexportd.http.connections import ABORT_REASONS, REFUSAL_REASONS
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse

_MEDIA = "text/plain; version=0.0.4"
_TYPE = f"{_MEDIA}; charset=utf-8"

_Counts = list[tuple[str, str, int]]
_Sums = list[tuple[str, int, int]]
_Rows = Iterable[tuple[Any, ...]]  # the values of the labels, and the number


def _gauge(name: str, text: str, value: float | _Rows, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), value)


def _counter(name: str, text: str, value: float | _Rows, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), value)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: float | _Rows) -> Metric:
    for *labels, number in [(value,)] if isinstance(value, float | int) else value:
        family.add_metric(labels, number)
    return family


class _Snapshot(Collector):
    def __init__(self, app: web.Application, stats: Mapping[str, Any], sums: tuple[_Counts, _Sums, int]) -> None:
        self._app = app
        self._stats = stats
        self._counts, self._drift, self._details_pending = sums

    def collect(self) -> Iterable[Metric]:
        app = self._app
        yield _gauge("flexportd_info", "The running version.", [(__version__, 1)], "version")
        started_at = parse(app[SERVER_INFO].started_at).timestamp()
        yield _gauge("flexportd_start_time_seconds", "Start time of the daemon.", started_at)
        yield _gauge("flexportd_ready", "1 if webhooks can be stored and applied.", not not_ready_reasons(app))
        yield from self._queue()
        text, results = "Webhook deliveries since the start, by result.", app[WEBHOOKS].results
        yield _counter("flexportd_webhook_deliveries", text, results.items(), "result")
        text, refused = "Rejected webhook deliveries, by reason; kept across restarts.", app[WEBHOOK_REFUSALS]()
        counts = dict.fromkeys(EXPLANATIONS, 0) | {one.reason: one.count for one in refused}
        yield _counter("flexportd_webhooks_rejected", text, [(one, counts[one]) for one in EXPLANATIONS], "reason")
        events = [(*labels, count) for labels, count in sorted(by_milestone(self._counts).items())]
        yield _counter("flexportd_events", "All events, by type and state.", events, "type", "state")
        yield from self._storage()
        yield from self._connections()
        yield from self._streams()
        yield from self._upstream()

    def _queue(self) -> Iterator[Metric]:
        stats, counters, states = self._stats, self._app[QUEUE].counters, ("ready", "leased", "dead")
        items = [(state, stats[state]) for state in states]
        yield _gauge("flexportd_queue_items", "Items in the queue, by state.", items, "state")
        ages = [(state, stats["oldest_seconds"][state] or 0) for state in states]
        text = "Age of the oldest item in each state."
        yield _gauge("flexportd_queue_oldest_item_age_seconds", text, ages, "state")
        yield _gauge("flexportd_queue_paused", "1 while paused.", stats["paused"])
        ended = [("done", counters.finished), ("dead", counters.dead), ("retried", counters.retried)]
        text = "Completed items since the start, by outcome."
        yield _counter("flexportd_queue_items_processed", text, ended, "outcome")
        yield _counter("flexportd_queue_batches", "Batches since the start.", counters.batches)

    def _storage(self) -> Iterator[Metric]:
        writer, cache = self._app[DB].writer, self._app[CACHE]
        disk = cache.disk.stats()
        yield _counter("flexportd_database_transactions", "Write transactions since the start.", writer.groups)
        text = "Units of work in write transactions since the start."
        yield _counter("flexportd_database_writes", text, writer.units)
        text = "1 while the database cannot be written."
        yield _gauge("flexportd_database_unavailable", text, writer.fault is not None)
        yield _gauge("flexportd_database_wal_bytes", "Size of SQLite's write-ahead log.", writer.wal_bytes())
        yield _gauge("flexportd_cache_bytes", "Bytes of cached responses in memory.", cache.size)
        lookups = [
            (tier, result, count)
            for tier, hits, misses in (("memory", cache.hits, cache.misses), ("disk", disk.hits, disk.misses))
            for result, count in (("hit", hits), ("miss", misses))
        ]
        text = "Cache lookups since the start, by result."
        yield _counter("flexportd_cache_lookups", text, lookups, "tier", "result")
        yield _gauge("flexportd_cache_disk_bytes", "Bytes of the cache on disk.", disk.bytes)
        yield _gauge("flexportd_cache_disk_entries", "Entries of the cache on disk.", disk.entries)

    def _connections(self) -> Iterator[Metric]:
        pools, bodies = self._app[CONNECTIONS], self._app[BODIES]
        both = (pools.network, pools.control)
        current = [(pool.name, len(pool)) for pool in both]
        yield _gauge("flexportd_connections", "Client connections.", current, "server")
        limits = [(pool.name, pool.limits.total) for pool in both]
        yield _gauge("flexportd_connections_max", "Maximum number of client connections.", limits, "server")
        refused = [(pool.name, reason, pool.refused[reason]) for pool in both for reason in REFUSAL_REASONS]
        text = "New connections refused since the start."
        yield _counter("flexportd_connections_refused", text, refused, "server", "reason")
        closed = [(pool.name, reason, pool.closed[reason]) for pool in both for reason in ABORT_REASONS]
        text = "Connections closed by the daemon since the start, by reason."
        yield _counter("flexportd_connections_closed", text, closed, "server", "reason")
        yield _gauge("flexportd_open_files_max", "Maximum number of open files.", pools.open_files)
        text = "Bytes of responses not read by clients yet."
        yield _gauge("flexportd_unsent_response_bytes", text, pools.network.unsent)
        yield _gauge("flexportd_request_body_bytes", "Bytes of request bodies in memory.", bodies.used)
        yield _gauge("flexportd_request_body_max_bytes", "Maximum bytes of request bodies in memory.", bodies.total)
        yield _counter("flexportd_request_bodies_rejected", "Request bodies refused since the start.", bodies.refused)
        text = "Slow request bodies cancelled since the start."
        yield _counter("flexportd_request_bodies_timed_out", text, bodies.evicted)

    def _streams(self) -> Iterator[Metric]:
        broadcaster, indexer = self._app[BROADCASTER], self._app[INDEXER]
        yield _gauge("flexportd_streams", "Open streams.", len(broadcaster))
        yield _counter("flexportd_stream_messages", "Stream messages sent since the start.", broadcaster.sent)
        text = "Slow stream clients disconnected since the start."
        yield _counter("flexportd_streams_dropped", text, broadcaster.dropped)
        yield _gauge("flexportd_search_index_lag_commits", "Commits not in the search index yet.", indexer.lag)
        yield _gauge("flexportd_search_index_complete", "1 if the search index is complete.", indexer.is_complete)

    def _upstream(self) -> Iterator[Metric]:
        upstream, drift = self._app[UPSTREAM], self._drift
        text = "Undocumented API fields and values seen, by kind."
        yield _counter("flexportd_schema_drift", text, [(kind, count) for kind, _, count in drift], "kind")
        text = "Distinct undocumented API fields and values, by kind."
        yield _gauge("flexportd_schema_drift_findings", text, [(kind, count) for kind, count, _ in drift], "kind")
        if upstream is None:
            return
        state = upstream.state()
        text, is_open = "1 while the circuit breaker to Flexport is open.", state["breaker"]["state"] != "closed"
        yield _gauge("flexportd_flexport_breaker_open", text, is_open)
        for name, text, key in (
            ("flexportd_flexport_requests", "Requests to Flexport since the start, by purpose.", "calls"),
            ("flexportd_flexport_request_errors", "Failed requests to Flexport since the start, by purpose.", "errors"),
        ):
            yield _counter(name, text, [(purpose, sums[key]) for purpose, sums in state["calls"].items()], "purpose")
        yield _gauge("flexportd_shipment_details_pending", "Shipments to be fetched one by one.", self._details_pending)


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
    metrics = generate_latest(_Snapshot(request.app, stats, sums))
    return PreparedStreamResponse(PreparedResponse(200, metrics, _TYPE))
