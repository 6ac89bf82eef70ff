"""The exception rules of a shipment: each rule is a function, and all are applied.

Findings depend on the present state, the milestones, the thresholds and the time, never on the order of arrival; only
`eta_slipped` also depends on the history, which has the earlier estimates.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from flexportd.core.exceptions.cargo_rules import (
    customs_hold,
    empty_return,
    flexport_reported,
    free_time,
    missing_documents,
)
from flexportd.core.exceptions.journey_rules import eta_slipped, late_pickup, late_step, silent
from flexportd.core.exceptions.model import (
    SEVERITY,
    Evaluation,
    ExceptionRules,
    Finding,
    Rule,
    ShipmentFacts,
    TimeTriggers,
)
from flexportd.storage.repositories.exceptions import ExceptionRow

VERSION = "2"
"""The version of the rules; a new one evaluates everything again."""

HIDDEN_KINDS = frozenset({"booking_unanswered", "invoice_overdue", "missing_documents"})
"""Kinds hidden from customers: they concern bookings, freight costs and documents."""

_RULES: tuple[Rule, ...] = (
    late_pickup, late_step, eta_slipped, customs_hold, free_time, empty_return, silent, missing_documents,
    flexport_reported,
)  # fmt: skip


def evaluate_shipment(case: ShipmentFacts, rules: ExceptionRules, now: datetime) -> Evaluation:
    """Apply all rules to a shipment."""
    watch = TimeTriggers(now)
    found = [finding for rule in _RULES for finding in rule(case, rules, watch)]
    return Evaluation(found, watch.next_check)


class ExceptionDiff(NamedTuple):
    """The writes that make the open exceptions match the findings."""

    opened: Sequence[Finding]
    updated: Sequence[tuple[ExceptionRow, Finding]]
    closed: Sequence[ExceptionRow]


def diff(rows: Iterable[ExceptionRow], findings: Iterable[Finding]) -> ExceptionDiff:
    """Compare open exceptions with findings; changed evidence does not open a new exception."""
    stored: Mapping[tuple[str, str, str], ExceptionRow] = {
        (row.kind, row.resource, row.resource_id): row for row in rows
    }
    found = {finding.key: finding for finding in findings}
    return ExceptionDiff(
        [finding for key, finding in found.items() if key not in stored],
        [
            (stored[key], finding)
            for key, finding in found.items()
            if key in stored and not _is_unchanged(stored[key], finding)
        ],
        [row for key, row in stored.items() if key not in found],
    )


def _is_unchanged(row: ExceptionRow, finding: Finding) -> bool:
    said = (row.severity, row.shipment_id) == (SEVERITY[finding.kind], finding.shipment_id)
    return said and row.evidence == finding.evidence and finding.since in (None, row.since)
