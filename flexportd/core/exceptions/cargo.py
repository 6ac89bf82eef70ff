"""Exceptions of the cargo at a place: held by customs, in costly storage, without its papers, reported. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flexportd.clock import parse
from flexportd.core.agenda import last_free_day
from flexportd.core.exceptions.cases import Case, Finding, Rules, Watch, begin_of, day_over, place_of
from flexportd.core.values import instant, is_day_only
from flexportd.flexport.milestones import CATALOGUE, milestone
from flexportd.storage.agenda import Journey
from flexportd.storage.resources import Record

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
    for entry in held:
        told = {"entry_number": entry.fields["entry_number"], "release_status": entry.fields["release_status"]}
        yield case.find("customs_hold", told, entry, "customs_entries")
    if held or (entries and all(entry.fields["release_state"] == "cleared" for entry in entries)):
        return
    told_of: list[Told] = []
    for one in _in_time(case.events):
        name = one[1]
        if name in _HOLDS:
            told_of.append(one)
        elif name == _RELEASED or name in _LEAVING:
            told_of = []
        elif name == "departed":
            told_of = [hold for hold in told_of if hold[1] not in _EXPORT_HOLDS]
    if case.is_departed:
        told_of = [hold for hold in told_of if hold[1] not in _EXPORT_HOLDS]
    if told_of:
        yield case.find("customs_hold", {"milestones": _told(told_of)})


# --- free time ---


def free_time(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """A container waits at the terminal, and its last free day is near, or over at the terminal.

    Free time runs until the container has left, also of a shipment that is archived. Before anything says that it has
    arrived, the last free day is a guess.
    """
    if case.shipment.removed_at or case.is_delivered:
        return
    left = _left(case)
    for box in case.containers:
        if box.removed_at or str(box.id) in left or not box.fields["last_free_day"]:
            continue
        if case.is_arrived or box.fields["actual_arrival"] or box.fields["available_for_pickup"]:
            yield from _of_box(case, box, rules, watch)


def _of_box(case: Case, box: Record, rules: Rules, watch: Watch) -> Iterator[Finding]:
    fields, journey = box.fields, _journey(case)
    day = last_free_day(fields["last_free_day"], journey)
    if day is None:
        return
    arrived = journey.actual_arrival or journey.estimated_arrival
    clock = place_of(arrived, journey.timezone)
    available = fields["available_for_pickup"]
    told = {
        "container_number": fields["container_number"],
        "last_free_day": day.isoformat(),
        "place": journey.place,
        "available_for_pickup": available[:10] if available else None,
    }
    if watch.passed(begin_of(day, clock, days=1)):
        yield case.find("free_time_expired", told, box, "containers")
    elif watch.passed(begin_of(day, clock, days=-rules.free_time_days)):
        yield case.find("free_time_expiring", told, box, "containers")


def _journey(case: Case) -> Journey:
    """Where the containers are unloaded."""
    fields, last = case.shipment.fields, case.main[-1].fields if case.main else {}
    return Journey(
        id=case.id,
        name=fields["name"],
        place=last.get("destination"),
        place_code=last.get("destination_code"),
        actual_arrival=fields["actual_arrival"] or last.get("actual_arrival"),
        estimated_arrival=fields["estimated_arrival"] or last.get("estimated_arrival"),
        removed_at=None,
        timezone=last.get("destination_timezone"),
        synced_at="",
    )


def _left(case: Case) -> set[str]:
    """The containers that are no longer at the terminal, as they or their legs behind the main carriage tell."""
    found = {
        str(box.id)
        for box in case.containers
        if box.fields["actual_delivery"] or box.fields["empty_returned_date"] or _is_picked_up(case, box)
    }
    onward = {leg.id: bool(leg.fields["actual_departure"]) for leg in case.onward}
    for one in case.container_legs:
        fields = one.fields
        is_onward = not one.removed_at and fields["leg_id"] in onward
        if is_onward and (onward[fields["leg_id"]] or fields["actual_loaded_on_board"]):
            found.add(str(fields["container_id"]))
    return found


def _is_picked_up(case: Case, box: Record) -> bool:
    """Whether it was picked up at the terminal: as recorded, the date is mostly that of its pickup at the seller's."""
    picked, journey = box.fields["actual_pickup"], _journey(case)
    arrived = box.fields["actual_arrival"] or journey.actual_arrival
    departed = box.fields["actual_departure"] or case.shipment.fields["actual_departure"]
    if not picked or not (arrived or departed):
        return False
    day = parse(picked).date()
    return day >= parse(arrived).date() if arrived else day > parse(departed).date()


# --- documents ---

_AS = {"ocean_air": "ocean", "barge": "ocean", "truck_intl": "truck"}


def missing_documents(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """The day of the departure is over, and a document that its mode requires is not there."""
    mode = case.shipment.fields["mode"] or ""
    required = rules.required.get(_AS.get(mode, mode), ())
    if not required or case.is_over or not case.is_departed:
        return
    first = case.main[0].fields if case.main else {}
    departed = case.shipment.fields["actual_departure"] or first.get("actual_departure")
    if departed and not watch.passed(day_over(departed, first.get("origin_timezone"))):
        return
    here = {
        one.fields["document_type"] for one in case.documents if not one.removed_at and not one.fields["archived_at"]
    }
    missing = ["/".join(types) for types in required if not here.intersection(types)]
    if missing:
        yield case.find("missing_documents", {"missing": missing, "mode": mode})


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
        elif known is not None and known.group == "trouble":
            reports.append(one)
    standing = [one for one in reports if not any(_is_later(moment, one[0]) for moment in moved)]
    if standing:
        yield case.find("flexport_reported", {"milestones": _told(standing)})


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
    return [moment for moment in found if moment]


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
