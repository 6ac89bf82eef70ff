"""Decimal text: amounts to the digit, in one spelling, added up by currency and never across currencies.

What Flexport gives keeps its digits; what is calculated here is rounded to the currency.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from flexportd.core.resources.values import text
from flexportd.flexport.currencies import MINOR_UNITS
from flexportd.flexport.models.money import Money
from flexportd.flexport.models.wire import MAX_NUMBER_LENGTH, is_decimal

MAX_LENGTH = MAX_NUMBER_LENGTH

_STORED = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")  # as `plain` spells it
_EXACT = Context(prec=400)  # holds every digit of sums of what is_decimal lets through

Sums = dict[str | None, Decimal]
"""Currency -> sum. None: of amounts whose currency was not given."""


def decimal_text(value: object) -> str | None:
    """A number in the one spelling that we store: `"125.00"` and `125` are `"125"`, `5e-1` is `"0.5"`.

    None for what is no number: blank, `NaN`, digits grouped with commas, longer than LONGEST.
    """
    if value is None:
        return None
    given = str(value).strip()
    if not is_decimal(given):
        return None
    if _STORED.fullmatch(given):  # nearly all are
        return given
    found = format_number(Decimal(given))
    return found if len(found) <= MAX_LENGTH else None


def format_number(number: Decimal) -> str:
    """A number without exponent, without zeros at the end of its fraction, and with one kind of nought."""
    found = format(number, "f")
    if "." in found:
        found = found.rstrip("0").rstrip(".")
    return "0" if found == "-0" else found


def amount(value: Any) -> Decimal | None:
    """The number that a stored text is; None for none."""
    found = decimal_text(value)
    return None if found is None else Decimal(found)


def currency(value: str | None) -> str | None:
    """A currency code in capitals."""
    found = text(value)
    return found.upper() if found else None


def money(name: str, value: Money | None) -> dict[str, str | None]:
    """The two fields of an amount: `<name>_amount` and `<name>_currency`."""
    return {
        f"{name}_amount": decimal_text(value.amount) if value else None,
        f"{name}_currency": currency(value.currency_code) if value else None,
    }


def sums(entries: Iterable[Mapping[str, Any]], name: str = "") -> Sums:
    """The sum of the `<name>_amount` (or `amount`) of these by their currency; what has no amount is left out.

    Added up to the digit, then rounded once to the currency's minor units.
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
    """An amount that was calculated, with the digits of its currency: none of JPY, three of KWD. Halves go up."""
    return number.quantize(Decimal(1).scaleb(-minor_units(unit)), ROUND_HALF_UP, _EXACT)


def minor_units(unit: str | None) -> int:
    """How many digits the amounts of a currency have behind the point; 2 where that is not known."""
    return MINOR_UNITS.get(unit or "", 2)


def multiply(price: Decimal, count: Decimal) -> Decimal:
    """A price times a count, to the digit."""
    return _EXACT.multiply(price, count)


def subtract(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """What is left, to the digit."""
    return _EXACT.subtract(minuend, subtrahend)


def as_json(found: Sums) -> list[dict[str, str | None]]:
    """Sums as JSON: `[{"amount": "12.5", "currency": "EUR"}]`, by currency, the unnamed one last."""
    ordered = sorted(found.items(), key=lambda pair: (pair[0] is None, pair[0] or ""))
    return [{"amount": format_number(number), "currency": unit} for unit, number in ordered]
