"""The consumers of the change log: stream, search index, exceptions; and the freshness of all data."""

import time
from collections.abc import Callable
from typing import Any

import structlog

from flexportd.core.changes.consumer import ChangeLogConsumer, run_consumer
from flexportd.core.events.applier import WriteSet
from flexportd.core.exceptions.model import ExceptionRules
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.field_rebuild import FieldRebuild
from flexportd.core.resources.registry import Registry
from flexportd.core.search.indexer import Indexer
from flexportd.daemon.after_commit import CommitBus
from flexportd.errors import UnavailableError
from flexportd.expose.middleware import Freshness
from flexportd.expose.streaming.broadcaster import Broadcaster
from flexportd.ingest.event_store import EVENT
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.tasks import Tasks

_POLL_INTERVAL, _MAX_POLLS = 0.05, 100  # seconds, and how often
_RETRY_DELAY = 2.0  # seconds
_MANY_REQUESTS = 100  # a second; webhooks are some of them
_YIELD = 0.25  # seconds before each step while so many are served: a step takes about a tenth of that
_SHORTEST = 0.02  # seconds over which a rate is measured

log = structlog.get_logger(__name__)


class RequestLoad:
    """The rate of requests, measured between two calls of `is_high`. `count` returns how many have arrived so far."""

    def __init__(self, count: Callable[[], int], now: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._now = now
        self._last = now(), count()
        self.rate = 0.0

    def is_high(self) -> bool:
        """Whether background work should wait because many requests are served."""
        now, count = self._now(), self._count()
        seconds = now - self._last[0]
        if seconds >= _SHORTEST:
            self.rate = (count - self._last[1]) / seconds
            self._last = now, count
        return self.rate >= _MANY_REQUESTS


class ChangeConsumers:
    """Consumes the change log of one database; `load` is that of the web server."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        registry: Registry,
        bus: CommitBus,
        *,
        load: RequestLoad,
        reads_lists: bool,
    ) -> None:
        db, clock = queue.db, queue.clock
        self._clock = clock
        self._queue = queue
        self._load = load
        self.hub = Broadcaster(db, registry)
        self.indexer = Indexer(db, registry, clock, self.wait_for_idle_queue)
        self.examiner = ExceptionWorker(
            db,
            clock,
            ExceptionRules.from_settings(settings),
            self.wait_for_idle_queue,
            reads_lists=reads_lists,
            on_written=lambda: bus.after_commit(WriteSet({"exceptions": frozenset()})),
        )
        self.examiner.turn = self.indexer.turn
        self.freshness = Freshness(db, clock, registry)
        self._consumers: list[ChangeLogConsumer[Any, Any]] = [self.indexer, self.examiner]

    def add(self, consumer: ChangeLogConsumer[Any, Any]) -> None:
        """Wake another consumer with the others, and let it take turns with them."""
        consumer.turn = self.indexer.turn
        self._consumers.append(consumer)

    def wake(self) -> None:
        """Look at the change log; to be called on the event loop."""
        self.hub.wake()
        for consumer in self._consumers:
            consumer.wake.set()

    def after_commit(self, _written: WriteSet) -> None:
        """Look at the change log."""
        self.wake()

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running."""
        self.examiner.rules = ExceptionRules.from_settings(settings)
        self.examiner.wake.set()

    async def wait_for_idle_queue(self) -> None:
        """Wait before each step while events are to be applied: what they change is better processed once.

        While many requests are served, the step waits longer, so that they have nearly all of the CPU. Both waits are
        bounded, so every change is consumed.
        """
        for _ in range(_MAX_POLLS):
            if self._queue.paused or not self._queue.waiting(EVENT):
                break
            await self._clock.sleep(_POLL_INTERVAL)
        if self._load.is_high():
            await self._clock.sleep(_YIELD)

    def start(self, tasks: Tasks, rebuild: FieldRebuild) -> None:
        """Start the loops in the background.

        Exceptions are evaluated once all fields are rebuilt by this version: otherwise wrong ones would open.
        """

        async def evaluate() -> None:
            while True:
                try:
                    await rebuild.run()
                except UnavailableError:  # the disk refuses, which the writer logs
                    await self._clock.sleep(_RETRY_DELAY)
                    continue
                except Exception:
                    log.exception("field_rebuild_failed")  # exceptions must be evaluated nevertheless
                break
            await run_consumer(self.examiner, self._clock)

        tasks.start("stream", self.hub.run)
        tasks.start("freshness", self.freshness.run)
        tasks.start("exceptions", evaluate, vital=False)
        tasks.start("search_index", lambda: run_consumer(self.indexer, self._clock), vital=False)
