"""Notifications as one part of the daemon: notifier, composer, deliveries and channels."""

import asyncio
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from flexportd.core.changes.consumer import IdleWait, run_consumer
from flexportd.core.resources.registry import Registry
from flexportd.daemon.notify_tools import NotifyTools
from flexportd.daemon.restore_check import RestoreCheck
from flexportd.errors import UnavailableError
from flexportd.notify.channels.channel import Channel, ChannelContext
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.composer import Composer
from flexportd.notify.composition import ChannelInfo, NotifyConfig
from flexportd.notify.deliveries import DeliveryHandler
from flexportd.notify.notifier import DELIVERY, Notifier, RuleMatcher
from flexportd.notify.rule_template import render_template
from flexportd.notify.rules import Rules, compile_rules
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_LEASE_MARGIN = 60.0  # seconds beyond the timeout of the slowest channel
_SAVE_INTERVAL = 60.0  # seconds
_MAX_UNSENT = 100_000


class NotifyService:
    """Sends notifications. Must be created before the queue is loaded."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        tasks: Tasks,
        registry: Registry,
        wait_for_idle: IdleWait,
        *,
        reads_lists: bool,
    ) -> None:
        """`reads_lists`: whether Flexport's lists are read. Raises ConfigError for rules that cannot be used."""
        self._queue = queue
        self._tasks = tasks
        self._registry = registry
        self._settings = settings
        self.channels = build_channels(settings, queue)
        config = notify_config(settings, registry, self.channels)
        self._limits = LeaseLimits(settings.queue.workers, _lease(self.channels))
        self.notifier = Notifier(
            queue.db, queue.clock, RuleMatcher(registry, config.rules, config.gather_of), wait_for_idle,
            reads_lists=reads_lists, on_written=self._wake,
        )  # fmt: skip
        self.composer = Composer(queue.db, queue.clock, config, lambda count: queue.added(DELIVERY, count))
        self.handler = DeliveryHandler(queue.db, queue.clock, self.channels)
        self.tools = NotifyTools(queue, self.handler, lambda: self.composer.config)
        self._item_handler = ItemHandler(name=DELIVERY, handle=self.handler.handle, on_dead=self.handler.on_dead)
        self._restore_check = RestoreCheck(queue.db)
        queue.add(self._item_handler)

    async def open(self) -> None:
        """After a restore, drop what waits: it was sent already, or is no longer true. Before the queue is loaded."""
        db, at = self._queue.db, self._queue.clock.stamp()
        if await db.read(lambda tx: tx.meta.get(Notifier.name) is not None and self._restore_check.was_restored(tx)):
            dropped, discarded = await db.write(lambda tx: _begin_again(tx, at))
            log.warning(
                "notifications_begin_again", dropped=dropped, discarded=discarded,
                reason="the database was restored or copied; changes count from the next complete sync on",
            )  # fmt: skip
        await db.read(self._restore_check.save)  # before anything happens that it would have to vouch for

    def start(self) -> None:
        """Start the loops in the background."""
        self._tasks.start("notifier", lambda: run_consumer(self.notifier, self._queue.clock), vital=False)
        self._tasks.start("notification_composer", self.composer.run, vital=False)
        self._tasks.start("deliveries", ItemWorker(self._queue, self._item_handler, self._tasks, self._limits).run)
        self._tasks.start("database_position", self._save_position, vital=False)

    async def close(self) -> None:
        """Close the channels, and note how far the change log has been seen."""
        await self._close(self.channels)
        if self.channels:
            await self._queue.db.read(self._restore_check.save)

    def reload(self, settings: Settings) -> None:
        """Apply `[notify]`; the rules have been checked."""
        old, self._settings = self.channels, settings
        self.channels = build_channels(settings, self._queue)
        config = notify_config(settings, self._registry, self.channels)
        self.notifier.matcher = RuleMatcher(self._registry, config.rules, config.gather_of)
        self.composer.reload(config)
        self.handler.channels = self.channels
        self._tasks.start("close_channels", lambda: self._close(old), vital=False)
        self._queue.gates[DELIVERY].wake()

    def _wake(self) -> None:
        self.composer.wake.set()

    async def _save_position(self) -> None:
        while True:
            await self._queue.clock.sleep(_SAVE_INTERVAL)
            if self.channels:
                try:
                    await self._queue.db.read(self._restore_check.save)
                except UnavailableError:
                    continue  # the writer has logged it

    @staticmethod
    async def _close(channels: Mapping[str, Channel[Any]]) -> None:
        await asyncio.gather(*(channel.close() for channel in channels.values()), return_exceptions=True)


def build_channels(settings: Settings, queue: Queue) -> dict[str, Channel[Any]]:
    """The configured channels by name."""
    context = ChannelContext(
        clock=queue.clock.machine,
        title=settings.dashboard.title,
        public_url=settings.server.public_url.rstrip("/") if settings.server.public_url else None,
    )
    return {
        name: CHANNEL_TYPES[channel.type](name, channel, context) for name, channel in settings.notify.channels.items()
    }


def notify_config(settings: Settings, registry: Registry, channels: Mapping[str, Channel[Any]]) -> NotifyConfig:
    """The configuration of notifications; without channels there are no rules. Raises ConfigError."""
    compiled = compile_rules(settings)
    return NotifyConfig(
        registry=registry,
        rules=compiled if channels else Rules(),
        render_template=render_template,
        channels={
            name: ChannelInfo(name, settings.notify.channels[name].type, channel.folds, channel.can_edit)
            for name, channel in channels.items()
        },
        gather=settings.notify.gather,
        zone=ZoneInfo(settings.notify_timezone),
    )


def _lease(channels: Mapping[str, Channel[Any]]) -> float:
    return max((channel.timeout for channel in channels.values()), default=0.0) + _LEASE_MARGIN


def _begin_again(tx: Transaction, at: str) -> tuple[int, int]:
    reason = "the database was restored"
    Notifier.begin_again(tx, at)
    dropped = tx.notifications.drop_waiting(reason, at)
    tx.notifications.forget_told_dates()
    unsent = tx.deliveries.unsent(_MAX_UNSENT)
    for number in unsent:
        tx.deliveries.mark_discarded(number, at, reason)
    return dropped, len(unsent)
