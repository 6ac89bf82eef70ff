"""The limit of open files: raised as far as the system lets us, since each connection needs one."""

import contextlib
import resource

LOW = 4096  # below this the daemon works, and operators are warned: a flood of connections soon fills it


def raise_limit() -> tuple[int, int, int]:
    """Raise the soft limit of this process to the hard one: before, now, and the hard one."""
    before, hard = current()
    if before < hard:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return before, current()[0], hard


def current() -> tuple[int, int]:
    """The soft and the hard limit."""
    soft, hard = (
        limit if limit != resource.RLIM_INFINITY else 1 << 30 for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard
