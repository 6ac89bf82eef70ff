"""Addresses, places, nodes of a route, parties: `/address`, `/place`, `/shipment_node`, `/company_entity`."""

from typing import Annotated, Any

from flexportd.clock import zone_of
from flexportd.flexport.models.wire import Check, Text, WireModel


def zone_name(name: str | None) -> str | None:
    """The name of a time zone, without surrounding blanks; None for one that does not exist."""
    found = name.strip() if name else ""
    return found if found and zone_of(found) is not None else None


def _is_zone(value: str) -> bool:
    return not value.strip() or zone_of(value.strip()) is not None


class Address(WireModel):
    """A postal address; ports have no street."""

    city: Text = None
    state: Text = None
    country: Text = None
    country_code: Text = None
    zip: Text = None
    timezone: Annotated[str, Check(_is_zone, "is no known time zone", is_doubt=True)] | None = None
    unlocode: Text = None
    ref: Text = None


class Place(WireModel):
    """A named place; `details` lists port codes and is empty for ordinary addresses."""

    name: Text = None
    address: Address | None = None
    details: list[Any] | None = None


class ShipmentNode(WireModel):
    """One end of a leg. `tags` tell its part in the route, such as `port_of_loading`."""

    tags: list[str] | None = None
    place: Place | None = None
    terminal: Any = None


class CompanyEntity(WireModel):
    """A legal entity, as a party to a shipment."""

    id: int | str | None = None
    name: Text = None
    ref: Text = None
