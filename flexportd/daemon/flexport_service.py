"""Everything that sends requests to Flexport, as one part of the daemon: client, syncs, poller, refetches, carbon."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from flexportd import __version__
from flexportd.core.events.applier import EventSubject, WriteSet
from flexportd.core.importer.importer import Importer, ImportObserver
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.sync_forecast import SyncPace, forecast
from flexportd.errors import ConflictError, FlexportdError, UnavailableError
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.lists import LISTS
from flexportd.flexport.oauth.auth import ApiKeyAuth, Auth
from flexportd.flexport.oauth.client_credentials import ClientCredentials, Credentials
from flexportd.flexport.transport import Proxy
from flexportd.http.redaction import Secrets
from flexportd.ingest.carbon import CarbonCalculator
from flexportd.ingest.event_poller import EventPoller, Window
from flexportd.ingest.refetch import REFRESH, Refetcher, RefetchRequest, refetch_item, shipment_refetch
from flexportd.jobs.job import JobFunction, JobRun
from flexportd.jobs.scheduler import Scheduler
from flexportd.jobs.sync.full import CONCURRENT_LISTS, FullSync
from flexportd.jobs.sync.incremental import IncrementalSync
from flexportd.jobs.sync.run import SyncDeps, SyncOptions, confirm_removals
from flexportd.jobs.sync.shipment_details import NAME as DETAILS
from flexportd.jobs.sync.shipment_details import ShipmentDetailsJob
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings
from flexportd.storage.repositories.counters import UsageKey, UsageTotals
from flexportd.storage.repositories.items import EVENTS, SYNC, NewItem
from flexportd.storage.repositories.sync import ListState
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks

_USAGE_INTERVAL = 10.0  # seconds between writes of the counts of requests


class FlexportService:
    """Everything that sends requests to Flexport. Must be created before the queue is loaded."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        queue: Queue,
        *,
        registry: Registry,
        observer: ImportObserver,
        scheduler: Scheduler,
        after_sync: Callable[[], None],
    ) -> None:
        db, clock = queue.db, queue.clock
        self.client = client
        self.intake = Importer(db, clock, observer)
        self._db = db
        self._clock = clock
        self._registry = registry
        self._queue = queue
        self._scheduler = scheduler
        self.options = SyncOptions(settings.sync.resources, settings.sync.overlap)
        self._sync_deps = SyncDeps(db, client, registry, self.intake, clock, self.options, after_sync)
        self.full = FullSync(self._sync_deps)
        self.incremental = IncrementalSync(self._sync_deps, _queue_leg_refetch)
        self.details = ShipmentDetailsJob(self._sync_deps)
        self.refetcher = Refetcher(client, self.intake, registry, clock, lambda: client.server_clock.at(clock.now()))
        self._handler = ItemHandler(name=REFRESH, handle=self.refetcher.handle)
        queue.add(self._handler)
        self.poller = EventPoller(client, queue, settings.sync.overlap, settings.storage.event_retention)
        # For the handlers of requests.
        self.state = client.state
        self.refresh = self.refetcher.refresh
        self.calculate_carbon = CarbonCalculator(client, db, registry, clock).calculate
        self._every = settings.sync.full_interval
        self._detailed = {domain.name for domain in registry if LISTS[domain.object_name].has_detail}
        self._refetches = settings.sync.refresh_after_event

    def jobs(self) -> dict[str, JobFunction]:
        """What each job that needs Flexport runs, by name."""
        return {
            "full_sync": self._full_sync,
            "incremental_sync": self._incremental_sync,
            DETAILS: self.details.run,
            "events_poll": lambda _: self._poll("narrow"),
            "events_wide": lambda _: self._poll("wide"),
            "events_deep": lambda _: self._poll("deep"),
        }

    def start(self, tasks: Tasks, settings: Settings) -> None:
        """Start the loops in the background."""
        worker = ItemWorker(self._queue, self._handler, tasks, LeaseLimits.from_settings(settings))
        tasks.start("refresh", worker.run)
        tasks.start("api_usage", self._run_usage)

    async def _full_sync(self, job: JobRun) -> str:
        """Run the full sync, then warm the cache with what it changed."""
        try:
            return await self.full.run(job)
        finally:
            if not job.stopping.is_set():
                self._scheduler.start_if_idle(DETAILS)
                with contextlib.suppress(FlexportdError):  # it is running, or the daemon stops
                    await self._scheduler.run_now("cache_warm")

    async def _incremental_sync(self, job: JobRun) -> str:
        try:
            return await self.incremental.run(job)
        finally:
            self._queue.gates[REFRESH].wake()
            self._scheduler.start_if_idle(DETAILS)

    async def _poll(self, span: Window) -> str:
        return str(await self.poller.poll(span))

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running."""
        self.options.overlap = settings.sync.overlap
        self._every = settings.sync.full_interval
        self.client.secrets = Secrets(settings.secrets)
        self.poller.overlap, self.poller.kept_for = settings.sync.overlap, settings.storage.event_retention
        self._refetches = settings.sync.refresh_after_event

    def follow_up(self, subjects: Sequence[EventSubject], at: str) -> list[NewItem]:
        """What to fetch after events were applied: each object that one was about, once."""
        if not self._refetches:
            return []
        requests = {
            (subject.domain, subject.key): RefetchRequest(
                subject.domain, subject.key, event_id=subject.event_id, since=at
            )
            for subject in subjects
            if subject.domain in self._detailed
        }
        return [refetch_item(request, at, EVENTS) for request in requests.values()]

    def after_commit(self, written: WriteSet) -> None:
        """Wake the worker that fetches what events are about."""
        if written.has_follow_ups:
            self._queue.gates[REFRESH].wake()

    async def _run_usage(self) -> None:
        while True:
            await self._clock.sleep(_USAGE_INTERVAL)
            with contextlib.suppress(UnavailableError):  # the writer logs it, and the next round adds it
                await self.save_usage()

    async def save_usage(self) -> None:
        """Write how many requests were sent since the last time."""
        usage: list[tuple[UsageKey, UsageTotals]] = list(self.client.calls.take().items())
        if usage:
            await self._db.write(lambda tx: tx.api_usage.add(usage))

    def forecast(self, states: Mapping[str, ListState]) -> dict[str, Any]:
        """How many requests and seconds the next full sync takes, and which lists were never read."""
        state = self.client.state()
        each = state["calls"]["sync"]["recent_average_seconds"]
        pace = SyncPace(state["rate_limit"]["current"], each, CONCURRENT_LISTS, self._every)
        lists = [
            (domain.name, LISTS[domain.object_name].interval)
            for domain in self._registry
            if self.options.includes(domain)
        ]
        result = forecast(lists, states, self._clock.now(), pace)
        return {"requests": result.requests, "seconds": result.seconds, "never_synced": list(result.unknown)}

    async def begin_sync(self) -> int:
        """Start a full sync, or join the one that runs; the number of its run."""
        if self.full.current is not None:
            return self.full.current
        await self._scheduler.wait_until_idle("full_sync")  # a run that has read everything cannot be joined
        before = self.full.last
        with contextlib.suppress(ConflictError):  # it began in between
            await self._scheduler.run_now("full_sync")
        return await self.full.wait_started(before)

    async def confirm_removals(self, domain: ResourceType) -> int:
        """Mark what a list lacks as removed, because a person confirms it. Raises ConflictError."""
        return await confirm_removals(self._sync_deps, domain)


def _queue_leg_refetch(tx: Transaction, shipments: Sequence[int], at: str) -> None:
    tx.items.add(
        at, [item for shipment in shipments for item in shipment_refetch(("legs", "containers"), shipment, at, SYNC)]
    )


@asynccontextmanager
async def open_flexport(
    settings: Settings,
    queue: Queue,
    *,
    registry: Registry,
    observer: ImportObserver,
    scheduler: Scheduler,
    after_sync: Callable[[], None],
) -> AsyncIterator[FlexportService | None]:
    """The service with an open client; None where no key is configured. `after_sync` is called after each sync run."""
    auth = _auth(settings)
    if auth is None:
        yield None
        return
    flexport = settings.flexport
    rules = ClientRules(
        base_url=flexport.base_url,
        requests_per_second=flexport.requests_per_second,
        concurrency=flexport.concurrency,
        timeout=flexport.timeout.total_seconds(),
        user_agent=f"flexportd/{__version__}",
        secrets=settings.secrets,
        proxy=None if flexport.proxy is None else Proxy(flexport.proxy.url, flexport.proxy.authorization),
    )
    async with Client(rules, auth, queue.clock) as client:
        yield FlexportService(
            client, settings, queue, registry=registry, observer=observer, scheduler=scheduler, after_sync=after_sync
        )


def _auth(settings: Settings) -> Auth | None:
    flexport = settings.flexport
    if flexport.api_key is not None:
        return ApiKeyAuth(flexport.api_key.get_secret_value())
    if flexport.client_id is None or flexport.client_secret is None:
        return None
    credentials = Credentials(
        flexport.client_id, flexport.client_secret.get_secret_value(), flexport.token_url, flexport.audience
    )
    path = settings.storage.data_dir / "token.json"
    return ClientCredentials(credentials, path, flexport.timeout.total_seconds())
