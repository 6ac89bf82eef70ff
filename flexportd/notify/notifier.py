"""The notifier: a consumer of the change log that turns what rules match into notifications.

The first synchronization, a restored backup and replayed events are no news: they only set the point from which
changes are compared.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import structlog

from flexportd.clock import Clock, age, stamp
from flexportd.core.baseline import lists_complete, lists_unread
from flexportd.core.changes.consumer import DATA_ERRORS, ChangeLogConsumer, IdleWait, Step, Subject
from flexportd.core.changes.stream_messages import matching_messages
from flexportd.core.changes.topics import MILESTONE, Patterns, TopicNeeds
from flexportd.core.resources.registry import Registry
from flexportd.notify.rules import Rule, Rules
from flexportd.notify.subjects import DATE_TOPICS, Message, MessageSubject, facts_of, load_subjects, subject_key
from flexportd.queue.handlers import DEAD_LETTER
from flexportd.storage.change_log import JournalEntry
from flexportd.storage.database import Database
from flexportd.storage.repositories.deliveries import ITEM_KIND
from flexportd.storage.repositories.notifications import DateKey, Hold, NewNotification, NotifierState, ToldDate
from flexportd.storage.statements import json_text
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

DELIVERY = ITEM_KIND
"""The kind of item that sends one message."""

_VERSION = "1"
_ENTRIES = 50  # of the change log, in one step
_MAX_WRITES = 1000  # of one step, after which it ends with the entry
_MAX_NEWS_AGE = timedelta(days=7).total_seconds()  # of an event: an older one is replayed


class DateStart(NamedTuple):
    """Where the comparison of a date begins for a channel."""

    key: DateKey
    day: str | None


class Baseline(NamedTuple):
    """Nothing to write but the state: what was before it is no news."""


Write = NewNotification | DateStart | Baseline

Gather = Callable[[str], timedelta]
"""How long a message to a channel waits for others; nothing for programs."""


class RuleMatcher:
    """Finds the notifications of entries of the change log."""

    def __init__(self, registry: Registry, rules: Rules, gather: Gather = lambda _: timedelta()) -> None:
        self._registry = registry
        self._rules = rules
        self._gather = gather
        self.patterns = Patterns([one for rule in rules.rules if rule.is_enabled for one in rule.patterns.patterns])
        self._needs = TopicNeeds.of(self.patterns)

    def messages(self, tx: Transaction, entry: JournalEntry, now: datetime) -> list[Message]:
        """The messages of an entry that a rule may match, without those that cannot be news."""
        found = matching_messages(tx, self._registry, entry, self.patterns, self._needs)
        return [message for message in found if is_news(message, now)]

    def notifications(
        self, tx: Transaction, entry: JournalEntry, now: datetime, dates: "DateComparison | None" = None
    ) -> Iterator[Write]:
        """The notifications of one entry, and where the comparison of dates begins.

        `dates` is that of the entries before it whose writes are not stored yet.
        """
        messages = self.messages(tx, entry, now)
        if not messages:
            return
        dates = dates or DateComparison(tx)
        for message, subject in zip(messages, load_subjects(tx, self._registry, messages), strict=True):
            compared: set[str] = set()
            matched: set[str] = set()
            for rule in self._rules.for_topic(message["topic"]):
                for channel in rule.channels:
                    compared.add(channel)
                    told = dates.compare(channel, message)
                    if told.start is not None:
                        yield told.start
                    if matches(rule, message, subject, told, now):
                        matched.add(channel)
                        hold = hold_of(rule, now, self._gather(channel))
                        yield _notification(entry, {**message, **told.fields}, (rule.name, channel), hold, now)
            for channel in sorted(compared - matched):
                start = dates.begin_at_first(channel, message)
                if start is not None:
                    yield start


class Notifier(ChangeLogConsumer[NotifierState, Write]):
    """Writes notifications. `matcher` may be exchanged."""

    name = "notifier"
    debounce = 0.2
    write_batch = 500

    def __init__(
        self,
        db: Database,
        clock: Clock,
        matcher: RuleMatcher,
        wait_for_idle: IdleWait | None = None,
        *,
        reads_lists: bool = False,
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        """`reads_lists`: whether Flexport's lists are read. `on_written` is called after notifications were written."""
        super().__init__(db, clock, state_type=NotifierState, tables={}, depends_on={}, wait_for_idle=wait_for_idle)
        self._reads_lists = reads_lists
        self.after_write = on_written  # type: ignore[method-assign]
        self.matcher = matcher
        self._skipped = 0

    @property
    def notifies(self) -> bool:
        """Whether changes are news: not before the lists were read completely once."""
        return self._state is not None and self._state.is_loud

    def restart(self, tx: Transaction) -> NotifierState:
        """Everything so far is known already; if the lists have just become complete, everything until then."""
        before = tx.meta.load(self.name, NotifierState)
        since = before.baseline_since if before is not None else ""
        is_loud, journal = self._knows_everything(tx, since), tx.journal.last()
        if before is not None and not before.is_loud and is_loud:
            run = tx.sync.first_complete("full", since)
            journal = journal if run is None or run.ended_at is None else tx.journal.entry_before(run.ended_at)
        return NotifierState(version=_VERSION, journal=journal, is_loud=is_loud, baseline_since=since)

    async def prepare(self) -> None:
        """Set where news begin, before any event is applied."""
        async with self._lock:
            self._state = await self.load_state()
            self._saved_entry = self._state.journal

    async def load_state(self) -> NotifierState:
        """The stored state. The first one is stored at once: after a crash, what came since would not be news."""
        state = await super().load_state()
        await self._save_state(state)
        return state

    def must_restart(self, tx: Transaction, state: NotifierState) -> bool:
        """When lists are to be read for the first time, and when they were."""
        if state.version != _VERSION:
            return True
        if state.is_loud:
            return self._reads_lists and lists_unread(tx)
        return self._knows_everything(tx, state.baseline_since)

    def _knows_everything(self, tx: Transaction, since: str) -> bool:
        return not self._reads_lists or lists_complete(tx, since)

    @classmethod
    def begin_again(cls, tx: Transaction, at: str) -> None:
        """After a restore: what changes until all lists were read completely is no news."""
        tx.meta.save(
            cls.name, NotifierState(version=_VERSION, journal=tx.journal.last(), is_loud=False, baseline_since=at)
        )

    def plan(self, tx: Transaction, subjects: Sequence[Subject], state: NotifierState) -> Sequence[Write]:  # noqa: ARG002
        """Nothing: entries are read, not objects."""
        return ()

    def read(self, tx: Transaction, state: NotifierState, most: int) -> Step[NotifierState, Write]:  # noqa: ARG002
        """The notifications of some new entries."""
        newest = self._newest = tx.journal.last()
        if not tx.journal.first() - 1 <= state.journal <= newest or self.must_restart(tx, state):
            return Step(self.restart(tx), (Baseline(),), last=True)
        if not state.is_loud or not self.matcher.patterns.patterns:
            return Step(msgspec.structs.replace(state, journal=newest), last=True)
        writes: list[Write] = []
        now, dates = self._clock.now(), DateComparison(tx)
        for entry in tx.journal.after(state.journal, _ENTRIES):
            writes += self._notifications(tx, entry, now, dates)
            state = msgspec.structs.replace(state, journal=entry.id, at=entry.at)
            if len(writes) >= _MAX_WRITES:
                break
        return Step(state, writes, last=state.journal == newest)

    def _notifications(
        self, tx: Transaction, entry: JournalEntry, now: datetime, dates: "DateComparison"
    ) -> list[Write]:
        try:
            return list(self.matcher.notifications(tx, entry, now, dates))
        except DATA_ERRORS:
            log.exception("notifications_skipped", entry_id=entry.id)
            self._skipped += 1
            return []

    @property
    def skipped_reason(self) -> str | None:
        """How many entries could not be read since the start; None for none."""
        return f"{self._skipped} commits could not be checked for notifications; see the log" if self._skipped else None

    def write(self, tx: Transaction, writes: Sequence[Write]) -> None:
        """Store these."""
        at = self._clock.stamp()
        tx.notifications.begin_dates([(one.key, one.day) for one in writes if isinstance(one, DateStart)], at)
        tx.notifications.add([one for one in writes if isinstance(one, NewNotification)])

    def skip(self, write: Write, error: Exception) -> None:  # noqa: ARG002 (it is in the log)
        """Leave one out."""
        log.error("notification_write_failed", exc_info=error)
        self._skipped += 1


