"""Newest state wins: how what an object said at one moment joins what we know of it. Pure.

A snapshot inside an event may be old, and may carry fewer fields than the object has. Each top-level field is taken
from the newest snapshot that carried it, so that any order of arrival ends in the same state.
"""

import msgspec

from flexportd.flexport.events import Fields
from flexportd.storage.resources import Key, Record

_fields = msgspec.json.Decoder(Fields)
_stamps = msgspec.json.Decoder(dict[str, str])


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What one object said; `as_of` is on Flexport's clock, `seq` our order of arrival.

    A `whole` one is Flexport's own answer: a field that it does not carry is not there. One in an event may be partial.
    """

    id: Key
    text: bytes
    fields: Fields
    as_of: str
    seq: int
    whole: bool = False
    stamped: bool = True  # whether the object itself says as_of


class Merged(msgspec.Struct, frozen=True):
    """The state after a snapshot. `changed` are the wire fields that differ from before; None when all may."""

    raw: str
    as_of: str
    seq: int
    older: str | None
    changed: Fields | None


def merge(current: Record | None, new: Snapshot, floor: str = "") -> Merged | None:
    """The state with this snapshot in it; None when it tells nothing that is not known already.

    Equal stamps: the later received wins. `floor`: Flexport's time at which this object, which does not say when it
    changed, was found in a whole list as we have it; what is older than that tells nothing new.
    """
    if current is None:
        return Merged(new.text.decode(), new.as_of, new.seq, None, None)
    if (new.as_of, new.seq) >= (current.as_of, current.seq) and new.as_of >= floor:
        return _replaced(current, new) if new.whole else _newer(current, new)
    # Of an object that was fetched whole we know all fields, and that others are not there.
    return None if new.whole or current.digest is not None else _older(current, new)


def _replaced(current: Record, new: Snapshot) -> Merged:
    have, given = _fields.decode(current.raw), new.fields
    changed = {name: part for name, part in given.items() if have.get(name) != part}
    gone = have.keys() - given.keys()
    return Merged(new.text.decode(), new.as_of, new.seq, None, None if gone else changed)


def _newer(current: Record, new: Snapshot) -> Merged:
    text = new.text.decode()
    if current.older is None and text == current.raw:
        return Merged(text, new.as_of, new.seq, None, {})
    have, given = _fields.decode(current.raw), new.fields
    missing = have.keys() - given.keys()
    if not missing:
        changed = {name: part for name, part in given.items() if have.get(name) != part}
        return Merged(text, new.as_of, new.seq, None, changed)
    stamps = _stamps.decode(current.older) if current.older else {}
    kept = {name: have[name] for name in sorted(missing)}
    older = {name: stamps.get(name, current.as_of) for name in kept}
    return Merged(_text({**given, **kept}), new.as_of, new.seq, _text(older), None)


def _older(current: Record, new: Snapshot) -> Merged | None:
    have, given = _fields.decode(current.raw), new.fields
    stamps = _stamps.decode(current.older) if current.older else {}
    # Only fields that no newer snapshot has carried.
    filling = {
        name: part
        for name, part in given.items()
        if name not in have or (name in stamps and stamps[name] <= new.as_of and part != have[name])
    }
    if not filling:
        return None
    older = {**stamps, **dict.fromkeys(filling, new.as_of)}
    return Merged(_text({**have, **filling}), current.as_of, current.seq, _text(older), None)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def encoded(fields: Fields) -> bytes:
    """These fields as one JSON object."""
    return msgspec.json.encode(fields)
