"""Flexport's names for objects: one spelling for each, as seen in answers and documents.

Source: the `_object` values of https://apidocs.flexport.com/v2 and of recorded answers.
"""

_ALIASES = {
    "/shipments": "/shipment",
    "/commercial_invoices": "/commercial_invoice",
    "/customs_entries": "/customs_entry",
    "/company/entity": "/company_entity",
    "/bookings/product_descriptions": "/bookings/product_description",
    "/file_metadata": "/file/metadata",
    "file/metadata": "/file/metadata",
    "api/refs/object": "/api/refs/object",
    "company_entity/vat_number": "/company_entity/vat_number",
    "/network/contacts": "/network/contact",
}


def canonical(object_name: str) -> str:
    """The one spelling of an `_object`: `/shipments` is `/shipment`. Unknown names come back unchanged."""
    return _ALIASES.get(object_name, object_name)
