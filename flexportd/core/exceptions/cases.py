"""What is looked at to find exceptions, and what is found: one shipment with all of its own, against the time. Pure.

Days are days at the place. A date is over only when the whole of its day is over there; of a place that is not known,
when it is over everywhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from flexportd.clock import parse
from flexportd.core.routes import Route
from flexportd.storage.resources import Record

Kind = Literal[
    "late_departure", "late_arrival", "eta_slipped", "customs_hold", "free_time_expiring", "free_time_expired",
    "silent", "missing_documents", "invoice_overdue", "booking_unanswered", "flexport_reported",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

Severity = Literal["critical", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst first: it costs money today; something is off its plan; somebody should ask."""

SEVERITY: Mapping[Kind, Severity] = {
    "late_departure": "warning",
    "late_arrival": "warning",
    "eta_slipped": "warning",
    "customs_hold": "critical",
    "free_time_expiring": "warning",
    "free_time_expired": "critical",
    "silent": "notice",
    "missing_documents": "warning",
    "invoice_overdue": "warning",
    "booking_unanswered": "notice",
    "flexport_reported": "warning",
}

_EVERYWHERE = timezone(timedelta(hours=-12))  # where a day ends last
_NEVER = datetime.max.replace(tzinfo=UTC)
_ON_LAND = frozenset({"truck", "truck_intl", "rail"})  # their cargo is under way where that of others has arrived

_ARRIVED = frozenset(
    {
        "arrival_port", "deconsolidation", "gated_out", "in_transit_to_final_destination", "destination_stop_off",
        "final_destination",
    }
)  # fmt: skip
_SAILED = frozenset({"in_transit_to_intermediary_port", "intermediary_port", "in_transit_to_arrival_port", *_ARRIVED})


class Rules(msgspec.Struct, frozen=True):
    """The thresholds, in days; `required` are documents by mode, of each entry any of its types will do."""

    eta_slip_days: int = 2
    free_time_days: int = 2
    silent_days: int = 7
    invoice_due_days: int = 3
    booking_days: int = 3
    required: Mapping[str, Sequence[Sequence[str]]] = {}


class Finding(msgspec.Struct, frozen=True):
    """One exception that stands now: what it concerns, and the facts that it rests on."""

    kind: Kind
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """Of those with the same key one at most is open."""
        return self.kind, self.resource, self.resource_id


class Watch:
    """The present, and when to look again: the earliest moment that was asked about and has not come yet."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.next: datetime | None = None

    def passed(self, at: datetime) -> bool:
        """Whether a moment has come. What is found may depend on the time by this alone."""
        if at <= self.now:
            return True
        if at != _NEVER and (self.next is None or at < self.next):
            self.next = at
        return False


class Notice(msgspec.Struct, frozen=True):
    """What is to be told of an object, once for good."""

    topic: str
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What stands, when to look again, and what to tell once; not `is_known`: it could not be judged."""

    findings: Sequence[Finding] = ()
    due: datetime | None = None
    tell: Sequence[Notice] = ()
    is_known: bool = True


