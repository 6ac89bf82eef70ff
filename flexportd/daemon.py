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

from flexportd import __version__, allocator, file_limit, permissions
from flexportd.cache import Cache, DiskCache
from flexportd.clock import Clock
from flexportd.core.apply import EventApplier, FollowUp
from flexportd.core.field_rebuild import VERSION as FIELDS_VERSION
from flexportd.core.field_rebuild import FieldRebuild
from flexportd.core.registry import REGISTRY, Registry
from flexportd.core.trusted_time import TrustedTime
from flexportd.errors import ConfigError, UnavailableError
from flexportd.expose.connections import ConnectionLimits, ConnectionPools
from flexportd.expose.parts import Parts, Shown
from flexportd.expose.routes import routes
from flexportd.flexport.signature import Verifier
from flexportd.following import Following, RequestLoad
from flexportd.ingest.acceptance import EVENT, keep
from flexportd.ingest.refresh import REFRESH
from flexportd.ingest.webhook import WebhookReceiver, WebhookRules
from flexportd.ingest.webhook_refusals import WebhookRefusalLog
from flexportd.jobs.retention import Keep
from flexportd.jobs.scheduler import Scheduler
from flexportd.listening import listen
from flexportd.paperwork import Desk, Paperwork
from flexportd.queue.backoff import Policy
from flexportd.queue.kinds import Applying, Leasing
from flexportd.queue.loops import ApplyingLoop, LeaseLimits, LeasingLoop
from flexportd.queue.queue import Queue
from flexportd.reception import Reception, reception
from flexportd.request_bodies import BodyBudget
from flexportd.settings import Settings, changed, environment_note
from flexportd.storage.database import Database
from flexportd.storage.migrate import migrations
from flexportd.storage.session import Session
from flexportd.tasks import Tasks
from flexportd.upkeep import keep_of, upkeep_jobs
from flexportd.upstream import Ground, Way, after_events, way
from flexportd.watching import Watching

log = structlog.get_logger(__name__)

_SEAL = "cache_seal"
SOFT_STOP = 5.0  # seconds for requests under way to be answered
_BOOK = 10.0  # seconds between entries in the budget book
_TEND_QUEUE = 15.0  # seconds between looks for expired leases
_TEND_MEMORY = 5.0  # seconds between moments in which memory may be given back
_QUIET = 0.5  # seconds without work for the writer that make such a moment


