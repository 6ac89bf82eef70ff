"""Addresses, places, nodes of a route, parties: `/address`, `/place`, `/shipment_node`, `/company_entity`."""

from typing import Any

from flexportd.flexport.wire import Text, WireModel


class Address(WireModel):
    """A postal address; ports have no street."""

    city: Text = None
    state: Text = None
    country: Text = None
    country_code: Text = None
    zip: Text = None
    timezone: Text = None
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
