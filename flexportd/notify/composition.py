"""The composition of messages from notifications that are due, with everything that keeps them few and true.

Before a notification becomes part of a message, it is checked again: an exception that has closed, a date that moved
back and an invoice that was paid are not sent. What shares a cause becomes one message.
"""

import functools
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import msgspec

from flexportd.clock import age, parse, stamp
from flexportd.core.changes.topics import CHANNEL_FAILED, OPERATION, RECOVERED
from flexportd.core.labels import count_of
from flexportd.core.resources.invoices import due_status
from flexportd.core.resources.registry import Registry
from flexportd.core.system_conditions import HOLDING_KINDS, lists_complete_since
from flexportd.notify.content import Content, Line, shown_shipments
from flexportd.notify.incidents import (
    Cluster,
    Piece,
    by_template,
    cause_of,
    cluster,
    digest_lines,
    lines_of,
    merge,
    section_of,
    severity_of,
    title_of,
)
from flexportd.notify.message_texts import describe, label_of, path_of
from flexportd.notify.notifier import DELIVERY, DateChange, day_of, days_between, matches
from flexportd.notify.rule_template import TemplateError
from flexportd.notify.rules import Rule, Rules
from flexportd.notify.subjects import DATE_TOPICS, Message, MessageSubject, load_subjects, plain_fields, subject_key
from flexportd.storage.repositories.deliveries import Delivery, Kind, NewDelivery
from flexportd.storage.repositories.exceptions import ExceptionRow, is_snoozed
from flexportd.storage.repositories.items import EVENTS, NewItem
from flexportd.storage.repositories.notifications import DateKey, Hold, Notification
from flexportd.storage.statements import json_text
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

MAX_DUE = 20_000  # notifications of a channel for people that are composed at once
MAX_PROGRAM = 500  # the same for a program, where each is a message
PROGRAM_LANES = 4  # messages that are sent to one program at the same time
MAX_REPEATS = 2  # messages about one subject within REPEAT_WINDOW, after which it waits longer and longer
REPEAT_WINDOW = timedelta(days=30)
REPEAT_DELAYS = tuple(timedelta(days=days) for days in (1, 2, 4))  # after the second, third and later messages
CHANNEL_CONDITION = "channel_failed"
BIG_MOVE = 7  # days from the date last told: such a message is urgent
_URGENT = frozenset({"exception.worsened", "exception.snooze_ended"})
_DAY = timedelta(days=1)
_ACTIVE = timedelta(hours=48)  # after which a cause that returns is a new incident
_INCIDENT_PAUSE = timedelta(hours=1)  # between messages about a cause, where the first cannot be edited
_CRITICAL_PAUSE = timedelta(minutes=10)  # the same for critical ones
_MAX_GATHER = 6  # times `gather` that a message waits at most while others join it
_OUTAGE_CHECK = timedelta(minutes=1)
_MAX_OUTAGE = timedelta(days=3)  # for which a notification is held
_HOUR = timedelta(hours=1)


class ChannelInfo(msgspec.Struct, frozen=True):
    """What the composer must know of a channel. `can_edit`: a message that was sent can be replaced."""

    name: str
    type: str
    folds: bool = True
    can_edit: bool = False


RenderTemplate = Callable[[str, Mapping[str, object]], str]
"""Renders the template of a rule. Raises TemplateError."""


@dataclass(frozen=True)
class NotifyConfig:
    """The configuration of notifications, which can change while running; `zone` is that of dates in messages."""

    registry: Registry
    rules: Rules
    render_template: RenderTemplate
    channels: Mapping[str, ChannelInfo] = field(default_factory=dict)
    gather: timedelta = timedelta(seconds=10)
    zone: tzinfo = UTC
    reads_lists: bool = True
    """Whether Flexport's lists are read: otherwise nothing waits for that."""
    is_preview: bool = False
    """Whether the past is tried out: dates are those of that time, and what ended since is not left out."""

    def gather_of(self, channel: str) -> timedelta:
        """How long a message to a channel waits for others."""
        info = self.channels.get(channel)
        return self.gather if info is None or info.folds else timedelta()

    def rule(self, name: str) -> Rule | None:
        """A rule that is on, by its name."""
        found = self.rules.get(name)
        return found if found is not None and found.is_enabled else None


class Drop(NamedTuple):
    """Notifications that are not sent, and why."""

    ids: Sequence[int]
    reason: str


class Postpone(NamedTuple):
    """Notifications that wait on."""

    ids: Sequence[int]
    hold: Hold
    due_at: datetime


