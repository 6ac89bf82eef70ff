"""JSON that a strict reader refuses: where its parts begin and end, and what every reader can read.

A strict reader refuses a whole answer for one bad value in it. The scanner follows strings and brackets alone, so each
part can be read by itself. It is linear, does not recurse, and is only for text that was refused: it runs in Python.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic_core import from_json

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_NEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]', re.DOTALL)  # a lone quote opens a string without an end
_CLOSING = {b"{": b"}", b"[": b"]"}
_MAX_PARTS = 200_000
_MAX_DEPTH = 200  # levels; SQLite reads 1000, and readers that recurse fewer

_any = msgspec.json.Decoder()


class BrokenJsonError(Exception):
    """Not even the brackets and quotes are those of JSON."""


def problem(text: bytes | memoryview) -> str | None:
    """Why some reader of JSON refuses a text; None when all read it.

    Refused are: text that is not UTF-8, half a surrogate pair, a control character in a string, a number beyond a
    double or of thousands of digits, more than 200 levels.
    """
    try:
        _any.decode(text)
        given = bytes(text)
        if given.count(b"[") + given.count(b"{") > _MAX_DEPTH:
            from_json(given, cache_strings="none")  # refuses what is deeper, wherever it is called
    except (ValueError, RecursionError) as error:
        return str(error).removeprefix("JSON is malformed: ")
    return None


def strip_bom(text: bytes) -> bytes:
    """The text without a byte order mark at its begin."""
    return text.removeprefix(_BOM)


def members(text: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, each as its bytes; of a name that is there twice, the last. Raises BrokenJsonError.

    A name that cannot be read has U+FFFD for what is wrong in it. The values are not looked at.
    """
    found = {}
    for part, colon in _split(text, b"{"):
        if colon < 0:
            raise BrokenJsonError("a member has no value")
        found[_name(part[:colon].strip(_BLANK))] = msgspec.Raw(part[colon + 1 :].strip(_BLANK))
    return found


def elements(text: bytes) -> list[msgspec.Raw]:
    """The elements of a list, each as its bytes. Raises BrokenJsonError."""
    return [msgspec.Raw(part) for part, _ in _split(text, b"[")]


def value(text: bytes | msgspec.Raw | None, default: Any = None) -> Any:
    """What a text says; `default` where it cannot be read."""
    if text is None:
        return default
    try:
        return _any.decode(text)
    except (ValueError, RecursionError):
        return default


def _name(text: bytes) -> str:
    said = value(text)
    return said if isinstance(said, str) else text.strip(b'"').decode("utf-8", "replace")


def _split(text: bytes, opening: bytes) -> Iterator[tuple[bytes, int]]:
    """What commas part in a container, and where in each its first colon is (-1: it has none)."""
    begin = len(text) - len(text.lstrip(_BLANK))
    if text[begin : begin + 1] != opening:
        raise BrokenJsonError(f"no {opening.decode()} at the begin")
    start, colon, count = begin + 1, -1, 0
    for mark, place in _delimiters(text, begin):
        if mark == b":":
            colon = place - start if colon < 0 else colon
            continue
        part = text[start:place]
        blanks = len(part) - len(part.lstrip(_BLANK))
        if mark == b"," or blanks < len(part):
            yield part.strip(_BLANK), colon - blanks if colon >= 0 else -1
        start, colon, count = place + 1, -1, count + 1
        if count > _MAX_PARTS:
            raise BrokenJsonError(f"more than {_MAX_PARTS} parts")
    if mark != _CLOSING[opening] or text[start:].strip(_BLANK + b"\0"):
        raise BrokenJsonError("its brackets do not match")


def _delimiters(text: bytes, begin: int) -> Iterator[tuple[bytes, int]]:
    """The commas and colons of the container that begins there, and its end; each with its place."""
    depth = 0
    for token in _NEXT.finditer(text, begin):
        mark = token[0]
        if mark == b'"':
            raise BrokenJsonError("a text without an end")
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                yield mark, token.start()
                return
        elif depth == 1 and mark in (b",", b":"):
            yield mark, token.start()
    raise BrokenJsonError("it breaks off")
