"""The loop of whoever follows the journal: the search index, the exceptions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError

log = structlog.get_logger(__name__)

PATIENCE = 2.0  # seconds of standing back before a follower goes between acknowledgements
_AFTER_TROUBLE = 2.0  # seconds; twice as many after each further failure
_LONGEST = 600.0

UNFIT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What an object that is not as it should be makes a follower raise. It is left out, and the others are not."""

Calm = Callable[[], Awaitable[None]]
"""Waits, for so long and no longer, until what is more urgent is done."""


class Follower(Protocol):
    """Keeps something up with what is written."""

    name: str
    gather: float
    """Seconds after a wake in which more commits may come, to be read together."""
    trouble: str | None
    """Why it fails at present."""

    async def catch_up(self) -> None:
        """Do what there is to do. Raises UnavailableError when the disk refuses."""

    def forget(self) -> None:
        """Go on from what is stored, not from what was meant to be."""

    def pause(self) -> float:
        """Seconds until the next look when nobody wakes it."""


async def follow(one: Follower, wake: asyncio.Event, clock: Clock) -> None:
    """Until cancelled: catch up whenever it is woken, and after its pause. What fails is tried less and less often."""
    wait = _AFTER_TROUBLE
    while True:
        try:
            await one.catch_up()
        except UnavailableError as error:
            one.trouble = str(error)  # the writer has logged that the disk refuses
            await clock.sleep(_AFTER_TROUBLE)
            continue
        except Exception as error:
            if one.trouble is None:
                log.exception("change_log_consumer_failed", consumer=one.name)
            one.trouble = f"{type(error).__name__}: {error}"
            one.forget()
            await clock.sleep(wait)
            wait = min(2 * wait, _LONGEST)
            continue
        one.trouble, wait = None, _AFTER_TROUBLE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(one.pause()):
                await wake.wait()
                await clock.sleep(one.gather)
        wake.clear()
