"""SIGHUP that waits: it neither ends the process nor interrupts it until it can be handled.

A blocked signal stays pending, any number of them as one. Threads inherit the signal mask of the thread that starts
them, so it is blocked before there is a second thread.
"""

import signal

_HANGUP = (signal.SIGHUP,)


def defer() -> None:
    """Let SIGHUP wait until `deliver`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)


def deliver() -> None:
    """Handle what waits, and from now on each SIGHUP when it arrives."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANGUP)


def ignore() -> None:
    """Ignore SIGHUP until the process ends: the loop, its threads and the interpreter close, nothing can be reloaded.

    The interpreter resets handlers that are functions when it ends, and leaves this one.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
