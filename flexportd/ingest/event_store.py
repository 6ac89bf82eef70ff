"""Keeping what came: the event, its bytes and the item that applies it, in one transaction for many."""

import hashlib
from collections.abc import Sequence

import msgspec

from flexportd.core.events.applier import SENT_AGAIN
from flexportd.queue.completion import DEAD_LETTER
from flexportd.queue.handlers import EVENTS, WEBHOOK
from flexportd.storage.repositories.events import Arrival
from flexportd.storage.transaction import Session

EVENT = "event"  # the kind of item that applies an event


class Received(msgspec.Struct, frozen=True, gc=False):
    """One event as it came. `broken` says why these signed bytes are no event."""

    arrival: Arrival
    broken: str | None = None


def body_id(body: bytes) -> str:
    """The name of bytes that have no event id: the same bytes sent again are a duplicate."""
    return "body-" + hashlib.sha256(body).hexdigest()[:24]


def keep(tx: Session, received: Sequence[Received]) -> list[bool]:
    """Keep and queue what a webhook brought; which of them were new.

    Signed bytes that are no event go to the dead letters. A duplicate may be of an event that polling found first.
    """
    seqs = _add(tx, received, WEBHOOK)
    if None in seqs:
        known = [one.arrival.id for seq, one in zip(seqs, received, strict=True) if seq is None]
        tx.gaps.deliver(received[-1].arrival.received_at, known)
    return [seq is not None for seq in seqs]


def keep_found(tx: Session, found: Sequence[Received]) -> list[int | None]:
    """Keep and queue what polling found, after what webhooks bring; the places of what was new, None for the rest."""
    return _add(tx, found, EVENTS)


def _add(tx: Session, received: Sequence[Received], priority: int) -> list[int | None]:
    seqs = tx.events.add([one.arrival for one in received])
    at = received[-1].arrival.received_at
    whole = [seq for seq, one in zip(seqs, received, strict=True) if seq is not None and one.broken is None]
    tx.items.add_refs(at, EVENT, priority, whole)
    for seq, one in zip(seqs, received, strict=True):
        if seq is None or one.broken is None:
            continue
        if tx.events.forgotten([one.arrival.id]):
            tx.events.end(at, seq, "ignored", SENT_AGAIN)
            tx.events.count({("", "ignored"): 1})
        else:
            letter = tx.items.add_dead(at, EVENT, seq, one.broken)
            notice = {"topic": DEAD_LETTER, "dead_letter_id": str(letter), "kind": EVENT, "detail": one.broken}
            tx.journal.add(at, notices=[notice])
            tx.events.end(at, seq, "dead", one.broken)
            tx.events.count({("", "dead"): 1})
    return seqs
