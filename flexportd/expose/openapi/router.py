"""Declaring routes with `@route("GET", "/events", returns=...)` before a handler, and registering them.

The name of the handler is the operation id. The first paragraph of its docstring is the summary, the others are the
description. Query and body are parsed as declared before the handler is called.
"""

import asyncio
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec
from aiohttp import hdrs, web
from multidict import MultiMapping

from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.query import lookup
from flexportd.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from flexportd.expose.context import CANONICAL_PATH, DB, QUERY, READS
from flexportd.expose.openapi.parameters import id_param, identifier, parse_object_id
from flexportd.expose.openapi.query_params import ListRules, list_params, parse_unique
from flexportd.expose.openapi.route import API, DESCRIPTION, TAGS, Handler, Method, Response, Route, Schema
from flexportd.expose.openapi.schemas import page_response
from flexportd.expose.security import authorization
from flexportd.expose.security.access_policy import read_body
from flexportd.storage.queries.table import Key
from flexportd.storage.transaction import Transaction

_MAX_LISTED = 10


class AmbiguousError(ConflictError):
    """Several objects have this reference."""

    slug = "ambiguous-reference"


async def resolve_reference(request: web.Request, domain: ResourceType, text: str) -> Key | None:
    """The id of the only object with this reference that the caller may see; None if there is none.

    None also if the text is the id of an object that the caller may see; the id of another's object is treated as a
    reference. Raises AmbiguousError, which lists the ids.
    """
    seen = authorization.audience_of(request)
    key = parse_object_id(domain, text)

    def read(tx: Transaction) -> list[tuple[Key, str]]:
        record = None if key is None else request.app[READS].get(tx, domain, key)
        if record is not None and authorization.is_visible(request, tx, domain, record):
            return []
        return [(hit.key, hit.title) for hit in lookup(tx, domain, text, seen)]

    matches = await request.app[DB].read(read)
    if len(matches) > 1:
        listed = ", ".join(f"{key} ({title[:60]})" for key, title in matches[:_MAX_LISTED])
        more = f" and {len(matches) - _MAX_LISTED} more" if len(matches) > _MAX_LISTED else ""
        several = domain.name.replace("_", " ")
        raise AmbiguousError(f"{len(matches)} {several} have the reference {text[:80]!r}; use an id: {listed}{more}")
    return matches[0][0] if matches else None


T = TypeVar("T")

_LARGE_BODY = 1 << 20  # bytes of a JSON body from which decoding leaves the event loop
_EXACT = 2**53  # a float below is the integer that was written


def _number(literal: str) -> int | float:
    """A number without a fraction is an integer however it is written, as in JSON Schema: `1.0`, `1e3`."""
    value = float(literal)
    return int(value) if abs(value) < _EXACT and value.is_integer() else value


_BODY_DECODER = msgspec.json.Decoder(float_hook=_number)

_BODY: web.RequestKey[object] = web.RequestKey("body")  # the decoded body


def register(router: web.UrlDispatcher, routes: Iterable[Route]) -> None:
    """Add these routes to a router."""
    registered = list(routes)
    for route in registered:
        handler = bind(route)
        if route.method == "GET":
            router.add_get(route.pattern, handler)  # HEAD as well
        else:
            router.add_route(route.method, route.pattern, handler)
        if route.any_slashes:
            router.add_route(route.method, route.pattern + "{slashes:/+}", handler)
    for path, methods in _literal_conflicts(registered).items():
        router.add_route("*", path, _method_not_allowed(methods))


def _literal_conflicts(routes: Sequence[Route]) -> dict[str, set[str]]:
    """Fixed paths that other routes would treat as an id: `/documents/fetch` is not a document."""
    fixed: dict[str, set[str]] = {}
    for route in routes:
        if not route.path_names:
            fixed.setdefault(route.path, set()).add(route.method)
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path)) for route in routes if route.path_names]
    return {path: methods for path, methods in fixed.items() if any(one.fullmatch(path) for one in patterns)}


def _method_not_allowed(methods: set[str]) -> Handler:
    allowed = [*methods, "HEAD"] if "GET" in methods else list(methods)

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def bind(route: Route) -> Handler:
    """The handler of a route, with parsing of its request."""
    readers = {parameter.name: parameter.parse for parameter in route.query if parameter.parse is not None}
    needed = [parameter.name for parameter in route.query if parameter.required]
    names = sorted(route.query_names)
    named = next((parameter for parameter in route.path_parameters if parameter.domain is not None), None)

    async def handle(request: web.Request) -> web.StreamResponse:
        given = parse_unique(_query(request), names) if request.query_string and not route.any_query else {}
        for name in needed:
            if name not in given:
                raise InvalidError(f"{name} is missing; it is required", name)
        request[QUERY] = {name: read(name, given[name]) for name, read in readers.items() if name in given}
        if route.body is not None:
            request[_BODY] = await _read_body(request, route)
        if named is None or named.domain is None:
            return await route.handler(request)
        if route.method == hdrs.METH_GET:
            return await with_reference(request, route.handler, named.name, named.domain)
        # Before anything is changed or sent to Flexport.
        await resolve_path_reference(request, named.name, named.domain)
        return await route.handler(request)

    handle.route = route  # type: ignore[attr-defined]  # read by the middleware and tests
    return handle


