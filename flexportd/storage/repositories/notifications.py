"""Notifications: what channels are to be told, when, and the dates that they were last told."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from flexportd.storage.change_log import ConsumerState
from flexportd.storage.queries.filters import before, number, since, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import bulk_insert, json_text

Hold = Literal["gather", "quiet", "rate", "repeat", "outage", "digest"]
"""Why a notification waits.

`gather`: for others that belong to it. `quiet`: for the end of quiet hours. `rate`: the rule has sent as many as it may
in an hour. `repeat`: the subject was reported several times lately. `outage`: Flexport or our webhooks are
down. `digest`: for the next digest of its rule.
"""

STATES = ("waiting", "sent", "dropped")

_COLUMNS = (
    "occurrence", "rule", "channel", "topic", "subject", "resource", "resource_id", "shipment_id", "exception_id",
    "message", "created_at", "hold", "due_at",
)  # fmt: skip

COLUMNS = ("id", *_COLUMNS, "state", "ended_at", "reason", "delivery_id")

LISTING = ListQuery(
    table="notifications",
    columns=tuple(name for name in COLUMNS if name not in ("occurrence", "message")),
    key="id",
    sorts={"id": "id"},
    filters={
        "state": word("state", *STATES),
        "channel": word("channel", description="Only for this channel."),
        "rule": word("rule", description="Only of this rule."),
        "topic": word("topic", description="Only of this topic."),
        "shipment": number("shipment_id", description="Only about this shipment."),
        "exception": number("exception_id", description="Only about this exception."),
        "delivery": number("delivery_id", description="Only in this delivery."),
        "created_after": since("created_at"),
        "created_before": before("created_at"),
    },
)


class NotifierState(ConsumerState, frozen=True, kw_only=True):
    """The progress of the notifier. `is_loud`: what happens from now on is news.

    Before that, a complete sync that began after `baseline_since` is awaited.
    """

    is_loud: bool
    baseline_since: str = ""


class NewNotification(msgspec.Struct, frozen=True, gc=False):
    """One occurrence for one rule and channel; see the columns of `notifications`. `message` is JSON."""

    occurrence: str
    rule: str
    channel: str
    topic: str
    subject: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    exception_id: int | None
    message: str
    created_at: str
    hold: Hold
    due_at: str


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A stored notification; the message is decoded."""

    id: int
    occurrence: str
    rule: str
    channel: str
    topic: str
    subject: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    exception_id: int | None
    message: Mapping[str, Any]
    created_at: str
    hold: Hold
    due_at: str
    state: str
    ended_at: str | None
    reason: str | None
    delivery_id: int | None


class ToldDate(msgspec.Struct, frozen=True, gc=False):
    """The day that a channel was last told, as `2026-03-21`; None: no date was known. Without a delivery, the start."""

    day: str | None
    told_at: str
    delivery_id: int | None


