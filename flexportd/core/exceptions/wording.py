"""Exceptions in words: a title for each kind, and a sentence of the facts that one rests on. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from flexportd.core.documents import type_title
from flexportd.core.exceptions.cases import KINDS, Kind

Evidence = Mapping[str, Any]

TITLES: Mapping[Kind, str] = {
    "late_departure": "Late departure",
    "late_arrival": "Late arrival",
    "eta_slipped": "ETA slipped",
    "customs_hold": "Customs hold",
    "free_time_expiring": "Free time ends soon",
    "free_time_expired": "Free time over",
    "silent": "No news",
    "missing_documents": "Documents missing",
    "invoice_overdue": "Invoice overdue",
    "booking_unanswered": "Booking unanswered",
    "flexport_reported": "Reported by Flexport",
}


def title(kind: str) -> str:
    """What a kind is called; one that this program does not know by its own name."""
    return TITLES[kind] if kind in KINDS else kind.replace("_", " ").capitalize()


def sentence(kind: str, evidence: Evidence) -> str:
    """The facts of one exception in a sentence; texts of Flexport's are in it as they came."""
    return _SENTENCES[kind](evidence) if kind in _SENTENCES else title(kind)


def _place(word: str, evidence: Evidence) -> str:
    return f" {word} {evidence['place']}" if evidence.get("place") else ""


def _departure(evidence: Evidence) -> str:
    return f"Was to depart{_place('from', evidence)} on {evidence.get('estimated_departure')}; no departure is told"


def _arrival(evidence: Evidence) -> str:
    return f"Was to arrive{_place('at', evidence)} on {evidence.get('estimated_arrival')}; no arrival is told"


def _slipped(evidence: Evidence) -> str:
    first, now, days = (evidence.get(name) for name in ("first_estimate", "estimated_arrival", "days"))
    return f"Expected{_place('at', evidence)} on {now}, {days} days later than {first}"


def _free_time(evidence: Evidence) -> str:
    number = evidence.get("container_number") or "A container"
    return f"{number}: last free day{_place('at', evidence)} {evidence.get('last_free_day')}; no pickup is told"


def _customs(evidence: Evidence) -> str:
    if evidence.get("milestones"):
        return f"Reported on {_newest(evidence)}"
    number = f" {evidence['entry_number']}" if evidence.get("entry_number") else ""
    return f"The customs entry{number} is on hold"


def _newest(evidence: Evidence) -> str:
    told = evidence.get("milestones") or [{}]
    last = told[-1]
    more = f", and {len(told) - 1} more" if len(told) > 1 else ""
    return f"{str(last.get('occurred_at'))[:10]}: {last.get('title')}{more}"


def _missing(evidence: Evidence) -> str:
    papers = [" or ".join(type_title(kind) for kind in one.split("/")) for one in evidence.get("missing", ())]
    return f"Departed without: {', '.join(papers)}"


def _invoice(evidence: Evidence) -> str:
    due = f" since {evidence['due_date']}" if evidence.get("due_date") else ""
    return f"{evidence.get('name') or 'A freight invoice'} is due{due}, and not paid"


def _booking(evidence: Evidence) -> str:
    name = evidence.get("name") or "A booking"
    return f"{name} was submitted on {str(evidence.get('created_at'))[:10]}, and Flexport has not answered"


_SENTENCES: Mapping[str, Callable[[Evidence], str]] = {
    "late_departure": _departure,
    "late_arrival": _arrival,
    "eta_slipped": _slipped,
    "customs_hold": _customs,
    "free_time_expiring": _free_time,
    "free_time_expired": _free_time,
    "silent": lambda evidence: f"Under way, and nothing was heard since {str(evidence.get('last_news_at'))[:10]}",
    "missing_documents": _missing,
    "invoice_overdue": _invoice,
    "booking_unanswered": _booking,
    "flexport_reported": lambda evidence: f"Reported on {_newest(evidence)}",
}
