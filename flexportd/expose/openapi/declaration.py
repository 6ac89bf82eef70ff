"""Declaring routes: `@route("GET", "/events", returns=...)` before a handler.

The name of the handler is the operation id. The first paragraph of its docstring is the summary, the others are the
description.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.expose.openapi.parameters import id_param
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import API, TAGS, Handler, Method, Parameter, Response, Route, Schema
from flexportd.expose.openapi.schemas import page_response

H = TypeVar("H", bound=Handler)

_declared: defaultdict[str, list[Route]] = defaultdict(list)  # by the module of the handler
_ids = {domain.route: (id_param(domain),) for domain in RESOURCE_TYPES}


def route(
    method: Method,
    path: str,
    *,
    returns: Any,
    tag: str | None = None,
    prefix: str = API,
    path_parameters: Sequence[Parameter] | None = None,
    description: str | None = None,
    **options: Any,
) -> Callable[[H], H]:
    """Declare a handler as a route; `options` are further fields of Route.

    `returns` is a Response, a tuple of them, or the model of a JSON response with status 200, whose docstring then
    describes it. `tag` is by default the first segment of the path, or `operations`; `{id}` by default the id of the
    resource of that segment. `description` replaces that of the docstring.
    """
    segment = path.split("/")[1]
    own = _ids.get(segment, ()) if "{id}" in path else ()

    def declare(handler: H) -> H:
        summary, about = _docstring(handler)
        _declared[handler.__module__].append(
            Route(
                method=method,
                path=prefix + path,
                handler=handler,
                name=handler.__name__,
                tag=tag or (segment if segment in TAGS else "operations"),
                summary=summary.removesuffix("."),
                path_parameters=own if path_parameters is None else path_parameters,
                description=about if description is None else description,
                returns=_responses(returns),
                **options,
            )
        )
        return handler

    return declare


def list_route(path: str, rules: ListRules, item: Any, order: str, **options: Any) -> Callable[[H], H]:
    """Declare the handler of a list with these rules. `item` is the model of a row; `options` are those of `route`."""
    returns = page_response(item, f"A page, {order}.")
    return route("GET", path, query=list_params(rules), returns=returns, **options)


def routes_of(*modules: ModuleType) -> list[Route]:
    """The routes that these modules declare, in order."""
    return [one for module in modules for one in _declared[module.__name__]]


def _responses(returns: Any) -> Sequence[Response]:
    if isinstance(returns, tuple):
        return returns
    if isinstance(returns, Response):
        return (returns,)
    about = returns.schema["description"] if isinstance(returns, Schema) else _docstring(returns)[0]
    return (Response(description=f"{about.partition('. ')[0].removesuffix('.')}.", model=returns),)


def _docstring(documented: Any) -> tuple[str, str]:
    """The first paragraph of a docstring, and the others; lines within a paragraph are joined."""
    first, _, rest = inspect.cleandoc(documented.__doc__).partition("\n\n")
    return first.replace("\n", " "), re.sub(r"(?<!\n)\n(?![\n-])", " ", rest)
