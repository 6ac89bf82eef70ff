"""Who may see which shipments: each shipment bears marks, and an audience is those that bear one of a few."""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flexportd.storage.bulk_insert import bulk_insert
from flexportd.storage.named_sql import queries

CONSIGNEE = "consignee"
METADATA = "metadata:"
"""Under the mark `consignee` are the names of the consignees, under `metadata:<key>` what the metadata say there."""

AudienceTags = Iterable[tuple[str, str]]
"""(mark, value), what one shipment bears."""


TAG_ENCODING = 1  # a change of the encoding requires a new index

_MAX_TAGS = 64  # marks of a shipment
_TOO_MANY = "\ue000"  # of a shipment that bears more: any audience may be among them
_PLANES, _PLANE = (0xF0000, 0x100000), 0xFFFE  # characters for private use, which no folded text holds, and how many


class Audience(msgspec.Struct, frozen=True):
    """Which shipments somebody may see: those that have one of `values` under `mark`: "consignee", or "metadata:<key>".

    Case does not matter in values (that of A to Z), as it does not where shipments are looked up by a reference.
    """

    mark: str
    values: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, str]:
        """The values of the filter `for_audience`."""
        return self.mark, msgspec.json.encode(self.values).decode()

    @property
    def start_parameters(self) -> tuple[str, str, str]:
        """The values of `membership_start_column`."""
        return self.mark, *self.parameters

    @property
    def code(self) -> str:
        """Of these characters, every shipment that is of the audience has one in its `coded` marks."""
        return _TOO_MANY + "".join({_character(self.mark, value) for value in self.values})


def encode_tags(marks: AudienceTags) -> str:
    """The marks of a shipment, a character each. Two may share one: who finds a shipment by it has to look closer."""
    found = sorted({_character(mark, value) for mark, value in marks})
    return "".join(found) if len(found) <= _MAX_TAGS else _TOO_MANY


def _character(mark: str, value: str) -> str:
    told = f"{mark}\0{value}".encode(errors="surrogatepass").lower()  # of bytes: A to Z, as NOCASE has it
    plane, number = divmod(zlib.crc32(told) % (len(_PLANES) * _PLANE), _PLANE)
    return chr(_PLANES[plane] + number)


_OLD_TAGS = (
    "json_each(b.old) m, json_each(CASE m.type WHEN 'array' THEN m.value WHEN 'text' THEN json_array(m.value) END) v"
)


def membership_start_column(shipment: str, wanted: str) -> str:
    """One column of the change by which a shipment, named by a column, came to be of an audience; NULL without one.

    It is the newest change of the field that a mark comes from whose old value had none of the audience's values.
    Takes `Audience.start_parameters`.
    """
    return (
        f"(SELECT b.{wanted} FROM changes b WHERE b.resource = 'shipments' "  # noqa: S608 (declared columns)
        f"AND b.resource_id = CAST({shipment} AS TEXT) "
        f"AND b.field = CASE ? WHEN '{CONSIGNEE}' THEN 'consignees' ELSE 'metadata' END "
        f"AND NOT EXISTS (SELECT 1 FROM {_OLD_TAGS} WHERE (b.field = 'consignees' OR m.key = substr(?, "
        f"{len(METADATA) + 1})) AND v.type = 'text' AND trim(v.value, char(32, 9, 10, 13)) COLLATE NOCASE "
        "IN (SELECT value FROM json_each(?))) ORDER BY b.id DESC LIMIT 1)"
    )


class MembershipStart(msgspec.Struct, frozen=True, gc=False):
    """The change with which an object came to belong to an audience. `id` is its row in the history, 0 for none.

    Without such a change the object belonged to the audience when it was first seen here.
    """

    id: int = 0
    changed_at: str = ""
    source: str = ""
    event_id: str | None = None
    run_id: int | None = None

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The values of the history filter `since_start`."""
        return self.id, self.changed_at, self.source, self.event_id, self.run_id

    def hides(self, change: Any) -> bool:
        """Whether a row of the history is older, or belongs to the hand-over itself: its old values are another's."""
        cause = (change.changed_at, change.source, change.event_id, change.run_id)
        return change.id <= self.id or cause == self.parameters[1:]


FROM_BEGINNING = MembershipStart()
"""Of an object that belonged to its audience from the beginning."""


_MEMBERSHIP_STARTS = (
    "SELECT wanted.value, c.id, c.changed_at, c.source, c.event_id, c.run_id "  # noqa: S608 (declared columns)
    f"FROM json_each(?) wanted CROSS JOIN changes c ON c.id = {membership_start_column('wanted.value', 'id')}"
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

    def put(self, marks: Mapping[int, AudienceTags]) -> None:
        """Replace the marks of these shipments."""
        self._raw.execute(self._sql["clear"], (msgspec.json.encode(list(marks)).decode(),))
        rows = [(mark, value, number) for number, pairs in marks.items() for mark, value in pairs]
        bulk_insert(self._raw, self._sql["add"], rows)

    def membership_starts(self, audience: Audience, shipment_ids: Iterable[int]) -> dict[int, MembershipStart]:
        """With which change each of these shipments came to belong to the audience that it belongs to now."""
        wanted = msgspec.json.encode(list(shipment_ids)).decode()
        rows = self._raw.execute(_MEMBERSHIP_STARTS, (wanted, *audience.start_parameters))
        return {row[0]: MembershipStart(*row[1:]) for row in rows}

    def reassignments(self, resource: str, ids: Iterable[str]) -> dict[str, MembershipStart]:
        """The last change of each of these objects that gave it to another shipment, or made it another kind of paper.

        `ids` are as text.
        """
        wanted = msgspec.json.encode(list(ids)).decode()
        return {row[0]: MembershipStart(*row[1:]) for row in self._raw.execute(self._sql["moves"], (wanted, resource))}

    def count(self, audience: Audience) -> int:
        """How many shipments are of the audience."""
        found: int = self._raw.execute(self._sql["count"], audience.parameters).fetchone()[0]
        return found