class Send(NamedTuple):
    """A message, the notifications that it contains, and the dates that it tells. In a lane, one is sent at a time."""

    delivery: NewDelivery
    ids: Sequence[int]
    lane: str
    dates: Sequence[tuple[DateKey, str | None]] = ()


class SetDigestTime(NamedTuple):
    """When the next digest of a rule is due for a channel."""

    rule: str
    channel: str
    due_at: str


Action = Drop | Postpone | Send | SetDigestTime


def delivery_item(number: int, lane: str, priority: int = EVENTS) -> NewItem:
    """The item of the queue that sends a message."""
    return NewItem(DELIVERY, priority, lane=lane, merge_key=str(number), payload=json_text({"delivery": number}))


def program_lane(row: Notification) -> str:
    """The lane of a message to a program, which gets those about one object in order.

    There are few lanes, so that a program that hangs does not occupy all workers.
    """
    return f"{row.channel}:{zlib.crc32(f'{row.resource}:{row.resource_id}'.encode()) % PROGRAM_LANES}"


def new_key() -> str:
    """The key of a new message."""
    return f"fxd_{secrets.token_hex(12)}"


class Composition:
    """Composes the notifications of one channel at one time, from one snapshot."""

    def __init__(self, tx: Transaction, config: NotifyConfig, channel: ChannelInfo, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self.channel = channel
        self.now = now
        self._today = now.astimezone(config.zone).date()
        self._exceptions: dict[int, ExceptionRow | None] = {}
        self._planned: dict[str, int] = {}

    def actions(self) -> list[Action]:
        """What has to be written for what is due."""
        if not self.channel.folds:
            return self._single_messages()
        rows = self._tx.notifications.due(self.channel.name, stamp(self.now), MAX_DUE)
        actions: list[Action] = []
        wait = self._gather_until(rows)
        if wait is not None:
            actions.append(Postpone([row.id for row in rows if row.hold == "gather"], "gather", wait))
            rows = [row for row in rows if row.hold != "gather"]
        pieces: dict[str, list[Piece]] = {"message": [], "summary": []}
        holds: dict[int, Hold] = {}
        for row, subject in self.with_subjects(rows):
            found = self.check(row, subject)
            if isinstance(found, Drop | Postpone):
                actions.append(found)
            else:
                holds[row.id] = row.hold
                pieces["summary" if row.hold in ("quiet", "rate") else "message"].append(found)
        actions += self._messages(merge(pieces["message"]))
        for group in by_template(merge(pieces["summary"])):
            actions += self._summary(group, holds)
        return combine(actions)

    def _gather_until(self, rows: Sequence[Notification]) -> datetime | None:
        """Until when the due ones wait because others keep joining them; None to go on."""
        times = [parse(row.created_at) for row in rows if row.hold == "gather"]
        if not times or len(rows) == MAX_DUE:
            return None
        end = min(max(times) + self._config.gather, min(times) + _MAX_GATHER * self._config.gather)
        return end if end > self.now else None

    def with_subjects(self, rows: Sequence[Notification]) -> Iterator[tuple[Notification, MessageSubject]]:
        """Notifications with the objects that they are about."""
        for start in range(0, len(rows), 500):
            part = rows[start : start + 500]
            yield from zip(
                part, load_subjects(self._tx, self._config.registry, [row.message for row in part]), strict=True
            )

    def _single_messages(self) -> list[Action]:
        """For a program: each notification is a message."""
        actions: list[Action] = []
        ready: dict[tuple[str, str], tuple[Notification, Piece]] = {}
        for row, subject in self.with_subjects(
            self._tx.notifications.due(self.channel.name, stamp(self.now), MAX_PROGRAM)
        ):
            found = self.check(row, subject)
            if isinstance(found, Drop | Postpone):
                actions.append(found)
                continue
            key = (row.rule, found.subject if found.date is not None else row.occurrence)
            before = ready.pop(key, None)  # a date is told once, as it is now
            ids = found.ids if before is None else (*before[1].ids, *found.ids)
            ready[key] = row, msgspec.structs.replace(found, ids=ids)
        for row, found in ready.values():
            held = self._rate_limit(found)
            if held is not None:
                actions.append(held)
                continue
            content = Content(
                title=f"{found.label}: {found.headline}",
                sections=(section_of(lines_of([found])),),
                severity=found.severity,
                path=found.path,
                topic=row.topic,
                data={**found.message, "rule": row.rule, "text": found.text},
                rules=found.rules,
            )
            actions.append(self.send("message", content, [found], lane=program_lane(row)))
        return combine(actions)

    def check(self, row: Notification, subject: MessageSubject) -> Piece | Drop | Postpone:
        """What a notification says now; or why it is not sent, or waits on."""
        rule = self._config.rule(row.rule)
        if rule is None:
            reason: str | None = "its rule was removed or switched off"
        elif self.channel.name not in rule.channels:
            reason = "its rule no longer sends to this channel"
        else:
            reason = self._obsolete(row, subject)
        if rule is None or reason is not None:
            return Drop([row.id], reason or "")
        is_held_long = (age(row.created_at, self.now) or 0.0) > _MAX_OUTAGE.total_seconds()
        if _is_inferred(row) and not is_held_long and self._is_blind:
            return Postpone([row.id], "outage", self.now + _OUTAGE_CHECK)
        quiet_end = rule.quiet.ends_at(self.now, rule.zone) if rule.quiet else None
        if quiet_end is not None and row.hold != "digest":
            return Postpone([row.id], "quiet", quiet_end)
        other = self._tx.notifications.told_by_other_rule(row) if row.hold == "quiet" and self.channel.folds else None
        if other is not None:
            return Drop([row.id], f"rule {other} reported it during the quiet hours")
        message, told, new = row.message, None, {}
        if row.topic in DATE_TOPICS:
            change = self._date_change(row, subject)
            if change is None or not matches(rule, message, subject, change[0], self.now):
                return Drop([row.id], "the date is as it was last told, or nearly so")
            message, told = {**message, **change[0].fields}, change[1]
            new = {"new": told[1]}
        piece = msgspec.structs.replace(
            self.piece({**message, **new}, subject, row.rule),
            ids=(row.id,),
            message=message,
            date=told,
            is_urgent=abs(message.get("days_later") or 0) >= BIG_MOVE or row.topic in _URGENT,
        )
        return self.templated(piece, rule, message, subject)

    def piece(self, message: Message, subject: MessageSubject, rule: str) -> Piece:
        """What a message says, without notifications."""
        words, shipment, topic = describe(message, subject, self._today), subject.shipment, message["topic"]
        kind = (message.get("kind") if topic.startswith("exception.") else None) or topic
        fields = shipment.fields if shipment else {}
        port = fields.get("port_of_unloading_code") or fields.get("port_of_unloading")
        return Piece(
            ids=(),
            rules=(rule,),
            subject=subject_key(message),
            topic=topic,
            label=label_of(message, subject),
            headline=words.headline,
            text=words.text,
            severity=words.severity,
            path=path_of(message),
            shipment_id=message.get("shipment_id"),
            cause=cause_of(kind, fields.get("vessel"), fields.get("voyage"), port),
        )

    def templated(self, piece: Piece, rule: Rule, message: Message, subject: MessageSubject) -> Piece:
        """A piece with the templates of its rule, and what these can use of it; see `rule_template.VARIABLES`."""
        if rule.template is None and rule.subject is None:
            return piece
        number = message.get("exception_id")
        found = None if number is None else self._exception(int(number))
        variables = {
            "message": message,
            "shipment": None if subject.shipment is None else plain_fields(subject.shipment),
            "exception": None if found is None else msgspec.to_builtins(found),
        }
        return msgspec.structs.replace(
            piece, template=(rule.template, rule.subject), template_rule=rule.name, variables=variables
        )

    def _is_own_channel(self, row: Notification) -> bool:
        message = row.message
        about_channel = row.topic.startswith("system.") and message.get("kind") == CHANNEL_CONDITION
        return about_channel and message.get("channel") == self.channel.name

    @functools.cached_property
    def _is_blind(self) -> bool:
        """Whether Flexport or our webhooks are down, or the lists are not complete since."""
        if self._config.is_preview or not self._config.reads_lists:
            return False
        for condition in self._tx.conditions.open():
            if condition.kind == "sync_failed":
                return True
            if condition.kind in HOLDING_KINDS and not lists_complete_since(self._tx, condition.since):
                return True  # without webhooks, a complete sync makes the data true again
        ended = self._tx.conditions.recovered_at(HOLDING_KINDS)
        return ended is not None and not lists_complete_since(self._tx, ended)

    def _exception(self, number: int) -> ExceptionRow | None:
        if number not in self._exceptions:
            self._exceptions[number] = self._tx.exceptions.by_id(number)
        return self._exceptions[number]

    def _obsolete(self, row: Notification, subject: MessageSubject) -> str | None:
        """Why a notification is no longer true or wanted."""
        if self._is_own_channel(row):
            return "it is about this channel"
        if row.exception_id is not None:
            return self._obsolete_exception(row, row.exception_id)
        return None if self._config.is_preview else self._changed_since(row, subject)

    def _changed_since(self, row: Notification, subject: MessageSubject) -> str | None:
        """Why a notification about a channel, an operation, an arrival or an invoice is no longer true."""
        if row.topic == CHANNEL_FAILED:
            channel = self._tx.deliveries.channel_state(str(row.message.get("channel")))
            return "the channel works again" if channel.state == "working" else None
        if row.topic == RECOVERED and row.message.get("kind") == CHANNEL_CONDITION:
            failure = f"{CHANNEL_FAILED}:{CHANNEL_CONDITION}:{row.message.get('channel')}"
            was_told = self._tx.notifications.last_state(self.channel.name, failure) == "sent"
            return None if was_told else "its failure was not reported"
        if row.topic.startswith(OPERATION):
            operation = self._tx.operations.by_id(int(row.message["operation_id"]))
            was = row.topic.removeprefix(OPERATION)
            return None if operation is None or operation.state == was else f"the operation is {operation.state}"
        if row.topic in DATE_TOPICS and subject.shipment is not None and subject.shipment.fields["actual_arrival"]:
            return "the shipment has arrived"
        if row.topic in ("invoice.due", "invoice.overdue") and subject.record is not None:
            state = due_status(subject.record.fields, self.now.date()).state
            return f"the invoice is {state.replace('_', ' ')}" if state in ("paid", "void", "payment_pending") else None
        return None

    def _obsolete_exception(self, row: Notification, number: int) -> str | None:
        if row.topic == "exception.closed":
            return None if self._tx.notifications.was_told(self.channel.name, number) else "it was not reported open"
        found = self._exception(number)
        if found is None:
            return "the exception no longer exists"
        if found.closed_at is not None and found.closed_at <= stamp(self.now):
            return "the exception closed before it was sent"
        return None if self._config.is_preview else self._unwanted(row, found)

    def _unwanted(self, row: Notification, found: ExceptionRow) -> str | None:
        """Why nobody needs to be told of an open exception."""
        if is_snoozed(found, self.now):
            return "the exception is snoozed"
        if found.acknowledged_at is not None and row.topic == "exception.opened":
            return f"it was acknowledged by {found.acknowledged_by} before it was sent"
        return None

    def _date_change(
        self, row: Notification, subject: MessageSubject
    ) -> tuple[DateChange, tuple[DateKey, str | None]] | None:
        """The present date compared with the one last told; None if it is not known any more."""
        name, record = DATE_TOPICS[row.topic], subject.record
        if record is None or row.resource is None or row.resource_id is None:
            return None
        key = (self.channel.name, row.resource, row.resource_id, name)
        told = self._tx.notifications.told_dates([key]).get(key)
        if told is None:
            return None
        new = day_of(record.fields[name])
        if self._config.is_preview:
            new = day_of(self._tx.changes.value_at((row.resource, row.resource_id, name), stamp(self.now)))
        days = days_between(told.day, new)
        change = DateChange(
            {"days_later": days, "told": told.day}, told.delivery_id is not None, is_same=told.day == new
        )
        return change, (key, new)

    def _messages(self, pieces: Sequence[Piece]) -> list[Action]:
        """The messages for these pieces, or what waits on."""
        actions: list[Action] = []
        since = stamp(self.now - REPEAT_WINDOW)
        subjects = [
            piece.subject
            for piece in pieces
            if not piece.topic.startswith(("system.", OPERATION)) or _is_about_channel(piece)
        ]
        recent = self._tx.notifications.recently_sent(self.channel.name, subjects, since)
        ready: list[Piece] = []
        for piece in pieces:
            times = recent.get(piece.subject, ())
            if _is_about_channel(piece):
                times = [at for at in times if parse(at) > self.now - _DAY][MAX_REPEATS:]  # twice as many
            wait = None if piece.topic == "exception.closed" else _repeat_until(times, is_urgent=piece.is_urgent)
            if wait is not None and wait > self.now:
                actions.append(Postpone(piece.ids, "repeat", wait))
            elif (held := self._rate_limit(piece)) is not None:
                actions.append(held)
            else:
                ready.append(piece)
        clusters = cluster(ready, lambda cause: self._last_of_cause(cause) is not None)
        return [*actions, *(action for one in clusters for action in self._message(one))]

    def _last_of_cause(self, cause: str) -> Delivery | None:
        return self._tx.deliveries.last_of_cause(self.channel.name, cause, stamp(self.now - _ACTIVE))

    def _message(self, one: Cluster) -> list[Action]:
        pieces, actions = self._within_limits(one.pieces)
        if not pieces:
            return actions
        one = one._replace(pieces=pieces)
        ids = [number for piece in pieces for number in piece.ids]
        last = self._last_of_cause(one.cause) if one.cause and one.thread == one.cause else None
        if last is not None and not _has_same_template(last, pieces[0]):
            last = None  # its text would be lost
        severity = severity_of(one.pieces)
        pause = _CRITICAL_PAUSE if severity == "critical" else _INCIDENT_PAUSE
        if last is not None and not self.channel.can_edit and parse(last.created_at) + pause > self.now:
            return [*actions, Postpone(ids, "repeat", parse(last.created_at) + pause)]
        lines = digest_lines(one.pieces) if one.is_folded else lines_of(one.pieces)
        before = [] if last is None else _other_lines(last, lines)
        sections = [section_of(lines, "New"), section_of(before, "Reported before")] if before else [section_of(lines)]
        content = Content(
            title=title_of(one, len(before)),
            sections=sections,
            severity=severity,
            path=_path_of(one.pieces),
            topic=one.pieces[0].topic if len({piece.topic for piece in one.pieces}) == 1 else "notification",
            rules=_rules_of(one.pieces),
        )
        edits = last.id if last is not None and self.channel.can_edit else None
        sent = self.send("message", content, one.pieces, thread=one.thread, cause=one.cause, edits=edits)
        return [*actions, sent]

    def _summary(self, pieces: Sequence[Piece], holds: Mapping[int, Hold]) -> list[Action]:
        """One message for what was held back."""
        pieces, actions = self._within_limits(pieces)
        if not pieces:
            return actions
        by_limit = any(holds.get(number) == "rate" for piece in pieces for number in piece.ids)
        why = "held back by the limit of messages per hour" if by_limit else "held back during quiet hours"
        lines = lines_of(pieces)
        content = Content(
            title=f"Summary: {count_of(len(lines), 'update')} {why}",
            sections=(section_of(lines),),
            severity=severity_of(pieces),
            path="/",
            topic="notification",
            rules=_rules_of(pieces),
        )
        return [*actions, self.send("summary", content, pieces)]

    def _within_limits(self, pieces: Sequence[Piece]) -> tuple[list[Piece], list[Action]]:
        """The pieces that can be sent now; and what waits because of a limit."""
        held = [self._rate_limit(piece) for piece in pieces]
        free = [piece for piece, limit in zip(pieces, held, strict=True) if limit is None]
        return free, [limit for limit in held if limit is not None]

    def _rate_limit(self, piece: Piece) -> Postpone | None:
        """Until when a piece waits because each of its rules has sent as many messages as it may in an hour."""
        ends: list[datetime] = []
        for name in piece.rules:
            rule = self._config.rule(name)
            if rule is None:
                continue
            if rule.max_per_hour is None:
                return None
            times = self._tx.deliveries.times_of_rule(name, self.channel.name, stamp(self.now - _HOUR))
            if len(times) + self._planned.get(name, 0) < rule.max_per_hour:
                return None
            first = parse(times[0]) if times else self.now
            ends.append(max(first + _HOUR, self.now + timedelta(seconds=1)))
        return Postpone(piece.ids, "rate", min(ends)) if ends else None

    def send(
        self,
        kind: Kind,
        content: Content,
        pieces: Sequence[Piece],
        *,
        thread: str | None = None,
        cause: str | None = None,
        edits: int | None = None,
        lane: str | None = None,
        first: Piece | None = None,
    ) -> Send:
        """A message of these pieces; `first` is the one whose template makes the text, unless it is the first one."""
        for name in content.rules:
            self._planned[name] = self._planned.get(name, 0) + 1
        shown = shown_shipments(content)  # a date that is only counted is not told
        dates = [piece.date for piece in pieces if piece.date is not None and piece.shipment_id in shown]
        content = msgspec.structs.replace(self._with_template(content, first or next(iter(pieces), None)), dates=dates)
        ids = [number for piece in pieces for number in piece.ids]
        delivery = NewDelivery(
            key=new_key(),
            channel=self.channel.name,
            channel_type=self.channel.type,
            kind=kind,
            rules=content.rules,
            title=content.title,
            content=msgspec.json.encode(content).decode(),
            thread=thread,
            cause=cause,
            edits=edits,
            notifications=len(ids),
        )
        return Send(delivery, ids, lane or self.channel.name, dates)

    def _with_template(self, content: Content, first: Piece | None) -> Content:
        """The content with the texts of its rule's templates; with the default ones and a note if a template fails."""
        template, subject = first.template if first is not None else (None, None)
        if first is None or (template is None and subject is None):
            return content
        variables = {**first.variables, "title": content.title, "lines": template_lines(content)}
        try:
            title = " ".join(self._config.render_template(subject, variables).split()) if subject is not None else ""
            body = self._config.render_template(template, variables) if template is not None else None
        except TemplateError as error:
            note = f"The template of rule {first.template_rule} failed, so this is the standard text: {error}"
            return msgspec.structs.replace(content, notes=(*content.notes, note))
        return msgspec.structs.replace(content, title=title or content.title, body=body)


def _other_lines(delivery: Delivery, lines: Sequence[Line]) -> list[Line]:
    """The lines of an earlier message about subjects that these lines are not about."""
    known = {line.label for line in lines}
    sections = decode_as(delivery.content, Content).sections
    return [line for section in sections for line in section.lines if line.label not in known]


def _has_same_template(delivery: Delivery, piece: Piece) -> bool:
    """Whether the text of an earlier message was made by the template of a piece, or by none as well."""
    is_templated = piece.template[0] is not None
    was_templated = decode_as(delivery.content, Content).body is not None
    return is_templated == was_templated and (
        not is_templated or piece.template_rule in decode_as(delivery.rules, list[str])
    )


def _is_about_channel(piece: Piece) -> bool:
    return piece.subject.startswith((f"{CHANNEL_FAILED}:", f"{RECOVERED}:{CHANNEL_CONDITION}:"))


def _repeat_until(times: Sequence[str], *, is_urgent: bool) -> datetime | None:
    """Until when a subject waits that was reported at these times; None if it does not wait.

    What is urgent may be reported twice as often, and then waits a day.
    """
    if len(times) < (2 * MAX_REPEATS if is_urgent else MAX_REPEATS):
        return None
    delay = REPEAT_DELAYS[0 if is_urgent else min(len(times) - MAX_REPEATS, len(REPEAT_DELAYS) - 1)]
    return parse(times[-1]) + delay


_REPORTED_KINDS = frozenset({"customs_hold", "eta_slipped", "flexport_reported", "operation_unknown"})


def _is_inferred(row: Notification) -> bool:
    """Whether a notification follows from what was not reported, or not yet: during an outage that proves nothing."""
    if row.topic.startswith("exception."):
        return row.topic != "exception.closed" and row.message.get("kind") not in _REPORTED_KINDS
    return row.topic in ("invoice.due", "invoice.overdue")


def combine(actions: Sequence[Action]) -> list[Action]:
    """The same with one action for all notifications that share a reason."""
    drops: dict[str, list[int]] = {}
    waits: dict[tuple[Hold, datetime], list[int]] = {}
    sends: list[Action] = []
    for action in actions:
        if isinstance(action, Drop):
            drops.setdefault(action.reason, []).extend(action.ids)
        elif isinstance(action, Postpone):
            waits.setdefault((action.hold, action.due_at), []).extend(action.ids)
        else:
            sends.append(action)
    return [
        *(Drop(ids, reason) for reason, ids in drops.items()),
        *(Postpone(ids, hold, due_at) for (hold, due_at), ids in waits.items()),
        *sends,
    ]


def template_lines(content: Content) -> list[dict[str, Any]]:
    """The lines of a message for a template."""
    return [
        {
            "label": line.label,
            "texts": list(line.texts),
            "severity": line.severity,
            "path": line.path,
            "shipment_id": line.shipment_id,
        }
        for section in content.sections
        for line in section.lines
    ]


def _rules_of(pieces: Sequence[Piece]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule for piece in pieces for rule in piece.rules))


def _path_of(pieces: Sequence[Piece]) -> str:
    paths = {piece.path for piece in pieces}
    if len(paths) == 1:
        return next(iter(paths))
    if all(piece.topic.startswith(OPERATION) for piece in pieces):
        return "/operations"
    shipments = {piece.shipment_id for piece in pieces}
    return f"/shipments/{shipments.pop()}" if len(shipments) == 1 and None not in shipments else "/exceptions"
