"""Newest state wins: how what an object said at one moment joins what we know of it. Pure.

A snapshot inside an event may be old, and may carry fewer fields than the object has. Each top-level field is taken
from the newest snapshot that carried it, so that any order of arrival ends in the same state.
"""

from typing import NamedTuple

import msgspec

from flexportd.flexport.models.events import Fields
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record

_fields = msgspec.json.Decoder(Fields)
_stamps = msgspec.json.Decoder(dict[str, str])

_LINK = frozenset({"_object", "id", "ref", "ref_type", "link"})  # what names an object and tells nothing of it


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What one object said; `as_of` is on Flexport's clock, empty where no time is known; `seq` our order of arrival.

    A `whole` one is Flexport's own answer: a field that it does not carry is not there. One in an event may be partial.
    """

    id: Key
    text: bytes
    fields: Fields
    as_of: str
    seq: int
    is_complete: bool = False
    is_stamped: bool = True  # whether the object itself says as_of
    tie_breaker: str = ""  # see `tie_breaker`


class MergeResult(msgspec.Struct, frozen=True):
    """The state after a snapshot. `changed` are the wire fields that differ from before; None when all may.

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
    """What orders states of equal `as_of`: the digits behind the milliseconds, then the event's id, as a number.

    And what `as_of` is: whether the object itself says so, and for a response when its request started.
    """

    fraction: str = ""
    event_id: str = ""  # `730114`; `730114+` for an answer that was fetched after that event; empty for any other
    is_stamped: bool = True
    requested_at: str = ""  # of a response, on Flexport's clock; empty where that is `as_of`, or not known

    @classmethod
    def parse(cls, text: str) -> "TieBreaker":
        """Of its stored form."""
        order, _, requested_at = text.partition("@")
        fraction, _, event_id = order.partition("#")
        return cls(fraction, event_id.rstrip("?"), not order.endswith("?"), requested_at)

    def __str__(self) -> str:
        """Its stored form: `001#730114`, then `?` where the object did not say `as_of` itself, then `@requested_at`."""
        return tie_breaker(self.fraction, self.event_id, is_stamped=self.is_stamped, requested_at=self.requested_at)


def tie_breaker(fraction: str, event_id: str, *, is_stamped: bool = True, requested_at: str = "") -> str:
    """The stored form of a TieBreaker; an id that is no number is none."""
    number = event_id if event_id.rstrip("+").isdecimal() else ""
    text = f"{fraction}#{number}" if fraction or number else ""
    if not is_stamped:
        text = (text or "#") + "?"
    return f"{text}@{requested_at}" if requested_at else text


Age = tuple[str, str, int]
"""`as_of`, tie breaker and `seq` of a state."""


def is_at_least_as_new(one: Age, other: Age) -> bool:
    """Whether one state is at least as new as another.

    The later time wins; of equal times the higher event id; the later received where one of them has no event id.
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
    """When the request of a response started that is stored, on Flexport's clock."""
    return TieBreaker.parse(record.tie_breaker).requested_at or record.as_of


def is_link(fields: Fields) -> bool:
    """Whether this names an object and tells nothing of it."""
    return len(fields) <= len(_LINK) and fields.keys() <= _LINK


def is_link_only(record: Record) -> bool:
    """Whether nothing but links to an object, which have no time, was ever seen."""
    return not record.as_of and is_link(_fields.decode(record.raw))


