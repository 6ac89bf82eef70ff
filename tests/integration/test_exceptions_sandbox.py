"""Exceptions against what truly happens in the sandbox: none that a forwarder would call false, none missing.

What is checked is taken from the plan of each shipment, which no object of Flexport's shows: when each leg truly runs,
and until when a free container may stay. Flexport reports up to `LAG` later.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from flexportd.core.exceptions.model import ExceptionRules
from flexportd.core.exceptions.worker import evaluate_shipment
from flexportd.flexport.milestones import milestone
from flexportd.sandbox import World, WorldPlan
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, INVOICE, LEG
from flexportd.sandbox.scripts.shipment_plan import last_free_day
from tests.cases import case_of, mirrored

START = datetime(2026, 3, 4, 8, tzinfo=UTC)
LAG = timedelta(hours=62)
LOCAL = {"late_departure": "origin", "late_arrival": "destination", "late_delivery": "destination"}


class Reader:
    """Reads each object once: the world replaces its objects, and never changes one."""

    def __init__(self):
        self._known = {}

    def __call__(self, wire):
        if id(wire) not in self._known:
            self._known[id(wire)] = wire, mirrored(wire)
        return self._known[id(wire)][1]


def judged(journey, now, read):
    objects = [wire for wire in journey.objects.values() if not wire.get("deleted_at")]
    kinds = ([one for one in objects if one["_object"] == kind] for kind in (LEG, CONTAINER, CONTAINER_LEG))
    events = [
        {
            "id": str(number), "type": happening.type, "occurred_at": happening.occurred.isoformat(),
            "created_at": happening.at.isoformat(), "resource": happening.about.kind,
            "resource_id": str(journey.objects[happening.about]["id"]),
        }
        for happening, number in journey.log
        if number and happening.about.kind != INVOICE
    ]  # fmt: skip
    return evaluate_shipment(case_of(journey.shipment, *kinds, events, read), ExceptionRules(), now).findings


def is_trouble(name):
    known = milestone(name)
    return known is not None and known.group == "problems"


class Truth:
    """What is so of a shipment at a time."""

    def __init__(self, journey, now):
        self.journey, self.plan, self.now = journey, journey.plan, now
        self.legs = [one for subject, one in sorted(journey.objects.items()) if subject.kind == LEG]

    def is_past(self, moment):
        return moment + LAG < self.now

    def is_over(self, day, moment):
        """Whether a day is over at the place of a moment of the plan."""
        return date.fromisoformat(day) < self.now.astimezone(moment.tzinfo).date()

    @property
    def onward(self):
        """The leg behind the terminal."""
        return next(iter(self.plan.legs[self.plan.route.main[-1] + 1 :]), None)

    @property
    def arrives(self):
        return self.plan.legs[self.plan.route.main[-1]].arrival

    @property
    def departs(self):
        return self.plan.legs[self.plan.route.main[0]].departure

    @property
    def leaves(self):
        return self.onward.departure if self.onward else self.arrives + timedelta(days=4)

    def end(self, kind, place):
        """When the leg that ends (or begins) at a place truly runs there."""
        side = LOCAL[kind]
        found = [leg for leg in self.plan.legs if getattr(leg.route_leg, side).place.name == place]
        return getattr(found[-1], "arrival" if side == "destination" else "departure")

    def late(self):
        """What is late: the day that was last estimated is over, and it has not happened."""
        main, last = self.plan.route.main[0], self.plan.route.main[-1]
        departs, arrives = self.departs, self.arrives
        told = self.legs[main]["estimated_departure_date"], self.legs[last]["estimated_arrival_date"]
        if departs > self.now and any(
            name.endswith("loaded_on_board") for name in self.journey.event_types_until(self.now)
        ):
            return []  # shipped on board counts as departed
        if departs > self.now:
            return ["late_departure"] if told[0] and self.is_over(told[0][:10], departs) else []
        is_late = arrives > self.now and self.is_past(departs) and told[1] and self.is_over(told[1][:10], arrives)
        return ["late_arrival"] if is_late else []

    def is_true(self, found):
        told = found.evidence
        if found.kind in LOCAL:
            real = self.end(found.kind, told["place"])
            day = told.get("estimated_departure") or told.get("estimated_arrival") or told.get("estimated_delivery")
            return not self.is_past(real) and self.is_over(day, real)
        if found.kind == "late_pickup":
            return not self.is_past(self.plan.legs[0].departure)
        if found.kind.startswith("free_time"):
            if self.onward is not None and self.onward.route_leg.mode == "rail":
                return True  # it is not at its terminal yet
            last = last_free_day(self.plan)
            days = (last.date() - self.now.astimezone(last.tzinfo).date()).days
            in_time = days < 0 if found.kind == "free_time_expired" else 0 <= days <= ExceptionRules().free_time_days
            waits = self.arrives <= self.now and not self.is_past(self.leaves + timedelta(days=1))
            return in_time and waits and told["last_free_day"] == last.date().isoformat()
        types = self.journey.event_types_until(self.now)
        if found.kind == "customs_hold":
            return not any(name.endswith("released") for name in types)
        if found.kind == "silent":
            newest = max(one.at for one, number in self.journey.log if number and one.about.kind != INVOICE)
            return newest + timedelta(days=7) <= self.now and not self.is_past(self.arrives)
        if found.kind == "flexport_reported":
            troubles = [one.occurred for one, _ in self.journey.log if is_trouble(one.type)]
            moves = [at for leg in self.plan.legs for at in (leg.departure, leg.arrival) if self.is_past(at)]
            return bool(troubles) and max(moves, default=START - timedelta(days=999)) <= max(troubles) + timedelta(
                days=1
            )
        return False


def test_no_exception_is_one_that_a_forwarder_would_call_false_and_none_is_missing():
    world, read, count = World(WorldPlan(start=START, seed=11, shipments=400)), Reader(), Counter()
    for days in (0, 9, 19, 33):
        now = START + timedelta(days=days)
        world.advance(now)
        journeys = [world.journey(number) for number in world.tables["/shipment"]]
        false, missing = [], []
        for journey in journeys:
            truth, findings = Truth(journey, now), judged(journey, now, read)
            kinds = {found.kind for found in findings}
            count.update(kinds)
            false += [(journey.id, journey.plan.route.kind, found) for found in findings if not truth.is_true(found)]
            missing += [(journey.id, journey.plan.route.kind, kind) for kind in truth.late() if kind not in kinds]
        assert (false, missing) == ([], []), now
    assert len(journeys) >= 400
    assert {"late_departure", "late_arrival", "free_time_expiring", "free_time_expired", "silent"} <= count.keys()
