"""The configuration file: where it is, its content, and the line of each key, which tomllib does not report."""

import errno
import io
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexportd.errors import ConfigError
from flexportd.settings.defaults import config_candidates
from flexportd.settings.errors import SourcedValue
from flexportd.settings.stray_characters import stray_characters
from flexportd.settings.value_types import quote, quote_key

MAX_BYTES = 2**20
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_PART = r"""(?:[A-Za-z0-9_-]{1,128}|"[^"\n]{0,128}"|'[^'\n]{0,128}')"""
_PATH = rf"{_PART}(?:[ \t]{{0,8}}\.[ \t]{{0,8}}{_PART}){{0,32}}"
_HEADER = re.compile(rf"[ \t]*\[{{1,2}}[ \t]*({_PATH})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_PATH})[ \t]*=")
_PARTS = re.compile(_PART)
# What opens, closes or hides brackets in a value.
_TOKEN = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#.*|[\[\]{}]''')
# The rest of a multi-line string; one or two further quotes belong to its content.
_END_OF_STRING = {'"""': re.compile(r'(?:\\.|[^"\\]|"(?!""))*"""+'), "'''": re.compile(r"(?:[^']|'(?!''))*'''+")}
# Starting only where a part starts keeps the search linear.
_TOO_DEEP = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]{{0,8}}\.[ \t]{{0,8}}){{33}}")


@dataclass(frozen=True, slots=True)
class KeyLines:
    """The lines of the keys of a file; `label` is its name in messages.

    In a path, an element of a list of tables is written with its place from 0, as in `("notify", "rules[0]", "name")`.
    """

    label: str
    lines: Mapping[tuple[str, ...], int]

    def source(self, path: tuple[str, ...]) -> tuple[str, int]:
        """The file with the line of a key, or else of its table; and the line."""
        parents = (path[:end] for end in range(len(path), 0, -1))
        # A list of inline tables has only the line of its key.
        known = (parent for each in parents for parent in (each, (*each[:-1], each[-1].partition("[")[0])))
        line = next((self.lines[parent] for parent in known if parent in self.lines), 1)
        return f"{self.label}:{line}", line


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file that is valid TOML; `label` is its name in messages."""

    path: Path
    label: str
    tables: Mapping[str, Any]
    lines: KeyLines
    readable_by_others: bool

    def sourced(self, path: tuple[str, ...], value: object) -> SourcedValue:
        """A value with the line of its key, or else of its table."""
        return SourcedValue(value, *self.lines.source(path))


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one that is named, or the first that exists. Raises ConfigError for stray characters."""
    if path is not None:
        return path
    chosen = environ.get("FLEXPORTD_CONFIG")
    if chosen:
        stray = stray_characters(chosen)
        if stray:
            raise ConfigError(
                f"environment FLEXPORTD_CONFIG: found {quote(chosen)}, which {stray}; expected only the path"
            )
        return Path(chosen)
    return next((path for path in config_candidates(environ) if os.path.lexists(path)), None)


def read_file(path: Path) -> ConfigFile:
    """Read and parse a file. Raises ConfigError with line and column."""
    label = display_path(path)
    content, mode = read_bytes(path, MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{label}: the file is larger than 1 MiB")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ConfigError(f"{label}:1: the file begins with a byte order mark; save it as UTF-8 without one")
    text = decode_utf8(content, label)
    tables = _parse(text, label)
    lines = KeyLines(label, key_lines(text.replace("\r\n", "\n")))
    return ConfigFile(path.absolute(), label, tables, lines, bool(mode & 0o044))


def read_bytes(path: Path, limit: int) -> tuple[bytes, int]:
    """At most `limit` + 1 bytes, and the mode of the file. Raises ConfigError that names the path.

    It never blocks: a pipe without a writer, or a terminal, is an error.
    """
    reason = "not a regular file"
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) or stat.S_ISCHR(mode):
                return _read(file, limit + 1), mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
    raise ConfigError(f"{display_path(path)}: cannot read the file: {reason}")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read(file: io.FileIO, most: int) -> bytes:
    content = b""
    while len(content) < most:
        piece = file.read(most - len(content))
        if piece is None:
            raise BlockingIOError(errno.EAGAIN, "no data available")
        if not piece:
            break
        content += piece
    return content


