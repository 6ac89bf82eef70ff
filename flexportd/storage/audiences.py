"""Who may see which shipments: each shipment bears marks, and an audience is those that bear one of a few."""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping

import msgspec

from flexportd.storage.inserting import insert
from flexportd.storage.queries import queries

CONSIGNEE = "consignee"
METADATA = "metadata:"
"""Under the mark `consignee` are the names of the consignees, under `metadata:<key>` what the metadata say there."""

Marks = Iterable[tuple[str, str]]
"""(mark, value), what one shipment bears."""


CODING = 1  # what codes marks otherwise must be indexed anew

_MOST_CODED = 64  # marks of a shipment
_MANY = "\ue000"  # of a shipment that bears more: any audience may be among them
_PLANES, _PLANE = (0xF0000, 0x100000), 0xFFFE  # characters for private use, which no folded text holds, and how many


class Audience(msgspec.Struct, frozen=True):
    """Which shipments somebody may see: those that have one of `values` under `mark`: "consignee", or "metadata:<key>".

    Case does not matter in values (that of A to Z), as it does not where shipments are looked up by a reference.
    """

    mark: str
    values: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, str]:
        """What the two `?` of `fragment` take."""
        return self.mark, msgspec.json.encode(self.values).decode()

    @property
    def code(self) -> str:
        """Of these characters, every shipment that is of the audience has one in its `coded` marks."""
        return _MANY + "".join({_character(self.mark, value) for value in self.values})


def coded(marks: Marks) -> str:
    """The marks of a shipment, a character each. Two may share one: who finds a shipment by it has to look closer."""
    found = sorted({_character(mark, value) for mark, value in marks})
    return "".join(found) if len(found) <= _MOST_CODED else _MANY


def _character(mark: str, value: str) -> str:
    told = f"{mark}\0{value}".encode(errors="surrogatepass").lower()  # of bytes: A to Z, as NOCASE has it
    plane, number = divmod(zlib.crc32(told) % (len(_PLANES) * _PLANE), _PLANE)
    return chr(_PLANES[plane] + number)


def fragment(column: str) -> str:
    """The condition that a shipment's id, in this column, is of an audience; takes `Audience.parameters`.

    An id that is NULL is of no audience.
    """
    return (
        f"{column} IN (SELECT shipment_id FROM shipment_audiences "  # noqa: S608 (a declared column)
        "WHERE mark = ? AND value IN (SELECT value FROM json_each(?)))"
    )


class Audiences:
    """Reads and writes `shipment_audiences`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("audiences")

    def visible(self, audience: Audience, shipment_ids: Iterable[int]) -> set[int]:
        """Those of these shipments that are of the audience."""
        wanted = msgspec.json.encode(list(shipment_ids)).decode()
        return {row[0] for row in self._raw.execute(self._sql["visible"], (wanted, *audience.parameters))}

    def put(self, marks: Mapping[int, Marks]) -> None:
        """Replace the marks of these shipments."""
        self._raw.execute(self._sql["clear"], (msgspec.json.encode(list(marks)).decode(),))
        rows = [(mark, value, number) for number, pairs in marks.items() for mark, value in pairs]
        insert(self._raw, self._sql["add"], rows)

    def count(self, audience: Audience) -> int:
        """How many shipments are of the audience."""
        found: int = self._raw.execute(self._sql["count"], audience.parameters).fetchone()[0]
        return found
