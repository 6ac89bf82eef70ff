"""The events of one shipment from booking to the empty container, as milestones in the usual order.

Source of the order: the milestones page, https://apidocs.flexport.com/v2/tag/Milestones. Pure: a plan in, a list of
events out; every event type used here is published.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from flexportd.sandbox.catalog.kinds import CONTAINER_LEG, LEG, Wire
from flexportd.sandbox.catalog.vehicles import Vehicle
from flexportd.sandbox.catalog.wire_objects import day, local, shipment_item, utc
from flexportd.sandbox.scripts.arrival_script import after_arrival
from flexportd.sandbox.scripts.shipment_plan import Itinerary, ScheduleSlip, last_free_day
from flexportd.sandbox.scripts.world_events import (
    CONTAINER_MODES,
    FULL_CONTAINER_KINDS,
    THE_SHIPMENT,
    LegEnd,
    ObjectRef,
    WorldEvent,
    between,
    container_leg,
    container_leg_pairs,
    containers,
    discharged_at,
    loaded_at,
    midnight,
    recorded_order,
    replaced_leg,
)

Times = list[tuple[datetime, datetime]]
ETD, ETA = "/shipment_leg#updated_estimated_time_of_departure", "/shipment_leg#updated_estimated_time_of_arrival"


def script(plan: Itinerary, shipment_id: int, item_number: int, rng: Random) -> list[WorldEvent]:
    """All events of this shipment, in the order of recording; `item_number` is the id of its first item."""
    confirmed = plan.answered
    entries = [*_booking(plan, confirmed, rng), *_reroute(plan, confirmed, rng), *_schedule_slips(plan, confirmed)]
    for index in range(len(plan.legs)):
        entries += _loading(plan, index)
        entries += _movement(plan, index, shipment_id, item_number)
    entries += _document_events(plan, item_number, rng)
    entries += after_arrival(plan, rng)
    return recorded_order(entries, rng)


def _on_vessel(plan: Itinerary, index: int, vehicle: Vehicle) -> Wire:
    """The carrier and the vessel of a leg by sea, which are not known before the schedule is."""
    if plan.legs[index].route_leg.mode != "ocean":
        return {}
    return {"carrier_name": vehicle.carrier, "ocean_leg": dict(vehicle.fields)}


def _leg_dates(times: tuple[datetime, datetime]) -> Wire:
    return {"estimated_departure_date": local(times[0]), "estimated_arrival_date": local(times[1])}


def _shipment_dates(plan: Itinerary, times: Times) -> Wire:
    main = plan.route.main
    return {
        "estimated_departure_date": local(times[main[0]][0]),
        "estimated_arrival_date": local(times[main[-1]][1]),
        "estimated_picked_up_in_full_date": local(times[0][0]) if plan.route.has_pickup else None,
        "estimated_delivered_in_full_date": local(times[-1][1]) if plan.route.has_delivery else None,
    }


def _container_dates(plan: Itinerary, times: Times) -> list[tuple[ObjectRef, Wire]]:
    shipment = _shipment_dates(plan, times)
    dates = {
        "estimated_departure_date": shipment["estimated_departure_date"],
        "estimated_arrival_date": shipment["estimated_arrival_date"],
        "estimated_pickup_date": shipment["estimated_picked_up_in_full_date"],
        "estimated_delivery_date": shipment["estimated_delivered_in_full_date"],
        "estimated_available_for_pickup_date": local(times[plan.route.main[-1]][1] + timedelta(days=2)),
    }
    return [(box, dates) for box in containers(plan)]


def _planned(plan: Itinerary) -> Times:
    return [(leg.planned_departure, leg.planned_arrival) for leg in plan.legs]


def _booking(plan: Itinerary, confirmed: datetime, rng: Random) -> Iterator[WorldEvent]:
    """Created, scheduled, and one ETD for each leg: these events contain the whole route."""
    times, abandoned = _planned(plan), replaced_leg(plan)
    legs = [ObjectRef(LEG, index) for index in range(len(plan.legs))]
    if abandoned is not None:
        legs[-1] = abandoned
    late = {
        index
        for index, pair in enumerate(container_leg_pairs(plan))
        if abandoned is not None and pair[1] == len(plan.legs) - 1
    }
    boxes = [ObjectRef(CONTAINER_LEG, index) for index in range(len(container_leg_pairs(plan))) if index not in late]
    booking_number: Wire = {"ocean_shipment": {"carrier_booking_number": plan.cargo.booking_number}}
    schedule = _shipment_dates(plan, times) | (booking_number if plan.route.mode == "ocean" else {})
    yield WorldEvent(plan.booked, "/shipment#created", creates=(THE_SHIPMENT, *legs))
    if plan.route.kind == "air":
        yield WorldEvent(confirmed - timedelta(minutes=20), "/shipment#booking_confirmed")
    yield WorldEvent(
        confirmed,
        "/shipment#schedule_confirmed",
        changes=((THE_SHIPMENT, schedule),),
        creates=(*containers(plan), *boxes),
    )
    for index, leg in enumerate(legs):
        dates = _leg_dates(times[index])
        if leg != abandoned:
            dates |= _on_vessel(plan, index, plan.legs[index].booked_vehicle)
        changes = [(leg, dates)] + (_container_dates(plan, times) if index == 0 else [])
        moment = confirmed + timedelta(minutes=2 + index)
        yield WorldEvent(moment, ETD, about=leg, where=LegEnd(leg.position, "origin"), changes=changes)
    if rng.random() < 0.15:
        ready = day(plan.legs[0].planned_departure.date())
        moment = confirmed + timedelta(hours=rng.randint(4, 11))
        change = ((THE_SHIPMENT, {"cargo_ready_date": ready}),)
        yield WorldEvent(moment, "/shipment#cargo_ready_date_changed", changes=change)


def _reroute(plan: Itinerary, confirmed: datetime, rng: Random) -> Iterator[WorldEvent]:
    """A new last leg replaces the first one, which is deleted; deletions have no event."""
    abandoned = replaced_leg(plan)
    if abandoned is None:
        return
    moment = confirmed + timedelta(minutes=rng.randint(60, 240))
    leg = ObjectRef(LEG, len(plan.legs) - 1)
    boxes = [container_leg(plan, box, at) for box, at in container_leg_pairs(plan) if at == leg.position]
    changes = ((abandoned, {"deleted_at": utc(moment)}),)
    yield WorldEvent(moment, "/shipment#updated_route", changes=changes, creates=(leg, *boxes))
    dates = ((leg, _leg_dates(_planned(plan)[-1])),)
    later = moment + timedelta(minutes=1)
    yield WorldEvent(later, ETD, about=leg, where=LegEnd(leg.position, "origin"), changes=dates)


def _schedule_slips(plan: Itinerary, confirmed: datetime) -> Iterator[WorldEvent]:
    """Each change of schedule: its reason if there is one, then every leg it moves."""
    times = _planned(plan)
    earliest = confirmed + timedelta(hours=12)
    for slip in sorted(plan.slips, key=lambda one: one.known_at):
        moment = max(slip.known_at, earliest)
        earliest = moment + timedelta(minutes=30)
        if slip.reason is not None:
            yield WorldEvent(moment, slip.reason)
        yield from _slip_events(plan, slip, moment, times)


def _slip_events(plan: Itinerary, slip: ScheduleSlip, moment: datetime, times: Times) -> Iterator[WorldEvent]:
    move = timedelta(days=slip.days)
    for index in range(slip.leg, slip.last + 1):
        departs = index > slip.leg or slip.at_departure
        departure = times[index][0] + move if departs else times[index][0]
        times[index] = departure, times[index][1] + move
        if plan.legs[index].route_leg.flight is not None:
            # A flight takes as long across a change to daylight saving time.
            leg = plan.legs[index]
            lasts = leg.planned_arrival.astimezone(UTC) - leg.planned_departure.astimezone(UTC)
            times[index] = departure, (departure.astimezone(UTC) + lasts).astimezone(leg.planned_arrival.tzinfo)
    for index in range(slip.leg, slip.last + 1):
        departs = index > slip.leg or slip.at_departure
        changes = [(ObjectRef(LEG, index), _leg_dates(times[index]))]
        if index == slip.leg:
            if slip.rolled:
                changes.append((ObjectRef(LEG, index), _on_vessel(plan, index, plan.legs[index].vehicle)))
            changes += [(THE_SHIPMENT, _shipment_dates(plan, times)), *_container_dates(plan, times)]
        yield WorldEvent(
            moment + timedelta(minutes=1 + index - slip.leg),
            ETD if departs else ETA,
            about=ObjectRef(LEG, index),
            where=LegEnd(index, "origin" if departs else "destination"),
            changes=changes,
        )


def _loading(plan: Itinerary, index: int) -> Iterator[WorldEvent]:
    """Containers are loaded on a vessel or a train, and discharged: dates are the place's midnight in UTC."""
    leg = plan.legs[index]
    if leg.route_leg.mode not in CONTAINER_MODES:
        return
    for box, at in container_leg_pairs(plan):
        if at != index:
            continue
        about = container_leg(plan, box, index)
        on, off = loaded_at(plan, box, index), discharged_at(plan, box, index)
        on_board = {"actual_loaded_on_board_date": utc(midnight(leg.departure, on))}
        changes: list[tuple[ObjectRef, Wire]] = [(about, {"dates": on_board})]
        if index == plan.route.main[0]:
            changes.append((THE_SHIPMENT, {"status": "departure_port"}))
        yield _container_event("loaded_on_board", on, LegEnd(index, "origin"), changes)
        ashore = {"actual_discharge_date": utc(midnight(leg.arrival, off))}
        yield _container_event("unloaded_off_board", off, LegEnd(index, "destination"), [(about, {"dates": ashore})])


