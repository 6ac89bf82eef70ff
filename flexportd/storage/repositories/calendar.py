"""Calendar entries, by date; each page is read from an index."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from flexportd.storage.queries.filters import before, expression, since
from flexportd.storage.queries.freight_filters import for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.statements import Repository, json_text

_NOT_YET = "{0} IS NULL OR {0} < '2000' OR {0} >= '2070'"  # implausible: see core.values


class _Kind(msgspec.Struct, forbid_unknown_fields=True):
    table: str
    at: str
    owner: str
    columns: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def list_query(self) -> ListQuery:
        """The table in the order of one of its dates, limited to rows for which all conditions hold."""
        conditions = ("removed_at IS NULL", *self.conditions, *map(_NOT_YET.format, self.without))
        shown = expression(" AND ".join(f"({condition})" for condition in conditions))
        filters = {"from": since(self.at), "before": before(self.at), "shown": shown}
        filters["audience"] = for_audience(self.owner)
        return ListQuery(self.table, (*self.columns, "synced_at", self.at), "id", {"at": self.at}, filters)


_KINDS = msgspec.toml.decode(Path(__file__).with_name("calendar.toml").read_bytes(), type=dict[str, _Kind])
LIST_QUERIES = {name: kind.list_query() for name, kind in _KINDS.items()}
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
