"""The composition root: builds the parts, starts them in order, stops them in reverse."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

import structlog

from flexportd import __version__, file_limit
from flexportd.cache import Cache, DiskCache
from flexportd.clock import Clock
from flexportd.core.events.applier import EventApplier, WriteSet
from flexportd.core.field_rebuild import VERSION as FIELDS_VERSION
from flexportd.core.field_rebuild import FieldRebuild
from flexportd.core.resources.registry import REGISTRY
from flexportd.core.trusted_time import TrustedTime
from flexportd.daemon import malloc, permissions
from flexportd.daemon.after_commit import CommitBus, ImportRecorder, cache_invalidation
from flexportd.daemon.consumers import ChangeConsumers
from flexportd.daemon.documents_service import DocumentsDeps, DocumentsService
from flexportd.daemon.flexport_service import FlexportDeps, FlexportService, open_flexport
from flexportd.daemon.http_security import HttpSecurity, open_security
from flexportd.daemon.server import listen
from flexportd.errors import ConfigError, UnavailableError
from flexportd.expose.context import AppContext, DisplaySettings
from flexportd.expose.routes import routes
from flexportd.flexport.webhook_signature import Verifier
from flexportd.http.connections import ConnectionLimits, ConnectionPools
from flexportd.http.request_bodies import BodyBudget
from flexportd.ingest.event_store import EVENT, store_webhook
from flexportd.ingest.refetch import REFRESH
from flexportd.ingest.webhook import WebhookReceiver, WebhookRules
from flexportd.ingest.webhook_refusals import WebhookRefusalLog
from flexportd.jobs.definitions import maintenance_jobs, retention_from
from flexportd.jobs.retention import RetentionPeriods
from flexportd.jobs.scheduler import Scheduler
from flexportd.queue.handlers import BatchHandler, ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.retry_policy import Policy
from flexportd.queue.workers import BatchWorker, ItemWorker, LeaseLimits
from flexportd.settings import Settings, changed_keys, environment_note
from flexportd.storage.database import Database
from flexportd.storage.migrate import migrations
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_CLEAN_SHUTDOWN = "cache_seal"
SOFT_STOP = 5.0  # seconds for requests under way to be answered
_USAGE_INTERVAL = 10.0  # seconds between entries in the budget book
_QUEUE_INTERVAL = 15.0  # seconds between looks for expired leases
_MEMORY_INTERVAL = 5.0  # seconds between moments in which memory may be given back
_IDLE_SECONDS = 0.5  # seconds without work for the writer that make such a moment


@dataclass
class Daemon:
    """A running daemon, as its owner sees it."""

    settings: Settings
    db: Database
    queue: Queue
    tasks: Tasks
    parts: AppContext
    receiver: WebhookReceiver
    documents: DocumentsService
    consumers: ChangeConsumers
    security: HttpSecurity
    upstream: FlexportService | None
    retention: RetentionPeriods
    scheduler: Scheduler
    addresses: list[str] = field(default_factory=list)

    def reload(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Take over what can change while running; (changed, needs a restart), as dotted keys."""
        now, later = changed_keys(self.settings, settings)
        self.receiver.rules = _webhook_rules(settings)
        self.queue.policy = _retry_policy(settings)
        self.retention.events, self.retention.history = (
            settings.storage.event_retention,
            settings.storage.history_retention,
        )
        if self.upstream is not None:
            self.upstream.reload(settings)
        # The path of the webhook is part of the routes, which need a restart.
        shown = replace(_display_settings(settings), webhook_path=self.parts.display.webhook_path)
        vars(self.parts.display).update(vars(shown))
        self.parts.cache.ttls = settings.cache.seconds()
        self.parts.cache.invalidate_all()
        self.documents.reload(settings)
        self.consumers.reload(settings)
        self.security.reload(settings)
        self.parts.connections.network.set_trusted(settings.server.trusted_proxies)
        self.settings = settings
        return now, later


def _webhook_rules(settings: Settings) -> WebhookRules:
    webhook = settings.webhook
    secrets = [secret.get_secret_value() for secret in webhook.secrets]
    return WebhookRules(
        verifier=Verifier(secrets, allow_sha1=webhook.allow_sha1),
        has_secrets=bool(secrets),
        max_body=webhook.max_body,
        max_pending=webhook.max_pending,
        allowed_networks=tuple(webhook.allowed_networks),
        trusted_proxies=tuple(settings.server.trusted_proxies),
    )


def _connections(settings: Settings) -> ConnectionPools:
    server = settings.server
    limits = ConnectionLimits(server.max_connections, server.max_connections_per_address, server.trusted_proxies)
    return ConnectionPools.create(limits, file_limit.current()[0])


