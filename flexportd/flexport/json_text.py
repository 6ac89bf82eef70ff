"""Splits JSON that a strict parser refuses into its parts, and checks whether every parser can read a text.

A strict parser refuses a whole response for one bad value in it. The scanner follows only strings and brackets, so each
part can be parsed by itself. It is linear, does not recurse, and is slow (Python): only for text that was refused.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic_core import from_json

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_NEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]', re.DOTALL)  # a single quote opens a string without an end
_CLOSING = {b"{": b"}", b"[": b"]"}
_MAX_PARTS = 200_000
_MAX_DEPTH = 200  # levels; SQLite reads 1000, and recursive parsers fewer

_any = msgspec.json.Decoder()


class BrokenJsonError(Exception):
    """Not even the brackets and quotes are those of JSON."""


def problem(text: bytes | memoryview) -> str | None:
    """Why some JSON parser refuses a text; None if all read it.

    Refused are: text that is not UTF-8, half a surrogate pair, a control character in a string, a number that exceeds
    a double or has thousands of digits, more than 200 levels.
    """
    try:
        _any.decode(text)
        content = bytes(text)
        if content.count(b"[") + content.count(b"{") > _MAX_DEPTH:
            from_json(content, cache_strings="none")  # refuses more levels, independent of the stack
    except (ValueError, RecursionError) as error:
        return str(error).removeprefix("JSON is malformed: ")
    return None


def strip_bom(text: bytes) -> bytes:
    """The text without a byte order mark at the beginning."""
    return text.removeprefix(_BOM)


def members(text: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, each as its bytes; the last one of a repeated name. Raises BrokenJsonError.

    In a name that cannot be read, U+FFFD replaces the invalid bytes. The values are not checked.
    """
    result = {}
    for part, colon in _split(text, b"{"):
        if colon < 0:
            raise BrokenJsonError("a member has no value")
        key = part[:colon].strip(_BLANK)
        name = value(key)
        name = name if isinstance(name, str) else key.strip(b'"').decode("utf-8", "replace")
        result[name] = msgspec.Raw(part[colon + 1 :].strip(_BLANK))
    return result


def elements(text: bytes) -> list[msgspec.Raw]:
    """The elements of a list, each as its bytes. Raises BrokenJsonError."""
    return [msgspec.Raw(part) for part, _ in _split(text, b"[")]


def value(text: bytes | msgspec.Raw | None, default: Any = None) -> Any:
    """The value of a text; `default` if it cannot be read."""
    if text is None:
        return default
    try:
        return _any.decode(text)
    except (ValueError, RecursionError):
        return default


def _split(text: bytes, opening: bytes) -> Iterator[tuple[bytes, int]]:
    """The parts of a container between commas, each with the position of its first colon (-1: none)."""
    begin = len(text) - len(text.lstrip(_BLANK))
    if text[begin : begin + 1] != opening:
        raise BrokenJsonError(f"no {opening.decode()} at the beginning")
    start, colon, count = begin + 1, -1, 0
    for mark, position in _delimiters(text, begin):
        if mark == b":":
            colon = position - start if colon < 0 else colon
            continue
        part = text[start:position]
        blanks = len(part) - len(part.lstrip(_BLANK))
        if mark == b"," or blanks < len(part):
            yield part.strip(_BLANK), colon - blanks if colon >= 0 else -1
        start, colon, count = position + 1, -1, count + 1
        if count > _MAX_PARTS:
            raise BrokenJsonError(f"more than {_MAX_PARTS} parts")
    if mark != _CLOSING[opening] or text[start:].strip(_BLANK + b"\0"):
        raise BrokenJsonError("its brackets do not match")


def _delimiters(text: bytes, begin: int) -> Iterator[tuple[bytes, int]]:
    """The commas and colons of the container that begins there, and its end; each with its position."""
    depth = 0
    for token in _NEXT.finditer(text, begin):
        mark = token[0]
        if mark == b'"':
            raise BrokenJsonError("a string without an end")
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                yield mark, token.start()
                return
        elif depth == 1 and mark in (b",", b":"):
            yield mark, token.start()
    raise BrokenJsonError("it is truncated")
