"""A clock that follows a simulated world, and what is still measured by the machine's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.clock import Clock, SimulatedClock, parse, stamp
from flexportd.jobs.job import Every, Job
from flexportd.jobs.scheduler import Scheduler, next_time
from flexportd.storage.database import Database
from flexportd.tasks import Tasks

START = datetime(2026, 3, 4, 8, tzinfo=UTC)


class Machine(Clock):
    def __init__(self):
        self.at = START

    def now(self):
        return self.at


def test_the_clock_of_a_daemon_is_the_machines():
    clock = Clock()
    assert (clock.machine, clock.speed) == (clock, 1.0)
    assert timedelta() <= clock.after(60) - clock.now() <= timedelta(seconds=60)
    assert 59 < clock.until(clock.now() + timedelta(seconds=60)) <= 60


def test_a_simulated_clock_shows_the_world_and_goes_on_between_its_steps():
    machine = Machine()
    clock = SimulatedClock(machine, 1200)
    assert clock.now() == START
    clock.step(START + timedelta(hours=1))
    machine.at += timedelta(seconds=2)
    assert clock.now() == START + timedelta(hours=1, seconds=2)
    assert clock.after(3) == clock.now() + timedelta(hours=1)
    assert clock.until(clock.now() + timedelta(hours=2)) == 6
    assert clock.machine is machine


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-600, 600), st.integers(-10, 10)), max_size=20))
def test_a_simulated_clock_never_goes_back(moves):
    machine = Machine()
    clock = SimulatedClock(machine, 60)
    before = clock.now()
    for world, seconds in moves:
        clock.step(START + timedelta(seconds=world))
        assert clock.now() >= before
        before = clock.now()
        machine.at += timedelta(seconds=seconds)


def test_a_simulated_clock_is_not_slower_than_the_machine():
    with pytest.raises(ValueError, match=r"0\.5"):
        SimulatedClock(Clock(), 0.5)


async def test_by_a_fast_clock_a_job_is_due_as_often_as_the_machine_can_run_it(tmp_path):
    machine = Machine()
    clock = SimulatedClock(machine, 1200)
    runs = []

    async def run(_):
        runs.append(clock.now())
        return "done"

    tasks = Tasks()
    async with Database.open(tmp_path / "data") as db:
        scheduler = Scheduler(db, clock, tasks, spread=0.0)
        scheduler.add(Job(name="hourly", title="Hourly", run=run, schedule=Every(3600.0), limit=60.0))
        await scheduler.start()
        due = parse(scheduler.list_jobs()[0]["next_run_at"])
        assert due == parse(stamp(next_time(Every(5 * 3600.0), START)))
        machine.at += timedelta(minutes=1)
        clock.step(due - timedelta(minutes=1))
        scheduler.tick()
        assert not runs
        clock.step(due)
        scheduler.tick()
        await scheduler.wait_until_idle("hourly")
        assert [moment >= due for moment in runs] == [True]
        await scheduler.stop()
        await tasks.stop()
