"""The story of one shipment from booking to the empty container, as milestones in the usual order.

Source of the order: the milestones page, https://apidocs.flexport.com/v2/tag/Milestones. Pure: a plan in, a list of
happenings out; every event type used here is in the published catalogue.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from flexportd.sandbox.catalog.products import shipment_item
from flexportd.sandbox.catalog.vehicles import Vehicle
from flexportd.sandbox.catalog.wire_objects import CONTAINER_LEG, LEG, Wire, day, local, utc
from flexportd.sandbox.scripts.arrival_script import after_arrival
from flexportd.sandbox.scripts.shipment_plan import Itinerary, Slip
from flexportd.sandbox.scripts.world_events import (
    FULL,
    LOADED,
    THE_SHIPMENT,
    End,
    Happening,
    Subject,
    abandoned_leg,
    between,
    box_legs,
    container_leg,
    containers,
    discharged,
    in_order,
    last_free_day,
    loaded,
    midnight,
)

Times = list[tuple[datetime, datetime]]
ETD, ETA = "/shipment_leg#updated_estimated_time_of_departure", "/shipment_leg#updated_estimated_time_of_arrival"


def tell(plan: Itinerary, numbers: tuple[int, int], rng: Random) -> list[Happening]:
    """Everything that is recorded of this shipment, in the order in which it is recorded.

    `numbers` are its own id and the id of its first item.
    """
    shipment_id, item_number = numbers
    confirmed = plan.answered
    entries = [*_booking(plan, confirmed, rng), *_reroute(plan, confirmed, rng), *_slips(plan, confirmed)]
    for index in range(len(plan.legs)):
        entries += _loading(plan, index)
        entries += _movement(plan, index, (shipment_id, item_number))
    entries += _papers(plan, item_number, rng)
    entries += after_arrival(plan, rng)
    return in_order(entries, rng)


def _on_vessel(plan: Itinerary, index: int, vehicle: Vehicle) -> Wire:
    """The carrier and the vessel of a leg by sea, which are not known before the schedule is."""
    if plan.legs[index].stretch.mode != "ocean":
        return {}
    return {"carrier_name": vehicle.carrier, "ocean_leg": dict(vehicle.fields)}


def _leg_dates(times: tuple[datetime, datetime]) -> Wire:
    return {"estimated_departure_date": local(times[0]), "estimated_arrival_date": local(times[1])}


def _shipment_dates(plan: Itinerary, times: Times) -> Wire:
    """The shipment's forecasts follow its main voyage and its two ends."""
    main = plan.route.main
    return {
        "estimated_departure_date": local(times[main[0]][0]),
        "estimated_arrival_date": local(times[main[-1]][1]),
        "estimated_picked_up_in_full_date": local(times[0][0]) if plan.route.has_pickup else None,
        "estimated_delivered_in_full_date": local(times[-1][1]) if plan.route.has_delivery else None,
    }


def _container_dates(plan: Itinerary, times: Times) -> list[tuple[Subject, Wire]]:
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


def _booking(plan: Itinerary, confirmed: datetime, rng: Random) -> Iterator[Happening]:
    """Created, scheduled, and one ETD for each leg: from here on a listener knows the whole route."""
    times, abandoned = _planned(plan), abandoned_leg(plan)
    legs = [Subject(LEG, index) for index in range(len(plan.legs))]
    if abandoned is not None:
        legs[-1] = abandoned
    late = {
        index for index, pair in enumerate(box_legs(plan)) if abandoned is not None and pair[1] == len(plan.legs) - 1
    }
    boxes = [Subject(CONTAINER_LEG, index) for index in range(len(box_legs(plan))) if index not in late]
    papers: Wire = {"ocean_shipment": {"carrier_booking_number": plan.cargo.booking_number}}
    schedule = _shipment_dates(plan, times) | (papers if plan.route.mode == "ocean" else {})
    yield Happening(occurred=plan.booked, type="/shipment#created", creates=(THE_SHIPMENT, *legs))
    if plan.route.kind == "air":
        yield Happening(occurred=confirmed - timedelta(minutes=20), type="/shipment#booking_confirmed")
    yield Happening(
        occurred=confirmed,
        type="/shipment#schedule_confirmed",
        changes=((THE_SHIPMENT, schedule),),
        creates=(*containers(plan), *boxes),
    )
    for index, leg in enumerate(legs):
        dates = _leg_dates(times[index])
        if leg != abandoned:
            dates |= _on_vessel(plan, index, plan.legs[index].booked_vehicle)
        changes = [(leg, dates)] + (_container_dates(plan, times) if index == 0 else [])
        moment = confirmed + timedelta(minutes=2 + index)
        yield Happening(occurred=moment, type=ETD, about=leg, where=End(leg.position, "origin"), changes=tuple(changes))
    if rng.random() < 0.15:
        ready = day(plan.legs[0].planned_departure.date())
        moment = confirmed + timedelta(hours=rng.randint(4, 11))
        change = ((THE_SHIPMENT, {"cargo_ready_date": ready}),)
        yield Happening(occurred=moment, type="/shipment#cargo_ready_date_changed", changes=change)


