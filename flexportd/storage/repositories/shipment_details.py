"""Data of shipments besides their resources: which own responses are to be fetched, and carbon figures."""

from collections.abc import Iterable, Sequence

import msgspec

from flexportd.storage.queries.table import Key
from flexportd.storage.statements import Repository, json_text


class ShipmentDetail(msgspec.Struct, frozen=True):
    """Whether a shipment's own response is to be fetched besides its list entry: see `shipment_details`."""

    id: Key
    entry_digest: int | None = None
    fetched_as_of: str | None = None
    pending: int = 0


class ListRichness(msgspec.Struct, frozen=True):
    """Whether list entries are as rich as own responses: see `shipment_list_completeness`."""

    is_rich: bool
    consecutive_matches: int
    mismatches: int
    decided_at: str | None

    @property
    def min_pending(self) -> int:
        """The least `pending` of shipments whose details are fetched."""
        return 2 if self.is_rich else 1


class ShipmentDetails(Repository):
    """Reads and writes `shipment_details` and `shipment_list_completeness`."""

    family = "shipment_details"

    def by_ids(self, ids: Sequence[Key]) -> dict[Key, ShipmentDetail]:
        """The rows of these shipments."""
        return {row.id: row for row in self._all(ShipmentDetail, "of_shipments", json_text(ids))}

    def put(self, details: Iterable[ShipmentDetail]) -> None:
        """Store these rows."""
        self._raw.executemany(self._sql["put"], map(msgspec.structs.astuple, details))

    def due(self, now: str, limit: int) -> list[int]:
        """Shipments whose details are to be fetched now."""
        return self._first_column("due", self.richness().min_pending, now, limit)

    def count_pending(self) -> int:
        """How many are to be fetched, now or later."""
        return self._count("pending", self.richness().min_pending)

    def count_fetched(self) -> int:
        """How many shipments have their own response."""
        return self._count("fetched")

    def postpone(self, shipment: Key, until: str) -> None:
        """Do not try one again before a time on our clock, unless it is fetched by then."""
        self._run("postpone", until, shipment)

    def make_due(self, latest: str) -> None:
        """Try now what waits for a later time than this: only a clock that was ahead can have set it."""
        self._run("make_due", latest)

    def delete(self, shipments: Sequence[Key]) -> None:
        """Fetch nothing of removed shipments."""
        self._run("delete", json_text(shipments))

    def richness(self) -> ListRichness:
        """What comparisons have shown."""
        is_rich, *rest = self._run("completeness").fetchone()
        return ListRichness(bool(is_rich), *rest)

    def decide(self, richness: ListRichness) -> None:
        """Store what comparisons have shown now."""
        self._run("put_completeness", *msgspec.structs.astuple(richness))


class CarbonFigure(msgspec.Struct, frozen=True):
    """The emissions of one leg that Flexport calculated. `kg` is a decimal number; `request` and `raw` are JSON.

    `as_of` is on Flexport's clock, `calculated_at` on ours.
    """

    leg_id: int
    shipment_id: int
    mode: str
    kg: str
    request: str
    raw: str
    as_of: str
    calculated_at: str


class CarbonFigures(Repository):
    """Reads and writes `carbon_figures`: the newest figure of each leg."""

    family = "shipment_details"

    def put(self, figure: CarbonFigure) -> None:
        """Store a figure in place of an older one of its leg."""
        self._run("put_carbon", *msgspec.structs.astuple(figure))

    def of_shipment(self, shipment_id: int) -> dict[int, CarbonFigure]:
        """The figures of a shipment by leg."""
        return {row.leg_id: row for row in self._all(CarbonFigure, "carbon_of_shipment", shipment_id)}
