"""Which shipments' own responses are to be fetched beside their list entries, and whether that is worth it."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.table import Key


class ShipmentDetail(msgspec.Struct, frozen=True):
    """What is known of one shipment: see `shipment_details`."""

    id: Key
    entry_digest: int | None = None
    fetched_as_of: str | None = None
    pending: int = 0


class ListRichness(msgspec.Struct, frozen=True):
    """Whether list entries are as rich as own responses: see `shipment_list_completeness`."""

    is_rich: bool
    alike: int
    poorer: int
    decided_at: str | None

    @property
    def min_pending(self) -> int:
        """The least `pending` of shipments whose details are fetched."""
        return 2 if self.is_rich else 1


class ShipmentDetails:
    """Reads and writes `shipment_details` and `shipment_list_completeness`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("shipment_details")

    def by_ids(self, ids: Sequence[Key]) -> dict[Key, ShipmentDetail]:
        """What is known of these."""
        rows = self._raw.execute(self._sql["some"], (msgspec.json.encode(ids).decode(),))
        return {row[0]: ShipmentDetail(*row) for row in rows}

    def put(self, details: Iterable[ShipmentDetail]) -> None:
        """Store what is known of these now."""
        self._raw.executemany(self._sql["put"], [msgspec.structs.astuple(one) for one in details])

    def due(self, now: str, limit: int) -> list[int]:
        """Shipments whose details are to be fetched now."""
        values = (self.richness().min_pending, now, limit)
        return [row[0] for row in self._raw.execute(self._sql["due"], values)]

    def count_pending(self) -> int:
        """How many are to be fetched, now or later."""
        return int(self._raw.execute(self._sql["waiting"], (self.richness().min_pending,)).fetchone()[0])

    def count_fetched(self) -> int:
        """How many shipments have their own response."""
        return int(self._raw.execute(self._sql["fetched"]).fetchone()[0])

    def postpone(self, shipment: Key, until: str) -> None:
        """Do not try one again before a time of ours, unless it is fetched by then."""
        self._raw.execute(self._sql["postpone"], (until, shipment))

    def make_due(self, latest: str) -> None:
        """Try now what waits for a later time than this: only a clock that was ahead can have given it."""
        self._raw.execute(self._sql["hasten"], (latest,))

    def delete(self, shipments: Sequence[Key]) -> None:
        """Fetch nothing of what is gone."""
        self._raw.execute(self._sql["forget"], (msgspec.json.encode(shipments).decode(),))

    def richness(self) -> ListRichness:
        """What comparisons have shown."""
        is_rich, alike, poorer, decided_at = self._raw.execute(self._sql["richness"]).fetchone()
        return ListRichness(bool(is_rich), alike, poorer, decided_at)

    def decide(self, richness: ListRichness) -> None:
        """Store what comparisons have shown now."""
        self._raw.execute(self._sql["decide"], msgspec.structs.astuple(richness))
