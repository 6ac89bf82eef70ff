"""Topics: what can be subscribed to, as data, and the patterns that select topics.

A topic is `<thing>.<what happened>`: `shipment.eta_changed`, `milestone.departed`, `system.sync_failed`.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flexportd.core.resources.invoices import is_credit_note
from flexportd.core.resources.money import amount, format_number, subtract
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError
from flexportd.flexport.milestones import CATALOGUE

MAX_PATTERNS = 50
MAX_NAME_LENGTH = 100  # characters of a milestone's name
MILESTONE = "milestone."
OPERATION = "operation."
CHANNEL_FAILED, RECOVERED = "system.channel_failed", "system.recovered"
_CACHE_SIZE = 2000  # cached results of one set of patterns


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, and its meaning in a sentence."""

    name: str
    meaning: str


FieldValues = Mapping[str, tuple[Any, Any]]
"""Fields of an object with their old and new value; they are equal for a field that did not change."""


@dataclass(frozen=True, slots=True)
class FieldTopic:
    """A topic that follows from a change of one of these fields of a resource; `id` changes when an object is new.

    `condition` and `details` take the values of `fields` and of `context`: whether to publish, and additional fields of
    the message.
    """

    topic: Topic
    resource: str
    fields: tuple[str, ...]
    condition: Callable[[FieldValues], bool] = lambda _: True
    details: Callable[[FieldValues], Mapping[str, Any]] = lambda _: {}
    context: tuple[str, ...] = ()


def _is_set(name: str) -> Callable[[FieldValues], bool]:
    return lambda values: values[name][0] is None and values[name][1] is not None


def _days_later(values: FieldValues) -> Mapping[str, Any]:
    """In calendar days at the place; None without an old or a new time."""
    days = [date.fromisoformat(value[:10]) if isinstance(value, str) else None for value in values["estimated_arrival"]]
    return {"days_later": (days[1] - days[0]).days if days[0] and days[1] else None}


_VOID = ("status", "voided_at")


def _void(values: FieldValues) -> tuple[bool, bool]:
    """Whether an invoice was void, and whether it is: Flexport may report the status before the time, or after it."""
    was, now = (values["status"][side] == "void" or values["voided_at"][side] is not None for side in (0, 1))
    return was, now


def _is_paid(values: FieldValues) -> bool:
    new = {name: pair[1] for name, pair in values.items()}
    return new["status"] == "paid" and not is_credit_note(new)


def _has_new_total(values: FieldValues) -> bool:
    """Whether an amount or a currency became another one; one that was unknown before is no change."""
    pairs = (values["total_amount"], values["total_currency"])
    return not _void(values)[1] and any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _total_change(values: FieldValues) -> Mapping[str, Any]:
    """The totals as decimal text. There is no difference between two currencies."""
    (old, new), (old_currency, currency) = values["total_amount"], values["total_currency"]
    amounts = amount(old), amount(new)
    difference = None
    if currency == old_currency and amounts[0] is not None and amounts[1] is not None:
        difference = format_number(subtract(amounts[1], amounts[0]))
    return {
        "old_total": old, "new_total": new, "old_currency": old_currency, "currency": currency,
        "difference": difference,
    }  # fmt: skip


FIELD_TOPICS = (
    FieldTopic(
        Topic("shipment.eta_changed", "The estimated arrival changed by `days_later` days (negative: earlier)."),
        "shipments", ("estimated_arrival",), details=_days_later,
    ),
    FieldTopic(Topic("shipment.status_changed", "The status of a shipment changed."), "shipments", ("status",)),
    FieldTopic(
        Topic("shipment.departed", "A shipment departed."),
        "shipments", ("actual_departure",), _is_set("actual_departure"),
    ),
    FieldTopic(
        Topic("shipment.arrived", "A shipment arrived."),
        "shipments", ("actual_arrival",), _is_set("actual_arrival"),
    ),
    FieldTopic(
        Topic("shipment.delivered", "A shipment was delivered in full."),
        "shipments", ("actual_delivered_in_full",), _is_set("actual_delivered_in_full"),
    ),
    FieldTopic(Topic("booking.status_changed", "The status of a booking changed."), "bookings", ("status",)),
    FieldTopic(Topic("document.added", "A document was added."), "documents", ("id",)),
    FieldTopic(Topic("invoice.shared", "A freight invoice was added."), "invoices", ("id",)),
    FieldTopic(
        Topic("invoice.paid", "A freight invoice was paid."),
        "invoices", ("status",), _is_paid, context=("type", "invoice_type", "total_amount"),
    ),
    FieldTopic(
        Topic("invoice.voided", "A freight invoice was cancelled."),
        "invoices", _VOID, lambda values: _void(values) == (False, True),
    ),
    FieldTopic(
        Topic(
            "invoice.total_changed",
            "The total of a freight invoice changed from `old_total` to `new_total`, in `currency`, by `difference` "
            "(null if the currency was `old_currency` before).",
        ),
        "invoices", ("total_amount", "total_currency"), _has_new_total, _total_change, _VOID,
    ),
)  # fmt: skip

