"""On which line of a TOML text a key stands; tomllib parses but does not tell."""

import re
from collections.abc import Mapping

_PART = r"""(?:[A-Za-z0-9_-]{1,128}|"[^"\n]{0,128}"|'[^'\n]{0,128}')"""
_PATH = rf"{_PART}(?:[ \t]{{0,8}}\.[ \t]{{0,8}}{_PART}){{0,32}}"
_HEADER = re.compile(rf"[ \t]*\[{{1,2}}[ \t]*({_PATH})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_PATH})[ \t]*=")
_PARTS = re.compile(_PART)
# What opens, closes or hides brackets in a value.
_TOKEN = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#.*|[\[\]{}]''')
# Starting only where a part starts keeps the search linear.
_TOO_DEEP = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]{{0,8}}\.[ \t]{{0,8}}){{33}}")


def nests_too_deep(text: str) -> bool:
    """Whether a dotted key has more parts than any sane file: tomllib's time grows with their square."""
    return _TOO_DEEP.search(text) is not None


def key_lines(text: str) -> Mapping[tuple[str, ...], int]:
    """The line (from 1) of each table and key of a text that tomllib could read; keys of inline tables are absent."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    value = _Value()
    for number, line in enumerate(text.split("\n"), 1):
        if value.open:
            value.feed(line)
            continue
        header, assignment = _HEADER.match(line), _ASSIGNMENT.match(line)
        if header:
            table = _parts(header[1])
            _note(found, table, number)
        elif assignment:
            _note(found, table + _parts(assignment[1]), number)
            value.feed(line[assignment.end() :])
    return found


class _Value:
    """How far a value that spans lines has come: inside a long string, or within brackets."""

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
                end = _end_of_string(text, self._quotes, at)
                if end < 0:
                    return
                at, self._quotes = end, ""
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


def _end_of_string(text: str, quotes: str, start: int) -> int:
    """Where a long string has ended, or -1; one or two further quotes belong to its content."""
    pattern = r'(?:\\.|[^"\\]|"(?!""))*"""+' if quotes == '"""' else r"(?:[^']|'(?!''))*'''+"
    match = re.compile(pattern).match(text, start)
    return match.end() if match else -1


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(path))


def _note(found: dict[tuple[str, ...], int], path: tuple[str, ...], number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)
