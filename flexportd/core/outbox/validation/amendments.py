"""Bodies of booking amendments: https://apidocs.flexport.com/v2/tag/BookingAmendment."""

from collections.abc import Mapping
from typing import Any

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.cargo import check_cargo, check_container_counts
from flexportd.core.outbox.validation.carriage import (
    CHINA,
    OCEAN_CODES,
    check_cargo_ready_date,
    check_location,
    check_port,
    check_product_descriptions,
    port_fields,
)
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body, shown
from flexportd.core.outbox.validation.shapes import check_metadata_values
from flexportd.storage.queries.table import Key

_SWITCHES = (
    "new_wants_pickup_service",
    "new_wants_import_customs_service",
    "new_wants_flexport_freight",
    "new_wants_bco",
    "new_wants_214_filing",
    "new_wants_ftz_entry",
)


def check_amendment(body: object, account: Account, booking_id: Key) -> list[FieldProblem]:
    """The problems of the body of POST /booking_amendments, without its `booking_id`, for this booking."""
    amendment = read_body(body)
    if account.has("bookings", booking_id) is False:
        amendment.problems.add("", f"your Flexport data has no booking {shown(booking_id)}")
    record = account.find("bookings", booking_id)
    booking: Mapping[str, Any] = record.fields if record else {}
    amendment.line("new_name")
    amendment.text("amendment_note", blank=True)
    for name in _SWITCHES:
        amendment.boolean(name)
    check_container_counts(amendment, "new_container_counts", is_lcl=booking.get("is_lcl"))
    check_location(amendment, "new_destination_address_ref", account)
    check_port(amendment, "new_destination", OCEAN_CODES, account)
    check_cargo_ready_date(amendment, "new_cargo_ready_date", account)
    _check_origin(amendment, booking, account)
    check_cargo(amendment, "new_cargo")
    check_metadata_values(amendment, "new_metadata")
    amendment.require_change()
    return amendment.problems.finish()


def _check_origin(amendment: ObjectReader, booking: Mapping[str, Any], account: Account) -> None:
    """The origin, which is the booking's own where it is not changed, and what the goods need there."""
    country = check_location(amendment, "new_origin_address_ref", account)
    if not amendment.has("new_origin_address_ref") and (ref := booking.get("origin_ref")):
        country = account.location_country(ref)
    port_country = check_port(amendment, "new_origin", OCEAN_CODES, account)
    ports, own_code = port_fields("new_origin", OCEAN_CODES), booking.get("origin_port_code")
    if not any(map(amendment.has, ports)):
        port_country = account.port_country("loc", own_code) if own_code else None
        wants_no_pickup = amendment.fields.get("new_wants_pickup_service") is False
        if wants_no_pickup and own_code is None and booking.get("mode") in ("ocean", "air"):
            amendment.add(ports[0], "is required when no pickup is wanted, since the booking has no origin port")
    # The schema of a new booking has a locale beside the description; that of an amendment has none.
    check_product_descriptions(
        amendment,
        "new_product_descriptions",
        from_china=CHINA in (country, port_country),
        required=("description_for_export_customs",),
    )
