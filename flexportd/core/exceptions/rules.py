"""Exceptions: what is not as it should be, of a shipment and all of its own. Each rule is a function; all are asked.

What is found depends on the present state, the milestones, the thresholds and the time, never on the order in which
anything came; `eta_slipped` alone also on the history, which tells what was estimated when.
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
from flexportd.core.exceptions.journey_rules import eta_slipped, late, late_pickup, silent
from flexportd.core.exceptions.model import SEVERITY, Case, Finding, Judgement, Rule, Rules, Watch
from flexportd.storage.repositories.exceptions import Row

VERSION = "2"
"""Of the rules: another one lets everything be looked at anew."""

HIDDEN = frozenset({"booking_unanswered", "invoice_overdue", "missing_documents"})
"""Kinds that a customer does not see: they concern bookings, what the freight costs, and which papers there are."""

_RULES: tuple[Rule, ...] = (
    late_pickup, late, eta_slipped, customs_hold, free_time, empty_return, silent, missing_documents,
    flexport_reported,
)  # fmt: skip


def of_shipment(case: Case, rules: Rules, now: datetime) -> Judgement:
    """All that stands of one shipment."""
    watch = Watch(now)
    found = [finding for rule in _RULES for finding in rule(case, rules, watch)]
    return Judgement(found, watch.next)


class Steps(NamedTuple):
    """What has to be written so that what is open is what was found."""

    opened: Sequence[Finding]
    moved: Sequence[tuple[Row, Finding]]
    closed: Sequence[Row]


def steps(rows: Iterable[Row], findings: Iterable[Finding]) -> Steps:
    """Compare open exceptions with what was found; evidence that changed is no new opening."""
    stored: Mapping[tuple[str, str, str], Row] = {(row.kind, row.resource, row.resource_id): row for row in rows}
    found = {finding.key: finding for finding in findings}
    return Steps(
        [finding for key, finding in found.items() if key not in stored],
        [
            (stored[key], finding)
            for key, finding in found.items()
            if key in stored and not _is_as(stored[key], finding)
        ],
        [row for key, row in stored.items() if key not in found],
    )


def _is_as(row: Row, finding: Finding) -> bool:
    said = (row.severity, row.shipment_id) == (SEVERITY[finding.kind], finding.shipment_id)
    return said and row.evidence == finding.evidence and finding.since in (None, row.since)