@dataclass
class Daemon:
    """A running daemon, as its owner sees it."""

    settings: Settings
    db: Database
    queue: Queue
    tasks: Tasks
    parts: Parts
    receiver: WebhookReceiver
    papers: Paperwork
    following: Following
    front: Reception
    upstream: Way | None
    applier: EventApplier
    kept_for: Keep
    scheduler: Scheduler
    addresses: list[str] = field(default_factory=list)

    def reload(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Take over what can change while running; (changed, needs a restart), as dotted keys."""
        now, later = changed(self.settings, settings)
        self.receiver.rules = _rules(settings)
        self.queue.policy = _policy(settings)
        self.kept_for.events, self.kept_for.history = (
            settings.storage.event_retention,
            settings.storage.history_retention,
        )
        if self.upstream is not None:
            self.upstream.reload(settings)
            self.applier.follow_up = _follow_up(settings, self.upstream, self.parts.registry)
        # The path of the webhook is part of the routes, which need a restart.
        shown = replace(_shown(settings), webhook_path=self.parts.shown.webhook_path)
        vars(self.parts.shown).update(vars(shown))
        self.parts.cache.ttls = settings.cache.seconds()
        self.parts.cache.drop_all()
        self.papers.reload(settings)
        self.following.reload(settings)
        self.front.reload(settings)
        self.parts.connections.network.trust(settings.server.trusted_proxies)
        self.settings = settings
        return now, later


def _rules(settings: Settings) -> WebhookRules:
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


def _policy(settings: Settings) -> Policy:
    queue = settings.queue
    return Policy(queue.max_attempts, queue.base_delay.total_seconds(), queue.max_delay.total_seconds())


def _shown(settings: Settings) -> Shown:
    return Shown(
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

    def take(tx: Session) -> str | None:
        seal = tx.meta.get(_SEAL)
        tx.meta.put(_SEAL, "")  # before anything is written: a crash leaves none
        return seal or None

    steps = await asyncio.to_thread(migrations)
    schema = f"{len(steps)}.{FIELDS_VERSION}"  # answers of another are of another shape
    edition = f"{__version__} {schema} {settings.keys_required} {_shown(settings)}"
    disk = DiskCache(settings.storage.cache_dir / "answers", settings.cache.size_limit, edition, clock.machine)
    cache = Cache(disk, ttls=settings.cache.seconds())
    await cache.open(await db.write(take))
    try:
        yield cache
    finally:
        seal = await cache.close()
        if seal is not None:
            await db.write(lambda tx: tx.meta.put(_SEAL, seal))


@asynccontextmanager
async def running(settings: Settings, clock: Clock) -> AsyncIterator[Daemon]:
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
        front = await stack.enter_async_context(reception(settings, db, clock))
        refusals = await stack.enter_async_context(WebhookRefusalLog.open(db, clock))
        tasks, registry = Tasks(), REGISTRY
        queue = Queue(db, clock, _policy(settings))
        applier, watcher = EventApplier(registry, clock), Watching(cache)
        upstream = await stack.enter_async_context(way(settings, Ground(db, registry, clock, watcher, queue)))
        stack.push_async_callback(tasks.stop)  # while the client is still open: what asks Flexport must have ended
        scheduler, kept = Scheduler(db, clock, tasks), keep_of(settings)
        trusted = TrustedTime(db, clock, _flexports_clock(settings, upstream))
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and the next look does it
            await trusted.look()
        scheduler.add(*upkeep_jobs(db, clock, kept, settings.storage.control_socket, trusted))
        applied = lambda: _applied(queue, watcher, applier)  # noqa: E731
        queue.add(Applying(name=EVENT, apply=applier, buried=applier.buried, committed=applied))
        if upstream is not None:
            _reach_out(upstream, queue, scheduler, settings)
        connections = _connections(settings)
        following = Following(db, registry, clock, queue, settings, load=RequestLoad(connections.requests_so_far))
        papers = Paperwork(settings, Desk(db, queue, cache, clock, tasks), upstream.client if upstream else None)
        watcher.documents = papers.archivist.noticed
        applier.follow_up = _follow_up(settings, upstream, registry)
        await queue.load()
        bodies = BodyBudget(settings.webhook.max_body)
        receiver = WebhookReceiver(db.writer.batched(keep), queue, clock, _rules(settings), bodies, refusals=refusals)
        parts = Parts(
            db=db,
            queue=queue,
            cache=cache,
            registry=registry,
            clock=clock,
            webhook=receiver.receive,
            begin_webhook=receiver.begin,
            webhook_results=lambda: dict(receiver.results),
            task_deaths=lambda: {name: str(error) or type(error).__name__ for name, error in tasks.dead.items()},
            started_at=clock.stamp(),
            jobs=scheduler,
            filing=papers.filing,
            gate=front.gate,
            freshness=following.freshness,
            hub=following.hub,
            indexer=following.indexer,
            examiner=following.examiner,
            connections=connections,
            bodies=bodies,
            upstream=upstream,
            shown=_shown(settings),
            routes=routes(registry, settings.webhook.path),
            access=front.access,
            is_misdirected=receiver.is_misdirected,
            webhook_refusals=refusals.all,
            spool_dir=settings.storage.cache_dir,
            time=trusted,
            start_warnings=_start_warnings(settings),
        )
        tasks.start("watch_clock", lambda: trusted.run(lambda: _set_right(queue, cache, following)))
        _start(tasks, queue, upstream, settings)
        front.start(tasks)
        tasks.start("count_refusals", refusals.run)
        tasks.start("check_connections", connections.run)
        following.examiner.reads_lists, following.examiner.committed = upstream is not None, watcher.judged
        following.start(tasks, watcher.on_commit, FieldRebuild(db, registry, clock, watcher))
        await papers.start()
        daemon = Daemon(
            settings, db, queue, tasks, parts, receiver, papers, following, front, upstream, applier, kept, scheduler
        )
        stack.push_async_callback(scheduler.stop)
        await scheduler.start()
        daemon.addresses += await listen(stack, settings, parts, front.doors)
        yield daemon
        # Soft stop: nothing begins any more; the web servers, entered last, leave first and answer what they have.
        scheduler.wind_down()
        tasks.wind_down()
        for gate in queue.gates.values():
            gate.close()
        await scheduler.stop()  # a job may be asking this very daemon


def _start(tasks: Tasks, queue: Queue, upstream: Way | None, settings: Settings) -> None:
    """The loops in the background."""
    for kind in queue.kinds.values():
        if isinstance(kind, Applying):
            tasks.start("apply_events", ApplyingLoop(queue, kind).run)
    tasks.start("tend_database", lambda: queue.db.tend(queue.clock))
    tasks.start("tend_queue", lambda: _tend(queue))
    tasks.start("tend_memory", lambda: _give_back(queue))
    if upstream is not None:
        limits = LeaseLimits(settings.queue.workers, settings.queue.lease.total_seconds())
        fetching = LeasingLoop(queue, cast(Leasing, queue.kinds[REFRESH]), tasks, limits)
        tasks.start("refresh", fetching.run)
        tasks.start("book_calls", lambda: _book(upstream, queue.clock))


def _flexports_clock(settings: Settings, upstream: Way | None) -> Callable[[], datetime | None]:
    """The present by Flexport's answers. A sandbox simulates its time, which says nothing about our clock."""
    if upstream is None or settings.flexport.environment == "sandbox":
        return lambda: None
    return upstream.client.server_clock.now


def _follow_up(settings: Settings, upstream: Way | None, registry: Registry) -> FollowUp | None:
    wanted = settings.sync.refresh_after_event and upstream is not None
    return after_events(registry) if wanted else None


def _applied(queue: Queue, watcher: Watching, applier: EventApplier) -> None:
    """A batch of events is in the store."""
    watcher.committed(applier.touched, applier.shipments)
    if applier.follow_up is not None:
        queue.gates[REFRESH].wake()


def _reach_out(upstream: Way, queue: Queue, scheduler: Scheduler, settings: Settings) -> None:
    """What needs Flexport: the fetch after an event, and the jobs."""
    upstream.scheduler = scheduler
    queue.add(Leasing(name=REFRESH, handle=upstream.refresher.handle))
    scheduler.add(*upstream.jobs(settings))


async def _book(upstream: Way, clock: Clock) -> None:
    while True:
        await clock.sleep(_BOOK)
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and the next look adds it
            await upstream.book()


async def _set_right(queue: Queue, cache: Cache, following: Following) -> None:
    """The clock was set back: what waits for a time by the old one goes on now."""
    await queue.set_right(timedelta())
    cache.drop_all()
    following.examiner.judge_again()
    following.wake()


async def _tend(queue: Queue) -> None:
    while True:
        await queue.clock.sleep(_TEND_QUEUE)
        with contextlib.suppress(UnavailableError):  # the writer says so itself, and it is tried again
            await queue.take_back_expired()
            await queue.set_right()
            await queue.recount()


async def _give_back(queue: Queue) -> None:
    """What a burst or a large list has taken goes back when it is over."""
    while True:
        await queue.clock.sleep(_TEND_MEMORY)
        if queue.db.writer.idle(_QUIET):
            await asyncio.to_thread(allocator.give_back)  # other threads that allocate meanwhile wait for it
