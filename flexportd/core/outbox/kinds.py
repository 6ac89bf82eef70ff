"""The kinds of operations: what each sends to Flexport, how its body is checked, and how its result is found again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flexportd.core.outbox import lookup
from flexportd.core.outbox.lookup import Lookup
from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.amendments import check_amendment
from flexportd.core.outbox.validation.booking_line_items import check_new_line_item
from flexportd.core.outbox.validation.bookings import check_new_booking
from flexportd.core.outbox.validation.commercial_invoices import check_invoice_update, check_new_invoice
from flexportd.core.outbox.validation.documents import check_upload
from flexportd.core.outbox.validation.network import (
    check_new_company,
    check_new_company_entity,
    check_new_contact,
    check_new_location,
)
from flexportd.core.outbox.validation.problems import FieldProblem
from flexportd.core.outbox.validation.products import check_new_product, check_product_update
from flexportd.core.outbox.validation.shipment_metadata import check_metadata
from flexportd.storage.queries.table import Key

Group = Literal["bookings", "commercial_invoices", "documents", "network", "products", "shipments"]

Body = Mapping[str, Any]

Check = Callable[[object, Account, Key | None], list[FieldProblem]]
"""(body, account, id of the object that is changed): all problems of a body."""


@dataclass(frozen=True, kw_only=True)
class OperationKind:
    """One kind of write.

    `group` is its name in `[writes]`; `label` completes "Operation 12: …" together with the title of an operation.
    `path` contains `{id}` for a change of an object. `resource` is the resource that it creates or changes.
    `target` names what operations are ordered by; None: each operation by itself. `is_repeatable`: sending it twice has
    the effect of sending it once. `looks_first`: what exists before is needed to recognise the result.
    `refuses_existing`: it is not sent if an equal object exists. `marker_field`: the text field for the marker.
    """

    name: str
    group: Group
    label: str
    method: Literal["POST", "PATCH"]
    path: str
    resource: str | None
    check: Check
    lookup: Lookup
    title: Callable[[Body], str]
    target: Callable[[Body, str | None], str | None]
    is_repeatable: bool = False
    looks_first: bool = False
    refuses_existing: bool = False
    marker_field: str | None = None

    @property
    def changes(self) -> bool:
        """Whether it changes an object that exists, or amends a booking."""
        return "{id}" in self.path or self.name == "booking.amend"


def _without_id(check: Callable[[object, Account], list[FieldProblem]]) -> Check:
    return lambda body, account, _: check(body, account)


def _amendment(body: object, account: Account, booking_id: Key | None) -> list[FieldProblem]:
    return check_amendment(body, account, booking_id if booking_id is not None else "")


def _field(name: str) -> Callable[[Body], str]:
    return lambda body: str(body.get(name) or "").strip()[:200]


def _of_object(resource: str) -> Callable[[Body, str | None], str]:
    return lambda _, key: f"{resource}:{key}"


def _by_field(resource: str, name: str) -> Callable[[Body, str | None], str]:
    return lambda body, _: f"{resource}:{name}:{str(body.get(name) or '').strip()}"


_ENTITY = ("name", "ref", "vat_numbers")

_ALL = (
    OperationKind(
        name="product.create", group="products", label="Create product", method="POST", path="/products",
        resource="products", check=_without_id(check_new_product), lookup=lookup.find_product, title=_field("sku"),
        target=_by_field("products", "sku"), is_repeatable=True,
    ),
    OperationKind(
        name="product.update", group="products", label="Update product", method="PATCH", path="/products/{id}",
        resource="products", check=check_product_update,
        lookup=lookup.compare_object("/products", lookup.CHANGED_PRODUCT_FIELDS), title=_field("sku"),
        target=_of_object("products"), is_repeatable=True,
    ),
    OperationKind(
        name="booking.create", group="bookings", label="Create booking", method="POST", path="/bookings",
        resource="bookings", check=_without_id(check_new_booking), lookup=lookup.find_booking, title=_field("name"),
        target=lambda *_: None, marker_field="special_instructions",
    ),
    OperationKind(
        name="booking.amend", group="bookings", label="Amend booking", method="POST", path="/booking_amendments",
        resource="bookings", check=_amendment, lookup=lookup.compare_amendment, title=_field("new_name"),
        target=_of_object("bookings"), looks_first=True, marker_field="amendment_note",
    ),
    OperationKind(
        name="booking_line_item.create", group="bookings", label="Add line item to booking", method="POST",
        path="/booking_line_items", resource="booking_line_items", check=_without_id(check_new_line_item),
        lookup=lookup.find_line_item, title=lambda body: f"order line {body.get('purchase_order_line_item_id')}",
        target=lambda body, _: f"bookings:{body.get('booking_id')}", looks_first=True,
    ),
    OperationKind(
        name="commercial_invoice.create", group="commercial_invoices", label="Create commercial invoice",
        method="POST", path="/commercial_invoices", resource="commercial_invoices",
        check=_without_id(check_new_invoice), lookup=lookup.find_commercial_invoice, title=_field("invoice_number"),
        target=_by_field("commercial_invoices", "invoice_number"), looks_first=True,
    ),
    OperationKind(
        name="commercial_invoice.update", group="commercial_invoices", label="Update commercial invoice",
        method="PATCH", path="/commercial_invoices/{id}", resource="commercial_invoices", check=check_invoice_update,
        lookup=lookup.compare_object("/commercial_invoices", lookup.INVOICE_FIELDS), title=_field("invoice_number"),
        target=_of_object("commercial_invoices"), is_repeatable=True,
    ),
    OperationKind(
        name="shipment.set_metadata", group="shipments", label="Set metadata of shipment", method="PATCH",
        path="/shipments/{id}", resource="shipments", check=_without_id(check_metadata),
        lookup=lookup.compare_metadata, title=lambda body: ", ".join(map(str, body.get("metadata") or ()))[:200],
        target=_of_object("shipments"), is_repeatable=True,
    ),
    OperationKind(
        name="document.upload", group="documents", label="Upload document", method="POST", path="/documents",
        resource="documents", check=_without_id(check_upload), lookup=lookup.find_document, title=_field("file_name"),
        target=lambda body, _: f"documents:{body.get('shipment_id')}:{body.get('file_name')}", looks_first=True,
        marker_field="memo",
    ),
    OperationKind(
        name="company.create", group="network", label="Create company", method="POST", path="/network/companies",
        resource="companies", check=_without_id(check_new_company), lookup=lookup.find_by_ref("/network/companies"),
        title=_field("name"), target=_by_field("companies", "ref"), looks_first=True, refuses_existing=True,
    ),
    OperationKind(
        name="company_entity.create", group="network", label="Create company entity", method="POST",
        path="/network/company_entities", resource="company_entities", check=_without_id(check_new_company_entity),
        lookup=lookup.find_by_ref("/network/company_entities", _ENTITY), title=_field("name"),
        target=_by_field("company_entities", "ref"), looks_first=True, refuses_existing=True,
    ),
    OperationKind(
        name="contact.create", group="network", label="Create contact", method="POST", path="/network/contacts",
        resource="contacts", check=_without_id(check_new_contact), lookup=lookup.find_contact, title=_field("name"),
        target=_by_field("contacts", "email"), looks_first=True, refuses_existing=True,
    ),
    OperationKind(
        name="location.create", group="network", label="Create location", method="POST", path="/network/locations",
        resource="locations", check=_without_id(check_new_location), lookup=lookup.find_by_ref("/network/locations"),
        title=_field("name"), target=_by_field("locations", "ref"), looks_first=True, refuses_existing=True,
    ),
)  # fmt: skip

OPERATION_KINDS: Mapping[str, OperationKind] = {kind.name: kind for kind in _ALL}
"""All kinds, by name."""
