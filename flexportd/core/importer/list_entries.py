"""Merging list entries into stored responses: what an entry leaves out is not removed. And which shipments to fetch.

Source: shipments of a real account, recorded both ways at the same `updated_at`. In a list their `metadata` is `{}`,
some have no `sellers`, house bills are in another order, `ref`s of addresses are left out, and times are in UTC. Values
are compared and combined as JSON texts, so that every kept value stays byte for byte as Flexport sent it.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from flexportd.flexport.models.wire import parse_moment
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.repositories.shipment_details import ShipmentDetail
from flexportd.storage.transaction import Transaction

Raw = msgspec.Raw

_EMPTY = frozenset({b"null", b'""', b"{}", b"[]"})
_MOMENT = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]{5,}(Z|[+-][0-9]{2}:?[0-9]{2})"')
_PARTS = frozenset({"/ocean/shipment", "/air/shipment"})  # of the shipment itself
_MAX_UNORDERED = 200  # members of a list up to which order is ignored

_object = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)


def combine(stored: str, entry: str, *, is_newer: bool) -> str:
    """A list entry completed with what only the stored object has. Both are valid JSON objects.

    An entry of the same time removes nothing. Of a newer one the changes are taken, and lists and objects that it lacks
    remain: only the object's own response shows whether they are gone.
    """
    have, given = _object.decode(stored), _object.decode(entry)
    found = _merge_fields(have, given, is_newer=is_newer)
    if _equal(found, have):
        return stored
    return entry if _equal(found, given) else msgspec.json.encode(found).decode()


def is_less_complete(entry: str, own: str) -> bool:
    """Whether an object's own response has more than its list entry, including the offsets of local times."""
    return not _covers(_object.decode(entry), _object.decode(own), _is_as_precise)


def _equal(one: dict[str, Raw], other: dict[str, Raw]) -> bool:
    return one.keys() == other.keys() and all(bytes(part) == bytes(other[name]) for name, part in one.items())


def _merge_fields(have: dict[str, Raw], given: dict[str, Raw], *, is_newer: bool) -> dict[str, Raw]:
    """Merge an object field by field; what the entry lacks remains."""
    found = {}
    for name, part in given.items():
        before = have.get(name)
        if before is None or (is_newer and is_empty(part) and _kind(part) not in "{[" and _kind(before) not in "{["):
            found[name] = part  # a withdrawn date, for example
        else:
            found[name] = _merge_values(before, part, is_newer=is_newer)
    return {**found, **{name: part for name, part in have.items() if name not in given}}


def _merge_values(have: Raw, given: Raw, *, is_newer: bool) -> Raw:
    if bytes(have) == bytes(given) or is_empty(given):
        return have
    if is_empty(have):
        return given
    if _kind(have) == _kind(given) == "{":
        return _merge_objects(have, given, is_newer=is_newer)
    if _value_covers(have, given, _is_same_value, exactly=is_newer):
        return have
    if _kind(have) == _kind(given) == "[":
        return _merge_lists(_list.decode(have), _list.decode(given), is_newer=is_newer)
    return given


def _merge_objects(have: Raw, given: Raw, *, is_newer: bool) -> Raw:
    """A changed object of a newer entry replaces the stored one, except parts of the shipment, which are merged."""
    before, now = _object.decode(have), _object.decode(given)
    is_part = _kind_of_object(now) in _PARTS
    if not (is_part and is_newer) and _value_covers(have, given, _is_same_value, exactly=is_newer):
        return have
    if _identity(before) != _identity(now) or (is_newer and not is_part):
        return given
    found = _merge_fields(before, now, is_newer=is_newer)
    return have if _equal(found, before) else Raw(msgspec.json.encode(found))


def _merge_lists(have: list[Raw], given: list[Raw], *, is_newer: bool) -> Raw:
    """Each member of the entry, completed from the stored member of the same id."""
    known = {identity: part for part in have if (identity := _identity_of(part)) is not None}
    found = []
    for part in given:
        before = known.get(_identity_of(part) or b"")
        found.append(part if before is None else _merge_values(before, part, is_newer=is_newer))
    return Raw(b"[" + b",".join(bytes(part) for part in found) + b"]")


def is_empty(part: Raw) -> bool:
    """Whether a value is empty."""
    return bytes(part).strip() in _EMPTY


SameValue = Callable[[bytes, bytes], bool]
"""(stored, given): whether the stored text or number has the information of the given one."""


