"""What a loop waits at: work to do, and not being paused or stopped."""

import asyncio
import contextlib


class Gate:
    """Opened by `wake`; stays shut while paused or closed."""

    def __init__(self) -> None:
        self._work = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self.closed = False

    def wake(self) -> None:
        """There may be work."""
        self._work.set()

    def set_paused(self, *, paused: bool) -> None:
        """Hold, or go on."""
        if paused:
            self._going.clear()
        else:
            self._going.set()
            self._work.set()

    def close(self) -> None:
        """Nothing more is taken."""
        self.closed = True
        self._going.set()
        self._work.set()

    async def passed(self, seconds: float | None) -> bool:
        """Wait for work, at most `seconds`, and until not paused; False when closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._work.wait()
        await self._going.wait()
        self._work.clear()
        return not self.closed