SYSTEM_TOPICS = (
    Topic("system.dead_letter", "Queued work failed permanently and is now a dead letter."),
    Topic(
        "system.sync_failed",
        "All lists of Flexport (`kind`: `sync_failed`) or some (`sync_incomplete`) can no longer be read; sent once.",
    ),
    Topic("system.review_needed", "Objects are missing from Flexport's lists; someone must confirm their removal."),
    Topic("system.webhook_silent", "Webhooks do not arrive although they should."),
    Topic("system.webhook_check_failed", "The path check of webhooks fails; `detail` names the step."),
    Topic("system.disk_low", "Little disk space is free."),
    Topic(
        CHANNEL_FAILED,
        "A channel of notifications fails (`state`: `failing`) or is switched off (`off`); `channel` names it.",
    ),
    Topic(RECOVERED, "A condition ended: `kind` names it, such as `sync_failed`."),
)

EXCEPTION_TOPICS = (
    Topic("exception.opened", "An exception opened: its `kind` and evidence."),
    Topic("exception.closed", "An exception closed."),
    Topic("exception.worsened", "An open exception became more severe, or worse than when it was snoozed until then."),
    Topic("exception.snooze_ended", "The time until which an open exception was snoozed has come."),
    Topic("invoice.due", "An unpaid freight invoice is due within a few days; sent once for each due date."),
    Topic("invoice.overdue", "An unpaid freight invoice is past its due day; sent once for each due date."),
)

OPERATION_TOPICS = (
    Topic("operation.confirmed", "Flexport made what an operation writes; `applied`: it applied a pending amendment."),
    Topic("operation.failed", "An operation failed: Flexport refused it, or it could not be sent."),
    Topic(
        "operation.unknown",
        "It is unknown whether Flexport made what an operation writes; with `needs_decision` a person must decide.",
    ),
    Topic("operation.cancelled", "A person cancelled an operation."),
)


def topic_prefix(resource: str) -> str:
    """The prefix of a resource's topics: `shipments` has `shipment`."""
    return f"{resource[:-3]}y" if resource.endswith("ies") else resource.removesuffix("s")


def _resource_topics(domain: ResourceType) -> tuple[Topic, ...]:
    one, name = topic_prefix(domain.name), domain.label
    return (
        Topic(f"{one}.created", f"A new {name} was received."),
        Topic(f"{one}.updated", f"A {name} changed, or a newer state of it was received."),
        Topic(f"{one}.removed", f"A {name} was removed at Flexport."),
    )


TOPICS = (
    *(topic for domain in RESOURCE_TYPES for topic in _resource_topics(domain)),
    *(derived.topic for derived in FIELD_TOPICS),
    *SYSTEM_TOPICS,
    *EXCEPTION_TOPICS,
    *OPERATION_TOPICS,
)
"""Every topic except milestones: those follow from Flexport's event types, which may grow at any time."""

MILESTONES = tuple(
    {milestone_of.name: Topic(f"{MILESTONE}{milestone_of.name}", milestone_of.title) for milestone_of in CATALOGUE}
    .values()
)  # fmt: skip
"""The milestones that Flexport documents."""

EVENT_TYPES = tuple(milestone_of.type for milestone_of in CATALOGUE)
"""The event types that Flexport documents, and others that were recorded."""

_TOPIC_NAMES = tuple(topic.name for topic in (*TOPICS, *MILESTONES))
_NOT_A_WORD = re.compile(r"[^a-z0-9_]+")


