"""`/shipment_leg`: one stretch by one vehicle. Source: https://apidocs.flexport.com/v2/tag/ShipmentLeg."""

from flexportd.flexport.models.places import ShipmentNode
from flexportd.flexport.models.wire import Day, Id, Moment, Reference, Text, WireModel, Word


class AirLeg(WireModel):
    """The flight of a leg by air."""

    iata_code: Text = None
    icao_code: Text = None
    flight_number: Text = None


class OceanLeg(WireModel):
    """The vessel of a leg by sea. `scac_code` `NONE` is a placeholder."""

    scac_code: Text = None
    vessel_name: Text = None
    vessel_imo: Text = None
    voyage_number: Text = None


class TruckingLeg(WireModel):
    """The truck of a leg by road."""

    tracking_number: Text = None
    service_type: Text = None


class AdditionalDates(WireModel):
    """Appointments and completion; absent rather than null where there is none."""

    delivery_appointment_scheduled_for_date: Moment = None
    delivery_appointment_scheduled_date: Moment = None
    delivery_completed: Moment = None


class Leg(WireModel):
    """A leg. Legs do not come in route order, can be deleted, and carry no time stamp of their own."""

    id: Id
    shipment: Reference | None = None
    transportation_mode: Word = None
    carrier_name: Text = None
    origin: ShipmentNode | None = None
    destination: ShipmentNode | None = None
    estimated_departure_date: Moment = None
    actual_departure_date: Moment = None
    estimated_arrival_date: Moment = None
    actual_arrival_date: Moment = None
    additional_dates: AdditionalDates | None = None
    cargo_ready_date: Day = None
    air_leg: AirLeg | None = None
    ocean_leg: OceanLeg | None = None
    trucking_leg: TruckingLeg | None = None
    deleted_at: Moment = None
