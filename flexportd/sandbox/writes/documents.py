"""Documents that a client uploads: the file is in the body, as Base64."""

import base64
import binascii

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.kinds import DOCUMENT, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import utc, wire_object
from flexportd.sandbox.writes.account import AccountObjects
from flexportd.sandbox.writes.body import RequestBody


def decode_file(body: RequestBody) -> bytes:
    """The bytes of the file. Strict Base64, without line breaks. Raises InvalidError."""
    try:
        return base64.b64decode(body.text("document"), validate=True)
    except (binascii.Error, ValueError):
        raise body.error("document", "must be Base64 without line breaks") from None


def create_document(account: AccountObjects, body: RequestBody, file: bytes) -> Wire:
    """A document of a shipment. Duplicates are accepted."""
    media_type = body.text("mime_type")
    kind, slash, subtype = media_type.partition("/")
    if not (kind and slash and subtype and media_type.isascii() and media_type.isprintable()):
        raise InvalidError(f"mime_type is {media_type[:50]!r}: it must be one such as application/pdf.", "mime_type")
    body.optional("user_email", RequestBody.text)
    shipment = account.find(SHIPMENT, body, "shipment_id")
    number = account.text_id(DOCUMENT)
    made = wire_object(
        DOCUMENT,
        id=number,
        document_type=body.text("document_type"),
        file_name=body.text("file_name"),
        memo=body.optional("memo", RequestBody.any_text),
        file_link=account.world.links.url(f"/documents/{number}/download"),
        file_metadata=wire_object("/file/metadata", size=len(file), uploaded_at=utc(account.world.now)),
        shipment=account.world.links.to_object(SHIPMENT, shipment["id"]),
    )
    account.world.store_file(number, file, media_type)
    account.world.put(made)
    return made
