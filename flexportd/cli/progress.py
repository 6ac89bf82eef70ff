"""How far something is that a command waits for: on standard error, so that the output holds the result only."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from flexportd.cli.output import reader_is_gone, truncate
from flexportd.escape import display_width, escape_control

_INTERVAL = 15.0  # seconds between lines where standard error is no terminal


class ProgressLine:
    """One line that changes on a terminal; elsewhere a line now and then, where it says something new."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream is not None and self._stream.isatty()
        self._shown = ""
        self._due = time.monotonic() + _INTERVAL

    def show(self, text: str) -> None:
        """Say how far it is."""
        text = escape_control(text, 500)
        if self._is_terminal:
            line = truncate(text, shutil.get_terminal_size().columns - 1)
            if line != self._shown:
                self._write(f"\r{line}{' ' * max(0, display_width(self._shown) - display_width(line))}")
                self._shown = line
        elif text != self._shown and time.monotonic() >= self._due:
            self._write(f"{text}\n")
            self._shown, self._due = text, time.monotonic() + _INTERVAL

    def clear(self) -> None:
        """Take the changing line away, for what is written next."""
        if self._is_terminal and self._shown:
            self._write(f"\r{' ' * display_width(self._shown)}\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        if self._stream is not None and not reader_is_gone(self._stream):
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def show_progress(goes_on: str) -> Iterator[ProgressLine]:
    """Wait for what the daemon does. Ctrl-C ends the command only, and `goes_on` says so."""
    progress = ProgressLine()
    try:
        yield progress
    except KeyboardInterrupt:
        progress.clear()
        if sys.stderr is not None and not reader_is_gone(sys.stderr):
            sys.stderr.write(f"\n{escape_control(goes_on, 500)}\n")
        raise
    finally:
        progress.clear()