def _reroute(plan: Itinerary, confirmed: datetime, rng: Random) -> Iterator[Happening]:
    """A new last leg takes the place of the first one, which is deleted: no event tells of a deletion."""
    abandoned = abandoned_leg(plan)
    if abandoned is None:
        return
    moment = confirmed + timedelta(minutes=rng.randint(60, 240))
    leg = Subject(LEG, len(plan.legs) - 1)
    boxes = [container_leg(plan, box, at) for box, at in box_legs(plan) if at == leg.position]
    changes = ((abandoned, {"deleted_at": utc(moment)}),)
    yield Happening(occurred=moment, type="/shipment#updated_route", changes=changes, creates=(leg, *boxes))
    dates = ((leg, _leg_dates(_planned(plan)[-1])),)
    later = moment + timedelta(minutes=1)
    yield Happening(occurred=later, type=ETD, about=leg, where=End(leg.position, "origin"), changes=dates)


def _slips(plan: Itinerary, confirmed: datetime) -> Iterator[Happening]:
    """Each change of schedule: its reason if one is given, then every leg it moves."""
    times = _planned(plan)
    earliest = confirmed + timedelta(hours=12)
    for slip in sorted(plan.slips, key=lambda one: one.known):
        moment = max(slip.known, earliest)
        earliest = moment + timedelta(minutes=30)
        if slip.reason is not None:
            yield Happening(occurred=moment, type=slip.reason)
        yield from _moved(plan, slip, moment, times)


def _moved(plan: Itinerary, slip: Slip, moment: datetime, times: Times) -> Iterator[Happening]:
    move = timedelta(days=slip.days)
    for index in range(slip.leg, slip.last + 1):
        departs = index > slip.leg or slip.at_departure
        departure = times[index][0] + move if departs else times[index][0]
        times[index] = departure, times[index][1] + move
        if plan.legs[index].stretch.flight is not None:
            # A flight takes as long on the day when the clocks change.
            leg = plan.legs[index]
            lasts = leg.planned_arrival.astimezone(UTC) - leg.planned_departure.astimezone(UTC)
            times[index] = departure, (departure.astimezone(UTC) + lasts).astimezone(leg.planned_arrival.tzinfo)
    for index in range(slip.leg, slip.last + 1):
        departs = index > slip.leg or slip.at_departure
        changes = [(Subject(LEG, index), _leg_dates(times[index]))]
        if index == slip.leg:
            if slip.rolled:
                changes.append((Subject(LEG, index), _on_vessel(plan, index, plan.legs[index].vehicle)))
            changes += [(THE_SHIPMENT, _shipment_dates(plan, times)), *_container_dates(plan, times)]
        yield Happening(
            occurred=moment + timedelta(minutes=1 + index - slip.leg),
            type=ETD if departs else ETA,
            about=Subject(LEG, index),
            where=End(index, "origin" if departs else "destination"),
            changes=tuple(changes),
        )


