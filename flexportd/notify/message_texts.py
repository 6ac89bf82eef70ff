"""What a message says of one occurrence: a headline, a sentence, and how serious it is. Pure."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NamedTuple

from flexportd.core.changes.topics import MILESTONE, OPERATION, TOPICS
from flexportd.core.exceptions.sentences import sentence, title
from flexportd.core.labels import count_of, enum_label, field_label, format_day
from flexportd.core.resources.documents import type_title
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.notify.content import Severity
from flexportd.notify.subjects import Message, MessageSubject

MAX_TEXT = 300  # characters of a sentence
MAX_LABEL = 120
_MAX_FIELDS = 5  # changed fields that a sentence names

_MEANINGS = {topic.name: topic.meaning for topic in TOPICS}
_RESOURCES = {domain.name: domain for domain in RESOURCE_TYPES}
_SEVERITIES: Mapping[str, Severity] = {"critical": "critical", "warning": "warning", "notice": "notice"}


class Wording(NamedTuple):
    """`headline` fits into a subject; `text` is a sentence without a full stop."""

    headline: str
    text: str
    severity: Severity = "notice"


def describe(message: Message, subject: MessageSubject, today: date) -> Wording:
    """The wording of a message; `today` in the time zone of its readers."""
    topic: str = message["topic"]
    found = _WORDINGS.get(topic, _milestone if topic.startswith(MILESTONE) else _other)(message, subject, today)
    return found._replace(headline=_cut(found.headline, MAX_LABEL), text=_cut(found.text, MAX_TEXT))


def label_of(message: Message, subject: MessageSubject) -> str:
    """The name of what a message is about: `FLEX-1042 · Winter jackets`, the title of an operation, or flexportd."""
    if message["topic"].startswith(OPERATION):
        return _cut(message.get("title") or f"Operation {message.get('operation_id')}", MAX_LABEL)
    number, record = message.get("shipment_id"), subject.record
    if number is not None:
        name = subject.shipment.fields.get("name") if subject.shipment else None
        return _cut(f"FLEX-{number} · {name}" if name else f"FLEX-{number}", MAX_LABEL)
    domain = _RESOURCES.get(message.get("resource") or "")
    if domain is None:
        return "flexportd"
    name = record.fields.get("name") if record else None
    return _cut(f"{domain.label[:1].upper()}{domain.label[1:]} {name or message.get('resource_id')}", MAX_LABEL)


def path_of(message: Message) -> str:
    """The page of what a message is about."""
    topic, number = message["topic"], message.get("shipment_id")
    if topic.startswith("exception.") and message.get("exception_id"):
        return f"/exceptions/{message['exception_id']}"
    if topic.startswith(OPERATION):
        return f"/operations/{message.get('operation_id')}"
    if number is not None:
        return f"/shipments/{number}"
    if topic == "system.dead_letter":
        return f"/queue/{message.get('dead_letter_id')}"
    resource, key = message.get("resource"), message.get("resource_id")
    return f"/{resource.replace('_', '-')}/{key}" if resource and key else "/system"


def _day(stored: Any, today: date) -> str:
    try:
        return format_day(date.fromisoformat(stored[:10]), today) if isinstance(stored, str) else "an unknown date"
    except ValueError:
        return str(stored)[:10]


def _evidence(message: Message, today: date) -> str:
    return sentence(message.get("kind") or "", message.get("evidence") or {}, lambda stored: _day(stored, today))


def _opened(message: Message, _: MessageSubject, today: date) -> Wording:
    name = title(message.get("kind") or "exception")
    text = _evidence(message, today)  # the sentence of some kinds begins with the name
    return Wording(name, text if text.startswith(name) else f"{name}: {text}", _severity(message))


def _worsened(message: Message, _: MessageSubject, today: date) -> Wording:
    name = title(message.get("kind") or "exception")
    return Wording(
        f"{name}, now {message.get('severity')}", f"{name}, worse: {_evidence(message, today)}", _severity(message)
    )


def _snooze_ended(message: Message, _: MessageSubject, today: date) -> Wording:
    name = title(message.get("kind") or "exception")
    return Wording(f"{name}, still open", f"{name}, snooze ended: {_evidence(message, today)}", _severity(message))


def _closed(message: Message, _: MessageSubject, today: date) -> Wording:
    name = title(message.get("kind") or "exception")
    return Wording(f"{name}: resolved", f"Resolved: {name} ({_evidence(message, today)})", "good")


def _severity(message: Message) -> Severity:
    return _SEVERITIES.get(message.get("severity") or "", "notice")


def _change(message: Message, field: str) -> tuple[Any, Any]:
    return next(((one["old"], one["new"]) for one in message["changes"] if one["field"] == field), (None, None))


def _eta(message: Message, subject: MessageSubject, today: date) -> Wording:
    """The date that is stored now, compared with the one that the reader was told."""
    shipment = subject.shipment
    new = message.get("new") or (shipment and shipment.fields["estimated_arrival"])
    told, days = message.get("told") or _change(message, "estimated_arrival")[0], message.get("days_later")
    place = shipment.fields["port_of_unloading"] if shipment else None
    where = f" at {place}" if place else ""
    if new is None:
        return Wording("ETA withdrawn", f"No estimated arrival{where} any more; it was {_day(told, today)}", "warning")
    if not days or told is None:
        return Wording("New ETA", f"Expected{where} on {_day(new, today)}")
    direction = "later" if days > 0 else "earlier"
    distance = f"{count_of(abs(days), 'day')} {direction}"
    text = f"Now expected{where} on {_day(new, today)}, {distance} than {_day(told, today)}"
    return Wording(f"ETA {distance}", text, "warning" if days > 0 else "good")


def _status(message: Message, _: MessageSubject, __: date) -> Wording:
    old, new = ((enum_label("status", value) or value) if value else None for value in _change(message, "status"))
    return Wording(f"Status: {new}", f"Status is now {new}" + (f"; it was {old}" if old else ""))


def _done(verb: str, field: str, place: str) -> Callable[[Message, MessageSubject, date], Wording]:
    def words(message: Message, subject: MessageSubject, today: date) -> Wording:
        at = subject.shipment.fields.get(place) if subject.shipment else None
        preposition = "from" if verb == "Departed" else "at"
        where = f" {preposition} {at}" if at else ""
        return Wording(verb, f"{verb}{where} on {_day(_change(message, field)[1], today)}", "good")

    return words


def _milestone(message: Message, _: MessageSubject, today: date) -> Wording:
    name = message.get("title") or message["topic"].removeprefix(MILESTONE).replace("_", " ")
    at = message.get("occurred_at")
    return Wording(name, f"{name} on {_day(at, today)}" if at else name)


def _invoice(
    verb: Callable[[Message, Mapping[str, Any], date], str], severity: Severity, headline: str
) -> Callable[[Message, MessageSubject, date], Wording]:
    def words(message: Message, subject: MessageSubject, today: date) -> Wording:
        fields = {**(subject.record.fields if subject.record else {}), **(message.get("evidence") or {})}
        name = fields.get("name") or message.get("resource_id")
        amount, currency = fields.get("total_amount"), fields.get("total_currency")
        total = f" ({currency or ''} {_amount(amount)})".replace("( ", "(") if amount else ""
        return Wording(headline, f"Invoice {name}{total} {verb(message, fields, today)}", severity)

    return words


def _amount(value: Any) -> str:
    whole, _, part = str(value).partition(".")
    digits = f"{int(whole):,}" if whole.lstrip("-").isdigit() else whole
    return f"{digits}.{part.ljust(2, '0')}" if part else digits


def _total_changed(message: Message, _: Mapping[str, Any], __: date) -> str:
    old, new, currency = message.get("old_total"), message.get("new_total"), message.get("currency") or ""
    return f"changed: the total is now {currency} {_amount(new)}, it was {_amount(old)}" if old and new else "changed"


def _due(_: Message, fields: Mapping[str, Any], today: date) -> str:
    return f"is due on {_day(fields.get('due_date'), today)}"


def _overdue(_: Message, fields: Mapping[str, Any], today: date) -> str:
    return f"was due on {_day(fields['due_date'], today)} and is not paid" if fields.get("due_date") else "is overdue"


def _document(_: Message, subject: MessageSubject, __: date) -> Wording:
    fields = subject.record.fields if subject.record else {}
    kind = fields.get("document_type") or fields.get("type")
    name = type_title(kind) if kind else "Document"
    return Wording(f"New document: {name}", f"Document added: {name}")


def _system(headline: str, severity: Severity) -> Callable[[Message, MessageSubject, date], Wording]:
    return lambda message, _, __: Wording(headline, str(message.get("detail") or headline).rstrip("."), severity)


def _recovered(message: Message, _: MessageSubject, __: date) -> Wording:
    known = _CONDITIONS.get(message.get("kind") or "", str(message.get("kind") or "A fault").replace("_", " "))
    detail = str(message.get("detail") or "").rstrip(".")
    return Wording(f"Resolved: {known}", detail or f"Resolved: {known}", "good")


def _operation(headline: str, meaning: str, severity: Severity) -> Callable[[Message, MessageSubject, date], Wording]:
    def words(message: Message, _: MessageSubject, __: date) -> Wording:
        detail = str(message.get("detail") or "").rstrip(".")
        return Wording(headline, f"{meaning}: {detail}" if detail else meaning, severity)

    return words


def _unknown_outcome(message: Message, subject: MessageSubject, today: date) -> Wording:
    needs_decision = message.get("needs_decision")
    what_follows = "a person must decide" if needs_decision else "flexportd looks it up again"
    meaning = f"It is unknown whether Flexport made it; {what_follows}"
    severity: Severity = "critical" if needs_decision else "notice"
    return _operation("Outcome unknown", meaning, severity)(message, subject, today)


def _confirmed(message: Message, subject: MessageSubject, today: date) -> Wording:
    name = "Applied" if message.get("applied") else "Confirmed"
    return _operation(name, f"{name} by Flexport", "good")(message, subject, today)


def _other(message: Message, *_: object) -> Wording:
    topic: str = message["topic"]
    thing, what = topic.split(".", 1)
    fields = [field_label(one["field"]) for one in message.get("changes") or ()]
    if what == "updated" and fields:
        more = len(fields) - _MAX_FIELDS
        named = ", ".join(fields[:_MAX_FIELDS]) + (f" and {more} more" if more > 0 else "")
        return Wording("Changed", f"Changed: {named}")
    if what in ("created", "removed"):
        return Wording({"created": "New", "removed": "Removed"}[what], _MEANINGS[topic].rstrip("."))
    return Wording(f"{thing.capitalize()} {what.replace('_', ' ')}", _MEANINGS.get(topic, topic).rstrip("."))


_CONDITIONS = {
    "sync_failed": "syncs with Flexport fail",
    "sync_incomplete": "lists of Flexport are not read completely",
    "review_needed": "missing objects need review",
    "webhook_silent": "no webhooks from Flexport",
    "webhook_check_failed": "webhooks do not reach flexportd",
    "disk_low": "disk space is low",
    "channel_failed": "a notification channel fails",
}

_WORDINGS: Mapping[str, Callable[[Message, MessageSubject, date], Wording]] = {
    "exception.opened": _opened,
    "exception.worsened": _worsened,
    "exception.snooze_ended": _snooze_ended,
    "exception.closed": _closed,
    "shipment.eta_changed": _eta,
    "shipment.status_changed": _status,
    "booking.status_changed": _status,
    "shipment.departed": _done("Departed", "actual_departure", "port_of_loading"),
    "shipment.arrived": _done("Arrived", "actual_arrival", "port_of_unloading"),
    "shipment.delivered": _done("Delivered", "actual_delivered_in_full", "destination"),
    "document.added": _document,
    "invoice.shared": _invoice(
        lambda _, fields, today: f"was added{', ' + _due({}, fields, today)[3:] if fields.get('due_date') else ''}",
        "notice",
        "New invoice",
    ),
    "invoice.due": _invoice(_due, "warning", "Invoice due soon"),
    "invoice.overdue": _invoice(_overdue, "critical", "Invoice overdue"),
    "invoice.paid": _invoice(lambda *_: "is paid", "good", "Invoice paid"),
    "invoice.voided": _invoice(lambda *_: "was voided", "notice", "Invoice voided"),
    "invoice.total_changed": _invoice(_total_changed, "warning", "Invoice total changed"),
    "operation.confirmed": _confirmed,
    "operation.failed": _operation("Failed", "The operation failed", "warning"),
    "operation.unknown": _unknown_outcome,
    "operation.cancelled": _operation("Cancelled", "The operation was cancelled", "notice"),
    "system.dead_letter": _system("Queued work failed", "warning"),
    "system.sync_failed": _system("Syncs with Flexport fail", "critical"),
    "system.review_needed": _system("Missing objects need review", "warning"),
    "system.webhook_silent": _system("No webhooks from Flexport", "critical"),
    "system.webhook_check_failed": _system("Webhooks do not reach flexportd", "critical"),
    "system.disk_low": _system("Disk space is low", "critical"),
    "system.channel_failed": _system("A notification channel fails", "critical"),
    "system.recovered": _recovered,
}


def _cut(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
