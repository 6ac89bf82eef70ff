"""The composer: the loop that composes what is due, and stores the messages with the items that send them."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.errors import UnavailableError
from flexportd.notify.composition import (
    MAX_PROGRAM,
    Action,
    Composition,
    Drop,
    NotifyConfig,
    Postpone,
    SetDigestTime,
    delivery_item,
)
from flexportd.notify.digests import digest_times, due_digests
from flexportd.storage.database import Database
from flexportd.storage.repositories.items import NewItem
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_RETRY_DELAY = 5.0  # seconds after a failure
_MAX_WAIT = 60.0  # seconds between looks


class Composer:
    """Composes whenever something is due. `config` may be exchanged; `on_sent` is given the number of new items."""

    def __init__(
        self, db: Database, clock: Clock, config: NotifyConfig, on_sent: Callable[[int], None] = lambda _: None
    ) -> None:
        self._db = db
        self._clock = clock
        self.config = config
        self._on_sent = on_sent
        self.wake = asyncio.Event()
        self.turn = asyncio.Lock()
        """Held from reading what waits until the messages of it are written, so that nothing gets into two of them."""
        self.error: str | None = None
        self._is_checked = False

    def reload(self, config: NotifyConfig) -> None:
        """Apply another configuration."""
        self.config = config
        self._is_checked = False
        self.wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._is_checked:
                    await self._release_digests()
                await self.compose_due()
                due = await self._db.read(lambda tx: next_due(tx, self.config))
                seconds = _MAX_WAIT if due is None else min(max(self._clock.until(parse(due)), 0.05), _MAX_WAIT)
                self.error = None
            except UnavailableError as error:
                self.error, seconds = str(error), _RETRY_DELAY  # the writer has logged it
            except Exception as error:
                if self.error is None:
                    log.exception("compose_failed")
                self.error, seconds = f"{type(error).__name__}: {error}", _RETRY_DELAY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wake.wait()
            self.wake.clear()

    async def _release_digests(self) -> None:
        """Let go of what waits for a digest that the configuration has no more."""
        rules, at = self.config.rules.rules, self._clock.stamp()
        kept = [(rule.name, channel) for rule in rules if rule.is_enabled and rule.digest for channel in rule.channels]

        def work(tx: Transaction) -> None:
            for old in tx.notifications.digest_rules():
                found = self.config.rules.get(old)
                if found is not None and found.name != old:  # a name is the same in any case
                    tx.notifications.rename_digest(old, found.name)
            tx.notifications.release_digests(kept, at)
            tx.notifications.forget_other_digests(kept)

        await self._db.write(work)
        self._is_checked = True

    async def compose_due(self) -> None:
        """Compose everything that is due now."""
        while True:
            async with self.turn:
                now, config = self._clock.now(), self.config
                actions = await self._db.read(partial(due_actions, config=config, now=now))
                if not actions:
                    return
                at = self._clock.stamp()
                count = await self._db.write(lambda tx: perform(tx, actions, at))  # noqa: B023 (awaited here)
            if count:
                self._on_sent(count)


def next_due(tx: Transaction, config: NotifyConfig) -> str | None:
    """When the next notification or digest is due."""
    times = [tx.notifications.next_due(), *(digest.due_at for digest in digest_times(tx, config))]
    return min(filter(None, times), default=None)


def due_actions(tx: Transaction, config: NotifyConfig, now: datetime) -> list[Action]:
    """What has to be written for what is due now: notifications, then digests."""
    actions: list[Action] = []
    for name in tx.notifications.channels_due(stamp(now)):
        info = config.channels.get(name)
        if info is None:
            rows = tx.notifications.due(name, stamp(now), MAX_PROGRAM)
            actions.append(Drop([row.id for row in rows], "the channel is no longer configured"))
        else:
            actions += Composition(tx, config, info, now).actions()
    return [*actions, *due_digests(tx, config, now)]


def perform(tx: Transaction, actions: Sequence[Action], at: str) -> int:
    """Write what was composed, with the items that send it; how many messages are to be sent."""
    items = store(tx, actions, at)
    tx.items.add(at, items)
    return len(items)


def store(tx: Transaction, actions: Sequence[Action], at: str) -> list[NewItem]:
    """Write what was composed; the items that send it."""
    items: list[NewItem] = []
    for action in actions:
        if isinstance(action, Drop):
            tx.notifications.drop(action.ids, action.reason, at)
        elif isinstance(action, Postpone):
            tx.notifications.hold(action.ids, action.hold, stamp(action.due_at))
        elif isinstance(action, SetDigestTime):
            tx.notifications.save_digest_due_at(*action)
        else:
            number = tx.deliveries.add(action.delivery, at)
            tx.notifications.mark_sent(action.ids, number, at)
            tx.notifications.save_told_dates(action.dates, at, number)
            items.append(delivery_item(number, action.lane))
    return items
