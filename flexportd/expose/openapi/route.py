"""The types of a declared route: everything that serving it, checking its requests and describing it needs."""

import functools
import re
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from aiohttp import web

from flexportd.core.access.keys import Scope
from flexportd.core.resources.resource_type import ResourceType

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Method = Literal["GET", "POST", "PATCH", "DELETE"]

API = "/api/v1"
JSON = "application/json"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query, a path or a header.

    `parse` converts its text and raises InvalidError; None if the handler reads it (lists do). `schema` is its JSON
    schema: exactly the values that match it are accepted. `domain`: the path parameter identifies an object of this
    resource, by id or by reference.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    parse: Callable[[str, str], Any] | None = None
    example: Any = None
    required: bool = False
    where: Literal["query", "path", "header"] = "query"
    domain: ResourceType | None = None


@dataclass(frozen=True)
class Response:
    """A successful response. `model` is a type that msgspec supports, a Schema, or None if the response is not JSON."""

    description: str
    model: Any = None
    status: int = 200
    media: Sequence[str] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Schema:
    """A named JSON schema with an example. `refs` are the models that it references."""

    name: str
    schema: Mapping[str, Any]
    example: Callable[[], Any] | None = None
    refs: Sequence[Any] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One method of one path.

    `name` is the operation id, `tag` its section in the documentation. `scope`: the scope that a key needs; None: no
    key. `body`: the type of the JSON body; with a Schema, the handler checks any object. `problems`: slugs of possible
    problems besides those that follow from the other fields (see `http.problems`). `audience_allowed`: a key limited
    to some shipments may use it; the handler then limits what it returns. `max_body` is in bytes. `any_query`: unknown
    query parameters are ignored. `any_slashes`: the path may end with slashes.
    """

    method: Method
    path: str
    handler: Handler
    name: str
    tag: str
    summary: str
    description: str = ""
    scope: Scope | None = "read"
    path_parameters: Sequence[Parameter] = ()
    query: Sequence[Parameter] = ()
    headers: Sequence[Parameter] = ()
    body: type | Schema | None = None
    body_required: bool = True
    max_body: int = 1 << 20
    returns: Sequence[Response] = ()
    problems: Sequence[str] = ()
    streams: bool = False
    audience_allowed: bool = False
    any_query: bool = False
    any_slashes: bool = False

    @functools.cached_property
    def query_names(self) -> frozenset[str]:
        """The names of its query parameters."""
        return frozenset(parameter.name for parameter in self.query)

    @property
    def pattern(self) -> str:
        """The path in the syntax of aiohttp's router; an id may contain anything, a slash as %2F."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)

    @property
    def path_names(self) -> list[str]:
        """The names of its path parameters, in order."""
        return re.findall(r"\{(\w+)\}", self.path)


SERVED_ROUTES: web.AppKey[Sequence[Route]] = web.AppKey("served_routes")
"""All declared routes of the application."""


_TEXT = resources.files("flexportd.expose.openapi").joinpath("description.toml").read_text(encoding="utf-8")
DESCRIPTION: Mapping[str, Any] = tomllib.loads(_TEXT)
"""The texts of the OpenAPI document that belong to no single route."""

TAGS: Mapping[str, str] = DESCRIPTION["tags"]
"""The sections of the API documentation, in order."""
