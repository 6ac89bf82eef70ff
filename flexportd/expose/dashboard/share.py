"""The page of a share link: one shipment for somebody without a key, from what `core.shared` lets out alone. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from flexportd.clock import stamp
from flexportd.core.shared import SharedContainer, SharedLeg, SharedMilestone, SharedShipment, SharedTime
from flexportd.core.timeline import Entry
from flexportd.core.values import is_day_only
from flexportd.core.wording import minute
from flexportd.expose.dashboard.cargo import MOST, Leg, doubt, free_time, leg_rows
from flexportd.expose.dashboard.journey import Point, points
from flexportd.expose.dashboard.moments import Ago, Lateness, Sight, When, zone_named
from flexportd.expose.dashboard.route import Route, drawn
from flexportd.expose.dashboard.shipments import Dated, dated, dates
from flexportd.expose.dashboard.wording import STAGES, Mode, Pill, Place, Text, box, mode, place, status, text

_LEFT_PORT = frozenset(name for stage in STAGES[4:] for name in stage.statuses)
_BEFORE = (None, "seller_location")
_DATES = {"cargo_ready", "delivery_appointment", "last_free_day"}
_TRAVEL = {
    "created", "picked_up_in_full", "departed", "arrived", "delivered", "delivery_completed", "available_for_pickup",
    "loaded_on_board", "unloaded_off_board", "delivered_in_full", "empty_returned",
}  # fmt: skip
_OF_EVENTS = (30_000, 0)  # the rank that the timeline gives to what has no place in the order of travel
_REFERENCES = (
    ("purchase_orders", "Purchase orders"),
    ("bills", "Bills of lading"),
    ("carrier_bookings", "Carrier bookings"),
)
_MANY = 12  # references of a kind
_UNDATED = "1970"  # a state that Flexport did not date is older than any

Zones = Mapping[tuple[str | None, str | None], str]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the cargo is in words: `Under way by ocean to` a place, `due` a day."""

    words: str
    place: Place | None
    verb: str
    at: Dated | None


@dataclass(frozen=True, slots=True)
class Box:
    """One container. `free_time` says what the last free day means today, while it may still stand at the port."""

    number: Text
    doubt: str | None
    box: str | None
    available: Dated | None
    last_free_day: When | None
    free_time: Lateness | None
    delivered: Dated | None
    returned: When | None


@dataclass(frozen=True, slots=True)
class Known:
    """Numbers by which the shipment is known."""

    name: str
    values: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class SharePage:
    """Everything that a link's page shows."""

    site: str
    flex_id: str
    name: Text | None
    mode: Mode | None
    status: Pill
    gone: When | None
    whereabouts: Whereabouts | None
    departure: Dated | None
    arrival: Dated | None
    delivery: Dated | None
    carrier: Text | None
    vessel: Text | None
    route: Route | None
    points: tuple[Point, ...]
    containers: tuple[Box, ...]
    references: tuple[Known, ...]
    legs: tuple[Leg, ...]
    as_of: Ago | None
    ends: Ago | None
    seen: str
    """When the page was made: the date on paper, since no script here could write that of printing."""


def share_page(shared: SharedShipment, expires_at: str, site: str, sight: Sight) -> SharePage:
    """What a link shows, in words."""
    zones = _zones(shared["milestones"])
    route, legs = shared["route"], _legs(shared["legs"], zones)
    port = zones.get((route["port_of_unloading"], route["port_of_unloading_code"]))
    fields = _dates_of(shared, zones, port)
    return SharePage(
        site=site,
        flex_id=shared["flex_id"],
        name=text(shared["name"], 120),
        mode=mode(shared["mode"]),
        status=status(shared["status"]),
        gone=sight.instant(shared["removed_at"]),
        whereabouts=_whereabouts(fields, legs, sight),
        departure=dated(fields, "departure", sight),
        arrival=dated(fields, "arrival", sight),
        delivery=dates(fields, "delivered_in_full", sight, passed=shared["status"] == "final_destination"),
        carrier=text(route["carrier"], 60),
        vessel=text(" ".join(part for part in (route["vessel"], route["voyage"]) if part), 60),
        route=drawn(legs, sight),
        points=points([_entry(one, index, port) for index, one in enumerate(shared["milestones"])], sight),
        containers=tuple(_box(one, shared["status"], port, sight) for one in shared["containers"][:MOST]),
        references=_references(shared["references"]),
        legs=leg_rows(legs, sight),
        as_of=sight.ago(shared["as_of"]) if shared["as_of"] > _UNDATED else None,
        ends=sight.ahead(expires_at),
        seen=minute(stamp(sight.now)),
    )


