"""The description as a page for people: made here, without any network, from the same document that programs get."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flexportd.expose.dashboard import render
from flexportd.expose.openapi.curl_examples import curl, example_url
from flexportd.expose.openapi.problem_types import AUTH_PROBLEMS, COMMON_PROBLEMS

_METHODS = ("get", "post", "patch", "delete")
_PREFIX = "#/components/schemas/"
_MAX_DEPTH = 3
_MAX_ENUM = 12  # of a list of allowed values
_COMMON_FROM = 20  # lists that have a parameter in common: it is told once
_MAX_UNGROUPED = 8  # routes of a tag that stand one below the other without groups
_SCOPE = re.compile(r"A key needs the scope `(\w+)`\.")
_ALWAYS_POSSIBLE = {"invalid-request", *COMMON_PROBLEMS, *AUTH_PROBLEMS}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One parameter, or one member of a document. `model` names the document that its type is, or holds."""

    name: str
    kind: str
    about: str
    where: str
    needed: bool
    model: str | None


@dataclass(frozen=True, slots=True)
class ResponseRow:
    """One status that may come back where nothing is wrong."""

    status: str
    about: str
    media: str
    model: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `common` names parameters that many routes have; `problems` are those that not all may tell of."""

    anchor: str
    method: str
    path: str
    summary: str
    about: tuple[str, ...]
    scope: str | None
    parameters: tuple[FieldRow, ...]
    common: tuple[str, ...]
    body: tuple[FieldRow, ...]
    answers: tuple[ResponseRow, ...]
    problems: tuple[str, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """Routes about one thing; without a name where the tag has few."""

    anchor: str
    name: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class TagSection:
    """The routes of one tag."""

    name: str
    about: str
    groups: tuple[OperationGroup, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One document."""

    name: str
    about: str
    members: tuple[FieldRow, ...]
    example: str


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One type of problem."""

    slug: str
    status: int
    about: str
    is_anywhere: bool


@dataclass(frozen=True, slots=True)
class ApiPage:
    """The whole description."""

    version: str
    url: str
    needs_key: bool
    about: tuple[str, ...]
    rules: tuple[str, ...]
    count: int
    parts: tuple[TagSection, ...]
    common: tuple[FieldRow, ...]
    troubles: tuple[ProblemRow, ...]
    models: tuple[Model, ...]


def render_docs(document: Mapping[str, Any], url: str) -> bytes:
    """The page of a description; `url` is where people reach the API."""
    return render.render("api.html", api_page(document, url))


def api_page(document: Mapping[str, Any], url: str) -> ApiPage:
    """A description as the page words it."""
    common = _common(document)
    by_tag: dict[str, list[Operation]] = {}
    for path, method, found in _operations(document):
        operation = _operation(document, (method, path, url), found, common)
        by_tag.setdefault(found["tags"][0], []).append(operation)
    parts = [
        TagSection(tag["name"], tag["description"], tuple(_groups(tag["name"], by_tag[tag["name"]])))
        for tag in document["tags"]
        if tag["name"] in by_tag
    ]
    lines = [line for line in document["info"]["description"].replace("\n  ", " ").splitlines() if line]
    return ApiPage(
        version=document["info"]["version"],
        url=url.rstrip("/"),
        needs_key=_needs_key(document),
        about=tuple(line for line in lines if not line.startswith("- ")),
        rules=tuple(line.removeprefix("- ") for line in lines if line.startswith("- ")),
        count=sum(len(operations) for operations in by_tag.values()),
        parts=tuple(parts),
        common=tuple(sorted(common, key=lambda shape: (shape.name, shape.about))),
        troubles=tuple(_problem_rows(document)),
        models=tuple(_model(name, schema) for name, schema in document["components"]["schemas"].items()),
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _needs_key(document: Mapping[str, Any]) -> bool:
    return {} not in document["security"]


def _common(document: Mapping[str, Any]) -> set[FieldRow]:
    """The parameters that many lists have."""
    asked = [operation.get("parameters", ()) for _, _, operation in _operations(document)]
    lists = [parameters for parameters in asked if any(one["name"] == "limit" for one in parameters)]
    counts = Counter(_parameter(one) for parameters in lists for one in parameters if one["in"] == "query")
    return {shape for shape, count in counts.items() if count >= _COMMON_FROM}


def _groups(tag: str, operations: Iterable[Operation]) -> Iterator[OperationGroup]:
    """By the first part of the path, where there are many."""
    listed = tuple(operations)
    by_name: dict[str, list[Operation]] = {}
    for operation in listed:
        by_name.setdefault(operation.path.removeprefix("/api/v1").split("/")[1], []).append(operation)
    if len(listed) <= _MAX_UNGROUPED or len(by_name) < 2:
        yield OperationGroup(f"tag-{tag}", "", listed)
        return
    for name, found in by_name.items():
        yield OperationGroup(f"group-{tag}-{name}", name, tuple(found))


def _operation(
    document: Mapping[str, Any], place: tuple[str, str, str], found: Mapping[str, Any], common: set[FieldRow]
) -> Operation:
    method, path, url = place
    about, scope = found.get("description", ""), _SCOPE.search(found.get("description", ""))
    shapes = [_parameter(one) for one in found.get("parameters", ())]
    body = _body(document, found)
    answers = {status: _resolve(document, one) for status, one in found["responses"].items()}
    slugs = [slug for answer in answers.values() for slug in _slugs(answer)]
    return Operation(
        anchor=found["operationId"],
        method=method.upper(),
        path=path,
        summary=found["summary"],
        about=tuple(part for part in _SCOPE.sub("", about).split("\n\n") if part),
        scope=scope[1] if scope else None,
        parameters=tuple(shape for shape in shapes if shape not in common),
        common=tuple(shape.name for shape in shapes if shape in common),
        body=_field_rows(body),
        answers=tuple(_response_row(status, one) for status, one in answers.items() if not _slugs(one)),
        problems=tuple(slug for slug in slugs if slug not in _ALWAYS_POSSIBLE),
        curl=curl(f"{url.rstrip('/')}{example_url(path, found)}", method, found, body, with_key=_needs_key(document)),
    )


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the JSON that is sent; empty for none."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: Mapping[str, Any] = content.get("application/json", {}).get("schema", {})
    name = _reference(schema)
    return document["components"]["schemas"][name] if name else schema


def _resolve(document: Mapping[str, Any], found: Mapping[str, Any]) -> Mapping[str, Any]:
    name = found.get("$ref")
    if name is None:
        return found
    resolved: Mapping[str, Any] = document["components"]["responses"][name.rpartition("/")[2]]
    return resolved


def _slugs(answer: Mapping[str, Any]) -> Iterable[str]:
    """The problems that an answer may tell of."""
    examples: Mapping[str, Any] = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    return examples.keys()


def _problem_rows(document: Mapping[str, Any]) -> Iterator[ProblemRow]:
    told: dict[str, Mapping[str, Any]] = {}
    for answer in document["components"]["responses"].values():
        content = answer.get("content", {}).get("application/problem+json", {})
        told |= {slug: one["value"] for slug, one in content.get("examples", {}).items()}
    for slug, one in sorted(told.items(), key=lambda item: (item[1]["status"], item[0])):
        yield ProblemRow(slug, one["status"], one["detail"], slug in _ALWAYS_POSSIBLE)


def _response_row(status: str, found: Mapping[str, Any]) -> ResponseRow:
    content = found.get("content", {})
    schema: Mapping[str, Any] = content.get("application/json", {}).get("schema", {})
    return ResponseRow(status, found["description"], ", ".join(content), _reference(schema))


def _parameter(one: Mapping[str, Any]) -> FieldRow:
    needed, default = one.get("required", False), one["schema"].get("default")
    about = one["description"] + (f" Default: `{json.dumps(default).strip(chr(34))}`." if default is not None else "")
    return FieldRow(one["name"], _type_name(one["schema"]), about, one["in"], needed, None)


def _field_rows(schema: Mapping[str, Any]) -> tuple[FieldRow, ...]:
    needed = schema.get("required", ())
    return tuple(
        FieldRow(name, _type_name(part), part.get("description", ""), "body", name in needed, _nested_model(part))
        for name, part in schema.get("properties", {}).items()
    )


def _model(name: str, schema: Mapping[str, Any]) -> Model:
    example = schema.get("examples", (None,))[0]
    text = json.dumps(example, indent=2, ensure_ascii=False) if example is not None else ""
    return Model(name, schema.get("description", ""), _field_rows(schema), text)


def _reference(schema: Mapping[str, Any]) -> str | None:
    found = schema.get("$ref")
    return found.removeprefix(_PREFIX) if isinstance(found, str) else None


def _nested_model(schema: Mapping[str, Any]) -> str | None:
    """The document that a member is, or is a list of, or may be."""
    inner = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    return next((name for one in inner if (name := _reference(one))), None)


def _type_name(schema: Mapping[str, Any], depth: int = 0) -> str:
    """A schema in a few words."""
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
