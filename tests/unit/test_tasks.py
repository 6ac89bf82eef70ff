"""The owner of background tasks notices every death, and only deaths."""

import asyncio

import pytest

from flexportd.tasks import Tasks


async def fails():
    raise ValueError("broken")


async def ends():
    return


async def waits():
    await asyncio.Event().wait()


@pytest.mark.parametrize("loop", [fails, ends])
async def test_a_vital_loop_that_ends_brings_everything_down(loop):
    tasks = Tasks()
    tasks.start("loop", loop)
    async with asyncio.timeout(5):
        await tasks.failed.wait()
    assert "loop" in tasks.dead
    await tasks.stop()


async def test_another_that_fails_is_shown_and_one_that_ends_is_done():
    tasks = Tasks()
    tasks.start("fails", fails, vital=False)
    tasks.start("ends", ends, vital=False)
    async with asyncio.timeout(5):
        while "fails" not in tasks.dead:
            await asyncio.sleep(0)
    assert not tasks.failed.is_set()
    assert "ends" not in tasks.dead
    await tasks.stop()


async def test_an_end_while_winding_down_is_no_death():
    tasks = Tasks()
    gate = asyncio.Event()
    tasks.start("loop", gate.wait)
    tasks.wind_down()
    gate.set()
    await tasks.stop()
    assert tasks.dead == {}
    assert not tasks.failed.is_set()


async def test_stop_is_safe_before_any_start_and_twice_and_refuses_what_comes_late():
    tasks = Tasks()
    await tasks.stop()
    await tasks.stop()
    with pytest.raises(RuntimeError, match="nothing starts"):
        tasks.start("late", waits)


async def test_stop_ends_what_runs():
    tasks = Tasks()
    tasks.start("waits", waits)
    await asyncio.sleep(0)
    await tasks.stop()
    assert tasks.dead == {}
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "waits"] == []
