"""What polling found and no webhook had brought, and how far Flexport's list of events was read."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import expression, is_present, number, since, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest

_MAX_SEQ = 2**63 - 1
_NEVER = "9"  # after every stamp
_MAX_SCANNED = 20_000  # events
NOT_OFFERED = "this account has no list of events"
"""How the failure of a poll begins where Flexport does not let the account read the list."""
_LOOKBACK, _LOOKAHEAD = 1000, 256  # places before and after a time's own in which its webhook is looked for

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
    """From when on this store listens, on Flexport's clock, and the newest that each way brought."""

    since: str
    upstream_created_at: str | None = None
    upstream_occurred_at: str | None = None
    through_seq: int = 0
    webhook: WebhookEvent | None = None


class Poll(msgspec.Struct, frozen=True, gc=False):
    """How far one span of Flexport's list was read; times on our clock but for `since` and `read_until`.

    `compared` is how many events that webhooks brought were looked for in the list, `lacking` how many of them it did
    not have, by type in `lacking_types` (JSON); `lacking_at` is when the newest of those came.
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
    """An event that a webhook brought, and that Flexport's list should have."""

    event_id: str
    type: str
    received_at: str


class OutageSummary(msgspec.Struct, frozen=True, gc=False):
    """The gaps that follow one delivered webhook, added up; `after_seq` is its place, 0 where there was none."""

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


