"""`/customs_entry`: the filing that lets a shipment into the country; there only where Flexport is the customs broker.

Sources: https://apidocs.flexport.com/v2/tag/Customs-Entries, and for `released` and null, which the published list of
release statuses lacks, https://developers.flexport.com/tutorials/customs-entries-api-tutorial.
"""

from flexportd.flexport.models.wire import Day, Reference, Text, TextId, WireModel, Word


class CustomsEntry(WireModel):
    """A customs entry. It has no time stamp of its own; `release_date` is a calendar day."""

    id: TextId
    shipment: Reference | None = None
    entry_number: Text = None
    release_status: Word = None
    release_date: Day = None
