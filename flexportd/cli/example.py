"""A sample shipment event: the departed leg of an ocean shipment, from the sandbox's world."""

import copy
import json
from datetime import datetime
from typing import Any

SHIPMENT = 990_910_233
_FIRST_OF_WORLD = 910_233
_MOST_WORLDS = 200


def example_event(now: datetime, ordinal: int = 0) -> bytes:
    """The event; its id is new each time, the shipment is always the same."""
    from flexportd.clock import stamp

    # Far from the ids of real freight, so that no real shipment is changed.
    event: Any = _renumbered(copy.deepcopy(_departure(now)), SHIPMENT - _FIRST_OF_WORLD)
    event["id"] = int(now.timestamp() * 1000) * 1000 + ordinal
    event["created_at"] = stamp(now)
    for part in ("shipment", "resource"):
        if event["data"][part]["_object"] == "/shipment":
            event["data"][part] |= {"name": "Example shipment", "updated_at": stamp(now)}
    return json.dumps(event).encode()


def _departure(now: datetime) -> dict[str, Any]:
    """The last departure of a container ship, of the first world that has one."""
    from flexportd.sandbox import World, WorldPlan

    for seed in range(_MOST_WORLDS):
        events = World(WorldPlan(now, seed, 1)).backlog()
        departed = [event for event in events if event["type"] == "/shipment_leg#departed"]
        ships = [event for event in departed if event["data"]["resource"]["transportation_mode"] == "ocean"]
        if ships and ships[-1]["data"]["containers"]:
            event: dict[str, Any] = ships[-1]
            return event
    raise LookupError("no world of the sandbox has a departed container ship")


def _renumbered(value: Any, by: int) -> Any:
    if isinstance(value, list):
        return [_renumbered(part, by) for part in value]
    if isinstance(value, dict):
        return {
            name: part + by if name == "id" and isinstance(part, int) else _renumbered(part, by)
            for name, part in value.items()
        }
    return value
