"""Newest state wins: merging a snapshot of an object into its stored state. Pure.

A snapshot inside an event may be old, and may carry fewer fields than the object has. Each top-level field is taken
from the newest snapshot that carried it, so that any order of arrival ends in the same state.
"""

from itertools import compress
from operator import ne
from typing import NamedTuple

import msgspec

from flexportd.flexport.models.events import Fields
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record

_fields = msgspec.json.Decoder(Fields)
_stamps = msgspec.json.Decoder(dict[str, str])

_LINK = frozenset({"_object", "id", "ref", "ref_type", "link"})  # the fields of a mere link to an object


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """One object at one time; `as_of` is on Flexport's clock (empty if unknown), `seq` our order of arrival.

    A complete one is Flexport's own response: a field that it lacks does not exist. One in an event may be partial.
    """

    id: Key
    text: bytes
    fields: Fields
    as_of: str
    seq: int
    is_complete: bool = False
    is_stamped: bool = True  # whether as_of is the object's own timestamp
    tie_breaker: str = ""  # see `tie_breaker`


class MergeResult(msgspec.Struct, frozen=True):
    """The state after a snapshot. `changed` are the wire fields that differ from before; None: any may.

    `is_newer`: the snapshot is the newest; else it only filled in fields that no newer one carried.
    """

    raw: str
    as_of: str
    seq: int
    older: str | None
    changed: Fields | None
    tie_breaker: str = ""
    is_newer: bool = True


class TieBreaker(NamedTuple):
    """What orders states of equal `as_of`: the digits after the milliseconds, then the event's id as a number.

    Also whether `as_of` is the object's own timestamp, and for a response when its request started.
    """

    fraction: str = ""
    event_id: str = ""  # `730114`; `730114+` for a response that was fetched after that event; else empty
    is_stamped: bool = True
    requested_at: str = ""  # of a response, on Flexport's clock; empty if that is `as_of`, or unknown

    @classmethod
    def parse(cls, text: str) -> "TieBreaker":
        """Of its stored form."""
        order, _, requested_at = text.partition("@")
        fraction, _, event_id = order.partition("#")
        return cls(fraction, event_id.rstrip("?"), not order.endswith("?"), requested_at)


def tie_breaker(fraction: str, event_id: str, *, is_stamped: bool = True, requested_at: str = "") -> str:
    """`001#730114`, then `?` if it is not stamped, then `@requested_at`; an id that is not a number is left out."""
    number = event_id if event_id.rstrip("+").isdecimal() else ""
    text = f"{fraction}#{number}" if fraction or number else ""
    if not is_stamped:
        text = (text or "#") + "?"
    return f"{text}@{requested_at}" if requested_at else text


Age = tuple[str, str, int]
"""`as_of`, tie breaker and `seq` of a state."""


def is_at_least_as_new(one: Age, other: Age) -> bool:
    """Whether one state is at least as new as another.

    The later time wins, then the higher event id, then the later received one where an event id is missing.
    """
    if one[0] != other[0]:
        return one[0] > other[0]
    mine, theirs = TieBreaker.parse(one[1]), TieBreaker.parse(other[1])
    if mine.fraction != theirs.fraction:
        return mine.fraction > theirs.fraction
    if mine.event_id and theirs.event_id:
        return _event_order(mine.event_id) >= _event_order(theirs.event_id)
    return one[2] >= other[2]


def age_of(record: Record) -> Age:
    """How new a stored state is."""
    return record.as_of, record.tie_breaker, record.seq


def requested_at(record: Record) -> str:
    """When the request of a stored response started, on Flexport's clock."""
    return TieBreaker.parse(record.tie_breaker).requested_at or record.as_of


def is_link(fields: Fields) -> bool:
    """Whether this is only a link to an object, without data."""
    return len(fields) <= len(_LINK) and fields.keys() <= _LINK


def is_link_only(record: Record) -> bool:
    """Whether only links to an object, which have no time, were ever seen."""
    return not record.as_of and is_link(_fields.decode(record.raw))