def _loading(plan: Itinerary, index: int) -> Iterator[Happening]:
    """Containers go on board a vessel or a train, and come off: on days, which are the place's midnight in UTC."""
    leg = plan.legs[index]
    if leg.stretch.mode not in LOADED:
        return
    for box, at in box_legs(plan):
        if at != index:
            continue
        about = container_leg(plan, box, index)
        on, off = loaded(plan, box, index), discharged(plan, box, index)
        on_board = {"actual_loaded_on_board_date": utc(midnight(leg.departure, on))}
        changes: list[tuple[Subject, Wire]] = [(about, {"dates": on_board})]
        if index == plan.route.main[0]:
            changes.append((THE_SHIPMENT, {"status": "departure_port"}))
        yield _boxed("loaded_on_board", on, End(index, "origin"), changes)
        ashore = {"actual_discharge_date": utc(midnight(leg.arrival, off))}
        yield _boxed("unloaded_off_board", off, End(index, "destination"), [(about, {"dates": ashore})])


def _boxed(name: str, moment: datetime, where: End, changes: list[tuple[Subject, Wire]]) -> Happening:
    """About the container leg that changes first."""
    kind, about = f"/ocean/shipment_container_leg#{name}", changes[0][0]
    return Happening(occurred=moment, type=kind, about=about, where=where, changes=tuple(changes), lag=True)


def _movement(plan: Itinerary, index: int, numbers: tuple[int, int]) -> Iterator[Happening]:
    """One leg departs and arrives; the first and last main legs carry the shipment's own dates with them."""
    leg, about = plan.legs[index], Subject(LEG, index)
    departed: Wire = {"actual_departure_date": local(leg.departure)}
    arrived: Wire = {"actual_arrival_date": local(leg.arrival)}
    shipment: Wire = {"status": leg.stretch.leaving}
    box: Wire = {}
    if index == 0 and plan.route.has_pickup:
        shipment["actual_picked_up_in_full_date"] = box["actual_pickup_date"] = local(leg.departure)
    if index == plan.route.main[0]:
        shipment |= {**departed, **_bills(plan, numbers[0])}
        box |= departed
    changes = [(about, departed), (THE_SHIPMENT, shipment), *((one, box) for one in containers(plan) if box)]
    yield Happening(
        occurred=leg.departure,
        type="/shipment_leg#departed",
        about=about,
        where=End(index, "origin"),
        changes=tuple(changes),
        lag=True,
    )
    reached = leg.stretch.reached
    shipment = {} if reached == "final_destination" else {"status": reached}
    changes = [(about, arrived), (THE_SHIPMENT, shipment)]
    if index == plan.route.main[-1]:
        shipment |= arrived
        dates = {**arrived, **_free_days(plan)}
        for at, one in enumerate(containers(plan)):
            changes.append((one, {**dates, "items": _items(plan, numbers[1], at)}))
    yield Happening(
        occurred=leg.arrival,
        type="/shipment_leg#arrived",
        about=about,
        where=End(index, "destination"),
        changes=tuple(changes),
        lag=True,
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
    return {"last_free_day_date": utc(last_free_day(plan))} if plan.route.kind in FULL else {}


def _items(plan: Itinerary, number: int, box: int) -> list[Wire]:
    """The lines of one container."""
    return [
        shipment_item(number + 10 * (box + 1) + at, line.good, units, line.purchase_order)
        for at, (line, units) in enumerate(plan.cargo.shares(box))
    ]


def _papers(plan: Itinerary, number: int, rng: Random) -> Iterator[Happening]:
    """Commercial invoices are digitised on the way: only then do items, and the filters on them, fill."""
    sailing, landing = plan.first_main.departure, plan.last_main.arrival
    lines = plan.cargo.lines
    items = [shipment_item(number + at, line.good, line.units, line.purchase_order) for at, line in enumerate(lines)]
    digitised = between(sailing, landing, rng.uniform(0.1, 0.4))
    changes = ((THE_SHIPMENT, {"items": items}),)
    yield Happening(occurred=digitised, type="/shipments#commercial_invoices_digitized", changes=changes)
    if plan.route.kind in {"fcl", "lcl"} and rng.random() < 0.2:
        sent = between(sailing, landing, rng.uniform(0.5, 0.9))
        yield Happening(occurred=sent, type="/shipment#documents_sent_to_nominated_broker")
