"""What a loop waits at: work to do, and not being paused or stopped."""

import asyncio
import contextlib


class PauseGate:
    """Opened by `wake`; stays shut while paused or closed."""

    def __init__(self) -> None:
        self._work = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self.closed = False

    def wake(self) -> None:
        """There may be work."""
        self._work.set()

    def set_paused(self, *, paused: bool) -> None:
        """Hold, or go on."""
        if paused:
            self._running.clear()
        else:
            self._running.set()
            self._work.set()

    def close(self) -> None:
        """Nothing more is taken."""
        self.closed = True
        self._running.set()
        self._work.set()

    async def wait(self, seconds: float | None) -> bool:
        """Wait for work, at most `seconds`, and until not paused; False when closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._work.wait()
        await self._running.wait()
        self._work.clear()
        return not self.closed
