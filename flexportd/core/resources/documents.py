"""Documents of shipments: their types, and missing types."""

from collections.abc import Iterable, Mapping
from typing import Any

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant
from flexportd.flexport.models.documents import COVERS, TYPES, Document
from flexportd.storage.queries.filters import any_of, before, contains, is_one_of, is_present, key, since
from flexportd.storage.queries.table import Field, Table, plain_fields
from flexportd.storage.repositories.resources import Record

CUSTOMER_TYPES = frozenset(
    {
        "air_certification_for_safe_transport", "certificate_of_origin", "commercial_invoice",
        "commercial_invoice_packing_list", "exporter_s_statement_of_origin", "flexport_bill_of_lading",
        "lithium_battery_declaration", "magnetic_testing_report", "material_safety_data_sheet_msds", "packing_list",
        "sea_certification_for_safe_transport", "trucking_bill_of_lading", "un_38_3",
        "verified_gross_mass_declaration", "warehouse_packaging_slip",
    }
)  # fmt: skip
"""The types that a key for one customer may read: the documents that travel with the goods.

Excluded are the client's own prices and terms (rates, quotes, orders, duties, bookings), drafts, and unknown types.
"""

TABLE = Table(
    name="documents",
    fields=(
        Field("shipment_id", "integer"),
        *plain_fields("document_type", "file_name", "memo"),
        Field("size", "integer"),
        *plain_fields("uploaded_at", "archived_at"),
    ),
    sorts={"updated_at": "as_of", "uploaded_at": "uploaded_at", "id": "id"},
    filters={
        "shipment": key("shipment_id"),
        "type": any_of("document_type"),
        "archived": is_present("archived_at", "archived at Flexport"),
        "uploaded_since": since("uploaded_at"),
        "uploaded_before": before("uploaded_at"),
        "updated_since": since("as_of"),
        "q": contains("file_name", "memo", "document_type"),
        "for_customers": is_one_of("document_type", sorted(CUSTOMER_TYPES)),
    },
)


def computed_fields(document: Document) -> Mapping[str, Any]:
    """The fields from the metadata of the file; `size` in bytes."""
    file = document.file_metadata
    return {"size": file.size if file else None, "uploaded_at": instant(file.uploaded_at) if file else None}


def is_for_customers(fields: Mapping[str, Any]) -> bool:
    """Whether a key for one customer may read this document."""
    return fields["document_type"] in CUSTOMER_TYPES


def type_title(document_type: str | None) -> str:
    """The title of a type, also of an unknown one."""
    if not document_type:
        return TYPES["unknown"]
    return TYPES.get(document_type) or document_type.replace("_", " ").strip().capitalize()


def missing_types(documents: Iterable[Record], required: Iterable[str]) -> list[str]:
    """The required types that no document covers, in order; one file may combine two types.

    Archived documents, which Flexport still has, and removed ones do not count.
    """
    counting = (one for one in documents if one.fields["archived_at"] is None and one.removed_at is None)
    kinds = {one.fields["document_type"] or "unknown" for one in counting}
    have = {covered for kind in kinds for covered in (kind, *COVERS.get(kind, ()))}
    return [
        kind for kind in dict.fromkeys(required) if kind not in have and not have.issuperset(COVERS.get(kind, (kind,)))
    ]


RESOURCE_TYPE = ResourceType(
    name="documents",
    object_name="/document",
    wire=Document,
    table=TABLE,
    computed_fields=computed_fields,
    sources={"file_metadata": ("size", "uploaded_at")},
    ids="text",
)