DateKey = tuple[str, str, str, str]
"""(channel, resource, id, field)."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Notifications(ListRepository):
    """Reads and writes `notifications`, `told_dates` and `digest_runs`."""

    family, listing, columns = "notifications", LISTING, COLUMNS

    def add(self, rows: Sequence[NewNotification]) -> None:
        """Store notifications; those of an occurrence that is stored already are left out."""
        values = [tuple(getattr(row, name) for name in _COLUMNS) for row in rows]
        bulk_insert(self._raw, self._sql["add"], values)

    def due(self, channel: str, now: str, limit: int) -> list[Notification]:
        """The waiting ones of a channel that are due, and those that gather with them; the first that happened first.

        Those for digests are left out.
        """
        return self._all(_notification, "due", channel, now, limit)

    def channels_due(self, now: str) -> list[str]:
        """The channels with notifications that are due, without those for digests."""
        return self._first_column("channels_due", now)

    def next_due(self) -> str | None:
        """When the next waiting one is due."""
        return self._text("next_due")

    def for_digest(self, rule: str, channel: str, limit: int) -> list[Notification]:
        """Those that wait for a digest, the first that happened first."""
        return self._all(_notification, "for_digest", rule, channel, limit)

    def hold(self, ids: Sequence[int], hold: Hold, due_at: str) -> None:
        """Let waiting ones wait on, for another reason."""
        self._run("hold", hold, due_at, json_text(ids))

    def drop(self, ids: Sequence[int], reason: str, at: str) -> None:
        """They are not sent."""
        self._run("drop", reason, at, json_text(ids))

    def mark_sent(self, ids: Sequence[int], delivery_id: int, at: str) -> None:
        """They are part of a delivery."""
        self._run("mark_sent", delivery_id, at, json_text(ids))

    def release_digests(self, kept: Sequence[tuple[str, str]], at: str) -> int:
        """Let those become due that wait for a digest other than these (rule, channel); how many."""
        return self._run("release_digests", at, json_text(kept)).rowcount

    def forget_other_digests(self, kept: Sequence[tuple[str, str]]) -> None:
        """Forget when digests other than these (rule, channel) are due: one that returns waits for its next time."""
        self._run("forget_other_digests", json_text(kept))

    def digest_rules(self) -> list[str]:
        """The rules for whose digests a notification waits, or a time is stored."""
        return self._first_column("digest_rules")

    def rename_digest(self, old: str, new: str) -> None:
        """What waits for the digest of a rule, and its times, belong to its new name."""
        self._run("rename_waiting_for_digest", new, old)
        self._run("rename_digest_times", new, old)

    def drop_waiting(self, reason: str, at: str) -> int:
        """Drop all that wait; how many."""
        return self._run("drop_waiting", reason, at).rowcount

    def recently_sent(self, channel: str, subjects: Sequence[str], since_at: str) -> dict[str, list[str]]:
        """When messages about these subjects were made for a channel since a time, oldest first."""
        found: dict[str, list[str]] = {}
        for subject, at in self._run("recently_sent", channel, json_text(subjects), since_at):
            found.setdefault(subject, []).append(at)
        return found

    def last_state(self, channel: str, subject: str) -> str | None:
        """The state of the newest notification of a channel about a subject; None without one."""
        return self._text("last_state", channel, subject)

    def told_by_other_rule(self, row: Notification) -> str | None:
        """The rule for which the channel was told of the same occurrence; None without one."""
        return self._text("told_by_other_rule", row.occurrence, row.channel, row.rule)

    def was_told(self, channel: str, exception_id: int) -> bool:
        """Whether a channel was told of an exception."""
        return self._run("was_told", channel, exception_id).fetchone() is not None

    def of_delivery(self, delivery_id: int, limit: int) -> list[Notification]:
        """Those that a delivery contains, oldest first."""
        return self._all(_notification, "of_delivery", delivery_id, limit)

    def rule_counts(self, since_at: str) -> dict[str, tuple[int, int, int, str | None]]:
        """By rule: how many matched since a time, were sent, were dropped; and when it last matched at all."""
        return {rule: (*counts, last) for rule, *counts, last in self._run("rule_counts", since_at)}

    def outcomes(self) -> list[tuple[str, str | None, int]]:
        """(state, reason, how many) of all notifications."""
        return self._run("outcomes").fetchall()

    def of_occurrence(self, occurrence: str, rule: str) -> list[Notification]:
        """What a rule made of an occurrence, one for each channel."""
        return self._all(_notification, "of_occurrence", occurrence, rule)

    def told_dates(self, keys: Sequence[DateKey]) -> dict[DateKey, ToldDate]:
        """The dates that were last told, as far as they are known."""
        rows = self._run("told_dates", json_text(keys))
        return {(row[0], row[1], row[2], row[3]): ToldDate(*row[4:]) for row in rows}

    def begin_dates(self, values: Sequence[tuple[DateKey, str | None]], at: str) -> None:
        """Where the comparison of these dates begins, unless it has begun with a known day."""
        self._raw.executemany(self._sql["begin_date"], [(*key, day, at) for key, day in values])

    def save_told_dates(self, values: Sequence[tuple[DateKey, str | None]], at: str, delivery_id: int) -> None:
        """These dates are told with a delivery."""
        self._raw.executemany(self._sql["save_told_date"], [(*key, day, at, delivery_id) for key, day in values])

    def confirm_told_dates(self, values: Sequence[tuple[DateKey, str | None]], at: str, delivery_id: int) -> None:
        """A delivery with these dates was sent, perhaps after a later one, or after it had failed."""
        self._raw.executemany(self._sql["confirm_told_date"], [(delivery_id, day, at, *key) for key, day in values])

    def take_back(self, channel: str, delivery_id: int, at: str) -> None:
        """The dates in a delivery that failed were not told: the ones before it count."""
        self._run("take_back", at, channel, delivery_id)

    def forget_told_dates(self) -> None:
        """Begin all comparisons again."""
        self._run("forget_told_dates")

    def digest_due_at(self, rule: str, channel: str) -> str | None:
        """When the next digest is due; None before the first."""
        return self._text("digest_due_at", rule, channel)

    def save_digest_due_at(self, rule: str, channel: str, at: str) -> None:
        """Set when the next digest is due."""
        self._run("save_digest_due_at", rule, channel, at)

    def forget_digest_times(self) -> None:
        """Each digest is due at its next time."""
        self._run("forget_digest_times")

    def delete_old(self, before: str, limit: int) -> int:
        """Delete ended notifications from before a time, without those about open exceptions; how many."""
        return self._run("delete_old", before, limit).rowcount


def _notification(*values: Any) -> Notification:
    row = dict(zip(Notification.__struct_fields__, values, strict=True))
    return Notification(**{**row, "message": _decode(row["message"])})
