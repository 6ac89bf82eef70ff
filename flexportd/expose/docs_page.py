"""The API documentation page, rendered offline from the routes, with an example of each as a shell command."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from flexportd import __version__
from flexportd.expose.openapi.document import parameters_of, problems_of, responses_of
from flexportd.expose.openapi.route import API, DESCRIPTION, TAGS, Parameter, Response, Route
from flexportd.expose.openapi.schemas import PREFIX, Components, model_name, schema_of
from flexportd.http.problems import AUTH_PROBLEMS, COMMON_PROBLEMS, PROBLEMS

Schemas = Mapping[str, Mapping[str, Any]]
"""Name -> JSON schema of a component."""

_MAX_DEPTH = 3
_MAX_ENUM = 12  # values of an enum that are listed
_COMMON_FROM = 20  # lists with the same parameter, which is then described once
_MAX_UNGROUPED = 8  # routes of a tag that need no groups
_ALWAYS_POSSIBLE = {"invalid-request", *COMMON_PROBLEMS, *AUTH_PROBLEMS}


class FieldRow(NamedTuple):
    """A parameter, or a field of a model. `model` is the model that its type is or contains."""

    name: str
    kind: str
    about: str
    where: str
    required: bool
    model: str | None


class ResponseRow(NamedTuple):
    """A successful response."""

    status: str
    about: str
    media: str
    model: str | None


class RouteDocument(NamedTuple):
    """`common`: parameters that many routes share; `problems`: those that not every route may return."""

    route: Route
    about: tuple[str, ...]
    parameters: tuple[FieldRow, ...]
    common: tuple[str, ...]
    body: tuple[FieldRow, ...]
    responses: tuple[ResponseRow, ...]
    problems: tuple[str, ...]
    curl: str


class RouteGroup(NamedTuple):
    """Routes of one resource; without a name if the tag has only few."""

    anchor: str
    name: str
    operations: tuple[RouteDocument, ...]


class TagSection(NamedTuple):
    """The routes of a tag."""

    name: str
    about: str
    groups: tuple[RouteGroup, ...]


class Model(NamedTuple):
    """A model."""

    name: str
    about: str
    members: tuple[FieldRow, ...]
    example: str


class ProblemRow(NamedTuple):
    """A problem type."""

    slug: str
    status: int
    about: str
    is_anywhere: bool


@dataclass(frozen=True, slots=True)
class ApiPage:
    """The documentation page."""

    version: str
    url: str
    needs_key: bool
    about: tuple[str, ...]
    rules: tuple[str, ...]
    count: int
    parts: tuple[TagSection, ...]
    common: tuple[FieldRow, ...]
    problems: tuple[ProblemRow, ...]
    models: tuple[Model, ...]


def api_page(routes: Sequence[Route], url: str, *, keys: bool = True) -> ApiPage:
    """The view of `api.html`; `url` is the base URL of the API, `keys` whether it requires keys."""
    schemas: Schemas = Components(routes).document()
    counts = Counter(_parameter(one) for route in routes if "limit" in route.query_names for one in route.query)
    common = {row for row, count in counts.items() if count >= _COMMON_FROM}
    by_tag: dict[str, list[RouteDocument]] = {}
    for route in routes:
        by_tag.setdefault(route.tag, []).append(_operation(route, url.rstrip("/"), schemas, common, keys=keys))
    used = {slug for route in routes for slug in problems_of(route)}
    lines = [line for line in DESCRIPTION["info"]["description"].replace("\n  ", " ").splitlines() if line]
    return ApiPage(
        version=__version__,
        url=url.rstrip("/"),
        needs_key=keys,
        about=tuple(line for line in lines if not line.startswith("- ")),
        rules=tuple(line.removeprefix("- ") for line in lines if line.startswith("- ")),
        count=len(routes),
        parts=tuple(
            TagSection(tag, about, tuple(_groups(tag, by_tag[tag]))) for tag, about in TAGS.items() if tag in by_tag
        ),
        common=tuple(sorted(common, key=lambda row: (row.name, row.about))),
        problems=tuple(
            ProblemRow(slug, kind.status, kind.description, slug in _ALWAYS_POSSIBLE)
            for slug, kind in sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0]))
            if slug in used
        ),
        models=tuple(_model(name, schema) for name, schema in schemas.items()),
    )


def _groups(tag: str, operations: Sequence[RouteDocument]) -> Iterator[RouteGroup]:
    """By the first segment of the path if there are many."""
    by_name: dict[str, list[RouteDocument]] = {}
    for operation in operations:
        by_name.setdefault(operation.route.path.removeprefix(API).split("/")[1], []).append(operation)
    if len(operations) <= _MAX_UNGROUPED or len(by_name) < 2:
        yield RouteGroup(f"tag-{tag}", "", tuple(operations))
        return
    for name, group in by_name.items():
        yield RouteGroup(f"group-{tag}-{name}", name, tuple(group))


def _operation(route: Route, url: str, schemas: Schemas, common: set[FieldRow], *, keys: bool) -> RouteDocument:
    rows = [_parameter(one) for one in parameters_of(route)]
    body = {} if route.body is None else schemas[model_name(route.body)]
    return RouteDocument(
        route=route,
        about=tuple(part for part in route.description.split("\n\n") if part),
        parameters=tuple(row for row in rows if row not in common),
        common=tuple(row.name for row in rows if row in common),
        body=_field_rows(body),
        responses=tuple(_response_row(one) for one in responses_of(route)),
        problems=tuple(slug for slug in problems_of(route) if slug not in _ALWAYS_POSSIBLE),
        curl=curl(route, url, body, with_key=keys),
    )


def _response_row(response: Response) -> ResponseRow:
    model = _reference(schema_of(response.model)) if response.model is not None else None
    media = ", ".join(response.media) if response.status != 304 else ""
    return ResponseRow(str(response.status), response.description, media, model)


def _parameter(one: Parameter) -> FieldRow:
    default = one.schema.get("default")
    about = one.description + (f" Default: `{json.dumps(default).strip(chr(34))}`." if default is not None else "")
    return FieldRow(one.name, _type_name(one.schema), about, one.where, one.required, None)


def _field_rows(schema: Mapping[str, Any]) -> tuple[FieldRow, ...]:
    required, rows = schema.get("required", ()), []
    for name, part in schema.get("properties", {}).items():
        inner = [part, part.get("items", {}), *part.get("anyOf", ())]
        model = next((reference for one in inner if (reference := _reference(one))), None)
        rows.append(FieldRow(name, _type_name(part), part.get("description", ""), "body", name in required, model))
    return tuple(rows)


def _model(name: str, schema: Mapping[str, Any]) -> Model:
    example = schema.get("examples", (None,))[0]
    text = json.dumps(example, indent=2, ensure_ascii=False) if example is not None else ""
    return Model(name, schema.get("description", ""), _field_rows(schema), text)


def _reference(schema: Mapping[str, Any]) -> str | None:
    ref = schema.get("$ref")
    return ref.removeprefix(PREFIX) if isinstance(ref, str) else None


def _type_name(schema: Mapping[str, Any], depth: int = 0) -> str:
    name = _reference(schema)
    if name is not None:
        return name
    if depth < _MAX_DEPTH and "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type_name(one, depth + 1) for one in schema["anyOf"]))
    if "enum" in schema and len(schema["enum"]) <= _MAX_ENUM:
        return " | ".join(str(one) for one in schema["enum"])
    kinds = schema.get("type", "anything")
    words = [kinds] if isinstance(kinds, str) else list(kinds)
    if "array" in words and depth < _MAX_DEPTH:
        words[words.index("array")] = f"list of {_type_name(schema.get('items', {}), depth + 1)}"
    if "format" in schema:
        words[0] = schema["format"]
    return " or ".join(words)


_MAX_LINE = 90
_TEXT_TYPES = ("application/json", "text/", "application/x-ndjson")


def curl(route: Route, url: str, body: Mapping[str, Any], *, with_key: bool) -> str:
    """The command; `url` is that of the API, `body` the schema of the request body, empty for none."""
    media = [kind for response in route.returns if response.status != 304 for kind in response.media]
    parts = ["curl"]
    if "text/event-stream" in media:
        parts.append("-N")
    elif media and not any(kind.startswith(_TEXT_TYPES) for kind in media):
        parts.append("-OJ")
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
