"""Deliveries: sends messages to their channels, at least once, and keeps the states of channels.

    queue item ─ begin (stored as `sending`) ─ channel ─ sent, or waiting for the next attempt, or failed

A crash between the channel's answer and its storage is the only way to send a message twice; the message then says so.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock, age, parse, stamp
from flexportd.core.changes.topics import CHANNEL_FAILED, RECOVERED
from flexportd.core.labels import format_duration
from flexportd.errors import MalformedError
from flexportd.notify.channels.channel import Channel, ChannelError, OutgoingMessage, SendReceipt
from flexportd.notify.composition import CHANNEL_CONDITION
from flexportd.notify.content import Content
from flexportd.outcome import Applied, Dead, Ignored, Outcome, Snooze
from flexportd.storage.database import Database
from flexportd.storage.repositories.deliveries import ChannelState, Delivery
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

log = structlog.get_logger(__name__)


FAILURES_TO_OPEN = 3  # in a row, after which a channel counts as failing and is tried more rarely
RETRY_DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)  # seconds after the first, second … failure of a message
MAX_AGE = timedelta(days=3)  # after which a message that was never accepted is not tried again
PROBE_DELAYS = (60.0, 120.0, 300.0, 600.0, 1800.0)  # seconds between attempts on a failing channel
OFF_AFTER = timedelta(days=5)  # for which every attempt failed, after which a channel is switched off


class DeliveryRequest(msgspec.Struct, frozen=True):
    """The payload of an item: the delivery to send."""

    delivery: int


class DeliveryHandler:
    """Sends one delivery for each item. `channels` may be exchanged; `states` are those of channels as last stored."""

    def __init__(self, db: Database, clock: Clock, channels: Mapping[str, Channel[Any]]) -> None:
        self._db = db
        self._clock = clock
        self.channels = channels
        self.states: dict[str, ChannelState] = {}
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Attempts since the start by channel and outcome."""

    async def handle(self, item: Item) -> Outcome:
        """Send a message, unless its channel is off or has to wait."""
        number = decode_as(item.payload or "", DeliveryRequest).delivery
        found, state, root, edits = await self._db.read(lambda tx: _load(tx, number))
        if found is None or found.state in ("sent", "discarded"):
            return Ignored("the delivery is sent, discarded or deleted")
        if found.attempts and (later := await self._db.read(lambda tx: tx.deliveries.replaced_by(found))) is not None:
            note = f"Delivery {later}, which replaces it, was sent before"
            await self._db.write(lambda tx: tx.deliveries.mark_sent(number, self._clock.stamp(), None, note))
            return Ignored(note)
        channel = self._channel(found)
        if isinstance(channel, Dead):
            return channel
        obstacle = self._obstacle(found, state)
        if obstacle is not None:
            return obstacle
        is_repeated = await self._db.write(lambda tx: tx.deliveries.begin(number, self._clock.stamp()))
        message = OutgoingMessage(
            key=found.key,
            content=decode_as(found.content, Content),
            created_at=parse(found.created_at),
            thread=found.thread,
            root=root,
            edits=edits,
            is_repeated=is_repeated,
            progress=decode_as(found.progress, dict[str, Any]) if found.progress else {},
        )
        try:
            receipt = await self._send(channel, message)
        except ChannelError as error:
            return await asyncio.shield(self._record_failure(found, error))
        after = await asyncio.shield(self._db.write(lambda tx: self._record_success(tx, found, receipt)))
        self.states[found.channel] = after
        self.attempts[found.channel, "sent"] += 1
        return Applied()

    def _channel(self, found: Delivery) -> Channel[Any] | Dead:
        """The channel of a message, or why there is none that could send it."""
        channel = self.channels.get(found.channel)
        if channel is None:
            return Dead(f"channel {found.channel} is no longer configured")
        if not channel.folds and found.channel_type != channel.settings.type:
            kinds = f"is of type {channel.settings.type} now, and this message was made for {found.channel_type}"
            return Dead(f"channel {found.channel} {kinds}")
        return channel

    def _obstacle(self, found: Delivery, state: ChannelState) -> Outcome | None:
        """What becomes of a message whose channel is off or has to wait; None if it can be sent."""
        if state.state == "off":
            return Dead(f"channel {found.channel} is switched off: {state.error}")
        wait = 0.0 if state.retry_at is None else self._clock.until(parse(state.retry_at))
        if wait > 0 and found.kind != "test":
            return Snooze(wait, f"channel {found.channel} fails: {state.error}")
        return None

    async def send_now(self, channel: Channel[Any], message: OutgoingMessage, number: int) -> str | None:
        """Send a delivery now, whatever the state of its channel; the note of the channel. Raises ChannelError."""
        receipt = await self._send(channel, message)
        found = await self._db.read(lambda tx: tx.deliveries.by_id(number))
        if found is not None:
            after = await asyncio.shield(self._db.write(lambda tx: self._record_success(tx, found, receipt)))
            self.states[found.channel] = after
            self.attempts[found.channel, "sent"] += 1
        return receipt.note

    @staticmethod
    async def _send(channel: Channel[Any], message: OutgoingMessage) -> SendReceipt:
        """Send within the channel's timeout. Raises ChannelError."""
        try:
            async with asyncio.timeout(channel.timeout):
                return await channel.send(message)
        except TimeoutError:
            raise ChannelError(f"no answer within {format_duration(channel.timeout)}", may_have_arrived=True) from None
        except ChannelError:
            raise
        except Exception as error:
            log.exception("channel_failed", channel=channel.name)
            raise ChannelError(f"unexpected error: {type(error).__name__}", may_have_arrived=True) from error

    def _record_success(self, tx: Transaction, found: Delivery, receipt: SendReceipt) -> ChannelState:
        at = self._clock.stamp()
        tx.deliveries.mark_sent(found.id, at, receipt.remote_id, receipt.note)
        tx.notifications.confirm_told_dates(decode_as(found.content, Content).dates, at, found.id)
        before = tx.deliveries.channel_state(found.channel)
        after = ChannelState(found.channel, last_sent_at=at)
        tx.deliveries.save_channel_state(after)
        if before.state != "working":
            since = f" since {before.failing_since}" if before.failing_since else ""
            detail = f"Channel {found.channel} accepts messages again; it had failed{since}"
            notice = {"topic": RECOVERED, "kind": CHANNEL_CONDITION, "channel": found.channel, "detail": detail}
            tx.journal.add(at, notices=[notice])
        return after

    async def _record_failure(self, found: Delivery, error: ChannelError) -> Outcome:
        now = self._clock.now()
        is_too_old = (age(found.created_at, now) or 0.0) > MAX_AGE.total_seconds()
        is_too_old = is_too_old and found.attempts >= len(RETRY_DELAYS)  # an old one that a person retried is not
        is_final = error.permanent or error.is_gone or is_too_old

        def record(tx: Transaction) -> ChannelState:
            at = stamp(now)
            if not is_final:
                tx.deliveries.mark_waiting(found.id, at, str(error), error.progress, may_repeat=error.may_have_arrived)
            return self._count_failure(tx, found.channel, error, now)

        state = self.states[found.channel] = await self._db.write(record)
        self.attempts[found.channel, "failed"] += 1
        log.warning("delivery_failed", delivery_id=found.id, channel=found.channel, error=str(error), final=is_final)
        if is_final:
            return Dead(str(error))
        delay = RETRY_DELAYS[min(found.attempts, len(RETRY_DELAYS) - 1)]
        until_probe = 0.0 if state.retry_at is None else self._clock.until(parse(state.retry_at))
        return Snooze(max(delay, error.retry_after, until_probe), str(error))

    def _count_failure(self, tx: Transaction, channel: str, error: ChannelError, now: datetime) -> ChannelState:
        """Count a failure of a channel. A message that it refuses or defers alone says nothing of others."""
        before = tx.deliveries.channel_state(channel)
        if error.is_channel_working or (error.permanent and not error.is_gone):
            return before
        failures, since = before.failures + 1, before.failing_since or stamp(now)
        is_off = error.is_gone or (age(since, now) or 0.0) > OFF_AFTER.total_seconds()
        is_off = is_off or before.state == "off"  # another attempt has switched it off meanwhile
        state = "off" if is_off else "failing" if failures >= FAILURES_TO_OPEN else before.state
        step = min(max(failures - FAILURES_TO_OPEN, 0), len(PROBE_DELAYS) - 1)
        delay = max(PROBE_DELAYS[step] if state == "failing" else 0.0, error.retry_after)
        retry_at = stamp(self._clock.after(delay)) if delay else None
        after = ChannelState(channel, state, failures, since, retry_at, str(error), before.last_sent_at)
        tx.deliveries.save_channel_state(after)
        if after.state != before.state:
            what = "is switched off" if is_off else "fails"
            notice = {
                "topic": CHANNEL_FAILED,
                "kind": CHANNEL_CONDITION,
                "channel": channel,
                "state": after.state,
                "detail": f"Channel {channel} {what}: {error}",
            }
            tx.journal.add(stamp(now), notices=[notice])
        return after

    @staticmethod
    def on_dead(tx: Transaction, item: Item, error: str, at: str) -> None:
        """A message is not sent: it has failed, and the dates in it were not told."""
        number = _delivery_of(item)
        found = None if number is None else tx.deliveries.by_id(number)
        if found is not None:
            tx.deliveries.mark_failed(found.id, at, error)
            tx.notifications.take_back(found.channel, found.id, at)

    @staticmethod
    def on_retry(tx: Transaction, item: Item, at: str) -> None:
        """Its dead letter is retried: the message waits again."""
        number = _delivery_of(item)
        if number is not None:
            tx.deliveries.reopen(number, at)

    @staticmethod
    def on_discard(tx: Transaction, item: Item, at: str, who: str, why: str) -> None:
        """Its dead letter is discarded: the message is not sent."""
        number = _delivery_of(item)
        if number is not None:
            tx.deliveries.mark_discarded(number, at, discard_text(who, why))


def discard_text(who: str, why: str) -> str:
    """What a discarded delivery shows in place of an error."""
    return f"Discarded by {who}: {why}"


def _delivery_of(item: Item) -> int | None:
    """The number of the delivery that an item sends; None if its payload is damaged."""
    try:
        return decode_as(item.payload or "", DeliveryRequest).delivery
    except (msgspec.DecodeError, MalformedError):
        return None


def _load(tx: Transaction, number: int) -> tuple[Delivery | None, ChannelState, str | None, str | None]:
    """A delivery, the state of its channel, the remote ids of its thread's first message and of the replaced one."""
    found = tx.deliveries.by_id(number)
    if found is None:
        return None, ChannelState(""), None, None
    first = tx.deliveries.first_of_thread(found.channel, found.thread) if found.thread else None
    replaced = tx.deliveries.by_id(found.edits) if found.edits is not None else None
    state = tx.deliveries.channel_state(found.channel)
    root = first.remote_id if first is not None and first.id != found.id else None
    return found, state, root, replaced.remote_id if replaced is not None else None
