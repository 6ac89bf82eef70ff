"""Keeping what came: the event, its bytes and the item that applies it, in one transaction for many."""

import hashlib
from collections.abc import Sequence

import msgspec

from flexportd.queue.kinds import WEBHOOK
from flexportd.storage.events import Arrival
from flexportd.storage.session import Session

EVENT = "event"  # the kind of item that applies an event


class Received(msgspec.Struct, frozen=True, gc=False):
    """One event as it came. `broken` says why these signed bytes are no event."""

    arrival: Arrival
    broken: str | None = None


def body_id(body: bytes) -> str:
    """The name of bytes that have no event id: the same bytes sent again are a duplicate."""
    return "body-" + hashlib.sha256(body).hexdigest()[:24]


def keep(tx: Session, received: Sequence[Received]) -> list[bool]:
    """Keep and queue what is new; which of them were. Signed bytes that are no event go to the dead letters."""
    seqs = tx.events.add([one.arrival for one in received])
    at = received[-1].arrival.received_at
    whole = [seq for seq, one in zip(seqs, received, strict=True) if seq is not None and one.broken is None]
    tx.items.add_refs(at, EVENT, WEBHOOK, whole)
    for seq, one in zip(seqs, received, strict=True):
        if seq is not None and one.broken is not None:
            tx.items.add_dead(at, EVENT, seq, one.broken)
            tx.events.end(at, seq, "dead", one.broken)
            tx.events.count({("", "dead"): 1})
    return [seq is not None for seq in seqs]
