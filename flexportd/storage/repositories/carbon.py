"""The carbon figures that Flexport calculated: the newest of each leg."""

import sqlite3

import msgspec

from flexportd.storage.named_sql import queries


class CarbonFigure(msgspec.Struct, frozen=True):
    """What one leg emits. `kg` is a decimal number; `request` and `raw` are the JSON that went and came.

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


class CarbonFigures:
    """Reads and writes `carbon_figures`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("carbon")

    def put(self, figure: CarbonFigure) -> None:
        """Keep a figure, in place of an older one of its leg."""
        self._raw.execute(self._sql["keep"], msgspec.structs.astuple(figure))

    def of_shipment(self, shipment_id: int) -> dict[int, CarbonFigure]:
        """The figures of a shipment by leg."""
        return {row[0]: CarbonFigure(*row) for row in self._raw.execute(self._sql["of_shipment"], (shipment_id,))}