def _container_event(name: str, moment: datetime, where: LegEnd, changes: list[tuple[ObjectRef, Wire]]) -> WorldEvent:
    kind, about = f"/ocean/shipment_container_leg#{name}", changes[0][0]
    return WorldEvent(moment, kind, about=about, where=where, changes=changes, lag=True)


def _movement(plan: Itinerary, index: int, shipment_id: int, item_number: int) -> Iterator[WorldEvent]:
    """One leg departs and arrives; the first and last main legs also set the shipment's own dates."""
    leg, about = plan.legs[index], ObjectRef(LEG, index)
    departed: Wire = {"actual_departure_date": local(leg.departure)}
    arrived: Wire = {"actual_arrival_date": local(leg.arrival)}
    shipment: Wire = {"status": leg.route_leg.status_on_departure}
    box: Wire = {}
    if index == 0 and plan.route.has_pickup:
        shipment["actual_picked_up_in_full_date"] = box["actual_pickup_date"] = local(leg.departure)
    if index == plan.route.main[0]:
        shipment |= {**departed, **_bills(plan, shipment_id)}
        box |= departed
    changes = [(about, departed), (THE_SHIPMENT, shipment), *((one, box) for one in containers(plan) if box)]
    yield WorldEvent(
        leg.departure, "/shipment_leg#departed", about=about, where=LegEnd(index, "origin"), changes=changes, lag=True
    )
    reached = leg.route_leg.status_on_arrival
    shipment = {} if reached == "final_destination" else {"status": reached}
    changes = [(about, arrived), (THE_SHIPMENT, shipment)]
    if index == plan.route.main[-1]:
        shipment |= arrived
        dates = {**arrived, **_free_days(plan)}
        for at, one in enumerate(containers(plan)):
            changes.append((one, {**dates, "items": _items(plan, item_number, at)}))
    yield WorldEvent(
        leg.arrival, "/shipment_leg#arrived", about=about, where=LegEnd(index, "destination"), changes=changes, lag=True
    )


