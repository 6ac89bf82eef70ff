"""Texts that hold something. What counts as a blank is one thing in the schemas that others read and in our own code.

Is U+001D a blank, or U+FEFF? Python and ECMAScript, whose rules JSON Schema follows, differ: they are spelt out here.
"""

import re

_BLANK = r"\s\u0001-\u001f\u0085\ufeff"

# Both name the first character that is no blank, so that no text can be divided in more than one way.
NOT_BLANK = rf"^[{_BLANK}]*[^{_BLANK}\u0000][^\u0000]*$"
"""At least one character that is no blank to anybody; and no NUL, which no text has."""

NOT_BLANK_WORD = rf"^[{_BLANK}]*[^,{_BLANK}\u0000][^,\u0000]*$"
"""The same without commas: one word of a list."""

_BLANKS = "\0" + "".join(
    char for char in map(chr, (*range(1, 0x3001), 0xFEFF)) if re.fullmatch(f"[{_BLANK}]", char)
)  # fmt: skip


def strip(text: str) -> str:
    """The text without blanks at its ends; empty where there is nothing else."""
    return text.strip(_BLANKS)
