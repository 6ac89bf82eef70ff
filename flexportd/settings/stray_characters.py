"""Stray characters at the ends of a value: quotation marks, blanks, line ends, invisible ones.

`docker run --env-file` keeps the quotation marks that a shell and systemd remove, editors for Windows write CR and byte
order marks, and text copied from a page may contain invisible blanks.
"""

import unicodedata

_STRAIGHT = "\"'`"
_CURVED = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"
_NAMES = {
    " ": "a space", "\t": "a tab", "\n": "a newline", "\r": "a carriage return (CR)", "\ufeff": "a byte order mark",
}  # fmt: skip
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters by their category, but invisible
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}


def stray_characters(text: str, *, anywhere: bool = False) -> str | None:
    """The stray characters of a value, as a predicate such as `is in quotation marks`; None if there are none.

    With `anywhere`, invisible characters inside the value are reported too: no secret has them.
    """
    first, last = (_invisible(text[0]), _invisible(text[-1])) if text else (None, None)
    core = _core(text)
    inside = next((name for char in core if char != " " and (name := _invisible(char))), None) if anywhere else None
    predicates = (
        f"begins and ends with {first}" if first and first == last else None,
        f"begins with {first}" if first and first != last else None,
        f"ends with {last}" if last and first != last else None,
        _quotes(core),
        f"contains {inside}" if inside else None,
    )
    return " and ".join(filter(None, predicates)) or None


def _core(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _invisible(text[start]):
        start += 1
    while start < end and _invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _invisible(char: str) -> str | None:
    if char in _NAMES:
        return _NAMES[char]
    if char in _FILLERS or unicodedata.category(char) in _INVISIBLE:
        return f"an invisible character (U+{ord(char):04X})"
    return None


def _quotes(core: str) -> str | None:
    if len(core) > 1 and any(core[0] in kind and core[-1] in kind for kind in (*_STRAIGHT, _CURVED)):
        return "is in quotation marks"
    for verb, char in (("begins", core[:1]), ("ends", core[-1:])):
        # One of several straight ones may belong to the text: Freight "North".
        if char and (char in _CURVED or (char in _STRAIGHT and core.count(char) == 1)):
            return f"{verb} with a quotation mark"
    return None
