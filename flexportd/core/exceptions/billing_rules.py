"""Exceptions of invoices and bookings: an unpaid freight invoice, a booking without an answer. Pure."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from flexportd.clock import stamp
from flexportd.core.exceptions.model import (
    Evaluation,
    ExceptionRules,
    Finding,
    OneTimeNotice,
    TimeTriggers,
    days_after,
    start_of_day,
)
from flexportd.core.resources.invoices import due_status
from flexportd.core.resources.money import amount
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record

DUE, OVERDUE = "invoice.due", "invoice.overdue"


def evaluate_invoice(invoice: Record, rules: ExceptionRules, now: datetime) -> Evaluation:
    """An invoice that is unpaid after its due day. Invoices have no place, so the day is in UTC.

    A credit note, and an invoice with nothing left to pay, is never due. One notice is sent when an invoice is due
    soon, and one when it is overdue.
    """
    fields, watch = invoice.fields, TimeTriggers(now.astimezone(UTC))
    state = "void" if invoice.removed_at else due_status(fields, watch.now.date()).state
    if state in ("paid", "void", "payment_pending", "unknown") or not _is_owed(fields):
        return Evaluation()
    due_date = plausible_or_none(fields["due_date"])
    until = date.fromisoformat(due_date) if due_date else None
    evidence = {name: fields[name] for name in ("name", "due_date", "status") if fields[name] is not None}
    about = ("invoices", str(invoice.id), fields["shipment_id"], evidence)
    over = start_of_day(until, UTC, days=1) if until else None
    is_over = over is not None and watch.has_passed(over)
    if state == "overdue" or is_over:
        since = stamp(over) if over and is_over else None
        return Evaluation(
            (Finding("invoice_overdue", *about, since),), watch.next_check, (OneTimeNotice(OVERDUE, *about),)
        )
    is_soon = until is not None and watch.has_passed(start_of_day(until, UTC, days=-rules.invoice_due_days))
    return Evaluation((), watch.next_check, (OneTimeNotice(DUE, *about),) if is_soon else ())


def _is_owed(fields: Mapping[str, Any]) -> bool:
    """Whether the client owes something: an amount above zero, or an unknown one."""
    owed, total = amount(fields["outstanding_amount"]), amount(fields["total_amount"])
    is_credit = "credit" in f"{fields['type']} {fields['invoice_type']}".casefold()
    return not is_credit and (owed is None or owed > 0) and (total is None or total > 0)


def evaluate_booking(booking: Record, rules: ExceptionRules, now: datetime) -> Evaluation:
    """A booking that was submitted some days ago, and is neither answered nor withdrawn.

    Only its status counts: bookings have a shipment from the start (recorded).
    """
    fields, watch = booking.fields, TimeTriggers(now)
    if booking.removed_at or fields["status"] != "submitted" or not plausible_or_none(fields["created_at"]):
        return Evaluation()
    due = days_after(fields["created_at"], rules.booking_days)
    if not watch.has_passed(due):
        return Evaluation((), watch.next_check)
    told = {name: fields[name] for name in ("name", "created_at", "cargo_ready_date") if fields[name]}
    found = Finding("booking_unanswered", "bookings", str(booking.id), fields["shipment_id"], told, stamp(due))
    return Evaluation((found,), watch.next_check)
