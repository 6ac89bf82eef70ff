"""Two equal presses of a button are one."""

import asyncio

import pytest
from aiohttp.test_utils import make_mocked_request

from flexportd.errors import NotFoundError
from flexportd.expose.dashboard import page
from flexportd.expose.dashboard.page import DoubleSubmitGuard

FROM_A_PAGE = {"Origin": "http://localhost"}


class Work:
    """Counts how often it was done; fails with `error`."""

    def __init__(self, error=None):
        self.count = 0
        self.error = error
        self.go_on = asyncio.Event()

    async def __call__(self):
        self.count += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


async def pressed(work, *presses_, headers=FROM_A_PAGE):
    """Press each (path, about) at the same time; what came of each."""
    buttons = DoubleSubmitGuard()
    tasks = [
        asyncio.ensure_future(buttons.once(make_mocked_request("POST", path, headers), work, about))
        for path, about in presses_
    ]
    await asyncio.sleep(0)
    work.go_on.set()
    return buttons, await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_double_click_is_done_once_and_both_are_answered_alike():
    work = Work()
    _, answers = await pressed(work, ("/sync/run", None), ("/sync/run", None))
    assert (work.count, answers) == (1, [None, None])
    work = Work(NotFoundError("there is none"))
    _, answers = await pressed(work, ("/sync/run", None), ("/sync/run", None))
    assert work.count == 1
    assert answers == [work.error, work.error]


@pytest.mark.parametrize("second", [("/sync/accept", "legs"), ("/sync/accept", "ports"), ("/sync/run", None)])
async def test_other_presses_are_done_each(second):
    work = Work()
    await pressed(work, ("/sync/accept", "shipments"), second)
    assert work.count == 2


async def test_a_program_that_asks_twice_gets_it_twice():
    work = Work()
    await pressed(work, ("/sync/run", None), ("/sync/run", None), headers={})
    assert work.count == 2


async def test_the_same_button_works_again_after_a_moment_and_after_an_error(monkeypatch):
    monkeypatch.setattr(page, "DOUBLE_CLICK", 0.0)
    work = Work()
    buttons, _ = await pressed(work, ("/sync/run", None))
    await asyncio.sleep(0.001)
    await buttons.once(make_mocked_request("POST", "/sync/run", FROM_A_PAGE), work, None)
    assert work.count == 2
    failing = Work(NotFoundError("there is none"))
    buttons, _ = await pressed(failing, ("/sync/run", None))
    with pytest.raises(NotFoundError):
        await buttons.once(make_mocked_request("POST", "/sync/run", FROM_A_PAGE), failing, None)
    assert failing.count == 2


async def test_the_second_press_learns_that_the_first_was_broken_off():
    work, buttons = Work(), DoubleSubmitGuard()
    request = make_mocked_request("POST", "/sync/run", FROM_A_PAGE)
    first, second = (asyncio.ensure_future(buttons.once(request, work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    found = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert "interrupted" in str(found[1])