def decode_utf8(content: bytes, label: str) -> str:
    """Bytes as text. Raises ConfigError with the line."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    # Raised here, so that the error does not contain the content as its context.
    raise ConfigError(f"{label}:{content[:start].count(10) + 1}: the file is not UTF-8 text")


def display_path(path: Path) -> str:
    """A path for messages, always on one line."""
    text = str(path)
    return text if text.isprintable() else quote_key(text)


def _parse(text: str, label: str) -> Mapping[str, Any]:
    if nests_too_deep(text):
        raise ConfigError(f"{label}: a key has more than 32 dots; flexportd has no such key")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax(str(error), text)
    except RecursionError:
        problem = ": nested too deeply"
    except ValueError:
        # Python refuses to read numbers of thousands of digits.
        problem = ": contains a number that is too long"
    raise ConfigError(f"{label}{problem}")


def _syntax(message: str, text: str) -> str:
    """The parser's message after the position. It contains keys and single characters, never values."""
    match = _POSITION.search(message)
    if match is None:
        return f": not valid TOML: {message}"
    end = text.rstrip("\n")
    line, column = (match[1], match[2]) if match[1] else (end.count("\n") + 1, len(end) - (end.rfind("\n") + 1) + 1)
    earlier = _earlier_table(text, int(line))
    if message.startswith("Cannot declare ") and earlier is not None:
        return f":{line}:{column}: {earlier}; put the keys there"
    return f":{line}:{column}: not valid TOML: {message[:1].lower()}{message[1 : match.start()]}"


def _earlier_table(text: str, number: int) -> str | None:
    """Where the table whose header is in this line occurs before; None if that is not known."""
    lines = text.replace("\r\n", "\n").split("\n")
    header = _HEADER.match(lines[number - 1])
    earlier = header and key_lines("\n".join(lines[: number - 1])).get(_parts(header[1]))
    return f"[{header[1]}] is there already, in line {earlier}" if header and earlier else None


def nests_too_deep(text: str) -> bool:
    """Whether a dotted key has too many parts: tomllib's time grows with their square."""
    return _TOO_DEEP.search(text) is not None


def key_lines(text: str) -> Mapping[tuple[str, ...], int]:
    """The line (from 1) of each table and key of a text that tomllib can read, without those of inline tables."""
    lines: dict[tuple[str, ...], int] = {}
    elements: dict[tuple[str, ...], int] = {}  # of lists of tables, each by its path so far
    table: tuple[str, ...] = ()
    value = _Value()
    for number, line in enumerate(text.split("\n"), 1):
        if value.open:
            value.feed(line)
            continue
        header, assignment = _HEADER.match(line), _ASSIGNMENT.match(line)
        if header:
            table = _table_path(_parts(header[1]), elements, is_element=header[0].lstrip().startswith("[["))
            _add_line(lines, table, number)
        elif assignment:
            _add_line(lines, table + _parts(assignment[1]), number)
            value.feed(line[assignment.end() :])
    return lines


def _table_path(parts: tuple[str, ...], elements: dict[tuple[str, ...], int], *, is_element: bool) -> tuple[str, ...]:
    """The path of a table from its header: a list of tables stands for its last element."""
    path: tuple[str, ...] = ()
    for place, part in enumerate(parts):
        path = (*path, part)
        if is_element and place == len(parts) - 1:
            elements[path] = elements.get(path, 0) + 1
        if path in elements:
            path = (*path[:-1], f"{part}[{elements[path] - 1}]")
    return path


class _Value:
    """The state within a value that spans lines: inside a multi-line string, or inside brackets."""

    def __init__(self) -> None:
        self._quotes = ""
        self._depth = 0

    @property
    def open(self) -> bool:
        return bool(self._quotes) or self._depth > 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if self._quotes:
                end = _END_OF_STRING[self._quotes].match(text, at)
                if end is None:
                    return
                at, self._quotes = end.end(), ""
            match = _TOKEN.search(text, at)
            if match is None:
                return
            at, mark = match.end(), match[0]
            if len(mark) == 3 and mark in {'"""', "'''"}:
                self._quotes = mark
            elif mark in "[{":
                self._depth += 1
            elif mark in "]}":
                self._depth -= 1


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(path))


def _add_line(lines: dict[tuple[str, ...], int], path: tuple[str, ...], number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)
        if path[length - 1].endswith("]"):
            lines.setdefault((*path[: length - 1], path[length - 1].partition("[")[0]), number)
