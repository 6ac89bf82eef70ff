"""Calendar entries, by date; each page is read from an index."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.queries.filters import before, expression, since
from flexportd.storage.queries.freight_filters import for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.statements import Repository, json_text


def _list_query(table: str, at: str, columns: Sequence[str], owner: str, *conditions: str) -> ListQuery:
    """A table in the order of one of its dates, limited to rows for which all `conditions` hold."""
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
_NOT_YET = "{0} IS NULL OR {0} < '2000' OR {0} >= '2070'"  # implausible: see core.values

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
        "outstanding_amount IS NULL OR outstanding_amount <> '0'",  # zero once it is paid or void
    ),
}  # fmt: skip
"""Kind of entry -> its source."""


class ShipmentSummary(msgspec.Struct, frozen=True):
    """What entries show of their shipment. `synced_at` is our time of its newest state."""

    id: int
    name: str | None
    removed_at: str | None
    synced_at: str


class LegContainers(msgspec.Struct, frozen=True):
    """The numbers of the containers on a leg; `synced_at` is our time of the newest state of any of them."""

    containers: tuple[str, ...]
    synced_at: str


class CalendarEntries(Repository):
    """Reads calendar entries."""

    family = "calendar"

    def page(self, kind: str, page: PageRequest) -> list[dict[str, Any]]:
        """One page of one kind in the order of its dates, sorted by `at`."""
        return LIST_QUERIES[kind].read(self._raw, page)

    def shipments(self, shipment_ids: Iterable[int]) -> dict[int, ShipmentSummary]:
        """Those of these shipments that are stored, also removed ones, by id."""
        return {row.id: row for row in self._all(ShipmentSummary, "shipments", json_text(list(shipment_ids)))}

    def leg_containers(self, leg_ids: Iterable[int]) -> dict[int, LegContainers]:
        """The containers on these legs, by leg; without legs that have none."""
        by_leg: dict[int, LegContainers] = {}
        for leg_id, number, is_present, synced_at in self._run("loads", json_text(list(leg_ids))):
            known = by_leg.get(leg_id) or LegContainers((), "")
            numbers = (number,) if is_present and number and number not in known.containers else ()
            by_leg[leg_id] = LegContainers((*known.containers, *numbers), max(known.synced_at, synced_at))
        return by_leg