def _retry_policy(settings: Settings) -> Policy:
    queue = settings.queue
    return Policy(queue.max_attempts, queue.base_delay.total_seconds(), queue.max_delay.total_seconds())


def _display_settings(settings: Settings) -> DisplaySettings:
    return DisplaySettings(
        page_size=settings.api.page_size,
        max_page_size=settings.api.max_page_size,
        title=settings.dashboard.title,
        timezone=settings.dashboard.timezone,
        webhook_path=settings.webhook.path,
        has_secrets=bool(settings.webhook.secrets),
        max_pending=settings.webhook.max_pending,
        public_url=str(settings.server.public_url).rstrip("/") if settings.server.public_url else None,
    )


def _start_warnings(settings: Settings) -> list[str]:
    has_key = settings.flexport.api_key is not None or settings.flexport.client_id is not None
    note = environment_note(settings.flexport.proxy, os.environ) if has_key else None
    return [] if note is None else [note]


@asynccontextmanager
async def _cache(settings: Settings, db: Database, clock: Clock) -> AsyncIterator[Cache]:
    """Finished answers in memory and on disk; those on disk are believed only after a clean end."""

    def take(tx: Transaction) -> str | None:
        seal = tx.meta.get(_CLEAN_SHUTDOWN)
        tx.meta.put(_CLEAN_SHUTDOWN, "")  # before anything is written: a crash leaves none
        return seal or None

    steps = await asyncio.to_thread(migrations)
    schema = f"{len(steps)}.{FIELDS_VERSION}"  # answers of another are of another shape
    edition = f"{__version__} {schema} {settings.keys_required} {_display_settings(settings)}"
    disk = DiskCache(settings.storage.cache_dir / "answers", settings.cache.size_limit, edition, clock.machine)
    cache = Cache(disk, ttls=settings.cache.seconds())
    await cache.open(await db.write(take))
    try:
        yield cache
    finally:
        seal = await cache.close()
        if seal is not None:
            await db.write(lambda tx: tx.meta.put(_CLEAN_SHUTDOWN, seal))


@asynccontextmanager
async def open_daemon(settings: Settings, clock: Clock) -> AsyncIterator[Daemon]:
    """A daemon from its first open file to its last closed one. Raises FlexportdError when it cannot start."""
    storage = settings.storage
    loose = await asyncio.to_thread(
        lambda: list(permissions.problems(storage.data_dir, storage.cache_dir, storage.control_socket))
    )
    if loose:
        raise ConfigError(loose)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.storage.data_dir))
        cache = await stack.enter_async_context(_cache(settings, db, clock))  # closed after the last commit
        front = await stack.enter_async_context(open_security(settings, db, clock))
        refusals = await stack.enter_async_context(WebhookRefusalLog.open(db, clock))
        tasks, registry = Tasks(), REGISTRY
        queue = Queue(db, clock, _retry_policy(settings))
        bus, scheduler = CommitBus(), Scheduler(db, clock, tasks)
        recorder = ImportRecorder(bus)
        upstream = await stack.enter_async_context(
            open_flexport(settings, FlexportDeps(db, registry, clock, recorder, queue, scheduler))
        )
        stack.push_async_callback(tasks.stop)  # while the client is still open: what asks Flexport must have ended
        kept = retention_from(settings)
        trusted = TrustedTime(db, clock, _flexport_clock(settings, upstream))
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and the next look does it
            await trusted.check()
        scheduler.add(*maintenance_jobs(db, clock, kept, settings.storage.control_socket, trusted))
        applier = EventApplier(registry, clock, upstream.follow_up if upstream else None)
        queue.add(
            BatchHandler(
                name=EVENT,
                apply=applier,
                on_dead=applier.on_dead,
                on_commit=lambda written: bus.after_commit(written or WriteSet()),
            )
        )
        if upstream is not None:
            _register_flexport(upstream, queue, scheduler, settings)
        following = ChangeConsumers(db, registry, clock, queue, settings, bus, reads_lists=upstream is not None)
        papers = DocumentsService(
            settings, DocumentsDeps(db, queue, cache, clock, tasks), upstream.client if upstream else None
        )
        bus.subscribe(cache_invalidation(cache), papers.after_commit, following.after_commit)
        if upstream is not None:
            bus.subscribe(upstream.after_commit)
        await queue.load()
        bodies = BodyBudget(settings.webhook.max_body)
        receiver = WebhookReceiver(
            db.writer.batched(store_webhook), queue, clock, _webhook_rules(settings), bodies, refusals=refusals
        )
        connections = _connections(settings)
        parts = AppContext(
            db=db,
            queue=queue,
            cache=cache,
            registry=registry,
            clock=clock,
            webhook=receiver.receive,
            begin_webhook=receiver.begin,
            webhook_results=lambda: dict(receiver.results),
            task_failures=lambda: {name: str(error) or type(error).__name__ for name, error in tasks.dead.items()},
            started_at=clock.stamp(),
            jobs=scheduler,
            files=papers.files,
            authenticator=front.gate,
            freshness=following.freshness,
            broadcaster=following.hub,
            indexer=following.indexer,
            exception_worker=following.examiner,
            connections=connections,
            bodies=bodies,
            upstream=upstream,
            display=_display_settings(settings),
            routes=routes(registry, settings.webhook.path),
            access_log=front.access_log,
            is_misdirected_webhook=receiver.is_misdirected,
            webhook_refusals=refusals.all,
            spool_dir=settings.storage.cache_dir,
            trusted_time=trusted,
            start_warnings=_start_warnings(settings),
        )
        tasks.start("clock_check", lambda: trusted.run(lambda: _on_clock_set_back(queue, cache, following)))
        _start_loops(tasks, queue, upstream, settings)
        front.start(tasks)
        tasks.start("webhook_rejections", refusals.run)
        tasks.start("check_connections", connections.run)
        following.start(tasks, FieldRebuild(db, registry, clock, recorder))
        await papers.start()
        daemon = Daemon(
            settings, db, queue, tasks, parts, receiver, papers, following, front, upstream, kept, scheduler
        )
        stack.push_async_callback(scheduler.stop)
        await scheduler.start()
        daemon.addresses += await listen(stack, settings, parts, front.policies)
        yield daemon
        # Soft stop: nothing begins any more; the web servers, entered last, leave first and answer what they have.
        scheduler.wind_down()
        tasks.wind_down()
        for gate in queue.gates.values():
            gate.close()
        await scheduler.stop()  # a job may be asking this very daemon


