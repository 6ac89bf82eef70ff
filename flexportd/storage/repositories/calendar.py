"""What a calendar shows, by date; each page goes through an index."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import before, expression, since
from flexportd.storage.queries.freight_filters import for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest


def _list_query(table: str, at: str, columns: Sequence[str], owner: str, *conditions: str) -> ListQuery:
    """A table in the order of one of its dates; all `conditions` hold for what is shown."""
    shown = " AND ".join(f"({condition})" for condition in ("removed_at IS NULL", *conditions))
    filters = {
        "from": since(at),
        "before": before(at),
        "shown": expression(shown),
        "audience": for_audience(owner),
    }
    return ListQuery(table, (*columns, "synced_at", at), "id", {"at": at}, filters)


_OF_SHIPMENT = (
    "id", "name", "mode", "status", "carrier", "vessel", "voyage", "flight", "purchase_orders", "container_numbers",
)  # fmt: skip
_NOT_YET = "{0} IS NULL OR {0} < '2000' OR {0} >= '2070'"  # none, or none that can be right: see core.values

LIST_QUERIES: Mapping[str, ListQuery] = {
    "arrivals": _list_query(
        "shipments",
        "eta_date",
        (
            *_OF_SHIPMENT, "estimated_arrival", "actual_arrival", "port_of_unloading", "port_of_unloading_code",
            "destination", "destination_code", "estimated_delivered_in_full", "actual_delivered_in_full",
        ),
        "id",
    ),
    "ramp_arrivals": _list_query(
        "shipments",
        "ramp_date",
        (*_OF_SHIPMENT, "estimated_ramp_arrival", "actual_ramp_arrival", "inland_ramp", "inland_ramp_code"),
        "id",
    ),
    "deliveries": _list_query(
        "shipments",
        "delivery_date",
        (
            *_OF_SHIPMENT, "estimated_delivered_in_full", "actual_delivered_in_full", "destination",
            "destination_code",
        ),
        "id",
    ),
    "free_time": _list_query(
        "containers",
        "last_free_day_at",
        (
            "id", "shipment_id", "container_number", "container_size", "last_free_day", "terminal", "terminal_code",
            "estimated_available_for_pickup", "available_for_pickup",
        ),
        "shipment_id",
        *(_NOT_YET.format(name) for name in ("actual_delivery", "empty_returned_date")),
    ),
    "appointments": _list_query(
        "legs",
        "delivery_appointment_at",
        (
            "id", "shipment_id", "mode", "carrier", "tracking_number", "destination", "destination_code",
            "delivery_appointment", "delivery_completed",
        ),
        "shipment_id",
        "deleted_at IS NULL",
    ),
    "invoices": _list_query(
        "invoices",
        "due_date",
        (
            "id", "shipment_id", "name", "status", "due_date", "outstanding_amount", "outstanding_currency", "issuer",
        ),
        "shipment_id",
        "outstanding_amount IS NULL OR outstanding_amount <> '0'",  # nought once it is paid or void
    ),
}  # fmt: skip
"""Kind of entry -> where it comes from."""


class ShipmentSummary(msgspec.Struct, frozen=True):
    """What entries tell of their shipment. `synced_at` is our time of its newest state."""

    id: int
    name: str | None
    removed_at: str | None
    synced_at: str


class LegContainers(msgspec.Struct, frozen=True):
    """The numbers of the containers on a leg; `synced_at` as in `Journey`."""

    containers: tuple[str, ...]
    synced_at: str


class CalendarEntries:
    """Reads what a calendar shows."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("calendar")

    def page(self, kind: str, page: PageRequest) -> list[dict[str, Any]]:
        """One page of one kind in the order of its dates, sorted by `at`."""
        return LIST_QUERIES[kind].read(self._raw, page)

    def shipments(self, shipment_ids: Iterable[int]) -> dict[int, ShipmentSummary]:
        """Those of these shipments that we know, also removed ones, by id."""
        rows = self._raw.execute(self._sql["shipments"], (msgspec.json.encode(list(shipment_ids)).decode(),))
        return {row[0]: ShipmentSummary(*row) for row in rows}

    def leg_containers(self, leg_ids: Iterable[int]) -> dict[int, LegContainers]:
        """What is on these legs, by leg; nothing for legs of which no container is known."""
        found: dict[int, LegContainers] = {}
        rows = self._raw.execute(self._sql["loads"], (msgspec.json.encode(list(leg_ids)).decode(),))
        for leg_id, number, is_there, synced_at in rows:
            known = found.get(leg_id) or LegContainers((), "")
            numbers = (number,) if is_there and number and number not in known.containers else ()
            found[leg_id] = LegContainers((*known.containers, *numbers), max(known.synced_at, synced_at))
        return found
