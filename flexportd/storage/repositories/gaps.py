"""Gaps: events that polling found and no webhook had brought; and how far Flexport's list of events was read."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.queries.filters import expression, is_present, number, since, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.repositories.repository import ListRepository, plain_names
from flexportd.storage.statements import json_text

_MAX_SEQ = 2**63 - 1
_NEVER = "9"  # after every stamp
_MAX_SCANNED = 20_000  # events
NOT_OFFERED = "this account has no list of events"
"""How the failure of a poll begins if Flexport does not let the account read the list."""
_LOOKBACK, _LOOKAHEAD = 1000, 256  # places before and after that of a time in which its webhook is searched

LISTING = ListQuery(
    table="gaps LEFT JOIN events ON events.seq = gaps.seq",
    columns=(
        "gaps.seq", "event_id", "gaps.type", "gaps.created_at", "gaps.occurred_at", "detected_at", "gaps.resource",
        "gaps.resource_id", "gaps.shipment_id", "after_seq", "last_webhook_at", "recovered_by", "delivered_at",
        "on_time", "events.state", "events.reason",
    ),
    key="gaps.seq",
    sorts={"seq": "gaps.seq", "created_at": "gaps.created_at"},
    filters={
        "type": word("gaps.type", description="Only events of this type."),
        "shipment": number("gaps.shipment_id"),
        "outage": expression("after_seq = ? AND on_time = 0", "number", "Only events of this outage."),
        "detected_since": since("detected_at"),
        "delivered": is_present("delivered_at", "that a webhook delivered later"),
    },
)  # fmt: skip


class Gap(msgspec.Struct, frozen=True, gc=False):
    """An event that no webhook brought, with what was read from it; `seq` is its place in our order of arrival."""

    seq: int
    event_id: str
    type: str | None
    created_at: str
    occurred_at: str | None
    resource: str | None
    resource_id: str | None
    shipment_id: int | None


class WebhookEvent(msgspec.Struct, frozen=True, gc=False, order=True):
    """An event that a webhook brought. While it waits to be applied, `created_at` is when it came."""

    created_at: str
    seq: int
    received_at: str


class DeliveryState(msgspec.Struct, frozen=True, gc=False):
    """Since when this store receives events, on Flexport's clock, and the newest from polling and from webhooks."""

    since: str
    upstream_created_at: str | None = None
    upstream_occurred_at: str | None = None
    through_seq: int = 0
    webhook: WebhookEvent | None = None


class Poll(msgspec.Struct, frozen=True, gc=False):
    """How far one span of Flexport's list was read; times on our clock except `since` and `read_until`.

    `compared` is how many events from webhooks were searched in the list, `lacking` how many of them it did not have,
    `lacking_types` (JSON) these by type; `lacking_at` is when the newest of them arrived.
    """

    span: str
    since: str | None = None
    read_until: str | None = None
    newest_id: str | None = None
    good_at: str | None = None
    read: int = 0
    new: int = 0
    pages: int = 0
    failing_since: str | None = None
    failed_at: str | None = None
    failure: str | None = None
    compared: int = 0
    lacking: int = 0
    lacking_types: str = "{}"
    lacking_at: str | None = None
    compared_at: str | None = None


class ExpectedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event from a webhook that Flexport's list should have."""

    event_id: str
    type: str
    received_at: str


class OutageSummary(msgspec.Struct, frozen=True, gc=False):
    """The gaps that follow one delivered webhook, in total; `after_seq` is its `seq`, 0 without one."""

    after_seq: int
    deaf_since: str | None
    events: int
    first_created_at: str
    last_created_at: str
    first_noticed_at: str
    last_noticed_at: str
    late: int
    waiting: int
    dead: int


