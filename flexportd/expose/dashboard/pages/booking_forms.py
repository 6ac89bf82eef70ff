"""The forms for a new booking, also one like an earlier one, and for an amendment of a booking."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from flexportd.core.outbox.booking_copy import copy_booking
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.validation.vocabulary import (
    CONTAINER_SIZES,
    INCOTERMS,
    LENGTH_UNITS,
    LITHIUM_PACKING,
    PAYMENT_TERMS,
    UNIT_TYPES,
    VOLUME_UNITS,
    WEIGHT_UNITS,
)
from flexportd.core.resources.bookings import RESOURCE_TYPE
from flexportd.errors import not_found
from flexportd.expose.api.shipments import current_record
from flexportd.expose.context import DB
from flexportd.expose.dashboard.body_form import (
    Choices,
    FormField,
    FormRows,
    FormSection,
    body_of,
    long_lists,
    values_of,
    without_lists,
)
from flexportd.expose.dashboard.page import Page, PageTable, redirect
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.labels import short_text
from flexportd.expose.dashboard.write_form import (
    OMITTED,
    FormState,
    WriteForm,
    add_change_form,
    changed_members,
    check_access,
    first,
    form_view,
    omitted_note,
    opened,
    read_choices,
    submit,
    submitted_fields,
)
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import parse_object_id
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

CREATE, AMEND = OPERATION_KINDS["booking.create"], OPERATION_KINDS["booking.amend"]

MODES: Mapping[str, str] = {"ocean": "Ocean", "air": "Air", "trucking": "Trucking"}
"""The modes of a booking, in words."""

_WRITES = ("Writes", "/operations")
_BOOKINGS = ("Bookings", "/bookings")

PAGES = PageTable("bookings")


def _words(values: Sequence[str]) -> Choices:
    return [(value, value.replace("_", " ").capitalize()) for value in values]


_SIZES = {
    "twenty_ft": "20 ft containers",
    "forty_ft": "40 ft containers",
    "forty_ft_hc": "40 ft high cube containers",
    "forty_five_ft_hc": "45 ft high cube containers",
}
_DANGERS = {
    "contains_hazmat": "Hazardous materials",
    "contains_magnets": "Magnets",
    "contains_other_dangerous_goods": "Other dangerous goods",
    "contains_li_ion": "Lithium-ion batteries",
    "contains_non_li_ion_battery": "Other batteries",
}
_WEIGHTS = [(unit, unit) for unit in WEIGHT_UNITS]
_VOLUMES = [(unit, {"cbm": "m³", "cbft": "ft³"}.get(unit, unit)) for unit in VOLUME_UNITS]
_LENGTHS = [(unit, unit) for unit in LENGTH_UNITS]
_PAIRS = "One line for each value: “key: value”. A key with a colon is in quotation marks."
_CHINESE = "Required for goods from mainland China."


def _products(pointer: str, also: Mapping[str, str]) -> FormSection:
    fields = (
        FormField("/description", "Description", required=True),
        FormField("/hs_code", "HS code", hint="4 to 14 digits, such as 9405.20.", required=True),
        FormField("/description_for_export_customs", "Description in Chinese", hint=_CHINESE, also=also),
    )
    return FormSection("Products", (FormRows(pointer, "product", fields),))


def _counts(pointer: str) -> tuple[FormField, ...]:
    return tuple(FormField(f"{pointer}/{size}", _SIZES[size], "whole") for size in CONTAINER_SIZES)


def _cargo(pointer: str, *, required: bool) -> tuple[FormSection, ...]:
    units = (
        FormField("/count", "Count", "whole", required=required),
        FormField("/unit_type", "Type", "choice", _words(UNIT_TYPES), required=required),
        FormField("/name", "Name"),
        FormField("/atomic_count", "Pieces inside", "whole", hint="Required for pallets."),
        FormField("/weight", "Weight of one", "quantity", _WEIGHTS),
        FormField("/volume", "Volume of one", "quantity", _VOLUMES),
        FormField("/length", "Length", "quantity", _LENGTHS),
        FormField("/width", "Width", "quantity", _LENGTHS),
        FormField("/height", "Height", "quantity", _LENGTHS),
    )
    dangers = (FormField(f"{pointer}/{name}", label, "yes_no", required=required) for name, label in _DANGERS.items())
    return (
        FormSection(
            "Cargo",
            (
                FormField(f"{pointer}/weight", "Total weight", "quantity", _WEIGHTS),
                FormField(f"{pointer}/volume", "Total volume", "quantity", _VOLUMES),
                FormField(f"{pointer}/marks_and_numbers", "Marks and numbers"),
                FormRows(f"{pointer}/shipping_units", "shipping unit", units),
            ),
            "Weight and volume are required for the whole cargo or for each shipping unit.",
        ),
        FormSection(
            "Dangerous goods",
            (
                *dangers,
                FormField(
                    f"{pointer}/lithium_batteries_packing_types", "Packing of the lithium batteries", "many",
                    _words(LITHIUM_PACKING),
                ),
            ),
            "Lithium-ion batteries require their packing.",
        ),
    )  # fmt: skip


def booking_sections(mode: str) -> tuple[FormSection, ...]:
    """The form of a new booking of a mode."""
    part, is_truck = f"/{mode}_booking", mode == "trucking"
    ports = () if is_truck else (
        FormField(f"{part}/origin_port", "Port of loading", "port", hint="Required without pickup."),
        FormField(f"{part}/destination_port", "Port of unloading", "port"),
    )  # fmt: skip
    route = (
        FormField("/shipper_entity_ref", "Shipper", "reference", source="company_entities", required=True),
        FormField("/consignee_entity_ref", "Consignee", "reference", source="company_entities", required=True),
        FormField("/origin_address_ref", "Origin", "reference", source="locations", required=True),
        FormField(
            "/destination_address_ref", "Destination", "reference", source="locations", required=is_truck,
            hint="" if is_truck else "Required with delivery.",
        ),
        *ports,
        FormField("/notify_party", "Notify party", hint="Empty: the consignee."),
    )  # fmt: skip
    services = () if is_truck else (
        FormField(f"{part}/wants_pickup_service", "Pickup", "yes_no", required=True),
        FormField(f"{part}/wants_delivery_service", "Delivery", "yes_no"),
    )  # fmt: skip
    return (
        FormSection(
            f"{MODES[mode]} booking",
            (
                FormField("/name", "Name", required=True),
                FormField("/cargo_ready_date", "Cargo ready date", "day", required=True),
                FormField("/delivery_date", "Delivery date", "day"),
            ),
        ),
        FormSection("Parties and route", route, "Only what Flexport's network has can be chosen."),
        FormSection("Terms", _terms(mode, part)),
        FormSection(
            "Services",
            (
                *services,
                FormField("/wants_export_customs_service", "Export customs", "yes_no", required=True),
                FormField("/wants_import_customs_service", "Import customs", "yes_no"),
            ),
        ),
        *(
            ()
            if is_truck
            else (_products(f"{part}/product_descriptions", {"/description_for_export_customs_locale": "zh_CN"}),)
        ),
        *_cargo("/cargo", required=True),
        FormSection(
            "Notes",
            (
                FormField("/special_instructions", "Special instructions", "area"),
                FormField("/metadata", "Metadata", "pairs", hint=_PAIRS),
            ),
        ),
    )


def _terms(mode: str, part: str) -> tuple[FormField, ...]:
    if mode == "trucking":
        load: Choices = (("true", "Less than a truck (LTL)"), ("false", "Full truck (FTL)"))
        return (
            FormField(f"{part}/is_ltl", "Load", "yes_no", load, required=True),
            FormField(f"{part}/payment_terms", "Payment", "choice", _words(PAYMENT_TERMS), required=True),
            FormField(f"{part}/description_of_products", "Products", "area"),
        )
    incoterm = FormField(f"{part}/incoterm", "Incoterm", "choice", [(one, one) for one in INCOTERMS], required=True)
    if mode == "air":
        return (incoterm,)
    load = (("true", "Less than a container (LCL)"), ("false", "Full containers (FCL)"))
    return (
        incoterm,
        FormField(f"{part}/is_lcl", "Load", "yes_no", load, required=True),
        *_counts(f"{part}/container_counts"),
    )


def _complete(body: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """A booking with the objects that it must have, and 0 for each size of container that was left empty."""
    part = f"{mode}_booking"
    carriage = dict(body.get(part, {}))
    if mode == "ocean":
        carriage["container_counts"] = _all_sizes(carriage.get("container_counts", {}))
    return {**body, part: carriage, "cargo": body.get("cargo", {})}


def _all_sizes(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {size: counts.get(size, 0) for size in CONTAINER_SIZES}


def booking_form(mode: str) -> WriteForm:
    """The form of a new booking of a mode."""
    return WriteForm(
        CREATE,
        "New booking",
        f"/bookings/new/{mode}",
        (_WRITES,),
        booking_sections(mode),
        lambda body, _: _complete(body, mode),
        hidden={"mode": mode},
        others=[(f"/bookings/new/{name}", f"Change to {title}") for name, title in MODES.items() if name != mode],
    )


# --- a new booking ---


async def _query_mode(request: web.Request) -> web.StreamResponse | None:
    """A copy needs no choice of the mode."""
    check_access(request, CREATE)
    query = query_params.parse_unique(request.query, ("copy",))
    if "copy" not in query:
        return None
    record, body = await _copied(request, query["copy"])
    mode = next((mode for mode in MODES if f"{mode}_booking" in body), "ocean")
    return redirect(f"/bookings/new/{mode}?copy={quote(str(record.id), safe='')}")


async def _copied(request: web.Request, given: str) -> tuple[Record, dict[str, Any]]:
    """A booking, and the body of a new one like it. Raises NotFoundError."""
    key = parse_object_id(RESOURCE_TYPE, given)
    record = None if key is None else await request.app[DB].read(lambda tx: _load(tx, key))
    if record is None:
        raise not_found(RESOURCE_TYPE.label, given)
    return record, copy_booking(msgspec.json.decode(record.raw))


def _load(tx: Transaction, key: Key) -> Record | None:
    return tx.resources.load(RESOURCE_TYPE.table, (key,)).get(key)


@PAGES.page("/bookings/new", "booking_mode.html", query=_query_mode, read=lambda *_: None)
def mode_page(_data: None, _context: PageContext) -> SimpleNamespace:
    """The choice of the mode."""
    return SimpleNamespace(choices=tuple(MODES.items()))


_NEW_PATH = f"/bookings/new/{{mode:{'|'.join(MODES)}}}"


async def _query_new(request: web.Request) -> FormState:
    check_access(request, CREATE)
    form = booking_form(request.match_info["mode"])
    query = query_params.parse_unique(request.query, ("copy",))
    if "copy" not in query:
        return opened(request, form, {})
    record, body = await _copied(request, query["copy"])
    name = short_text(record.fields["name"] or record.id, 80)
    omitted = long_lists(body, form.sections)
    lost = omitted_note(omitted, "which are not copied here: use `flexportd bookings copy`")
    note = f"Filled in from booking {name}. The dates are not copied.{lost}"
    return opened(request, form, without_lists(body, omitted), note)


NEW = Page("write_form.html", "bookings", _query_new, read_choices, lambda data, _: form_view(data))
PAGES.add(_NEW_PATH, NEW)


@PAGES.form(_NEW_PATH, scope="write")
async def submit_new(request: web.Request) -> web.StreamResponse:
    """Check or send a new booking; of another mode than before, what both have is kept."""
    mode, fields = request.match_info["mode"], await submitted_fields(request)
    old, new = f"/{first(fields, 'mode')}_booking/", f"/{mode}_booking/"
    kept = {name.replace(old, new, 1) if name.startswith(old) else name: texts for name, texts in fields.items()}
    return await submit(request, booking_form(mode), kept, NEW.render)


# --- an amendment ---

_SWITCHES = {
    "new_wants_import_customs_service": "Import customs",
    "new_wants_flexport_freight": "Freight by Flexport",
    "new_wants_bco": "Beneficial cargo owner (BCO)",
    "new_wants_214_filing": "Form 214 filing",
    "new_wants_ftz_entry": "Entry to a foreign trade zone (FTZ)",
}


def amendment_sections(mode: str | None) -> tuple[FormSection, ...]:
    """The form of an amendment of a booking of a mode."""
    has_ports = mode != "trucking"
    ports = (
        FormField("/new_origin_port", "Port of loading", "port"),
        FormField("/new_destination_port", "Port of unloading", "port"),
    ) if has_ports else ()  # fmt: skip
    pickup = (FormField("/new_wants_pickup_service", "Pickup", "yes_no"),) if has_ports else ()
    switches = (FormField(f"/{name}", label, "yes_no") for name, label in _SWITCHES.items())
    counts = (FormSection("Containers", _counts("/new_container_counts")),) if mode == "ocean" else ()
    return (
        FormSection(
            "Booking",
            (
                FormField("/new_name", "Name"),
                FormField("/new_cargo_ready_date", "Cargo ready date", "day"),
                FormField("/amendment_note", "Note to Flexport", "area"),
            ),
        ),
        FormSection(
            "Route",
            (
                FormField("/new_origin_address_ref", "Origin", "reference", source="locations"),
                FormField("/new_destination_address_ref", "Destination", "reference", source="locations"),
                *ports,
            ),
        ),
        *counts,
        FormSection("Services", (*pickup, *switches)),
        *((_products("/new_product_descriptions", {}),) if has_ports else ()),
        *_cargo("/new_cargo", required=False),
        FormSection("Metadata", (FormField("/new_metadata", "Metadata", "pairs", hint=_PAIRS),)),
    )  # fmt: skip


_AMENDED = {
    "name": "new_name",
    "origin_address_ref": "new_origin_address_ref",
    "destination_address_ref": "new_destination_address_ref",
    "cargo": "new_cargo",
    "metadata": "new_metadata",
    "wants_import_customs_service": "new_wants_import_customs_service",
}
_AMENDED_CARRIAGE = {
    "container_counts": "new_container_counts",
    "wants_pickup_service": "new_wants_pickup_service",
    "product_descriptions": "new_product_descriptions",
    **{f"{end}_port_{kind}_code": f"new_{end}_port_{kind}_code" for end in ("origin", "destination")
       for kind in ("loc", "us_cbp_port")},
}  # fmt: skip


def amendable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What an amendment can change of a booking, as the body of an amendment."""
    body = copy_booking(raw)
    carriage: dict[str, Any] = next((body[part] for mode in MODES if (part := f"{mode}_booking") in body), {})
    found = {new: body[old] for old, new in _AMENDED.items() if old in body}
    found |= {new: carriage[old] for old, new in _AMENDED_CARRIAGE.items() if old in carriage}
    if isinstance(raw.get("cargo_ready_date"), str):
        found["new_cargo_ready_date"] = raw["cargo_ready_date"]
    return found


