"""Parts that several request bodies share: quantities, money, metadata, postal addresses, codes."""

import re
from collections.abc import Collection
from decimal import Decimal

from flexportd.core.outbox.validation.problems import ObjectReader, check_text, shown
from flexportd.core.outbox.validation.vocabulary import COUNTRIES, CURRENCIES
from flexportd.core.resources.money import amount

_AMOUNT = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,10})?")
_HS_CODE = re.compile(r"[0-9]+(?:[. ][0-9]+)*")
_HS_DIGITS = range(4, 15)  # a heading has 4; national codes have up to 14 digits


def check_quantity(parent: ObjectReader, name: str, units: Collection[str]) -> Decimal | None:
    """A quantity `{value, unit}`; its value."""
    quantity = parent.child(name)
    if quantity is None:
        return None
    quantity.require("value", "unit")
    quantity.choice("unit", units)
    return quantity.positive_number("value")


def check_money(parent: ObjectReader, name: str, currency: str | None) -> Decimal | None:
    """Money `{amount, currency_code}` in the currency of its document, if that is known; the amount."""
    money = parent.child(name)
    if money is None:
        return None
    money.require("amount", "currency_code")
    found = money.choice("currency_code", CURRENCIES)
    if found is not None and currency is not None and found != currency:
        money.add("currency_code", f"is {shown(found)}; the currency of the invoice is {currency}, and one is allowed")
    return amount(money.matching("amount", _AMOUNT, 'a decimal number such as "12.34"'))


def check_hs_code(code: str) -> str | None:
    """What is wrong with an HS code, as the rest of a message; None for a valid one."""
    if _HS_CODE.fullmatch(code.strip()) and sum(map(str.isdigit, code)) in _HS_DIGITS:
        return None
    return f"is {shown(code)}; 4 to 14 digits, with dots between them or without, are allowed"


def check_country(parent: ObjectReader, name: str) -> None:
    """An ISO 3166 code of two letters."""
    parent.choice(name, COUNTRIES)


def check_metadata_values(parent: ObjectReader, name: str) -> None:
    """Metadata of a new object: key -> list of texts."""
    metadata = parent.child(name)
    if metadata is None:
        return
    for key in metadata.fields:
        check_metadata_key(metadata, key)
        for _ in metadata.texts(key):
            pass


def check_metadata_key(metadata: ObjectReader, key: str) -> None:
    """The name of a list of metadata."""
    check_text(metadata.problems, metadata.place(key), "the key", key)


def check_address(parent: ObjectReader, name: str) -> None:
    """A postal address of the network."""
    address = parent.child(name)
    if address is None:
        return
    address.require("street_address")
    address.text("street_address")
    for part in ("street_address2", "city", "state", "zip", "unlocode"):
        address.text(part, blank=True)
    check_country(address, "country_code")
