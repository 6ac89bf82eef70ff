"""The exit codes of every command."""

from enum import IntEnum

from flexportd import errors


class Exit(IntEnum):
    """Exit codes for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 4


MEANINGS = {
    Exit.DONE: "success",
    Exit.FAILED: "failure; standard error gives the reason",
    Exit.USAGE: "invalid usage or configuration",
    Exit.NOT_RUNNING: "the daemon is not running",
    Exit.NOT_FOUND: "not found",
}

INTERRUPTED = 130  # Ctrl-C, as shells count it; `serve`, `demo` and `sandbox` end with DONE instead

_CODES: dict[type[BaseException], Exit] = {
    errors.ConfigError: Exit.USAGE,
    errors.InvalidError: Exit.USAGE,
    errors.NotFoundError: Exit.NOT_FOUND,
    errors.NotRunningError: Exit.NOT_RUNNING,
}


def exit_of(error: BaseException) -> Exit:
    """The exit code of an error."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), Exit.FAILED)