class Gaps:
    """Reads and writes `gaps`, `event_polls` and `event_delivery`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("gaps")

    # --- polling ---

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of these event ids that are kept."""
        return {row[0] for row in self._raw.execute(self._sql["known"], (_json(ids),))}

    def expected(self, occurred_after: str, received_before: str, limit: int) -> list[ExpectedEvent]:
        """The newest events that webhooks brought, the newest first, of those that were applied or at least read.

        Only the last events are looked through, whatever brought them.
        """
        rows = self._raw.execute(self._sql["expected"], (_MAX_SCANNED, occurred_after, received_before, limit))
        return [ExpectedEvent(*row) for row in rows]

    def delivery_state(self) -> DeliveryState | None:
        """What is known of the ways by which events are heard of; None before the first poll."""
        row = self._raw.execute(self._sql["hearing"]).fetchone()
        if row is None:
            return None
        since, created_at, occurred_at, through, seq, at, webhook_created_at = row
        webhook = None if seq is None else WebhookEvent(webhook_created_at, seq, at)
        return DeliveryState(since, created_at, occurred_at, through, webhook)

    def set_listening_since(self, since: str) -> None:
        """Note from when on this store listens, on Flexport's clock, unless that is known already."""
        self._raw.execute(self._sql["listen"], (since,))

    def observe(self, created_at: str | None, occurred_at: str | None) -> None:
        """Note the newest times that polling saw, and where the newest webhook is."""
        webhook = self.newest_webhook()
        through = self._newest_through(_MAX_SEQ)
        where = (None, None, None) if webhook is None else (webhook.seq, webhook.received_at, webhook.created_at)
        self._raw.execute(self._sql["hear"], (created_at, occurred_at, through[0] if through else 0, *where))

    def first_webhook_at(self) -> str | None:
        """When the first event came by webhook."""
        row = self._raw.execute(self._sql["first_webhook"]).fetchone()
        return None if row is None else row[0]

    def add(self, at: str, gaps: Iterable[Gap]) -> None:
        """Keep gaps noticed at `at`, each with the newest webhook before it."""
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
            self._raw.execute(self._sql["add"], row)

    def mark_delivered(self, at: str, ids: Sequence[str]) -> None:
        """A webhook brought these events, which were known; what had been a gap until then says so from now on."""
        self._raw.execute(self._sql["deliver"], (at, _json(ids)))

    def polls(self) -> list[Poll]:
        """How far each span was read."""
        return [Poll(*row) for row in self._raw.execute(self._sql["polls"])]

    def end_poll(self, poll: Poll) -> None:
        """A span was read to its end."""
        row = (
            poll.span, poll.since, poll.read_until, poll.newest_id, poll.good_at, poll.read, poll.new, poll.pages,
            poll.compared, poll.lacking, poll.lacking_types, poll.lacking_at, poll.compared_at,
        )  # fmt: skip
        self._raw.execute(self._sql["poll_ended"], row)

    def fail_poll(self, span: str, at: str, failure: str) -> None:
        """A span could not be read to its end."""
        self._raw.execute(self._sql["poll_failed"], (span, at, failure))

    # --- looking back ---

    def newest_webhook(self) -> WebhookEvent | None:
        """The newest event that a webhook brought, by arrival."""
        hearing = self.delivery_state()
        row = self._raw.execute(self._sql["newest_webhook"], (hearing.through_seq if hearing else 0,)).fetchone()
        if row is None:
            return hearing.webhook if hearing else None
        seq, received_at, created_at = row
        return WebhookEvent(created_at, seq, received_at)

    def last_delivery_at(self) -> str | None:
        """When a webhook last brought what polling had brought before."""
        at: str | None = self._raw.execute(self._sql["last_delivery"]).fetchone()[0]
        return at

    def recent_times(self, most: int) -> list[str]:
        """When the newest events were recorded by Flexport, of those that were read; newest arrival first."""
        return [row[0] for row in self._raw.execute(self._sql["moments"], (most,))]

    def outages(self, page: PageRequest) -> list[OutageSummary]:
        """Outages, the newest first, one more than the page's limit when others follow."""
        upper = _MAX_SEQ if page.after is None else int(page.after[1]) - 1
        return self._outages(0, upper, page.limit + 1)

    def newest_outage(self) -> OutageSummary | None:
        """The outage that the newest gap belongs to."""
        row = self._raw.execute(self._sql["newest_outage"]).fetchone()
        return None if row is None else self._outages(row[0], row[0], 1)[0]

    def ended_at(self, outage: OutageSummary) -> str | None:
        """When the first webhook came after an outage's first event, on our clock; None while none has."""
        newest = self.newest_webhook()
        found = []
        if newest is not None:
            # Webhooks arrive in any order: one of a later event may have come a little before the outage's own place.
            row = (outage.after_seq - _LOOKAHEAD, newest.seq, outage.first_created_at, outage.after_seq)
            found += self._raw.execute(self._sql["webhook_after"], row).fetchall()
        found += self._raw.execute(self._sql["delivery_after"], (outage.last_noticed_at,)).fetchall()
        return min((at for (at,) in found if at is not None), default=None)

    def types(self, outage: OutageSummary) -> dict[str, int]:
        """The gaps of an outage by type of event, the most frequent first."""
        return dict(self._raw.execute(self._sql["types"], (outage.after_seq,)).fetchall())

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of gaps, each under the plain names of its columns."""
        rows = LISTING.read(self._raw, page)
        return [{name.rpartition(".")[2]: value for name, value in row.items()} for row in rows]

    def _outages(self, lower: int, upper: int, most: int) -> list[OutageSummary]:
        rows = self._raw.execute(self._sql["outages"], (lower, upper, most))
        return [OutageSummary(*row) for row in rows]

    def _newest_through(self, seq: int) -> tuple[int, str] | None:
        """The newest event up to a place: its place, and when it came."""
        row: tuple[int, str] | None = self._raw.execute(self._sql["last"], (seq,)).fetchone()
        return row

    def _webhook_before(self, moment: str) -> tuple[WebhookEvent | None, str]:
        """The newest webhook whose event was recorded at or before a time, and until when that is so.

        Only a run of places around the time's own is read, whatever the size of the store. Where it holds none, what
        the last poll noted and the newest gap before tell the webhook.
        """
        place, newest = self._seq_at(moment), self.newest_webhook()
        near = [
            WebhookEvent(*row)
            for row in self._raw.execute(self._sql["webhooks_between"], (place - _LOOKBACK, place + _LOOKAHEAD))
        ]
        is_last = newest is None or newest.created_at <= moment
        until = min(
            (found.created_at for found in near if found.created_at > moment), default=_NEVER if is_last else ""
        )
        before = [found for found in near if found.created_at <= moment]
        if before:
            return max(before), until
        if newest is not None and is_last:
            return newest, until
        gap = self._raw.execute(self._sql["gap_before"], (moment,)).fetchone()
        return (WebhookEvent(gap[0], gap[1], gap[2]) if gap is not None and gap[1] else None), until

    def _seq_at(self, moment: str) -> int:
        """Where the events begin that came after a time: halving, since they came in the order of their places."""
        newest = self._newest_through(_MAX_SEQ)
        low, high = 0, newest[0] if newest else 0
        while low < high:
            middle = (low + high + 1) // 2
            row = self._newest_through(middle)
            if row is None or row[1] <= moment:
                low = middle
            else:
                high = middle - 1
        return low


def _json(ids: Sequence[str]) -> str:
    return msgspec.json.encode(ids).decode()
