"""Which shipments must be fetched one by one because their list entries may lack data of their own responses.

Comparisons of both at the same time show whether that is the case for this account: after enough in a row without a
difference, only shipments whose entry lacks something are fetched. The first difference lets all be fetched again.
"""

from collections.abc import Sequence

import msgspec

from flexportd.core.importer.list_entries import is_less_complete
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.repositories.shipment_details import ShipmentDetail
from flexportd.storage.transaction import Transaction

SAMPLE = 50  # comparisons in a row without a difference after which list entries count as complete

_PENDING, _URGENT = 1, 2


class DetailTracker:
    """The details of some shipments within one transaction; written at the end by `save`."""

    def __init__(self, tx: Transaction, shipments: Sequence[Key], at: str) -> None:
        self._details = tx.shipment_details
        self._known = self._details.by_ids(shipments)
        self._written: dict[Key, ShipmentDetail] = {}
        self._richness = self._stored = self._details.richness()
        self._at = at

    def _state_of(self, shipment: Key) -> ShipmentDetail:
        return self._written.get(shipment) or self._known.get(shipment) or ShipmentDetail(shipment)

    def record_entry(
        self, shipment: Key, entry: "DetailVersion", current: Record | None, *, left_out: bool, is_news: bool
    ) -> None:
        """Record a list entry. `left_out`: it lacks stored data; `is_news`: it changes data."""
        before = self._state_of(shipment)
        known = before.fetched_as_of
        if known is None or known < entry.as_of or is_news:
            pending = _URGENT if left_out else max(_PENDING, before.pending)
        else:
            pending = before.pending
            if current is not None and current.as_of == known == entry.as_of and current.digest is not None:
                self._record_comparison(poorer=is_less_complete(entry.raw, current.raw))
        self._written[shipment] = ShipmentDetail(shipment, entry.digest, known, pending)

    def record_response(self, shipment: Key, own: "DetailVersion", current: Record | None) -> None:
        """Record a shipment's own response; `current` is the state before it."""
        before = self._state_of(shipment)
        if current is not None and current.digest is not None:
            if current.digest == before.entry_digest and current.as_of == own.as_of:
                self._record_comparison(poorer=current.digest != own.digest and is_less_complete(current.raw, own.raw))
            elif before.pending == _URGENT and _covers(current.raw, own.raw):
                self._record_comparison(poorer=True)  # what the list entry lacks still exists
        self._written[shipment] = ShipmentDetail(shipment, before.entry_digest, own.as_of, 0)

    def _record_comparison(self, *, poorer: bool) -> None:
        found = self._richness
        is_rich = not poorer and (found.is_rich or found.alike + 1 >= SAMPLE)
        self._richness = msgspec.structs.replace(
            found,
            is_rich=is_rich,
            alike=0 if poorer else found.alike + 1,
            poorer=found.poorer + poorer,
            decided_at=found.decided_at if is_rich == found.is_rich else self._at,
        )

    def save(self) -> None:
        """Write the records."""
        self._details.put(self._written.values())
        if self._richness != self._stored:
            self._details.decide(self._richness)


def _covers(stored: str, own: str) -> bool:
    """Whether a shipment's own response covers a list entry that was completed from the store."""
    return not is_less_complete(own, stored)


class DetailVersion(msgspec.Struct, frozen=True):
    """A list entry or an own response: its time, digest and JSON."""

    as_of: str
    digest: int
    raw: str
