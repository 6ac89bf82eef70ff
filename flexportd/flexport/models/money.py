"""Money, and numbers as they were written: a binary float never stands between Flexport's digits and ours.

Source: the schemas Money, InvoiceRate and InvoiceQuantity of https://apidocs.flexport.com/v2/tag/Invoices. Amounts are
texts there (`"512.14"`) and bare numbers in some samples; codes such as HS codes come either way too.
"""

from pathlib import Path
from typing import Annotated, Self

import msgspec
from pydantic import ValidationError

from flexportd.errors import MalformedError
from flexportd.flexport.models.wire import Amount, Check, FieldFault, Measure, Text, WireModel, value_faults

# ISO 4217, list one of its maintenance agency, SIX Group, of 1 January 2025
# (https://www.six-group.com/en/products-services/financial-information/data-standards.html), and what was withdrawn
# since 2014 by list three: old invoices have it.
_MINOR_UNITS = msgspec.json.decode(Path(__file__).with_name("currencies.json").read_bytes(), type=dict[int, str])
MINOR_UNITS = {code: digits for digits, codes in _MINOR_UNITS.items() for code in codes.split()}
"""Currency -> digits after the decimal point of its amounts, without metals, funds and test codes."""


def _is_currency(code: str) -> bool:
    return not code.strip() or code.strip().upper() in MINOR_UNITS


Currency = Annotated[str, Check(_is_currency, "is no known currency", is_doubt=True)] | None


class ExactFloat(float):
    """A JSON number with a fraction or an exponent that remembers its digits; `str` gives them."""

    __slots__ = ("digits",)
    digits: str

    def __new__(cls, digits: str) -> Self:
        self = super().__new__(cls, digits)
        self.digits = digits
        return self

    def __str__(self) -> str:
        return self.digits


_exact = msgspec.json.Decoder(float_hook=ExactFloat)


class ExactModel(WireModel):
    """A wire model whose text fields take a number digit by digit: `512.10` is `"512.10"`."""

    @classmethod
    def load(cls, text: bytes) -> tuple[Self, list[FieldFault]]:
        """As WireModel.load, numbers as they were written."""
        try:
            value = _exact.decode(text)
        except (ValueError, RecursionError) as unreadable:
            raise MalformedError(f"not JSON: {unreadable}") from unreadable
        if not isinstance(value, dict):
            raise MalformedError("not a JSON object")
        try:
            model = cls.model_validate(value)
        except ValidationError as error:
            return cls._without_faults(value, error)
        return model, value_faults(cls, model)


class Money(WireModel):
    """An amount in one currency."""

    amount: Amount = None
    currency_code: Currency = None


class ExactQuantity(WireModel):
    """A weight or volume of goods, its value to the digit."""

    value: Measure = None
    unit: Text = None


class ChargeNumber(WireModel):
    """The rate or the quantity of a charge: `value` in the schema, `amount` in the samples."""

    value: Amount = None
    amount: Amount = None
    qualifier: Text = None

    @property
    def number(self) -> str | None:
        """The number, by whichever name it came."""
        return self.amount if self.value is None else self.value
