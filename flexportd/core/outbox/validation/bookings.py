"""Bodies of bookings: https://apidocs.flexport.com/v2/tag/Booking and /tutorials/booking."""

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.cargo import check_cargo, check_container_counts
from flexportd.core.outbox.validation.carriage import (
    AIR_CODES,
    CHINA,
    OCEAN_CODES,
    check_cargo_ready_date,
    check_location,
    check_port,
    check_product_descriptions,
    port_fields,
)
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body
from flexportd.core.outbox.validation.shapes import check_metadata_values
from flexportd.core.outbox.validation.vocabulary import INCOTERMS, PAYMENT_TERMS

MODES = ("ocean_booking", "air_booking", "trucking_booking")
"""The parts of a booking of which it has exactly one."""

_EXPORT_FIELDS = ("description_for_export_customs", "description_for_export_customs_locale")


def check_new_booking(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /bookings."""
    booking = read_body(body)
    booking.require(
        "name", "shipper_entity_ref", "consignee_entity_ref", "origin_address_ref", "cargo_ready_date",
        "wants_export_customs_service", "cargo",
    )  # fmt: skip
    booking.line("name")
    for name in ("shipper_entity_ref", "consignee_entity_ref"):
        booking.check_reference(name, account.has_entity, "company entity")
    country = check_location(booking, "origin_address_ref", account)
    check_location(booking, "destination_address_ref", account)
    check_cargo_ready_date(booking, "cargo_ready_date", account)
    _check_delivery_date(booking)
    for name in ("wants_export_customs_service", "wants_import_customs_service"):
        booking.boolean(name)
    for name in ("notify_party", "special_instructions"):
        booking.text(name, blank=True)
    check_cargo(booking, "cargo")
    check_metadata_values(booking, "metadata")
    booking.exactly_one(*MODES)
    _check_ocean(booking, account, country)
    _check_air(booking, account, country)
    _check_trucking(booking)
    return booking.problems.finish()


def _check_delivery_date(booking: ObjectReader) -> None:
    delivery, ready = booking.day("delivery_date"), booking.fields.get("cargo_ready_date")
    if delivery is not None and isinstance(ready, str) and len(ready) == 10 and delivery.isoformat() < ready:
        booking.add("delivery_date", f"is {delivery}; days from the cargo_ready_date on are allowed")


def _check_ocean(booking: ObjectReader, account: Account, country: str | None) -> None:
    ocean = booking.child("ocean_booking")
    if ocean is None:
        return
    ocean.require("is_lcl", "container_counts")
    check_container_counts(ocean, "container_counts", is_lcl=ocean.boolean("is_lcl"))
    _check_carriage(booking, ocean, OCEAN_CODES, account, country)


def _check_air(booking: ObjectReader, account: Account, country: str | None) -> None:
    air = booking.child("air_booking")
    if air is not None:
        _check_carriage(booking, air, AIR_CODES, account, country)


def _check_carriage(
    booking: ObjectReader, carriage: ObjectReader, codes: tuple[str, ...], account: Account, country: str | None
) -> None:
    """What ocean and air bookings share; `country` is that of the origin address."""
    carriage.require("incoterm", "product_descriptions", "wants_pickup_service")
    carriage.choice("incoterm", INCOTERMS)
    pickup = carriage.boolean("wants_pickup_service")
    if carriage.boolean("wants_delivery_service"):
        booking.require("destination_address_ref", reason="when delivery is wanted")
    port_country = check_port(carriage, "origin", codes, account)
    check_port(carriage, "destination", codes, account)
    origin = port_fields("origin", codes)
    if pickup is False and not any(map(carriage.has, origin)):
        carriage.add(origin[0], f"is required when no pickup is wanted; any one of {', '.join(origin)} is allowed")
    check_product_descriptions(
        carriage, "product_descriptions", from_china=CHINA in (country, port_country), required=_EXPORT_FIELDS
    )


def _check_trucking(booking: ObjectReader) -> None:
    trucking = booking.child("trucking_booking")
    if trucking is None:
        return
    booking.require("destination_address_ref", reason="for a trucking booking")
    trucking.require("is_ltl", "payment_terms")
    trucking.boolean("is_ltl")
    trucking.choice("payment_terms", PAYMENT_TERMS)
    trucking.text("description_of_products", blank=True)
