"""Bookings, their lines and their amendments. Names are not unique: the same request twice makes two bookings.

A booking is accepted when it is answered, and confirmed by nobody: it stays `submitted`. Amendments have no list and no
address: their answer is all that a client sees of them.
"""

from datetime import timedelta

from flexportd.errors import NotFoundError
from flexportd.sandbox.catalog.kinds import AMENDMENT, BOOKING, BOOKING_LINE, ENTITY, ORDER_LINE, Wire
from flexportd.sandbox.catalog.wire_objects import utc, wire_object
from flexportd.sandbox.writes.account import PORT_CODES, AccountObjects
from flexportd.sandbox.writes.body import RequestBody

AMENDMENT_WAIT = timedelta(hours=4)
"""How long a pending amendment waits for Flexport's staff, by the time of the world."""

_MODES = {"ocean_booking": "ocean", "air_booking": "air", "trucking_booking": "truck"}
_INCOTERMS = ("EXW", "FOB", "FAS", "FCA", "CPT", "CFR", "CIF", "CIP", "DAT", "DAP", "DDP", "DPU")
_COUNTS = ("twenty_ft", "forty_ft", "forty_ft_hc", "forty_five_ft_hc")
_UNIT_TYPES = ("bag", "bale", "barrel", "carton", "crate", "package", "pallet", "roll")
_CARGO_FLAGS = (
    "contains_hazmat",
    "contains_magnets",
    "contains_other_dangerous_goods",
    "contains_li_ion",
    "contains_non_li_ion_battery",
)
_BATTERY_PACKING = (
    "packed_loose",
    "packed_with_equipment",
    "contained_in_equipment",
    "contained_in_battery_powered_vehicles",
)
# Documented at https://apidocs.flexport.com/v2/tag/BookingAmendment, and in no field of an amendment's answer.
_UNSEEN = (
    "amendment_note",
    "new_wants_import_customs_service",
    "new_wants_flexport_freight",
    "new_wants_bco",
    "new_wants_214_filing",
    "new_wants_ftz_entry",
)


def create_booking(account: AccountObjects, body: RequestBody) -> Wire:
    """A submitted booking by one of three modes."""
    mode_field = str(body.only_one(_MODES))
    origin = account.address(body, "origin_address_ref")
    destination = None
    if "destination_address_ref" in body:
        destination = account.address(body, "destination_address_ref")
    number = account.int_id(BOOKING)
    made = wire_object(
        BOOKING,
        id=number,
        name=body.text("name"),
        status="submitted",
        shipper_entity=account.by_ref(ENTITY, body, "shipper_entity_ref"),
        consignee_entity=account.by_ref(ENTITY, body, "consignee_entity_ref"),
        notify_party=body.optional("notify_party", RequestBody.any_text),
        transportation_mode=_MODES[mode_field],
        origin_address=origin,
        cargo_ready_date=body.day("cargo_ready_date"),
        destination_address=destination,
        delivery_date=body.optional("delivery_date", RequestBody.day),
        wants_export_customs_service=body.flag("wants_export_customs_service"),
        cargo=_cargo(body.part("cargo")),
        special_instructions=body.optional("special_instructions", RequestBody.any_text),
        booking_line_items=account.world.links.to_list(BOOKING_LINE, f"f.booking.id={number}"),
        created_at=utc(account.world.now),
        metadata=body.optional("metadata", RequestBody.metadata) or {},
    )
    mode = body.part(mode_field)
    if mode_field == "trucking_booking":
        made[mode_field] = _trucking(mode)
    else:
        made[mode_field] = _by_port(account, mode, _MODES[mode_field], origin)
    if destination is None and (mode_field == "trucking_booking" or made[mode_field]["wants_delivery_service"]):
        raise body.error("destination_address_ref", "is required by truck, and where delivery is wanted")
    account.world.put(made)
    return made


def create_booking_line(account: AccountObjects, body: RequestBody) -> Wire:
    """Units of a line of a purchase order on a booking."""
    line = account.find(ORDER_LINE, body, "purchase_order_line_item_id")
    booking = account.find(BOOKING, body, "booking_id")
    links = account.world.links
    made = wire_object(
        BOOKING_LINE,
        id=account.int_id(BOOKING_LINE),
        booking=links.to_object(BOOKING, booking["id"]),
        purchase_order_line_item=links.to_object(ORDER_LINE, line["id"]),
        units=body.integer("units", least=1),
    )
    account.world.put(made)
    return made


