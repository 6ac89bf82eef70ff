"""The output of commands: JSON documents, or tables and lists of values for people.

All text passes `escape_control`; JSON is escaped on a terminal and unchanged elsewhere.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import IO, Any

import click

from flexportd.errors import FlexportdError
from flexportd.escape import display_width, escape_control

Row = Mapping[str, Any]

_GAP = "  "
_LAST = 100  # the default priority of a column
_NARROWEST = 4
_READABLE = 12  # a column is narrowed to this width before others are hidden
_CELL = 200  # characters of one cell on a terminal
_WHOLE_CELL = 10_000  # elsewhere
_SAME_CLOCK = timedelta(minutes=1)  # smaller offsets are ignored: a Date has whole seconds
_clock_offset = [timedelta()]  # how far the daemon's clock is ahead of this process's
# Characters that control a terminal, except line ends.
_CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

COLOURS = {
    "applied": "green",
    "awaiting approval": "yellow",
    "confirmed": "green",
    "dead": "red",
    "delivered": "green",
    "failed": "red",
    "failing": "yellow",
    "off": "red",
    "pending": "yellow",
    "sending": "cyan",
    "sent": "green",
    "unknown": "red",
    "waiting": "yellow",
    "working": "green",
    "ignored": "bright_black",
    "coalesced": "bright_black",
    "leased": "cyan",
    "ready": "yellow",
}


@dataclass(frozen=True)
class DaemonResponse:
    """A response of the daemon: its exact bytes, and the parsed document."""

    raw: bytes

    @classmethod
    def of(cls, document: Any) -> "DaemonResponse":
        """A response with this document."""
        return cls(json.dumps(document).encode())

    @cached_property
    def document(self) -> Any:
        """The parsed JSON. Raises FlexportdError if it is not valid."""
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            raise FlexportdError(f"Cannot read the daemon's response: {error}") from None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `narrows` allows values to be truncated on a narrow terminal; ids never are.

    Without `value` it shows the field named by the title. If not all columns fit, the one with the highest `priority`
    is hidden first; the first column is always shown.
    """

    title: str
    value: Callable[[Row], Any] | None = None
    narrows: bool = False
    right: bool = False
    coloured: bool = False
    priority: int = _LAST

    def text(self, row: Row, limit: int) -> str:
        """The cell of a row, at most `limit` characters."""
        return _cell(row[self.title.replace(" ", "_")] if self.value is None else self.value(row), limit)


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output. `columns` is the width of the terminal, None elsewhere."""

    as_json: bool = False
    terminal: bool = False
    colours: bool = False
    columns: int | None = None

    @classmethod
    def standard(cls, *, as_json: bool = False) -> "Output":
        """For the current standard output and NO_COLOR."""
        terminal = sys.stdout is not None and sys.stdout.isatty()
        colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(as_json, terminal, colours, shutil.get_terminal_size().columns if terminal else None)

    @staticmethod
    def now() -> datetime:
        """The current time of the daemon."""
        from flexportd.clock import Clock

        return Clock().now() + _clock_offset[0]

    @staticmethod
    def sync_clock(date: str | None) -> None:
        """Set the daemon's clock from the Date of a response: in a demo it is simulated."""
        from flexportd.clock import Clock

        moment = None if date is None else parsedate_to_datetime(date)
        if moment is not None:
            ahead = moment - Clock().now()
            _clock_offset[0] = ahead if abs(ahead) > _SAME_CLOCK else timedelta()

    def line(self, text: str = "") -> None:
        """One line, with control characters escaped."""
        self._write(escape_control(text, 10_000))

    def note(self, text: str) -> None:
        """One line on standard error."""
        with contextlib.suppress(BrokenPipeError):  # notes are optional, the output is not
            click.echo(escape_control(text, 10_000), err=True)

    def document(self, reply: DaemonResponse) -> None:
        """The JSON: indented on a terminal, byte for byte elsewhere."""
        if not self.terminal:
            _write_raw(reply.raw)
            return
        self._write(_escape_control(json.dumps(reply.document, indent=2, ensure_ascii=False)))

    def json_line(self, raw: bytes) -> None:
        """One JSON document as one line."""
        if self.terminal:
            self._write(_escape_control(raw.decode("utf-8", "backslashreplace")))
        else:
            _write_raw(raw)

    def show(self, reply: DaemonResponse, render: Callable[[Any], None]) -> None:
        """The JSON if requested, else the output of `render`."""
        if self.as_json:
            self.document(reply)
        else:
            render(reply.document)

    def show_line(self, reply: DaemonResponse, text: Callable[[Any], str]) -> None:
        """The JSON if requested, else one line."""
        self.show(reply, lambda document: self.line(text(document)))

    def show_list(self, reply: DaemonResponse, columns: Sequence[Column], nothing: str) -> None:
        """A list of the API: JSON, a table, or the text for an empty list."""
        self.show(reply, lambda document: self._page(document, columns, nothing))

    def table(self, rows: Iterable[Row], columns: Sequence[Column]) -> None:
        """Aligned columns that fit the terminal; hidden columns are named on standard error."""
        limit = _WHOLE_CELL if self.columns is None else _CELL
        cells = [[column.text(row, limit) for column in columns] for row in rows]
        columns, cells, dropped = self._fit_columns(columns, cells)
        widths = self._widths([[column.title for column in columns], *cells], columns)
        titles = [column.title.upper() for column in columns]
        self._write(self._styled(self._row(titles, widths, columns, plain=True), bold=True))
        for row in cells:
            self._write(self._row(row, widths, columns))
        if dropped:
            named = ", ".join(column.title for column in dropped)
            self.note(f"Hidden columns: {named}. Use a wider terminal or --json.")

    def facts(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values, one pair per line; pairs without a value are omitted."""
        filled = [(name, _cell(value, 2000)) for name, value in pairs]
        filled = [(name, text) for name, text in filled if text]
        longest = max((display_width(name) for name, _ in filled), default=0)
        for name, text in filled:
            first, *rest = self._wrapped(text, longest + len(_GAP))
            self._write(self._styled(_padded(name, longest), dim=True) + _GAP + first)
            for line in rest:
                self._write(" " * longest + _GAP + line)

    def _wrapped(self, text: str, indent: int) -> list[str]:
        """The text in lines that fit next to an indent, broken between words only; one line without a terminal."""
        if self.columns is None or indent + display_width(text) <= self.columns:
            return [text]
        import textwrap

        room = max(self.columns - indent, _READABLE)
        return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [text]

    def heading(self, text: str) -> None:
        """A heading for what follows."""
        self._write("\n" + self._styled(escape_control(text), bold=True))

    def _page(self, document: Any, columns: Sequence[Column], nothing: str) -> None:
        if not document["data"]:
            self._write(nothing)
            return
        self.table(document["data"], columns)
        if document.get("next"):
            self.note("There are more rows. Use a higher --limit.")

    def _row(
        self, cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], *, plain: bool = False
    ) -> str:
        shown = []
        for cell, room, column in zip(cells, widths, columns, strict=True):
            text = _padded(truncate(cell, room), room, right=column.right)
            colour = COLOURS.get(cell) if column.coloured and not plain else None
            shown.append(self._styled(text, fg=colour) if colour else text)
        return _GAP.join(shown).rstrip()

    def _fit_columns(
        self, columns: Sequence[Column], cells: list[list[str]]
    ) -> tuple[Sequence[Column], list[list[str]], list[Column]]:
        """The columns that fit, their cells, and the hidden columns.

        Columns without any value are hidden first, without mention.
        """
        if self.columns is None:
            return columns, cells, []
        least = []
        for place, column in enumerate(columns):
            wide = max((display_width(row[place]) for row in cells), default=0)
            title = display_width(column.title)
            least.append(max(title, min(wide, _READABLE) if column.narrows else wide))
        filled = [any(row[place] for row in cells) for place in range(len(columns))]
        kept = list(range(len(columns)))
        while len(kept) > 1 and sum(least[place] for place in kept) + len(_GAP) * (len(kept) - 1) > self.columns:
            kept.remove(max(kept[1:], key=lambda place: (not filled[place], columns[place].priority, place)))
        dropped = [column for place, column in enumerate(columns) if place not in kept and filled[place]]
        return [columns[place] for place in kept], [[row[place] for place in kept] for row in cells], dropped

    def _widths(self, rows: Sequence[Sequence[str]], columns: Sequence[Column]) -> list[int]:
        widths = [max(display_width(row[place]) for row in rows) for place in range(len(columns))]
        if self.columns is None:
            return widths
        excess = sum(widths) + len(_GAP) * (len(columns) - 1) - self.columns
        elastic = [place for place, column in enumerate(columns) if column.narrows]
        while excess > 0 and elastic:
            widest = max(elastic, key=widths.__getitem__)
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
            excess -= 1
        return widths

    def _styled(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self.colours else text

    def _write(self, text: str) -> None:
        # Not click.echo: it would decide again whether to strip colours.
        if sys.stdout is not None:
            sys.stdout.write(text + "\n")


def reader_is_gone(stream: IO[str] | None) -> bool:
    """Whether a stream is a pipe or a socket whose reader has closed it."""
    if stream is None:
        return False
    import select

    try:
        watch = select.poll()
        watch.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
    except (OSError, ValueError, AttributeError):  # closed, or not a file
        return False


def _escape_control(text: str) -> str:
    return _CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _write_raw(raw: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(raw.rstrip(b"\n") + b"\n")
        sys.stdout.buffer.flush()


def truncate(text: str, room: int) -> str:
    """The text in at most `room` columns, with an ellipsis if it was cut."""
    if display_width(text) <= room:
        return text
    shown, taken = [], 1
    for char in text:
        taken += display_width(char)
        if taken > room:
            break
        shown.append(char)
    return "".join(shown) + "…"


def _cell(value: Any, limit: int = _CELL) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape_control(str(value), limit)


def _padded(text: str, room: int, *, right: bool = False) -> str:
    fill = " " * max(0, room - display_width(text))
    return fill + text if right else text + fill
