"""What rules would have done, or did: a preview over the recorded history, and the explanation of one event.

A preview runs the same code as the daemon on temporary tables, with the clock of the past. What the history does not
have, such as who acknowledged an exception when, counts as it is now.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from flexportd.clock import parse, stamp
from flexportd.core.changes.stream_messages import matching_messages
from flexportd.core.changes.topics import ALL_TOPICS, TopicNeeds
from flexportd.core.notification_reports import (
    EventExplanation,
    ExplainedMessage,
    PreviewMessage,
    RulePreview,
    RuleVerdict,
)
from flexportd.errors import InvalidError, NotFoundError
from flexportd.escape import closest_match
from flexportd.notify.composer import due_actions, next_due, store
from flexportd.notify.composition import ChannelInfo, Composition, NotifyConfig, Send
from flexportd.notify.content import Content
from flexportd.notify.digests import compose_digest
from flexportd.notify.notifier import DateComparison, DateStart, RuleMatcher, Write, is_news, occurrence_of
from flexportd.notify.rules import Rule, Rules
from flexportd.notify.subjects import DATE_TOPICS, Message, MessageSubject, facts_of, load_subjects
from flexportd.storage.change_log import JournalEntry
from flexportd.storage.repositories.notifications import Hold, NewNotification, Notification
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

DAYS = 30  # for which the change log is kept
MAX_MESSAGES = 50  # with their texts
_ENTRIES = 50
_MAX_COMPOSITIONS = 5000
_MAX_CHANGES = 200  # of one event
_PREVIEW = "preview"
_NO_RULES = "there are no rules, or no channels that they could send to; see [notify] in the configuration"


def find_rule(rules: Rules, name: str) -> Rule:
    """A rule by its name. Raises NotFoundError with the nearest name."""
    found = rules.get(name)
    if found is None:
        names = [rule.name for rule in rules.rules]
        near = closest_match(name, names)
        hint = f"did you mean {near!r}?" if near else f"rules are {', '.join(names)}" if names else _NO_RULES
        raise NotFoundError(f"there is no rule {name[:100]!r}; {hint}")
    return found


class Period(NamedTuple):
    """The time of a preview."""

    since: datetime
    until: datetime


def preview(tx: Transaction, config: NotifyConfig, rule: Rule, period: Period, render: "RenderText") -> RulePreview:
    """Try a rule on the history of a time; `tx` has temporary tables of notifications. In a thread."""
    channels = {name: config.channels[name] for name in rule.channels if name in config.channels}
    if not channels:
        channels = {_PREVIEW: ChannelInfo(_PREVIEW, "email")}
    only = replace(rule, channels=tuple(channels), is_enabled=True)
    tried = replace(config, rules=Rules([only]), channels=channels, is_preview=True)
    run = _PreviewRun(tx, tried, RuleMatcher(tried.registry, tried.rules, tried.gather_of))
    run.go_through(*period)
    result = _result(tx, rule, period, render)
    return {**result, "is_complete": run.is_complete}


RenderText = Callable[[Content], str]
"""Renders a message as plain text."""


class _PreviewRun:
    """Goes through the change log, and composes what is due in between."""

    def __init__(self, tx: Transaction, config: NotifyConfig, matcher: RuleMatcher) -> None:
        self._tx = tx
        self._config = config
        self._matcher = matcher
        self._compositions = 0
        self.is_complete = True

    def go_through(self, since: datetime, now: datetime) -> None:
        """From a time to the present."""
        journal = self._tx.journal
        position, begin = max(journal.entry_before(stamp(since)), journal.first() - 1), stamp(since)
        self._compose_until(since)
        while entries := journal.after(position, _ENTRIES):
            for entry in entries:
                position = entry.id
                if entry.at < begin:
                    continue
                at = parse(entry.at)
                self._compose_until(at)
                self._add(entry, at)
            if not self.is_complete:
                return
        self._compose_until(now)

    def _add(self, entry: JournalEntry, at: datetime) -> None:
        writes: list[Write] = list(self._matcher.notifications(self._tx, entry, at))
        starts = [(one.key, one.day) for one in writes if isinstance(one, DateStart)]
        self._tx.notifications.begin_dates(starts, stamp(at))
        self._tx.notifications.add([one for one in writes if isinstance(one, NewNotification)])

    def _compose_until(self, until: datetime) -> None:
        last = None
        while self.is_complete:
            due = next_due(self._tx, self._config)
            if last is not None and (due is None or due > stamp(until)):
                return
            at = until if due is None or due > stamp(until) else parse(due)
            actions = due_actions(self._tx, self._config, at)
            store(self._tx, actions, stamp(at))
            self._compositions += 1
            self.is_complete = self._compositions < _MAX_COMPOSITIONS
            if due == last and not actions:
                return
            last = due or ""


def _result(tx: Transaction, rule: Rule, period: Period, render: RenderText) -> RulePreview:
    counts = tx.notifications.outcomes()
    dropped = Counter({reason or "": count for state, reason, count in counts if state == "dropped"})
    matched = sum(count for *_, count in counts)
    in_messages = sum(count for state, _, count in counts if state == "sent")
    sent = tx.deliveries.count()
    return RulePreview(
        rule=rule.name,
        since=stamp(period.since),
        until=stamp(period.until),
        matched=matched,
        sent=sent,
        held=max(matched - sent, 0),
        merged=max(in_messages - sent, 0),
        waiting=sum(count for state, _, count in counts if state == "waiting"),
        dropped=dict(dropped.most_common()),
        messages=[
            PreviewMessage(
                at=one.created_at,
                channel=one.channel,
                kind=one.kind,
                title=one.title,
                text=render(decode_as(one.content, Content)),
                notifications=one.notifications,
            )
            for one in tx.deliveries.first(MAX_MESSAGES)
        ],
        is_complete=True,
    )


def explain(tx: Transaction, config: NotifyConfig, event_id: str, now: datetime) -> EventExplanation:
    """Which rules matched the messages of an event, which did not, and why. Raises NotFoundError."""
    event = tx.events.by_id(event_id)
    if event is None:
        raise NotFoundError(f"there is no event {event_id[:50]!r}")
    changes = [change.id for change in tx.changes.of_event(event_id, _MAX_CHANGES)]
    entries = tx.journal.of_event(event["seq"], event["received_at"], changes)
    needs = TopicNeeds.of(ALL_TOPICS)
    found: list[ExplainedMessage] = []
    for entry in entries:
        messages = [
            message
            for message in matching_messages(tx, config.registry, entry, ALL_TOPICS, needs)
            if message.get("event_id") == event_id
        ]
        for message, subject in zip(messages, load_subjects(tx, config.registry, messages), strict=True):
            rules = [_verdict(tx, (rule, entry), message, subject, now) for rule in config.rules.rules]
            found.append(_explained(message, rules, now))
    return EventExplanation(event_id=event_id, messages=found, note=None if found else _no_message(event["state"]))


def _no_message(state: str) -> str:
    if state in ("ready", "leased"):
        return "it is not applied yet"
    return f"its state is {state}, and it caused no message in the {DAYS} days for which the change log is kept"


def _explained(message: Message, rules: list[RuleVerdict], now: datetime) -> ExplainedMessage:
    return ExplainedMessage(
        topic=message["topic"],
        resource=message.get("resource"),
        resource_id=message.get("resource_id"),
        shipment_id=message.get("shipment_id"),
        at=message["at"],
        is_news=is_news(message, now),
        rules=rules,
    )


def _verdict(
    tx: Transaction,
    place: tuple[Rule, JournalEntry],
    message: Message,
    subject: MessageSubject,
    now: datetime,
) -> RuleVerdict:
    rule, entry = place
    if not rule.is_enabled:
        return RuleVerdict(rule=rule.name, matched=False, reason="the rule is switched off")
    if not rule.patterns.match(message["topic"]):
        wanted = ", ".join(rule.patterns.patterns)
        return RuleVerdict(rule=rule.name, matched=False, reason=f"the topic is not one of {wanted}")
    rows = tx.notifications.of_occurrence(occurrence_of(entry, message), rule.name)
    stored = {row.channel: _outcome(row) for row in rows}
    seen = rows[0].message if rows else message  # a date is compared with the one last told
    verdict = rule.condition.evaluate(facts_of(seen, subject), now.astimezone(rule.zone).date())
    dates, channels = DateComparison(tx), dict[str, str]()
    for channel in rule.channels:
        if channel in stored:
            channels[channel] = stored[channel]
        elif message["topic"] in DATE_TOPICS:
            told = dates.compare(channel, message).fields
            channels[channel] = f"not notified: last told {told['told']}, {told['days_later']} days from the new date"
        elif verdict.matched:
            channels[channel] = "not notified: the rule or the channel is newer, or the event was no news"
    if not verdict.matched and not stored:
        return RuleVerdict(rule=rule.name, matched=False, reason=verdict.reason)
    reason = verdict.reason
    if not verdict.matched:
        is_correction = message["topic"] in DATE_TOPICS and (seen.get("days_later") or 0) < 0
        reason += "; it corrects the date last told" if is_correction else "; it matched at that time"
    return RuleVerdict(rule=rule.name, matched=True, reason=reason, channels=channels)


def _outcome(row: Notification) -> str:
    if row.state == "sent":
        return f"in delivery {row.delivery_id}"
    if row.state == "dropped":
        return f"not sent: {row.reason}"
    return f"waits until {row.due_at} ({_HOLDS[row.hold]})"


_HOLDS: Mapping[Hold, str] = {
    "gather": "for others that belong to it",
    "quiet": "quiet hours",
    "rate": "the limit of messages per hour",
    "repeat": "it, or its incident, was reported lately",
    "outage": "an outage",
    "digest": "its digest",
}


def digest_preview(
    tx: Transaction, config: NotifyConfig, rule: Rule, channel: ChannelInfo, now: datetime
) -> list[Send]:
    """The digest that would be sent now: none or one. Raises InvalidError for a rule without digest."""
    if rule.digest is None:
        raise InvalidError(f"rule {rule.name!r} has no digest", "rule")
    actions = compose_digest(Composition(tx, config, channel, now), tx, config.registry, rule, now)
    return [action for action in actions if isinstance(action, Send)]
