"""What the C library's allocator is told. One that takes no such orders (musl's, macOS's) is left alone."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_MMAP_THRESHOLD = 64 << 10  # bytes from which an allocation has pages of its own
_TRIM_THRESHOLD = 16 << 20  # bytes that may be free at the end of the heap before they go back by themselves


def use_single_arena() -> None:
    """Let all threads allocate from one place; to be called before there are any.

    glibc gives each thread an arena of its own, where what one thread has freed is of no use to another: with ours
    that held 12 of 104 MiB after 10,000 webhooks. Python runs one thread at a time, so hardly any ever waits.

    Large blocks, such as bodies and answers, have pages of their own and go back when they are freed. By itself glibc
    would soon take them from the heap as well, and small blocks between them would keep it large.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
    _call("mallopt", _M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def trim() -> None:
    """Return to the system what is free: some 3 MiB after 10,000 webhooks, more after a large list. About 1 ms."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return
    function(*arguments)
