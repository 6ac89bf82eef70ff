"""JSON schemas of responses: of resources from their tables, of all others from their types."""

import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from datetime import date
from importlib import resources
from typing import Any

import msgspec

from flexportd.core.resources import values
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose import serialize
from flexportd.expose.openapi.route import JSON, Response, Route, Schema
from flexportd.storage.queries.table import MOMENTS, Field

_TODAY = date(2026, 3, 10)
_AT = "2026-03-04T02:41:10.512Z"


@functools.cache
def _objects() -> dict[str, Any]:
    """Resource -> an invented object as Flexport sends it, by the published schema."""
    text = resources.files("flexportd.expose.openapi").joinpath("examples.json").read_text(encoding="utf-8")
    objects: dict[str, Any] = json.loads(text)
    return objects


def example_of(domain: ResourceType) -> Any:
    """An example object of a resource, serialised by the code of the API; None without one."""
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


_TIME = {"type": ["string", "null"], "format": "date-time"}
_DAY = {"type": ["string", "null"], "format": "date"}
_ANYTHING: dict[str, Any] = {}

_KINDS: Mapping[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "json": {"type": ["object", "null"], "additionalProperties": True},
    "list": {"type": "array", "items": _ANYTHING},
    "day": _DAY,
}

_METADATA: Mapping[str, dict[str, Any]] = {
    "day_only": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Fields for which Flexport provides only a day; ignore their time.",
    },
    "implausible": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Fields whose date cannot be right, such as one in 1970; nothing is computed from them.",
    },
    "as_of": {**_TIME, "description": "Time of the state on Flexport's clock; null if unknown."},
    "source": {"type": ["string", "null"], "description": "Source: webhook, events, sync or write."},
    "synced_at": {**_TIME, "description": "When flexportd stored it."},
    "first_seen_at": {**_TIME, "description": "When flexportd first received it."},
    "removed_at": {**_TIME, "description": "When flexportd detected its removal at Flexport; null while it exists."},
    "raw": {"type": "object", "additionalProperties": True, "description": "Flexport's own JSON: include=raw."},
    "why": {
        "type": "object",
        "additionalProperties": True,
        "description": "Cause of each field's value: include=why.",
    },
    "known_at": {**_TIME, "description": "The requested time: as_of."},
    "refresh": {"type": "string", "description": "Outcome of a refresh."},
}

PROBLEM = Schema(
    name="Problem",
    schema={
        "type": "object",
        "description": "An error (RFC 9457). `type` is stable; `detail` is for people and may change.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "description": "urn:flexportd:problem: followed by the name of the problem."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "parameter": {"type": "string", "description": "The invalid parameter or part of the body."},
            "request_id": {"type": "string", "description": "Id of the request, as in the log."},
        },
    },
)


_FIRST_ARRIVAL: dict[str, Any] = {
    "first_estimated_arrival_at": {**_TIME, "description": "UTC. Only in the response for one shipment."},
    "first_estimated_arrival_date": {
        **_DAY,
        "description": "First estimate of the arrival at `port_of_unloading`. Only in the response for one shipment.",
    },
    "arrival_slip_days": {
        "type": ["integer", "null"],
        "description": "Days from the first estimate to `arrival`. Only in the response for one shipment.",
    },
}


@functools.lru_cache(maxsize=64)
def resource_schema(domain: ResourceType) -> Schema:
    """The schema of an object of a resource."""
    properties: dict[str, Any] = {"id": {"type": _id_type(domain), "description": "Flexport's own id."}}
    if domain.name == "shipments":
        properties["flex_id"] = {"type": "string", "description": "Flexport's shipment name: FLEX-910233."}
    for field in domain.table.public:
        properties |= field_schemas(field)
    if domain.name == "shipments":
        properties |= _FIRST_ARRIVAL
    properties |= dict.fromkeys(domain.derived_value_names, _ANYTHING)
    properties |= _METADATA
    schema = {
        "type": "object",
        "description": f"One {domain.label}. With `fields`, only the selected fields are present.",
        "properties": properties,
    }
    return Schema(name=_name(domain), schema=schema, example=lambda: example_of(domain))


def _id_type(domain: ResourceType) -> list[str] | str:
    return {"integer": "integer", "text": "string"}.get(domain.ids, ["integer", "string"])


