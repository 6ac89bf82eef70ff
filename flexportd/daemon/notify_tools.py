"""What people ask of notifications: a test message, a preview of a rule, the explanation of an event, a digest now."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from flexportd.core.notification_reports import ChannelTestResult, DigestResult, EventExplanation, RulePreview
from flexportd.errors import ConflictError, NotFoundError, UnavailableError
from flexportd.escape import closest_match
from flexportd.notify.channels.channel import Channel, ChannelError, OutgoingMessage
from flexportd.notify.composer import Composer, store
from flexportd.notify.composition import ChannelInfo, NotifyConfig, Send, new_key
from flexportd.notify.content import Content, Line, Section
from flexportd.notify.deliveries import DeliveryHandler, DeliveryRequest
from flexportd.notify.notifier import DELIVERY
from flexportd.notify.preview import (
    DAYS,
    Period,
    digest_preview,
    explain,
    find_rule,
    preview,
)
from flexportd.notify.render import render_text
from flexportd.notify.rules import Rule
from flexportd.queue.queue import Queue
from flexportd.storage.repositories.deliveries import NewDelivery
from flexportd.storage.scratch import NOTIFICATION_TABLES, run_on_scratch
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

TIME_LIMIT = 30.0  # seconds of a preview


class NotifyTools:
    """Answers these requests with the running configuration."""

    def __init__(self, queue: Queue, handler: DeliveryHandler, composer: Composer) -> None:
        self._queue = queue
        self._handler = handler
        self._composer = composer

    async def test(self, name: str) -> ChannelTestResult:
        """Send a test message to a channel now; a success switches it on again. Raises NotFoundError."""
        channel = self._channel(name)
        content = Content(
            title=f"Test message from {channel.context.title}",
            summary="If you can read this, notifications reach this channel.",
            sections=(Section((Line("flexportd", (f"Channel {name}",)),)),),
            path="/",
            topic="test",
            data={"channel": name},
        )
        clock, db = self._queue.clock, self._queue.db
        new = NewDelivery(
            key=new_key(), channel=name, channel_type=self._composer.config.channels[name].type, kind="test", rules=(),
            title=content.title, content=msgspec.json.encode(content).decode(),
        )  # fmt: skip

        def begin(tx: Transaction) -> int:
            number = tx.deliveries.add(new, clock.stamp())
            tx.deliveries.begin(number, clock.stamp())
            return number

        number = await db.write(begin)
        message = OutgoingMessage(key=new.key, content=content, created_at=clock.now())
        note: str | None = None
        error: str | None = None
        try:
            note = await self._handler.send_now(channel, message, number)
        except ChannelError as failure:
            error = sentence = str(failure)
            await db.write(lambda tx: tx.deliveries.mark_failed(number, clock.stamp(), sentence))
        return ChannelTestResult(
            channel=name, type=new.channel_type, destination=channel.destination, delivery_id=str(number),
            sent=error is None, error=error, note=note,
        )  # fmt: skip

    async def preview(self, name: str, days: int = DAYS) -> RulePreview:
        """What a rule would have sent in the last days. Raises NotFoundError, UnavailableError."""
        config, now = self._composer.config, self._queue.clock.now()
        rule = find_rule(config.rules, name)
        period = Period(now - timedelta(days=days), now)
        work = partial(preview, config=config, rule=rule, period=period, render=_render)
        stop, path = threading.Event(), self._queue.db.data_dir.database
        try:
            async with asyncio.timeout(TIME_LIMIT):
                return await asyncio.to_thread(run_on_scratch, path, NOTIFICATION_TABLES, work, stop)
        except TimeoutError:
            raise UnavailableError("the preview took too long and was stopped; try fewer days", retry_after=1) from None
        finally:
            stop.set()

    async def explain(self, event_id: str) -> EventExplanation:
        """Which rules matched an event, and why. Raises NotFoundError."""
        config, now = self._composer.config, self._queue.clock.now()
        return await self._queue.db.read(lambda tx: explain(tx, config, event_id, now))

    async def digest(self, rule_name: str | None, *, dry_run: bool) -> list[DigestResult]:
        """The digests of a rule, or of all, as they would be now; sent unless it is a dry run.

        Raises NotFoundError, InvalidError for a rule without digest, ConflictError if there is none, or for one that is
        switched off.
        """
        config = self._composer.config
        rules = [rule for rule in config.rules.rules if rule.digest and rule.is_enabled]
        if rule_name:
            rules = [find_rule(config.rules, rule_name)]
            if not dry_run and not rules[0].is_enabled:
                raise ConflictError(f"rule {rules[0].name!r} is switched off; set enabled = true to send its digest")
        results: list[DigestResult] = []
        for rule in rules:
            for name in rule.channels:
                async with self._composer.turn:
                    results.append(await self._digest(config, rule, config.channels[name], dry_run=dry_run))
        if not results:
            raise ConflictError("no rule has a digest and a channel; set digest in [[notify.rules]]")
        return results

    async def _digest(self, config: NotifyConfig, rule: Rule, channel: ChannelInfo, *, dry_run: bool) -> DigestResult:
        clock, db = self._queue.clock, self._queue.db
        sends = await db.read(lambda tx: digest_preview(tx, config, rule, channel, clock.now()))
        content = decode_as(sends[0].delivery.content, Content) if sends else None
        number = None
        if sends and not dry_run:
            number = await db.write(lambda tx: _send(tx, sends, clock.stamp()))
            self._queue.added(DELIVERY, 1)
        return DigestResult(
            rule=rule.name,
            channel=channel.name,
            title=content.title if content else None,
            text=_render(content) if content else None,
            delivery_id=None if number is None else str(number),
        )

    def _channel(self, name: str) -> Channel[Any]:
        channels: Mapping[str, Channel[Any]] = self._handler.channels
        if name not in channels:
            near = closest_match(name, channels)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(channels) or 'no channels'}"
            raise NotFoundError(f"there is no channel {name[:64]!r}; {hint}")
        return channels[name]


def _send(tx: Transaction, sends: Sequence[Send], at: str) -> int:
    """Queue a digest; the id of its delivery."""
    items = store(tx, sends, at)
    tx.items.add(at, items)
    return decode_as(items[0].payload or "", DeliveryRequest).delivery


def _render(content: Content) -> str:
    return render_text(content, lambda _: None)
