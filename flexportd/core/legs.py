"""Legs: one stretch of a shipment's route by one vehicle."""

from collections.abc import Mapping
from typing import Any

from flexportd.core.domain import Domain
from flexportd.core.values import code, day, end_of_leg, instant, moment, text
from flexportd.flexport.legs import AirLeg, Leg
from flexportd.storage.filters import part, words
from flexportd.storage.filters import text as text_filter
from flexportd.storage.resources import Field, Table

TABLE = Table(
    name="legs",
    fields=(
        Field("shipment_id", "integer"),
        Field("mode"),
        Field("carrier"),
        Field("scac"),
        Field("vessel"),
        Field("vessel_imo"),
        Field("voyage"),
        Field("flight"),
        Field("service_type"),
        Field("tracking_number"),
        Field("origin"),
        Field("origin_code"),
        Field("origin_timezone"),
        Field("origin_ref"),
        Field("origin_tags", "list"),
        Field("origin_kinds", "list"),
        Field("destination"),
        Field("destination_code"),
        Field("destination_timezone"),
        Field("destination_ref"),
        Field("destination_tags", "list"),
        Field("destination_kinds", "list"),
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
    filters={"shipment": "shipment_id = ?"},
    asks={
        "mode": words("mode"),
        "carrier": text_filter("carrier"),
        "vessel": text_filter("vessel"),
        "q": part("carrier", "vessel", "voyage", "flight", "tracking_number", "origin", "destination"),
    },
)


def normalise(leg: Leg) -> Mapping[str, Any]:
    """Our fields of a leg."""
    ocean, air, truck, dates = leg.ocean_leg, leg.air_leg, leg.trucking_leg, leg.additional_dates
    return {
        "shipment_id": leg.shipment.target_id if leg.shipment else None,
        "mode": text(leg.transportation_mode),
        "carrier": _carrier(leg.carrier_name),
        "scac": code(ocean.scac_code) if ocean else None,
        "vessel": text(ocean.vessel_name) if ocean else None,
        "vessel_imo": text(ocean.vessel_imo) if ocean else None,
        "voyage": text(ocean.voyage_number) if ocean else None,
        "flight": _flight(air) if air else None,
        "service_type": text(truck.service_type) if truck else None,
        "tracking_number": text(truck.tracking_number) if truck else None,
        **end_of_leg(leg.origin, "origin"),
        **end_of_leg(leg.destination, "destination"),
        "estimated_departure": moment(leg.estimated_departure_date),
        "actual_departure": moment(leg.actual_departure_date),
        "estimated_arrival": moment(leg.estimated_arrival_date),
        "actual_arrival": moment(leg.actual_arrival_date),
        "delivery_appointment": moment(
            dates.delivery_appointment_scheduled_for_date or dates.delivery_appointment_scheduled_date
        )
        if dates
        else None,
        "delivery_completed": moment(dates.delivery_completed) if dates else None,
        "cargo_ready_date": day(leg.cargo_ready_date),
        "deleted_at": instant(leg.deleted_at),
    }


def _flight(air: AirLeg) -> str | None:
    """The flight number with the airline's code before it, where it does not begin with that anyway."""
    airline, number = text(air.iata_code), text(air.flight_number)
    if airline and number and not number.upper().startswith(airline.upper()):
        return f"{airline} {number}"
    return number or airline


def _carrier(name: str | None) -> str | None:
    """`FLXT …` is Flexport's placeholder for a carrier that is not settled."""
    found = text(name)
    return None if found is None or found.upper().startswith("FLXT") else found


DOMAIN = Domain(
    name="legs",
    object_name="/shipment_leg",
    wire=Leg,
    table=TABLE,
    normalise=normalise,
    sources={
        "shipment": ("shipment_id",),
        "transportation_mode": ("mode",),
        "carrier_name": ("carrier",),
        "ocean_leg": ("scac", "vessel", "vessel_imo", "voyage"),
        "air_leg": ("flight",),
        "trucking_leg": ("service_type", "tracking_number"),
        "origin": (
            "origin",
            "origin_code",
            "origin_timezone",
            "origin_ref",
            "origin_tags",
            "origin_kinds",
        ),
        "destination": (
            "destination",
            "destination_code",
            "destination_timezone",
            "destination_ref",
            "destination_tags",
            "destination_kinds",
        ),
        "additional_dates": ("delivery_appointment", "delivery_completed"),
    },
)
