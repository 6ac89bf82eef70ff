"""The limit of open files: raised as far as the system lets us, since each connection needs one."""

import resource
from dataclasses import dataclass

LOW = 4096
"""Below this the daemon works, and operators are warned: a flood of connections soon fills it."""


@dataclass(frozen=True, slots=True)
class FileLimit:
    """How many files may be open; `before` is what it was before it was raised."""

    soft: int
    hard: int
    before: int


def raise_limit() -> FileLimit:
    """Raise the soft limit of this process to the hard one."""
    before, hard = current()
    if before < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # some systems allow less than they say
            return FileLimit(before, hard, before)
    return FileLimit(current()[0], hard, before)


def current() -> tuple[int, int]:
    """The soft and the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _finite(soft), _finite(hard)


def _finite(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else 1 << 30
