"""The rules of exceptions: what finds them in the facts of a shipment, an invoice or a booking. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from flexportd.clock import parse, stamp
from flexportd.core.evidence import CargoStage, box_of
from flexportd.core.exceptions.model import (
    UNKNOWN_OPENS,
    UNKNOWN_RISES,
    ArrivalEstimate,
    Evaluation,
    ExceptionRules,
    Finding,
    Kind,
    MilestoneEvent,
    OneTimeNotice,
    ShipmentFacts,
    TimeTriggers,
    days_after,
    end_of_day,
    local_zone,
    start_of_day,
)
from flexportd.core.labels import is_day_only
from flexportd.core.outbox.records import operation_title
from flexportd.core.resources.documents import missing_types
from flexportd.core.resources.invoices import due_status, expected_cost, is_credit_note
from flexportd.core.resources.money import amount
from flexportd.core.resources.values import at_place
from flexportd.flexport.milestones import CATALOGUE, milestone
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.operations import Operation
from flexportd.storage.repositories.resources import Record

_decode = msgspec.json.Decoder().decode

FieldHistory = Sequence[tuple[str, str, str, str | None, str | None]]
"""(as_of, cause, field, old, new) of the history, oldest first; values are JSON text."""

_STEPS: Sequence[tuple[str, CargoStage, Kind, str]] = (
    ("departure", CargoStage.DEPARTED, "late_departure", "estimated_departure"),
    ("arrival", CargoStage.ARRIVED, "late_arrival", "estimated_arrival"),
    ("ramp_arrival", CargoStage.AT_RAMP, "late_arrival", "estimated_arrival"),
    ("delivered_in_full", CargoStage.DELIVERED, "late_delivery", "estimated_delivery"),
)


def late_step(case: ShipmentFacts, _: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """The day of the next planned step is over at its place, and no evidence shows that it happened.

    Only the next step is reported: a shipment that has not departed is not also late to arrive.
    """
    if case.is_closed:
        return
    for name, stage, kind, date_name in _STEPS:
        if case.has_reached(stage) or (stage == CargoStage.AT_RAMP and not case.route.has_ramp):
            continue
        if (plan := case.planned_date(name)) is not None:
            if watch.has_passed(over := plan.ends_at):
                evidence = {date_name: plan.moment[:10], "place": plan.place.name}
                yield case.make_finding(kind, evidence, over, degree=watch.days_since(over))
            return


def late_pickup(case: ShipmentFacts, _: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """The cargo is not picked up in time: the planned day is over at the origin, or the day of the departure begins.

    Flexport gives no cut-off; it is before the day of the departure at the latest. Once that day is over, the late
    departure is reported instead. By road the pickup is the departure.
    """
    if case.is_closed or case.has_reached(CargoStage.PICKED_UP) or case.is_by_road:
        return
    pickup, departure = case.planned_date("picked_up_in_full"), case.planned_date("departure")
    is_collected = case.has_pickup_leg and (case.shipment.fields["freight_type"] or "").startswith("door_to_")
    due = [pickup.ends_at] if pickup else []
    if departure is not None and (pickup or is_collected):
        day = date.fromisoformat(departure.moment[:10])
        due.append(start_of_day(day, local_zone(departure.moment, departure.place.timezone)))
    if due and watch.has_passed(min(due)) and not (departure is not None and watch.has_passed(departure.ends_at)):
        evidence = {
            "estimated_pickup": pickup.moment[:10] if pickup else None,
            "estimated_departure": departure.moment[:10] if departure else None,
            "place": case.place(("origin",)).name,
        }
        yield case.make_finding("late_pickup", evidence, min(due), degree=watch.days_since(min(due)))


def eta_slipped(case: ShipmentFacts, rules: ExceptionRules, _: TimeTriggers) -> Iterator[Finding]:
    """In transit: the estimated arrival is some days later than the earliest estimate since the departure.

    The arrival at the port of unloading counts, then that at the inland ramp.
    """
    if case.is_closed or not case.has_reached(CargoStage.DEPARTED):
        return
    for name, stage, places in (
        ("estimated_arrival", CargoStage.ARRIVED, ("port_of_unloading", "destination")),
        ("estimated_ramp_arrival", CargoStage.AT_RAMP, ("inland_ramp",)),
    ):
        now, place = plausible_or_none(case.shipment.fields[name]), case.place(places)
        if case.has_reached(stage) or now is None:
            continue
        known = [
            ArrivalEstimate(one.as_of, at_place(one.moment, place.timezone) if place.timezone else one.moment)
            for one in case.estimates.get(name, ())
        ]
        first = min((one.moment for one in known), key=lambda moment: moment[:10], default=now)
        days = _days_between(first, now)
        if days >= rules.eta_slip_days:
            evidence = {"first_estimate": first[:10], "estimated_arrival": now[:10], "days": days, "place": place.name}
            since = _slipped_since(known, first, rules.eta_slip_days)
            yield case.make_finding("eta_slipped", evidence, since, degree=days)
            return


def silent(case: ShipmentFacts, rules: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """In transit: Flexport has sent no update and no milestone for some days.

    Flexport's times count, not ours. Silence from before the shipment was first seen is not news.
    """
    if case.is_closed or case.has_reached(CargoStage.ARRIVED) or not case.has_reached(CargoStage.DEPARTED):
        return
    events = (event["created_at"] or "" for event in case.events)
    newest = max(case.shipment.as_of, case.changed_at or "", *events)
    if newest and watch.has_passed(since := days_after(newest, rules.silent_days)):
        found = case.make_finding("silent", {"last_news_at": newest}, since, degree=watch.days_since(since))
        is_news = (found.since or "") >= case.shipment.first_seen_at
        yield msgspec.structs.replace(found, is_news=is_news)


_PLACES = frozenset({"port_of_unloading", "inland_ramp"})


def estimate_history(
    moves: FieldHistory, name: str, now: str | None, *, since_departure: bool = True
) -> list[ArrivalEstimate]:
    """The known estimates of an arrival, from the history and the present, oldest first.

    `name` is the shipment's field, `now` its value. Left out are estimates from before the departure, if the history
    has it, and those for another place, from before the route was known or changed.
    """
    if now is None and all(field != name for _, _, field, *_ in moves):
        return []
    changes = [
        ((as_of, cause), field, *(None if value is None else _decode(value) for value in values))
        for as_of, cause, field, *values in moves
    ]
    known: list[tuple[str | None, object]] = [(None, next((old for _, field, old, _ in changes if field == name), now))]
    for (as_of, _), group in groupby(changes, key=itemgetter(0)):  # changes of one cause became known together
        several = list(group)
        known += [(as_of, new) for _, field, _, new in several if field == name]
        departs = any(field == "actual_departure" and old is None and new is not None for _, field, old, new in several)
        if (departs and since_departure) or any(field in _PLACES for _, field, _, _ in several):
            known = known[-1:]
    known.append((None, now))
    return [ArrivalEstimate(at, value) for at, value in known if isinstance(value, str) and plausible_or_none(value)]


def first_estimate(moves: FieldHistory, fields: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The first estimate of the arrival at the port of unloading, and how many days later it is now."""
    zone, now = fields["port_of_unloading_timezone"], plausible_or_none(fields["arrival"])
    found = estimate_history(moves, "estimated_arrival", fields["estimated_arrival"], since_departure=False)
    if not found:
        return None, None
    first = at_place(found[0].moment, zone) if zone else found[0].moment
    return first, _days_between(first, now) if now else None


