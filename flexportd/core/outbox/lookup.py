"""Look-ups: whether a write whose outcome is unknown took effect, from what Flexport returns now.

How each kind is found again: https://apidocs.flexport.com/v2, one tag per resource. Filters are not trusted: each
row is compared here.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from flexportd.clock import parse, stamp
from flexportd.core.outbox.comparison import differences, equal, metadata_differences
from flexportd.core.outbox.marker import keys_in, metadata_texts
from flexportd.errors import FlexportdError
from flexportd.flexport.client import FetchedObject, ListPage
from flexportd.flexport.usage import Purpose

MAX_PAGES = 20  # of one look-up
CLOCK_TOLERANCE = timedelta(minutes=10)  # before the request, from which objects are looked at

PRODUCT_FIELDS = (
    "name",
    "sku",
    "description",
    "product_category",
    "country_of_origin",
    "client_verified",
    "classifications",
)
CHANGED_PRODUCT_FIELDS = (*PRODUCT_FIELDS, "product_properties", "suppliers")
INVOICE_FIELDS = ("invoice_number", "is_related_parties", "metadata")
_ENTITY_FIELDS = ("name", "ref")
_AMENDED = {
    "new_name": ("name",),
    "new_cargo_ready_date": ("cargo_ready_date",),
    "new_metadata": ("metadata",),
    "new_cargo": ("cargo",),
    "new_container_counts": ("ocean_booking", "container_counts"),
    "new_wants_pickup_service": ("*_booking", "wants_pickup_service"),
    "new_product_descriptions": ("*_booking", "product_descriptions"),
    "new_origin_address_ref": ("origin_address", "ref"),
    "new_destination_address_ref": ("destination_address", "ref"),
    "new_wants_import_customs_service": ("wants_import_customs_service",),
}
"""Where a booking shows what an amendment changes; `*_booking` is the object of its mode."""


class FlexportReader(Protocol):
    """The reads of Flexport's client."""

    async def page(self, path: str, query: Mapping[str, str], number: int, purpose: Purpose) -> ListPage:
        """A page of a list. Raises a FlexportError."""

    async def get(self, path: str, key: str, purpose: Purpose) -> FetchedObject:
        """An object. Raises a FlexportError."""


class InconclusiveLookupError(FlexportdError):
    """A look-up that could not see everything."""


@dataclass(frozen=True, slots=True)
class SentWrite:
    """What a look-up is about: the body as requested, the operation's key, and the object that it changes.

    `since` is the earliest time (Flexport's clock) at which the object can have been made; None before the write is
    sent. `baseline` are the ids of equal objects, or the names of equal fields, from before; None if that is unknown.
    """

    body: Mapping[str, Any]
    key: str
    target_id: str | None = None
    since: str | None = None
    baseline: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that may be the result: its id, its exact JSON, and why it is or is not."""

    id: str
    text: bytes
    note: str


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The objects that are the result of a write, and objects that are only similar, for a person."""

    matches: Sequence[Candidate] = ()
    similar: Sequence[Candidate] = ()


Lookup = Callable[[FlexportReader, SentWrite], Awaitable[LookupResult]]
"""Raises FlexportError and InconclusiveLookupError."""

Row = tuple[bytes, dict[str, Any]]


