"""The section `[exceptions]`: from when on something is not as it should be."""

from typing import Annotated

from pydantic import Field

from flexportd.settings.sections import SectionModel
from flexportd.settings.value_types import ValueType, Whole, key, show_list

DocumentTypes = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,99}(/[a-z0-9][a-z0-9_]{0,99}){0,9}$")], ...],
    ValueType(
        "list of lower-case words such as packing_list; a/b means either", kind="list", show=show_list, missing="none"
    ),
]


def _required_documents(mode: str, *sample: str) -> DocumentTypes:
    sentence = f"Document types that a {mode} shipment needs once it has departed (Flexport's names); a/b means either."
    found: DocumentTypes = key((), sentence, shown="[]", sample=list(sample))
    return found


class RequiredDocuments(SectionModel):
    """Required documents by mode. None by default, since the types that Flexport provides differ between clients."""

    ocean: DocumentTypes = _required_documents(
        "ocean", "flexport_bill_of_lading", "commercial_invoice/commercial_invoice_packing_list"
    )
    air: DocumentTypes = _required_documents("air", "commercial_invoice/commercial_invoice_packing_list")
    truck: DocumentTypes = _required_documents("truck", "trucking_bill_of_lading")
    rail: DocumentTypes = _required_documents("rail", "commercial_invoice/commercial_invoice_packing_list")


class ExceptionsSettings(SectionModel):
    """When something counts as an exception. Days are local to the place."""

    eta_slip_days: Whole = key(2, "Report an arrival that is this many days later than first estimated.", ge=1, le=365)
    free_time_days: Whole = key(2, "Warn this many days before a container's last free day.", ge=0, le=60)
    empty_return_days: Whole = key(
        5, "Report a container not returned empty more than this many days after its delivery.", ge=1, le=365
    )
    silent_days: Whole = key(7, "Report a shipment in transit that had no update for this many days.", ge=1, le=365)
    invoice_due_days: Whole = key(3, "Warn this many days before a freight invoice is due.", ge=0, le=90)
    booking_days: Whole = key(3, "Report a booking that Flexport has not answered after this many days.", ge=1, le=90)
    required_documents: RequiredDocuments = Field(default_factory=RequiredDocuments)

    def required(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The documents by mode; of each entry any of its types will do."""
        return {
            mode: tuple(tuple(one.split("/")) for one in papers) for mode, papers in self.required_documents if papers
        }