def _start_loops(tasks: Tasks, queue: Queue, upstream: FlexportService | None, settings: Settings) -> None:
    """The loops in the background."""
    for kind in queue.handlers.values():
        if isinstance(kind, BatchHandler):
            tasks.start("apply_events", BatchWorker(queue, kind).run)
    tasks.start("database_maintenance", lambda: queue.db.maintain(queue.clock))
    tasks.start("queue_maintenance", lambda: _queue_maintenance(queue))
    tasks.start("memory_maintenance", lambda: _memory_maintenance(queue))
    if upstream is not None:
        limits = LeaseLimits(settings.queue.workers, settings.queue.lease.total_seconds())
        fetching = ItemWorker(queue, cast(ItemHandler, queue.handlers[REFRESH]), tasks, limits)
        tasks.start("refresh", fetching.run)
        tasks.start("api_usage", lambda: _usage_loop(upstream, queue.clock))


def _flexport_clock(settings: Settings, upstream: FlexportService | None) -> Callable[[], datetime | None]:
    """The present by Flexport's answers. A sandbox simulates its time, which says nothing about our clock."""
    if upstream is None or settings.flexport.environment == "sandbox":
        return lambda: None
    return upstream.client.server_clock.now


def _register_flexport(upstream: FlexportService, queue: Queue, scheduler: Scheduler, settings: Settings) -> None:
    """What needs Flexport: the fetch after an event, and the jobs."""
    queue.add(ItemHandler(name=REFRESH, handle=upstream.refetcher.handle))
    scheduler.add(*upstream.jobs(settings))


async def _usage_loop(upstream: FlexportService, clock: Clock) -> None:
    while True:
        await clock.sleep(_USAGE_INTERVAL)
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and the next look adds it
            await upstream.save_usage()


async def _on_clock_set_back(queue: Queue, cache: Cache, following: ChangeConsumers) -> None:
    """The clock was set back: what waits for a time by the old one goes on now."""
    await queue.release_misdated(timedelta())
    cache.invalidate_all()
    following.examiner.reevaluate()
    following.wake()


async def _queue_maintenance(queue: Queue) -> None:
    while True:
        await queue.clock.sleep(_QUEUE_INTERVAL)
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and it is tried again
            await queue.reclaim_expired_leases()
            await queue.release_misdated()
            await queue.recount()


async def _memory_maintenance(queue: Queue) -> None:
    """What a burst or a large list has taken goes back when it is over."""
    while True:
        await queue.clock.sleep(_MEMORY_INTERVAL)
        if queue.db.writer.idle(_IDLE_SECONDS):
            await asyncio.to_thread(malloc.trim)  # other threads that allocate meanwhile wait for it
