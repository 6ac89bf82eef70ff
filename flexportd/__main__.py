"""The entry point: the `flexportd` command and `python -m flexportd`."""

import signal

# SIGHUP stays pending during the long imports: it neither ends nor interrupts the process. Every command but `serve`
# takes it back.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])

# Ctrl-C during the imports ends the process as it ends any program, without a traceback.
_is_taken = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _is_taken:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from flexportd.cli.main import main  # noqa: E402

if _is_taken:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]

if __name__ == "__main__":
    main()
