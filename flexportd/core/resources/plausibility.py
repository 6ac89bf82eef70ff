"""Implausible data of an object or a route, such as a date in 1970 or two ports of loading: stored and reported."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from flexportd.clock import parse
from flexportd.core.resources.itinerary import LegDate, ShipmentRoute
from flexportd.storage.queries.table import Table, is_plausible, plausible_or_none

_MAX_EARLY = timedelta(days=30)  # by which an arrival may be before a departure without a report
_MAX_LEGS = 200  # legs


def anomalies(table: Table, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Implausible dates, as (a sentence that names the field, the value)."""
    for name, value in zip(table.date_names, map(fields.get, table.date_names), strict=True):
        if value and not is_plausible(value):
            yield f"{name.removeprefix('own_')} is not a plausible date", value


def route_anomalies(route: ShipmentRoute, departure: str | None) -> Iterator[tuple[str, str]]:
    """Implausible data of the legs of a shipment; `departure` is the shipment's own."""
    for leg in route.ordered:
        for end in ("origin", "destination"):
            if leg.fields[end] is None and leg.fields[f"{end}_code"] is None:
                yield f"{end} of a leg is not given", f"leg {leg.id}"
    for tag in ("port_of_loading", "port_of_unloading"):
        places = dict.fromkeys(place.name or place.code or "" for place in route.tagged(tag))
        if len(places) > 1:
            yield f"{tag} is the tag of different places", ", ".join(places)
    dates = route.dates
    left = plausible_or_none(departure) or _date(dates, "departure")
    come = _date(dates, "arrival")
    if left and come and parse(come) < parse(left) - _MAX_EARLY:
        yield "the arrival of a leg lies long before the departure", f"{come[:10]} before {left[:10]}"
    if len(route.ordered) > _MAX_LEGS:
        yield f"a shipment has more than {_MAX_LEGS} legs", str(len(route.ordered))


def _date(dates: Mapping[str, LegDate], name: str) -> str | None:
    found = dates.get(f"actual_{name}") or dates.get(f"estimated_{name}")
    return found.moment if found else None