def is_news(message: Message, now: datetime) -> bool:
    """Whether a message can be news.

    Not the milestone of an old event, which was replayed; nor the dead letter of a delivery: the state of its channel
    is reported instead.
    """
    if message["topic"] == DEAD_LETTER:
        return message.get("kind") != DELIVERY
    return not message["topic"].startswith(MILESTONE) or (age(message.get("as_of"), now) or 0.0) < _MAX_NEWS_AGE


class DateChange(NamedTuple):
    """A date compared with the one that a channel was last told.

    `fields` replace those of the message: `days_later` and `told`. `was_told`: a message told it, rather than the
    start of the comparison. `is_same`: the day is the same.
    """

    fields: Mapping[str, Any] = {}
    was_told: bool = False
    is_same: bool = False
    start: DateStart | None = None


class DateComparison:
    """Compares dates with those that channels were last told, also with starts that are not stored yet."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[DateKey, ToldDate] = {}

    def compare(self, channel: str, message: Message) -> DateChange:
        """Compare the date of a message; messages without a date are returned as they are."""
        field = DATE_TOPICS.get(message["topic"])
        if field is None:
            return DateChange()
        key = (channel, message["resource"], message["resource_id"], field)
        change = next(one for one in message["changes"] if one["field"] == field)
        told = self._known.get(key) or self._tx.notifications.told_dates([key]).get(key)
        start = None
        if told is None:
            told = ToldDate(day_of(change["old"]), message["at"], None)
            start = DateStart(key, told.day)
        self._known[key] = told
        days = days_between(told.day, day_of(change["new"]))
        fields = {"days_later": days, "told": told.day}
        return DateChange(fields, told.delivery_id is not None, is_same=days == 0, start=start)

    def begin_at_first(self, channel: str, message: Message) -> DateStart | None:
        """Where the comparison begins for a channel that knew no date, and is not told this one; None: elsewhere."""
        field = DATE_TOPICS.get(message["topic"])
        if field is None:
            return None
        key = (channel, message["resource"], message["resource_id"], field)
        day = day_of(next(one["new"] for one in message["changes"] if one["field"] == field))
        if self._known[key].day is not None or day is None:
            return None
        self._known[key] = ToldDate(day, message["at"], None)
        return DateStart(key, day)


def matches(rule: Rule, message: Message, subject: MessageSubject, told: DateChange, now: datetime) -> bool:
    """Whether the condition of a rule holds for a message.

    A date that moved back after a channel was told a later one is a correction: the distance counts.
    """
    if told.is_same:
        return False
    today = now.astimezone(rule.zone).date()
    if rule.condition.evaluate(facts_of({**message, **told.fields}, subject), today).matched:
        return True
    days = told.fields.get("days_later")
    if not told.was_told or days is None or days >= 0:
        return False
    return rule.condition.evaluate(facts_of({**message, "days_later": -days}, subject), today).matched


def day_of(moment: Any) -> str | None:
    """The day of a stored date or time."""
    return moment[:10] if isinstance(moment, str) else None


def days_between(first: str | None, last: str | None) -> int | None:
    """Calendar days from one day to another; None without one of them."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days if first and last else None


