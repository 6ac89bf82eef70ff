"""Progress of what a command waits for: on standard error, so that standard output has only the result."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

from flexportd.cli.output import reader_is_gone, truncate
from flexportd.escape import display_width, escape_control

_INTERVAL = 15.0  # seconds between lines if standard error is not a terminal
_POLL_INTERVAL = 0.25  # seconds between requests for the state


T = TypeVar("T")


class ProgressLine:
    """One line that is updated on a terminal; elsewhere a new line at intervals, if the text has changed."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream is not None and self._stream.isatty()
        self._shown = ""
        self._due = time.monotonic() + _INTERVAL

    def show(self, text: str) -> None:
        """Show the progress."""
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
        """Erase the line, before other output."""
        if self._is_terminal and self._shown:
            self._write(f"\r{' ' * display_width(self._shown)}\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        if self._stream is not None and not reader_is_gone(self._stream):
            self._stream.write(text)
            self._stream.flush()


def poll(progress: ProgressLine, read: Callable[[], T], progress_text: Callable[[T], str | None]) -> T:
    """Read a state until `progress_text` is None for it; returns the last state. The daemon's limits bound the wait."""
    while True:
        state = read()
        text = progress_text(state)
        if text is None:
            return state
        progress.show(text)
        time.sleep(_POLL_INTERVAL)


@contextmanager
def show_progress(interrupted: str) -> Iterator[ProgressLine]:
    """Show progress while the daemon works. Ctrl-C ends only the command and prints `interrupted`."""
    progress = ProgressLine()
    try:
        yield progress
    except KeyboardInterrupt:
        progress.clear()
        if sys.stderr is not None and not reader_is_gone(sys.stderr):
            sys.stderr.write(f"\n{escape_control(interrupted, 500)}\n")
        raise
    finally:
        progress.clear()
