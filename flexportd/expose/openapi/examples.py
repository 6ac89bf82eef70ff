"""Examples for the documentation: one object of each resource, serialised by the code of the API.

The Flexport objects are invented; they follow the published schema.
"""

import functools
import json
from datetime import date
from importlib import resources
from typing import Any

import msgspec

from flexportd.core.resources import values
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose import serialize

_TODAY = date(2026, 3, 10)
_AT = "2026-03-04T02:41:10.512Z"


@functools.cache
def _objects() -> dict[str, Any]:
    """Resource -> an object as Flexport sends it."""
    text = resources.files("flexportd.expose.openapi").joinpath("examples.json").read_text(encoding="utf-8")
    objects: dict[str, Any] = json.loads(text)
    return objects


def example_of(domain: ResourceType) -> Any:
    """An object of a resource as the API returns it; None without an example."""
    wire = _objects().get(domain.name)
    if wire is None:
        return None
    model, _ = domain.wire.load(json.dumps(wire).encode())
    fields = dict.fromkeys(domain.table.names) | dict(domain.normalise(model))
    stamp = values.instant(domain.timestamp(model)) or _AT
    row: dict[str, Any] = {"id": model.key, **fields}
    row |= {f"{name}_at": at for name, at in zip(domain.table.moments, domain.table.instants(fields), strict=True)}
    row |= {"as_of": stamp, "source": "webhook", "synced_at": _AT, "first_seen_at": _AT, "removed_at": None}
    return msgspec.json.decode(msgspec.json.encode(serialize.serialize_resource(domain, row, _TODAY)))