def _notification(
    entry: JournalEntry, message: Message, target: tuple[str, str], due: tuple[Hold, datetime], now: datetime
) -> NewNotification:
    """`target` is a rule and a channel; `due` is why and until when it waits."""
    number = message.get("exception_id")
    return NewNotification(
        occurrence=occurrence_of(entry, message),
        rule=target[0],
        channel=target[1],
        topic=message["topic"],
        subject=subject_key(message),
        resource=message.get("resource"),
        resource_id=message.get("resource_id"),
        shipment_id=message.get("shipment_id"),
        exception_id=None if number is None else int(number),
        message=json_text(message),
        created_at=stamp(now),
        hold=due[0],
        due_at=stamp(due[1]),
    )


def occurrence_of(entry: JournalEntry, message: Message) -> str:
    """Identifies what happened; for a milestone its event, which may be applied again."""
    if message["topic"].startswith(MILESTONE):
        return f"{message['topic']}:{message['event_id']}"
    names = (
        "topic",
        "resource",
        "resource_id",
        "exception_id",
        "kind",
        "dead_letter_id",
        "event_id",
        "run_id",
        "operation_id",
    )
    parts = json_text([entry.id, entry.mark, *(message.get(name) for name in names)])
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def hold_of(rule: Rule, now: datetime, gather: timedelta) -> tuple[Hold, datetime]:
    """Why and until when a notification waits: for a digest, the end of quiet hours, or others that belong to it."""
    if rule.digest is not None:
        return "digest", rule.digest.next_after(now, rule.zone)
    end = rule.quiet.ends_at(now, rule.zone) if rule.quiet else None
    return ("gather", now + gather) if end is None else ("quiet", end)
