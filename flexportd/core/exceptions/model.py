"""The model of exception rules: thresholds, findings, time triggers, and the facts of a shipment. Pure.

Days are local to the place. A date is over only when its whole day is over there; at an unknown place, when it is over
everywhere.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from operator import itemgetter
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from flexportd.clock import parse, stamp, zone_of
from flexportd.core.evidence import CargoStage, Evidence, leg_of
from flexportd.core.resources.itinerary import NO_PLACE, RoutePlace, ShipmentRoute
from flexportd.core.resources.values import at_place, instant
from flexportd.settings import Settings
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.exceptions import ExceptionFields
from flexportd.storage.repositories.resources import Record

Kind = Literal[
    "late_pickup", "late_departure", "late_arrival", "late_delivery", "eta_slipped", "customs_hold",
    "free_time_expiring", "free_time_expired", "empty_return", "silent", "missing_documents", "invoice_overdue",
    "booking_unanswered", "operation_unknown", "flexport_reported",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

Severity = Literal["critical", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Most severe first: costing money or blocked now; off plan; worth a look."""

SEVERITY: Mapping[Kind, Severity] = {
    **dict.fromkeys(KINDS, "warning"),
    **dict.fromkeys(("customs_hold", "free_time_expired"), "critical"),
    **dict.fromkeys(("silent", "booking_unanswered"), "notice"),
}
"""The severity of each kind at first."""

RISES: Mapping[Kind, Sequence[tuple[int, Severity]]] = {
    "late_pickup": ((3, "critical"),),  # the ship is about to leave without it
    **dict.fromkeys(("late_departure", "late_arrival", "late_delivery"), ((7, "critical"),)),  # a week off plan
    "eta_slipped": ((7, "critical"),),  # days of slip: a week off plan
    "free_time_expiring": ((0, "critical"),),  # no day is left after today
    "empty_return": ((7, "critical"),),  # detention has been charged for a week
    "silent": ((7, "warning"), (21, "critical")),  # longer than updates take; nobody knows where the cargo is
    "invoice_overdue": ((14, "critical"),),  # two weeks: credit may be stopped
    "booking_unanswered": ((3, "warning"),),  # the space may be gone
    "operation_unknown": ((1, "critical"),),  # a day: a booking may be missing, and nobody has looked
}
"""From which degree on a kind is more severe; see docs/exceptions.md."""

UNKNOWN_OPENS, UNKNOWN_RISES = timedelta(hours=1), timedelta(days=1)
"""How long the outcome of an operation is unknown before that is an exception, and before it is critical."""

_LATEST_ZONE = timezone(timedelta(hours=-12))  # the zone where a day ends last
_NEVER = datetime.max.replace(tzinfo=UTC)


class ExceptionRules(msgspec.Struct, frozen=True):
    """The thresholds, in days; `required` are documents by mode: any type of an entry is sufficient."""

    eta_slip_days: int = 2
    free_time_days: int = 2
    empty_return_days: int = 5
    silent_days: int = 7
    invoice_due_days: int = 3
    booking_days: int = 3
    required: Mapping[str, Sequence[Sequence[str]]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "ExceptionRules":
        """What `[exceptions]` says."""
        section, names = settings.exceptions, [name for name in cls.__struct_fields__ if name != "required"]
        return cls(**{name: getattr(section, name) for name in names}, required=section.required())


class Finding(msgspec.Struct, frozen=True):
    """One exception that is open now: its subject and the evidence.

    `since` is when the condition began (UTC), None if unknown. `degree` is the measure of its kind: greater is worse.
    Without `is_news` it began before the object was first seen; it opens without a message.
    """

    kind: Kind
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]
    since: str | None = None
    is_news: bool = True
    degree: int = 0

    @property
    def severity(self) -> Severity:
        """Its severity at this degree."""
        found = SEVERITY[self.kind]
        for least, severity in RISES.get(self.kind, ()):
            if self.degree >= least:
                found = severity
        return found

    @property
    def key(self) -> tuple[str, str, str]:
        """At most one exception with the same key is open."""
        return self.kind, self.resource, self.resource_id

    @property
    def fields(self) -> ExceptionFields:
        """What is stored of it."""
        return ExceptionFields(
            self.kind, self.severity, self.resource, self.resource_id, self.shipment_id, self.evidence, self.since,
            self.degree,
        )  # fmt: skip


