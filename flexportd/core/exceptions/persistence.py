"""What is written when exceptions open, move and close, with what is told of it: both are in one transaction."""

from collections.abc import Callable, Mapping
from typing import Any

from flexportd.core.exceptions.model import SEVERITY, Finding, Notice
from flexportd.storage.repositories.exceptions import Fresh, Row
from flexportd.storage.repositories.resources import Key
from flexportd.storage.transaction import Session

Told = list[Mapping[str, Any]]
"""Notices for the journal, to add to."""

Write = Callable[[Session, str, Told], None]
"""One step: (transaction, our time, notices)."""


def opening(finding: Finding, *, is_told: bool) -> Write:
    """A new exception."""

    def write(tx: Session, at: str, told: Told) -> None:
        fresh = _fresh(finding)
        number = tx.exceptions.open(fresh, at)
        if is_told and finding.is_news:
            told.append(_notice("exception.opened", number, fresh))

    return write


def moving(row: Row, finding: Finding) -> Write:
    """Other facts of one that stays open; that is not told."""

    def write(tx: Session, at: str, _: Told) -> None:
        tx.exceptions.move(row.id, _fresh(finding), at)

    return write


def closing(row: Row, *, is_told: bool) -> Write:
    """One that no longer stands, told with the facts that it rested on last."""

    def write(tx: Session, at: str, told: Told) -> None:
        tx.exceptions.close(row.id, at)
        if is_told:
            told.append(_notice("exception.closed", row.id, row))

    return write


def telling(notice: Notice, key: Key, *, is_told: bool) -> Write:
    """What is told of an object once; where nobody is told, it never is."""

    def write(tx: Session, at: str, told: Told) -> None:
        tx.exceptions.tell(notice.topic, key, at)
        if is_told:
            about = {"resource": notice.resource, "resource_id": notice.resource_id}
            told.append(
                {"topic": notice.topic, **about, "shipment_id": notice.shipment_id, "evidence": notice.evidence}
            )

    return write


def looking(resource: str, key: Key, due_at: str | None) -> Write:
    """When to look at an object again."""
    return lambda tx, _, __: tx.exceptions.look(resource, key, due_at)


def _fresh(finding: Finding) -> Fresh:
    return Fresh(
        finding.kind,
        SEVERITY[finding.kind],
        finding.resource,
        finding.resource_id,
        finding.shipment_id,
        finding.evidence,
        finding.since,
    )


def _notice(topic: str, number: int, said: Fresh | Row) -> Mapping[str, Any]:
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
