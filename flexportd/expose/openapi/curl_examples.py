"""A call of each route as a command for a shell, made of the examples in the description."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

_MAX_LINE = 90
_TEXT_TYPES = ("application/json", "text/", "application/x-ndjson")


def curl(address: str, method: str, operation: Mapping[str, Any], body: Mapping[str, Any], *, with_key: bool) -> str:
    """The command; `body` is the schema of what is sent, empty for nothing."""
    parts = ["curl", *_flags(operation)]
    if method != "get" and not (method == "post" and body):
        parts.append(f"-X {method.upper()}")
    if with_key and "security" not in operation:
        parts.append('-H "Authorization: Bearer $KEY"')
    lines = [" ".join(parts)]
    if body:
        text = json.dumps(example_body(body), ensure_ascii=False).replace("'", "'\\''")
        lines = [f"{lines[0]} -H 'Content-Type: application/json'", f"-d '{text}'"]
    target = f'"{address}"' if "?" in address else address
    if len(lines) == 1 and len(lines[0]) + len(target) < _MAX_LINE:
        return f"{lines[0]} {target}"
    return " \\\n  ".join([*lines, target])


def _flags(operation: Mapping[str, Any]) -> Iterable[str]:
    media = [one for status, answer in operation["responses"].items() if status[0] == "2"
             for one in answer.get("content", ())]  # fmt: skip
    if "text/event-stream" in media:
        yield "-N"
    elif media and not any(one.startswith(_TEXT_TYPES) for one in media):
        yield "-OJ"


def example_url(path: str, operation: Mapping[str, Any]) -> str:
    """The path with its example ids, and the query that the route needs, a list's length at least."""
    query = {}
    for one in operation.get("parameters", ()):
        example = one.get("example", one["schema"].get("default"))
        if one["in"] == "path":
            known = example is not None and "…" not in str(example)
            path = path.replace(f"{{{one['name']}}}", quote(str(example), safe="") if known else one["name"].upper())
        elif one["in"] == "query" and (one.get("required") or one["name"] == "limit"):
            query[one["name"]] = one["name"].upper() if example is None else example
    return f"{path}?{urlencode(query)}" if query else path


def example_body(schema: Mapping[str, Any]) -> Any:
    """Something that this schema takes: its examples, and whatever else is needed."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    needed = schema.get("required", ())
    found = {name: _value(one) for name, one in properties.items() if "examples" in one or name in needed}
    if not found:
        found = {name: one["default"] for name, one in properties.items() if one.get("default") is not None}
    return found


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
