"""`/booking`: a request for freight. Source: https://apidocs.flexport.com/v2/tag/Booking.

`flex_id` is in no document and in every recorded answer; `updated_at` is in a sample and was never recorded.
"""

from typing import Any

from flexportd.flexport.models.network import Link, PostalAddress
from flexportd.flexport.models.places import CompanyEntity, Place
from flexportd.flexport.models.wire import Day, Flag, Id, Moment, Number, Quantity, Text, WireModel, Word

# Freight may be called off at any of them; `archived` is that.
STATUSES = {
    "draft": "Draft, not sent yet",
    "submitted": "Sent, under review by Flexport",
    "booked": "Accepted by Flexport",
    "shipment": "Handed over to its shipment",
    "archived": "Withdrawn",
}


class BookingHsCode(WireModel):
    """A code of the harmonised system, a text: `0306.20` begins and ends with a zero. Samples leave the country out."""

    code: Text = None
    country_code: Text = None
    description: Text = None


class ProductDescription(WireModel):
    """One kind of goods on a booking."""

    description: Text = None
    description_for_export_customs: Text = None
    hs_code: BookingHsCode | str | None = None


class ShippingUnit(WireModel):
    """Some pieces of one size; weight and volume are those of one piece, and 0 means "not given"."""

    name: Text = None
    unit_type: Text = None
    count: Number = None
    atomic_count: Number = None
    weight: Quantity | None = None
    volume: Quantity | None = None
    length: Quantity | None = None
    width: Quantity | None = None
    height: Quantity | None = None


class Cargo(WireModel):
    """What is to be carried. Weight and volume may stand here, on the units, or on both."""

    weight: Quantity | None = None
    volume: Quantity | None = None
    marks_and_numbers: Text = None
    shipping_units: list[ShippingUnit] | None = None
    contains_hazmat: Flag | None = None
    contains_magnets: Flag | None = None
    contains_other_dangerous_goods: Flag | None = None
    contains_li_ion: Flag | None = None
    contains_non_li_ion_battery: Flag | None = None
    lithium_batteries_packing_types: list[Text] | None = None


class PortBooking(WireModel):
    """What bookings by sea and by air have."""

    incoterm: Word = None
    wants_pickup_service: Flag | None = None
    wants_delivery_service: Flag | None = None
    origin_port: Place | None = None
    destination_port: Place | None = None
    product_descriptions: list[ProductDescription] | None = None


class OceanBooking(PortBooking):
    """By sea. The sizes in `container_counts` are spelt `forty_ft`, those of containers `fourty_ft`."""

    is_lcl: Flag | None = None
    container_counts: dict[str, Any] | None = None


class TruckingBooking(WireModel):
    """By road. Requests say `is_ltl`, answers `is_ftl`."""

    is_ftl: Flag | None = None
    is_ltl: Flag | None = None
    payment_terms: Word = None
    description_of_products: Text = None


class Booking(WireModel):
    """A request for freight."""

    id: Id
    name: Text = None
    flex_id: Text = None
    status: Word = None
    shipment: Link | None = None
    transportation_mode: Word = None
    shipper_entity: CompanyEntity | None = None
    consignee_entity: CompanyEntity | None = None
    notify_party: Text = None
    ocean_booking: OceanBooking | None = None
    air_booking: PortBooking | None = None
    trucking_booking: TruckingBooking | None = None
    origin_address: PostalAddress | None = None
    destination_address: PostalAddress | None = None
    cargo_ready_date: Day = None
    delivery_date: Day = None
    wants_export_customs_service: Flag | None = None
    wants_import_customs_service: Flag | None = None
    cargo: Cargo | None = None
    special_instructions: Text = None
    created_at: Moment = None
    updated_at: Moment = None
    metadata: dict[str, Any] | None = None
