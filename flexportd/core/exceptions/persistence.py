"""Writes that open, update and close exceptions, with their notices, in one transaction."""

from collections.abc import Callable, Mapping
from typing import Any

from flexportd.core.exceptions.model import SEVERITY, Finding, OneTimeNotice
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.exceptions import ExceptionFields, ExceptionRow
from flexportd.storage.transaction import Transaction

Notices = list[Mapping[str, Any]]
"""Notices for the change log, to append to."""

Write = Callable[[Transaction, str, Notices], None]
"""One step: (transaction, our time, notices)."""


def open_exception(finding: Finding, *, is_told: bool) -> Write:
    """A new exception."""

    def write(tx: Transaction, at: str, told: Notices) -> None:
        fresh = _exception_fields(finding)
        number = tx.exceptions.open(fresh, at)
        if is_told and finding.is_news:
            told.append(_notice("exception.opened", number, fresh))

    return write


def update_exception(row: ExceptionRow, finding: Finding) -> Write:
    """New evidence of an exception that stays open; without a notice."""

    def write(tx: Transaction, at: str, _: Notices) -> None:
        tx.exceptions.update(row.id, _exception_fields(finding), at)

    return write


def close_exception(row: ExceptionRow, *, is_told: bool) -> Write:
    """Close an exception; the notice has its last evidence."""

    def write(tx: Transaction, at: str, told: Notices) -> None:
        tx.exceptions.close(row.id, at)
        if is_told:
            told.append(_notice("exception.closed", row.id, row))

    return write


def notify(notice: OneTimeNotice, key: Key, *, is_told: bool) -> Write:
    """Send a one-time notice; without `is_told` it only counts as sent."""

    def write(tx: Transaction, at: str, told: Notices) -> None:
        tx.exceptions.record_notified(notice.topic, key, at)
        if is_told:
            about = {"resource": notice.resource, "resource_id": notice.resource_id}
            told.append(
                {"topic": notice.topic, **about, "shipment_id": notice.shipment_id, "evidence": notice.evidence}
            )

    return write


def schedule_check(resource: str, key: Key, due_at: str | None) -> Write:
    """Schedule the next check of an object."""
    return lambda tx, _, __: tx.exceptions.schedule(resource, key, due_at)


def _exception_fields(finding: Finding) -> ExceptionFields:
    return ExceptionFields(
        finding.kind,
        SEVERITY[finding.kind],
        finding.resource,
        finding.resource_id,
        finding.shipment_id,
        finding.evidence,
        finding.since,
    )


def _notice(topic: str, number: int, said: ExceptionFields | ExceptionRow) -> Mapping[str, Any]:
    return {
        "topic": topic,
        "resource": said.resource,
        "resource_id": said.resource_id,
        "shipment_id": said.shipment_id,
        "exception_id": str(number),
        "kind": said.kind,
        "severity": said.severity,
        "evidence": said.evidence,
    }