def _amendment(base: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    if "new_container_counts" in {**body, **base}:
        body = {**body, "new_container_counts": _all_sizes(body.get("new_container_counts", {}))}
        base = {**base, "new_container_counts": _all_sizes(base.get("new_container_counts", {}))}
    return changed_members(base, body, {})


async def _amendment_form(request: web.Request) -> WriteForm:
    check_access(request, AMEND)
    record = await current_record(request, RESOURCE_TYPE)
    raw = msgspec.json.decode(record.raw)
    sections = amendment_sections(record.fields["mode"])
    name = related.title(RESOURCE_TYPE, record.fields, record.id)
    path = related.path(RESOURCE_TYPE, record.id) or ""
    body = amendable(raw)
    omitted = long_lists(body, sections)
    return WriteForm(
        AMEND,
        f"Amend {name}",
        f"{path}/amend",
        (_BOOKINGS, (name, path)),
        sections,
        lambda body, base: _amendment(base, body),
        target=record.id,
        base=body_of(values_of(without_lists(body, omitted), sections), sections),
        hint=f"Only the fields that you change are sent.{omitted_note(omitted, OMITTED)}",
        omitted=omitted,
    )


add_change_form(PAGES, "/bookings/{id:[^/]+}/amend", "bookings", _amendment_form)
