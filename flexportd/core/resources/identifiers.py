"""Freight identifiers: container numbers and size-type codes (ISO 6346), IMO numbers of vessels.

Sources: ISO 6346:1995 and its amendments, as published by the Bureau International des Containers
(https://www.bic-code.org/identification-number/, https://www.bic-code.org/size-and-type-code/); IMO resolution
A.1117(30).
"""

import functools
import re

_NUMBER = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")  # owner, category (freight container, equipment, trailer), serial, check
_IMO = re.compile(r"(?:IMO[ .:#-]*)?([0-9]{7})", re.IGNORECASE)
_SEPARATORS = str.maketrans("", "", " -\N{NO-BREAK SPACE}")
_MAX_LENGTH = 40  # characters of a number

# 10 to 38 without the multiples of 11: the values of A to Z in the check digit.
_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
_VALUES |= {str(digit): digit for digit in range(10)}

# Flexport's sizes: length code and height code. A 40' box without "hc" is 8'6" high; one of 53' may be either.
_SIZES = {"twenty_ft": "22", "forty_ft": "42", "forty_ft_hc": "45", "forty_five_ft_hc": "L5", "fifty_three_ft_hc": "P5"}
# Flexport's types: the usual code of each. Tanks and bulk containers have none without their pressure; `headload`,
# `special` and `lcl` are no types of ISO 6346. `VH` is the code of the whole group.
_TYPES = {"dry": "G1", "open": "U1", "flat_rack": "P1", "reefer": "R1", "ventilated": "VH"}


def int_id(text: str) -> int | None:
    """A numeric id from a URL, a command or Flexport: up to 18 ASCII digits. None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


@functools.lru_cache(maxsize=1024)
def is_container_number(value: str | None) -> bool | None:
    """Whether a container number is one of ISO 6346: owner, category, serial number and check digit.

    None for none. Blanks, dashes and small letters do not matter: `msku 123456-5` is how people write them.
    """
    if not value:
        return None
    number = value[:_MAX_LENGTH].translate(_SEPARATORS).upper()
    if len(value) > _MAX_LENGTH or not _NUMBER.fullmatch(number):
        return False
    total = sum(_VALUES[character] << place for place, character in enumerate(number[:10]))
    return total % 11 % 10 == int(number[10])


def iso_type(size: str | None, kind: str | None) -> str | None:
    """The size-type code of ISO 6346, such as `45G1`, by Flexport's size and type; None if unknown."""
    length = _SIZES.get((size or "").casefold().replace("fourty", "forty"))
    group = _TYPES.get((kind or "").casefold())
    return length + group if length and group else None


@functools.lru_cache(maxsize=1024)
def imo_number(value: str | None) -> str | None:
    """An IMO number without its prefix; other values are returned unchanged."""
    found = _IMO.fullmatch(value) if value and len(value) <= _MAX_LENGTH else None
    return found[1] if found else value


@functools.lru_cache(maxsize=1024)
def is_imo_number(value: str | None) -> bool | None:
    """Whether an IMO number, as `imo_number` gives it, has seven digits and the right check digit. None for none."""
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{7}", value):
        return False
    return sum(int(digit) * (7 - place) for place, digit in enumerate(value[:6])) % 10 == int(value[6])
