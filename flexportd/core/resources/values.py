"""Flexport's values made ours: blanks become None, times get the offset of their place, lists become JSON text."""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec

from flexportd.clock import parse, stamp, zone_of
from flexportd.flexport.models.places import ShipmentNode, zone_name
from flexportd.flexport.models.ports import kinds
from flexportd.flexport.models.wire import MAX_MOMENT_LENGTH, Quantity, is_decimal, parse_day, parse_moment
from flexportd.storage.queries.table import Table

# As Flexport writes nearly all of them; whether there is such a day is for datetime to say.
_USUAL_MOMENT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.000[+-][0-9]{2}:[0-9]{2}")
_SUBMILLISECOND = re.compile(r"[.,][0-9]{3}([0-9]{1,9})")
_USUAL_INSTANT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")

# Values that each cache below holds. What repeats, repeats within a batch or a page: of 10,000 events 512 found as much
# as 8192 did, and a value takes some 330 bytes.
_CACHE_SIZE = 1024
_MAX_CACHED_LENGTH = 2000  # characters of what is remembered at a time

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string", enc_hook=float)


def text(value: str | None) -> str | None:
    """Text without surrounding blanks; empty is None, since Flexport sends either for "none"."""
    return (value.strip() or None) if value else None


def without_placeholder(value: str | None, placeholders: frozenset[str] = frozenset({"NONE"})) -> str | None:
    """A code, or None for Flexport's placeholder."""
    found = text(value)
    return None if found is None or found.upper() in placeholders else found


_DATE_ONLY_SUFFIX = "T00:00:00-00:00"  # behind a day: RFC 3339 (4.3) has this offset for a clock that is not known


def moment(value: str | None) -> str | None:
    """A transport time as it is written: `2026-03-03T12:00:00+08:00`. None for what is no time.

    A plain date is that day wherever it is: `2026-03-03T00:00:00-00:00`.
    """
    return _moment(value) if value and len(value) <= MAX_MOMENT_LENGTH else None


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _moment(value: str) -> str | None:
    found = parse_moment(value)
    if found is None:
        return None
    if _USUAL_MOMENT.fullmatch(value):
        return value[:19] + value[23:]  # only the milliseconds go
    if len(value) == len("2026-03-03"):
        return value + _DATE_ONLY_SUFFIX
    text = found.isoformat(timespec="milliseconds" if found.microsecond >= 1000 else "seconds")
    return text if found.tzinfo else text + "-00:00"


@functools.lru_cache(maxsize=4 * _CACHE_SIZE)
def at_place(stored: str, zone: str) -> str:
    """A moment on the clock of its place: the same instant. Unchanged where the zone or the offset is not known.

    About nine in ten are exactly 12:00 or 00:00 there: days in disguise. Flexport writes them with the offset of the
    place, of another place, or in UTC: so the zone of the place decides which day it is.
    """
    place = zone_of(zone)
    if place is None or stored.endswith("-00:00"):
        return stored
    try:
        local = parse(stored).astimezone(place)
    except OverflowError:
        return stored  # of the first and the last day there may be none at the place
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def is_same_moment(one: str, other: str) -> bool:
    """Whether two moments are one instant, whatever offsets they are written with."""
    return one == other or (one[-6:] != other[-6:] and parse(one) == parse(other))


def is_day_only(value: str) -> bool:
    """Whether a moment tells the day but not the time of day."""
    return value[11:19] in ("12:00:00", "00:00:00")


def instant(value: object) -> str | None:
    """A time on Flexport's clock, as stored: `2026-03-04T02:41:09.377Z`. None for what is no time.

    A number is none: whether it would be seconds or milliseconds is not documented.
    """
    return _instant(value) if isinstance(value, str) and len(value) <= MAX_MOMENT_LENGTH else None


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _instant(value: str) -> str | None:
    found = parse_moment(value)
    if found is None:
        return None
    if _USUAL_INSTANT.fullmatch(value):
        return value if len(value) == 24 else value[:19] + ".000Z"
    return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))


def submillisecond_digits(value: str | None) -> str:
    """The digits of a time beyond the milliseconds of its `instant`, without zeros at the end: to order by."""
    if not value or len(value) <= 24:  # of the usual length: milliseconds
        return ""
    found = _SUBMILLISECOND.search(value)
    return found[1].rstrip("0") if found else ""


def day(value: str | None) -> str | None:
    """A calendar day; of a full time, the day at its place."""
    found = parse_day(value) if value else None
    return None if found is None else found.isoformat()


def json_text(value: Any) -> str | None:
    """JSON text with sorted keys; None for nothing."""
    return _encoder.encode(value).decode() if value else None


def texts(values: Iterable[str | None]) -> str | None:
    """A JSON list without blanks and repeats, in the order of first appearance."""
    given = tuple(values)
    if sum(len(value) for value in given if value) > _MAX_CACHED_LENGTH:
        return _texts(given)
    return _cached_texts(given) if given else None


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _cached_texts(given: tuple[str | None, ...]) -> str | None:
    return _texts(given)


def _texts(given: tuple[str | None, ...]) -> str | None:
    return json_text(list(dict.fromkeys(cleaned for value in given if (cleaned := text(value)))))


def split_joined(value: str | None) -> list[str]:
    """The parts of a comma-joined number: Flexport sends `"A, B, C"`."""
    return [part.strip() for part in value.split(",") if part.strip()] if value else []


def quantity(value: Quantity | None) -> str | None:
    """A weight or volume as `{"unit": "kg", "value": 8200}`; None for 0, which stands for "unknown", and below."""
    number = None if value is None else value.value
    if isinstance(number, str) and not is_decimal(number.strip()):
        return None
    if value is None or number is None:
        return None
    if not 0 < (Decimal(number.strip()) if isinstance(number, str) else number) < math.inf:
        return None
    return json_text({"value": value.value, "unit": value.unit})


def leg_end_fields(node: ShipmentNode | None, end: str) -> dict[str, Any]:
    """The fields of one end (`origin` or `destination`) of a leg."""
    place = node.place if node else None
    address = place.address if place else None
    return {
        end: text(place.name) if place else None,
        f"{end}_code": without_placeholder(address.unlocode) if address else None,
        f"{end}_timezone": zone_name(address.timezone) if address else None,
        f"{end}_ref": text(address.ref) if address else None,
        f"{end}_tags": texts(node.tags or ()) if node else None,
        f"{end}_kinds": texts(kinds(place)) if place else None,
    }


def in_local_time(table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The moments whose fields have the zone of their place beside them, on the clock of that place."""
    return {
        field.name: at_place(value, zone)
        for field in table.moment_fields
        if field.zone and (value := fields[field.name]) and (zone := fields[field.zone])
    }
