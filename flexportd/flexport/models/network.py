"""Who and where: companies, entities, contacts, locations, and links to them.

Sources: https://apidocs.flexport.com/v2/tag/Company, `…/CompanyEntity`, `…/Contact`, `…/Location`. Schema and samples
disagree: a contact's number is `phone_number` in one and `phone` in the other, and what the schema types as an embedded
object is a link in the samples. Both are read.
"""

from typing import Any

from pydantic import model_validator

from flexportd.flexport.models.places import Address, CompanyEntity
from flexportd.flexport.models.wire import AnyId, Flag, Reference, Text, TextId, WireModel


class Link(Reference):
    """A link to one object, which may also come as the object itself, or as a list or page that holds only it."""

    data: Any = None

    @model_validator(mode="before")
    @classmethod
    def _list_as_page(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, list) else value

    @property
    def target(self) -> int | str | None:
        """The id, a quoted number as a number; None where it names none, or several."""
        own = super().target
        return own if own is not None else self._held()

    @property
    def target_id(self) -> int | None:
        """The id as a whole number, also where it is quoted; None otherwise."""
        own = super().target_id
        held = self._held() if own is None else None
        return held if isinstance(held, int) else own

    @property
    def target_text(self) -> str | None:
        """The id as a text, for what has texts as ids; None where it names none."""
        found = self.id if self.id not in (None, "") else self._held()
        return None if found is None else str(found)

    def _held(self) -> int | str | None:
        rows = self.data if isinstance(self.data, list) else [self.data]
        if len(rows) != 1 or not isinstance(rows[0], dict):
            return None
        found = rows[0].get("id")
        return Reference(id=found).target if type(found) in (int, str) else None


class PostalAddress(Address):
    """An address with its street."""

    street_address: Text = None
    street_address2: Text = None


class VatNumber(WireModel):
    """A tax number and the country that gave it."""

    country_code: Text = None
    number: Text = None


class Entity(CompanyEntity):
    """`/company_entity`: a legal entity. Its list does not name the company that it belongs to; the company does."""

    id: AnyId
    mailing_address: PostalAddress | None = None
    vat_numbers: list[VatNumber] | None = None


class CompanysEntity(CompanyEntity):
    """A legal entity inside its company."""

    vat_numbers: list[VatNumber] | None = None


class Company(WireModel):
    """`/network/company`: a party that the client trades with; `ref` is the client's own handle."""

    id: TextId
    name: Text = None
    ref: Text = None
    editable: Flag | None = None
    entities: list[CompanysEntity] | None = None
    metadata: dict[str, Any] | None = None


class Contact(WireModel):
    """`/network/contact`: a person at a company."""

    id: TextId
    name: Text = None
    email: Text = None
    phone: Text = None
    phone_number: Text = None
    company: Link | None = None


class Location(WireModel):
    """`/network/location`: an address that freight is fetched from or brought to."""

    id: TextId
    name: Text = None
    ref: Text = None
    address: PostalAddress | None = None
    editable: Flag | None = None
    company: Link | None = None
    metadata: dict[str, Any] | None = None
