"""Stores received events: the event, its bytes and the item that applies it, many in one transaction."""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from flexportd.core.events.applier import REDELIVERED
from flexportd.errors import MalformedError
from flexportd.flexport.models.events import Head, parse_heads, recover_heads
from flexportd.queue.handlers import DEAD_LETTER
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.repositories.items import EVENTS, WEBHOOK
from flexportd.storage.transaction import Transaction

EVENT = "event"  # the kind of item that applies an event


class IncomingEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it arrived. `error` says why these signed bytes are not an event."""

    event: ReceivedEvent
    error: str | None = None


def read_heads(body: bytes) -> list[Head]:
    """The events in these bytes, one with an error if they hold none. Slow for malformed ones."""
    try:
        return parse_heads(body)
    except MalformedError as error:
        try:
            heads = recover_heads(body)
        except MalformedError:
            heads = [Head("", "", body, str(error))]
    return [head if head.error is None else replace(head, id=body_id(head.body)) for head in heads]


def body_id(body: bytes) -> str:
    """The id of bytes without an event id: the same bytes sent again are a duplicate."""
    return "body-" + hashlib.sha256(body).hexdigest()[:24]


def store_webhook(tx: Transaction, received: Sequence[IncomingEvent]) -> list[bool]:
    """Store and queue what webhooks delivered; which of them were new.

    Signed bytes that are not an event become dead letters. A duplicate may be an event that polling found first.
    """
    seqs = _store(tx, received, WEBHOOK)
    if None in seqs:
        known = [incoming.event.id for seq, incoming in zip(seqs, received, strict=True) if seq is None]
        tx.gaps.mark_delivered(received[-1].event.received_at, known)
    return [seq is not None for seq in seqs]


def store_polled(tx: Transaction, polled: Sequence[IncomingEvent]) -> list[int | None]:
    """Store and queue what polling found, at lower priority; the sequence number of each new one, None for the rest."""
    return _store(tx, polled, EVENTS)


def _store(tx: Transaction, received: Sequence[IncomingEvent], priority: int) -> list[int | None]:
    seqs = tx.events.add([incoming.event for incoming in received])
    at = received[-1].event.received_at
    valid = [seq for seq, incoming in zip(seqs, received, strict=True) if seq is not None and incoming.error is None]
    tx.items.add_refs(at, EVENT, priority, valid)
    for seq, incoming in zip(seqs, received, strict=True):
        event, error = incoming.event, incoming.error
        if seq is None or error is None:
            continue
        if tx.events.deleted_ids([event.id]):
            tx.events.finish(at, seq, "ignored", REDELIVERED)
            tx.events.count({("", "ignored"): 1})
        else:
            letter = tx.items.add_dead(at, EVENT, seq, error)
            notice = {"topic": DEAD_LETTER, "dead_letter_id": str(letter), "kind": EVENT, "detail": error}
            tx.journal.add(at, notices=[notice])
            tx.events.finish(at, seq, "dead", error)
            tx.events.count({("", "dead"): 1})
    return seqs
