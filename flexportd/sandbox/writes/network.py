"""New companies, entities, contacts and locations of the account's network. References are unique among their kind."""

from flexportd.sandbox.catalog.kinds import COMPANY, CONTACT, ENTITY, LOCATION, Wire
from flexportd.sandbox.catalog.wire_objects import wire_object
from flexportd.sandbox.writes.account import AccountObjects, new_address
from flexportd.sandbox.writes.body import RequestBody


def create_company(account: AccountObjects, body: RequestBody) -> Wire:
    """A company with one entity of its name, as in the sample answer."""
    name, ref = body.text("name"), account.new_ref(COMPANY, body)
    number, links = account.text_id(COMPANY), account.world.links
    entity = _entity(account, name, None, None)
    made = wire_object(
        COMPANY,
        id=number,
        metadata={},
        name=name,
        ref=ref,
        entities=[entity],
        locations=links.to_list(LOCATION, f"f.company.id={number}"),
        contacts=links.to_list(CONTACT, f"f.company.id={number}"),
    )
    account.world.put(entity)
    account.world.put(made)
    return made


def create_company_entity(account: AccountObjects, body: RequestBody) -> Wire:
    """A legal entity of a company."""
    if body.only_one(("company_id", "company_ref")) == "company_id":
        company = account.find(COMPANY, body, "company_id")
    else:
        company = account.by_ref(COMPANY, body, "company_ref")
    address = new_address(body.part("mailing_address"), None)
    made = _entity(account, body.text("name"), account.new_ref(ENTITY, body), address)
    made["vat_numbers"] = [
        {
            "_object": "/company_entity/vat_number",
            "country_code": one.text("country_code"),
            "number": one.text("number"),
        }
        for one in body.optional("vat_numbers", RequestBody.parts) or []
    ]
    account.world.put(made)
    account.world.override(COMPANY, company["id"], {"entities": [*company["entities"], made]})
    return made


def create_contact(account: AccountObjects, body: RequestBody) -> Wire:
    """A person at a company, by default at the account's own. Contacts have no reference of their own."""
    if "company_id" in body:
        company = account.find(COMPANY, body, "company_id")
    else:
        company = account.world.collections[COMPANY].rows()[0]
    number, links = account.text_id(CONTACT), account.world.links
    made = wire_object(
        CONTACT,
        id=number,
        name=body.text("name"),
        email=body.text("email"),
        # Requests say `phone_number`, every sample answer `phone`.
        phone=body.text("phone_number"),
        locations=links.to_list(LOCATION, f"f.contact.id={number}"),
        company=links.to_object(COMPANY, company["id"]),
    )
    account.world.put(made)
    return made


def create_location(account: AccountObjects, body: RequestBody) -> Wire:
    """An address of a company, which bookings name by its reference."""
    company = account.find(COMPANY, body, "company_id")
    number, links = account.text_id(LOCATION), account.world.links
    ref = account.new_ref(LOCATION, body) or f"id-{number}"
    for contact in body.optional("contact_ids", RequestBody.texts) or []:
        if account.world.collections[CONTACT].find(contact) is None:
            raise body.error("contact_ids", f"holds {contact[:50]!r}: there is no such contact")
    made = wire_object(
        LOCATION,
        id=number,
        metadata=body.optional("metadata", RequestBody.metadata) or {},
        name=body.text("name"),
        address=new_address(body.part("address"), ref),
        company=links.to_object(COMPANY, company["id"]),
        contacts=links.to_list(CONTACT, f"f.location.id={number}"),
        ref=ref,
    )
    account.world.put(made)
    return made


def _entity(account: AccountObjects, name: str, ref: str | None, address: Wire | None) -> Wire:
    """An entity without a chosen reference gets one that its id gives, as at Flexport."""
    number = account.int_id(ENTITY)
    return wire_object(ENTITY, id=number, name=name, ref=ref or f"id-{number}", mailing_address=address, vat_numbers=[])