def _name(domain: ResourceType) -> str:
    return "".join(word.capitalize() for word in domain.label.split(" "))


def field_schemas(field: Field) -> dict[str, dict[str, Any]]:
    """The properties of a document for one field."""
    if field.kind not in MOMENTS:
        return {field.name: _KINDS[field.kind] | ({"description": field.description} if field.description else {})}
    place = f"`{field.zone.removesuffix('_timezone')}`" if field.zone else "the place"
    return {
        f"{field.name}_at": {
            **_TIME,
            "description": "UTC." if field.kind == "moment" else "The end of that day, in UTC.",
        },
        f"{field.name}_date": {
            **_DAY,
            "description": f"The local calendar day at {place}. {field.description}".rstrip(),
        },
    }


@functools.lru_cache(maxsize=128)
def list_schema(item: Any, name: str | None = None) -> Schema:
    """A page of a list: `data`, `next`, `as_of`."""
    ref = Ref(item)
    schema = {
        "type": "object",
        "required": ["data", "next", "as_of"],
        "properties": {
            "data": {"type": "array", "items": ref},
            "next": {"type": ["string", "null"], "description": "The cursor of the next page; null on the last."},
            "as_of": {**_TIME, "description": "The newest state in the list, on Flexport's clock."},
        },
    }
    return Schema(name=name or f"{model_name(item)}List", schema=schema, refs=(item,))


class Ref:
    """A reference to another model within a schema."""

    def __init__(self, model: Any) -> None:
        self.model = model


def model_name(model: Any) -> str:
    """The name of a model's component."""
    return model.name if isinstance(model, Schema) else model.__name__


PREFIX = "#/components/schemas/"


class Components:
    """Collects the models that the routes use, and generates their schemas."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._types: dict[str, Any] = {}
        self._schemas: dict[str, Schema] = {}
        self._partial: set[str] = set()  # from which `fields` may omit properties
        self._add(PROBLEM)
        for route in routes:
            if route.body is not None:
                self._add(route.body)
            for returns in route.returns:
                self._add(returns.model)
                if "fields" in route.query_names and isinstance(returns.model, Schema):
                    self._partial.update(model_name(ref) for ref in returns.model.refs)

    def _add(self, model: Any) -> None:
        if isinstance(model, Schema):
            if self._schemas.setdefault(model.name, model) is not model:
                raise ValueError(f"two schemas are called {model.name}")
            for ref in model.refs:
                self._add(ref)
        elif model is not None:
            self._types[getattr(model, "__name__", str(model))] = model

    def document(self) -> dict[str, Any]:
        """Name -> JSON schema."""
        _, components = msgspec.json.schema_components(self._types.values(), ref_template=PREFIX + "{name}")
        for name, schema in self._schemas.items():
            if name in components:
                raise ValueError(f"two schemas are called {name}")
            components[name] = _resolve(schema.schema) | _examples(schema)
        for name in self._partial:
            components[name].pop("required", None)
        for schema in components.values():
            if "description" in schema:
                schema["description"] = inspect.cleandoc(schema["description"])
        return dict(sorted(components.items()))


def _examples(schema: Schema) -> dict[str, Any]:
    example = None if schema.example is None else schema.example()
    return {} if example is None else {"examples": [example]}


def schema_of(model: Any) -> dict[str, Any]:
    """A reference to a model, or the schema of a basic type."""
    if isinstance(model, Schema):
        return {"$ref": PREFIX + model.name}
    (found,), _ = msgspec.json.schema_components([model], ref_template=PREFIX + "{name}")
    return found


def _resolve(schema: Any) -> Any:
    if isinstance(schema, Ref):
        return schema_of(schema.model)
    if isinstance(schema, Mapping):
        return {name: _resolve(part) for name, part in schema.items()}
    if isinstance(schema, list):
        return [_resolve(part) for part in schema]
    return schema


def json_response(model: Any, about: str, status: int = 200, **headers: str) -> Response:
    """A JSON response with this model."""
    return Response(description=about, model=model, status=status, headers=headers)


def page_response(item: Any, about: str = "A page.") -> Response:
    """A page of a list; also as CSV or NDJSON, which stream every row."""
    return Response(description=about, model=list_schema(item), media=(JSON, "text/csv", "application/x-ndjson"))
