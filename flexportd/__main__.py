"""The entry point: the `flexportd` command and `python -m flexportd`."""

import signal

from flexportd.daemon import sighup

sighup.defer()  # before the long imports; every command but `serve` takes it back

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
