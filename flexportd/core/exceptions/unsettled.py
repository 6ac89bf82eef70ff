"""Exceptions of what waits for somebody: a freight invoice for payment, a booking for Flexport's answer. Pure."""

from datetime import UTC, date, datetime

from flexportd.core.exceptions.cases import Finding, Judgement, Notice, Rules, Watch, after, begin_of
from flexportd.core.invoices import due
from flexportd.storage.resources import Record

DUE, OVERDUE = "invoice.due", "invoice.overdue"


def of_invoice(invoice: Record, rules: Rules, now: datetime) -> Judgement:
    """An invoice that is not paid, void or being paid, after its due day; which has no place, so the day is UTC's.

    It is told of once when it is due within so many days, and once when it is overdue.
    """
    fields, watch = invoice.fields, Watch(now.astimezone(UTC))
    state = "void" if invoice.removed_at else due(fields, watch.now.date()).state
    if state in ("paid", "void", "payment_pending", "unknown"):
        return Judgement()
    until = date.fromisoformat(fields["due_date"]) if fields["due_date"] else None
    evidence = {name: fields[name] for name in ("name", "due_date", "status") if fields[name] is not None}
    about = ("invoices", str(invoice.id), fields["shipment_id"], evidence)
    is_over = until is not None and watch.passed(begin_of(until, UTC, days=1))
    if state == "overdue" or is_over:
        return Judgement((Finding("invoice_overdue", *about),), watch.next, (Notice(OVERDUE, *about),))
    is_soon = until is not None and watch.passed(begin_of(until, UTC, days=-rules.invoice_due_days))
    return Judgement((), watch.next, (Notice(DUE, *about),) if is_soon else ())


def of_booking(booking: Record, rules: Rules, now: datetime) -> Judgement:
    """A booking that was submitted so many days ago, and is neither answered nor withdrawn."""
    fields, watch = booking.fields, Watch(now)
    if booking.removed_at or fields["status"] != "submitted" or fields["shipment_id"] or not fields["created_at"]:
        return Judgement()
    if not watch.passed(after(fields["created_at"], rules.booking_days)):
        return Judgement((), watch.next)
    told = {name: fields[name] for name in ("name", "created_at", "cargo_ready_date") if fields[name]}
    return Judgement((Finding("booking_unanswered", "bookings", str(booking.id), None, told),), watch.next)
