"""Comparing what was written with what Flexport returns.

Flexport keeps blanks around texts, leaves out empty fields, and quotes some numbers
(https://apidocs.flexport.com/v2 and recorded responses).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_EMPTY: tuple[Any, ...] = (None, "", [], {})
_AMOUNTS = ("amount", "value")  # of money and quantities


def differences(sent: Mapping[str, Any], found: Mapping[str, Any], fields: Iterable[str]) -> list[str]:
    """The names of these fields whose sent value is not the one found. A field that Flexport leaves out is equal."""
    return [name for name in fields if name in sent and name in found and not equal(sent[name], found[name])]


def equal(sent: Any, found: Any) -> bool:
    """Whether Flexport's value says the same as the sent one; Flexport may add fields to objects."""
    if sent in _EMPTY or found in _EMPTY:
        return sent in _EMPTY and found in _EMPTY
    if isinstance(sent, Mapping) and isinstance(found, Mapping):
        return all(_equal_member(name, value, found[name]) for name, value in sent.items() if name in found)
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(equal(*pair) for pair in zip(sent, found, strict=True))
    if isinstance(sent, bool) or isinstance(found, bool):
        return sent is found
    if isinstance(sent, str) and isinstance(found, str):
        return sent.strip() == found.strip()  # not as numbers: 0101 and 101 are two HS codes
    return _are_equal_numbers(sent, found)


def _equal_member(name: str, sent: Any, found: Any) -> bool:
    return equal(sent, found) or (name in _AMOUNTS and _are_equal_numbers(sent, found))


def _are_equal_numbers(sent: Any, found: Any) -> bool:
    numbers = _number(sent), _number(found)
    return None not in numbers and numbers[0] == numbers[1]


def metadata_differences(wanted: Mapping[str, Any], found: Any) -> list[str]:
    """The keys of a metadata map that differ; a value is a list of texts, and an empty one is no value."""
    have = found if isinstance(found, Mapping) else {}
    return sorted(name for name in {*wanted, *have} if _texts(wanted.get(name)) != _texts(have.get(name)))


def _texts(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return [str(one).strip() for one in listed]


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
