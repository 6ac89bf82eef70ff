"""Buttons that were just pressed: a double click sends a form twice, and it is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from aiohttp import hdrs, web

from flexportd.errors import UnavailableError

DOUBLE_CLICK = 1.0  # seconds after a press within which the same press is taken for its double


class DoubleSubmitGuard:
    """What is being done, and what was done a moment ago. Each entry goes after DOUBLE_CLICK."""

    def __init__(self) -> None:
        self._recent: dict[Hashable, asyncio.Future[Exception | None]] = {}

    async def once(self, request: web.Request, work: Callable[[], Awaitable[object]], *about: Hashable) -> None:
        """Do `work`, unless the same button, about the same, was pressed just now: then wait until that is done.

        Raises what `work` raises. Only browsers are meant, which say the origin of a form: a program that sends two
        requests wants two.
        """
        if hdrs.ORIGIN not in request.headers:
            await work()
            return
        key, loop = (request.path, about), asyncio.get_running_loop()
        known = self._recent.get(key)
        if known is not None:
            error = await asyncio.shield(known)
            if error is not None:
                raise error
            return
        done = self._recent[key] = loop.create_future()
        try:
            await work()
        except BaseException as error:
            failed = UnavailableError("An identical request, sent just before, was interrupted. Try again.")
            done.set_result(error if isinstance(error, Exception) else failed)
            del self._recent[key]
            raise
        done.set_result(None)
        loop.call_later(DOUBLE_CLICK, self._recent.pop, key, None)


SUBMIT_GUARD: web.AppKey[DoubleSubmitGuard] = web.AppKey("presses", DoubleSubmitGuard)
