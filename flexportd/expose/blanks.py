"""Texts that hold something. What counts as a blank is one thing in the schemas that others read and in our own code.

Is U+001D a blank, or U+FEFF? Python and ECMAScript, whose rules JSON Schema follows, differ: they are spelt out here.
"""

import re

_BLANK = r"\s\u0000-\u001f\u0085\ufeff"

FILLED = rf"^[^\u0000]*[^{_BLANK}][^\u0000]*$"
"""At least one character that is no blank to anybody; and no NUL, which no text has."""

WORD = rf"^[^,\u0000]*[^,{_BLANK}][^,\u0000]*$"
"""The same without commas: one word of a list."""

_ENDS = re.compile(rf"\A[{_BLANK}]+|[{_BLANK}]+\Z")


def strip(text: str) -> str:
    """The text without blanks at its ends; empty where there is nothing else."""
    return _ENDS.sub("", text)
