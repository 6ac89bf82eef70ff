"""Tables of resources: their fields, columns, sort orders and filters, as data.

Every resource has one table of the same structure: our normalised fields, the state columns, and Flexport's own JSON.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime, time
from operator import attrgetter, itemgetter
from typing import Any, Literal

from flexportd.clock import parse, stamp, zone_of
from flexportd.storage.queries.filters import Filter
from flexportd.storage.queries.freight_filters import for_audience
from flexportd.storage.queries.list_query import ListQuery

Kind = Literal["text", "integer", "boolean", "json", "list", "day", "moment", "deadline"]

_END_OF_DAY = time(23, 59, 59, 999_000)

# What every table has beside its fields.
STATE_COLUMNS = (
    "as_of", "seq", "source", "synced_at", "first_seen_at", "removed_at", "older", "digest", "tie_breaker", "raw",
)  # fmt: skip

MOMENTS = frozenset({"moment", "deadline"})  # the kinds of fields that are points in time
DATES = MOMENTS | {"day"}  # the kinds of fields that have a day
Key = int | str  # an object's id: Flexport's own, a number or a text


@dataclass(frozen=True, slots=True)
class Field:
    """One normalised field.

    A `moment` is a local time, such as `2026-03-03T12:00:00+08:00`; the table adds `<name>_at` (the UTC instant, to
    sort and filter by) and `<name>_date` (the calendar day at the place). A `deadline` is a moment of which the day
    counts: its `<name>_at` is the end of that day at the place. `zone` names the field with the time zone of the place.
    `json` fields hold the text of a JSON object, `list` fields that of a JSON list, `day` fields an ISO date.
    An `internal` field is stored for later computation; it is not shown and has no history. A field that follows from
    others has none either: the first known value of `first_of`, or a `derived` value. `description` says in the API's
    description what the name does not.
    """

    name: str
    kind: Kind = "text"
    zone: str | None = None
    internal: bool = False
    first_of: tuple[str, ...] = ()
    derived: bool = False
    description: str = ""


def plain_fields(*names: str, kind: Kind = "text") -> tuple[Field, ...]:
    """Fields of one kind without anything more."""
    return tuple(Field(name, kind) for name in names)


@dataclass(eq=False)  # compared by identity, and never changed
class Table:
    """A resource's table, with the sort orders and filters of its list, and what follows from its fields.

    The filter `audience` limits the list to the shipments of an audience.
    """

    name: str
    fields: tuple[Field, ...]
    sorts: Mapping[str, str]
    filters: Mapping[str, Filter] = dataclass_field(default_factory=dict)
    computed: Mapping[str, tuple[str, ...]] = dataclass_field(default_factory=dict)
    """Sort column -> the moments of which it holds the first that is known."""

    def __post_init__(self) -> None:
        fields = self.fields
        self.names = tuple(field.name for field in fields)
        self.moments = {field.name: field for field in fields if field.kind in MOMENTS}
        # All that have a day, and the internal ones from which moments are computed.
        self.date_names = tuple(
            field.name for field in fields if field.kind in DATES or (field.internal and field.kind == "text")
        )
        self.booleans = tuple(field.name for field in fields if field.kind == "boolean")
        self.lists = tuple(field.name for field in fields if field.kind == "list")
        self.json_names = frozenset(field.name for field in fields if field.kind in ("json", "list"))
        self.internal = frozenset(field.name for field in fields if field.internal)
        self.public = tuple(field for field in fields if not field.internal)
        # Those without a history; and those with one, each with its place in the order of fields.
        self.unrecorded = frozenset(one.name for one in fields if one.internal or one.first_of or one.derived)
        self.recorded = {name: place for place, name in enumerate(self.names) if name not in self.unrecorded}
        # The stored columns in order; and those that a list reads: not the raw JSON and what only merging needs.
        self.columns = ("id", *self.names, *(f"{name}_at" for name in self.moments), *STATE_COLUMNS)
        hidden = {"raw", "older", "seq", "digest", "tie_breaker", *self.internal}
        self.shown = tuple(name for name in self.columns if name not in hidden)
        self.values_of: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*self.names)
        marks = ", ".join("?" * len(self.columns))
        self.insert = f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"  # noqa: S608 (declared)
        audience = {} if self.owner is None else {"audience": for_audience(self.owner)}
        self.listing = ListQuery(self.name, self.shown, "id", self.sorts, {**self.filters, **audience}, order="as_of")

    def instants(self, fields: Mapping[str, Any], moments: Mapping[str, Field] | None = None) -> list[str | None]:
        """The UTC instants of these moments, or of all, in order."""
        given = (self.moments if moments is None else moments).items()
        return [instant_of(field, value, fields) if (value := fields[name]) else None for name, field in given]

    @property
    def owner(self) -> str | None:
        """The column with the id of the shipment that a row is or belongs to, if any."""
        return "id" if self.name == "shipments" else "shipment_id" if "shipment_id" in self.names else None

    @functools.lru_cache(maxsize=256)  # noqa: B019 (tables live as long as the program)
    def update(self, names: frozenset[str]) -> tuple[str, Callable[[Any], list[Any]]]:
        """The statement that updates the changed fields and the state columns; and record -> its values.

        Only the changed fields (`removed_at` counts as one) are set, so that only their indexes are written. Which
        state wins is decided before, in the same transaction.
        """
        moved = [name for name in self.names if name in names]
        moments = {name: field for name, field in self.moments.items() if not names.isdisjoint((name, field.zone))}
        state = [name for name in STATE_COLUMNS if name not in ("first_seen_at", "removed_at") or name in names]
        sets = ", ".join(f"{column} = ?" for column in (*moved, *(f"{name}_at" for name in moments), *state))
        of_state = attrgetter(*state, "id")

        def values(record: Any) -> list[Any]:
            fields = record.fields
            return [*[fields[name] for name in moved], *self.instants(fields, moments), *of_state(record)]

        return f"UPDATE {self.name} SET {sets} WHERE id = ?", values  # noqa: S608 (declared names)


_FIRST_PLAUSIBLE, _FIRST_IMPLAUSIBLE = "2000", "2070"  # years


def is_plausible(value: str) -> bool:
    """Whether a day or moment can be that of a shipment; 1970 and 2099 are placeholders for a missing date."""
    return _FIRST_PLAUSIBLE <= value < _FIRST_IMPLAUSIBLE


def plausible_or_none(value: str | None) -> str | None:
    """The day or moment; None for an implausible one."""
    return value if value and is_plausible(value) else None


@functools.lru_cache(maxsize=1024)  # values repeat within a batch, as in core.values
def instant(local: str) -> str:
    """The UTC instant of a moment, as stored: `2026-03-03T04:00:00.000Z`."""
    if len(local) == 25 and local.endswith("+00:00"):
        return local[:19] + ".000Z"
    return stamp(parse(local))


def instant_of(field: Field, local: str, fields: Mapping[str, Any]) -> str:
    """The UTC instant of a moment, or the end of a deadline's day in the zone that `fields` give for its place."""
    if field.kind != "deadline":
        return instant(local)
    return _end_of_day(local, fields.get(field.zone) if field.zone else None)


@functools.lru_cache(maxsize=1024)
def _end_of_day(local: str, zone: str | None) -> str:
    """The last millisecond of a moment's day, in the zone, else with the moment's own offset."""
    moment = parse(local)
    place = (zone_of(zone) if zone else None) or moment.tzinfo
    with suppress(OverflowError):  # the last day of the calendar
        return stamp(datetime.combine(moment.date(), _END_OF_DAY, place))
    return instant(local)
