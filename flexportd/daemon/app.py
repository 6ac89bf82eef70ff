"""The composition root: builds the parts, starts them in order, stops them in reverse."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from aiohttp import web

from flexportd import file_limit
from flexportd.cache import Cache, DiskCache
from flexportd.clock import Clock
from flexportd.core.events.applier import EventApplier, WriteSet
from flexportd.core.field_rebuild import FieldRebuild
from flexportd.core.reads import Reads
from flexportd.core.resources.registry import REGISTRY
from flexportd.core.trusted_time import TrustedTime
from flexportd.daemon import malloc, permissions
from flexportd.daemon.after_commit import CommitBus, ImportRecorder, cache_invalidation
from flexportd.daemon.consumers import ChangeConsumers, RequestLoad
from flexportd.daemon.documents_service import DocumentsService
from flexportd.daemon.flexport_service import FlexportService, open_flexport
from flexportd.daemon.http_security import HttpSecurity
from flexportd.daemon.notify_service import NotifyService
from flexportd.daemon.outbox_service import OutboxService
from flexportd.daemon.server import listen
from flexportd.errors import ConfigError, UnavailableError
from flexportd.expose import context
from flexportd.expose.api.operations import MAX_UPLOAD
from flexportd.expose.app import routes
from flexportd.expose.context import DisplaySettings, ServerInfo
from flexportd.expose.middleware import FRESHNESS
from flexportd.expose.openapi.route import SERVED_ROUTES
from flexportd.expose.security.authentication import AUTHENTICATOR
from flexportd.expose.streamed_response import SPOOL_FILES, SpoolFiles
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.http.connections import ConnectionLimits, ConnectionPools
from flexportd.http.request_bodies import BodyBudget
from flexportd.ingest.event_store import EVENT, store_webhook
from flexportd.ingest.path_check import PathCheck
from flexportd.ingest.webhook import WebhookReceiver, WebhookRefusalLog, WebhookRules
from flexportd.jobs.cache_warm import CacheWarmer
from flexportd.jobs.condition_monitor import ConditionMonitor, MonitorRules
from flexportd.jobs.definitions import define_jobs
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.jobs.scheduler import Scheduler
from flexportd.queue.handlers import BatchHandler, Policy
from flexportd.queue.queue import Queue
from flexportd.queue.workers import BatchWorker
from flexportd.settings import Settings, changed_keys, environment_note
from flexportd.storage.database import Database
from flexportd.tasks import Tasks


class Daemon:
    """A running daemon: its parts, each built from the settings and the parts before it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.tasks = Tasks()
        self.addresses: list[str] = []
        self.display = DisplaySettings.from_settings(settings)
        self.server = ServerInfo(clock.stamp(), self.tasks.failures, _start_warnings(settings))
        self.spool_files = SpoolFiles(settings.storage.cache_dir)

    async def open(self, stack: AsyncExitStack) -> None:
        """Build the parts; the stack closes those that have files or connections. Raises FlexportdError."""
        settings, clock, tasks, enter = self.settings, self.clock, self.tasks, stack.enter_async_context
        bus = CommitBus()
        recorder = ImportRecorder(bus)
        self.db = db = await enter(Database.open(settings.storage.data_dir))
        self.cache = await enter(_cache(settings, clock))  # closed after the last commit
        self.security = await enter(HttpSecurity.open(settings, db, clock))
        self.refusals = await enter(WebhookRefusalLog.open(db, clock))
        self.queue = queue = Queue(db, clock, Policy.from_settings(settings))
        self.scheduler = scheduler = Scheduler(db, clock, tasks)
        self.path_check = PathCheck(clock, settings)
        self.conditions = ConditionMonitor(
            db, clock, MonitorRules.from_settings(settings), path_check=self.path_check.condition,
            after_write=lambda: bus.after_commit(WriteSet()), on_stale_lists=self._read_lists,
        )  # fmt: skip
        self.flexport = flexport = await enter(
            open_flexport(
                settings, queue, registry=REGISTRY, observer=recorder, scheduler=scheduler,
                after_sync=self.conditions.wake,
            )
        )  # fmt: skip
        stack.push_async_callback(tasks.stop)  # before the client closes: no task may still be sending a request
        server = settings.server
        limits = ConnectionLimits(server.max_connections, server.max_connections_per_address, server.trusted_proxies)
        self.connections = connections = ConnectionPools.create(limits, file_limit.current()[0])
        self.trusted_time = TrustedTime(db, clock, _flexport_clock(settings, flexport))
        client = flexport.client if flexport else None
        self.documents = DocumentsService(settings, queue, self.cache, tasks, client)
        self.consumers = ChangeConsumers(
            settings, queue, REGISTRY, bus,
            load=RequestLoad(lambda: connections.network.requests), reads_lists=flexport is not None,
        )  # fmt: skip
        self.notify = NotifyService(
            settings, queue, tasks, REGISTRY, self.consumers.wait_for_idle_queue,
            reads_lists=flexport is not None, after_write=lambda: bus.after_commit(WriteSet()),
        )  # fmt: skip
        self.consumers.add(self.notify.notifier)
        self.outbox = OutboxService(
            settings, queue, tasks, REGISTRY, flexport=flexport, after_write=lambda: bus.after_commit(WriteSet())
        )
        stack.push_async_callback(self.notify.close)
        bus.subscribe(cache_invalidation(self.cache), self.documents.after_commit, self.consumers.after_commit)
        if flexport is not None:
            bus.subscribe(flexport.after_commit)
        applier = EventApplier(REGISTRY, clock, flexport.follow_up if flexport else None)
        self.events = BatchHandler(
            name=EVENT, apply=applier, on_dead=applier.on_dead,
            on_commit=lambda written: bus.after_commit(written or WriteSet()),
        )  # fmt: skip
        queue.add(self.events)
        self.retention = RetentionJob(db, clock, RetentionPeriods.from_settings(settings), self.trusted_time)
        warmer = CacheWarmer(db, settings.storage.control_socket)
        self.jobs = {"cache_warm": warmer.run, "retention": self.retention.run} | (flexport.jobs() if flexport else {})
        scheduler.add(*define_jobs(settings, self.jobs))
        self.bodies = BodyBudget(settings.webhook.max_body)
        self._allow_uploads(settings)
        self.receiver = WebhookReceiver(
            db.writer.batched(store_webhook), queue, clock, WebhookRules.from_settings(settings), self.bodies,
            refusals=self.refusals, path_check=self.path_check,
        )  # fmt: skip
        self.rebuild = FieldRebuild(db, REGISTRY, clock, recorder)
        with contextlib.suppress(UnavailableError):  # the writer logs it, and the next check does it
            await self.trusted_time.check()
        if await self.notify.open():
            await self.outbox.after_restore()
        await queue.load()
        stack.push_async_callback(scheduler.stop)

    def add_parts(self, app: web.Application) -> None:
        """Set the parts that the handlers of a web server use."""
        app[context.DB] = self.db
        app[context.READS] = Reads(REGISTRY)
        app[context.REGISTRY] = REGISTRY
        app[context.QUEUE] = self.queue
        app[context.CACHE] = self.cache
        app[context.CLOCK] = self.clock
        app[context.DISPLAY] = self.display
        app[context.SERVER_INFO] = self.server
        app[context.WEBHOOKS] = self.receiver
        app[context.WEBHOOK_REFUSALS] = self.refusals.all
        app[context.PATH_CHECK] = self.path_check
        app[context.CONDITIONS] = self.conditions
        app[context.JOBS] = self.scheduler
        app[context.NOTIFICATIONS] = self.notify
        app[context.NOTIFICATION_TOOLS] = self.notify.tools
        app[context.OPERATIONS] = self.outbox
        app[context.FILES] = self.documents.files
        app[context.UPSTREAM] = self.flexport
        app[context.EXCEPTION_WORKER] = self.consumers.examiner
        app[context.INDEXER] = self.consumers.indexer
        app[context.TRUSTED_TIME] = self.trusted_time
        app[FRESHNESS] = self.consumers.freshness
        app[context.CONNECTIONS] = self.connections
        app[context.BODIES] = self.bodies
        app[context.ACCESS_LOG] = self.security.access_log
        app[AUTHENTICATOR] = self.security.authenticator
        app[BROADCASTER] = self.consumers.hub
        app[SERVED_ROUTES] = routes(REGISTRY, self.settings.webhook.path)
        app[SPOOL_FILES] = self.spool_files

    async def start(self) -> None:
        """Start the loops in the background and the jobs."""
        tasks, queue = self.tasks, self.queue
        tasks.start("clock_check", lambda: self.trusted_time.run(self._on_clock_set_back))
        tasks.start("apply_events", BatchWorker(queue, self.events).run)
        tasks.start("database_maintenance", lambda: self.db.maintain(self.clock))
        tasks.start("queue_maintenance", queue.run_maintenance)
        tasks.start("memory_maintenance", lambda: malloc.trim_when_idle(self.db.writer, self.clock))
        tasks.start("webhook_rejections", self.refusals.run)
        tasks.start("check_connections", self.connections.run)
        tasks.start("conditions", self.conditions.run, vital=False)
        if self.flexport is not None:
            self.flexport.start(tasks, self.settings)
        self.security.start(tasks)
        self.consumers.start(tasks, self.rebuild)
        self.notify.start()
        self.outbox.start()
        await self.documents.start()
        await self.scheduler.start()

    def reload(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Apply what can change while running: the changed keys, and those that need a restart."""
        changed, needs_restart = changed_keys(self.settings, settings)
        for part in (
            self.receiver, self.queue, self.retention, self.flexport, self.display, self.documents,
            self.consumers, self.security, self.path_check, self.conditions, self.notify, self.outbox,
        ):  # fmt: skip
            if part is not None:
                part.reload(settings)
        self.scheduler.reschedule_all(define_jobs(settings, self.jobs))
        self.cache.reload(settings.cache.seconds())
        self.connections.network.set_trusted(settings.server.trusted_proxies)
        self._allow_uploads(settings)
        self.settings = settings
        return changed, needs_restart

    def _allow_uploads(self, settings: Settings) -> None:
        """Make room for the bodies of documents; without writes, none is accepted."""
        if settings.writes.enabled:
            self.bodies.allow(MAX_UPLOAD)

    async def wind_down(self) -> None:
        """Start nothing new, and let the jobs end. The queue finishes the items that it has begun."""
        self.scheduler.wind_down()
        self.tasks.wind_down()
        for gate in self.queue.gates.values():
            gate.close()
        await self.scheduler.stop()  # a job may be sending requests to this very daemon

    def start_path_check(self) -> None:
        """Start the check of the path to the web server, which listens now."""
        self.tasks.start("path_check", lambda: self.path_check.run(self.conditions.wake), vital=False)

    def _read_lists(self) -> None:
        if self.flexport is not None:
            self.scheduler.start_if_idle("full_sync")

    async def _on_clock_set_back(self) -> None:
        """Release what waits for a time that was computed by the wrong clock."""
        await self.queue.release_misdated(timedelta())
        self.cache.invalidate_all()
        await self.conditions.clock_was_set_back()
        self.consumers.examiner.reevaluate()
        self.consumers.wake()


@asynccontextmanager
async def open_daemon(settings: Settings, clock: Clock) -> AsyncIterator[Daemon]:
    """A daemon from its first open file to its last closed one. Raises FlexportdError when it cannot start."""
    await asyncio.to_thread(_check_permissions, settings)
    daemon = Daemon(settings, clock)
    async with AsyncExitStack() as stack:
        await daemon.open(stack)
        await daemon.start()
        daemon.addresses += await listen(stack, settings, daemon.add_parts, daemon.security)
        daemon.start_path_check()
        yield daemon
        await daemon.wind_down()
        # Now the stack closes: first the web servers, which finish the requests that they have.


def _check_permissions(settings: Settings) -> None:
    storage = settings.storage
    problems = list(permissions.problems(storage.data_dir, storage.cache_dir, storage.control_socket))
    if problems:
        raise ConfigError(problems)


def _start_warnings(settings: Settings) -> list[str]:
    note = environment_note(settings.flexport.proxy, os.environ) if settings.flexport.has_key else None
    return [] if note is None else [note]


def _flexport_clock(settings: Settings, flexport: FlexportService | None) -> Callable[[], datetime | None]:
    """The current time at Flexport, from its responses. The time of a sandbox is simulated and not used."""
    if flexport is None or settings.flexport.environment == "sandbox":
        return lambda: None
    return flexport.client.server_clock.now


@asynccontextmanager
async def _cache(settings: Settings, clock: Clock) -> AsyncIterator[Cache]:
    disk = DiskCache(settings.storage.cache_dir / "answers", settings.cache.size_limit, clock.machine)
    await disk.open()
    try:
        yield Cache(disk, ttls=settings.cache.seconds())
    finally:
        await disk.close()