async def with_reference(request: web.Request, handler: Handler, name: str, domain: ResourceType) -> web.StreamResponse:
    """Handle a request; if nothing has the id in the path, once more with the object that it refers to."""
    try:
        return await handler(request)
    except NotFoundError:
        if not await resolve_path_reference(request, name, domain):
            raise
    return await handler(request)


async def resolve_path_reference(request: web.Request, name: str, domain: ResourceType) -> bool:
    """Replace a reference in the path by the id; False if it is none. Raises AmbiguousError."""
    key = await resolve_reference(request, domain, request.match_info[name])
    if key is None:
        return False
    request.match_info[name] = str(key)
    resource = request.match_info.route.resource
    assert resource is not None
    parts = {name: quote(value, safe="") for name, value in request.match_info.items()}
    request[CANONICAL_PATH] = re.sub(r"\{(\w+)[^{}]*\}", lambda found: parts[found[1]], resource.canonical)
    return True


def _query(request: web.Request) -> MultiMapping[str]:
    """The query. Raises InvalidError if it is not UTF-8, which would be decoded to something else."""
    raw = request.rel_url.raw_query_string
    if "%" in raw:
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise InvalidError("the query is not UTF-8", "query") from None
    return request.query


def param(request: web.Request, name: str, default: Any = None) -> Any:
    """The value of a declared query parameter."""
    return request[QUERY].get(name, default)


def json_body(request: web.Request, kind: type[T]) -> T:
    """The parsed body, of the type that the route declares."""
    body = request[_BODY]
    if not isinstance(body, kind):
        raise TypeError(f"the route declares another body than {kind.__name__}")
    return body


async def _read_body(request: web.Request, route: Route) -> Any:
    media = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() not in ("", "identity"):
        raise RefusedError(415, "unsupported-media-type", "The body must not be compressed.")
    text = await read_body(request, route.max_body)
    if not text and not route.body_required:
        text = b"{}"
    elif media != "application/json" and not media.endswith("+json"):
        raise RefusedError(
            415, "unsupported-media-type", f"The body is {media[:80] or 'untyped'}; application/json is required."
        )
    assert route.body is not None
    try:
        if len(text) > _LARGE_BODY:
            decoded = await asyncio.to_thread(_BODY_DECODER.decode, text)
        else:
            decoded = _BODY_DECODER.decode(text)
        return msgspec.convert(decoded, dict[str, Any] if isinstance(route.body, Schema) else route.body)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `")
        # Some messages name the field themselves, such as "Object contains unknown field `x`".
        name = place.rstrip("`").removeprefix("$.") or sentence.partition(" field `")[2].partition("`")[0] or "body"
        raise InvalidError(f"the body is invalid: {sentence} (at {name[:100]})", name[:100]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the body is not JSON: {error}", "body") from None


H = TypeVar("H", bound=Handler)

_declared: defaultdict[str, list[Route]] = defaultdict(list)  # by the module of the handler
_ids = {domain.route: (id_param(domain),) for domain in RESOURCE_TYPES}
_ids |= {segment: (identifier(about, example=example),) for segment, (about, example) in DESCRIPTION["ids"].items()}


def route(
    method: Method, path: str, *, returns: Any, tag: str | None = None, prefix: str = API, **options: Any
) -> Callable[[H], H]:
    """Declare a handler as a route; `options` are further fields of Route, and replace those of the docstring.

    `returns` is a Response, a tuple of them, or the model of a JSON response with status 200, whose docstring then
    describes it. `tag` is by default the first segment of the path, or `operations`; `{id}` by default the id of the
    resource of that segment.
    """
    segment = path.split("/")[1]
    own = _ids.get(segment, ()) if "{id}" in path else ()

    def declare(handler: H) -> H:
        summary, about = _docstring(handler)
        described = {"name": handler.__name__, "summary": summary.removesuffix("."), "description": about}
        fields = described | {"path_parameters": own, "tag": tag or (segment if segment in TAGS else "operations")}
        one = Route(method=method, path=prefix + path, handler=handler, returns=_responses(returns), **fields | options)
        _declared[handler.__module__].append(one)
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
