"""Normalising Flexport's values: blanks become None, times get the offset of their place, lists become JSON text."""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec

from flexportd.clock import parse, stamp, zone_of
from flexportd.flexport.models.wire import MAX_MOMENT_LENGTH, Quantity, is_decimal, parse_day, parse_moment
from flexportd.storage.queries.table import Table

# As Flexport writes nearly all of them; datetime checks whether the day exists.
_USUAL_MOMENT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.000[+-][0-9]{2}:[0-9]{2}")
_SUBMILLISECOND = re.compile(r"[.,][0-9]{3}([0-9]{1,9})")
_USUAL_INSTANT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")

# Entries of each cache below. Values repeat within a batch or a page: of 10,000 events, 512 entries hit as often as
# 8192, and an entry takes about 330 bytes.
_CACHE_SIZE = 1024
_MAX_CACHED_LENGTH = 2000  # characters of a cached value

# Numbers in metadata keep their digits (flexport/models/money.py): the hook encodes them.
_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string", enc_hook=float)
_entries = msgspec.json.Decoder(list[dict[str, Any]])


def text(value: str | None) -> str | None:
    """Text without surrounding blanks; empty is None, since Flexport sends either for "none"."""
    return (value.strip() or None) if value else None


def without_placeholder(value: str | None, placeholders: frozenset[str] = frozenset({"NONE"})) -> str | None:
    """A code, or None for Flexport's placeholder."""
    found = text(value)
    return None if found is None or found.upper() in placeholders else found


_DATE_ONLY_SUFFIX = "T00:00:00-00:00"  # after a day: RFC 3339 (4.3) has this offset for an unknown local time


def moment(value: str | None) -> str | None:
    """A transport time as written: `2026-03-03T12:00:00+08:00`. None for an invalid time.

    A plain date has an unknown offset: `2026-03-03T00:00:00-00:00`.
    """
    return _moment(value) if value and len(value) <= MAX_MOMENT_LENGTH else None


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _moment(value: str) -> str | None:
    found = parse_moment(value)
    if found is None:
        return None
    if _USUAL_MOMENT.fullmatch(value):
        return value[:19] + value[23:]  # only without the milliseconds
    if len(value) == len("2026-03-04T02:41:09Z") and value[10] == "T" and value[19] == "Z":
        return value[:19] + "+00:00"
    if len(value) == len("2026-03-03"):
        return value + _DATE_ONLY_SUFFIX
    text = found.isoformat(timespec="milliseconds" if found.microsecond >= 1000 else "seconds")
    return text if found.tzinfo else text + "-00:00"


@functools.lru_cache(maxsize=4 * _CACHE_SIZE)
def at_place(stored: str, zone: str) -> str:
    """The same instant on the clock of its place. Unchanged if the zone or the offset is unknown.

    About nine in ten are exactly 12:00 or 00:00 there, and mean a day. Flexport writes them with the offset of the
    place, of another place, or in UTC: so the zone of the place decides which day it is.
    """
    place = zone_of(zone)
    if place is None or stored.endswith("-00:00"):
        return stored
    try:
        local = parse(stored).astimezone(place)
    except OverflowError:
        return stored  # the first and the last day may not exist in the zone
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def is_same_moment(one: str, other: str) -> bool:
    """Whether two moments are the same instant, with any offsets."""
    return one == other or (one[-6:] != other[-6:] and parse(one) == parse(other))


def instant(value: object) -> str | None:
    """A time on Flexport's clock, as stored: `2026-03-04T02:41:09.377Z`. None for an invalid time.

    A number is invalid: whether it would be seconds or milliseconds is not documented.
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
    """The digits of a time after its milliseconds, without trailing zeros, to order by."""
    if not value or len(value) <= 24:  # of the usual length: milliseconds
        return ""
    found = _SUBMILLISECOND.search(value)
    return found[1].rstrip("0") if found else ""


def day(value: str | None) -> str | None:
    """A calendar day; of a full time, the day at its place."""
    found = parse_day(value) if value else None
    return None if found is None else found.isoformat()


def json_text(value: Any) -> str | None:
    """JSON text with sorted keys; None for an empty value."""
    return _encoder.encode(value).decode() if value else None


def decode_list(stored: str | None) -> list[dict[str, Any]]:
    """The objects of a stored JSON list; empty for None."""
    return _entries.decode(stored) if stored else []


def texts(values: Iterable[str | None]) -> str | None:
    """A JSON list of unique non-blank texts, in the order of first appearance."""
    given = tuple(values)
    if sum(len(value) for value in given if value) > _MAX_CACHED_LENGTH:
        return _texts(given)
    return _cached_texts(given) if given else None


def _texts(given: tuple[str | None, ...]) -> str | None:
    return json_text(list(dict.fromkeys(cleaned for value in given if (cleaned := text(value)))))


_cached_texts = functools.lru_cache(maxsize=_CACHE_SIZE)(_texts)


def split_joined(value: str | None) -> list[str]:
    """The parts of a comma-joined number: Flexport sends `"A, B, C"`."""
    return [part.strip() for part in value.split(",") if part.strip()] if value else []


def quantity(value: Quantity | None) -> str | None:
    """A weight or volume as `{"unit": "kg", "value": 8200}`; None for 0, which means "unknown", and below."""
    number = None if value is None else value.value
    if isinstance(number, str) and not is_decimal(number.strip()):
        return None
    if value is None or number is None:
        return None
    if not 0 < (Decimal(number.strip()) if isinstance(number, str) else number) < math.inf:
        return None
    return json_text({"value": value.value, "unit": value.unit})


def in_local_time(table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The moments with a zone field, on the clock of that zone."""
    return {
        name: at_place(value, zone)
        for name, field in table.moments.items()
        if field.zone and (value := fields[name]) and (zone := fields[field.zone])
    }