def _bills(plan: Itinerary, shipment_id: int) -> Wire:
    """Bills are issued when the main carriage leaves. House bills look like recorded ones: FLXTFHKUS504720A."""
    cargo, route = plan.cargo, plan.route
    way = route.port_of_loading.country_code + route.port_of_unloading.country_code
    if route.mode == "ocean":
        stem = f"FLXT{'L' if route.kind == 'lcl' else 'F'}{way}{shipment_id}"
        house = ", ".join(f"{stem}{letter}" for letter in "AB"[: cargo.house_bills])
        return {"ocean_shipment": {"house_bill_number": house, "master_bill_number": cargo.master_bill}}
    if route.mode == "air":
        house = f"FLXTA{way}{shipment_id}A"
        return {"air_shipment": {"house_airway_bill": house, "master_airway_bill": cargo.master_bill}}
    return {}


def _free_days(plan: Itinerary) -> Wire:
    return {"last_free_day_date": utc(last_free_day(plan))} if plan.route.kind in FULL_CONTAINER_KINDS else {}


def _items(plan: Itinerary, number: int, box: int) -> list[Wire]:
    return [
        shipment_item(number + 10 * (box + 1) + at, line.product, units, line.purchase_order)
        for at, (line, units) in enumerate(plan.cargo.shares(box))
    ]


def _document_events(plan: Itinerary, number: int, rng: Random) -> Iterator[WorldEvent]:
    """Commercial invoices are digitised on the way: items, and the filters on them, are empty before."""
    sailing, landing = plan.first_main.departure, plan.last_main.arrival
    lines = plan.cargo.lines
    items = [shipment_item(number + at, line.product, line.units, line.purchase_order) for at, line in enumerate(lines)]
    digitised = between(sailing, landing, rng.uniform(0.1, 0.4))
    changes = ((THE_SHIPMENT, {"items": items}),)
    yield WorldEvent(digitised, "/shipments#commercial_invoices_digitized", changes=changes)
    if plan.route.kind in {"fcl", "lcl"} and rng.random() < 0.2:
        sent = between(sailing, landing, rng.uniform(0.5, 0.9))
        yield WorldEvent(sent, "/shipment#documents_sent_to_nominated_broker")
