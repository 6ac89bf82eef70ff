"""A made-up shipment event, schema-true: a departed leg of an ocean shipment from the sandbox's world."""

import copy
import json
from datetime import datetime
from typing import Any

SHIPMENT = 990_910_233
_FIRST_OF_WORLD = 910_233
_SEED = 0


def example_event(now: datetime, ordinal: int = 0) -> bytes:
    """The event; its id comes from the time, so that each one is new. The shipment is always the same."""
    from flexportd.clock import stamp
    from flexportd.sandbox import World, WorldPlan

    told = World(WorldPlan(now, _SEED, 1)).backlog()
    about_legs = [event for event in told if event["data"]["resource"]["_object"] == "/shipment_leg"]
    # Far from the ids of real freight, so that nothing of yours is touched.
    event: Any = _renumbered(copy.deepcopy(about_legs[-1]), SHIPMENT - _FIRST_OF_WORLD)
    event["id"] = int(now.timestamp() * 1000) * 1000 + ordinal
    event["created_at"] = stamp(now)
    for part in ("shipment", "resource"):
        if event["data"][part]["_object"] == "/shipment":
            event["data"][part] |= {"name": "Example shipment", "updated_at": stamp(now)}
    return json.dumps(event).encode()


def _renumbered(value: Any, by: int) -> Any:
    if isinstance(value, list):
        return [_renumbered(part, by) for part in value]
    if isinstance(value, dict):
        return {
            name: part + by if name == "id" and isinstance(part, int) else _renumbered(part, by)
            for name, part in value.items()
        }
    return value
