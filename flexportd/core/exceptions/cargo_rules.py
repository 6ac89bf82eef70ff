"""Exceptions of the cargo at a place: held by customs, in costly storage, without its papers, reported. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from flexportd.clock import parse
from flexportd.core.evidence import CargoStage, box_of
from flexportd.core.exceptions.model import Case, Finding, Kind, Rules, Watch, begin_of, day_over, place_of
from flexportd.core.resources.documents import missing
from flexportd.core.resources.values import at_place, instant, is_day_only
from flexportd.flexport.milestones import CATALOGUE, milestone
from flexportd.storage.repositories.resources import Record, plausible

MOST_TOLD = 10  # milestones that evidence names

_HOLDS = frozenset(one.name for one in CATALOGUE if one.title == "Customs Hold")
_EXPORT_HOLDS = frozenset(name for name in _HOLDS if name.startswith("export_"))
_RELEASED = "customs_entry_release_status_released"
_LEAVING = frozenset(
    {"out_for_delivery", "delivered", "delivery_completed", "delivered_in_full", "empty_returned", "loaded_on_truck"}
)
_MOVING = _LEAVING | {"departed", "arrived", "loaded_on_board", "unloaded_off_board"}

Told = tuple[str, str, Mapping[str, Any]]
"""(when it occurred, the milestone's name, the event)."""


# --- customs ---


def customs_hold(case: Case, _: Rules, __: Watch) -> Iterator[Finding]:
    """A customs entry is on hold, or a milestone told of a hold and none of its release.

    A hold that only a milestone told of ends with the release, when all entries are cleared, and when the cargo moves
    on: an export hold with the departure, an import hold with what leaves the port inland.
    """
    if case.is_over:
        return
    entries = [entry for entry in case.customs if not entry.removed_at]
    held = [entry for entry in entries if entry.fields["release_state"] == "hold"]
    told_of: list[Told] = []
    for one in _in_time(case.events):
        name, leg = one[1], case.leg(one[2])
        if name in _HOLDS:
            told_of.append(one)
        elif name == _RELEASED or (name in _LEAVING and (leg is None or case.evidence.leaving(leg) >= CargoStage.LEFT)):
            told_of = []
        elif name == "departed" and (leg is None or case.evidence.leaving(leg) >= CargoStage.DEPARTED):
            told_of = [hold for hold in told_of if hold[1] not in _EXPORT_HOLDS]
    if case.has(CargoStage.DEPARTED):
        told_of = [hold for hold in told_of if hold[1] not in _EXPORT_HOLDS]
    boxes = case.evidence.boxes.values()
    if all(box.has(CargoStage.LEFT) for box in boxes) if boxes else case.has(CargoStage.LEFT):
        told_of = []
    since = told_of[0][0] if told_of else None
    for entry in held:
        told = {"entry_number": entry.fields["entry_number"], "release_status": entry.fields["release_status"]}
        yield case.find("customs_hold", told, since, entry, "customs_entries")
    is_cleared = bool(entries) and all(entry.fields["release_state"] == "cleared" for entry in entries)
    if told_of and not held and not is_cleared:
        yield case.find("customs_hold", {"milestones": _told(told_of)}, since)


# --- free time ---

_FREE_TIME: Mapping[str, Kind] = {
    "free_time_to_expire": "free_time_expiring",
    "free_time_expired": "free_time_expired",
}


def free_time(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """A container waits at its terminal, and its last free day is near, or over at the terminal.

    Free time runs until the container has left, also of a shipment that is archived. Before anything shows that it has
    arrived at its terminal, the last free day is a guess. Without a last free day, Flexport's milestone counts.
    """
    if case.shipment.removed_at or case.has(CargoStage.DELIVERED):
        return
    reports = _free_time_reports(case)
    for box in case.containers:
        progress, ramp = case.evidence.box(box), case.route.places["inland_ramp"]
        at_ramp = case.route.has_ramp and box.fields["terminal"] in (None, ramp.name)
        arrived = progress.has(CargoStage.AT_RAMP if at_ramp else CargoStage.ARRIVED)
        if box.removed_at or not arrived or progress.has(CargoStage.LEFT):
            continue
        if plausible(box.fields["last_free_day"]):
            yield from _by_day(case, box, rules, watch)
        elif int(box.id) in reports:
            yield _by_report(case, box, reports[int(box.id)])
    if None in reports and not case.has(CargoStage.LEFT):
        yield _by_report(case, None, reports[None])


def _by_day(case: Case, box: Record, rules: Rules, watch: Watch) -> Iterator[Finding]:
    moment = box.fields["last_free_day"]
    day, clock = date.fromisoformat(moment[:10]), place_of(moment, box.fields["terminal_timezone"])
    told = {**_of_terminal(case, box), "last_free_day": day.isoformat()}
    over, soon = begin_of(day, clock, days=1), begin_of(day, clock, days=-rules.free_time_days)
    if watch.passed(over):
        yield case.find("free_time_expired", told, over, box, "containers")
    elif watch.passed(soon):
        yield case.find("free_time_expiring", told, soon, box, "containers")


def _by_report(case: Case, box: Record | None, report: Told) -> Finding:
    """Free time as a milestone reports it; of a shipment where it names no container."""
    told = {**(_of_terminal(case, box) if box else {}), "milestones": _told([report])}
    return case.find(_FREE_TIME[report[1]], told, report[0], box, "containers")


def _of_terminal(case: Case, box: Record) -> dict[str, Any]:
    fields = box.fields
    available = fields["available_for_pickup"]
    return {
        "container_number": fields["container_number"],
        "place": fields["terminal"] or case.route.terminal.name,
        "available_for_pickup": available[:10] if available else None,
    }


def _free_time_reports(case: Case) -> dict[int | None, Told]:
    """The newest milestone about free time of each container; under None of one that names no container here."""
    legs, boxes = {one.id: one for one in case.container_legs}, {int(box.id) for box in case.containers}
    found: dict[int | None, Told] = {}
    for one in _in_time(case.events):
        if one[1] in _FREE_TIME:
            number = box_of(one[2], legs)
            only = next(iter(boxes)) if len(boxes) == 1 else None
            found[number if number in boxes else only] = one
    return found


def empty_return(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """A container was delivered, else left its terminal, so many days ago, and its empty return is not reported.

    Detention runs also after the shipment is delivered; archiving the shipment ends the exception, since Flexport does
    not report every return. The box of an LCL shipment is the consolidator's.
    """
    shipment = case.shipment
    if shipment.removed_at or shipment.fields["archived_at"] or shipment.fields["is_lcl"]:
        return
    for box in case.containers:
        progress = case.evidence.box(box)
        is_out = progress.has(CargoStage.LEFT) and not progress.has(CargoStage.EMPTY_RETURNED)
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
        due = begin_of(day, place_of(moment, zone), rules.empty_return_days + 1)
        if watch.passed(due):
            name = "delivered" if stage == CargoStage.DELIVERED else "left_terminal"
            told = {"container_number": box.fields["container_number"], name: day.isoformat()}
            yield case.find("empty_return", told, due, box, "containers")


# --- documents ---

_AS = {"ocean_air": "ocean", "barge": "ocean", "truck_intl": "truck"}


def missing_documents(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """The day of the departure is over, and a document that its mode requires is not there."""
    mode = case.shipment.fields["mode"] or ""
    required = rules.required.get(_AS.get(mode, mode), ())
    departed = case.evidence.whole.proof(CargoStage.DEPARTED)
    if not required or case.is_over or departed is None:
        return
    zone = case.place(("port_of_loading", "origin")).timezone
    moment = at_place(departed.moment, zone) if departed.moment and zone else departed.moment
    since = day_over(moment, zone) if moment else None
    if since is not None and not watch.passed(since):
        return
    lacking = ["/".join(types) for types in required if len(missing(case.documents, types)) == len(set(types))]
    if lacking:
        yield case.find("missing_documents", {"missing": lacking, "mode": mode}, since)


# --- what Flexport reports ---


def flexport_reported(case: Case, _: Rules, __: Watch) -> Iterator[Finding]:
    """A milestone told of a delay or another trouble, and nothing says that the cargo moved after it."""
    if case.is_over:
        return
    moved = _moves(case)
    reports: list[Told] = []
    for one in _in_time(case.events):
        known = milestone(one[2]["type"])
        if one[1] in _MOVING:
            reports = []
        elif known is not None and known.group == "problems":
            reports.append(one)
    standing = [one for one in reports if not any(_is_later(moment, one[0]) for moment in moved)]
    if standing:
        yield case.find("flexport_reported", {"milestones": _told(standing)}, standing[0][0])


def _moves(case: Case) -> Sequence[str]:
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
    return [moment for one in found if (moment := plausible(one))]


def _is_later(moment: str, report: str) -> bool:
    """Whether a date lies behind a report; one that tells the day alone, when its day does."""
    at, told = parse(moment), parse(report)
    if is_day_only(moment):
        return at.date() > told.astimezone(at.tzinfo).date()
    return at > told


# --- milestones ---


def _in_time(events: Sequence[Mapping[str, Any]]) -> list[Told]:
    """Milestones in the order in which they occurred, whatever the order in which they came."""
    found = []
    for event in events:
        moment = instant(event["occurred_at"]) or instant(event["created_at"])
        if moment and event["type"]:
            order = (moment, event["created_at"] or "", str(event["id"]))
            found.append((order, (moment, event["type"].rpartition("#")[2], event)))
    return [told for _, told in sorted(found, key=lambda one: one[0])]


def _told(told: Sequence[Told]) -> list[dict[str, Any]]:
    """The newest of these, as evidence."""
    found = []
    for at, name, event in told[-MOST_TOLD:]:
        known = milestone(event["type"])
        words = known.title if known else name
        found.append({"milestone": name, "title": words, "occurred_at": at, "event_id": str(event["id"])})
    return found
