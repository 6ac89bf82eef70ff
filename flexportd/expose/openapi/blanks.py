"""Blank characters, the same in our JSON schemas and in our code.

Python and ECMAScript, whose rules JSON Schema follows, differ on characters such as U+001D and U+FEFF, so they are
listed here.
"""

import re

_BLANK = r"\s\u0001-\u001f\u0085\ufeff"

# Both name the first non-blank character, so that a text matches in one way only (no backtracking).
NOT_BLANK = rf"^[{_BLANK}]*[^{_BLANK}\u0000][^\u0000]*$"
"""At least one non-blank character, and no NUL."""

NOT_BLANK_WORD = rf"^[{_BLANK}]*[^,{_BLANK}\u0000][^,\u0000]*$"
"""The same without commas: one word of a list."""

_BLANKS = "\0" + "".join(
    char for char in map(chr, (*range(1, 0x3001), 0xFEFF)) if re.fullmatch(f"[{_BLANK}]", char)
)  # fmt: skip


def strip(text: str) -> str:
    """The text without leading and trailing blanks."""
    return text.strip(_BLANKS)
