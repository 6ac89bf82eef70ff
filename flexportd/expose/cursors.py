"""Cursors: where the next page of a list begins, as text that only the list that issued it accepts."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from flexportd.errors import InvalidError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

MAX_CURSOR = 6000  # characters

_DIGEST_LENGTH = 12  # characters of each of the two digests of `Cursor.binding`

_MAX_DIGITS = 19  # digits

_MAX_VALUE = 2000  # bytes of an encoded value; a longer one is looked up by the key

_Wire = tuple[str, bool, str | int | bool | None, int | str, int, str, str]


@dataclass(frozen=True)
class Cursor:
    """The position after the row with this sort value and key; True stands for a value that is too long.

    `since` is the number of the change log at which the first page was read; None where that does not matter, in which
    case the newest is encoded. For a key that is limited to some shipments it is a time (`time_number`), since numbers
    of the change log count writes of all shipments. `binding` is that of the list and its filters (see `binding`).
    `origin` is the change log's identifier of `since`, which differs between database histories; where `since` does not
    matter it also has the newest event.
    """

    sort: str
    descending: bool
    value: str | int | bool | None
    key: int | str
    since: int | None = None
    binding: str = ""
    origin: str = ""


def binding(path: str, filters: Mapping[str, Sequence[Any]]) -> str:
    """Short digests of a list and of its filters."""
    encoded = msgspec.json.encode(sorted((name, list(values)) for name, values in filters.items()))
    return f"{_digest(path.encode())}{_digest(encoded)}"


def check_binding(cursor: Cursor, bound: str) -> None:
    """Raises InvalidError for the cursor of another list, or of this one with other filters."""
    if cursor.binding[:_DIGEST_LENGTH] != bound[:_DIGEST_LENGTH]:
        raise InvalidError("cursor belongs to another list; omit it to start over", "cursor")
    if cursor.binding != bound:
        why = "was issued for other filters; use the same filters, or omit it to start over"
        raise InvalidError(f"cursor {why}", "cursor")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_LENGTH // 2).hexdigest()


async def check_origin(db: Database, cursor: Cursor) -> None:
    """Check that a cursor belongs to this history of the database.

    Raises InvalidError for one of another database or from before a restore, ExpiredError for one that is too old.
    """

    def work(tx: Transaction) -> None:
        mark, _, arrival = cursor.origin.partition("-")
        tx.journal.check_origin(tx.journal.entry_at(cursor.since or 0), mark)
        place = arrival.partition("-")[0]
        if arrival and not (
            place.isdecimal() and len(place) < _MAX_DIGITS and _newest_event(tx, int(place)) == arrival
        ):
            raise InvalidError("cursor is from another database history; omit it to start over", "cursor")

    await db.read(work)


def _newest_event(tx: Transaction, *up_to: int) -> str:
    """The newest event; events that wait to be applied are not in the change log yet."""
    seq, event_id = tx.events.latest_through(*up_to)
    return f"{seq}-{_digest(event_id.encode())}"


def encode(tx: Transaction, cursor: Cursor) -> str:
    """The cursor as text for a URL, in the snapshot in which the list was read."""
    value = cursor.value
    if isinstance(value, str) and len(value.encode()) > _MAX_VALUE:
        value = True
    since = tx.journal.last() if cursor.since is None else cursor.since
    origin = tx.journal.origin_of(since)
    if cursor.since is None:
        origin += f"-{_newest_event(tx)}"
    fields = [cursor.sort, cursor.descending, value, cursor.key, since, cursor.binding, origin]
    return base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode().rstrip("=")


def decode(text: str, sort: str, *, descending: bool, text_keys: bool) -> Cursor:
    """The cursor of a list in this order. Raises InvalidError."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor(*msgspec.json.decode(decoded, type=_Wire))
    except (ValueError, binascii.Error, RecursionError):
        raise invalid_cursor() from None
    numbers = (cursor.value, cursor.key, cursor.since)
    if any(isinstance(number, int) and not -(2**63) <= number < 2**63 for number in numbers):
        raise invalid_cursor()
    if isinstance(cursor.key, str) and not text_keys:
        raise invalid_cursor()
    if (cursor.sort, cursor.descending) != (sort, descending):
        raise InvalidError("cursor belongs to another sort order; omit it to start over", "cursor")
    return cursor


def invalid_cursor() -> InvalidError:
    """For a cursor that no list issued."""
    return InvalidError("cursor was not issued by this list; omit it to start over", "cursor")
