"""Exceptions of the journey: late steps, slipped arrivals, and shipments without updates. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from flexportd.core.evidence import CargoStage
from flexportd.core.exceptions.model import (
    ArrivalEstimate,
    ExceptionRules,
    Finding,
    Kind,
    PlannedDate,
    ShipmentFacts,
    TimeTriggers,
    days_after,
    local_zone,
    start_of_day,
)
from flexportd.core.resources.values import at_place
from flexportd.storage.queries.table import plausible_or_none

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
    for name, stage, kind, told in _STEPS:
        plan = (
            None
            if case.has_reached(stage) or (stage == CargoStage.AT_RAMP and not case.route.has_ramp)
            else case.planned_date(name)
        )
        if plan is not None:
            if watch.has_passed(plan.ends_at):
                yield case.make_finding(kind, {told: plan.moment[:10], "place": plan.place.name}, plan.ends_at)
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
        due.append(_start_of_planned_day(departure))
    if due and watch.has_passed(min(due)) and not (departure is not None and watch.has_passed(departure.ends_at)):
        told = {
            "estimated_pickup": pickup.moment[:10] if pickup else None,
            "estimated_departure": departure.moment[:10] if departure else None,
            "place": case.place(("origin",)).name,
        }
        yield case.make_finding("late_pickup", told, min(due))


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
            told = {"first_estimate": first[:10], "estimated_arrival": now[:10], "days": days, "place": place.name}
            yield case.make_finding("eta_slipped", told, _slipped_since(known, first, rules.eta_slip_days))
            return


def silent(case: ShipmentFacts, rules: ExceptionRules, watch: TimeTriggers) -> Iterator[Finding]:
    """In transit: Flexport has sent no update and no milestone for some days.

    Flexport's times count, not ours. Silence from before the shipment was first seen is not news.
    """
    if case.is_closed or case.has_reached(CargoStage.ARRIVED) or not case.has_reached(CargoStage.DEPARTED):
        return
    events = (event["created_at"] or "" for event in case.events)
    newest = max(case.shipment.as_of, case.changed_at or "", *events)
    if newest and watch.has_passed(days_after(newest, rules.silent_days)):
        found = case.make_finding("silent", {"last_news_at": newest}, days_after(newest, rules.silent_days))
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
    told = [
        ((as_of, cause), field, *(None if value is None else _decode(value) for value in values))
        for as_of, cause, field, *values in moves
    ]
    known: list[tuple[str | None, object]] = [(None, next((old for _, field, old, _ in told if field == name), now))]
    for (as_of, _), group in groupby(told, key=itemgetter(0)):  # changes of one cause became known together
        several = list(group)
        known += [(as_of, new) for _, field, _, new in several if field == name]
        departs = any(field == "actual_departure" and old is None and new is not None for _, field, old, new in several)
        if (departs and since_departure) or any(field in _PLACES for _, field, _, _ in several):
            known = known[-1:]
    return list(_plausible_estimates((*known, (None, now))))


def first_estimate(moves: FieldHistory, fields: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The first estimate of the arrival at the port of unloading, and how many days later it is now."""
    zone, now = fields["port_of_unloading_timezone"], plausible_or_none(fields["arrival"])
    found = estimate_history(moves, "estimated_arrival", fields["estimated_arrival"], since_departure=False)
    if not found:
        return None, None
    first = at_place(found[0].moment, zone) if zone else found[0].moment
    return first, _days_between(first, now) if now else None


def _plausible_estimates(known: Iterable[tuple[str | None, object]]) -> Iterator[ArrivalEstimate]:
    for as_of, value in known:
        if isinstance(value, str) and plausible_or_none(value):
            yield ArrivalEstimate(as_of, value)


def _slipped_since(known: Sequence[ArrivalEstimate], first: str, days: int) -> str | None:
    """Since when the estimates have been at least so many days later than the first one."""
    since: str | None = None
    for one in known:
        since = None if _days_between(first, one.moment) < days else since or one.as_of
    return since


def _start_of_planned_day(plan: PlannedDate) -> datetime:
    return start_of_day(date.fromisoformat(plan.moment[:10]), local_zone(plan.moment, plan.place.timezone))


def _days_between(first: str, last: str) -> int:
    return (date.fromisoformat(last[:10]) - date.fromisoformat(first[:10])).days
