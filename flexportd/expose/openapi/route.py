"""What a route is: everything that serving it, checking its requests and describing it need, said once."""

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from flexportd.core.access.keys import Scope
from flexportd.core.resources.resource_type import ResourceType

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Method = Literal["GET", "POST", "PATCH", "DELETE"]

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a query, a path or a header.

    `read` makes the value of its text and raises InvalidError; None where the handler reads it (lists do). `schema` is
    its JSON schema: what does not fit it is refused, what fits is taken. `domain`: a part of the path names an object
    of it, by the id or by a reference.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    parse: Callable[[str, str], Any] | None = None
    example: Any = None
    required: bool = False
    where: Literal["query", "path", "header"] = "query"
    domain: ResourceType | None = None


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer: `model` is a type that msgspec knows, a Schema, or None where it is no JSON."""

    description: str
    model: Any = None
    status: int = 200
    media: Sequence[str] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Schema:
    """A JSON schema under a name of its own, and what makes an example. It may point to others by `refs`."""

    name: str
    schema: Mapping[str, Any]
    example: Callable[[], Any] | None = None
    refs: Sequence[Any] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One method of one path. `name` is what clients that are generated call it; `tag` the part of the API.

    `scope` is what a key must allow; None: no key is needed. `body` is the type of its JSON body. `problems` are the
    slugs of what may go wrong here beside what may go wrong anywhere (see `catalogue`). `for_audiences`: whether a key
    for some shipments only may ask; the handler then sees to what it shows. `any_query`: others add to the address what
    they like, and it is passed over. `any_slashes`: others may add slashes at the end of the path.
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
    body: type | None = None
    body_required: bool = True
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
        """The path as aiohttp's router takes it: an id may hold anything, a slash as %2F."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)

    @property
    def path_names(self) -> list[str]:
        """The names of what the path leaves open, in order."""
        return re.findall(r"\{(\w+)\}", self.path)


SERVED_ROUTES: web.AppKey[Sequence[Route]] = web.AppKey("served_routes")
"""All declared routes of the application."""
