"""`/document`: a file of a shipment, without its bytes. Source: https://apidocs.flexport.com/v2/tag/Document.

Ids are 22 characters that may begin with `-` or `_`. `file_name` and `memo` are documented and in no recorded answer.
"""

from collections.abc import Mapping
from importlib import resources

import msgspec

from flexportd.flexport.models.network import Link
from flexportd.flexport.models.wire import Moment, Text, TextId, Whole, WireModel, Word

TYPES: Mapping[str, str] = msgspec.json.decode(
    resources.files("flexportd.flexport.models").joinpath("document_types.json").read_bytes(), type=dict[str, str]
)
"""The types seen so far, in words. The list is open: an unknown one is as good."""

# A file that holds two documents.
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