def _pattern_source() -> str:
    """The regular expression of patterns, for JSON schemas too: half of a topic may be `*`, of a milestone any part."""
    tails: dict[str, list[str]] = {}
    for topic in TOPICS:
        head, _, tail = topic.name.partition(".")
        tails.setdefault(head, []).append(tail)
    any_tail = "|".join(dict.fromkeys(tail for some in tails.values() for tail in some))
    heads = "|".join(rf"{head}\.(\*|{'|'.join(some)})" for head, some in tails.items())
    return rf"\*|\*\.({any_tail})|{heads}|milestone\.[a-z0-9_*]{{1,{MAX_NAME_LENGTH}}}"


PATTERN = f"^({_pattern_source()})$"
"""Matches exactly the patterns that can match a topic; the names of milestones are open."""

_pattern = re.compile(PATTERN)


def milestone_topic(event_type: str) -> str:
    """The topic of an event type: `/shipment_leg#departed` is `milestone.departed`.

    The part before the `#` is left out: it is not the type of the resource, and varies within Flexport's documentation.
    """
    name = event_type.rpartition("#")[2].lower()[:MAX_NAME_LENGTH]
    return MILESTONE + (_NOT_A_WORD.sub("_", name).strip("_") or "unknown")


class Patterns:
    """A set of topics: `shipment.*` matches by the beginning, `*.created` by the end, `*` matches all.

    Any part of a milestone's name may be a star: `milestone.*_delay`.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._parts = [pattern.split("*") for pattern in patterns]
        self._known: dict[str, bool] = {}

    def match(self, topic: str) -> bool:
        """Whether a pattern matches the topic."""
        found = self._known.get(topic)
        if found is None:
            found = any(_matches(parts, topic) for parts in self._parts)
            if len(self._known) < _CACHE_SIZE:
                self._known[topic] = found
        return found


def _matches(parts: Sequence[str], topic: str) -> bool:
    """Whether a topic consists of these parts with anything between them. More stars take no longer."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return topic == first
    end = len(topic) - len(last)
    if not (topic.startswith(first) and topic.endswith(last) and len(first) <= end):
        return False
    at = len(first)
    for part in parts[1:-1]:
        found = topic.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


ALL_TOPICS = Patterns(["*"])


@dataclass(frozen=True, slots=True)
class TopicNeeds:
    """What has to be read of the change log for the topics that patterns match.

    `fields` are the fields of each resource whose history is needed; None for all of them, and also for states that
    were written without history. `milestones`: whether finished events are needed.
    """

    fields: Mapping[str, frozenset[str] | None]
    milestones: bool

    @classmethod
    def of(cls, patterns: Patterns) -> "TopicNeeds":
        """What these patterns need."""
        fields: dict[str, frozenset[str] | None] = {}
        for domain in RESOURCE_TYPES:
            prefix = topic_prefix(domain.name)
            matching = [one for one in FIELD_TOPICS if one.resource == domain.name and patterns.match(one.topic.name)]
            needed = {name for one in matching for name in (*one.fields, *one.context)}
            needed |= {"id"} if matching or patterns.match(f"{prefix}.created") else set()
            needed |= {"removed_at"} if patterns.match(f"{prefix}.removed") else set()
            if patterns.match(f"{prefix}.updated"):
                fields[domain.name] = None
            elif needed:
                fields[domain.name] = frozenset(needed)
        return cls(fields, any(pattern == "*" or pattern.startswith(MILESTONE) for pattern in patterns.patterns))


def parse_patterns(parameter: str, text: str) -> Patterns:
    """Parse comma-separated patterns. Raises InvalidError for a pattern that no topic can match."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 0 < len(found) <= MAX_PATTERNS:
        raise InvalidError(
            f"{parameter} has {len(found)} patterns; 1 to {MAX_PATTERNS} are allowed, such as shipment.*,milestone.*",
            parameter,
        )
    for pattern in found:
        if not _pattern.fullmatch(pattern):
            raise InvalidError(_unknown_pattern(pattern, parameter), parameter)
    return Patterns(found)


def _unknown_pattern(pattern: str, parameter: str) -> str:
    near = difflib.get_close_matches(pattern[:MAX_NAME_LENGTH], _TOPIC_NAMES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    heads = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}.*" for name in _TOPIC_NAMES))
    return f"{parameter} holds {pattern[:50]!r}, which no topic matches{hint}; there are {heads}"