def amend_booking(account: AccountObjects, body: RequestBody, *, pending: bool) -> Wire:
    """Change a booking at once, or once `AMENDMENT_WAIT` has passed. Returns the amendment."""
    booking = account.find(BOOKING, body, "booking_id")
    if booking["status"] == "archived":
        raise body.error("booking_id", f"is {booking['id']}: this booking is archived")
    asked = _amended_fields(account, body, booking)
    if not asked and not any(name in body for name in _UNSEEN):
        raise body.error("booking_id", "is the only field: an amendment needs a change")
    # The new destination is the only change that no published field of an amendment shows.
    shown = {name: value for name, value in asked.items() if name != "new_destination_address"}
    made = wire_object(AMENDMENT, id=account.int_id(AMENDMENT), booking_id=booking["id"], is_pending=pending, **shown)
    account.world.amendments[made["id"]] = made

    def apply() -> None:
        account.world.amendments[made["id"]] = {**made, "is_pending": False}
        try:
            current = account.world.find(BOOKING, str(booking["id"]))
        except NotFoundError:
            return
        account.world.override(BOOKING, booking["id"], _applied(asked, current))

    if pending:
        account.world.schedule_change(account.world.now + AMENDMENT_WAIT, apply)
    else:
        apply()
    return made


def _amended_fields(account: AccountObjects, body: RequestBody, booking: Wire) -> Wire:
    """The fields of the amendment that are given, as it shows them."""
    mode_field = next(name for name in _MODES if booking[name] is not None)
    found: Wire = {
        "new_name": body.optional("new_name", RequestBody.text),
        "new_cargo_ready_date": body.optional("new_cargo_ready_date", RequestBody.day),
        "new_wants_pickup_service": body.optional("new_wants_pickup_service", RequestBody.flag),
        "new_metadata": body.optional("new_metadata", RequestBody.metadata),
        "new_origin_address": body.optional("new_origin_address_ref", account.address),
        "new_destination_address": body.optional("new_destination_address_ref", account.address),
    }
    if "new_cargo" in body:
        found["new_cargo"] = _cargo(body.part("new_cargo"))
    if "new_product_descriptions" in body:
        found["new_product_descriptions"] = _product_descriptions(body, "new_product_descriptions")
    if "new_container_counts" in body:
        if mode_field != "ocean_booking":
            raise body.error("new_container_counts", "is refused: this booking is not by ocean")
        found["new_container_counts"] = _counts(body.part("new_container_counts"), is_lcl=booking[mode_field]["is_lcl"])
    for end, name in (("origin", "new_port_of_loading"), ("destination", "new_port_of_unloading")):
        mode, stem = _MODES[mode_field], f"new_{end}_port"
        if mode_field != "trucking_booking":
            found[name] = account.port(mode, body, stem, PORT_CODES["ocean"])
        elif any(f"{stem}_{code}" in body for code in PORT_CODES["ocean"]):
            raise body.error(f"{stem}_loc_code", "is refused: a booking by truck has no ports")
    return {name: value for name, value in found.items() if value is not None}


def _applied(asked: Wire, booking: Wire) -> Wire:
    """The fields of a booking that an amendment replaces."""
    found = {
        name: asked[f"new_{name}"]
        for name in ("name", "origin_address", "destination_address", "cargo_ready_date", "cargo", "metadata")
        if f"new_{name}" in asked
    }
    of_mode = {
        "container_counts": "new_container_counts",
        "wants_pickup_service": "new_wants_pickup_service",
        "origin_port": "new_port_of_loading",
        "destination_port": "new_port_of_unloading",
        "product_descriptions": "new_product_descriptions",
    }
    mode_field = next(name for name in _MODES if booking[name] is not None)
    changed = {name: asked[new] for name, new in of_mode.items() if new in asked and name in booking[mode_field]}
    return {**found, mode_field: {**booking[mode_field], **changed}} if changed else found


