"""What is indexed for search: the fields with references and names, and the kind of each result."""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from flexportd.core.access.audiences import audience_tags
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import split_joined
from flexportd.core.search import normalise
from flexportd.storage.repositories.audiences import TAG_ENCODING, encode_tags
from flexportd.storage.search_index import IndexEntry, IndexUpdate, Label

Kind = Literal[
    "shipment", "container", "bill", "po", "sku", "booking", "commercial_invoice", "customs_entry", "document", "leg",
    "company", "contact", "location", "port", "invoice",
]  # fmt: skip
"""Kinds of results, in order of display. The position in this list is stored: append new ones."""

KINDS: tuple[Kind, ...] = get_args(Kind)

EntryKind: TypeAlias = Kind | Literal["transport", "party"]
"""The kind of an index entry. `transport` (vessels, carriers and places of legs) and `party` (references of parties)
lead to the shipment."""

KIND_NUMBERS: Mapping[EntryKind, int] = {**{kind: n for n, kind in enumerate(KINDS, 1)}, "transport": 101, "party": 102}
SHOWN_AS: Mapping[int, Kind] = {
    **{KIND_NUMBERS[kind]: kind for kind in KINDS},
    KIND_NUMBERS["transport"]: "shipment", KIND_NUMBERS["party"]: "shipment",
}  # fmt: skip
"""The number of an entry's kind -> the kind of the result."""

# Freight invoices are our costs, and references of parties are only in Flexport's own JSON: keys that are limited to
# some shipments do not find them.
INTERNAL_KINDS: frozenset[EntryKind] = frozenset({"invoice", "party"})

_MAX_ENTRIES = 1000  # of one object
_MAX_CHARACTERS = 300  # of a value
_FLEX = re.compile(r"flex(\d{1,18})")


@dataclass(frozen=True, slots=True)
class SearchFields:
    """The indexed fields of a resource with the kind of their results, and the fields of the title.

    A text in several fields of one kind counts for the first of them. Fields that the table lacks are skipped.
    """

    fields: Mapping[str, EntryKind]
    title: tuple[str, ...] = ("name",)


_CARRIAGE = (
    "carrier", "scac", "vessel", "vessel_imo", "voyage", "flight", "airline", "airline_code", "flight_number",
)  # fmt: skip
_ENDS = ("", "_code", "_iata", "_city", "_terminal")

SEARCH_FIELDS: Mapping[str, SearchFields] = {
    "shipments": SearchFields(
        {
            "id": "shipment", "name": "shipment", "house_bills": "bill", "master_bill": "bill",
            "carrier_booking_number": "booking", "it_number": "customs_entry", "purchase_orders": "po", "skus": "sku",
            "consignees": "shipment", "shippers": "shipment", "buyers": "shipment", "sellers": "shipment",
            "importers_of_record": "shipment", "metadata": "shipment", "raw": "party",
        }
    ),
    "legs": SearchFields(
        {
            "tracking_number": "leg", **dict.fromkeys(_CARRIAGE, "transport"),
            **{f"{end}{part}": "transport" for end in ("origin", "destination") for part in _ENDS},
        },
        ("tracking_number",),
    ),
    "containers": SearchFields(
        {"container_number": "container", "seal_number": "container", "metadata": "container"}, ("container_number",)
    ),
    "products": SearchFields({"sku": "sku", "name": "sku"}, ("name", "sku")),
    "invoices": SearchFields({"name": "invoice"}),
    "commercial_invoices": SearchFields(
        {
            "invoice_number": "commercial_invoice", "purchase_orders": "commercial_invoice",
            "container_numbers": "commercial_invoice", "skus": "commercial_invoice", "seller": "commercial_invoice",
            "metadata": "commercial_invoice",
        },
        ("invoice_number",),
    ),
    "customs_entries": SearchFields({"entry_number": "customs_entry"}, ("entry_number",)),
    "bookings": SearchFields(
        {
            "id": "booking", "name": "booking", "flex_id": "booking", "shipper": "booking", "shipper_ref": "booking",
            "consignee": "booking", "consignee_ref": "booking", "origin": "booking", "origin_port": "booking",
            "origin_port_code": "booking", "destination_port": "booking", "destination_port_code": "booking",
            "destination": "booking", "metadata": "booking",
        }
    ),
    "purchase_orders": SearchFields(
        {"name": "po", "buyer": "po", "buyer_ref": "po", "seller": "po", "seller_ref": "po", "metadata": "po"}
    ),
    "purchase_order_line_items": SearchFields(
        {"item_key": "po", "sku": "po", "metadata": "po"}, ("product", "sku", "item_key")
    ),
    "documents": SearchFields({"file_name": "document", "memo": "document"}, ("file_name", "document_type")),
    "companies": SearchFields(
        {"name": "company", "ref": "company", "entities": "company", "vat_numbers": "company", "metadata": "company"}
    ),
    "company_entities": SearchFields({"name": "company", "ref": "company", "vat_numbers": "company"}),
    "contacts": SearchFields({"name": "contact", "email": "contact", "phone": "contact"}, ("name", "email")),
    "locations": SearchFields(
        {"name": "location", "ref": "location", "city": "location", "metadata": "location"}, ("name", "ref")
    ),
    "ports": SearchFields(
        {"name": "port", "unlocode": "port", "iata": "port", "icao": "port", "cbp": "port", "city": "port"}
    ),
}  # fmt: skip
"""By resource. Container legs and booking lines have nothing that a person would search for."""