def merge(current: Record | None, new: Snapshot, floor: str = "") -> MergeResult | None:
    """The state with this snapshot in it; None when it tells nothing that is not known already.

    `floor`: Flexport's time at which this object, which does not say when it changed, was found in a whole list as we
    have it; what is older than that tells nothing new.
    """
    if current is None:
        return MergeResult(new.text.decode(), new.as_of, new.seq, None, None, new.tie_breaker)
    if new.as_of != current.as_of:  # nearly always
        is_newer = new.as_of > current.as_of
    else:
        is_newer = is_at_least_as_new((new.as_of, new.tie_breaker, new.seq), age_of(current))
    if is_newer and not new.is_stamped and current.digest is not None and new.as_of < requested_at(current):
        is_newer = False  # recorded before that response was requested, whenever the object says that it changed
    if is_newer and new.as_of >= floor:
        return _replace(current, new) if new.is_complete else _merge_newer(current, new)
    # Of an object that was fetched whole we know all fields, and that others are not there.
    return None if new.is_complete or current.digest is not None else _backfilled(current, new)


def contradicts(current: Record, new: Snapshot) -> bool:
    """Whether an object told different things of one field at one time: Flexport has to be asked which holds."""
    if new.as_of != current.as_of:
        return False
    if TieBreaker.parse(new.tie_breaker).fraction != TieBreaker.parse(current.tie_breaker).fraction:
        return False
    return differs(current, new)


def differs(current: Record, new: Snapshot) -> bool:
    """Whether a field of a snapshot has another value than what is stored."""
    if new.text.decode() == current.raw:
        return False
    have = _fields.decode(current.raw)
    return any(have.get(name, part) != part for name, part in new.fields.items())


def _replace(current: Record, new: Snapshot) -> MergeResult:
    have, given = _fields.decode(current.raw), new.fields
    changed = {name: part for name, part in given.items() if have.get(name) != part}
    gone = have.keys() - given.keys()
    return MergeResult(new.text.decode(), new.as_of, new.seq, None, None if gone else changed, new.tie_breaker)


def _merge_newer(current: Record, new: Snapshot) -> MergeResult:
    text = new.text.decode()
    if current.older is None and text == current.raw:
        return MergeResult(text, new.as_of, new.seq, None, {}, new.tie_breaker)
    have, given = _fields.decode(current.raw), new.fields
    missing = have.keys() - given.keys()
    if not missing:
        changed = {name: part for name, part in given.items() if have.get(name) != part}
        return MergeResult(text, new.as_of, new.seq, None, changed, new.tie_breaker)
    stamps = _stamps.decode(current.older) if current.older else {}
    kept, age = {name: have[name] for name in sorted(missing)}, _format_age(age_of(current))
    older = {name: stamps.get(name, age) for name in kept}
    return MergeResult(_json_text({**given, **kept}), new.as_of, new.seq, _json_text(older), None, new.tie_breaker)


def _backfilled(current: Record, new: Snapshot) -> MergeResult | None:
    have, given = _fields.decode(current.raw), new.fields
    stamps = _stamps.decode(current.older) if current.older else {}
    age = (new.as_of, new.tie_breaker, new.seq)
    # Only fields that no newer snapshot has carried. One that says the same later makes the field as new as itself.
    filling = {
        name: part
        for name, part in given.items()
        if name not in have or (name in stamps and is_at_least_as_new(age, _parse_age(stamps[name])))
    }
    if not filling:
        return None
    older = {**stamps, **dict.fromkeys(filling, _format_age(age))}
    return MergeResult(
        _json_text({**have, **filling}),
        current.as_of,
        current.seq,
        _json_text(older),
        None,
        current.tie_breaker,
        is_newer=False,
    )


def _event_order(event_id: str) -> tuple[int, str, bool]:
    """Event ids as numbers, of whatever length, to compare."""
    digits = event_id.removesuffix("+")
    return len(digits), digits, event_id.endswith("+")


def _format_age(age: Age) -> str:
    return " ".join(map(str, age))


def _parse_age(text: str) -> Age:
    as_of, _, rest = text.partition(" ")
    breaker, _, seq = rest.partition(" ")
    return as_of, breaker, int(seq or 0)  # before there were tie breakers a time alone was kept


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def encode_fields(fields: Fields) -> bytes:
    """These fields as one JSON object."""
    return msgspec.json.encode(fields)
