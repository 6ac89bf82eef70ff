"""The page of the queue and its dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flexportd.core.events.applier import event_title
from flexportd.expose.dashboard.view.dates import DateText, RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, event_url, short_text, text
from flexportd.expose.openapi.query_params import ListRequest, ListRules
from flexportd.storage.repositories.items import DEAD_LETTERS
from flexportd.storage.transaction import Transaction

NOTICES = {
    "retried": "The dead letter was queued for retry.",
    "discarded": "The dead letter was discarded. It is kept with your reason.",
    "paused": "Queue paused. Webhooks are still accepted and stored.",
    "resumed": "Queue resumed.",
}

RULES = ListRules(
    sorts={"enqueued_at": "id"},
    filters={"discarded": DEAD_LETTERS.filters["discarded"]},
    fields=(),
    fixed_filters={"dead": ()},
)


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many items are in one state, and since when the oldest of them."""

    title: str
    count: str
    meaning: str
    tone: str
    oldest: RelativeTime | None


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """An item that gave up."""

    id: int
    title: Text
    type: str | None
    event: Text | None
    shipment_id: int | None
    error: Text | None
    attempts: str
    died: DateText | None
    discarded: str | None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Everything the page of the queue shows."""

    notice: str | None
    is_paused: bool
    counts: tuple[StateCount, ...]
    letters: tuple[DeadLetterRow, ...]
    shows_discarded: bool
    next_url: str | None


@dataclass(frozen=True, slots=True)
class QueueData:
    """What the store says of the queue; `next` is the cursor of the next page of dead letters."""

    stats: Mapping[str, tuple[int, str | None]]
    letters: Sequence[Mapping[str, Any]]
    next: str | None


def read(tx: Transaction, asked: ListRequest) -> QueueData:
    """Counts and one page of dead letters in one snapshot."""
    letters = tx.items.dead_letters(asked.page)
    return QueueData(tx.items.stats(), letters, asked.encode_next_cursor(tx, letters))


def queue_page(
    found: QueueData, asked: ListRequest, query: Mapping[str, str], about: tuple[ViewContext, bool]
) -> QueuePage:
    """The queue in words; `about` is the view, and whether the queue is paused."""
    sight, paused = about
    limit, next_url = asked.page.limit, None
    if found.next is not None:
        kept = {name: value for name, value in query.items() if name != "done"}
        next_url = f"/queue?{urlencode({**kept, 'cursor': found.next})}"
    return QueuePage(
        notice=NOTICES.get(query.get("done", "")),
        is_paused=paused,
        counts=_counts(found.stats, sight),
        letters=tuple(_dead_letter_row(row, sight) for row in found.letters[:limit]),
        shows_discarded="discarded" in asked.page.filters,
        next_url=next_url,
    )


def _counts(stats: Mapping[str, tuple[int, str | None]], sight: ViewContext) -> tuple[StateCount, ...]:
    words = (
        ("ready", "Waiting", "to be processed", "plain"),
        ("leased", "Running", "in progress", "plain"),
        ("dead", "Dead letters", "failed permanently", "bad" if stats["dead"][0] else "plain"),
    )
    return tuple(
        StateCount(title, f"{stats[state][0]:,}", meaning, tone, sight.ago(stats[state][1]))
        for state, title, meaning, tone in words
    )


def _event(event_id: str | None) -> Text | None:
    shown = text(event_id, 80)
    return None if shown is None else Text(shown.shown, shown.whole, event_url(event_id))


def _dead_letter_row(row: Mapping[str, Any], sight: ViewContext) -> DeadLetterRow:
    discarded = None
    if row["discarded_at"]:
        at = sight.instant(row["discarded_at"])
        who, why = (
            short_text(row["discarded_by"]) or "someone",
            short_text(row["discard_reason"], 200) or "no reason given",
        )
        discarded = f"Discarded by {who} on {at.text if at else 'an unknown date'}: {why}"
    return DeadLetterRow(
        id=row["id"],
        title=text(event_title(row["event_type"]), 60) or Text("Event"),
        type=short_text(row["event_type"], 80),
        event=_event(row["event_id"]),
        shipment_id=row["shipment_id"],
        error=text(row["error"], 300),
        attempts=count(row["attempts"], "attempt"),
        died=sight.instant(row["ended_at"]),
        discarded=discarded,
    )
