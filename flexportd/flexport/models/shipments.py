"""`/shipment`: one client's cargo from seller to door. Source: https://apidocs.flexport.com/v2/tag/Shipment."""

from typing import Any

from flexportd.flexport.models.places import CompanyEntity
from flexportd.flexport.models.wire import Count, Day, Flag, Id, Moment, Quantity, Reference, Text, WireModel, Word

# In the order of travel; the text shown to people says what each means.
STATUSES = {
    "seller_location": "At the seller",
    "origin_stop_off": "Stop before departure",
    "in_transit_to_departure_port": "On the way to port of departure",
    "departure_port": "At port of departure",
    "in_transit_to_intermediary_port": "On the way to transshipment",
    "intermediary_port": "At transshipment port",
    "in_transit_to_arrival_port": "On the way to port of arrival",
    "arrival_port": "At port of arrival",
    "deconsolidation": "Being deconsolidated",
    "in_transit_to_final_destination": "On the way to destination",
    "destination_stop_off": "Stop before destination",
    "gated_out": "Left the terminal",
    "final_destination": "Delivered",
}

MODES = (
    "ocean", "air", "truck", "rail", "ocean_air", "truck_intl", "barge", "warehouse_storage", "unknown_transportation",
)  # fmt: skip


class OceanShipment(WireModel):
    """What only sea freight has. `house_bill_number` may join several with commas."""

    is_lcl: Flag | None = None
    house_bill_number: Text = None
    master_bill_number: Text = None
    carrier_booking_number: Text = None


class AirShipment(WireModel):
    """What only air freight has."""

    house_airway_bill: Text = None
    master_airway_bill: Text = None


class ItemProduct(WireModel):
    """The product of one shipped item."""

    id: int | str | None = None
    name: Text = None
    sku: Text = None


class ShipmentItem(WireModel):
    """Goods on a shipment; filled only once commercial invoices are digitised."""

    id: int | str | None = None
    purchase_order_number: Text = None
    product: ItemProduct | None = None


class Shipment(WireModel):
    """A shipment. Undecorated dates such as `arrival_date` are deprecated and not read."""

    id: Id
    name: Text = None
    transportation_mode: Word = None
    status: Word = None
    freight_type: Word = None
    incoterm: Word = None
    priority: Word = None
    pieces: Count | None = None
    calculated_weight: Quantity | None = None
    calculated_volume: Quantity | None = None
    it_number: Text = None
    created_date: Moment = None
    updated_at: Moment = None
    archived_at: Moment = None
    estimated_departure_date: Moment = None
    actual_departure_date: Moment = None
    estimated_arrival_date: Moment = None
    actual_arrival_date: Moment = None
    estimated_picked_up_in_full_date: Moment = None
    actual_picked_up_in_full_date: Moment = None
    estimated_delivered_in_full_date: Moment = None
    actual_delivered_in_full_date: Moment = None
    cargo_ready_date: Day = None
    ocean_shipment: OceanShipment | None = None
    air_shipment: AirShipment | None = None
    shippers: list[CompanyEntity] | None = None
    consignees: list[CompanyEntity] | None = None
    buyers: list[CompanyEntity] | None = None
    sellers: list[CompanyEntity] | None = None
    importers_of_record: list[CompanyEntity] | None = None
    items: list[ShipmentItem] | None = None
    booking: Reference | None = None
    metadata: dict[str, Any] | None = None
