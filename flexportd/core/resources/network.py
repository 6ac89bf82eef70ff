"""The network: companies, their legal entities, contacts and locations."""

from collections.abc import Iterable, Mapping
from typing import Any

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import json_text, text, texts, without_placeholder
from flexportd.flexport.models.network import Company, Contact, Entity, Location, PostalAddress, VatNumber
from flexportd.flexport.models.places import CompanyEntity, zone_name
from flexportd.flexport.models.wire import Reference
from flexportd.storage.queries.filters import contains, equals, key
from flexportd.storage.queries.freight_filters import ENTITIES_OF_COMPANY
from flexportd.storage.queries.table import Field, Table, plain_fields

_BY_NAME = {"name": "name", "id": "id"}

_ADDRESS = (*plain_fields("address", "city", "state", "zip", "country_code", "timezone", "unlocode"),)

COMPANIES_TABLE = Table(
    name="companies",
    fields=(
        *plain_fields("name", "ref"),
        Field("editable", "boolean"),
        *plain_fields("entities", "entity_ids", "vat_numbers", kind="list"),
        Field("metadata", "json"),
    ),
    sorts=_BY_NAME,
    filters={"q": contains("name", "ref"), "ref": equals("ref")},
)

ENTITIES_TABLE = Table(
    name="company_entities",
    fields=(Field("name"), Field("ref"), *_ADDRESS, Field("vat_numbers", "list")),
    sorts=_BY_NAME,
    filters={
        "q": contains("name", "ref", "address"),
        "ref": equals("ref"),
        "company": ENTITIES_OF_COMPANY,
        "country": equals("country_code"),
    },
)

CONTACTS_TABLE = Table(
    name="contacts",
    fields=(Field("name"), Field("email"), Field("phone"), Field("company_id")),
    sorts=_BY_NAME,
    filters={"q": contains("name", "email", "phone"), "email": equals("email"), "company": key("company_id")},
)

LOCATIONS_TABLE = Table(
    name="locations",
    fields=(
        *plain_fields("name", "ref", "company_id"),
        *_ADDRESS,
        Field("editable", "boolean"),
        Field("metadata", "json"),
    ),
    sorts=_BY_NAME,
    filters={
        "q": contains("name", "ref", "address"),
        "ref": equals("ref"),
        "company": key("company_id"),
        "country": equals("country_code"),
    },
)


def computed_company_fields(company: Company) -> Mapping[str, Any]:
    """The legal entities of a company: `entities` are their names, `vat_numbers` those of all of them."""
    entities = company.entities or []
    ids = [found for entity in entities if (found := Reference(id=entity.id).target) is not None]
    return {
        "entities": texts([entity.name for entity in entities]),
        "entity_ids": json_text(list(dict.fromkeys(ids))),
        "vat_numbers": texts([vat for entity in entities for vat in vat_lines(entity.vat_numbers)]),
    }


def computed_entity_fields(entity: Entity) -> Mapping[str, Any]:
    """The address and the tax numbers of a legal entity."""
    return {**_address(entity.mailing_address), "vat_numbers": texts(vat_lines(entity.vat_numbers))}


def computed_contact_fields(contact: Contact) -> Mapping[str, Any]:
    """The phone number of a contact."""
    return {"phone": text(contact.phone) or text(contact.phone_number)}


def computed_location_fields(location: Location) -> Mapping[str, Any]:
    """The address of a location, and its reference, which may be that of its address."""
    address = location.address
    return {**_address(address), "ref": text(location.ref) or (text(address.ref) if address else None)}


def address_line(address: PostalAddress | None) -> str | None:
    """An address in one line: `2 World Way, Los Angeles, CA 90045, United States`; None for an empty one.

    Repeated parts are left out: "Hong Kong, Hong Kong" is common.
    """
    if address is None:
        return None
    region = " ".join(found for value in (address.state, address.zip) if (found := text(value)))
    country = text(address.country) or text(address.country_code)
    lines = [text(address.street_address), text(address.street_address2), text(address.city), region, country]
    said = [found for found in lines if found]
    kept = [found for place, found in enumerate(said) if place == 0 or found.casefold() != said[place - 1].casefold()]
    return ", ".join(kept) or None


def vat_lines(numbers: Iterable[VatNumber] | None) -> list[str]:
    """Tax numbers as written on documents: with the country as prefix, once."""
    lines = []
    for vat in numbers or ():
        country, number = text(vat.country_code), text(vat.number)
        if number:
            said = country is None or number.upper().startswith(country.upper())
            lines.append(number if said else f"{country} {number}")
    return lines


def party(entity: CompanyEntity | None, role: str) -> dict[str, str | None]:
    """The name and the reference of a party, as the fields `<role>` and `<role>_ref`."""
    return {
        role: text(entity.name) if entity else None,
        f"{role}_ref": text(entity.ref) if entity else None,
    }


def _address(address: PostalAddress | None) -> dict[str, str | None]:
    return {
        "address": address_line(address),
        "city": text(address.city) if address else None,
        "state": text(address.state) if address else None,
        "zip": text(address.zip) if address else None,
        "country_code": without_placeholder(address.country_code) if address else None,
        "timezone": zone_name(address.timezone) if address else None,
        "unlocode": without_placeholder(address.unlocode) if address else None,
    }


COMPANIES_RESOURCE_TYPE = ResourceType(
    name="companies",
    object_name="/network/company",
    wire=Company,
    table=COMPANIES_TABLE,
    computed_fields=computed_company_fields,
    sources={"entities": ("entities", "entity_ids", "vat_numbers")},
    ids="text",
    singular="company",
)

ENTITIES_RESOURCE_TYPE = ResourceType(
    name="company_entities",
    object_name="/company_entity",
    wire=Entity,
    table=ENTITIES_TABLE,
    computed_fields=computed_entity_fields,
    sources={"mailing_address": ("address", "city", "state", "zip", "country_code", "timezone", "unlocode")},
    ids="any",
    singular="company entity",
)

CONTACTS_RESOURCE_TYPE = ResourceType(
    name="contacts",
    object_name="/network/contact",
    wire=Contact,
    table=CONTACTS_TABLE,
    computed_fields=computed_contact_fields,
    sources={"phone_number": ("phone",)},
    ids="text",
)

LOCATIONS_RESOURCE_TYPE = ResourceType(
    name="locations",
    object_name="/network/location",
    wire=Location,
    table=LOCATIONS_TABLE,
    computed_fields=computed_location_fields,
    sources={"address": ("address", "city", "state", "zip", "country_code", "timezone", "unlocode", "ref")},
    ids="text",
)