@dataclass(frozen=True)
class Case:
    """A shipment with all of its own. `estimates` are arrivals as they were estimated since it departed.

    `events` are its milestones that had their effect, in no order that matters.
    """

    shipment: Record
    legs: Sequence[Record] = ()
    containers: Sequence[Record] = ()
    container_legs: Sequence[Record] = ()
    documents: Sequence[Record] = ()
    customs: Sequence[Record] = ()
    events: Sequence[Mapping[str, Any]] = ()
    estimates: Sequence[str] = ()
    ordered: Sequence[Record] = field(init=False)
    main: Sequence[Record] = field(init=False)

    def __post_init__(self) -> None:
        route = Route(self.legs)
        object.__setattr__(self, "ordered", route.ordered)
        object.__setattr__(self, "main", route.carriage)

    @property
    def id(self) -> int:
        """The shipment's id."""
        return int(self.shipment.id)

    @property
    def onward(self) -> Sequence[Record]:
        """The legs behind the main carriage."""
        return self.ordered[self.ordered.index(self.main[-1]) + 1 :] if self.main else ()

    @property
    def is_departed(self) -> bool:
        """Whether anything says that the main carriage began."""
        legs = any(leg.fields["actual_departure"] or leg.fields["actual_arrival"] for leg in self.main)
        return bool(self.shipment.fields["actual_departure"]) or legs or self._status(_SAILED) or self.is_arrived

    @property
    def is_arrived(self) -> bool:
        """Whether anything says that the main carriage ended."""
        last = bool(self.main and self.main[-1].fields["actual_arrival"])
        return bool(self.shipment.fields["actual_arrival"]) or last or self._status(_ARRIVED) or self.is_delivered

    @property
    def is_delivered(self) -> bool:
        """Whether all of it was delivered."""
        return is_delivered(self.shipment)

    @property
    def is_over(self) -> bool:
        """Whether nobody minds it any more."""
        return is_over(self.shipment)

    def _status(self, among: frozenset[str]) -> bool:
        fields = self.shipment.fields
        return fields["status"] in among and fields["mode"] not in _ON_LAND

    def planned(self, what: Literal["departure", "arrival"]) -> tuple[str, str | None, str | None] | None:
        """(moment, zone, place) of an estimate, the later of the shipment's and its main leg's; None for none."""
        leg = (self.main[0] if what == "departure" else self.main[-1]) if self.main else None
        end = "origin" if what == "departure" else "destination"
        zone, place = (leg.fields[f"{end}_timezone"], leg.fields[end]) if leg else (None, None)
        given = (self.shipment.fields[f"estimated_{what}"], leg.fields[f"estimated_{what}"] if leg else None)
        moments = [moment for moment in given if moment]
        return (max(moments, key=lambda moment: day_over(moment, zone)), zone, place) if moments else None

    def find(self, kind: Kind, evidence: Mapping[str, Any], about: Record | None = None, of: str = "") -> Finding:
        """Something about the shipment, or about an object of the resource `of`; what is None is left out."""
        told = {name: value for name, value in evidence.items() if value is not None}
        if about is None:
            return Finding(kind, "shipments", str(self.id), self.id, told)
        return Finding(kind, of, str(about.id), self.id, told)


Rule = Callable[[Case, Rules, Watch], Iterable[Finding]]
"""What is found of a shipment; nothing of it may depend on anything but these."""


def is_delivered(shipment: Record) -> bool:
    """Whether all of a shipment was delivered."""
    return bool(shipment.fields["actual_delivered_in_full"]) or shipment.fields["status"] == "final_destination"


def is_over(shipment: Record) -> bool:
    """Whether a shipment is delivered, archived, or gone from Flexport."""
    return is_delivered(shipment) or bool(shipment.fields["archived_at"] or shipment.removed_at)


# --- days ---


def day_over(moment: str, zone: str | None = None) -> datetime:
    """When the day of a moment is over at its place, of whose zone the name helps where the offset says nothing."""
    return begin_of(parse(moment).date(), place_of(moment, zone), days=1)


def place_of(moment: str | None, zone: str | None) -> tzinfo:
    """The clock of a place: the offset that is written, else the zone, else the one whose days end last."""
    offset = parse(moment).utcoffset() if moment else None
    if offset:
        return timezone(offset)
    if zone:
        with suppress(ValueError, OSError, LookupError):  # unknown, malformed, or the name of a folder
            return ZoneInfo(zone)
    return _EVERYWHERE


def begin_of(day: date, place: tzinfo, days: int = 0) -> datetime:
    """When a day, or one so many days later, begins on a clock."""
    try:
        begin = datetime.combine(day + timedelta(days=days), time.min, place)
        begin.astimezone(UTC)
    except OverflowError:
        return _NEVER
    return begin


def after(moment: str, days: int) -> datetime:
    """So many times 24 hours after a moment."""
    try:
        return parse(moment).astimezone(UTC) + timedelta(days=days)
    except OverflowError:
        return _NEVER