async def find_product(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new product: the active one with its SKU, which is unique among active products."""
    sku = str(write.body.get("sku", ""))
    rows = await _rows(reader, "/products", {"f.sku": sku, "f.archived_at.exists": "false"})
    same = [row for row in rows if _text(row[1], "sku") == sku.strip() and row[1].get("archived_at") is None]
    return _by_fields(write, same, PRODUCT_FIELDS)


async def find_commercial_invoice(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new commercial invoice: one with its number that was not there before; a number is unique per seller."""
    number = str(write.body.get("invoice_number", ""))
    query = {"f.invoice_number": number}
    rows = [
        row
        for row in await _rows(reader, "/commercial_invoices", query)
        if _text(row[1], "invoice_number") == number.strip()
    ]
    shipment = write.body.get("shipment_id")
    of_shipment = [row for row in rows if shipment is None or _id(row[1].get("shipment")) in (None, str(shipment))]
    return _by_fields(write, of_shipment, INVOICE_FIELDS)


async def find_booking(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new booking: the one with the marker; one with the same name and date is only similar."""
    if write.since is None:
        return LookupResult()
    since = _earliest(write.since)
    rows = await _rows_since(reader, "/bookings", {"f.created_at.gte": since}, since, ("created_at",))
    matches, similar = [], []
    for text, booking in rows:
        keys = keys_in(booking.get("special_instructions"), *metadata_texts(booking.get("metadata")))
        if write.key in keys:
            matches.append(_candidate(text, booking, "carries the marker of this operation"))
        elif not keys and not differences(write.body, booking, ("name", "cargo_ready_date")):
            note = "has the same name and cargo-ready date, but not the marker of this operation"
            similar.append(_candidate(text, booking, note))
    return LookupResult(matches, similar)


async def find_line_item(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new booking line item: one of the booking with the same order line and units that was not there before."""
    booking = str(write.body.get("booking_id"))
    rows = [
        (text, item)
        for text, item in await _rows(reader, "/booking_line_items", {"f.booking.id": booking})
        if _id(item.get("booking")) in (None, booking)
        and _id(item.get("purchase_order_line_item")) == str(write.body.get("purchase_order_line_item_id"))
        and equal(write.body.get("units"), item.get("units"))
    ]
    return _by_fields(write, rows, ())


async def find_document(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new document: the one with the marker in its memo; without a memo, one with its file name is only similar."""
    body = write.body
    query = {"f.shipment.id": str(body.get("shipment_id")), "f.document_type": str(body.get("document_type"))}
    if write.since is None:
        rows = await _rows(reader, "/documents", query)
    else:
        since = _earliest(write.since)
        query["f.uploaded_at.gte"] = since
        rows = await _rows_since(reader, "/documents", query, since, ("file_metadata", "uploaded_at"))
    marked = [row for row in rows if write.key in keys_in(row[1].get("memo"))]
    if marked:
        return LookupResult([_candidate(*row, "carries the marker of this operation") for row in marked])
    similar = []
    for text, document in rows:
        name = document.get("file_name") or (document.get("file_metadata") or {}).get("file_name")
        is_new = write.baseline is None or str(document.get("id")) not in write.baseline
        is_ours = document.get("document_type") in (None, body.get("document_type"))
        if is_new and is_ours and not keys_in(document.get("memo")) and equal(name, body.get("file_name")):
            similar.append(_candidate(text, document, "has the same file name and type, but no marker"))
    return LookupResult((), similar)


def find_by_ref(path: str, fields: Sequence[str] = _ENTITY_FIELDS) -> Lookup:
    """A new company, entity or location: the one with the `ref` that the writer chose."""

    async def find(reader: FlexportReader, write: SentWrite) -> LookupResult:
        ref = str(write.body.get("ref", ""))
        rows = [row for row in await _rows(reader, path, {"f.ref": ref}) if _text(row[1], "ref") == ref.strip()]
        return _by_fields(write, rows, fields)

    return find


async def find_contact(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """A new contact, which has no `ref`: one with the same name and email that was not there before."""
    rows = [
        row
        for row in await _rows(reader, "/network/contacts", {})
        if not differences(write.body, row[1], ("name", "email"))
    ]
    return _by_fields(write, rows, ())


def compare_object(path: str, fields: Sequence[str]) -> Lookup:
    """A change of an object: whether it has the values now that were sent.

    A match must show every field: one that cannot be compared may be the only one that was to change.
    """

    async def find(reader: FlexportReader, write: SentWrite) -> LookupResult:
        text, found = await _object(reader, path, write)
        differing = differences(write.body, found, fields)
        hidden = [
            name
            for name, value in write.body.items()
            if name not in fields or (name not in found and not equal(value, None))
        ]
        if hidden and not differing:
            return LookupResult((), [_candidate(text, found, f"does not show {', '.join(hidden)} as they were sent")])
        return _compared(text, found, differing)

    return find


async def compare_metadata(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """Metadata of a shipment: whether the keys that were set have their values."""
    text, found = await _object(reader, "/shipments", write)
    metadata = found.get("metadata")
    have = metadata if isinstance(metadata, dict) else {}
    wanted = write.body.get("metadata") or {}
    return _compared(text, found, metadata_differences(wanted, {name: have[name] for name in wanted if name in have}))


async def compare_amendment(reader: FlexportReader, write: SentWrite) -> LookupResult:
    """An amendment, which cannot be read back: whether the booking has all new values, and had not before.

    A pending amendment shows nowhere.
    """
    text, booking = await _object(reader, "/bookings", write)
    if write.baseline is not None and is_newly_shown(write.body, booking, write.baseline):
        return LookupResult([_candidate(text, booking, "has all values of the amendment")])
    missing = sorted(_AMENDED.keys() & write.body.keys() - set(applied_fields(write.body, booking)))
    note = f"the booking does not show {', '.join(missing)}" if missing else "the booking cannot show this amendment"
    return LookupResult((), [_candidate(text, booking, note)])


def applied_fields(amendment: Mapping[str, Any], booking: Mapping[str, Any]) -> list[str]:
    """The fields of an amendment whose values a booking has."""
    return [
        name for name, path in _AMENDED.items() if name in amendment and equal(amendment[name], _member(booking, path))
    ]


def amended_value(booking: Mapping[str, Any], name: str) -> Any:
    """The present value of a booking for a field of an amendment; None if the booking does not show it."""
    return _member(booking, _AMENDED[name]) if name in _AMENDED else None


def is_newly_shown(amendment: Mapping[str, Any], booking: Mapping[str, Any], before: frozenset[str]) -> bool:
    """Whether a booking has all values of an amendment that it can show, and did not have all of them before."""
    same = applied_fields(amendment, booking)
    return len(same) == sum(name in _AMENDED for name in amendment) and not before.issuperset(same)


def baseline_of(result: LookupResult) -> list[str]:
    """What was there before a write is sent: the ids of equal objects."""
    return [one.id for one in (*result.matches, *result.similar)]


def _by_fields(write: SentWrite, rows: Iterable[Row], fields: Sequence[str]) -> LookupResult:
    """Rows that were not there before: matches if these fields are equal, otherwise similar.

    Without fields, and without a baseline, nothing tells an older row from a new one.
    """
    matches, similar = [], []
    is_undecidable = write.since is not None and write.baseline is None and not fields
    for text, found in rows:
        if write.since is not None and write.baseline is not None and str(found.get("id")) in write.baseline:
            continue
        differing = differences(write.body, found, fields)
        if differing:
            similar.append(_candidate(text, found, f"differs in {', '.join(differing)}"))
        elif is_undecidable:
            similar.append(_candidate(text, found, "has the values that were sent, but may be older"))
        else:
            matches.append(_candidate(text, found, "has the values that were sent"))
    return LookupResult(matches, similar)


def _compared(text: bytes, found: Mapping[str, Any], differing: Sequence[str]) -> LookupResult:
    if differing:
        return LookupResult((), [_candidate(text, found, f"differs in {', '.join(differing)}")])
    return LookupResult([_candidate(text, found, "has the values that were sent")])


async def _rows_since(
    reader: FlexportReader, path: str, query: Mapping[str, str], since: str, member: Sequence[str]
) -> list[Row]:
    """The rows of a list that were made at this time or later, also if Flexport ignores the filter."""
    rows = await _rows(reader, path, query)
    found = []
    for text, row in rows:
        made = _member(row, member)
        if not isinstance(made, str) or _at(made) >= since:
            found.append((text, row))
    return found


async def _rows(reader: FlexportReader, path: str, query: Mapping[str, str]) -> list[Row]:
    """All rows of a list. Raises InconclusiveLookupError if there are too many."""
    rows, number = list[Row](), 0
    while number < MAX_PAGES:
        number += 1
        page = await reader.page(path, query, number, "write")
        for text in page.rows:
            row = _decoded(text)
            if row is not None:
                rows.append((bytes(text), row))
        if not page.has_next:
            return rows
    raise InconclusiveLookupError(f"GET {path} has more than {MAX_PAGES} pages: not everything could be compared")


async def _object(reader: FlexportReader, path: str, write: SentWrite) -> Row:
    response = await reader.get(path, write.target_id or "", "write")
    return response.text, _decoded(response.text) or {}


def _decoded(text: bytes) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _candidate(text: bytes, found: Mapping[str, Any], note: str) -> Candidate:
    return Candidate(str(found.get("id")), text, note)


def _member(found: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(found, dict):
            return None
        if name == "*_booking":
            found = next((found[one] for one in _MODES if isinstance(found.get(one), dict)), None)
        else:
            found = found.get(name)
    return found


_MODES = ("ocean_booking", "air_booking", "trucking_booking")


def _id(reference: Any) -> str | None:
    """The id of a reference or of an embedded object."""
    value = reference.get("id") if isinstance(reference, dict) else None
    return None if value is None else str(value)


def _text(found: Mapping[str, Any], name: str) -> str:
    return str(found.get(name) or "").strip()


def _earliest(sent_at: str) -> str:
    """The time from which objects are looked at: Flexport's clocks may differ."""
    return stamp(parse(sent_at) - CLOCK_TOLERANCE)


def _at(text: str) -> str:
    try:
        return stamp(parse(text))
    except ValueError:
        return "9999"  # a time that cannot be read excludes nothing
