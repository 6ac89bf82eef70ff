"""The owner of every background task: named, watched, and ended in order."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """Starts loops and notices when one dies. A vital loop that ends sets `failed`, which `serve` waits for."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self.dead: dict[str, BaseException | None] = {}
        self._running: dict[asyncio.Task[Any], bool] = {}
        self._stopping = False

    def start(self, name: str, loop: Callable[[], Coroutine[Any, Any, Any]], *, vital: bool = True) -> None:
        """Run `loop()` until it ends or `stop` cancels it."""
        if self._stopping:
            raise RuntimeError(f"{name}: nothing starts while stopping")
        task = asyncio.create_task(loop(), name=name)  # noqa: TID251 (this is the owner)
        self._running[task] = vital
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        vital = self._running.pop(task)
        if task.cancelled() or self._stopping:
            return
        error = task.exception()
        if error is None and not vital:
            return
        # A vital loop that returns early is a death too.
        self.dead[task.get_name()] = error
        log.error("task_failed", task=task.get_name(), vital=vital, exc_info=error)
        if vital:
            self.failed.set()

    def failures(self) -> dict[str, str]:
        """Why each loop died that did."""
        return {name: str(error) or type(error).__name__ for name, error in self.dead.items()}

    def wind_down(self) -> None:
        """From now on nothing starts, and a loop that ends does as it should."""
        self._stopping = True

    async def stop(self, grace: float = 5.0) -> None:
        """Cancel what still runs and wait for it; safe before any start and twice."""
        self.wind_down()
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event of the running loop that Ctrl-C or SIGTERM sets, instead of raising KeyboardInterrupt."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
