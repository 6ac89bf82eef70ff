"""Ids of objects that follow from a shipment, both ways: a number to an id, and an id back to its number.

A number is the shipment's id times sixteen, and the place of the object among its like. Ids are whole numbers, or 22
characters of base64url that may begin with `-` or `_`, as in recorded documents; no list of them is needed to know
which are given out.
"""

import base64
import binascii
from hashlib import blake2b

FIRST_SHIPMENT = 910_233
PER_SHIPMENT = 16
_HALF = 8
_TEXT_LENGTH = 22


def object_number(shipment_id: int, place: int) -> int:
    """The number of the object at that place of a shipment."""
    return shipment_id * PER_SHIPMENT + place


def int_id(first: int, number: int) -> int:
    """An id that is a whole number: `first` belongs to the first shipment, and there are gaps."""
    return first + number - FIRST_SHIPMENT * PER_SHIPMENT


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
    """The number of such an id; none for a text that was not given out."""
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
