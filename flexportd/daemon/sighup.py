"""Defers SIGHUP: until it can be handled, it neither ends nor interrupts the process.

A blocked signal stays pending; several count as one. Threads inherit the signal mask of the thread that starts them, so
it is blocked before there is a second thread.
"""

import signal

_HANGUP = (signal.SIGHUP,)


def defer() -> None:
    """Block SIGHUP until `deliver`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)


def deliver() -> None:
    """Handle a pending SIGHUP, and from now on each one when it arrives."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANGUP)


def ignore() -> None:
    """Ignore SIGHUP until the process ends: nothing can be reloaded any more.

    The interpreter resets handlers that are functions when it ends, but leaves this one.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