def _covers(have: dict[str, Raw], given: dict[str, Raw], same: SameValue, *, exactly: bool = False) -> bool:
    return all(
        is_empty(part) or (name in have and _value_covers(have[name], part, same, exactly=exactly))
        for name, part in given.items()
    )


def _value_covers(have: Raw, given: Raw, same: SameValue, *, exactly: bool = False) -> bool:
    """Whether a value covers another, in any order. `exactly`: lists must be of equal length."""
    if bytes(have) == bytes(given) or is_empty(given):
        return True
    if _kind(have) != _kind(given):
        return False
    if _kind(have) == "{":
        return _covers(_object.decode(have), _object.decode(given), same, exactly=exactly)
    if _kind(have) == "[":
        return _members_cover(_list.decode(have), _list.decode(given), same, exactly=exactly)
    return same(bytes(have), bytes(given))


def _members_cover(have: Sequence[Raw], given: Sequence[Raw], same: SameValue, *, exactly: bool) -> bool:
    if len(given) > len(have) or (exactly and len(given) != len(have)):
        return False
    if len(have) > _MAX_UNORDERED:
        return sorted(map(bytes, have)) == sorted(map(bytes, given))
    left = list(have)
    for part in given:
        found = next((one for one in left if _value_covers(one, part, same, exactly=exactly)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _is_same_value(have: bytes, given: bytes) -> bool:
    """Another offset of the same instant, or another order of a number like `"A, B"`, is the same value."""
    if _MOMENT.fullmatch(have) and _MOMENT.fullmatch(given):
        one, other = parse_moment(_text.decode(have)), parse_moment(_text.decode(given))
        return one is not None and one == other
    if b"," in have and len(have) == len(given) and have[:1] == given[:1] == b'"':
        return _members(have) == _members(given)
    return False


def _is_as_precise(have: bytes, given: bytes) -> bool:
    """The same, but a time in UTC lacks the offset of the place."""
    is_utc = not _MOMENT.fullmatch(given) or have.endswith((b'Z"', b'+00:00"')) is given.endswith((b'Z"', b'+00:00"'))
    return is_utc and _is_same_value(have, given)


def _members(text: bytes) -> list[str]:
    return sorted(part.strip() for part in _text.decode(text).split(","))


def _kind(part: Raw) -> str:
    return bytes(part).lstrip()[:1].decode("latin-1")


def _kind_of_object(parts: dict[str, Raw]) -> str | None:
    found = parts.get("_object")
    return _text.decode(found) if found is not None and _kind(found) == '"' else None


def _identity(parts: dict[str, Raw]) -> bytes | None:
    found = parts.get("id")
    return None if found is None or is_empty(found) else bytes(found).strip()


def _identity_of(part: Raw) -> bytes | None:
    return _identity(_object.decode(part)) if _kind(part) == "{" else None


SAMPLE = 50  # comparisons in a row without a difference after which list entries count as complete

_PENDING, _URGENT = 1, 2


class DetailTracker:
    """The details of some shipments within one transaction; written at the end by `save`.

    They say which shipments must be fetched one by one because their list entries may lack data of their own responses.
    Comparisons of both at the same time show whether that is the case for this account: after enough in a row without a
    difference, only shipments whose entry lacks something are fetched. The first difference lets all be fetched again.
    """

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
            elif before.pending == _URGENT and not is_less_complete(own.raw, current.raw):
                self._record_comparison(poorer=True)  # what the list entry lacks still exists
        self._written[shipment] = ShipmentDetail(shipment, before.entry_digest, own.as_of, 0)

    def _record_comparison(self, *, poorer: bool) -> None:
        found = self._richness
        is_rich = not poorer and (found.is_rich or found.consecutive_matches + 1 >= SAMPLE)
        self._richness = msgspec.structs.replace(
            found,
            is_rich=is_rich,
            consecutive_matches=0 if poorer else found.consecutive_matches + 1,
            mismatches=found.mismatches + poorer,
            decided_at=found.decided_at if is_rich == found.is_rich else self._at,
        )

    def save(self) -> None:
        """Write the records."""
        self._details.put(self._written.values())
        if self._richness != self._stored:
            self._details.decide(self._richness)


class DetailVersion(msgspec.Struct, frozen=True):
    """A list entry or an own response: its time, digest and JSON."""

    as_of: str
    digest: int
    raw: str
