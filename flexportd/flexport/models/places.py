"""Addresses, places, nodes of a route, ports and parties: `/address`, `/place`, `/shipment_node`, `/company_entity`.

A port is a `/place` (https://apidocs.flexport.com/v2/tag/Port) without an id. It is known by its UN/LOCODE and its
name: one code may be that of a seaport and of an airport, which Flexport lists apart ("Los Angeles, CA" and
"LAX - Los Angeles - CA" are both USLAX).
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from flexportd.clock import zone_of
from flexportd.errors import MalformedError
from flexportd.flexport.models.wire import Check, Text, WireModel

LONGEST_KEY = 200  # characters

# What an entry of `details` says of a port.
KINDS = {"/ocean/port": "seaport", "/air/port": "airport", "/ocean/railport": "railport", "/trucking/port": "roadport"}
_CODES = {"port_code": "cbp", "iata_code": "iata", "icao_code": "icao"}


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
    """One end of a leg. `tags` name its part in the route, such as `port_of_loading`."""

    tags: list[str] | None = None
    place: Place | None = None
    terminal: Any = None


class CompanyEntity(WireModel):
    """A legal entity, as a party to a shipment."""

    id: int | str | None = None
    name: Text = None
    ref: Text = None


class Port(Place):
    """One port. `details` has an entry for each kind of port that it is."""

    @property
    def key(self) -> str:
        """`CNYTN/Yantian, China`; another code (`iata:LAX/…`) where there is no UN/LOCODE; else the one it has.

        Raises MalformedError when nothing identifies it.
        """
        code = next((value if kind == "unlocode" else f"{kind}:{value}" for kind, value in codes(self).items()), "")
        found = "/".join(part for part in (code, (self.name or "").strip()) if part)
        if not found:
            raise MalformedError("name: missing, and no code either: nothing identifies this port")
        return found[:LONGEST_KEY]


def codes(place: Place) -> dict[str, str]:
    """The codes of a place by kind, the best known first: `unlocode`, `iata`, `icao`, `cbp`.

    `cbp` is the number that US customs give a port (schedule D or K); all kinds of port at one place share it.
    """
    found: dict[str, str] = {}
    unlocode = place.address.unlocode if place.address else None
    if unlocode and (given := "".join(unlocode.split()).upper()):  # "US LAX" is USLAX
        found["unlocode"] = given
    for detail in _details(place):
        for member, kind in _CODES.items():
            value = detail.get(member)
            if isinstance(value, str | int) and not isinstance(value, bool) and (given := str(value).strip()):
                found.setdefault(kind, given)
    return {kind: found[kind] for kind in ("unlocode", "iata", "icao", "cbp") if kind in found}


def iata(place: Place) -> str | None:
    """The IATA code of an airport; None for a place that is none."""
    for detail in place.details or ():
        if isinstance(detail, dict) and (found := detail.get("iata_code")) and isinstance(found, str):
            return found.strip() or None
    return None


def kinds(place: Place) -> list[str]:
    """What kinds of port a place is: `seaport`, `airport`, `railport`, `roadport`; empty for an ordinary address."""
    named = [detail.get("_object") for detail in _details(place)]
    return list(dict.fromkeys(KINDS[name] for name in named if isinstance(name, str) and name in KINDS))


def _details(place: Place) -> Iterable[Mapping[str, Any]]:
    return (detail for detail in place.details or () if isinstance(detail, dict))
