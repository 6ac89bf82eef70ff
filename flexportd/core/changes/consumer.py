"""The loop of whoever follows the journal: the search index, the exceptions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError

log = structlog.get_logger(__name__)

MAX_YIELD = 2.0  # seconds of standing back before a follower goes between acknowledgements
_RETRY_DELAY = 2.0  # seconds; twice as many after each further failure
_MAX_RETRY_DELAY = 600.0

DATA_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What an object that is not as it should be makes a follower raise. It is left out, and the others are not."""

IdleWait = Callable[[], Awaitable[None]]
"""Waits, for so long and no longer, until what is more urgent is done."""


class Consumer(Protocol):
    """Keeps something up with what is written."""

    name: str
    debounce: float
    """Seconds after a wake in which more commits may come, to be read together."""
    error: str | None
    """Why it fails at present."""

    async def process(self) -> None:
        """Do what there is to do. Raises UnavailableError when the disk refuses."""

    def reset(self) -> None:
        """Go on from what is stored, not from what was meant to be."""

    def poll_interval(self) -> float:
        """Seconds until the next look when nobody wakes it."""


async def run_consumer(one: Consumer, wake: asyncio.Event, clock: Clock) -> None:
    """Until cancelled: catch up whenever it is woken, and after its pause. What fails is tried less and less often."""
    wait = _RETRY_DELAY
    while True:
        try:
            await one.process()
        except UnavailableError as error:
            one.error = str(error)  # the writer has logged that the disk refuses
            await clock.sleep(_RETRY_DELAY)
            continue
        except Exception as error:
            if one.error is None:
                log.exception("change_log_consumer_failed", consumer=one.name)
            one.error = f"{type(error).__name__}: {error}"
            one.reset()
            await clock.sleep(wait)
            wait = min(2 * wait, _MAX_RETRY_DELAY)
            continue
        one.error, wait = None, _RETRY_DELAY
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(one.poll_interval()):
                await wake.wait()
                await clock.sleep(one.debounce)
        wake.clear()
