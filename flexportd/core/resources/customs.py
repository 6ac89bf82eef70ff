"""Customs entries and their release state."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, get_args

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import text
from flexportd.flexport.models.customs import CustomsEntry
from flexportd.storage.queries.filters import any_of, before_day, contains, equals, from_day, key, since
from flexportd.storage.queries.table import Field, Table, plain_fields

ReleaseState = Literal["pending", "hold", "cleared", "unknown"]

# The samples say `released` where the published list says `cleared`.
_STATES: Mapping[str, ReleaseState] = {
    "pending": "pending",
    "customs_hold": "hold",
    "cleared": "cleared",
    "released": "cleared",
}

TABLE = Table(
    name="customs_entries",
    fields=(
        Field("shipment_id", "integer"),
        *plain_fields("entry_number", "release_status", "release_state"),
        Field("release_date", "day"),
    ),
    sorts={"updated_at": "as_of", "id": "id", "release_date": "release_date", "entry_number": "entry_number"},
    filters={
        "state": any_of("release_state"),
        "status": any_of("release_status"),
        "entry_number": equals("entry_number"),
        "shipment": key("shipment_id"),
        "released_after": from_day("release_date"),
        "released_before": before_day("release_date"),
        "updated_since": since("as_of"),
        "q": contains("entry_number"),
    },
)


def release_state(status: str | None) -> ReleaseState:
    """The state of a release status; `unknown` for none and for an unknown one, which stays visible."""
    return _STATES.get((text(status) or "").casefold(), "unknown")


def computed_fields(entry: CustomsEntry) -> Mapping[str, Any]:
    """The state that Flexport's status means."""
    return {"release_state": release_state(entry.release_status)}


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:
    """Whether the goods are released on this day, and for how many days; a release date may be in the future."""
    released = fields.get("release_state") == "cleared"
    since_release = (today - date.fromisoformat(fields["release_date"])).days if fields.get("release_date") else None
    return {"released": released, "days_since_release": since_release if released else None}


RESOURCE_TYPE = ResourceType(
    name="customs_entries",
    object_name="/customs_entry",
    wire=CustomsEntry,
    table=TABLE,
    computed_fields=computed_fields,
    sources={"release_status": ("release_status", "release_state")},
    ids="text",
    own_values={"release_state": get_args(ReleaseState)},
    singular="customs entry",
    derived_values=derived_values,
)
