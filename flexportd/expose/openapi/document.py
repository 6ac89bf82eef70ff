"""The OpenAPI 3.1 description of the API, generated from its routes."""

from collections.abc import Iterable, Sequence
from typing import Any

from flexportd import __version__
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.route import DESCRIPTION, JSON, TAGS, Parameter, Response, Route
from flexportd.expose.openapi.schemas import PREFIX, Components, schema_of
from flexportd.http.problems import AUTH_PROBLEMS, COMMON_PROBLEMS, PROBLEMS, TITLES

_NOT_MODIFIED = Response(description="Not modified since the ETag in `If-None-Match`.", status=304)
_MODEL_TYPES = (JSON, "text/event-stream")  # whose content the model describes

ErrorNames = dict[tuple[int, tuple[str, ...]], str]
"""(status, slugs of its problems) -> the name of the response that describes them once, for all routes."""


def openapi_document(routes: Iterable[Route], url: str = "/", *, keys: bool = True) -> dict[str, Any]:
    """The description; `url` is the base URL of the API, `keys` whether it requires keys."""
    listed = list(routes)
    paths: dict[str, dict[str, Any]] = {}
    errors: ErrorNames = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, errors)
    used = {route.tag for route in listed}
    return {
        "openapi": "3.1.0",
        "info": {"title": "", "version": __version__, **DESCRIPTION["info"]},
        "servers": [{"url": url}],
        "security": [{"key": []}] if keys else [{}, {"key": []}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": Components(listed).document(),
            "responses": {name: _problem(status, slugs) for (status, slugs), name in errors.items()},
            "securitySchemes": DESCRIPTION["securitySchemes"],
        },
    }


def _operation(route: Route, errors: ErrorNames) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "tags": [route.tag], "summary": route.summary}
    scope_note = "" if route.scope is None else f"A key needs the scope `{route.scope}`."
    description = "\n\n".join(part for part in (route.description, scope_note) if part)
    if description:
        operation["description"] = description
    parameters = [_parameter(one) for one in parameters_of(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {JSON: {"schema": schema_of(route.body)}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    operation["responses"] = _responses(route, errors)
    if route.scope is None:
        operation["security"] = []
    return operation


def parameters_of(route: Route) -> Sequence[Parameter]:
    """All parameters of a route: of its path, its query, its headers."""
    declared = {parameter.name: parameter for parameter in route.path_parameters}
    return (*(declared.get(name) or identifier(name=name) for name in route.path_names), *route.query, *route.headers)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": parameter.name, "in": parameter.where, "description": parameter.description}
    if parameter.required:
        described["required"] = True
    if parameter.schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    described["schema"] = dict(parameter.schema)
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _responses(route: Route, errors: ErrorNames) -> dict[str, Any]:
    responses = {str(one.status): _response(one) for one in responses_of(route)}
    by_status: dict[int, list[str]] = {}
    for slug in problems_of(route):
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    for status, slugs in sorted(by_status.items()):
        letter = chr(ord("a") + sum(other == status for other, _ in errors))
        name = errors.setdefault((status, tuple(slugs)), f"Problem{status}{letter}")
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
    return dict(sorted(responses.items()))


def responses_of(route: Route) -> Sequence[Response]:
    """The successful responses of a route, by status."""
    has_etag = route.method == "GET" and route.scope is not None and not route.streams
    return sorted((*route.returns, *((_NOT_MODIFIED,) if has_etag else ())), key=lambda one: one.status)


def problems_of(route: Route) -> Sequence[str]:
    """The slugs of all problems that a route may return."""
    slugs = ["invalid-request", *route.problems]
    if "cursor" in route.query_names:
        slugs.append("cursor-expired")
    if route.path_names:
        slugs.append("not-found")
    if any(parameter.domain is not None for parameter in route.path_parameters):
        slugs.append("ambiguous-reference")
    if route.scope is not None:
        slugs += AUTH_PROBLEMS
    if route.body is not None:
        slugs += ["content-too-large", "unsupported-media-type"]
    return [slug for slug in PROBLEMS if slug in {*slugs, *COMMON_PROBLEMS}]


def _response(returns: Response) -> dict[str, Any]:
    described: dict[str, Any] = {"description": returns.description}
    if returns.headers:
        described["headers"] = {
            name.replace("_", "-").title(): {"description": about, "schema": {"type": "string"}}
            for name, about in returns.headers.items()
        }
    schema = schema_of(returns.model) if returns.model is not None else {}
    if returns.status not in (204, 304):
        described["content"] = {
            media: {"schema": schema if media in _MODEL_TYPES else {"type": "string"}} for media in returns.media
        }
    return described


def _problem(status: int, slugs: Sequence[str]) -> dict[str, Any]:
    examples = {
        slug: {
            "value": {
                "type": f"urn:flexportd:problem:{slug}",
                "title": TITLES.get(status, "Error"),
                "status": status,
                "detail": PROBLEMS[slug].description,
            }
        }
        for slug in slugs
    }
    sentence = " ".join(f"`{slug}`: {PROBLEMS[slug].description}" for slug in slugs)
    content = {"application/problem+json": {"schema": {"$ref": f"{PREFIX}Problem"}, "examples": examples}}
    return {"description": sentence, "content": content}
