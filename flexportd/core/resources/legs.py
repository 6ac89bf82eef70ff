"""Legs: sections of a shipment's route by one vehicle."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from flexportd.core.resources.identifiers import imo_number, is_imo_number
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import day, instant, leg_end_fields, moment, text, without_placeholder
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.places import ShipmentNode
from flexportd.flexport.models.ports import iata
from flexportd.storage.queries.filters import any_of, contains, equals, key
from flexportd.storage.queries.table import Field, Table

TABLE = Table(
    name="legs",
    fields=(
        Field("shipment_id", "integer"),
        Field("mode"),
        Field("carrier"),
        Field("scac"),
        Field("vessel"),
        Field("vessel_imo"),
        Field(
            "vessel_imo_valid",
            "boolean",
            description="Whether its check digit is right. Null without a number.",
        ),
        Field("voyage"),
        Field("airline", description="Name of the airline."),
        Field("airline_code", description="IATA code of the airline."),
        Field("airline_icao", description="ICAO code of the airline."),
        Field("flight_number", description="Flight number without the airline's code."),
        Field("flight", description="Flight designator, such as BR 652; null without a flight number."),
        Field("service_type"),
        Field("tracking_number"),
        Field("origin"),
        Field("origin_code"),
        Field("origin_iata", description="IATA code of `origin`, if it is an airport."),
        Field("origin_city", description="City of `origin`."),
        Field("origin_state", description="State or province of `origin`."),
        Field("origin_country", description="Country of `origin`."),
        Field("origin_country_code", description="Country of `origin` (ISO 3166-1 alpha-2)."),
        Field("origin_terminal", description="Terminal within the port."),
        Field("origin_timezone", description="Time zone of `origin` (IANA name)."),
        Field("origin_ref"),
        Field("origin_tags", "list", description="Flexport's tags of `origin`, such as port_of_loading."),
        Field("origin_kinds", "list", description="Kinds of `origin`: seaport, airport, railport, roadport."),
        Field("destination"),
        Field("destination_code"),
        Field("destination_iata", description="IATA code of `destination`, if it is an airport."),
        Field("destination_city", description="City of `destination`."),
        Field("destination_state", description="State or province of `destination`."),
        Field("destination_country", description="Country of `destination`."),
        Field("destination_country_code", description="Country of `destination` (ISO 3166-1 alpha-2)."),
        Field("destination_terminal", description="Terminal within the port."),
        Field("destination_timezone", description="Time zone of `destination` (IANA name)."),
        Field("destination_ref"),
        Field("destination_tags", "list", description="Flexport's tags of `destination`, such as port_of_loading."),
        Field("destination_kinds", "list", description="Kinds of `destination`: seaport, airport, railport, roadport."),
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

_ENDS = ("origin", "destination")
_FLIGHT_FIELDS = ("airline", "airline_code", "airline_icao", "flight_number", "flight")
_DESIGNATOR = re.compile(r"(?=[0-9]?[A-Z])[A-Z0-9]{2}[A-Z]? ?[0-9]{1,4}[A-Z]?", re.IGNORECASE)


def normalise(leg: Leg) -> Mapping[str, Any]:
    """Our fields of a leg."""
    ocean, truck, dates = leg.ocean_leg, leg.trucking_leg, leg.additional_dates
    scheduled_for = dates.delivery_appointment_scheduled_for_date if dates else None
    appointment = scheduled_for or (dates.delivery_appointment_scheduled_date if dates else None)
    imo = imo_number(text(ocean.vessel_imo)) if ocean else None
    return {
        "shipment_id": leg.shipment.target_id if leg.shipment else None,
        "mode": text(leg.transportation_mode),
        "carrier": _carrier(leg.carrier_name),
        "scac": without_placeholder(ocean.scac_code) if ocean else None,
        "vessel": text(ocean.vessel_name) if ocean else None,
        "vessel_imo": imo,
        "vessel_imo_valid": is_imo_number(imo),
        "voyage": text(ocean.voyage_number) if ocean else None,
        **_flight(leg),
        "service_type": text(truck.service_type) if truck else None,
        "tracking_number": text(truck.tracking_number) if truck else None,
        **leg_end_fields(leg.origin, "origin"),
        **_location_fields(leg.origin, "origin"),
        **leg_end_fields(leg.destination, "destination"),
        **_location_fields(leg.destination, "destination"),
        "estimated_departure": moment(leg.estimated_departure_date),
        "actual_departure": moment(leg.actual_departure_date),
        "estimated_arrival": moment(leg.estimated_arrival_date),
        "actual_arrival": moment(leg.actual_arrival_date),
        "delivery_appointment": moment(appointment),
        "delivery_completed": moment(dates.delivery_completed) if dates else None,
        "cargo_ready_date": day(leg.cargo_ready_date),
        "deleted_at": instant(leg.deleted_at),
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
    """A flight number without the airline's code."""
    if number is None:
        return None
    for one in prefixes:
        if one and number.upper().startswith(one) and not one.isdigit():
            return number[len(one) :].strip(" -") or None
    return number


def _location_fields(node: ShipmentNode | None, end: str) -> dict[str, str | None]:
    """The airport, city, state, country and terminal of one end (`origin` or `destination`) of a leg."""
    place = node.place if node else None
    address = place.address if place else None
    country_code = without_placeholder(address.country_code) if address else None
    return {
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
    normalise=normalise,
    sources={
        "shipment": ("shipment_id",),
        "transportation_mode": ("mode",),
        "carrier_name": ("carrier", "airline"),
        "ocean_leg": ("scac", "vessel", "vessel_imo", "vessel_imo_valid", "voyage"),
        "air_leg": _FLIGHT_FIELDS,
        "trucking_leg": ("service_type", "tracking_number"),
        **{end: tuple(name for name in TABLE.names if f"{name}_".startswith(f"{end}_")) for end in _ENDS},
        "additional_dates": ("delivery_appointment", "delivery_completed"),
    },
)
