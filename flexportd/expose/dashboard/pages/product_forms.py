"""The forms for a new product and for a change of one."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.validation.vocabulary import COUNTRIES, REGIONS
from flexportd.core.resources.products import RESOURCE_TYPE
from flexportd.expose.api.shipments import current_record
from flexportd.expose.dashboard.body_form import (
    FormField,
    FormRows,
    FormSection,
    body_of,
    long_lists,
    values_of,
    without_lists,
)
from flexportd.expose.dashboard.page import Page, PageTable, no_query
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.write_form import (
    OMITTED,
    FormState,
    WriteForm,
    add_change_form,
    changed_members,
    check_access,
    form_view,
    omitted_note,
    opened,
    read_choices,
    submit,
    submitted_fields,
)

CREATE, UPDATE = OPERATION_KINDS["product.create"], OPERATION_KINDS["product.update"]

PAGES = PageTable("products")

SECTIONS = (
    FormSection(
        "Product",
        (
            FormField("/name", "Name", required=True),
            FormField("/sku", "SKU", hint="Unique among the products that are not archived.", required=True),
            FormField("/description", "Description", "area"),
            FormField("/product_category", "Category"),
            FormField("/country_of_origin", "Country of origin", hint="A name, such as China."),
            FormField("/client_verified", "Verified", "yes_no"),
        ),
    ),
    FormSection(
        "HS codes",
        (
            FormRows(
                "/classifications",
                "region",
                (
                    FormField("/region", "Region", "choice", [(one, one) for one in REGIONS], required=True),
                    FormField("/codes", "Codes", "lines", hint="One on each line, such as 9405.20.", required=True),
                ),
            ),
        ),
        "Flexport's customs team must know each code and country. Ask Flexport first.",
    ),
    FormSection(
        "Suppliers",
        (
            FormRows(
                "/suppliers",
                "supplier",
                (
                    FormField("/ref", "Location", "reference", source="locations", required=True),
                    FormField(
                        "/country_of_origin", "Country of origin", "choice", [(one, one) for one in COUNTRIES],
                        required=True,
                    ),
                ),
            ),
        ),
    ),
    FormSection(
        "Properties",
        (
            FormRows(
                "/product_properties",
                "property",
                (FormField("/type", "Type", required=True), FormField("/value", "Value", required=True)),
            ),
        ),
    ),
)  # fmt: skip
"""The form of a product."""

_CLEARED: Mapping[str, Any] = {
    "description": "", "product_category": "", "country_of_origin": "", "classifications": [], "suppliers": [],
    "product_properties": [],
}  # fmt: skip


async def _query_new(request: web.Request) -> FormState:
    await no_query(request)
    return opened(request, _new_form(), {})


def _new_form() -> WriteForm:
    return WriteForm(CREATE, "New product", "/products/new", (("Writes", "/operations"),), SECTIONS)


NEW = Page("write_form.html", "products", _query_new, read_choices, lambda data, _: form_view(data))
PAGES.add("/products/new", NEW)


@PAGES.form("/products/new", scope="write")
async def submit_new(request: web.Request) -> web.StreamResponse:
    """Check or send a new product."""
    return await submit(request, _new_form(), await submitted_fields(request), NEW.render)


def editable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A product as the body of a change; a supplier without a reference has its default one."""
    suppliers = raw.get("suppliers") or []
    named = [{**one, "ref": one.get("ref") or f"id-{one.get('id')}"} for one in suppliers if isinstance(one, Mapping)]
    return {**raw, "suppliers": named}


async def _edit_form(request: web.Request) -> WriteForm:
    check_access(request, UPDATE)
    record = await current_record(request, RESOURCE_TYPE)
    name = related.title(RESOURCE_TYPE, record.fields, record.id)
    path = related.path(RESOURCE_TYPE, record.id) or ""
    body = editable(msgspec.json.decode(record.raw))
    omitted = long_lists(body, SECTIONS)
    return WriteForm(
        UPDATE,
        f"Edit {name}",
        f"{path}/edit",
        (("Products", "/products"), (name, path)),
        SECTIONS,
        lambda body, base: changed_members(base, body, _CLEARED),
        target=record.id,
        base=body_of(values_of(without_lists(body, omitted), SECTIONS), SECTIONS),
        hint=f"Only the fields that you change are sent.{omitted_note(omitted, OMITTED)}",
        omitted=omitted,
    )


add_change_form(PAGES, "/products/{id:[^/]+}/edit", "products", _edit_form)
