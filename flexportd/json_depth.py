"""How deep JSON may be nested: deeper JSON cannot be read by every parser, and is refused on arrival.

Readers give up at depths of their own: SQLite at 1,000, pydantic at 200, Python when its stack is full, which depends
on the caller. Flexport's objects are some ten levels deep.
"""

import re

MAX_DEPTH = 100

_BRACKETS = bytes.maketrans(b"{[]}", b"(())")
_OTHERS = bytes(set(range(256)) - set(b"{[]}"))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def nests_too_deep(text: bytes) -> bool:
    """Whether a valid JSON text has more than MAX_DEPTH levels."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    # Without what is between them, one pass removes the innermost pairs of brackets everywhere.
    return bool(_strip_levels(text)) and bool(_strip_levels(_STRING.sub(b"", text)))


def _strip_levels(text: bytes) -> bytes:
    """The brackets that are left when MAX_DEPTH levels are removed; those in strings may have no partner."""
    left = text.translate(_BRACKETS, _OTHERS)
    for _ in range(MAX_DEPTH):
        shorter = left.replace(b"()", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    return left
