"""Ids of objects that follow from a shipment: a number to an id, and an id back to its number.

The number is the shipment's id times sixteen, plus the place of the object among those of its kind. Ids are whole
numbers, or 22 characters of base64url that may begin with `-` or `_`, as in recorded documents; no list of issued ids
is needed.
"""

import base64
import binascii
from hashlib import blake2b

FIRST_SHIPMENT = 910_233
FIRST_BOOKING = 31_000
PER_SHIPMENT = 16
_HALF = 8
_TEXT_LENGTH = 22


def object_number(shipment_id: int, place: int) -> int:
    """The number of the object at that place of a shipment."""
    return shipment_id * PER_SHIPMENT + place


def int_id(first: int, number: int) -> int:
    """An id that is a whole number: `first` belongs to the first shipment, and there are gaps."""
    return first + number - FIRST_SHIPMENT * PER_SHIPMENT


def booking_id(shipment_id: int) -> int:
    """The id of a shipment's booking."""
    return int_id(FIRST_BOOKING, object_number(shipment_id, 0))


def parse_int_id(first: int, text: str) -> int | None:
    """The number of a whole id; none for a text that cannot be one."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    return int(text) - first + FIRST_SHIPMENT * PER_SHIPMENT


def text_id(salt: str, number: int) -> str:
    """An id of 22 characters; `salt` names the seed and the kind."""
    head = _digest(f"{salt}/{number}")
    body = (number ^ int.from_bytes(_digest(f"{salt}/{head.hex()}"))).to_bytes(_HALF)
    return base64.urlsafe_b64encode(head + body).decode().rstrip("=")


def parse_text_id(salt: str, text: str) -> int | None:
    """The number of such an id; none for a text that is no such id."""
    if len(text) != _TEXT_LENGTH or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    number = int.from_bytes(raw[_HALF:]) ^ int.from_bytes(_digest(f"{salt}/{raw[:_HALF].hex()}"))
    return number if text_id(salt, number) == text else None


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_HALF).digest()
