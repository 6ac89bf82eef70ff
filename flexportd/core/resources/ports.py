"""Ports and airports with their codes."""

from collections.abc import Mapping
from typing import Any

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import json_text, text, texts, without_placeholder
from flexportd.flexport.models.places import Place, Port, codes, kinds, zone_name
from flexportd.storage.queries.filters import contains, equals, list_contains
from flexportd.storage.queries.table import Field, Table, plain_fields

TABLE = Table(
    name="ports",
    fields=(
        Field("name"),
        Field("kinds", "list"),
        *plain_fields("unlocode", "iata", "icao", "cbp"),
        Field("codes", "json"),
        *plain_fields("city", "state", "country", "country_code", "timezone"),
    ),
    sorts={"name": "name", "id": "id"},
    filters={
        "q": contains("name", "unlocode", "iata", "icao", "cbp", "city"),
        "unlocode": equals("unlocode"),
        "iata": equals("iata"),
        "country": equals("country_code"),
        "kind": list_contains("kinds"),
    },
)


def computed_fields(port: Port) -> Mapping[str, Any]:
    """The fields from the details and the address of a port; `codes` holds its codes by kind (`cbp`: of US customs)."""
    found, address = codes(port), port.address
    return {
        "kinds": texts(kinds(port)),
        **{kind: found.get(kind) for kind in ("unlocode", "iata", "icao", "cbp")},
        "codes": json_text(found),
        "city": text(address.city) if address else None,
        "state": text(address.state) if address else None,
        "country": text(address.country) if address else None,
        "country_code": without_placeholder(address.country_code) if address else None,
        "timezone": zone_name(address.timezone) if address else None,
    }


def port_of(place: Place | None, end: str) -> dict[str, str | None]:
    """A port as the fields `<end>` (its name) and `<end>_code` (the most common of its codes)."""
    return {
        end: text(place.name) if place else None,
        f"{end}_code": next(iter(codes(place).values()), None) if place else None,
    }


RESOURCE_TYPE = ResourceType(
    name="ports",
    object_name="/place",
    wire=Port,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "address": ("unlocode", "codes", "city", "state", "country", "country_code", "timezone"),
        "details": ("kinds", "unlocode", "iata", "icao", "cbp", "codes"),
    },
    ids="text",
)
