"""Bodies of document uploads: https://apidocs.flexport.com/v2/tag/Document and /tutorials/documents-api-tutorial."""

import binascii
import difflib
import re

from flexportd.core.documents.file_types import HEAD_SIZE, reject_reason
from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body, shown
from flexportd.core.outbox.validation.vocabulary import DOCUMENT_TYPES
from flexportd.escape import closest_match

MAX_FILE_SIZE = 20 * 2**20
"""Bytes of a file. Flexport documents no limit."""

_MAX_BASE64_LENGTH = -(-MAX_FILE_SIZE // 3) * 4
_TYPE = re.compile("[a-z0-9]+(?:_[a-z0-9]+)*")
_MIME_TYPE = re.compile(r"[a-z]{1,30}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.IGNORECASE)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_FILE_NAME = re.compile(r"[^/\\]+")


def check_upload(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /documents."""
    upload = read_body(body)
    upload.require("file_name", "mime_type", "document_type", "document", "shipment_id")
    if upload.line("file_name") is not None:
        upload.matching("file_name", _FILE_NAME, "a name without slashes")
    mime_type = upload.matching("mime_type", _MIME_TYPE, "a media type such as application/pdf")
    _check_type(upload)
    upload.check_id("shipment_id", lambda key: account.has("shipments", key), "shipment")
    upload.text("memo", blank=True)
    upload.matching("user_email", _EMAIL, "an email address")
    content = _content(upload)
    reason = None if content is None or mime_type is None else reject_reason(mime_type, content[:HEAD_SIZE])
    if reason is not None:
        upload.add("document", f"is not what mime_type says: {reason}")
    return upload.problems.finish()


def _check_type(upload: ObjectReader) -> None:
    """A type of the documented ones, or another: their list is not complete. One that is nearly the same is a slip."""
    found = upload.text("document_type")
    if found is None or found in DOCUMENT_TYPES:
        return
    near = difflib.get_close_matches(found[:100], DOCUMENT_TYPES, n=1, cutoff=0.9)
    if near or not _TYPE.fullmatch(found):
        guess = near[0] if near else closest_match(found, DOCUMENT_TYPES)
        hint = f"did you mean {guess}?" if guess else "lower-case words such as packing_list are allowed"
        upload.add("document_type", f"is {shown(found)}; {hint}")


def _content(upload: ObjectReader) -> bytes | None:
    """The bytes of the file, from strict Base64."""
    encoded = upload.text("document")
    if encoded is None:
        return None
    if len(encoded) > _MAX_BASE64_LENGTH:
        upload.add("document", f"has {len(encoded)} characters; a file of 20 MiB, {_MAX_BASE64_LENGTH}, is allowed")
        return None
    try:
        content = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as wrong:
        upload.add("document", f"is no valid Base64 ({wrong}); Base64 with padding and without line breaks is allowed")
        return None
    if len(content) > MAX_FILE_SIZE:
        upload.add("document", f"is a file of {len(content)} bytes; {MAX_FILE_SIZE} (20 MiB) are allowed")
        return None
    return content