class Gaps(ListRepository):
    """Reads and writes `gaps`, `event_polls` and `event_delivery`."""

    family, listing = "gaps", LISTING

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of these event ids that are stored."""
        return set(self._first_column("known", json_text(ids)))

    def expected(self, occurred_after: str, received_before: str, limit: int) -> list[ExpectedEvent]:
        """The newest events from webhooks that could be parsed, the newest first.

        Only the last events are searched, whatever brought them.
        """
        return self._all(ExpectedEvent, "expected", _MAX_SCANNED, occurred_after, received_before, limit)

    def delivery_state(self) -> DeliveryState | None:
        """What polling and webhooks brought last; None before the first poll."""
        row = self._run("delivery").fetchone()
        if row is None:
            return None
        since, created_at, occurred_at, through, seq, at, webhook_created_at = row
        webhook = None if seq is None else WebhookEvent(webhook_created_at, seq, at)
        return DeliveryState(since, created_at, occurred_at, through, webhook)

    def set_listening_since(self, since: str) -> None:
        """Store since when this store receives events, on Flexport's clock, unless that is known already."""
        self._run("start", since)

    def observe(self, created_at: str | None, occurred_at: str | None) -> None:
        """Store the newest times that polling saw, and the newest webhook."""
        webhook = self.newest_webhook()
        where = (None, None, None) if webhook is None else (webhook.seq, webhook.received_at, webhook.created_at)
        self._run("record_newest", created_at, occurred_at, self._newest_through(_MAX_SEQ)[0], *where)

    def first_webhook_at(self) -> str | None:
        """When the first event arrived by webhook."""
        return self._text("first_webhook")

    def add(self, at: str, gaps: Iterable[Gap]) -> None:
        """Store gaps that were detected at `at`, each with the newest webhook before it."""
        before: WebhookEvent | None = None
        until = ""  # up to here it is the same webhook: nearly all gaps of an outage are found together
        for gap in sorted(gaps, key=lambda gap: gap.created_at):
            if gap.created_at >= until:
                before, until = self._webhook_before(gap.created_at)
            after = (0, None) if before is None else (before.seq, before.received_at)
            row = (
                gap.seq, gap.event_id, gap.type, gap.created_at, gap.occurred_at, at,
                gap.resource, gap.resource_id, gap.shipment_id, *after,
            )  # fmt: skip
            self._run("add", *row)

    def mark_delivered(self, at: str, ids: Sequence[str]) -> None:
        """A webhook brought these known events: their gaps are delivered."""
        self._run("record_delivered", at, json_text(ids))

    def polls(self) -> list[Poll]:
        """The progress of each span."""
        return self._all(Poll, "polls")

    def end_poll(self, poll: Poll) -> None:
        """A span was read to its end."""
        row = (
            poll.span, poll.since, poll.read_until, poll.newest_id, poll.good_at, poll.read, poll.new, poll.pages,
            poll.compared, poll.lacking, poll.lacking_types, poll.lacking_at, poll.compared_at,
        )  # fmt: skip
        self._run("finish_poll", *row)

    def fail_poll(self, span: str, at: str, failure: str) -> None:
        """A span could not be read to its end."""
        self._run("fail_poll", span, at, failure)

    def newest_webhook(self) -> WebhookEvent | None:
        """The newest event from a webhook, by arrival."""
        state = self.delivery_state()
        row = self._run("newest_webhook", state.through_seq if state else 0).fetchone()
        if row is None:
            return state.webhook if state else None
        seq, received_at, created_at = row
        return WebhookEvent(created_at, seq, received_at)

    def last_delivery_at(self) -> str | None:
        """When a webhook last brought an event that polling had brought before."""
        return self._text("last_delivery")

    def recent_times(self, most: int) -> list[str]:
        """When Flexport recorded the newest events that could be parsed; newest arrival first."""
        return self._first_column("recorded_at", most)

    def outages(self, page: PageRequest) -> list[OutageSummary]:
        """Outages, the newest first, one more than the page's limit when others follow."""
        upper = _MAX_SEQ if page.after is None else int(page.after[1]) - 1
        return self._all(OutageSummary, "outages", 0, upper, page.limit + 1)

    def newest_outage(self) -> OutageSummary | None:
        """The outage that the newest gap belongs to."""
        row = self._run("newest_outage").fetchone()
        return None if row is None else self._one(OutageSummary, "outages", *row, *row, 1)

    def ended_at(self, outage: OutageSummary) -> str | None:
        """When the first webhook arrived after an outage's first event, on our clock; None without one."""
        newest = self.newest_webhook()
        times = self._first_column("delivery_after", outage.last_noticed_at)
        if newest is not None:
            # Webhooks arrive in any order: one of a later event may have arrived a little before the outage's `seq`.
            span = (outage.after_seq - _LOOKAHEAD, newest.seq)
            times += self._first_column("webhook_after", *span, outage.first_created_at, outage.after_seq)
        return min(filter(None, times), default=None)

    def types(self, outage: OutageSummary) -> dict[str, int]:
        """The gaps of an outage by type of event, the most frequent first."""
        return dict(self._run("types", outage.after_seq).fetchall())

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of gaps, with columns without the names of their tables."""
        return plain_names(super().page(page))

    def _newest_through(self, seq: int) -> tuple[int, str]:
        """The newest event up to a `seq`: its `seq`, and when it arrived; (0, "") for none."""
        return self._run("last", seq).fetchone() or (0, "")

    def _webhook_before(self, moment: str) -> tuple[WebhookEvent | None, str]:
        """The newest webhook whose event was recorded at or before a time, and until when that is so.

        Only a range of places around that of the time is read, whatever the size of the store. If it has none, the
        webhook is the one that the last poll stored, or that of the newest gap before.
        """
        place, newest = self._seq_at(moment), self.newest_webhook()
        near = self._all(WebhookEvent, "webhooks_between", place - _LOOKBACK, place + _LOOKAHEAD)
        is_last = newest is None or newest.created_at <= moment
        later = (event.created_at for event in near if event.created_at > moment)
        until = min(later, default=_NEVER if is_last else "")
        before = [event for event in near if event.created_at <= moment]
        if before:
            return max(before), until
        if newest is not None and is_last:
            return newest, until
        gap = self._run("gap_before", moment).fetchone()
        return (WebhookEvent(gap[0], gap[1], gap[2]) if gap is not None and gap[1] else None), until

    def _seq_at(self, moment: str) -> int:
        """The `seq` of the last event that arrived up to a time, by binary search: `seq` is the order of arrival."""
        low, high = 0, self._newest_through(_MAX_SEQ)[0]
        while low < high:
            middle = (low + high + 1) // 2
            if self._newest_through(middle)[1] <= moment:
                low = middle
            else:
                high = middle - 1
        return low
