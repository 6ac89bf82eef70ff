"""In a world of some size a container stands at the terminal beyond its free time at any time."""

from datetime import UTC, datetime, timedelta

import pytest

from flexportd.sandbox.scripts.shipment_plan import last_free_day
from flexportd.sandbox.world.world import World, WorldPlan

START = datetime(2026, 3, 4, 8, tzinfo=UTC)


def _standing(world):
    plans = [journey.plan for journey in world._journeys.values()]
    able = [plan for plan in plans if plan.route.kind == "fcl" and plan.route.main[-1] + 1 < len(plan.legs)]
    return [
        plan
        for plan in able
        if last_free_day(plan) + timedelta(days=1) <= world.now < plan.legs[plan.route.main[-1] + 1].departure
    ]


@pytest.mark.parametrize("seed", [7, 1])
def test_a_container_stands_beyond_its_free_time_on_each_of_sixty_days(seed):
    world = World(WorldPlan(START, seed, 40))
    world.advance(START + timedelta(days=3))
    for day in range(4, 60):
        world.advance(START + timedelta(days=day))
        assert 1 <= len(_standing(world)) <= 8, day


def test_whoever_stays_is_available_before_its_free_time_ends():
    world = World(WorldPlan(START, 7, 40))
    boxes = world.tables["/ocean/shipment_container"].values()
    told = [box for box in boxes if box["last_free_day_date"] and box["available_for_pickup_date"]]
    assert told
    assert all(box["available_for_pickup_date"][:10] <= box["last_free_day_date"][:10] for box in told)
