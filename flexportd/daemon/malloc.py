"""Settings of glibc's allocator. Other C libraries (musl, macOS) have none of these, and nothing happens there."""

import asyncio
import ctypes

from flexportd.clock import Clock
from flexportd.storage.writer import Writer

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_MMAP_THRESHOLD = 64 << 10  # bytes from which an allocation has pages of its own
_TRIM_THRESHOLD = 16 << 20  # free bytes at the end of the heap above which glibc returns them

_TRIM_INTERVAL = 1.0  # seconds between checks
_IDLE_SECONDS = 0.5  # seconds without writes after which memory is returned


def use_single_arena() -> None:
    """Make all threads share one arena; to be called before any is started.

    glibc gives each thread an arena of its own, and memory freed in one is not available to another: that held 12 of
    104 MiB after 10,000 webhooks. Python runs one thread at a time, so threads hardly ever wait for the arena.

    Large blocks, such as bodies and responses, have pages of their own and are returned when they are freed. Otherwise
    glibc would soon allocate them on the heap as well, and small blocks between them would keep it large.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
    _call("mallopt", _M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def trim() -> None:
    """Return free memory to the system: some 3 MiB after 10,000 webhooks, more after a large list. About 1 ms."""
    _call("malloc_trim", 0)


async def trim_when_idle(writer: Writer, clock: Clock) -> None:
    """Return the memory of a burst or a large list once it is over, until cancelled."""
    while True:
        await clock.sleep(_TRIM_INTERVAL)
        if writer.idle(_IDLE_SECONDS):
            await asyncio.to_thread(trim)  # other threads that allocate wait for it


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return
    function(*arguments)
