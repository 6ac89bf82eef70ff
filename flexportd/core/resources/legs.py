"""Legs: sections of a shipment's route by one vehicle."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flexportd.core.resources.identifiers import imo_number, is_imo_number
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import moment, text, texts, without_placeholder
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.places import ShipmentNode, iata, kinds, zone_name
from flexportd.storage.queries.filters import any_of, contains, equals, key
from flexportd.storage.queries.table import Field, Table, plain_fields

_ENDS = ("origin", "destination")


def _end_fields(end: str) -> Iterator[Field]:
    yield from plain_fields(end, f"{end}_code")
    for part, description in {
        "iata": f"IATA code of `{end}`, if it is an airport.",
        "city": f"City of `{end}`.",
        "state": f"State or province of `{end}`.",
        "country": f"Country of `{end}`.",
        "country_code": f"Country of `{end}` (ISO 3166-1 alpha-2).",
        "terminal": "Terminal within the port.",
        "timezone": f"Time zone of `{end}` (IANA name).",
    }.items():
        yield Field(f"{end}_{part}", description=description)
    yield Field(f"{end}_ref")
    yield Field(f"{end}_tags", "list", description=f"Flexport's tags of `{end}`, such as port_of_loading.")
    yield Field(f"{end}_kinds", "list", description=f"Kinds of `{end}`: seaport, airport, railport, roadport.")


TABLE = Table(
    name="legs",
    fields=(
        Field("shipment_id", "integer"),
        *plain_fields("mode", "carrier", "scac", "vessel", "vessel_imo"),
        Field("vessel_imo_valid", "boolean", description="Whether its check digit is right. Null without a number."),
        Field("voyage"),
        Field("airline", description="Name of the airline."),
        Field("airline_code", description="IATA code of the airline."),
        Field("airline_icao", description="ICAO code of the airline."),
        Field("flight_number", description="Flight number without the airline's code."),
        Field("flight", description="Flight designator, such as BR 652; null without a flight number."),
        *plain_fields("service_type", "tracking_number"),
        *(field for end in _ENDS for field in _end_fields(end)),
        Field("estimated_departure", "moment", zone="origin_timezone"),
        Field("actual_departure", "moment", zone="origin_timezone"),
        Field("estimated_arrival", "moment", zone="destination_timezone"),
        Field("actual_arrival", "moment", zone="destination_timezone"),
        Field("delivery_appointment", "moment", zone="destination_timezone"),
        Field("delivery_completed", "moment", zone="destination_timezone"),
        Field("cargo_ready_date", "day"),
        Field("deleted_at"),
    ),
    sorts={"id": "id"},
    filters={
        "shipment": key("shipment_id"),
        "mode": any_of("mode"),
        "carrier": equals("carrier"),
        "vessel": equals("vessel"),
        "q": contains("carrier", "vessel", "voyage", "flight", "tracking_number", "origin", "destination"),
    },
)

_FLIGHT_FIELDS = ("airline", "airline_code", "airline_icao", "flight_number", "flight")
_DESIGNATOR = re.compile(r"(?=[0-9]?[A-Z])[A-Z0-9]{2}[A-Z]? ?[0-9]{1,4}[A-Z]?", re.IGNORECASE)


def computed_fields(leg: Leg) -> Mapping[str, Any]:
    """The fields of a leg from its carrier, vehicle and ends, and its appointment."""
    ocean, truck, dates = leg.ocean_leg, leg.trucking_leg, leg.additional_dates
    scheduled_for = dates.delivery_appointment_scheduled_for_date if dates else None
    appointment = scheduled_for or (dates.delivery_appointment_scheduled_date if dates else None)
    imo = imo_number(text(ocean.vessel_imo)) if ocean else None
    return {
        "carrier": _carrier(leg.carrier_name),
        "scac": without_placeholder(ocean.scac_code) if ocean else None,
        "vessel": text(ocean.vessel_name) if ocean else None,
        "vessel_imo": imo,
        "vessel_imo_valid": is_imo_number(imo),
        "voyage": text(ocean.voyage_number) if ocean else None,
        **_flight(leg),
        "service_type": text(truck.service_type) if truck else None,
        "tracking_number": text(truck.tracking_number) if truck else None,
        **end_fields(leg.origin, "origin"),
        **end_fields(leg.destination, "destination"),
        "delivery_appointment": moment(appointment),
        "delivery_completed": moment(dates.delivery_completed) if dates else None,
    }


def _flight(leg: Leg) -> dict[str, str | None]:
    """The airline, its codes and the flight number; `flight` is the designator, such as `BR 652`.

    Without a flight number there is no `flight`: the code of an airline alone is not a designator.
    """
    air = leg.air_leg
    if air is None:
        return dict.fromkeys(_FLIGHT_FIELDS)
    iata, icao = without_placeholder(air.iata_code), without_placeholder(air.icao_code)
    number = without_placeholder(air.flight_number)
    airline = {
        "airline": _carrier(leg.carrier_name),
        "airline_code": iata.upper() if iata else None,
        "airline_icao": icao.upper() if icao else None,
    }
    alone = _without_prefix(number, (airline["airline_code"], airline["airline_icao"]))
    if alone is None or _DESIGNATOR.fullmatch(alone):  # no number, or with the code of another airline
        return {**airline, "flight_number": alone, "flight": alone}
    by = airline["airline_code"] or airline["airline_icao"]
    return {**airline, "flight_number": alone, "flight": f"{by} {alone}" if by else alone}


def _without_prefix(number: str | None, prefixes: Iterable[str | None]) -> str | None:
    if number is None:
        return None
    for one in prefixes:
        if one and number.upper().startswith(one) and not one.isdigit():
            return number[len(one) :].strip(" -") or None
    return number


def end_fields(node: ShipmentNode | None, end: str) -> dict[str, str | None]:
    """The fields of one end (`origin` or `destination`) of a leg."""
    place = node.place if node else None
    address = place.address if place else None
    country_code = without_placeholder(address.country_code) if address else None
    return {
        end: text(place.name) if place else None,
        f"{end}_code": without_placeholder(address.unlocode) if address else None,
        f"{end}_timezone": zone_name(address.timezone) if address else None,
        f"{end}_ref": text(address.ref) if address else None,
        f"{end}_tags": texts(node.tags or ()) if node else None,
        f"{end}_kinds": texts(kinds(place)) if place else None,
        f"{end}_iata": iata(place) if place and place.details else None,
        f"{end}_city": text(address.city) if address else None,
        f"{end}_state": text(address.state) if address else None,
        f"{end}_country": text(address.country) if address else None,
        f"{end}_country_code": country_code.upper() if country_code else None,
        f"{end}_terminal": _terminal(node.terminal) if node and node.terminal else None,
    }


def _terminal(value: Any) -> str | None:
    """The name of a terminal (`/shipment_node/terminal`, null in all recorded responses): an object or a text."""
    name = value.get("name") if isinstance(value, dict) else value
    return without_placeholder(name) if isinstance(name, str) else None


def _carrier(name: str | None) -> str | None:
    """`FLXT …` is Flexport's placeholder for an undecided carrier."""
    found = text(name)
    return None if found is None or found.upper().startswith("FLXT") else found


RESOURCE_TYPE = ResourceType(
    name="legs",
    object_name="/shipment_leg",
    wire=Leg,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "transportation_mode": ("mode",),
        "carrier_name": ("carrier", "airline"),
        "ocean_leg": ("scac", "vessel", "vessel_imo", "vessel_imo_valid", "voyage"),
        "air_leg": _FLIGHT_FIELDS,
        "trucking_leg": ("service_type", "tracking_number"),
        **{end: tuple(name for name in TABLE.names if f"{name}_".startswith(f"{end}_")) for end in _ENDS},
        "additional_dates": ("delivery_appointment", "delivery_completed"),
    },
)
