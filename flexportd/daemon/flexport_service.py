"""The way to Flexport: the client, what asks through it, and by which clock. Built for the composition root."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from flexportd import __version__
from flexportd.clock import Clock
from flexportd.core.events.applier import EventSubject, WriteSet
from flexportd.core.importer.importer import Importer, ImportObserver
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.sync_forecast import SyncPace, forecast
from flexportd.errors import ConflictError, FlexportdError
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.lists import LISTS
from flexportd.flexport.oauth.auth import ApiKeyAuth, Auth
from flexportd.flexport.oauth.client_credentials import ClientCredentials
from flexportd.flexport.oauth.grant import Credentials
from flexportd.flexport.proxy import Proxy
from flexportd.flexport.redaction import Secrets
from flexportd.ingest.carbon import CarbonCalculator
from flexportd.ingest.event_poller.poller import EventPoller
from flexportd.ingest.event_poller.window import Window
from flexportd.ingest.refetch import REFRESH, Refetcher, RefetchRequest, refetch_item, shipment_refetch
from flexportd.jobs.job import Cron, Every, Job, JobRun
from flexportd.jobs.scheduler import Scheduler
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.jobs.sync.full import CONCURRENT_LISTS, FullSync
from flexportd.jobs.sync.incremental import IncrementalSync, SyncOptions
from flexportd.jobs.sync.result import confirm_removals
from flexportd.jobs.sync.shipment_details import NAME as DETAILS
from flexportd.jobs.sync.shipment_details import ShipmentDetailsJob
from flexportd.queue.handlers import EVENTS, SYNC
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.api_usage import UsageKey, UsageTotals
from flexportd.storage.repositories.items import NewItem
from flexportd.storage.repositories.resources import Key
from flexportd.storage.repositories.sync import ListState
from flexportd.storage.transaction import Transaction

_SYNC_LIMIT = 12 * 3600.0  # seconds that a run of a job may take
_POLL_LIMIT = 1800.0


@dataclass(frozen=True)
class FlexportDeps:
    """What the way stands on."""

    db: Database
    registry: Registry
    clock: Clock
    observer: ImportObserver
    queue: Queue
    scheduler: Scheduler


class FlexportService:
    """Everything that asks Flexport, as its owner and the handlers see it."""

    def __init__(self, client: Client, ground: FlexportDeps, settings: Settings) -> None:
        clock, registry = ground.clock, ground.registry
        self.client = client
        self.intake = Importer(ground.db, clock, ground.observer)
        self._deps = ground
        self._sync_deps = SyncDeps(ground.db, client, registry, self.intake, clock)
        self.options = SyncOptions(settings.sync.resources, settings.sync.overlap)
        self.full = FullSync(self._sync_deps, self.options.resources)
        self.incremental = IncrementalSync(self._sync_deps, self.options, _queue_leg_refetch)
        self.details = ShipmentDetailsJob(self._sync_deps, self.options.resources)
        self.refetcher = Refetcher(client, self.intake, registry, clock, lambda: client.server_clock.at(clock.now()))
        self.poller = EventPoller(client, ground.queue, settings.sync.overlap, settings.storage.event_retention)
        self._carbon = CarbonCalculator(client, ground.db, registry, clock)
        self._every = settings.sync.full_interval
        self._scheduler = ground.scheduler
        self._detailed = {domain.name for domain in registry if LISTS[domain.object_name].has_detail}
        self._refetches = settings.sync.refresh_after_event

    def jobs(self, settings: Settings) -> list[Job]:
        """The jobs that need Flexport."""
        sync = settings.sync
        return [
            Job(
                name="full_sync",
                title="Compare all lists with Flexport",
                run=self._full_sync,
                schedule=Every(sync.full_interval.total_seconds()),
                limit=_SYNC_LIMIT,
                jitter=min(60.0, sync.full_interval.total_seconds() / 10),
                at_start="first",
            ),
            Job(
                name="incremental_sync",
                title="Fetch recent changes",
                run=self._incremental_sync,
                schedule=Every(sync.incremental_interval.total_seconds()),
                limit=_POLL_LIMIT,
                jitter=min(10.0, sync.incremental_interval.total_seconds() / 10),
            ),
            Job(
                name=DETAILS,
                title="Fetch the details of shipments",
                run=self.details.run,
                schedule=Every(sync.incremental_interval.total_seconds()),
                limit=_SYNC_LIMIT,
                jitter=min(10.0, sync.incremental_interval.total_seconds() / 10),
            ),
            *self._polls(sync.events_interval.total_seconds()),
        ]

    def _polls(self, interval: float) -> list[Job]:
        """`GET /events`: a narrow look often, wide ones for events that are recorded long after they happened."""
        return [
            Job(
                name="events_poll",
                title="Check for missed events",
                run=lambda _: self._poll("narrow"),
                schedule=Every(interval),
                limit=_POLL_LIMIT,
                jitter=min(5.0, interval / 10),
                at_start="always",
            ),
            Job(
                name="events_wide",
                title="Check the last 14 days for missed events",
                run=lambda _: self._poll("wide"),
                schedule=Every(3600.0),
                limit=_POLL_LIMIT,
                jitter=60.0,
            ),
            Job(
                name="events_deep",
                title="Check the last 45 days for missed events",
                run=lambda _: self._poll("deep"),
                schedule=Cron("15 2 * * *"),
                limit=_SYNC_LIMIT,
                jitter=600.0,
            ),
        ]

    async def _full_sync(self, job: JobRun) -> str:
        """The full sync, and after it the answers that people ask for first are built anew."""
        try:
            return await self.full.run(job)
        finally:
            if not job.stopping.is_set():
                self._scheduler.start_if_idle(DETAILS)
                with contextlib.suppress(FlexportdError):  # it runs already, or the daemon stops
                    await self._scheduler.run_now("cache_warm")

    async def _incremental_sync(self, job: JobRun) -> str:
        try:
            return await self.incremental.run(job)
        finally:
            self._deps.queue.gates[REFRESH].wake()
            self._scheduler.start_if_idle(DETAILS)

    async def _poll(self, span: Window) -> str:
        return str(await self.poller.poll(span))

    def reload(self, settings: Settings) -> None:
        """Take over what can change while running."""
        self.options.back = settings.sync.overlap
        self._every = settings.sync.full_interval
        self.client.secrets = Secrets(settings.secrets)
        self.poller.overlap, self.poller.kept_for = settings.sync.overlap, settings.storage.event_retention
        self._refetches = settings.sync.refresh_after_event
        for job in self.jobs(settings):
            self._scheduler.reschedule(job.name, job.schedule)

    # --- after events ---

    def follow_up(self, told: Sequence[EventSubject], at: str) -> list[NewItem]:
        """What to fetch after events were applied: each object that one was about, once."""
        if not self._refetches:
            return []
        requests = {
            (subject.domain, subject.key): RefetchRequest(
                subject.domain, subject.key, event_id=subject.event_id, since=at
            )
            for subject in told
            if subject.domain in self._detailed
        }
        return [refetch_item(request, at, EVENTS) for request in requests.values()]

    def after_commit(self, written: WriteSet) -> None:
        """Wake the worker that fetches what events are about."""
        if written.has_follow_ups:
            self._deps.queue.gates[REFRESH].wake()

    async def save_usage(self) -> None:
        """Write down what was asked since the last time."""
        booked: list[tuple[UsageKey, UsageTotals]] = list(self.client.calls.take().items())
        if booked:
            await self._deps.db.write(lambda tx: tx.api_usage.add(booked))

    # --- for the handlers ---

    def state(self) -> dict[str, Any]:
        """How the client is."""
        return self.client.state()

    def forecast(self, states: Mapping[str, ListState]) -> dict[str, Any]:
        """Requests and seconds of the next full sync, and the lists that were never read."""
        state = self.client.state()
        each = state["calls"]["sync"]["recent_average_seconds"]
        pace = SyncPace(state["rate_limit"]["current"], each, CONCURRENT_LISTS, self._every)
        chosen = self.options.resources()
        lists = [
            (domain.name, LISTS[domain.object_name].interval)
            for domain in self._deps.registry
            if not chosen or domain.name in chosen
        ]
        found = forecast(lists, states, self._deps.clock.now(), pace)
        return {"requests": found.requests, "seconds": found.seconds, "never_synced": list(found.unknown)}

    async def refresh(self, domain: ResourceType, key: Key) -> str:
        """Fetch one object now. Raises FlexportdError."""
        return await self.refetcher.refresh(domain, key)

    async def calculate_carbon(self, shipment_id: int) -> list[dict[str, Any]]:
        """Have Flexport calculate the carbon figures of a shipment's legs now. Raises FlexportdError."""
        return await self._carbon.calculate(shipment_id)

    async def begin_sync(self) -> int:
        """Begin a full sync, or join the one that runs; the number of its run."""
        if self.full.current is not None:
            return self.full.current
        await self._scheduler.wait_until_idle("full_sync")  # one that has read everything is not joined
        before = self.full.last
        with contextlib.suppress(ConflictError):  # it began in between
            await self._scheduler.run_now("full_sync")
        return await self.full.wait_started(before)

    async def confirm_removals(self, domain: ResourceType) -> int:
        """What a list lacks is gone, says a person. Raises ConflictError."""
        return await confirm_removals(self._sync_deps, domain)


def _queue_leg_refetch(tx: Transaction, shipments: Sequence[int], at: str) -> None:
    """Have the legs and containers of these shipments fetched."""
    tx.items.add(
        at, [item for shipment in shipments for item in shipment_refetch(("legs", "containers"), shipment, at, SYNC)]
    )


@asynccontextmanager
async def open_flexport(settings: Settings, ground: FlexportDeps) -> AsyncIterator[FlexportService | None]:
    """The way to Flexport; None where no key is configured."""
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
    async with Client(rules, auth, ground.clock) as client:
        yield FlexportService(client, ground, settings)


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
