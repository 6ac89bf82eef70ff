"""Parts of bookings and amendments beside the cargo: ports, addresses, days and descriptions of the products.

Source: https://apidocs.flexport.com/v2/tag/Booking and /tutorials/booking.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import ObjectReader, unknown_reference
from flexportd.core.outbox.validation.shapes import check_hs_code
from flexportd.core.outbox.validation.vocabulary import EXPORT_LOCALES

CHINA = "CN"
"""The ISO 3166 code of mainland China; Hong Kong, Macau and Taiwan have their own."""

OCEAN_CODES = ("loc", "us_cbp_port")
AIR_CODES = ("loc", "us_cbp_port", "iata", "icao")


class CodeForm(NamedTuple):
    """The form of a kind of port code."""

    pattern: re.Pattern[str]
    description: str
    label: str


_FORMS = {
    "loc": CodeForm(re.compile("[A-Z]{2}[A-Z0-9]{3}"), "a UN/LOCODE such as CNYTN", "port with this UN/LOCODE"),
    "us_cbp_port": CodeForm(
        re.compile("[0-9]{4,5}"), 'a code of US customs such as "2704", 4 or 5 digits,', "port with this code"
    ),
    "iata": CodeForm(re.compile("[A-Z0-9]{3}"), "an IATA code such as HKG", "airport with this IATA code"),
    "icao": CodeForm(re.compile("[A-Z0-9]{4}"), "an ICAO code such as VHHH", "airport with this ICAO code"),
}


def port_fields(end: str, kinds: Sequence[str]) -> list[str]:
    """The fields of the codes of one end's port: `origin_port_loc_code`."""
    return [f"{end}_port_{kind}_code" for kind in kinds]


def check_port(carriage: ObjectReader, end: str, kinds: Sequence[str], account: Account) -> str | None:
    """At most one code for the port of this end (`origin`, `new_destination`); the country of that port, if known."""
    country = None
    for kind, name in zip(kinds, port_fields(end, kinds), strict=True):
        form = _FORMS[kind]
        code = carriage.matching(name, form.pattern, form.description)
        if code is None:
            continue
        if account.has_port(kind, code) is False:
            carriage.add(name, unknown_reference(code, form.label))
        country = country or account.port_country(kind, code)
    carriage.at_most_one(*port_fields(end, kinds))
    return country


def check_product_descriptions(
    parent: ObjectReader, name: str, *, from_china: bool, required: Sequence[str] = ()
) -> None:
    """The goods with their HS codes; `required` are the fields that goods from mainland China need."""
    for product in parent.children(name, empty=False):
        product.require("description", "hs_code")
        if from_china:
            product.require(*required, reason="for goods from mainland China")
        product.text("description")
        product.text("description_for_export_customs")
        product.choice("description_for_export_customs_locale", EXPORT_LOCALES)
        code = product.text("hs_code")
        if code is not None and (wrong := check_hs_code(code)) is not None:
            product.add("hs_code", wrong)


def check_cargo_ready_date(parent: ObjectReader, name: str, account: Account) -> None:
    """A day that is not over everywhere on Earth."""
    ready = parent.day(name)
    if ready is not None and ready < account.earliest_today:
        parent.add(name, f"is {ready}, which is past; {account.today} and later days are allowed")


def check_location(parent: ObjectReader, name: str, account: Account) -> str | None:
    """The ref of a location of the network; the country of that location, if known."""
    parent.check_reference(name, account.has_location, "location")
    ref = parent.fields.get(name)
    return account.location_country(ref) if isinstance(ref, str) else None
