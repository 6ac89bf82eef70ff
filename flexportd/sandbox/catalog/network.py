"""The account's network, which are companies with their entities, locations and contacts; its products; and ports."""

from dataclasses import dataclass

from flexportd.sandbox.catalog.companies import CATALOG, CONSIGNEES, PEOPLE, RETIRED_PRODUCTS, SELLERS, Party
from flexportd.sandbox.catalog.kinds import COMPANY, CONTACT, ENTITY, LOCATION, PORT, PRODUCT, Wire
from flexportd.sandbox.catalog.places import PLACES, WorldPlace
from flexportd.sandbox.catalog.wire_objects import Links, address, company_entity, port, product, wire_object
from flexportd.sandbox.ids import text_id


@dataclass(frozen=True, slots=True)
class _Firm:
    """A company: the first of its entities names it."""

    entities: tuple[Party, ...]
    places: tuple[WorldPlace, ...]

    @property
    def number(self) -> int:
        return self.entities[0].id


def _firms() -> list[_Firm]:
    """The account itself with its warehouses, then who else is in its network."""
    warehouses = tuple(place for key, place in PLACES.items() if key.startswith("W-"))
    own = _Firm(CONSIGNEES[:2], (CONSIGNEES[0].place, *warehouses))
    others = [CONSIGNEES[2], *(party for group in SELLERS.values() for party in group)]
    return [own, *(_Firm((party,), (party.place,)) for party in others)]


def fixed_objects(links: Links, seed: int) -> dict[str, list[Wire]]:
    """Objects that time does not change, by `_object`. The first company is the account's own."""
    found: dict[str, list[Wire]] = {kind: [] for kind in (PRODUCT, COMPANY, ENTITY, CONTACT, LOCATION)}
    found[PRODUCT] = [product(good) for good in sorted((*CATALOG, *RETIRED_PRODUCTS), key=lambda one: one.id)]
    for firm in _firms():
        ids = _Ids(seed, firm)
        found[COMPANY].append(_company(firm, ids, links))
        found[ENTITY] += [company_entity(party) for party in firm.entities]
        found[CONTACT] += [_contact(firm, ids, at, links) for at in range(len(ids.contacts))]
        found[LOCATION] += [_location(firm, ids, at, links) for at in range(len(firm.places))]
    found[PORT] = [port(place) for place in PLACES.values() if place.kinds]
    return found


class _Ids:
    def __init__(self, seed: int, firm: _Firm) -> None:
        self.company = text_id(f"{seed}{COMPANY}", firm.number)
        self.locations = [text_id(f"{seed}{LOCATION}", firm.number * 100 + at) for at in range(len(firm.places))]
        self.contacts = [text_id(f"{seed}{CONTACT}", firm.number * 100 + at) for at in range(1 + firm.number % 2)]


def _company(firm: _Firm, ids: _Ids, links: Links) -> Wire:
    return wire_object(
        COMPANY,
        id=ids.company,
        metadata={"Supplier code": [f"S-{firm.number % 1000:03d}"]} if firm.number >= 560_000 else {},
        name=firm.entities[0].name,
        ref=f"company-{firm.number}",
        entities=[company_entity(party) for party in firm.entities],
        locations=links.to_list(LOCATION, f"f.company.id={ids.company}"),
        contacts=links.to_list(CONTACT, f"f.company.id={ids.company}"),
    )


def _contact(firm: _Firm, ids: _Ids, at: int, links: Links) -> Wire:
    """Documents say `phone_number`; every sample says `phone`. Only North America has numbers for fiction."""
    name = PEOPLE[(firm.number + at) % len(PEOPLE)]
    return wire_object(
        CONTACT,
        id=ids.contacts[at],
        name=name,
        email=f"{name.lower().replace(' ', '.')}@{firm.number}.example",
        phone=f"+1 555 01{(firm.number + at) % 100:02d}" if firm.places[0].country_code in {"US", "CA"} else None,
        locations=links.to_list(LOCATION, f"f.contact.id={ids.contacts[at]}"),
        company=links.to_object(COMPANY, ids.company),
    )


def _location(firm: _Firm, ids: _Ids, at: int, links: Links) -> Wire:
    """The handle of a location is that of its address."""
    where, number = address(firm.places[at]), ids.locations[at]
    return wire_object(
        LOCATION,
        id=number,
        name=firm.places[at].name,
        address=where,
        company=links.to_object(COMPANY, ids.company),
        contacts=links.to_list(CONTACT, f"f.location.id={number}"),
        ref=where["ref"],
    )
