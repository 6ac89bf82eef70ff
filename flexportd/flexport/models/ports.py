"""`/ports`: the places that Flexport ships between, of type `/place`. Source: https://apidocs.flexport.com/v2/tag/Port.

They have no id. A port is known by its UN/LOCODE and its name: one code may stand for a seaport and an airport, which
Flexport lists apart ("Los Angeles, CA" and "LAX - Los Angeles - CA" are both USLAX).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flexportd.errors import MalformedError
from flexportd.flexport.models.places import Place

LONGEST_KEY = 200  # characters

# What an entry of `details` says of a port.
KINDS = {
    "/ocean/port": "seaport",
    "/air/port": "airport",
    "/ocean/railport": "railport",
    "/trucking/port": "roadport",
}
_CODES = {"port_code": "cbp", "iata_code": "iata", "icao_code": "icao"}


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
