"""Normalising texts for search: different spellings of one thing become one text.

`MSCU 123456-7`, `mscu1234567` and `MSCU-1234567` are `mscu1234567`; `Müller & Co.` is `mullerco`.
"""

import functools
import unicodedata

MAX_LENGTH = 120  # characters of a normalised text
_MAX_EXAMINED = 10_000  # characters of a text that are normalised
VERSION = f"1:{unicodedata.unidata_version}"  # a new version rebuilds the index

_IGNORED_CATEGORIES = "ZPCM"  # Unicode categories: blanks, punctuation, controls and surrogates, accents


@functools.lru_cache(maxsize=4096)
def _normalise_character(char: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(found for found in apart if unicodedata.category(found)[0] not in _IGNORED_CATEGORIES)


_ASCII = {code: _normalise_character(chr(code)) for code in range(128)}


def normalise(value: str) -> str:
    """The text in lower case, without blanks, punctuation and accents, at most MAX_LENGTH characters."""
    if value.isascii():
        return value[:_MAX_EXAMINED].translate(_ASCII)[:MAX_LENGTH]
    return "".join(map(_normalise_character, value[:_MAX_EXAMINED]))[:MAX_LENGTH]


def locate(value: str, folded: str) -> tuple[int, int]:
    """Where a normalised text is in a value: its first character and its length; (0, 0) if it is not."""
    spread = [(part, place) for place, char in enumerate(value[:_MAX_EXAMINED]) for part in _normalise_character(char)]
    at = "".join(part for part, _ in spread).find(folded)
    if at < 0 or not folded:
        return 0, 0
    first, last = spread[at][1], spread[at + len(folded) - 1][1]
    return first, last - first + 1
