"""Bodies of new companies, company entities, contacts and locations: https://apidocs.flexport.com/v2/tag/Network.

A ref that is in use already is refused: by its ref alone a new object can be found after an unknown outcome.
"""

import re
from collections.abc import Callable

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body, shown, unknown_reference
from flexportd.core.outbox.validation.shapes import check_address, check_country, check_metadata_values

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def check_new_company(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /network/companies."""
    company = read_body(body)
    company.require("name")
    company.line("name")
    _check_new_ref(company, account.has_company)
    return company.problems.finish()


def check_new_company_entity(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /network/company_entities."""
    entity = read_body(body)
    entity.require("name", "mailing_address")
    entity.line("name")
    entity.exactly_one("company_id", "company_ref")
    _check_company_id(entity, account)
    entity.check_reference("company_ref", account.has_company, "company")
    check_address(entity, "mailing_address")
    _check_new_ref(entity, account.has_entity)
    for one in entity.children("vat_numbers"):
        one.require("country_code", "number")
        check_country(one, "country_code")
        one.line("number")
    return entity.problems.finish()


def check_new_contact(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /network/contacts."""
    contact = read_body(body)
    contact.require("name", "email", "phone_number")
    contact.line("name")
    contact.matching("email", _EMAIL, "an email address")
    contact.line("phone_number")
    _check_company_id(contact, account)
    return contact.problems.finish()


def check_new_location(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /network/locations."""
    location = read_body(body)
    location.require("name", "company_id", "address")
    location.line("name")
    # "The id of the company entity", says the document of a field that is called company_id: either is accepted.
    company = location.text("company_id")
    if company and {account.has("companies", company), account.has("company_entities", company)} == {False}:
        location.add("company_id", unknown_reference(company, "company"))
    check_address(location, "address")
    for place, contact in location.texts("contact_ids"):
        if account.has("contacts", contact) is False:
            location.problems.add(place, f"an item of contact_ids {unknown_reference(contact, 'contact')}")
    _check_new_ref(location, account.has_location)
    check_metadata_values(location, "metadata")
    return location.problems.finish()


def _check_company_id(parent: ObjectReader, account: Account) -> None:
    parent.check_reference("company_id", lambda key: account.has("companies", key), "company")


def _check_new_ref(parent: ObjectReader, is_used: Callable[[str], bool | None]) -> None:
    ref = parent.line("ref")
    if ref is not None and is_used(ref):
        parent.add("ref", f"is {shown(ref)}, which is in use already; one that is not is allowed")
