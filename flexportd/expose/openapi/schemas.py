"""JSON schemas of responses: of resources from their tables, of all others from their types."""

import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


def _load(name: str) -> Any:
    """A file beside this module. `examples.json`: resource -> an invented object as Flexport sends it."""
    return json.loads(resources.files("flexportd.expose.openapi").joinpath(name).read_text(encoding="utf-8"))


_examples_of = functools.cache(functools.partial(_load, "examples.json"))


def example_of(domain: ResourceType) -> Any:
    """An example object of a resource, serialised by the code of the API; None without one."""
    wire = _examples_of().get(domain.name)
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

FIXED_SCHEMAS: Mapping[str, Any] = _load("schemas.json")

PROBLEM = Schema(name="Problem", schema=FIXED_SCHEMAS["problem"])


@functools.lru_cache(maxsize=64)
def resource_schema(domain: ResourceType) -> Schema:
    """The schema of an object of a resource."""
    id_type = {"integer": "integer", "text": "string"}.get(domain.ids, ["integer", "string"])
    properties: dict[str, Any] = {"id": {"type": id_type, "description": "Flexport's own id."}}
    if domain.name == "shipments":
        properties["flex_id"] = {"type": "string", "description": "Flexport's shipment name: FLEX-910233."}
    for field in domain.table.public:
        properties |= field_schemas(field)
    if domain.name == "shipments":
        properties |= FIXED_SCHEMAS["first_arrival"]
    properties |= {name: {} for name in domain.derived_value_names}
    properties |= FIXED_SCHEMAS["metadata"]
    schema = {
        "type": "object",
        "description": f"One {domain.label}. With `fields`, only the selected fields are present.",
        "properties": properties,
    }
    name = "".join(word.capitalize() for word in domain.label.split(" "))
    return Schema(name=name, schema=schema, example=lambda: example_of(domain))


def field_schemas(field: Field) -> dict[str, dict[str, Any]]:
    """The properties of a document for one field."""
    if field.kind not in MOMENTS:
        return {
            field.name: FIXED_SCHEMAS["kinds"][field.kind]
            | ({"description": field.description} if field.description else {})
        }
    place = f"`{field.zone.removesuffix('_timezone')}`" if field.zone else "the place"
    at = "UTC." if field.kind == "moment" else "The end of that day, in UTC."
    day = f"The local calendar day at {place}. {field.description}".rstrip()
    return {f"{field.name}_at": {**_TIME, "description": at}, f"{field.name}_date": {**_DAY, "description": day}}


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


@dataclass(frozen=True, eq=False)
class Ref:
    """A reference to another model within a schema."""

    model: Any


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
            components[name] = _resolve(schema.schema)
            if schema.example is not None and (example := schema.example()) is not None:
                components[name]["examples"] = [example]
        for name in self._partial:
            components[name].pop("required", None)
        for schema in components.values():
            if "description" in schema:
                schema["description"] = inspect.cleandoc(schema["description"])
        return dict(sorted(components.items()))


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
