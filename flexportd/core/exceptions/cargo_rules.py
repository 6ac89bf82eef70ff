"""Exceptions of the cargo: customs holds, free time, empty returns, missing documents, reported problems. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from flexportd.clock import parse
from flexportd.core.evidence import CargoStage, box_of
from flexportd.core.exceptions.model import (
    ExceptionRules,
    Finding,
    Kind,
    ShipmentFacts,
    TimeTriggers,
    end_of_day,
    local_zone,
    start_of_day,
)
from flexportd.core.labels import is_day_only
from flexportd.core.resources.documents import missing_types
from flexportd.core.resources.values import at_place, instant
from flexportd.flexport.milestones import CATALOGUE, milestone
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record

MAX_MILESTONES = 10  # milestones that evidence names

_HOLDS = frozenset(one.name for one in CATALOGUE if one.title == "Customs Hold")
_EXPORT_HOLDS = frozenset(name for name in _HOLDS if name.startswith("export_"))
_RELEASED = "customs_entry_release_status_released"
_LEAVING_TERMINAL = frozenset(
    {"out_for_delivery", "delivered", "delivery_completed", "delivered_in_full", "empty_returned", "loaded_on_truck"}
)
_MOVING = _LEAVING_TERMINAL | {"departed", "arrived", "loaded_on_board", "unloaded_off_board"}

MilestoneEvent = tuple[str, str, Mapping[str, Any]]
"""(when it occurred, the milestone's name, the event)."""


# --- customs ---


def customs_hold(case: ShipmentFacts, _: ExceptionRules, __: TimeTriggers) -> Iterator[Finding]:
    """A customs entry is on hold, or a milestone reported a hold and none its release.

    A hold from a milestone ends with its release, when all entries are cleared, and when the cargo moves on: an export
    hold with the departure, an import hold when the cargo leaves the port.
    """
    if case.is_closed:
        return
    entries = [entry for entry in case.customs if not entry.removed_at]
    held = [entry for entry in entries if entry.fields["release_state"] == "hold"]
    holds: list[MilestoneEvent] = []
    for one in _chronological(case.events):
        name, leg = one[1], case.leg(one[2])
        if name in _HOLDS:
            holds.append(one)
        elif name == _RELEASED or (
            name in _LEAVING_TERMINAL and (leg is None or case.evidence.departure_stage(leg) >= CargoStage.LEFT)
        ):
            holds = []
        elif name == "departed" and (leg is None or case.evidence.departure_stage(leg) >= CargoStage.DEPARTED):
            holds = [hold for hold in holds if hold[1] not in _EXPORT_HOLDS]
    if case.has_reached(CargoStage.DEPARTED):
        holds = [hold for hold in holds if hold[1] not in _EXPORT_HOLDS]
    boxes = case.evidence.boxes.values()
    if all(box.has_reached(CargoStage.LEFT) for box in boxes) if boxes else case.has_reached(CargoStage.LEFT):
        holds = []
    since = holds[0][0] if holds else None
    for entry in held:
        evidence = {"entry_number": entry.fields["entry_number"], "release_status": entry.fields["release_status"]}
        yield case.make_finding("customs_hold", evidence, since, entry, "customs_entries")
    is_cleared = bool(entries) and all(entry.fields["release_state"] == "cleared" for entry in entries)
    if holds and not held and not is_cleared:
        yield case.make_finding("customs_hold", {"milestones": _milestone_evidence(holds)}, since)


# --- free time ---

_FREE_TIME: Mapping[str, Kind] = {"free_time_to_expire": "free_time_expiring", "free_time_expired": "free_time_expired"}


def free_time(case: ShipmentFacts, rules: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """A container is at its terminal, and its last free day is near or over there.

    Free time runs until the container has left, also for an archived shipment. Before the container is known to be at
    its terminal, the last free day is a guess. Without a last free day, Flexport's milestone counts.
    """
    if case.shipment.removed_at or case.has_reached(CargoStage.DELIVERED):
        return
    reports = _free_time_reports(case)
    for box in case.containers:
        progress, ramp = case.evidence.box(box), case.route.places["inland_ramp"]
        at_ramp = case.route.has_ramp and box.fields["terminal"] in (None, ramp.name)
        arrived = progress.has_reached(CargoStage.AT_RAMP if at_ramp else CargoStage.ARRIVED)
        if box.removed_at or not arrived or progress.has_reached(CargoStage.LEFT):
            continue
        if plausible_or_none(box.fields["last_free_day"]):
            yield from _free_time_by_date(case, box, rules, watch)
        elif int(box.id) in reports:
            yield _free_time_by_milestone(case, box, reports[int(box.id)])
    if None in reports and not case.has_reached(CargoStage.LEFT):
        yield _free_time_by_milestone(case, None, reports[None])


def _free_time_by_date(
    case: ShipmentFacts, box: Record, rules: ExceptionRules, watch: TimeTriggers
) -> Iterator[Finding]:
    moment = box.fields["last_free_day"]
    day, clock = date.fromisoformat(moment[:10]), local_zone(moment, box.fields["terminal_timezone"])
    evidence = {**_terminal_evidence(case, box), "last_free_day": day.isoformat()}
    over, soon = start_of_day(day, clock, days=1), start_of_day(day, clock, days=-rules.free_time_days)
    if watch.has_passed(over):
        yield case.make_finding("free_time_expired", evidence, over, box, "containers")
    elif watch.has_passed(soon):
        yield case.make_finding("free_time_expiring", evidence, soon, box, "containers")


def _free_time_by_milestone(case: ShipmentFacts, box: Record | None, report: MilestoneEvent) -> Finding:
    """Free time as reported by a milestone; for the shipment if it names no container."""
    evidence = {**(_terminal_evidence(case, box) if box else {}), "milestones": _milestone_evidence([report])}
    return case.make_finding(_FREE_TIME[report[1]], evidence, report[0], box, "containers")


def _terminal_evidence(case: ShipmentFacts, box: Record) -> dict[str, Any]:
    fields = box.fields
    available = fields["available_for_pickup"]
    return {
        "container_number": fields["container_number"],
        "place": fields["terminal"] or case.route.terminal.name,
        "available_for_pickup": available[:10] if available else None,
    }


def _free_time_reports(case: ShipmentFacts) -> dict[int | None, MilestoneEvent]:
    """The newest milestone about free time by container; under None one that names no known container."""
    legs, boxes = {one.id: one for one in case.container_legs}, {int(box.id) for box in case.containers}
    found: dict[int | None, MilestoneEvent] = {}
    for one in _chronological(case.events):
        if one[1] in _FREE_TIME:
            number = box_of(one[2], legs)
            only = next(iter(boxes)) if len(boxes) == 1 else None
            found[number if number in boxes else only] = one
    return found


def empty_return(case: ShipmentFacts, rules: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """A container was delivered, or left its terminal, some days ago, and no empty return is reported.

    Detention also runs after the delivery; archiving the shipment ends the exception, since Flexport does not report
    every return. The container of an LCL shipment is the consolidator's.
    """
    shipment = case.shipment
    if shipment.removed_at or shipment.fields["archived_at"] or shipment.fields["is_lcl"]:
        return
    for box in case.containers:
        progress = case.evidence.box(box)
        is_out = progress.has_reached(CargoStage.LEFT) and not progress.has_reached(CargoStage.EMPTY_RETURNED)
        if box.removed_at or box.fields["container_type"] == "lcl" or not is_out:
            continue
        zones = {
            CargoStage.DELIVERED: case.place(("destination",)).timezone,
            CargoStage.LEFT: box.fields["terminal_timezone"],
        }
        dated = ((stage, one.moment) for stage in zones if (one := progress.proof(stage)) and one.moment)
        stage, moment = next(dated, (CargoStage.LEFT, None))
        if moment is None:
            continue
        zone = zones[stage]
        day = date.fromisoformat((at_place(moment, zone) if zone else moment)[:10])
        due = start_of_day(day, local_zone(moment, zone), rules.empty_return_days + 1)
        if watch.has_passed(due):
            name = "delivered" if stage == CargoStage.DELIVERED else "left_terminal"
            evidence = {"container_number": box.fields["container_number"], name: day.isoformat()}
            yield case.make_finding("empty_return", evidence, due, box, "containers")


# --- documents ---

_MODE_ALIASES = {"ocean_air": "ocean", "barge": "ocean", "truck_intl": "truck"}


def missing_documents(case: ShipmentFacts, rules: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """The day of the departure is over, and a document that its mode requires is missing."""
    mode = case.shipment.fields["mode"] or ""
    required = rules.required.get(_MODE_ALIASES.get(mode, mode), ())
    departed = case.evidence.overall.proof(CargoStage.DEPARTED)
    if not required or case.is_closed or departed is None:
        return
    zone = case.place(("port_of_loading", "origin")).timezone
    moment = at_place(departed.moment, zone) if departed.moment and zone else departed.moment
    since = end_of_day(moment, zone) if moment else None
    if since is not None and not watch.has_passed(since):
        return
    lacking = ["/".join(types) for types in required if len(missing_types(case.documents, types)) == len(set(types))]
    if lacking:
        yield case.make_finding("missing_documents", {"missing": lacking, "mode": mode}, since)


# --- what Flexport reports ---


def flexport_reported(case: ShipmentFacts, _: ExceptionRules, __: TimeTriggers) -> Iterator[Finding]:
    """A milestone reported a delay or another problem, and the cargo has not moved since.

    What was reported before the installation is no news, even if polling finds it later.
    """
    if case.is_closed:
        return
    moved = _movement_dates(case)
    reports: list[MilestoneEvent] = []
    for one in _chronological(case.events):
        known = milestone(one[2]["type"])
        if one[1] in _MOVING:
            reports = []
        elif known is not None and known.group == "problems":
            reports.append(one)
    standing = [one for one in reports if not any(_is_later(moment, one[0]) for moment in moved)]
    if standing:
        found = case.make_finding("flexport_reported", {"milestones": _milestone_evidence(standing)}, standing[0][0])
        is_news = any((event["created_at"] or at) >= (case.listening_since or "") for at, _, event in standing)
        yield msgspec.structs.replace(found, is_news=is_news)


def _movement_dates(case: ShipmentFacts) -> Sequence[str]:
    """The dates on which the cargo moved."""
    names = (
        (case.legs, ("actual_departure", "actual_arrival", "delivery_completed")),
        (case.containers, ("actual_pickup", "actual_delivery")),
        (case.container_legs, ("actual_loaded_on_board", "actual_discharge")),
        ((case.shipment,), ("actual_departure", "actual_arrival", "actual_picked_up_in_full")),
    )
    found = [
        one.fields[name] for records, several in names for one in records if not one.removed_at for name in several
    ]
    return [moment for one in found if (moment := plausible_or_none(one))]


def _is_later(moment: str, report: str) -> bool:
    """Whether a date is after a report; for a date without a time of day, whether its day is."""
    at, reported = parse(moment), parse(report)
    if is_day_only(moment):
        return at.date() > reported.astimezone(at.tzinfo).date()
    return at > reported


# --- milestones ---


def _chronological(events: Sequence[Mapping[str, Any]]) -> list[MilestoneEvent]:
    """Milestones in the order in which they occurred."""
    found = []
    for event in events:
        moment = instant(event["occurred_at"]) or instant(event["created_at"])
        if moment and event["type"]:
            order = (moment, event["created_at"] or "", str(event["id"]))
            found.append((order, (moment, event["type"].rpartition("#")[2], event)))
    return [event for _, event in sorted(found, key=lambda one: one[0])]


def _milestone_evidence(milestones: Sequence[MilestoneEvent]) -> list[dict[str, Any]]:
    """The newest of these, as evidence."""
    found = []
    for at, name, event in milestones[-MAX_MILESTONES:]:
        known = milestone(event["type"])
        words = known.title if known else name
        found.append({"milestone": name, "title": words, "occurred_at": at, "event_id": str(event["id"])})
    return found
