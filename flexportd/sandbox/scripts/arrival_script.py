"""The last events of a shipment: customs, free time, appointments, delivery, and the empty container."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from flexportd.sandbox.catalog.kinds import CONTAINER, LEG, Wire
from flexportd.sandbox.catalog.wire_objects import day, local, utc
from flexportd.sandbox.scripts.shipment_plan import Itinerary, last_free_day
from flexportd.sandbox.scripts.world_events import (
    FULL_CONTAINER_KINDS,
    THE_SHIPMENT,
    LegEnd,
    ObjectRef,
    WorldEvent,
    between,
    container_leg,
    containers,
    discharged_at,
)

_HOLDS = (
    "/shipment#customs_agriculture_hold",
    "/shipment#customs_entry_release_status_document_required",
    "/shipment#customs_entry_release_status_entry_docs_required",
    "/shipment#customs_entry_release_status_pending_intensive_exam",
    "/shipment#customs_entry_release_status_under_cbp_review",
    "/shipment#customs_undergoing_x_ray_exam",
)


def after_arrival(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    """Everything from the arrival of the main carriage on, in no particular order."""
    yield from _customs(plan, rng)
    if plan.route.kind in FULL_CONTAINER_KINDS:
        yield from _free_time(plan, rng)
    if plan.route.has_delivery:
        yield from _appointment(plan, rng)
        yield from _delivery(plan, rng)
    else:
        yield from _pickup_at_port(plan)
    if plan.route.kind in FULL_CONTAINER_KINDS:
        yield from _empty_returns(plan, rng)


def _terminal_departure(plan: Itinerary) -> datetime:
    following = plan.route.main[-1] + 1
    if following < len(plan.legs):
        return plan.legs[following].departure
    return plan.last_main.arrival + timedelta(days=4)


def _customs(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    """Released before or after the arrival; one in six is held first."""
    ends = plan.legs[0].route_leg.origin.place.country_code, plan.legs[-1].route_leg.destination.place.country_code
    if ends[0] == ends[1]:
        return
    arrival, leaves = plan.last_main.arrival, _terminal_departure(plan)
    held = rng.random() < 0.17
    if held:
        yield WorldEvent(between(arrival, leaves, rng.uniform(0.02, 0.2)), rng.choice(_HOLDS))
    released = between(arrival, leaves, rng.uniform(0.3, 0.8))
    if not held and rng.random() < 0.4:
        released = between(plan.last_main.departure, arrival, rng.uniform(0.85, 0.98))
    yield WorldEvent(released, "/shipment#customs_entry_release_status_released")


def _free_time(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    """Each container becomes available; free time ends on those not picked up by then."""
    leg, leaves, last_day = plan.route.main[-1], _terminal_departure(plan), last_free_day(plan)
    ready = min(leaves, last_day - timedelta(days=1))  # whenever the truck picks it up
    where = LegEnd(leg, "destination")
    for index, box in enumerate(containers(plan)):
        available = between(plan.last_main.arrival, ready, rng.uniform(0.35, 0.55))
        available = max(available, discharged_at(plan, index, leg) + timedelta(hours=3))
        day_there = available.astimezone(plan.last_main.arrival.tzinfo)
        noon = day_there.replace(hour=12, minute=0, second=0)
        dates = {"available_for_pickup_date": local(noon)}
        kind = "/ocean/shipment_container_leg#available_for_pickup"
        about = container_leg(plan, index, leg)
        yield WorldEvent(available, kind, about=about, where=where, changes=((box, dates),), lag=True)
        warned, expired = last_day - timedelta(hours=36), last_day + timedelta(hours=25)
        if warned < leaves:
            yield WorldEvent(warned, "/ocean/shipment_container#free_time_to_expire", about=box)
        if expired < leaves:
            yield WorldEvent(expired, "/ocean/shipment_container#free_time_expired", about=box, where=where)


def _appointment(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    index = len(plan.legs) - 1
    leg, about, where = plan.legs[index], ObjectRef(LEG, index), LegEnd(index, "destination")
    ready = plan.legs[index - 1].arrival if index else leg.departure - timedelta(hours=16)
    if rng.random() < 0.85:
        requested, fixed = (
            between(ready, leg.departure, share) for share in (rng.uniform(0.2, 0.4), rng.uniform(0.5, 0.8))
        )
        wanted = {
            "delivery_appointment_requested_at_date": utc(requested),
            "delivery_appointment_requested_date": local(leg.arrival),
        }
        agreed = {
            "delivery_appointment_scheduled_at_date": utc(fixed),
            "delivery_appointment_scheduled_for_date": local(leg.arrival),
        }
        for name, moment, dates in (("requested", requested, wanted), ("scheduled", fixed, agreed)):
            kind = f"/shipment_leg#delivery_appointment_{name}"
            changes = ((about, {"additional_dates": dates}),)
            yield WorldEvent(moment, kind, about=about, where=where, changes=changes)
    if rng.random() < 0.06:
        yield WorldEvent(between(leg.departure, leg.arrival, 0.9), "/shipment#missed_appointment")


def _delivery(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    index = len(plan.legs) - 1
    leg, about = plan.legs[index], ObjectRef(LEG, index)
    start, end = LegEnd(index, "origin"), LegEnd(index, "destination")
    inland = ((THE_SHIPMENT, {"status": "in_transit_to_final_destination"}),)
    out = between(leg.departure, leg.arrival, rng.uniform(0.3, 0.7))
    yield WorldEvent(out, "/shipment_leg#out_for_delivery", about=about, where=start, changes=inland)
    minutes = [rng.randint(*span) for span in ((5, 20), (40, 90), (100, 200))]
    moments = [leg.arrival + timedelta(minutes=count) for count in minutes]
    delivered = tuple((box, {"actual_delivery_date": local(leg.arrival)}) for box in containers(plan))
    yield WorldEvent(moments[0], "/shipment_leg#delivered", about=about, where=end, changes=delivered)
    complete = ((about, {"additional_dates": {"delivery_completed": local(moments[1])}}),)
    yield WorldEvent(moments[1], "/shipment_leg#delivery_completed", about=about, where=end, changes=complete)
    yield _in_full(leg.arrival, moments[2], end)


def _in_full(arrival: datetime, moment: datetime, where: LegEnd) -> WorldEvent:
    final = {"status": "final_destination", "actual_delivered_in_full_date": local(arrival)}
    kind = "/shipment#delivered_in_full"
    return WorldEvent(moment, kind, where=where, changes=((THE_SHIPMENT, final),), ends=True)


def _pickup_at_port(plan: Itinerary) -> Iterator[WorldEvent]:
    """Without a delivery by Flexport, the journey ends when the buyer picks up at the port."""
    collected = _terminal_departure(plan)
    yield _in_full(collected, collected + timedelta(hours=2), LegEnd(len(plan.legs) - 1, "destination"))


def _empty_returns(plan: Itinerary, rng: Random) -> Iterator[WorldEvent]:
    emptied = plan.legs[-1].arrival if plan.route.has_delivery else _terminal_departure(plan)
    for index in range(len(plan.cargo.containers)):
        moment = emptied + timedelta(days=rng.randint(1, 4), hours=rng.randint(1, 6))
        box = ObjectRef(CONTAINER, index)
        dates: Wire = {"empty_returned_date": day(moment.date())}
        yield WorldEvent(
            moment,
            "/ocean/shipment_container#empty_returned",
            about=box,
            where=LegEnd(plan.route.main[-1], "destination"),
            changes=((box, dates),),
        )
