"""Who may see which shipments: each shipment has tags, and an audience is the shipments with one of several tags."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flexportd.storage.statements import Repository, bulk_insert, json_text

CONSIGNEE = "consignee"
METADATA = "metadata:"
"""The mark of a tag: `consignee` has the names of the consignees, `metadata:<key>` the values of that metadata key."""

AudienceTags = Iterable[tuple[str, str]]  # (mark, value) of one shipment
TAG_ENCODING = 1  # a change of the encoding requires a new index

_MAX_TAGS = 64  # tags of a shipment
_TOO_MANY = "\ue000"  # code of a shipment that has more: it may belong to any audience
_PLANES, _PLANE = (0xF0000, 0x100000), 0xFFFE  # characters for private use, which no folded text holds, and how many


class Audience(msgspec.Struct, frozen=True):
    """Which shipments may be seen: those with one of `values` under `mark`: "consignee", or "metadata:<key>".

    The case of A to Z in values is ignored, as where shipments are looked up by a reference.
    """

    mark: str
    values: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, str]:
        """The values of the filter `for_audience`."""
        return self.mark, json_text(self.values)

    @property
    def start_parameters(self) -> tuple[str, str, str]:
        """The values of `membership_start_column`."""
        return self.mark, *self.parameters

    @property
    def code(self) -> str:
        """Each shipment of the audience has one of these characters in its encoded tags."""
        return _TOO_MANY + "".join({_character(self.mark, value) for value in self.values})


def encode_tags(marks: AudienceTags) -> str:
    """The tags of a shipment, a character each. Two tags may share a character, so a match has to be verified."""
    codes = sorted({_character(mark, value) for mark, value in marks})
    return "".join(codes) if len(codes) <= _MAX_TAGS else _TOO_MANY


def _character(mark: str, value: str) -> str:
    tag = f"{mark}\0{value}".encode(errors="surrogatepass").lower()  # of bytes: A to Z, like NOCASE
    plane, number = divmod(zlib.crc32(tag) % (len(_PLANES) * _PLANE), _PLANE)
    return chr(_PLANES[plane] + number)


_OLD_TAGS = (
    "json_each(b.old) m, json_each(CASE m.type WHEN 'array' THEN m.value WHEN 'text' THEN json_array(m.value) END) v"
)


def membership_start_column(shipment: str, wanted: str) -> str:
    """One column of the change that made a shipment, named by a column, part of an audience; NULL without one.

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
        """Whether a row of the history is older, or belongs to this change: its old values are of another audience."""
        cause = (change.changed_at, change.source, change.event_id, change.run_id)
        return change.id <= self.id or cause == self.parameters[1:]


FROM_BEGINNING = MembershipStart()  # of an object that belonged to its audience from the beginning
_MEMBERSHIP_STARTS = (
    "SELECT wanted.value, c.id, c.changed_at, c.source, c.event_id, c.run_id "  # noqa: S608 (declared columns)
    f"FROM json_each(?) wanted CROSS JOIN changes c ON c.id = {membership_start_column('wanted.value', 'id')}"
)


class Audiences(Repository):
    """Reads and writes `shipment_audiences`."""

    family = "audiences"

    def visible(self, audience: Audience, shipment_ids: Iterable[int]) -> set[int]:
        """Those of these shipments that belong to the audience."""
        return set(self._first_column("visible", json_text(list(shipment_ids)), *audience.parameters))

    def put(self, marks: Mapping[int, AudienceTags]) -> None:
        """Replace the tags of these shipments."""
        self._run("delete", json_text(list(marks)))
        rows = [(mark, value, number) for number, pairs in marks.items() for mark, value in pairs]
        bulk_insert(self._raw, self._sql["add"], rows)

    def membership_starts(self, audience: Audience, shipment_ids: Iterable[int]) -> dict[int, MembershipStart]:
        """The change that made each of these shipments part of its current audience."""
        wanted = json_text(list(shipment_ids))
        rows = self._raw.execute(_MEMBERSHIP_STARTS, (wanted, *audience.start_parameters))
        return {row[0]: MembershipStart(*row[1:]) for row in rows}

    def reassignments(self, resource: str, ids: Iterable[str]) -> dict[str, MembershipStart]:
        """The last change of each of these objects (ids as text) that gave it another shipment or document type."""
        return {
            row[0]: MembershipStart(*row[1:]) for row in self._run("membership_changes", json_text(list(ids)), resource)
        }

    def count(self, audience: Audience) -> int:
        """How many shipments belong to the audience."""
        return self._count("count", *audience.parameters)