VERSION = f"{normalise.VERSION}:{zlib.crc32(repr((KIND_NUMBERS, SEARCH_FIELDS)).encode()):08x}:{TAG_ENCODING}"
"""Changes whenever the same objects would give other entries: the index is then rebuilt."""

_COMMA_JOINED = frozenset({"master_bill", "carrier_booking_number"})
_PARTIES = ("shippers", "consignees", "buyers", "sellers", "importers_of_record")
READ_FROM_RAW: Mapping[str, frozenset[str]] = {"shipments": frozenset(_PARTIES)}
"""By domain: the wire fields of which search knows more than our fields hold, from Flexport's own JSON."""

_list = msgspec.json.Decoder(list[Any]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_parties = msgspec.json.Decoder(
    msgspec.defstruct("_Parties", [(name, Any, None) for name in _PARTIES], module=__name__)
).decode


def columns(domain: ResourceType) -> tuple[str, ...]:
    """The columns that `index_entry` needs."""
    given = SEARCH_FIELDS[domain.name]
    known = {"id", "raw", *domain.table.names}
    owner = [name for name in ("shipment_id", "deleted_at") if name in known]
    fields = [name for name in given.fields if name in known]
    return tuple(dict.fromkeys(("id", "removed_at", *owner, *fields, *given.title)))


def index_entry(domain: ResourceType, row: Mapping[str, Any]) -> IndexUpdate:
    """The index entries of one object; `row` has the columns."""
    found: dict[tuple[EntryKind, str], IndexEntry] = {}
    seen: set[str] = set()
    gone = row["removed_at"] or row.get("deleted_at")
    for name, kind in SEARCH_FIELDS[domain.name].fields.items():
        if row.get(name) is None or (kind == "transport" and gone):
            continue  # the shipment no longer has this leg
        for field, value in _values(domain, name, row[name]):
            shown = value.strip()[:_MAX_CHARACTERS]
            for folded in _spellings(shown):
                if name in ("metadata", "raw") and folded in seen:
                    continue  # already indexed by a more specific field
                seen.add(folded)
                found.setdefault((kind, folded), IndexEntry(KIND_NUMBERS[kind], field, shown, folded))
            if len(found) >= _MAX_ENTRIES:
                break
    of_its_own = domain.name == "shipments"
    shipment = row["id"] if of_its_own else row.get("shipment_id")
    said = Label(
        shipment, _title(domain, row), row["removed_at"], encode_tags(audience_tags(row)) if of_its_own else ""
    )
    return IndexUpdate(row["id"], said, tuple(found.values()))


def _values(domain: ResourceType, name: str, stored: Any) -> Iterator[tuple[str, str]]:
    """The texts of a field that is not None, each with the public name of the field."""
    if name == "id":
        yield name, f"FLEX-{stored}" if domain.name == "shipments" else str(stored)
    elif name == "metadata":
        for key, values in _object(stored).items():
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str | int) and not isinstance(value, bool):
                    yield f"metadata.{key[:_MAX_CHARACTERS]}", str(value)
    elif name == "raw":
        yield from _party_references(stored)
    elif name in domain.table.json_names:
        yield from ((name, value) for value in _list(stored) if isinstance(value, str))
    elif name in _COMMA_JOINED:
        yield from ((name, value) for value in split_joined(stored))
    else:
        of_legs = SEARCH_FIELDS[domain.name].fields[name] == "transport"  # the result is the shipment
        yield f"{domain.name}.{name}" if of_legs else name, stored


def _party_references(raw: str) -> Iterator[tuple[str, str]]:
    """The references of the parties in a shipment's JSON: our fields only have their names."""
    try:
        found = _parties(raw)
    except msgspec.DecodeError:
        return
    for name in _PARTIES:
        parties = getattr(found, name)
        for party in parties if isinstance(parties, list) else ():
            if isinstance(party, dict) and isinstance(reference := party.get("ref"), str):
                yield f"{name}.ref", reference


def _spellings(value: str) -> Iterator[str]:
    """The normalised text; a FLEX id also as its number."""
    folded = normalise.normalise(value)
    if folded:
        yield folded
    if number := _FLEX.fullmatch(folded):
        yield number[1]


def _title(domain: ResourceType, row: Mapping[str, Any]) -> str:
    named = next((row[name] for name in SEARCH_FIELDS[domain.name].title if row[name]), None)
    if named is None:
        named = f"FLEX-{row['id']}" if domain.name == "shipments" else f"{domain.label} {row['id']}"
    return str(named)[:_MAX_CHARACTERS]
