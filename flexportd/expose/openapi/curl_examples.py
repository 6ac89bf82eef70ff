"""An example request of each route as a shell command."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flexportd.expose.openapi.document import parameters_of
from flexportd.expose.openapi.route import Route

_MAX_LINE = 90
_TEXT_TYPES = ("application/json", "text/", "application/x-ndjson")


def curl(route: Route, url: str, body: Mapping[str, Any], *, with_key: bool) -> str:
    """The command; `url` is that of the API, `body` the schema of the request body, empty for none."""
    parts = ["curl", *_flags(route)]
    if route.method != "GET" and not (route.method == "POST" and body):
        parts.append(f"-X {route.method}")
    if with_key and route.scope is not None:
        parts.append('-H "Authorization: Bearer $KEY"')
    lines = [" ".join(parts)]
    if body:
        text = json.dumps(example_body(body), ensure_ascii=False).replace("'", "'\\''")
        lines = [f"{lines[0]} -H 'Content-Type: application/json'", f"-d '{text}'"]
    address = f"{url}{example_path(route)}"
    target = f'"{address}"' if "?" in address else address
    if len(lines) == 1 and len(lines[0]) + len(target) < _MAX_LINE:
        return f"{lines[0]} {target}"
    return " \\\n  ".join([*lines, target])


def _flags(route: Route) -> Iterable[str]:
    media = [kind for response in route.returns if response.status != 304 for kind in response.media]
    if "text/event-stream" in media:
        yield "-N"
    elif media and not any(kind.startswith(_TEXT_TYPES) for kind in media):
        yield "-OJ"


def example_path(route: Route) -> str:
    """The path with example ids, and the required query parameters; for a list its length too."""
    path, query = route.path, {}
    for one in parameters_of(route):
        example = one.example if one.example is not None else one.schema.get("default")
        if one.where == "path":
            known = example is not None and "…" not in str(example)
            path = path.replace(f"{{{one.name}}}", quote(str(example), safe="") if known else one.name.upper())
        elif one.where == "query" and (one.required or one.name == "limit"):
            query[one.name] = one.name.upper() if example is None else example
    return f"{path}?{urlencode(query)}" if query else path


def example_body(schema: Mapping[str, Any]) -> Any:
    """A valid body: the example values and the required fields."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = schema.get("required", ())
    body = {name: _value(one) for name, one in properties.items() if "examples" in one or name in required}
    if not body:
        body = {name: one["default"] for name, one in properties.items() if one.get("default") is not None}
    return body


def _value(schema: Mapping[str, Any]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("default") is not None:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0])
    kind = schema.get("type")
    return [] if kind == "array" else {} if kind == "object" else 1 if kind == "integer" else "…"
