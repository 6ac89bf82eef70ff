"""The loop of those who follow the journal, whatever they do."""

import asyncio

import pytest

from flexportd.clock import Clock
from flexportd.core.changes.consumer import run_consumer
from flexportd.daemon.consumers import RequestLoad
from flexportd.errors import UnavailableError


class CountingClock(Clock):
    """Counts what was slept."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Scripted:
    """Fails as it is told, once for each word; then it is over."""

    name, debounce = "scripted", 0.1

    def __init__(self, *script):
        self.script = list(script)
        self.error = None
        self.wake = asyncio.Event()
        self.seen, self.forgot = [], 0

    async def process(self):
        self.seen.append(self.error)
        if not self.script:
            raise asyncio.CancelledError
        error = self.script.pop(0)
        if error is not None:
            raise error

    def reset(self):
        self.forgot += 1

    def poll_interval(self):
        return 0


async def following(*script):
    one, clock = Scripted(*script), CountingClock()
    one.wake.set()  # commits go on
    with pytest.raises(asyncio.CancelledError):
        await run_consumer(one, clock)
    return one, clock.slept


async def test_what_fails_is_tried_less_and_less_often():
    one, slept = await following(*[ValueError("of no single object")] * 11)
    assert slept == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert one.error == "ValueError: of no single object"
    assert one.forgot == 11


async def test_what_works_again_is_no_trouble_and_fails_afresh():
    one, slept = await following(ValueError("a"), ValueError("b"), None, ValueError("c"))
    assert one.seen == [None, "ValueError: a", "ValueError: b", None, "ValueError: c"]
    assert [seconds for seconds in slept if seconds >= 1] == [2, 4, 2]


async def test_a_disk_that_refuses_is_asked_again_at_the_same_pace_and_nothing_is_forgotten():
    one, slept = await following(*[UnavailableError("the disk is full")] * 4)
    assert slept == [2, 2, 2, 2]
    assert (one.error, one.forgot) == ("the disk is full", 0)


def test_a_step_waits_while_many_requests_are_served_and_no_longer():
    now, count = 0.0, 0
    load = RequestLoad(lambda: count, lambda: now)
    assert not load.is_high()
    now, count = 1.0, 99
    assert not load.is_high()
    now, count = 1.1, 120
    assert load.is_high()
    now = 1.11  # too soon for another measure
    assert load.is_high()
    now = 2.1
    assert not load.is_high()
