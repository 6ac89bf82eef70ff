"""The entries of the calendar. Pure, except `page`, which reads.

A deadline disappears once it is met: free time when any evidence shows that the container left the terminal, an invoice
when it is paid or void. Arrivals, deliveries and appointments stay. What was removed at Flexport disappears, with a
shipment everything that belongs to it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote

import msgspec

from flexportd.clock import parse
from flexportd.core.evidence import CargoStage, Evidence
from flexportd.core.labels import is_day_only
from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import ShipmentRoute
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.calendar import LIST_QUERIES, LegContainers, ShipmentSummary
from flexportd.storage.transaction import Transaction

Kind = Literal["arrivals", "ramp_arrivals", "deliveries", "free_time", "appointments", "invoices"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_ENTRIES = 5000  # entries of one calendar

_MAX_LENGTH = 160  # characters of a name
_MAX_NAMES = 20  # containers or orders that one entry names
_MAX_EVENTS = 500  # events of one shipment that are read
_DAY = timedelta(days=1)

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Invisible characters and changes of writing direction could make an entry read as another. Emoji keep joiners.
_INVISIBLE = re.compile(
    r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)

_names = msgspec.json.Decoder(list[Any]).decode


class CalendarEntry(msgspec.Struct, frozen=True):
    """One entry. `at` is a day at its place, or an instant in UTC; `revised_at` is our time of its data.

    `key` consists of Flexport's ids only, so it is stable, also between daemons of the same account. Texts are clean
    lines.
    """

    key: str
    kind: Kind
    title: str
    at: date | datetime
    revised_at: str
    facts: tuple[str, ...] = ()
    place: str | None = None
    shipment_id: int | None = None
    is_estimate: bool = False
    local_day: date | None = None

    @property
    def day(self) -> date:
        """Its day, at its place if that is known."""
        return self.local_day or (self.at.date() if isinstance(self.at, datetime) else self.at)


def page(tx: Transaction, kind: Kind, request: PageRequest) -> tuple[list[CalendarEntry], tuple[Any, Any] | None]:
    """The entries of one page of a kind, and the position after which the next page begins; None for the last page.

    Pages are sorted by `at`, and filtered by `from` and `before` (days, as they are shown), `shown`, and `audience`.
    """
    rows = tx.calendar.page(kind, _widen(request))
    shown = rows[: request.limit]
    owners = [row["shipment_id"] for row in shown if row.get("shipment_id") is not None]
    shipments_by_id = tx.calendar.shipments(owners) if kind in ("free_time", "appointments") else {}
    loads = tx.calendar.leg_containers(row["id"] for row in shown) if kind == "appointments" else {}
    gone = _left_terminal(tx, owners) if kind == "free_time" else set()
    entries = []
    for row in shown:
        shipment = shipments_by_id.get(row["shipment_id"]) if shipments_by_id else None
        if kind == "free_time":
            entry = free_time(row, shipment)
        elif kind == "appointments":
            entry = appointment(row, shipment, loads.get(row["id"]))
        else:
            entry = invoice_due(row) if kind == "invoices" else arrival(row, kind)
        if entry is None or row["id"] in gone or (shipment is not None and shipment.removed_at is not None):
            continue
        if request.filters["from"][0] <= entry.day.isoformat() < request.filters["before"][0]:
            entries.append(entry)
    last = shown[-1] if len(rows) > len(shown) else None
    return entries, None if last is None else (last[LIST_QUERIES[kind].sorts["at"]], last["id"])


def _widen(request: PageRequest) -> PageRequest:
    """The page by instants: a day at its place may be the day before or after in UTC."""
    begin, end = (date.fromisoformat(request.filters[name][0]) for name in ("from", "before"))
    return replace(
        request,
        filters={**request.filters, "from": ((begin - _DAY).isoformat(),), "before": ((end + _DAY).isoformat(),)},
    )


def _left_terminal(tx: Transaction, owners: Iterable[int]) -> set[int]:
    numbers, found = list(dict.fromkeys(owners)), set[int]()
    of_shipments = tx.resources.load(shipments.TABLE, numbers)
    of_legs, boxes, on_legs = (
        tx.resources.of_shipments(table, numbers)
        for table in (legs.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS)
    )
    for number, shipment in of_shipments.items():
        key, events = int(number), tx.events.of_shipment(int(number), _MAX_EVENTS)
        evidence = Evidence(shipment, ShipmentRoute(of_legs[key]), boxes[key], on_legs[key], events)
        found.update(int(box.id) for box in boxes[key] if evidence.box(box).has_reached(CargoStage.LEFT))
    return found


def closest(entries: Iterable[CalendarEntry], today: date, most: int) -> list[CalendarEntry]:
    """At most so many entries, each once, in order: future entries before past ones, the nearest of both."""
    unique = {entry.key: entry for entry in entries}
    found = sorted(unique.values(), key=lambda entry: (entry.day, entry.at.isoformat(), entry.key))
    past = [entry for entry in found if entry.day < today]
    ahead = [entry for entry in found if entry.day >= today][:most]
    room = most - len(ahead)
    return [*(past[-room:] if room else ()), *ahead]


class _Stop(NamedTuple):
    """An arrival of a shipment: the name of its dates, its place, and its words."""

    date: str
    place: str
    key: str
    planned: str
    actual: str
    suffix: str = ""


_STOPS: Mapping[Kind, _Stop] = {
    "arrivals": _Stop("arrival", "port_of_unloading", "arrival", "Arrives", "Arrived"),
    "ramp_arrivals": _Stop("ramp_arrival", "inland_ramp", "ramp-arrival", "Arrives", "Arrived", "ramp"),
    "deliveries": _Stop("delivered_in_full", "destination", "delivery", "Delivery", "Delivered"),
}


def arrival(row: Mapping[str, Any], kind: Kind = "arrivals") -> CalendarEntry | None:
    """A shipment at one of its places: as planned, or once it has happened, as it was.

    By road it arrives at its destination, unless it has a delivery there.
    """
    stop = _STOPS[kind]
    if kind == "arrivals" and row[stop.place] is None:
        if row["actual_delivered_in_full"] or row["estimated_delivered_in_full"]:
            return None
        stop = stop._replace(place="destination")
    planned, actual = (plausible_or_none(row[f"{when}_{stop.date}"]) for when in ("estimated", "actual"))
    moment = actual or planned
    at = date_or_time(moment)
    if at is None or moment is None:
        return None
    place, what = clean_line(row[stop.place]), stop.key.replace("-", " ")
    suffix = stop.suffix if stop.suffix not in place.lower() else ""
    where = " ".join(filter(None, (stop.actual if actual else stop.planned, place, suffix)))
    vessel = " ".join(filter(None, (clean_line(row["vessel"]), clean_line(row["voyage"]))))
    return CalendarEntry(
        key=f"{stop.key}-{row['id']}",
        kind=kind,
        title=_title(where, "", _shipment_name(row["id"], row["name"])),
        at=at,
        revised_at=row["synced_at"],
        facts=_facts(
            (f"Estimated {what}", _format_moment(planned)),
            (f"Actual {what}", _format_moment(actual)),
            ("Mode", _words(row["mode"])),
            ("Status", _words(row["status"])),
            ("Carrier", clean_line(row["carrier"])),
            ("Vessel or flight", vessel or clean_line(row["flight"])),
            ("Purchase orders", _format_list(row["purchase_orders"])),
            ("Containers", _format_list(row["container_numbers"])),
        ),
        place=_place(place, row[f"{stop.place}_code"]),
        shipment_id=row["id"],
        is_estimate=actual is None,
        local_day=date.fromisoformat(moment[:10]),
    )


def free_time(row: Mapping[str, Any], shipment: ShipmentSummary | None = None) -> CalendarEntry | None:
    """The last day, at its terminal, on which a container may stay without a charge."""
    day = plausible_or_none(row["last_free_day"])
    if day is None:
        return None
    number = clean_line(row["container_number"]) or f"container {row['id']}"
    return CalendarEntry(
        key=f"free-time-{row['id']}",
        kind="free_time",
        title=_title("Last free day", number, _shipment_label(row["shipment_id"], shipment)),
        at=date.fromisoformat(day[:10]),
        revised_at=_newest(row, shipment),
        facts=_facts(
            ("Container", " ".join(filter(None, (clean_line(row["container_number"]), _words(row["container_size"]))))),
            ("Estimated available for pickup", _format_moment(row["estimated_available_for_pickup"])),
            ("Available for pickup", _format_moment(row["available_for_pickup"])),
        ),
        place=_place(clean_line(row["terminal"]), row["terminal_code"]),
        shipment_id=row["shipment_id"],
    )


def appointment(
    row: Mapping[str, Any], shipment: ShipmentSummary | None = None, load: LegContainers | None = None
) -> CalendarEntry | None:
    """The delivery appointment of a leg; it stays once that is done."""
    moment = plausible_or_none(row["delivery_appointment"])
    at = date_or_time(moment)
    if at is None or moment is None:
        return None
    boxes = [clean_line(number) for number in load.containers] if load else []
    done = row["delivery_completed"] is not None
    what = boxes[0] if len(boxes) == 1 else f"{len(boxes)} containers" if boxes else ""
    return CalendarEntry(
        key=f"appointment-{row['id']}",
        kind="appointments",
        title=_title(
            "Delivered" if done else "Delivery appointment", _shipment_label(row["shipment_id"], shipment), what,
            clean_line(row["destination"]),
        ),
        at=at,
        revised_at=_newest(row, shipment, load),
        facts=_facts(
            ("Delivery completed", _format_moment(row["delivery_completed"])),
            ("Containers", _join_limited(boxes)),
            ("Mode", _words(row["mode"])),
            ("Carrier", clean_line(row["carrier"])),
            ("Tracking number", clean_line(row["tracking_number"])),
        ),
        place=_place(clean_line(row["destination"]), row["destination_code"]),
        shipment_id=row["shipment_id"],
        local_day=date.fromisoformat(moment[:10]),
    )  # fmt: skip


def invoice_due(row: Mapping[str, Any]) -> CalendarEntry | None:
    """The due date of an open freight invoice."""
    if row["due_date"] is None:
        return None
    owed = " ".join(filter(None, (row["outstanding_amount"], clean_line(row["outstanding_currency"]))))
    return CalendarEntry(
        key=f"invoice-{quote(str(row['id']), safe='')}",
        kind="invoices",
        title=_title("Invoice due", clean_line(row["name"]) or clean_line(str(row["id"])), owed),
        at=date.fromisoformat(row["due_date"]),
        revised_at=row["synced_at"],
        facts=_facts(("Outstanding", owed), ("Status", _words(row["status"])), ("Issuer", clean_line(row["issuer"]))),
        shipment_id=row["shipment_id"],
    )


def date_or_time(moment: str | None) -> date | datetime | None:
    """A moment as the day at its place if it has no time of day, else as the instant in UTC."""
    if not moment:
        return None
    if is_day_only(moment):
        return date.fromisoformat(moment[:10])
    return parse(moment).astimezone(UTC).replace(microsecond=0)


def _newest(row: Mapping[str, Any], *others: ShipmentSummary | LegContainers | None) -> str:
    return max([str(row["synced_at"]), *(other.synced_at for other in others if other is not None)])


def clean_line(text: str | None) -> str:
    """External text as one clean line of bounded length; empty for None."""
    found = _BREAKS.sub(" ", _INVISIBLE.sub("", text or "")).strip()
    return found if len(found) <= _MAX_LENGTH else f"{found[: _MAX_LENGTH - 1]}…"


def _title(what: str, *parts: str) -> str:
    """`Last free day CSQU3054383 · FLEX-1`."""
    return " · ".join(filter(None, (f"{what} {parts[0]}".strip(), *parts[1:])))


def _shipment_name(number: int, name: str | None) -> str:
    flex_id, own = f"FLEX-{number}", clean_line(name)
    return flex_id if own in ("", flex_id, str(number)) else f"{flex_id} {own}"


def _shipment_label(number: int | None, shipment: ShipmentSummary | None) -> str:
    return "" if number is None else _shipment_name(number, shipment.name if shipment else None)


def _place(name: str, code: str | None) -> str | None:
    found = clean_line(code)
    return f"{name} ({found})" if name and found and found not in name else name or found or None


def _facts(*pairs: tuple[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name, value in pairs if value)


def _words(code: str | None) -> str:
    return clean_line(code).replace("_", " ")


def _format_list(stored: str | None) -> str:
    return _join_limited([clean_line(part) for part in _names(stored) if isinstance(part, str)]) if stored else ""


def _join_limited(parts: list[str]) -> str:
    rest = len(parts) - _MAX_NAMES
    return ", ".join(parts[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _format_moment(moment: str | None) -> str:
    """A moment for people, at its place: `2026-03-21`, `2026-03-21 14:05 (-07:00)`."""
    if not moment:
        return ""
    if is_day_only(moment):
        return moment[:10]
    zone = "UTC" if moment.endswith(("Z", "+00:00")) else moment[-6:]
    return f"{moment[:10]} {moment[11:16]} ({zone})"
