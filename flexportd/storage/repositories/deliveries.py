"""Deliveries: messages to channels with what became of them, and the states of channels."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from flexportd.storage.queries.filters import before, since, subquery, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text

ITEM_KIND = "delivery"
"""The kind of the queue's items that send messages; their merge key is the number of the message."""

Kind = Literal["message", "summary", "digest", "test"]
KINDS: tuple[Kind, ...] = ("message", "summary", "digest", "test")

State = Literal["waiting", "sending", "sent", "failed", "discarded"]
STATES: tuple[State, ...] = ("waiting", "sending", "sent", "failed", "discarded")


class Delivery(msgspec.Struct, frozen=True):
    """One message to one channel; see the columns of `deliveries`. `rules`, `content` and `progress` are JSON."""

    id: int
    key: str
    channel: str
    channel_type: str
    kind: Kind
    rules: str
    title: str
    content: str
    thread: str | None
    cause: str | None
    edits: int | None
    notifications: int
    state: State
    created_at: str
    updated_at: str
    sent_at: str | None
    attempts: int
    is_repeated: bool
    remote_id: str | None
    progress: str | None
    error: str | None
    note: str | None


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be sent; `content` is JSON."""

    key: str
    channel: str
    channel_type: str
    kind: Kind
    rules: Sequence[str]
    title: str
    content: str
    thread: str | None = None
    cause: str | None = None
    edits: int | None = None
    notifications: int = 0


class DeliverySelection(msgspec.Struct, frozen=True, kw_only=True):
    """Messages to send again: those in one of these states, created in a time range, after one of them."""

    states: Sequence[State]
    channel: str | None = None
    since: str = ""
    until: str = "9999"
    after: int = 0

    @property
    def parameters(self) -> tuple[str | int | None, ...]:
        """Those of the SQL."""
        return self.channel, self.since, self.until, json_text(self.states), self.after


class ChannelState(msgspec.Struct, frozen=True):
    """Whether a channel accepts messages. `failures` since the last success; nothing is sent before `retry_at`."""

    channel: str
    state: Literal["working", "failing", "off"] = "working"
    failures: int = 0
    failing_since: str | None = None
    retry_at: str | None = None
    error: str | None = None
    last_sent_at: str | None = None


_UNLISTED = ("content", "progress")

LISTING = ListQuery(
    table="deliveries",
    columns=tuple(name for name in Delivery.__struct_fields__ if name not in _UNLISTED),
    key="id",
    sorts={"id": "id"},
    filters={
        "state": word("state", *STATES),
        "channel": word("channel", description="Only to this channel."),
        "kind": word("kind", *KINDS),
        "shipment": subquery(
            "id",
            "SELECT delivery_id FROM notifications WHERE shipment_id = ? AND delivery_id IS NOT NULL",
            "notifications",
            value_type="number",
            description="Only about this shipment.",
        ),
        "exception": subquery(
            "id",
            "SELECT delivery_id FROM notifications WHERE exception_id = ? AND delivery_id IS NOT NULL",
            "notifications",
            value_type="number",
            description="Only about this exception.",
        ),
        "created_after": since("created_at"),
        "created_before": before("created_at"),
    },
)


class Deliveries(ListRepository):
    """Reads and writes `deliveries` and `channel_states`."""

    family, listing, columns = "deliveries", LISTING, Delivery.__struct_fields__

    def add(self, new: NewDelivery, at: str) -> int:
        """Store a message that is to be sent; its id."""
        values = (
            new.key, new.channel, new.channel_type, new.kind, json_text(list(new.rules)), new.title, new.content,
            new.thread, new.cause, new.edits, new.notifications, at,
        )  # fmt: skip
        return self._run("add", *values).lastrowid or 0

    def by_id(self, number: int) -> Delivery | None:
        """One by its id."""
        return self._one(_delivery, "one", number)

    def last_of_cause(self, channel: str, cause: str, since_at: str) -> Delivery | None:
        """The newest message of a channel about a cause, created since a time."""
        return self._one(_delivery, "last_of_cause", channel, cause, since_at)

    def first_of_thread(self, channel: str, thread: str) -> Delivery | None:
        """The first message of a conversation that was sent."""
        return self._one(_delivery, "first_of_thread", channel, thread)

    def replaced_by(self, found: Delivery) -> int | None:
        """A message that was sent and contains this one, which it was to replace; None without one."""
        row = None if found.cause is None else self._run("replaced_by", found.channel, found.cause, found.id).fetchone()
        return None if row is None else int(row[0])

    def times_of_rule(self, rule: str, channel: str, since_at: str) -> list[str]:
        """When messages of a rule were made for a channel since a time, oldest first."""
        return self._first_column("times_of_rule", channel, since_at, rule)

    def begin(self, number: int, at: str) -> bool:
        """An attempt begins; whether an earlier one was interrupted, so that the message may arrive twice."""
        return bool(self._run("begin", at, number).fetchone()[0])

    def mark_sent(self, number: int, at: str, remote_id: str | None, note: str | None) -> None:
        """The channel has accepted the message."""
        self._run("mark_sent", at, remote_id, note, number)

    def mark_waiting(
        self, number: int, at: str, error: str, progress: Mapping[str, Any] | None, *, may_repeat: bool
    ) -> None:
        """An attempt failed, and another one follows; `may_repeat`: the failed one may have arrived."""
        encoded = None if progress is None else json_text(progress)
        self._run("mark_waiting", at, error, encoded, int(may_repeat), number)

    def mark_failed(self, number: int, at: str, error: str) -> None:
        """The message is not sent."""
        self._run("mark_failed", at, error, number)

    def fail_interrupted_tests(self, at: str, error: str) -> None:
        """Test messages that were being sent when the process ended have failed: nobody sends them again."""
        self._run("fail_interrupted_tests", at, error)

    def mark_discarded(self, number: int, at: str, reason: str) -> None:
        """A person, or a restore, decided that it is not sent."""
        self._run("mark_discarded", at, reason, number)

    def reopen(self, number: int, at: str) -> bool:
        """Send a message (again); False unless it was sent, has failed or was discarded."""
        return self._run("reopen", at, number).rowcount == 1

    def unsent(self, limit: int) -> list[int]:
        """The messages that wait or are being sent."""
        return self._first_column("unsent", limit)

    def matching(self, selection: "DeliverySelection", limit: int) -> list[int]:
        """The selected messages, oldest first."""
        return self._first_column("matching", *selection.parameters, limit)

    def count_matching(self, selection: "DeliverySelection") -> int:
        """How many messages are selected."""
        return self._count("count_matching", *selection.parameters)

    def shipments(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """The shipments that each of these messages is about."""
        found: dict[int, list[int]] = {}
        for number, shipment_id in self._run("shipments", json_text(ids)):
            found.setdefault(number, []).append(shipment_id)
        return found

    def contents(self, ids: Sequence[int]) -> dict[int, str]:
        """The contents of these messages, JSON."""
        return dict(self._run("contents", json_text(ids)).fetchall())

    def counts(self, since_at: str) -> list[tuple[str, str, int]]:
        """(channel, state, how many) of the messages that were created since a time."""
        return self._run("counts", since_at).fetchall()

    def pending(self) -> dict[str, tuple[int, str]]:
        """By channel: how many messages wait, and since when the oldest does."""
        return {channel: (count, oldest) for channel, count, oldest in self._run("pending")}

    def failed(self) -> dict[str, int]:
        """By channel: how many messages have failed."""
        return dict(self._run("failed").fetchall())

    def count(self) -> int:
        """How many there are."""
        return self._count("count")

    def first(self, limit: int) -> list[Delivery]:
        """The first ones."""
        return self._all(_delivery, "first", limit)

    def channel_state(self, channel: str) -> ChannelState:
        """The state of one channel."""
        return self._one(ChannelState, "channel_state", channel) or ChannelState(channel)

    def channel_states(self) -> dict[str, ChannelState]:
        """The states of all channels that ever sent or failed."""
        return {state.channel: state for state in self._all(ChannelState, "channel_states")}

    def save_channel_state(self, state: ChannelState) -> None:
        """Store the state of a channel."""
        self._run("save_channel_state", *msgspec.structs.astuple(state))

    def delete_old(self, before_at: str, limit: int) -> int:
        """Delete ended deliveries from before a time, with what they contained and their dead letters; how many.

        Those about open exceptions are kept.
        """
        ids = self._first_column("old", before_at, limit)
        if ids:
            for name in ("delete_notifications", "release_edits", "delete_attempts", "delete_dead_letters", "delete"):
                self._run(name, json_text(ids))
        return len(ids)


def _delivery(*values: Any) -> Delivery:
    row = dict(zip(Delivery.__struct_fields__, values, strict=True))
    return Delivery(**{**row, "is_repeated": bool(row["is_repeated"])})
