"""Notifications as one part of the daemon: notifier, composer, deliveries and channels."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from flexportd.core.changes.consumer import IdleWait, run_consumer
from flexportd.core.resources.registry import Registry
from flexportd.daemon.notify_tools import NotifyTools
from flexportd.daemon.restore_check import RestoreCheck
from flexportd.errors import ConflictError, InvalidError, NotFoundError, UnavailableError, not_found
from flexportd.notify import delivery_actions
from flexportd.notify.channels.channel import Channel, ChannelContext
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.composer import Composer
from flexportd.notify.composition import ChannelInfo, NotifyConfig
from flexportd.notify.content import Content, texts_about
from flexportd.notify.deliveries import DeliveryHandler
from flexportd.notify.notifier import DELIVERY, Notifier, RuleMatcher
from flexportd.notify.render import render_text
from flexportd.notify.rule_template import render_template
from flexportd.notify.rules import Rules, compile_rules
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings, suggest
from flexportd.storage.repositories.deliveries import ChannelState, DeliverySelection
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks
from flexportd.type_lock import decode_as

log = structlog.get_logger(__name__)

_LEASE = max(channel.timeout for channel in CHANNEL_TYPES.values()) + 60.0  # seconds
_WORKERS = 64  # more than the lanes of several channels that hang: these must not hold up the others
_SAVE_INTERVAL = 60.0  # seconds
_CLOSE_TIMEOUT = 2.0  # seconds for the last save
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
        after_write: Callable[[], None] = lambda: None,
    ) -> None:
        """`reads_lists`: whether Flexport's lists are read. `after_write` is called after a delivery has changed.

        Raises ConfigError for rules that cannot be used.
        """
        self._queue = queue
        self._tasks = tasks
        self._registry = registry
        self._settings = settings
        self._after_write = after_write
        self.channels = build_channels(settings, queue)
        config = notify_config(settings, registry, self.channels)
        self._limits = LeaseLimits(_WORKERS, _LEASE)
        self.notifier = Notifier(
            queue.db, queue.clock, RuleMatcher(registry, config.rules, config.gather_of), wait_for_idle,
            reads_lists=reads_lists, on_written=self._wake,
        )  # fmt: skip
        self.composer = Composer(queue.db, queue.clock, config, self._added)
        self.handler = DeliveryHandler(queue.db, queue.clock, self.channels)
        self.tools = NotifyTools(queue, self.handler, self.composer)
        self._item_handler = ItemHandler(
            name=DELIVERY, handle=self.handler.handle, on_dead=self.handler.on_dead, on_retry=self.handler.on_retry,
            on_discard=self.handler.on_discard, on_commit=after_write,
        )  # fmt: skip
        self._restore_check = RestoreCheck(queue.db)
        self._retired: list[Mapping[str, Channel[Any]]] = []  # from before a reload, to be closed
        queue.add(self._item_handler)

    async def open(self) -> bool:
        """After a restore, drop what waits: it was sent already, or is no longer true. Before the queue is loaded.

        Returns whether the database was restored.
        """
        db, at = self._queue.db, self._queue.clock.stamp()
        self.handler.states = await db.read(lambda tx: tx.deliveries.channel_states())
        was_restored = await db.read(self._restore_check.was_restored)
        if was_restored and await db.read(lambda tx: tx.meta.get(Notifier.name) is not None):
            dropped, discarded = await db.write(lambda tx: _begin_again(tx, at))
            log.warning(
                "notifications_begin_again", dropped=dropped, discarded=discarded,
                reason="the database was restored or copied; changes count from the next complete sync on",
            )  # fmt: skip
        await db.write(lambda tx: tx.deliveries.fail_interrupted_tests(at, "interrupted: flexportd ended meanwhile"))
        await db.read(self._restore_check.save)  # before anything happens that it would have to vouch for
        if self.channels:
            await self.notifier.prepare()
        return was_restored

    def start(self) -> None:
        """Start the loops in the background."""
        self._tasks.start("notifier", lambda: run_consumer(self.notifier, self._queue.clock), vital=False)
        self._tasks.start("notification_composer", self.composer.run, vital=False)
        self._tasks.start("deliveries", ItemWorker(self._queue, self._item_handler, self._tasks, self._limits).run)
        self._tasks.start("notification_maintenance", self._maintain, vital=False)

    async def close(self) -> None:
        """Close the channels, and note how far the change log has been seen."""
        for channels in (self.channels, *self._retired):
            await self._close(channels)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._queue.db.read(self._restore_check.save)
        except Exception:  # the daemon stops nevertheless; at worst, the next start takes a crash for a restore
            log.exception("position_not_saved")

    def reload(self, settings: Settings) -> None:
        """Apply `[notify]`; the rules have been checked."""
        old, self._settings = self.channels, settings
        self.channels = build_channels(settings, self._queue)
        config = notify_config(settings, self._registry, self.channels)
        self.notifier.matcher = RuleMatcher(self._registry, config.rules, config.gather_of)
        self.composer.reload(config)
        self.handler.channels = self.channels
        self._retired.append(old)
        self._queue.gates[DELIVERY].wake()

    def list_channels(self) -> list[dict[str, Any]]:
        """Every channel: its name, type and destination."""
        types = self._settings.notify.channels
        return [
            {"name": name, "type": types[name].type, "destination": channel.destination}
            for name, channel in self.channels.items()
            if name in types  # a reload changes both
        ]

    def list_rules(self) -> list[dict[str, Any]]:
        """Every rule as configured."""
        notify = self._settings.notify
        return [
            {
                "name": rule.name,
                "on": list(rule.on),
                "when": dict(rule.when),
                "channels": list(rule.channels or self.channels),
                "digest": rule.digest,
                "quiet": rule.quiet,
                "timezone": rule.timezone or self._settings.notify_timezone,
                "max_per_hour": rule.max_per_hour,
                "has_template": rule.template is not None or rule.subject is not None,
                "enabled": rule.enabled,
                "shipped": number >= len(notify.rules),
            }
            for number, rule in enumerate(notify.active_rules)
        ]

    def problems(self, *, with_causes: bool = True) -> list[str]:
        """A sentence for each channel that fails or is switched off, and for each fault of notifications.

        Causes name hosts and addresses: they are for people with a key.
        """
        causes = {
            "Notifications may be late": self.notifier.error or self.composer.error,
            "Notifications are incomplete": self.notifier.skipped_reason,
        } | {
            channel_problem(state): state.error or "no error recorded"
            for name, state in self.handler.states.items()
            if state.state != "working" and name in self.channels
        }  # fmt: skip
        return [f"{problem}: {cause}" if with_causes else problem for problem, cause in causes.items() if cause]

    def attempts(self) -> list[tuple[str, str, int]]:
        """Attempts to send since the start: channel, outcome (`sent` or `failed`), number."""
        counts = self.handler.attempts
        return [(name, outcome, counts[name, outcome]) for name in self.channels for outcome in ("sent", "failed")]

    def render_text(self, content: str) -> str:
        """The stored content of a message as plain text."""
        return render_text(decode_as(content, Content), _context(self._settings, self._queue).url)

    def texts_about(self, content: str, shipment_id: int) -> list[str]:
        """What the stored content of a message says about a shipment."""
        return texts_about(decode_as(content, Content), shipment_id)

    async def retry(self, number: int, *, again: bool = False) -> None:
        """Send a message again; `again`: although it was sent. Raises NotFoundError, ConflictError."""
        queue, at = self._queue, self._queue.clock.stamp()

        def work(tx: Transaction) -> None:
            found = tx.deliveries.by_id(number)
            if found is not None and found.channel not in self.channels:
                raise ConflictError(f"channel {found.channel} is no longer configured")
            delivery_actions.retry(tx, queue, number, at, again=again)

        await queue.change(work)
        self._after_write()

    async def count_matching(self, selection: DeliverySelection) -> int:
        """How many messages of a channel would be sent again. Raises NotFoundError, InvalidError, ConflictError."""
        self._check_selection(selection)

        def work(tx: Transaction) -> int:
            delivery_actions.check_channel(tx, selection.channel or "")
            return tx.deliveries.count_matching(selection)

        return await self._queue.db.read(work)

    async def retry_matching(self, selection: DeliverySelection, limit: int) -> Sequence[int]:
        """Send messages of a channel again, oldest first. Raises NotFoundError, InvalidError, ConflictError."""
        self._check_selection(selection)
        queue, at = self._queue, self._queue.clock.stamp()
        numbers = await queue.change(lambda tx: delivery_actions.retry_matching(tx, queue, selection, at, limit))
        self._after_write()
        return numbers

    def _check_selection(self, selection: DeliverySelection) -> None:
        name = selection.channel
        if name is None or name not in self.channels:
            known = (
                suggest(name or "", self.channels, knows="channels are")
                if self.channels
                else "no channel is configured"
            )
            raise NotFoundError(f"there is no channel {(name or '')[:50]!r}; {known}")
        kind = self._settings.notify.channels[name].type
        if "sent" in selection.states and kind != "webhook":
            raise InvalidError(
                f"include_sent is true, but channel {name} is of type {kind}; only webhook channels are replayed",
                "include_sent",
            )

    async def discard(self, number: int, who: str, why: str) -> None:
        """Do not send a message. Raises NotFoundError, ConflictError."""
        queue, at = self._queue, self._queue.clock.stamp()
        await queue.change(lambda tx: delivery_actions.discard(tx, queue, number, at, who=who, why=why))
        self._after_write()

    async def resume_channel(self, name: str) -> None:
        """Attempt the next message of a channel that fails or is switched off. Raises NotFoundError."""
        if name not in self.channels:
            raise not_found("channel", name)
        queue, at = self._queue, self._queue.clock.stamp()
        self.handler.states[name] = await queue.change(lambda tx: delivery_actions.resume_channel(tx, name, at))
        log.info("channel_resumed", channel=name)
        self._after_write()

    def _added(self, count: int) -> None:
        self._queue.added(DELIVERY, count)
        self._after_write()

    def _wake(self) -> None:
        self.composer.wake.set()

    async def _maintain(self) -> None:
        while True:
            await self._queue.clock.sleep(_SAVE_INTERVAL)
            while self._retired:
                await self._close(self._retired.pop())
            with contextlib.suppress(UnavailableError):  # the writer has logged it
                await self._queue.db.read(self._restore_check.save)

    @staticmethod
    async def _close(channels: Mapping[str, Channel[Any]]) -> None:
        await asyncio.gather(*(channel.close() for channel in channels.values()), return_exceptions=True)


def build_channels(settings: Settings, queue: Queue) -> dict[str, Channel[Any]]:
    """The configured channels by name."""
    context = _context(settings, queue)
    return {
        name: CHANNEL_TYPES[channel.type](name, channel, context) for name, channel in settings.notify.channels.items()
    }


def _context(settings: Settings, queue: Queue) -> ChannelContext:
    return ChannelContext(
        clock=queue.clock.machine,
        title=settings.dashboard.title,
        public_url=settings.server.public_url.rstrip("/") if settings.server.public_url else None,
    )


def channel_problem(state: ChannelState) -> str:
    """What is wrong with a channel, as a sentence without its cause."""
    since = f" since {state.failing_since}" if state.failing_since else ""
    if state.state == "off":
        return f"Channel {state.channel} is switched off and gets no messages; it has failed{since}"
    return f"Channel {state.channel} fails{since}"


def notify_config(settings: Settings, registry: Registry, channels: Mapping[str, Channel[Any]]) -> NotifyConfig:
    """The configuration of notifications; without channels there are no rules. Raises ConfigError."""
    return NotifyConfig(
        registry=registry,
        rules=compile_rules(settings) if channels else Rules(),
        render_template=render_template,
        channels={
            name: ChannelInfo(name, settings.notify.channels[name].type, channel.folds, channel.can_edit)
            for name, channel in channels.items()
        },
        gather=settings.notify.gather,
        zone=ZoneInfo(settings.notify_timezone),
        reads_lists=settings.flexport.has_key,
    )


def _begin_again(tx: Transaction, at: str) -> tuple[int, int]:
    reason = "the database was restored"
    Notifier.begin_again(tx, at)
    dropped = tx.notifications.drop_waiting(reason, at)
    tx.notifications.forget_told_dates()
    tx.notifications.forget_digest_times()
    unsent = tx.deliveries.unsent(_MAX_UNSENT)
    for number in unsent:
        tx.deliveries.mark_discarded(number, at, reason)
    return dropped, len(unsent)
