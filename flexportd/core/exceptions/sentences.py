"""Exceptions in words: a title for each kind, and a sentence that states the evidence. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from flexportd.core.exceptions.model import KINDS, Kind
from flexportd.core.resources.documents import type_title

EvidenceFields = Mapping[str, Any]
DayFormat = Callable[[str | None], str]
"""Writes the day of a stored date or time."""

TITLES: Mapping[Kind, str] = {
    **{kind: kind.replace("_", " ").capitalize() for kind in KINDS},
    "eta_slipped": "ETA slipped",
    "free_time_expiring": "Free time ends soon",
    "free_time_expired": "Free time ended",
    "empty_return": "Empty not returned",
    "silent": "No update",
    "operation_unknown": "Write with unknown outcome",
    "flexport_reported": "Reported by Flexport",
}


def iso_day(stored: str | None) -> str:
    """`2026-03-21`."""
    return "an unknown date" if stored is None else stored[:10]


def title(kind: str) -> str:
    """The title of a kind; an unknown kind by its own name."""
    return TITLES[kind] if kind in KINDS else kind.replace("_", " ").capitalize()


def sentence(kind: str, evidence: EvidenceFields, day: DayFormat = iso_day) -> str:
    """The evidence of one exception as a sentence without a full stop; Flexport's own texts are quoted as received.

    `day` writes a date: ISO 8601 for programs, the dashboard's own form for its pages.
    """
    return _SENTENCES[kind](evidence, day) if kind in _SENTENCES else title(kind)


def _place(preposition: str, evidence: EvidenceFields) -> str:
    return f" {preposition} {evidence['place']}" if evidence.get("place") else ""


def _pickup(evidence: EvidenceFields, day: DayFormat) -> str:
    planned, departure = evidence.get("estimated_pickup"), evidence.get("estimated_departure")
    due = f"Due for pickup{_place('at', evidence)} on {day(planned)}" if planned else "Not picked up"
    place = "" if planned else _place("at", evidence)
    leaves = f"; due to depart on {day(departure)}" if departure else ""
    return f"{due}{place}; no pickup reported{leaves}"


def _empty(evidence: EvidenceFields, day: DayFormat) -> str:
    number = evidence.get("container_number") or "A container"
    left, delivered = evidence.get("left_terminal"), evidence.get("delivered")
    when = f"left the terminal on {day(left)}" if left else f"was delivered on {day(delivered)}"
    return f"{number} {when}; no empty return reported"


def _late(due: str, preposition: str, name: str, step: str) -> Callable[[EvidenceFields, DayFormat], str]:
    return lambda evidence, day: (
        f"{due}{_place(preposition, evidence)} on {day(evidence.get(name))}; no {step} reported"
    )


def _slipped(evidence: EvidenceFields, day: DayFormat) -> str:
    first, now, days = (evidence.get(name) for name in ("first_estimate", "estimated_arrival", "days"))
    return f"Now expected{_place('at', evidence)} on {day(now)}, {days} days later than first estimated ({day(first)})"


def _free_time(verb: str) -> Callable[[EvidenceFields, DayFormat], str]:
    def words(evidence: EvidenceFields, day: DayFormat) -> str:
        number = evidence.get("container_number") or "A container"
        last = evidence.get("last_free_day")
        milestone = (evidence.get("milestones") or [{}])[-1]
        reported = f"{'soon, ' if verb == 'ends' else ''}as Flexport reported on {day(milestone.get('occurred_at'))}"
        when = f"{verb} {day(last) if last else reported}"
        return f"{number}: free time{_place('at', evidence)} {when}; no terminal pickup reported"

    return words


def _customs(evidence: EvidenceFields, day: DayFormat) -> str:
    if evidence.get("milestones"):
        return _reported(evidence, day)
    number = f" {evidence['entry_number']}" if evidence.get("entry_number") else ""
    return f"Customs entry{number} is on hold"


def _reported(evidence: EvidenceFields, day: DayFormat) -> str:
    milestones = evidence.get("milestones") or [{}]
    last = milestones[-1]
    more = f", and {len(milestones) - 1} more" if len(milestones) > 1 else ""
    return f"Reported on {day(last.get('occurred_at'))}: {last.get('title')}{more}"


def _missing(evidence: EvidenceFields, _: DayFormat) -> str:
    missing = [" or ".join(type_title(kind) for kind in one.split("/")) for one in evidence.get("missing", ())]
    return f"Missing: {'; '.join(missing)}"


def _invoice(evidence: EvidenceFields, day: DayFormat) -> str:
    due = f"was due on {day(evidence['due_date'])}" if evidence.get("due_date") else "is past due"
    return f"Invoice {evidence['name']} {due}; not paid" if evidence.get("name") else f"An invoice {due}; not paid"


def _unknown(evidence: EvidenceFields, day: DayFormat) -> str:
    what = evidence.get("title") or "A write to Flexport"
    follows = "a person must decide" if evidence.get("needs_decision") else "flexportd looks it up again"
    error = f" ({str(evidence['error']).rstrip('.')})" if evidence.get("error") else ""
    return f"{what}: whether Flexport made it is unknown since {day(evidence.get('unknown_since'))}; {follows}{error}"


_SENTENCES: Mapping[str, Callable[[EvidenceFields, DayFormat], str]] = {
    "late_pickup": _pickup,
    "late_departure": _late("Due to depart", "from", "estimated_departure", "departure"),
    "late_arrival": _late("Due", "at", "estimated_arrival", "arrival"),
    "late_delivery": _late("Due for delivery", "at", "estimated_delivery", "delivery"),
    "eta_slipped": _slipped,
    "customs_hold": _customs,
    "free_time_expiring": _free_time("ends"),
    "free_time_expired": _free_time("ended"),
    "empty_return": _empty,
    "silent": lambda evidence, day: f"No update since {day(evidence.get('last_news_at'))}",
    "missing_documents": _missing,
    "invoice_overdue": _invoice,
    "booking_unanswered": lambda evidence, day: (
        f"{evidence.get('name') or 'A booking'} was submitted on {day(evidence.get('created_at'))}; "
        "no answer from Flexport"
    ),
    "operation_unknown": _unknown,
    "flexport_reported": _reported,
}