# --- dates: links tell the instant and the day at the place, and the zone of some places ---


def _zones(milestones: Sequence[SharedMilestone]) -> Zones:
    """The zones of places that can be told apart."""
    told = [(one["place"], one["place_code"], one["timezone"]) for one in milestones]
    return {(name, code): zone for name, code, zone in told if zone and (name or code)}


def _moment(told: SharedTime | None, zone: str | None) -> str | None:
    """A time as pages read it: with the offset of its place where that is known, else the day alone."""
    return _local(told["at"], told["date"], zone, day_only=told["day_only"]) if told else None


def _local(at: str, day: str, zone: str | None, *, day_only: bool) -> str:
    home = zone_named(zone)
    if home is None:
        return f"{day}T12:00:00-12:00"  # without a zone, a day is over when it is over everywhere
    local = datetime.fromisoformat(at).astimezone(home).isoformat()
    if day_only or local[:10] != day or is_day_only(local):
        return datetime.combine(date.fromisoformat(day), time(12), home).isoformat()
    return local


def _dates_of(shared: SharedShipment, zones: Zones, port: str | None) -> dict[str, Any]:
    """The dates of the whole, under the names that they have in the store."""
    route = shared["route"]
    loading = zones.get((route["port_of_loading"], route["port_of_loading_code"]))
    end = zones.get((route["destination"], route["destination_code"]))
    return {
        "status": shared["status"],
        "estimated_departure": _moment(shared["estimated_departure"], loading),
        "actual_departure": _moment(shared["actual_departure"], loading),
        "estimated_arrival": _moment(shared["estimated_arrival"], port),
        "actual_arrival": _moment(shared["actual_arrival"], port),
        "estimated_delivered_in_full": _moment(shared["estimated_delivered_in_full"], end),
        "actual_delivered_in_full": _moment(shared["actual_delivered_in_full"], end),
    }


def _legs(told: Sequence[SharedLeg], zones: Zones) -> list[dict[str, Any]]:
    """The legs under the names of the store."""
    found: list[dict[str, Any]] = []
    for leg in told:
        start = zones.get((leg["origin"], leg["origin_code"]))
        end = zones.get((leg["destination"], leg["destination_code"]))
        found.append(
            {
                **{name: leg[name] for name in ("mode", "carrier", "vessel", "voyage", "flight")},
                **{name: leg[name] for name in ("origin", "origin_code", "destination", "destination_code")},
                "origin_ref": None,
                "destination_ref": None,
                "origin_timezone": start,
                "destination_timezone": end,
                "tracking_number": None,
                "estimated_departure": _moment(leg["estimated_departure"], start),
                "actual_departure": _moment(leg["actual_departure"], start),
                "estimated_arrival": _moment(leg["estimated_arrival"], end),
                "actual_arrival": _moment(leg["actual_arrival"], end),
            }
        )
    _name_the_ends(found)
    return found


def _name_the_ends(legs: Sequence[dict[str, Any]]) -> None:
    """Where a leg comes from nowhere or leads to nowhere else, its untold place is that of pickup or delivery."""
    ends = [(leg["origin"], leg["origin_code"], leg["destination"], leg["destination_code"]) for leg in legs]
    for index, (leg, (start, start_code, end, end_code)) in enumerate(zip(legs, ends, strict=True)):
        if start is None and (None, start_code) not in [one[2:] for one in ends[:index]]:
            leg["origin"] = "Place of pickup"
        if end is None and (None, end_code) not in [one[:2] for one in ends[index + 1 :]]:
            leg["destination"] = "Place of delivery"


