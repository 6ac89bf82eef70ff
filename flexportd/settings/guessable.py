"""Secrets that are long but easy to guess: repetitions, runs of neighbouring characters, common words.

The check finds placeholders that people type. It does not measure strength: a secret that passes may still be weak.
"""

import re
from importlib import resources
from itertools import pairwise

_MIN_DIFFERENT = 6  # different characters; nearly all texts of 16 random digits have more
_UNIT = 7  # characters of a text that may be repeated
_RUN = 4  # characters that make a run of neighbours
_REST = 4  # characters outside runs that suffice
_MAX_DIGITS = 4  # in addition to common words, as in password1234
_MAX_LENGTH = 256  # characters: nobody types more words

# Neighbouring characters in the alphabet and on keyboards.
_ROWS = (
    "0123456789", "1234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl",
    "qsdfghjklm", "zxcvbnm", "yxcvbnm", "wxcvbn", "!@#$%^&*()_+",
)  # fmt: skip
_NEIGHBOURS = frozenset("".join(pair) for row in _ROWS for line in (row, row[::-1]) for pair in pairwise(line))

_SEQUENCES = (
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "zaq12wsxcde34rfvbgt56yhnmju78ik", "qazwsxedcrfvtgbyhnujmikolp",
    "314159265358979323846264338327950288419716939937510", "271828182845904523536028747135266249775724709369995",
    "2468101214161820222426283032", "1357911131517192123252729", "112358132134558914423337761098",
    "thequickbrownfoxjumpsoverthelazydog", "loremipsumdolorsitametconsecteturadipiscingelit",
)  # fmt: skip

_PREFIX = re.compile(r"^(whsec|sk|pk|rk)[_-]((live|test)[_-])?", re.IGNORECASE)  # of secrets of known services
_SYMBOLS = str.maketrans("@$", "as")
_DIGITS = str.maketrans("013457", "oieast")  # as in passw0rd

_WORDS = frozenset(resources.files("flexportd.settings").joinpath("common_words.txt").read_text("ascii").split())
_LONGEST_WORD = max(map(len, _WORDS))


def weakness(secret: str) -> str | None:
    """Why a secret is easy to guess, without any part of it; None if it is not obvious."""
    bare = _PREFIX.sub("", secret)
    return _weakness(secret) or (_weakness(bare) if bare != secret else None)


def _weakness(secret: str) -> str | None:
    unit = _unit(secret)
    if unit != secret and (len(unit) < _UNIT or _obvious_weakness(unit)):
        return "it repeats the same characters"
    return _obvious_weakness(secret)


def _obvious_weakness(secret: str) -> str | None:
    plain = "".join(filter(str.isalnum, secret.casefold().translate(_SYMBOLS)))
    if len(set(secret)) < _MIN_DIFFERENT or (2 * len(plain) > len(secret) and len(set(plain)) < _MIN_DIFFERENT):
        return "it has too few different characters"
    rest, runs = _outside_runs(plain or secret)
    if min(len(rest), len(_outside_runs(plain[::2])[0] + _outside_runs(plain[1::2])[0])) < _REST:
        return "its characters follow each other in the alphabet or on the keyboard"
    if any(plain in sequence for sequence in _SEQUENCES):
        return "it is a well-known sequence"
    if runs == 1 and any(text in _WORDS for text in _spellings(rest)):
        return "it is a common word next to a run of neighbouring characters"
    if any(_is_words(text) for text in _spellings(plain)):
        return "it is made of common words"
    return None


def _spellings(text: str) -> tuple[str, ...]:
    """The letters of a text with few digits, and the letters that its digits may replace."""
    letters = "".join(char for char in text if not char.isdigit())
    without_end = text.rstrip("0123456789")
    spellings = (
        letters if len(text) - len(letters) <= _MAX_DIGITS else "",
        without_end.translate(_DIGITS) if len(text) - len(without_end) <= _MAX_DIGITS else "",
        text.translate(_DIGITS),
    )
    return tuple(filter(None, spellings))


def _unit(text: str) -> str:
    """The shortest beginning that the text repeats; the last repetition may be incomplete."""
    # The failure function of Knuth, Morris and Pratt: linear time.
    borders, border = [0] * len(text), 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        border += text[at] == text[border]
        borders[at] = border
    period = len(text) - border if text else 0
    return text[:period] if 2 * period <= len(text) else text


def _outside_runs(text: str) -> tuple[str, int]:
    """The characters outside runs of neighbours or of one character, and the number of such runs."""
    rest, runs, start = list[str](), 0, 0
    for at in range(1, len(text) + 1):
        if at < len(text) and (text[at - 1] == text[at] or text[at - 1 : at + 1] in _NEIGHBOURS):
            continue
        if at - start < _RUN:
            rest.append(text[start:at])
        else:
            runs += 1
        start = at
    return "".join(rest), runs


def _is_words(text: str) -> bool:
    if not 0 < len(text) <= _MAX_LENGTH:
        return False
    ends = {0}
    for end in range(1, len(text) + 1):
        if any(start in ends and text[start:end] in _WORDS for start in range(max(0, end - _LONGEST_WORD), end)):
            ends.add(end)
    return len(text) in ends
