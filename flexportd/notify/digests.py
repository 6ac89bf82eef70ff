"""Digests: what is wrong first, then what has changed, then what arrives next."""

from collections.abc import Container, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from flexportd.clock import stamp
from flexportd.core.changes.topics import Patterns
from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.labels import format_day
from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.notify.composition import (
    Action,
    ChannelInfo,
    Composition,
    Drop,
    NotifyConfig,
    SetDigestTime,
    combine,
)
from flexportd.notify.content import Content, Line, Section
from flexportd.notify.incidents import Piece, digest_lines, merge, section_of, severity_of
from flexportd.notify.notifier import Notifier
from flexportd.notify.rules import Rule
from flexportd.notify.subjects import Message, facts_of, load_subjects
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.exceptions import ExceptionRow, is_snoozed
from flexportd.storage.repositories.notifications import NotifierState
from flexportd.storage.transaction import Transaction

MAX_NOTIFICATIONS = 5000  # of one digest
MAX_OPEN = 200  # open exceptions that are looked at
MAX_WRONG, MAX_CHANGED, MAX_ARRIVING = 40, 40, 30  # lines
ARRIVING = timedelta(days=7)


class DueDigest(NamedTuple):
    """A digest of a rule for a channel, and when it is due."""

    rule: Rule
    channel: ChannelInfo
    due_at: str


def digest_times(tx: Transaction, config: NotifyConfig) -> Iterator[DueDigest]:
    """The digests that have a time; those without one get it in `due_digests`."""
    for rule, channel in _digests(config):
        at = tx.notifications.digest_due_at(rule.name, channel.name)
        if at is not None:
            yield DueDigest(rule, channel, at)


def _digests(config: NotifyConfig) -> Iterator[tuple[Rule, ChannelInfo]]:
    for rule in config.rules.rules:
        if rule.is_enabled and rule.digest is not None:
            for name in rule.channels:
                if (channel := config.channels.get(name)) is not None:
                    yield rule, channel


def due_digests(tx: Transaction, config: NotifyConfig, now: datetime) -> list[Action]:
    """What has to be written for the digests that are due, and the times of the next ones."""
    actions: list[Action] = []
    state = None if config.is_preview else tx.meta.load(Notifier.name, NotifierState)
    is_complete = state is None or state.is_loud  # not during the first sync, nor after a restore
    for rule, channel in _digests(config):
        assert rule.digest is not None
        due_at = tx.notifications.digest_due_at(rule.name, channel.name)
        next_at = stamp(rule.digest.next_after(now, rule.zone))
        if due_at is None or (due_at > stamp(now) and due_at != next_at):  # a new digest, or one with another time
            actions.append(SetDigestTime(rule.name, channel.name, next_at))
        elif due_at <= stamp(now):
            if is_complete:
                actions += compose_digest(Composition(tx, config, channel, now), tx, config.registry, rule, now)
            actions.append(SetDigestTime(rule.name, channel.name, next_at))
    return actions


