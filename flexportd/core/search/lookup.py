"""One object by the reference that people use for it: an invoice's number, a container's, the name of a shipment."""

from collections.abc import Mapping, Sequence

from flexportd.core.resources.documents import CUSTOMER_TYPES
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.fields import INTERNAL_KINDS, KIND_NUMBERS, SEARCH_FIELDS, EntryKind
from flexportd.core.search.normalise import normalise
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.search_index import IndexHit, SearchTerm, id_range
from flexportd.storage.transaction import Transaction

MAX_ENTRIES = 100  # entries that are read
MAX_LENGTH = 300  # characters of a reference

IDENTIFYING: Mapping[str, Sequence[str]] = {
    "shipments": ("id", "name", "house_bills", "master_bill", "carrier_booking_number"),
    "legs": ("tracking_number",),
    "containers": ("container_number",),
    "products": ("sku", "name"),
    "invoices": ("name",),
    "commercial_invoices": ("invoice_number",),
    "customs_entries": ("entry_number",),
    "bookings": ("name", "flex_id"),
    "purchase_orders": ("name",),
    "purchase_order_line_items": ("item_key",),
    "documents": ("file_name",),
    "companies": ("name", "ref"),
    "company_entities": ("name", "ref"),
    "contacts": ("name", "email"),
    "locations": ("name", "ref"),
    "ports": ("unlocode", "iata", "icao", "name"),
}
"""By resource: the indexed fields that identify an object, the most specific first."""


def lookup(tx: Transaction, domain: ResourceType, text: str, audience: Audience | None = None) -> list[IndexHit]:
    """The objects that a reference identifies, one entry each: one, several if it is ambiguous, or none.

    Case, blanks and punctuation do not matter, but an exact match comes first, then an earlier field of IDENTIFYING,
    then an object that is not removed. Uses the search index, which is slightly behind the store.
    """
    fields = IDENTIFYING.get(domain.name, ())
    given = text.strip()[:MAX_LENGTH]
    folded, state = normalise(given), tx.search.state()
    hidden = INTERNAL_KINDS if audience is not None else frozenset()
    kinds = sorted(
        {KIND_NUMBERS[kind] for name, kind in _kinds(domain).items() if name in fields and kind not in hidden}
    )
    if state is None or not folded or not kinds:
        return []
    sought = SearchTerm(folded, begins=True, ends=True)
    marks = "" if audience is None else audience.code
    ids = [entry for kind in kinds for entry in tx.search.newest_matches(sought, id_range((kind,)), MAX_ENTRIES, marks)]
    best: dict[str, tuple[tuple[bool, bool, int], IndexHit]] = {}
    for hit in tx.search.hits(ids, kinds, audience, CUSTOMER_TYPES):
        if hit.resource == domain.name and hit.field in fields and hit.folded == folded:
            rank = (hit.value.casefold() != given.casefold(), hit.removed_at is not None, fields.index(hit.field))
            known = best.get(str(hit.key))
            if known is None or rank < known[0]:
                best[str(hit.key)] = rank, hit
    if not best:
        return []
    first = min(rank for rank, _ in best.values())
    return sorted((hit for rank, hit in best.values() if rank == first), key=lambda hit: str(hit.key))


def _kinds(domain: ResourceType) -> Mapping[str, EntryKind]:
    found = SEARCH_FIELDS.get(domain.name)
    return {} if found is None else found.fields