def merge(current: Record | None, new: Snapshot, confirmed_at: str = "") -> MergeResult | None:
    """The state merged with a snapshot; None when the snapshot adds nothing.

    `confirmed_at`: Flexport's time at which this object, which has no timestamp, was last found in a complete list as
    stored; an older snapshot adds nothing.
    """
    if current is None:
        return MergeResult(new.text.decode(), new.as_of, new.seq, None, None, new.tie_breaker)
    if new.as_of != current.as_of:  # nearly always
        is_newer = new.as_of > current.as_of
    else:
        is_newer = is_at_least_as_new((new.as_of, new.tie_breaker, new.seq), age_of(current))
    if is_newer and not new.is_stamped and current.digest is not None and new.as_of < requested_at(current):
        is_newer = False  # recorded before that response was requested, whenever the object says that it changed
    if is_newer and new.as_of >= confirmed_at:
        return _replace(current, new) if new.is_complete else _merge_newer(current, new)
    # All fields of an object that was fetched completely are known.
    return None if new.is_complete or current.digest is not None else _backfilled(current, new)


def contradicts(current: Record, new: Snapshot) -> bool:
    """Whether two snapshots of one time differ in a field: the object must be fetched."""
    if new.as_of != current.as_of:
        return False
    if TieBreaker.parse(new.tie_breaker).fraction != TieBreaker.parse(current.tie_breaker).fraction:
        return False
    return differs(current, new)


def differs(current: Record, new: Snapshot) -> bool:
    """Whether a field of a snapshot differs from the stored one."""
    if new.text.decode() == current.raw:
        return False
    have = _fields.decode(current.raw)
    return any(have.get(name, part) != part for name, part in new.fields.items())


def _replace(current: Record, new: Snapshot) -> MergeResult:
    have, given = _fields.decode(current.raw), new.fields
    changed = _differing(have, given)
    gone = have.keys() - given.keys()
    return MergeResult(new.text.decode(), new.as_of, new.seq, None, None if gone else changed, new.tie_breaker)


def _merge_newer(current: Record, new: Snapshot) -> MergeResult:
    text = new.text.decode()
    if current.older is None and text == current.raw:
        return MergeResult(text, new.as_of, new.seq, None, {}, new.tie_breaker)
    have, given = _fields.decode(current.raw), new.fields
    missing = have.keys() - given.keys()
    if not missing:
        return MergeResult(text, new.as_of, new.seq, None, _differing(have, given), new.tie_breaker)
    stamps = _stamps.decode(current.older) if current.older else {}
    kept, age = {name: have[name] for name in sorted(missing)}, _format_age(age_of(current))
    older = {name: stamps.get(name, age) for name in kept}
    return MergeResult(_json_text({**given, **kept}), new.as_of, new.seq, _json_text(older), None, new.tie_breaker)


def _differing(have: Fields, given: Fields) -> Fields:
    return dict(compress(given.items(), map(ne, map(have.get, given), given.values())))


def _backfilled(current: Record, new: Snapshot) -> MergeResult | None:
    have, given = _fields.decode(current.raw), new.fields
    stamps = _stamps.decode(current.older) if current.older else {}
    age = (new.as_of, new.tie_breaker, new.seq)
    # Only fields that no newer snapshot carried. A later snapshot with the same value makes the field as new as itself.
    filling = {
        name: part
        for name, part in given.items()
        if name not in have or (name in stamps and is_at_least_as_new(age, _parse_age(stamps[name])))
    }
    if not filling:
        return None
    older = {**stamps, **dict.fromkeys(filling, _format_age(age))}
    raw, ages = _json_text({**have, **filling}), _json_text(older)
    return MergeResult(raw, current.as_of, current.seq, ages, None, current.tie_breaker, is_newer=False)


def _event_order(event_id: str) -> tuple[int, str, bool]:
    """Event ids as numbers, of whatever length, to compare."""
    digits = event_id.removesuffix("+")
    return len(digits), digits, event_id.endswith("+")


def _format_age(age: Age) -> str:
    return " ".join(map(str, age))


def _parse_age(text: str) -> Age:
    as_of, _, rest = text.partition(" ")
    breaker, _, seq = rest.partition(" ")
    return as_of, breaker, int(seq)


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def encode_fields(fields: Fields) -> bytes:
    """These fields as one JSON object."""
    return msgspec.json.encode(fields)
