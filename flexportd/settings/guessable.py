"""Secrets that are long and can be guessed all the same: repetitions, runs of neighbours, common words.

The check is for what people type when they mean to choose later. It does not measure strength: what passes may still be
weak.
"""

from itertools import pairwise

_FEWEST = 6  # different characters; of 16 random digits nearly all have more
_UNIT = 7  # characters of a text that may be repeated
_RUN = 4  # characters that make a run of neighbours
_REST = 4  # characters beside runs that make a difference
_MOST_DIGITS = 4  # beside common words, as in password1234
_LONGEST = 256  # characters beyond which nobody types words

# Characters beside each other: in the alphabet, and on keyboards.
_ROWS = (
    "0123456789", "1234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl",
    "qsdfghjklm", "zxcvbnm", "yxcvbnm", "wxcvbn",
)  # fmt: skip
_NEIGHBOURS = frozenset(pair for row in _ROWS for one in (row, row[::-1]) for pair in pairwise(one))

_COMMON = """
    secret secrets password passwort passwords passwd pass phrase passphrase change changeme changethis changeit me
    this it please replace replaceme webhook webhooks hook flexport flexportd example examples sample default test
    tests testing token tokens key keys api my your our the an to is not be should must very super top here put
    insert enter set choose some any random string value placeholder dummy foo bar baz qux admin administrator root
    user username letmein welcome hello world login client server production prod development dev staging sandbox
    local localhost signing signature sign hmac sha shared private public access auth todo fixme none null empty
    undefined unknown qwerty monkey dragon master iloveyou correcthorsebatterystaple deadbeef cafebabe for of and or
    in on with long enough minimum characters sixteen do use now later
"""
_WORDS = frozenset(_COMMON.split())
_LONGEST_WORD = max(map(len, _WORDS))


def objection(secret: str) -> str | None:
    """Why a secret could be guessed, without anything of it; None when nothing is plain to see."""
    unit = _unit(secret)
    if unit != secret and (len(unit) < _UNIT or _plainly(unit)):
        return "it repeats itself"
    return _plainly(secret)


def _plainly(secret: str) -> str | None:
    plain = [char for char in secret.casefold() if char.isalnum()]
    if len(set(secret)) < _FEWEST or (2 * len(plain) > len(secret) and len(set(plain)) < _FEWEST):
        return "it has too few different characters"
    if plain and _beside_runs(plain) < _REST:
        return "its characters follow each other in the alphabet or on the keyboard"
    letters = "".join(char for char in plain if not char.isdigit())
    if len(plain) - len(letters) <= _MOST_DIGITS and _is_words(letters):
        return "it is made of common words"
    return None


def _unit(text: str) -> str:
    """The shortest beginning of which the text is a repetition; the last one may be cut."""
    # The failure function of Knuth, Morris and Pratt: time grows with the length alone.
    borders, border = [0] * len(text), 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        border += text[at] == text[border]
        borders[at] = border
    period = len(text) - border if text else 0
    return text[:period] if 2 * period <= len(text) else text


def _beside_runs(text: list[str]) -> int:
    """How many characters belong to no run of neighbours, or of one character."""
    rest, run = 0, 1
    for one, two in pairwise([*text, ""]):
        if one == two or (one, two) in _NEIGHBOURS:
            run += 1
            continue
        rest += run if run < _RUN else 0
        run = 1
    return rest


def _is_words(text: str) -> bool:
    """Whether a text is made of common words alone."""
    if not 0 < len(text) <= _LONGEST:
        return False
    ends = {0}
    for end in range(1, len(text) + 1):
        if any(start in ends and text[start:end] in _WORDS for start in range(max(0, end - _LONGEST_WORD), end)):
            ends.add(end)
    return len(text) in ends