def _slipped_since(known: Sequence[ArrivalEstimate], first: str, days: int) -> str | None:
    """Since when the estimates have been at least so many days later than the first one."""
    since: str | None = None
    for one in known:
        since = None if _days_between(first, one.moment) < days else since or one.as_of
    return since


def _days_between(first: str, last: str) -> int:
    return (date.fromisoformat(last[:10]) - date.fromisoformat(first[:10])).days


MAX_MILESTONES = 10  # milestones that evidence names

_HOLDS = frozenset(one.name for one in CATALOGUE if one.title == "Customs Hold")
_EXPORT_HOLDS = frozenset(name for name in _HOLDS if name.startswith("export_"))
_RELEASED = "customs_entry_release_status_released"
_LEAVING_TERMINAL = frozenset(
    {"out_for_delivery", "delivered", "delivery_completed", "delivered_in_full", "empty_returned", "loaded_on_truck"}
)
_MOVING = _LEAVING_TERMINAL | {"departed", "arrived", "loaded_on_board", "unloaded_off_board"}


def customs_hold(case: ShipmentFacts, _: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """A customs entry is on hold, or a milestone reported a hold and none its release.

    A hold from a milestone ends with its release, when all entries are cleared, and when the cargo moves on: an export
    hold with the departure, an import hold when the cargo leaves the port.
    """
    if case.is_closed:
        return
    entries = [entry for entry in case.customs if not entry.removed_at]
    held = [entry for entry in entries if entry.fields["release_state"] == "hold"]
    holds: list[MilestoneEvent] = []
    for one in case.milestones:
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
    is_cleared = bool(entries) and all(entry.fields["release_state"] == "cleared" for entry in entries)
    since = holds[0][0] if holds else None
    for entry in held:
        began = since or case.held_since.get(str(entry.id))
        degree = watch.days_since(parse(began)) if began else 0
        evidence = {"entry_number": entry.fields["entry_number"], "release_status": entry.fields["release_status"]}
        yield case.make_finding("customs_hold", evidence, began, entry, "customs_entries", degree=degree)
    if since and not held and not is_cleared:
        degree = watch.days_since(parse(since))
        yield case.make_finding("customs_hold", {"milestones": _milestone_evidence(holds)}, since, degree=degree)


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
            yield _free_time_by_milestone(case, box, reports[int(box.id)], watch)
    if None in reports and not case.has_reached(CargoStage.LEFT):
        yield _free_time_by_milestone(case, None, reports[None], watch)


def _free_time_by_date(
    case: ShipmentFacts, box: Record, rules: ExceptionRules, watch: TimeTriggers
) -> Iterator[Finding]:
    moment = box.fields["last_free_day"]
    day, clock = date.fromisoformat(moment[:10]), local_zone(moment, box.fields["terminal_timezone"])
    evidence = {**_terminal_evidence(case, box), "last_free_day": day.isoformat()}
    over, soon = start_of_day(day, clock, days=1), start_of_day(day, clock, days=-rules.free_time_days)
    if watch.has_passed(over):
        degree = watch.days_since(over)
        yield case.make_finding("free_time_expired", evidence, over, box, "containers", degree=degree)
    elif watch.has_passed(soon):
        left = rules.free_time_days  # days after today
        while left > 0 and watch.has_passed(start_of_day(day, clock, days=1 - left)):
            left -= 1
        yield case.make_finding("free_time_expiring", evidence, soon, box, "containers", degree=-left)


def _free_time_by_milestone(
    case: ShipmentFacts, box: Record | None, report: MilestoneEvent, watch: TimeTriggers
) -> Finding:
    """Free time as reported by a milestone; for the shipment if it names no container.

    A milestone does not say when free time ends: that counts as tomorrow.
    """
    evidence = {**(_terminal_evidence(case, box) if box else {}), "milestones": _milestone_evidence([report])}
    kind = _FREE_TIME[report[1]]
    degree = watch.days_since(parse(report[0])) if kind == "free_time_expired" else -1
    return case.make_finding(kind, evidence, report[0], box, "containers", degree=degree)


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
    for one in case.milestones:
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
            degree = watch.days_since(due)
            yield case.make_finding("empty_return", evidence, due, box, "containers", degree=degree)


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
        evidence = {"missing": lacking, "mode": mode}
        yield case.make_finding("missing_documents", evidence, since, degree=len(lacking))


def flexport_reported(case: ShipmentFacts, _: ExceptionRules, __: TimeTriggers) -> Iterator[Finding]:
    """A milestone reported a delay or another problem, and the cargo has not moved since.

    What was reported before the installation is no news, even if polling finds it later.
    """
    if case.is_closed:
        return
    moved = _movement_dates(case)
    reports: list[MilestoneEvent] = []
    for one in case.milestones:
        known = milestone(one[2]["type"])
        if one[1] in _MOVING:
            reports = []
        elif known is not None and known.group == "problems":
            reports.append(one)
    standing = [one for one in reports if not any(_is_later(moment, one[0]) for moment in moved)]
    if standing:
        evidence = {"milestones": _milestone_evidence(standing)}
        found = case.make_finding("flexport_reported", evidence, standing[0][0], degree=len(standing))
        is_news = any((event["created_at"] or at) >= (case.listening_since or "") for at, _, event in standing)
        yield msgspec.structs.replace(found, is_news=is_news)


def _movement_dates(case: ShipmentFacts) -> Sequence[str]:
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


def _milestone_evidence(milestones: Sequence[MilestoneEvent]) -> list[dict[str, Any]]:
    found = []
    for at, name, event in milestones[-MAX_MILESTONES:]:
        known = milestone(event["type"])
        words = known.title if known else name
        found.append({"milestone": name, "title": words, "occurred_at": at, "event_id": str(event["id"])})
    return found


DUE, OVERDUE = "invoice.due", "invoice.overdue"


def evaluate_invoice(
    invoice: Record, rules: ExceptionRules, now: datetime, related: Mapping[str, Any] | None = None
) -> Evaluation:
    """An invoice that is unpaid after its due day. Invoices have no place, so the day is in UTC.

    A credit note, and an invoice with nothing left to pay, is never due. For each due date, one notice is sent when the
    invoice is due soon, and one when it is overdue. `related` are the values of other objects that
    `invoices.expected_cost` takes.
    """
    fields, watch = invoice.fields, TimeTriggers(now.astimezone(UTC))
    state = "void" if invoice.removed_at else due_status(fields, watch.now.date()).state
    if state in ("paid", "void", "payment_pending", "unknown") or not _is_owed(fields):
        return Evaluation()
    due_date = plausible_or_none(fields["due_date"])
    until = date.fromisoformat(due_date) if due_date else None
    evidence = {name: fields[name] for name in ("name", "due_date", "status") if fields[name] is not None}
    expected = expected_cost({**fields, **(related or {})})._asdict()
    evidence |= {name: value for name, value in expected.items() if value is not None}
    about = ("invoices", str(invoice.id), fields["shipment_id"], evidence)
    over = start_of_day(until, UTC, days=1) if until else None
    is_over = over is not None and watch.has_passed(over)
    if state == "overdue" or is_over:
        since, degree = (stamp(over), watch.days_since(over)) if over and is_over else (None, 0)
        overdue = Finding("invoice_overdue", *about, since, degree=degree)
        return Evaluation((overdue,), watch.next_check, (OneTimeNotice(OVERDUE, *about, occasion=due_date),))
    is_soon = until is not None and watch.has_passed(start_of_day(until, UTC, days=-rules.invoice_due_days))
    return Evaluation((), watch.next_check, (OneTimeNotice(DUE, *about, occasion=due_date),) if is_soon else ())


def _is_owed(fields: Mapping[str, Any]) -> bool:
    """Whether the client owes something: an amount above zero, or an unknown one."""
    owed, total = amount(fields["outstanding_amount"]), amount(fields["total_amount"])
    return not is_credit_note(fields) and (owed is None or owed > 0) and (total is None or total > 0)


def evaluate_booking(booking: Record, rules: ExceptionRules, now: datetime) -> Evaluation:
    """A booking that was submitted some days ago, and is neither answered nor withdrawn.

    Only its status counts: bookings have a shipment from the start (recorded).
    """
    fields, watch = booking.fields, TimeTriggers(now)
    if booking.removed_at or fields["status"] != "submitted" or not plausible_or_none(fields["created_at"]):
        return Evaluation()
    due = days_after(fields["created_at"], rules.booking_days)
    if not watch.has_passed(due):
        return Evaluation((), watch.next_check)
    evidence = {name: fields[name] for name in ("name", "created_at", "cargo_ready_date") if fields[name]}
    about = ("bookings", str(booking.id), fields["shipment_id"], evidence)
    found = Finding("booking_unanswered", *about, stamp(due), degree=watch.days_since(due))
    return Evaluation((found,), watch.next_check)


def evaluate_operation(operation: Operation, now: datetime) -> Evaluation:
    """A write to Flexport whose outcome has been unknown for an hour, whether look-ups follow or a person must decide.

    `Exceptions.due_operations` finds the operations for which the result differs from what is stored.
    """
    since = operation.unknown_since
    if operation.state != "unknown" or since is None or parse(since) + UNKNOWN_OPENS > now:
        return Evaluation()
    evidence = {
        "operation_id": str(operation.id),
        "title": operation_title(operation.kind, operation.resource_id, operation.title),
        "operation_kind": operation.kind,
        "unknown_since": since,
        "needs_decision": operation.needs_decision,
    }
    if operation.error is not None:
        evidence["error"] = operation.error
    about = ("operations", str(operation.id), operation.shipment_id, evidence)
    degree = int(parse(since) + UNKNOWN_RISES <= now)
    return Evaluation((Finding("operation_unknown", *about, since, degree=degree),))
