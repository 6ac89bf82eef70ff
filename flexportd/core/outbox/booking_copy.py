"""A new booking like an earlier one: the body of POST /bookings from Flexport's JSON of a booking. Pure.

Requests and responses differ: https://apidocs.flexport.com/v2/tag/Booking. Responses have objects where requests have
references and codes, and null and 0 for what was not given.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from flexportd.core.outbox.marker import without_markers
from flexportd.core.outbox.validation.vocabulary import CONTAINER_SIZES

_KEPT = ("name", "notify_party", "wants_export_customs_service", "wants_import_customs_service")
_REFERENCES = {
    "shipper_entity": "shipper_entity_ref",
    "consignee_entity": "consignee_entity_ref",
    "origin_address": "origin_address_ref",
    "destination_address": "destination_address_ref",
}
_CARRIAGE = ("is_lcl", "incoterm", "wants_pickup_service", "wants_delivery_service")
_TRUCKING = ("is_ltl", "payment_terms", "description_of_products")
_PRODUCT = ("description", "description_for_export_customs", "description_for_export_customs_locale")
_CARGO = (
    "marks_and_numbers", "contains_hazmat", "contains_magnets", "contains_other_dangerous_goods", "contains_li_ion",
    "contains_non_li_ion_battery", "lithium_batteries_packing_types",
)  # fmt: skip
_UNIT = ("name", "unit_type")
_COUNTS = ("count", "atomic_count")
_MEASURES = ("weight", "volume", "length", "width", "height")
_PORT_CODES = {"iata_code": "iata", "icao_code": "icao", "port_code": "us_cbp_port"}  # in `details` of a port
_AIR_ONLY = ("iata", "icao")


def copy_booking(booking: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a new booking with the parties, the route, the terms and the cargo of this one.

    It has no dates, since those of a new booking differ. What Flexport's JSON lacks is missing, also where it is
    required: the check of the body reports it.
    """
    body = _members(booking, _KEPT)
    for name, reference in _REFERENCES.items():
        ref = _object(booking.get(name)).get("ref")
        if isinstance(ref, str) and ref.strip():
            body[reference] = ref
    body |= _modes(booking)
    body["cargo"] = _cargo(_object(booking.get("cargo")))
    instructions = booking.get("special_instructions")
    if isinstance(instructions, str) and (kept := without_markers(instructions).strip()):
        body["special_instructions"] = kept
    metadata = {
        key: texts for key, values in _object(booking.get("metadata")).items() if (texts := _metadata_texts(values))
    }
    return {**body, "metadata": metadata} if metadata else body


def _modes(booking: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, is_air in (("ocean_booking", False), ("air_booking", True)):
        carriage = _object(booking.get(name))
        if carriage:
            found[name] = _carriage(carriage, is_air=is_air)
            if not is_air:
                found[name]["container_counts"] = _counts(_object(carriage.get("container_counts")))
    trucking = _object(booking.get("trucking_booking"))
    if trucking:
        truck = found["trucking_booking"] = _members(trucking, _TRUCKING)
        if "is_ltl" not in truck and isinstance(trucking.get("is_ftl"), bool):  # responses say is_ftl
            truck["is_ltl"] = not trucking["is_ftl"]
    return found


def _carriage(carriage: Mapping[str, Any], *, is_air: bool) -> dict[str, Any]:
    found = _members(carriage, _CARRIAGE)
    for end in ("origin", "destination"):
        found |= _port(_object(carriage.get(f"{end}_port")), end, is_air=is_air)
    found["product_descriptions"] = [_product(one) for one in _objects(carriage.get("product_descriptions"))]
    return found


def _port(port: Mapping[str, Any], end: str, *, is_air: bool) -> dict[str, str]:
    """One code of a port: its UN/LOCODE, else a code of its details."""
    unlocode = _object(port.get("address")).get("unlocode")
    if isinstance(unlocode, str) and unlocode.strip():
        return {f"{end}_port_loc_code": "".join(unlocode.split()).upper()}
    for detail in _objects(port.get("details")):
        for member, kind in _PORT_CODES.items():
            code = detail.get(member)
            if isinstance(code, str | int) and str(code).strip() and (is_air or kind not in _AIR_ONLY):
                return {f"{end}_port_{kind}_code": str(code).strip()}
    return {}


def _product(product: Mapping[str, Any]) -> dict[str, Any]:
    found = _members(product, _PRODUCT)
    code = product.get("hs_code")
    code = code.get("code") if isinstance(code, Mapping) else code
    return {**found, "hs_code": code} if isinstance(code, str) and code.strip() else found


def _counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The number of containers by size; the schema of a request has all sizes."""
    either = {name.replace("fourty", "forty"): count for name, count in counts.items()}
    return {size: _number(either.get(size)) or 0 for size in CONTAINER_SIZES}


def _cargo(cargo: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_members(cargo, _CARGO), **_measures(cargo)}
    return {**found, "shipping_units": [_unit(one) for one in _objects(cargo.get("shipping_units"))]}


def _measures(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Quantities without those of 0, which mean that nothing was given."""
    quantities = {name: _object(owner.get(name)) for name in _MEASURES}
    return {
        name: {**_members(one, ("unit",)), "value": number}
        for name, one in quantities.items()
        if (number := _number(one.get("value")))
    }


def _unit(unit: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: number for name in _COUNTS if (number := _number(unit.get(name)))}
    return {**_members(unit, _UNIT), **counts, **_measures(unit)}


def _number(value: Any) -> Any:
    """A number as JSON has it: responses quote some, and requests may not."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number if isfinite(number) else value


def _members(owner: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """These members, without null and empty ones."""
    return {name: owner[name] for name in names if owner.get(name) not in (None, "", [])}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _metadata_texts(values: Any) -> list[str]:
    listed = values if isinstance(values, list) else [values]
    return [text for one in listed if isinstance(one, str) and (text := without_markers(one).strip())]
