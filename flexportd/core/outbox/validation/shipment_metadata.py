"""Bodies that set a shipment's metadata: https://apidocs.flexport.com/v2/tag/Shipment.

Flexport replaces all metadata of a shipment; ours is a change that is merged into it.
"""

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, read_body
from flexportd.core.outbox.validation.shapes import check_metadata_key


def check_metadata(body: object, account: Account) -> list[FieldProblem]:  # noqa: ARG001 (one signature for all kinds)
    """The problems of `{"metadata": {key: values}}`: a list of texts, one text, or null to remove the key."""
    shipment = read_body(body)
    shipment.require("metadata")
    metadata = shipment.child("metadata")
    if metadata is None:
        return shipment.problems.finish()
    if not metadata.fields:
        metadata.problems.add(metadata.pointer, "metadata is empty; at least one key is required")
    for key in metadata.fields:
        check_metadata_key(metadata, key)
        if isinstance(metadata.value(key), str):
            metadata.text(key, blank=True)
        else:
            for _ in metadata.texts(key):
                pass
    return shipment.problems.finish()