class TimeTriggers:
    """The present, and when to evaluate again: the earliest future moment that a rule asked for."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.next_check: datetime | None = None

    def has_passed(self, at: datetime) -> bool:
        """Whether a moment has passed. Rules must not depend on the time in any other way."""
        if at <= self.now:
            return True
        if at != _NEVER and (self.next_check is None or at < self.next_check):
            self.next_check = at
        return False

    def days_since(self, since: datetime) -> int:
        """The greatest of 0, 3, 7 and the further multiples of 7 that is a whole number of days since a moment.

        In days of the moment's own zone: from the beginning of a day there to the beginning of another.
        """
        days = (self.now - since).days - 1  # a day less: one on which the clocks change may be shorter
        step = days - days % 7 if days >= 7 else 0
        while self.has_passed(_later(since, following := _next_step(step))):
            step = following
        return step


def _next_step(days: int) -> int:
    """The number of days after which time alone makes an exception worse again."""
    return days + 7 if days >= 7 else 7 if days >= 3 else 3


class OneTimeNotice(msgspec.Struct, frozen=True):
    """A notice about an object that is sent only once for each occasion, such as a due date."""

    topic: str
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]
    occasion: str | None = None

    @property
    def message(self) -> dict[str, Any]:
        """The notice as it is sent."""
        names = ("topic", "resource", "resource_id", "shipment_id", "evidence")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Evaluation:
    """The findings of a subject, when to evaluate it again, and one-time notices; `succeeded`: no error occurred."""

    findings: Sequence[Finding] = ()
    next_check: datetime | None = None
    notices: Sequence[OneTimeNotice] = ()
    succeeded: bool = True


class PlannedDate(NamedTuple):
    """A planned moment and its place."""

    moment: str
    place: RoutePlace

    @property
    def ends_at(self) -> datetime:
        """When its day is over at the place."""
        return end_of_day(self.moment, self.place.timezone)


class ArrivalEstimate(NamedTuple):
    """An estimated arrival, and since when (Flexport's time; None: since before the history begins)."""

    as_of: str | None
    moment: str


_PLACES: Mapping[str, Sequence[str]] = {
    "picked_up_in_full": ("origin",),
    "departure": ("port_of_loading", "origin"),
    "arrival": ("port_of_unloading", "destination"),
    "ramp_arrival": ("inland_ramp",),
    "delivered_in_full": ("destination",),
}


MilestoneEvent = tuple[str, str, Mapping[str, Any]]
"""(when it occurred, the milestone's name, the event)."""


@dataclass
class ShipmentFacts:
    """A shipment with its related objects.

    `estimates` are the estimated arrivals since its departure, by the name of the shipment's field. `changed_at` is
    when a date of its legs or containers last changed; None where it does not matter. `held_since` is since when its
    customs entries are on hold, by id, as far as the history has it. `events` are its applied milestones, in any order.
    `listening_since` is the time of the installation at Flexport; None before the first poll.
    """

    shipment: Record
    legs: Sequence[Record] = ()
    containers: Sequence[Record] = ()
    container_legs: Sequence[Record] = ()
    documents: Sequence[Record] = ()
    customs: Sequence[Record] = ()
    events: Sequence[Mapping[str, Any]] = ()
    estimates: Mapping[str, Sequence[ArrivalEstimate]] = field(default_factory=dict)
    changed_at: str | None = None
    held_since: Mapping[str, str] = field(default_factory=dict)
    listening_since: str | None = None

    @property
    def id(self) -> int:
        """The shipment's id."""
        return int(self.shipment.id)

    @functools.cached_property
    def route(self) -> ShipmentRoute:
        """The route that its legs make."""
        return ShipmentRoute(self.legs)

    @functools.cached_property
    def evidence(self) -> Evidence:
        """The evidence of its progress and that of its containers."""
        return Evidence(self.shipment, self.route, self.containers, self.container_legs, self.events)

    @functools.cached_property
    def milestones(self) -> list[MilestoneEvent]:
        """Its milestones, oldest first."""
        found = []
        for event in self.events:
            moment = instant(event["occurred_at"]) or instant(event["created_at"])
            if moment and event["type"]:
                order = (moment, event["created_at"] or "", str(event["id"]))
                found.append((order, (moment, event["type"].rpartition("#")[2], event)))
        return [event for _, event in sorted(found, key=itemgetter(0))]

    def has_reached(self, stage: CargoStage) -> bool:
        """Whether it has reached a stage."""
        return self.evidence.overall.has_reached(stage)

    @functools.cached_property
    def is_closed(self) -> bool:
        """Whether it is delivered, archived, or deleted at Flexport."""
        return is_closed(self.shipment) or self.has_reached(CargoStage.DELIVERED)

    def leg(self, event: Mapping[str, Any]) -> Record | None:
        """The leg that a milestone is about."""
        number = leg_of(event)
        return next((leg for leg in self.route.ordered if leg.id == number), None)

    def planned_date(self, name: str) -> PlannedDate | None:
        """The planned date: the later of the shipment's own and its leg's; None if there is none."""
        of_leg = self.route.dates.get(f"estimated_{name}")
        given = (self.shipment.fields[f"estimated_{name}"], of_leg.moment if of_leg else None)
        place = self.place(_PLACES[name])
        moments = [moment for one in given if (moment := plausible_or_none(one))]
        if place.timezone:
            moments = [at_place(moment, place.timezone) for moment in moments]
        latest = max(moments, key=lambda moment: end_of_day(moment, place.timezone), default=None)
        return None if latest is None else PlannedDate(latest, place)

    def place(self, names: Sequence[str]) -> RoutePlace:
        """The first of these places that the route (without legs, the shipment) has."""
        for name in names:
            place = self.route.places[name]
            if not self.route.ordered:
                place = RoutePlace(*(self.shipment.fields[f"{name}{part}"] for part in ("", "_code", "_timezone")))
            if place != NO_PLACE:
                return place
        return NO_PLACE

    @property
    def has_pickup_leg(self) -> bool:
        """Whether a leg brings the cargo to the port of loading."""
        first, departing = next(iter(self.route.ordered), None), self.route.departure_leg
        return first is not None and first is not departing

    @property
    def is_by_road(self) -> bool:
        """Whether it calls at no port, so its departure is its pickup."""
        if self.route.ordered:
            return self.route.places["port_of_loading"] == NO_PLACE
        return self.shipment.fields["mode"] in ("truck", "truck_intl")

    def make_finding(
        self,
        kind: Kind,
        evidence: Mapping[str, Any],
        since: datetime | str | None,
        about: Record | None = None,
        of: str = "",
        *,
        degree: int = 0,
    ) -> Finding:
        """A finding about the shipment, or an object of the resource `of`; evidence that is None is left out."""
        known = {name: value for name, value in evidence.items() if value is not None}
        at = stamp(since) if isinstance(since, datetime) else since
        if about is None:
            return Finding(kind, "shipments", str(self.id), self.id, known, at, degree=degree)
        return Finding(kind, of, str(about.id), self.id, known, at, degree=degree)


Rule = Callable[[ShipmentFacts, ExceptionRules, TimeTriggers], Iterable[Finding]]
"""Finds exceptions of a shipment; must depend only on its arguments."""


def is_delivered(shipment: Record) -> bool:
    """Whether all of a shipment was delivered."""
    return bool(shipment.fields["actual_delivered_in_full"]) or shipment.fields["status"] == "final_destination"


def is_closed(shipment: Record) -> bool:
    """Whether a shipment is delivered, archived, or gone from Flexport."""
    return is_delivered(shipment) or bool(shipment.fields["archived_at"] or shipment.removed_at)


def end_of_day(moment: str, zone: str | None = None) -> datetime:
    """When the day of a moment is over at its place; the zone takes precedence over the written offset."""
    return start_of_day(parse(moment).date(), local_zone(moment, zone), days=1)


def local_zone(moment: str | None, zone: str | None) -> tzinfo:
    """The time zone of a place: its zone, else the written offset, else the zone whose days end last."""
    place = zone_of(zone) if zone else None
    if place is not None:
        return place
    offset = parse(moment).utcoffset() if moment else None
    return timezone(offset) if offset else _LATEST_ZONE


def start_of_day(day: date, place: tzinfo, days: int = 0) -> datetime:
    """When a day, or one so many days later, begins in a zone."""
    try:
        begin = datetime.combine(day + timedelta(days=days), time.min, place)
        begin.astimezone(UTC)
    except OverflowError:
        return _NEVER
    return begin


def days_after(moment: str, days: int) -> datetime:
    """A number of 24-hour days after a moment."""
    return _later(parse(moment).astimezone(UTC), days)


def _later(moment: datetime, days: int) -> datetime:
    """The same time of day, in the zone of the moment, a number of days later."""
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        return _NEVER
