"""Characters at the ends of a value that hardly belong to it: quotation marks, blanks, line ends, invisible ones.

`docker run --env-file` keeps the quotation marks that a shell and systemd remove, editors for Windows write CR and byte
order marks, and what is copied from a page may carry blanks that nobody sees.
"""

import unicodedata

_STRAIGHT = "\"'`"
_CURVED = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"
_NAMES = {
    " ": "a space", "\t": "a tab", "\n": "a newline", "\r": "a carriage return (CR)", "\ufeff": "a byte order mark",
}  # fmt: skip
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters by their category, and nothing to be seen
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}


def stray_characters(text: str, *, anywhere: bool = False) -> str | None:
    """What is wrong with a value, as `is in quotation marks`, to follow its name; None when nothing is.

    Args:
        text: The value as it was found.
        anywhere: Report invisible characters inside the value too, which no secret has.
    """
    first, last = (_invisible(text[0]), _invisible(text[-1])) if text else (None, None)
    core = _core(text)
    found = [f"begins and ends with {first}"] if first and first == last else []
    if not found:
        found += [f"begins with {first}"] if first else []
        found += [f"ends with {last}"] if last else []
    found += [quotes] if (quotes := _quotes(core)) else []
    inside = next((name for char in core if char != " " and (name := _invisible(char))), None) if anywhere else None
    found += [f"contains {inside}"] if inside else []
    return " and ".join(found) or None


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
    for place, char in (("begins", core[:1]), ("ends", core[-1:])):
        # One of several straight ones may belong to a text: Freight "North".
        if char and (char in _CURVED or (char in _STRAIGHT and core.count(char) == 1)):
            return f"{place} with a quotation mark"
    return None
