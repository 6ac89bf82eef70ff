"""Amounts as decimal text: exact, in one spelling, summed by currency and never across currencies.

Flexport's amounts keep their digits; calculated amounts are rounded to the currency.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from flexportd.core.resources.values import text
from flexportd.flexport.models.money import MINOR_UNITS, Money
from flexportd.flexport.models.wire import MAX_NUMBER_LENGTH, is_decimal

MAX_LENGTH = MAX_NUMBER_LENGTH

_STORED = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")  # as `format_number` writes it
_EXACT = Context(prec=400)  # exact for sums of all numbers that is_decimal accepts

Sums = dict[str | None, Decimal]
"""Currency -> sum. None: of amounts whose currency was not given."""


def decimal_text(value: object) -> str | None:
    """A number as we store it: `"125.00"` and `125` are `"125"`, `5e-1` is `"0.5"`.

    None for anything else: blank, `NaN`, digits grouped with commas, more than MAX_LENGTH characters.
    """
    if value is None:
        return None
    given = str(value).strip()
    if not is_decimal(given):
        return None
    if _STORED.fullmatch(given):  # the usual case
        return given
    found = format_number(Decimal(given))
    return found if len(found) <= MAX_LENGTH else None


def format_number(number: Decimal) -> str:
    """A number without exponent and trailing zeros; -0 becomes 0."""
    found = format(number, "f")
    if "." in found:
        found = found.rstrip("0").rstrip(".")
    return "0" if found == "-0" else found


def amount(value: Any) -> Decimal | None:
    """The number of a stored text; None for None."""
    found = decimal_text(value)
    return None if found is None else Decimal(found)


def currency(value: str | None) -> str | None:
    """A currency code in upper case."""
    found = text(value)
    return found.upper() if found else None


def money(name: str, value: Money | None) -> dict[str, str | None]:
    """The two fields of an amount: `<name>_amount` and `<name>_currency`."""
    return {
        f"{name}_amount": decimal_text(value.amount) if value else None,
        f"{name}_currency": currency(value.currency_code) if value else None,
    }


def sums(entries: Iterable[Mapping[str, Any]], name: str = "") -> Sums:
    """The sums of `<name>_amount` (or `amount`) by currency; entries without an amount are left out.

    Summed exactly, then rounded once to the currency's minor units.
    """
    prefix = f"{name}_" if name else ""
    found: Sums = {}
    for entry in entries:
        number = amount(entry.get(f"{prefix}amount"))
        if number is not None:
            unit = entry.get(f"{prefix}currency")
            found[unit] = _EXACT.add(found.get(unit, Decimal(0)), number)
    return {unit: rounded(number, unit) for unit, number in found.items()}


def rounded(number: Decimal, unit: str | None) -> Decimal:
    """A calculated amount with the digits of its currency (JPY 0, KWD 3), rounded half up."""
    return number.quantize(Decimal(1).scaleb(-minor_units(unit)), ROUND_HALF_UP, _EXACT)


def minor_units(unit: str | None) -> int:
    """The number of decimal places of a currency; 2 if unknown."""
    return MINOR_UNITS.get(unit or "", 2)


def multiply(price: Decimal, count: Decimal) -> Decimal:
    """A price times a count, exactly."""
    return _EXACT.multiply(price, count)


def subtract(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """The difference, exactly."""
    return _EXACT.subtract(minuend, subtrahend)


def as_json(found: Sums) -> list[dict[str, str | None]]:
    """Sums as JSON: `[{"amount": "12.5", "currency": "EUR"}]`, by currency, an unknown one last."""
    ordered = sorted(found.items(), key=lambda pair: (pair[0] is None, pair[0] or ""))
    return [{"amount": format_number(number), "currency": unit} for unit, number in ordered]
