"""Texts as search compares them: what people type in different ways for one thing is one text.

`MSCU 123456-7`, `mscu1234567` and `MSCU-1234567` are `mscu1234567`; `Müller & Co.` is `mullerco`.
"""

import functools
import unicodedata

LONGEST = 120  # characters of a folded text
_EXAMINED = 10_000  # characters of a text that are folded
VERSION = f"1:{unicodedata.unidata_version}"  # what folds otherwise must be indexed anew

_LEFT_OUT = "ZPCM"  # categories: blanks, punctuation, controls and what is half a character, accents


@functools.lru_cache(maxsize=4096)
def _character(char: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(found for found in apart if unicodedata.category(found)[0] not in _LEFT_OUT)


_ASCII = {code: _character(chr(code)) for code in range(128)}


def fold(value: str) -> str:
    """The text in small letters, without blanks, punctuation and accents, and no longer than LONGEST."""
    if value.isascii():
        return value[:_EXAMINED].translate(_ASCII)[:LONGEST]
    return "".join(map(_character, value[:_EXAMINED]))[:LONGEST]


def found_at(value: str, folded: str) -> tuple[int, int]:
    """Where in a value a folded text stands: the first character of it, and how many; (0, 0) for nowhere."""
    spread = [(part, place) for place, char in enumerate(value[:_EXAMINED]) for part in _character(char)]
    at = "".join(part for part, _ in spread).find(folded)
    if at < 0 or not folded:
        return 0, 0
    first, last = spread[at][1], spread[at + len(folded) - 1][1]
    return first, last - first + 1