# --- the parts ---


def _whereabouts(fields: Mapping[str, Any], legs: Sequence[Mapping[str, Any]], sight: Sight) -> Whereabouts | None:
    delivered = dates(fields, "delivered_in_full", sight)
    if fields["status"] == "final_destination" or (delivered and delivered.is_actual):
        last = dates(legs[-1], "arrival", sight, zone=legs[-1]["destination_timezone"]) if legs else None
        told = next((one for one in (delivered, last) if one and one.is_actual), None)
        return Whereabouts("Delivered", None, "on", told)
    left = [leg for leg in legs if leg["actual_departure"]]
    if left:
        end, there = left[-1], place(left[-1], "destination")
        at = dates(end, "arrival", sight, zone=end["destination_timezone"])
        if end["actual_arrival"]:
            return Whereabouts("At", there, "since", at) if there else None
        by = mode(end["mode"])
        return (
            Whereabouts(f"In transit{f' by {by.text.lower()}' if by else ''} to", there, "due", at) if there else None
        )
    if fields["status"] not in _BEFORE:
        return None
    first = dates(legs[0], "departure", sight, zone=legs[0]["origin_timezone"]) if legs else None
    return Whereabouts("Not departed yet", None, "departs", first)


def _entry(one: SharedMilestone, index: int, port: str | None) -> Entry:
    """A point of the timeline as the dashboard takes it; containers are picked up at the port."""
    zone = one["timezone"] or (port if one["container_number"] else None)

    def local(name: str, *, day_only: bool) -> str | None:
        at, day = one[f"{name}_at"], one[f"{name}_date"]  # type: ignore[literal-required]
        return _local(at, day, zone, day_only=day_only) if at else None

    name = one["milestone"]
    return Entry(
        name,
        one["title"],
        planned=local("planned", day_only=one["day_only"] and not one["actual_at"]),
        actual=local("actual", day_only=one["day_only"]),
        place=one["place"],
        place_code=one["place_code"],
        timezone=zone,
        mode=one["mode"],
        container_number=one["container_number"],
        group="dates" if name in _DATES else "progress",
        rank=(index, 0) if name in _TRAVEL | _DATES else _OF_EVENTS,
    )


def _box(one: SharedContainer, state: str | None, port: str | None, sight: Sight) -> Box:
    away = bool(one["actual_delivery"] or one["empty_returned_date"] or state in _LEFT_PORT)
    fields = {
        "estimated_available": _moment(one["estimated_available_for_pickup"], port),
        "actual_available": _moment(one["available_for_pickup"], port),
        "estimated_delivery": _moment(one["estimated_delivery"], None),
        "actual_delivery": _moment(one["actual_delivery"], None),
    }
    last = _moment(one["last_free_day"], port)
    return Box(
        number=text(one["container_number"], 40) or Text("Container number not assigned"),
        doubt=doubt(one["container_number"]),
        box=box(one["container_size"], one["container_type"]),
        available=dates(fields, "available", sight, zone=port, passed=away),
        last_free_day=sight.moment(last, port),
        free_time=None if away else free_time(last, sight),
        delivered=dates(fields, "delivery", sight, passed=bool(one["empty_returned_date"])),
        returned=sight.calendar_day(one["empty_returned_date"]),
    )


def _references(told: Mapping[str, Sequence[str]]) -> tuple[Known, ...]:
    found = []
    for kind, words in _REFERENCES:
        values = [part for value in told.get(kind, ()) if (part := text(value, 60))]
        more = (Text(f"and {len(values) - _MANY:,} more"),) if len(values) > _MANY else ()
        if values:
            found.append(Known(words, (*values[:_MANY], *more)))
    return tuple(found)