def compose_digest(
    composition: Composition, tx: Transaction, registry: Registry, rule: Rule, now: datetime
) -> list[Action]:
    """The digest of a rule for the channel of a composition; nothing is sent if there is nothing to say."""
    actions: list[Action] = []
    pieces: list[Piece] = []
    held: set[int | None] = set()  # exceptions that are not reported during an outage
    rows = tx.notifications.for_digest(rule.name, composition.channel.name, MAX_NOTIFICATIONS)
    for row, subject in composition.with_subjects(rows):
        found = composition.check(row, subject)
        if isinstance(found, Drop):
            actions.append(found)
        elif isinstance(found, Piece):
            pieces.append(found)
        elif row.topic == "exception.opened":  # what is held stays for the next digest
            held.add(row.exception_id)
    pieces = merge(pieces)
    today = now.astimezone(rule.zone).date()
    is_about_exceptions = rule.patterns.match("exception.opened")
    open_now = _open_exceptions(composition, tx, registry, rule, today=today, held=held) if is_about_exceptions else []
    listed = {piece.subject for piece in open_now}
    wrong = digest_lines(open_now)
    changed = digest_lines([piece for piece in pieces if piece.subject not in listed])
    arriving = _arriving(tx, today) if is_about_exceptions or _is_about_shipments(rule.patterns) else []
    sections = [
        section
        for lines, title, most in (
            (wrong, "Wrong now", MAX_WRONG),
            (changed, "Changed", MAX_CHANGED),
            (arriving, f"Arriving within {ARRIVING.days} days", MAX_ARRIVING),
        )
        if (section := section_of(lines, title, most)).lines
    ]
    if not sections:
        return combine(actions)
    counts = [
        f"{len(open_now)} open" if open_now else None,
        f"{len(changed)} changed" if changed else None,
        f"{len(arriving)} arriving" if arriving else None,
    ]
    name = "Weekly digest" if rule.digest and rule.digest.weekday is not None else "Daily digest"
    content = Content(
        title=f"{name}, {format_day(today, today)}: {', '.join(filter(None, counts))}",
        summary=f"Rule {rule.name}",
        sections=sections,
        severity=severity_of([*open_now, *pieces]) if open_now or pieces else None,
        path="/exceptions" if wrong else "/",
        topic="digest",
        data={"rule": rule.name, "sections": [_section_data(section) for section in sections]},
        rules=(rule.name,),
    )
    first = next(iter([*pieces, *open_now]), None)
    return combine([*actions, composition.send("digest", content, pieces, first=first)])


def _is_about_shipments(patterns: Patterns) -> bool:
    return any(patterns.match(f"shipment.{what}") for what in ("departed", "arrived", "delivered", "eta_changed"))


def _open_exceptions(
    composition: Composition,
    tx: Transaction,
    registry: Registry,
    rule: Rule,
    *,
    today: date,
    held: Container[int | None],
) -> list[Piece]:
    """The open exceptions that the rule is about, the most severe first; snoozed and held ones are left out."""
    now = composition.now
    rows = [row for severity in SEVERITIES for row in tx.exceptions.open_of_severity(severity, MAX_OPEN)]
    messages = [message_of(row) for row in rows if not is_snoozed(row, now) and row.id not in held]
    return [
        composition.templated(composition.piece(message, subject, rule.name), rule, message, subject)
        for message, subject in zip(messages, load_subjects(tx, registry, messages), strict=True)
        if rule.condition.evaluate(facts_of(message, subject), today).matched
    ]


def message_of(row: ExceptionRow) -> Message:
    """The message of an open exception."""
    names = ("resource", "resource_id", "shipment_id", "kind", "severity", "evidence")
    fields = {name: getattr(row, name) for name in names}
    return {"topic": "exception.opened", "exception_id": str(row.id), "changes": (), **fields}


def _arriving(tx: Transaction, today: date) -> list[Line]:
    """The shipments that arrive within the next days, the first ones first."""
    filters = {
        "eta_after": (today.isoformat(),),
        "eta_before": ((today + ARRIVING).isoformat(),),
        "not_archived": (),
    }
    rows = tx.resources.page(shipments.TABLE, PageRequest(200, "eta_at", descending=False, filters=filters))
    return [
        Line(
            f"FLEX-{row['id']} · {row['name']}" if row["name"] else f"FLEX-{row['id']}",
            (_arrival_text(row["estimated_arrival"], row["port_of_unloading"], today),),
            None,
            f"/shipments/{row['id']}",
            row["id"],
        )
        for row in rows
        if row["removed_at"] is None and row["actual_arrival"] is None and row["estimated_arrival"]
    ]


def _arrival_text(moment: str, place: str | None, today: date) -> str:
    where = f" at {place}" if place else ""
    return f"Expected{where} on {format_day(date.fromisoformat(moment[:10]), today)}"


def _section_data(section: Section) -> dict[str, object]:
    return {
        "title": section.title,
        "lines": [
            {"label": line.label, "texts": list(line.texts), "severity": line.severity, "shipment_id": line.shipment_id}
            for line in section.lines
        ],
        "note": section.note,
    }
