"""`/document`: a file of a shipment, without its bytes. Source: https://apidocs.flexport.com/v2/tag/Document.

Ids are 22 characters that may begin with `-` or `_`. `file_name` and `memo` are documented and in no recorded answer.
"""

from flexportd.flexport.models.network import Link
from flexportd.flexport.models.wire import Moment, Text, TextId, Whole, WireModel, Word

# The types seen so far, in words. The list is open: an unknown one is as good.
TYPES = {
    "air_certification_for_safe_transport": "Certification for safe transport by air",
    "approved_house_bill_of_lading_draft": "Approved draft of the house bill of lading",
    "booking_form_csv": "Booking form (CSV)",
    "booking_form_pdf": "Booking form (PDF)",
    "booking_sheet": "Booking sheet",
    "certificate_of_origin": "Certificate of origin",
    "client_shipment_request": "Shipment request of the client",
    "commercial_invoice": "Commercial invoice",
    "commercial_invoice_packing_list": "Commercial invoice and packing list",
    "customs_entry_packet": "Customs entry packet",
    "customs_entry_summary_7501": "Customs entry summary (CBP 7501)",
    "draft_commercial_invoice_packing_list": "Draft of commercial invoice and packing list",
    "exporter_s_statement_of_origin": "Exporter's statement of origin",
    "flexport_bill_of_lading": "Flexport's bill of lading",
    "freight_forwarder_quote": "Quote of the freight forwarder",
    "importer_security_filing_isf_entry": "Importer security filing (ISF)",
    "isf_worksheet": "Worksheet for the importer security filing (ISF)",
    "lithium_battery_declaration": "Declaration of lithium batteries",
    "magnetic_testing_report": "Report of magnetic testing",
    "material_safety_data_sheet_msds": "Material safety data sheet (MSDS)",
    "nra": "Negotiated rate arrangement (NRA)",
    "packing_list": "Packing list",
    "pro_forma_invoice": "Pro forma invoice",
    "product_list": "List of products",
    "purchase_order": "Purchase order",
    "rated_commercial_invoice": "Commercial invoice with rates of duty",
    "sea_certification_for_safe_transport": "Certification for safe transport by sea",
    "shipper_s_letter_of_instructions_sli": "Shipper's letter of instructions (SLI)",
    "shipping_instructions": "Shipping instructions",
    "trucking_bill_of_lading": "Trucking bill of lading",
    "un_38_3": "Test report for lithium batteries (UN 38.3)",
    "unknown": "Unknown",
    "uploaded_by_email": "Uploaded by e-mail",
    "verified_gross_mass_declaration": "Declaration of verified gross mass (VGM)",
    "warehouse_packaging_slip": "Packaging slip of the warehouse",
}

# A file that is two papers in one.
COVERS = {"commercial_invoice_packing_list": ("commercial_invoice", "packing_list")}


class FileMetadata(WireModel):
    """Of the file: its size in bytes, and when it was uploaded."""

    size: Whole | None = None
    uploaded_at: Moment = None


class Document(WireModel):
    """A document. It carries no update stamp: it may be archived long after it was uploaded."""

    id: TextId
    document_type: Word = None
    file_name: Text = None
    memo: Text = None
    archived_at: Moment = None
    file_metadata: FileMetadata | None = None
    shipment: Link | None = None