def _by_port(account: AccountObjects, body: RequestBody, mode: str, origin: Wire) -> Wire:
    """The part of a booking by ocean or air."""
    wants_pickup = body.flag("wants_pickup_service")
    port = account.port(mode, body, "origin_port", PORT_CODES[mode])
    if port is None and not wants_pickup:
        raise body.error("origin_port_loc_code", "is required where no pickup is wanted")
    from_china = "CN" in {origin["country_code"], port and port["address"]["country_code"]}
    fields: Wire = {
        "incoterm": body.choice("incoterm", _INCOTERMS),
        "wants_pickup_service": wants_pickup,
        "wants_delivery_service": body.optional("wants_delivery_service", RequestBody.flag),
        "origin_port": port,
        "destination_port": account.port(mode, body, "destination_port", PORT_CODES[mode]),
        "product_descriptions": _product_descriptions(body, "product_descriptions", from_china=from_china),
    }
    if mode == "air":
        return wire_object("/air/booking", **fields)
    is_lcl = body.flag("is_lcl")
    counts = _counts(body.part("container_counts"), is_lcl=is_lcl)
    return wire_object("/ocean/booking", is_lcl=is_lcl, container_counts=counts, **fields)


def _trucking(body: RequestBody) -> Wire:
    """Requests say `is_ltl`, answers `is_ftl`."""
    return wire_object(
        "/trucking/booking",
        is_ftl=not body.flag("is_ltl"),
        payment_terms=body.choice("payment_terms", ("collect", "prepaid")),
        description_of_products=body.optional("description_of_products", RequestBody.any_text),
    )


def _counts(body: RequestBody, *, is_lcl: bool) -> Wire:
    counts = {name: body.integer(name) for name in _COUNTS}
    if is_lcl and any(counts.values()):
        raise body.error("twenty_ft", "and the other counts must be 0 for LCL")
    if not is_lcl and not any(counts.values()):
        raise body.error("twenty_ft", "or another count must be above 0 for FCL")
    return wire_object("/container_counts", **counts)


def _product_descriptions(body: RequestBody, name: str, *, from_china: bool = False) -> list[Wire]:
    """At least one; with a Chinese description where the goods leave mainland China."""
    customs, locale = "description_for_export_customs", "description_for_export_customs_locale"
    found = []
    for one in body.parts(name, least=1):
        if from_china:
            one.text(customs)
            one.choice(locale, ("zh_CN",))
        found.append(
            wire_object(
                "/bookings/product_description",
                description=one.text("description"),
                hs_code=wire_object("/hs_code", code=one.text("hs_code")),
                **{field: one.optional(field, RequestBody.any_text) for field in (customs, locale)},
            )
        )
    return found


def _cargo(body: RequestBody) -> Wire:
    """Weight and volume stand on the cargo, or on every one of its units."""
    units = [_shipping_unit(one) for one in body.parts("shipping_units", least=1)]
    measured = {name: _measure(body, name) for name in ("weight", "volume")}
    for name, value in measured.items():
        if value is None and any(name not in one for one in body.parts("shipping_units")):
            raise body.error(name, "is required where a shipping unit has none")
    flags = {name: body.flag(name) for name in _CARGO_FLAGS}
    packing = body.optional("lithium_batteries_packing_types", RequestBody.texts) or []
    if flags["contains_li_ion"] and not packing:
        raise body.error("lithium_batteries_packing_types", "is required where contains_li_ion is true")
    if set(packing) - set(_BATTERY_PACKING):
        raise body.error("lithium_batteries_packing_types", f"must hold only {', '.join(_BATTERY_PACKING)}")
    return wire_object(
        "/cargo",
        shipping_units=units,
        marks_and_numbers=body.optional("marks_and_numbers", RequestBody.any_text),
        lithium_batteries_packing_types=packing,
        **measured,
        **flags,
    )


def _shipping_unit(body: RequestBody) -> Wire:
    unit_type = body.choice("unit_type", _UNIT_TYPES)
    atomic = body.integer("atomic_count", least=1) if unit_type == "pallet" or "atomic_count" in body else None
    measured = {name: _measure(body, name) for name in ("weight", "volume", "height", "length", "width")}
    return wire_object(
        "/shipping_unit",
        name=body.optional("name", RequestBody.any_text),
        count=body.integer("count", least=1),
        atomic_count=atomic,
        unit_type=unit_type,
        # Dimensions that are not given are zero, as recorded.
        **{name: value for name, value in measured.items() if value is not None},
    )


def _measure(body: RequestBody, name: str) -> Wire | None:
    kind = name if name in {"weight", "volume"} else "length"
    return body.quantity(name, kind) if name in body else None
