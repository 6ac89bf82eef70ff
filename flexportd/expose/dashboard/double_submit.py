"""Protection against double clicks: a form that is sent twice takes effect once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from aiohttp import hdrs, web

from flexportd.errors import UnavailableError

DOUBLE_CLICK = 1.0  # seconds within which the same form counts as a double click


class DoubleSubmitGuard:
    """The forms in progress and the latest results. A result is forgotten after DOUBLE_CLICK."""

    def __init__(self) -> None:
        self._recent: dict[Hashable, asyncio.Future[Exception | None]] = {}

    async def once(self, request: web.Request, work: Callable[[], Awaitable[object]], *about: Hashable) -> None:
        """Run `work`, unless the same form with the same `about` was sent just before: then wait for its result.

        Raises what `work` raises. It applies only to browsers, which send an Origin with forms: a program that sends
        two requests wants both.
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
