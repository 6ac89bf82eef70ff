"""What people do about deliveries and channels: send messages again, discard them, switch a channel on again.

A delivery and its item of the queue, which may be a dead letter, change in one transaction.
"""

from collections.abc import Sequence

import msgspec

from flexportd.errors import ConflictError, NotFoundError
from flexportd.notify.composition import delivery_item, program_lane
from flexportd.notify.deliveries import FAILURES_TO_OPEN, discard_text
from flexportd.notify.notifier import DELIVERY
from flexportd.queue.queue import Queue
from flexportd.storage.repositories.deliveries import ChannelState, Delivery, DeliverySelection
from flexportd.storage.repositories.items import EVENTS, SYNC
from flexportd.storage.transaction import Transaction


def retry(tx: Transaction, queue: Queue, number: int, at: str, *, again: bool = False) -> None:
    """Send a message that was not sent, or attempt now what waits. With `again`, one that was sent is sent once more.

    It keeps its key, by which the recipient may recognize it. Raises NotFoundError, ConflictError.
    """
    found = _delivery(tx, number)
    if found.state == "sent" and not again:
        raise ConflictError(f"delivery {number} was sent at {found.sent_at}; to send it once more, set again")
    check_channel(tx, found.channel)
    item = tx.items.with_merge_keys(DELIVERY, [str(number)]).get(str(number))
    if item is not None and item.state == "leased":
        raise ConflictError(f"delivery {number} is being sent")
    if item is not None and item.state == "ready":
        state = tx.deliveries.channel_state(found.channel)
        tx.deliveries.save_channel_state(msgspec.structs.replace(state, retry_at=None))
    _queue_again(tx, queue, found, at, EVENTS)


def retry_matching(tx: Transaction, queue: Queue, selection: DeliverySelection, at: str, limit: int) -> Sequence[int]:
    """Send selected messages again, the oldest first, after everything else that waits. Raises ConflictError."""
    check_channel(tx, selection.channel or "")
    numbers = tx.deliveries.matching(selection, limit)
    for number in numbers:
        _queue_again(tx, queue, _delivery(tx, number), at, SYNC)
    return numbers


def discard(tx: Transaction, queue: Queue, number: int, at: str, *, who: str, why: str) -> None:
    """Do not send a message that waits or has failed. Raises NotFoundError, ConflictError."""
    found = _delivery(tx, number)
    if found.state in ("sent", "discarded"):
        raise ConflictError(f"delivery {number} is {found.state}")
    item = tx.items.with_merge_keys(DELIVERY, [str(number)]).get(str(number))
    if item is not None and item.state == "leased":
        raise ConflictError(f"delivery {number} is being sent")
    if item is not None and item.state == "dead" and item.discarded_at is None:
        queue.discard_dead(tx, item.id, at, who, why)
        return
    if item is not None and item.state == "ready":
        tx.items.finish([item])
    tx.deliveries.mark_discarded(number, at, discard_text(who, why))
    tx.notifications.take_back(found.channel, number, at)


def check_channel(tx: Transaction, channel: str) -> None:
    """Raises ConflictError for a channel that is switched off."""
    state = tx.deliveries.channel_state(channel)
    if state.state == "off":
        raise ConflictError(f"channel {channel} is switched off: {state.error}; resume it first")


def resume_channel(tx: Transaction, channel: str, at: str) -> ChannelState:
    """Attempt the next message of a channel that fails or is switched off; its first success is reported as usual."""
    before = tx.deliveries.channel_state(channel)
    if before.state == "working":
        return before
    after = msgspec.structs.replace(before, state="failing", failures=FAILURES_TO_OPEN, failing_since=at, retry_at=None)
    tx.deliveries.save_channel_state(after)
    return after


def _delivery(tx: Transaction, number: int) -> Delivery:
    found = tx.deliveries.by_id(number)
    if found is None:
        raise NotFoundError(f"there is no delivery {number}")
    return found


def _queue_again(tx: Transaction, queue: Queue, found: Delivery, at: str, priority: int) -> None:
    """Through its dead letter if it has one; else with a new item, which a waiting one absorbs."""
    item = tx.items.with_merge_keys(DELIVERY, [str(found.id)]).get(str(found.id))
    if item is not None and item.state == "dead":
        queue.retry_dead(tx, item.id, at)
        return
    tx.deliveries.reopen(found.id, at)
    contained = tx.notifications.of_delivery(found.id, 1) if found.channel_type == "webhook" else []
    lane = program_lane(contained[0]) if contained else found.channel
    tx.items.add(at, [delivery_item(found.id, lane, priority)])
