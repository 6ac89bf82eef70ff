"""All routes of the API, in the order of the documentation."""

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace

from flexportd.core.resources.registry import Registry
from flexportd.expose import api, api_docs, metrics
from flexportd.expose.api import events, resources
from flexportd.expose.dashboard.pages import share
from flexportd.expose.feeds import icalendar
from flexportd.expose.openapi.declaration import routes_of
from flexportd.expose.openapi.route import API, TAGS, Route
from flexportd.expose.streaming import sse

_MODULES = [importlib.import_module(f"{api.__name__}.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
_METHODS = ("GET", "POST", "PATCH", "DELETE")


@functools.lru_cache(maxsize=8)
def routes(registry: Registry, webhook_path: str) -> tuple[Route, ...]:
    """Those that the modules declare and those of the registry, by tag, resource and path."""
    listed = tuple(resources.resources(registry).values())
    declared = routes_of(*_MODULES, metrics, icalendar, sse, share, api_docs)
    found = (
        *(replace(one, path=webhook_path) if one.handler is events.receive_webhook else one for one in declared),
        *(route for resource in listed for route in resource.routes()),
        *resources.nested_routes(listed),
    )
    tags, ranks = list(TAGS), {domain.route: rank for rank, domain in enumerate(registry)}

    def order(route: Route) -> tuple[int, int, str, int]:
        segment = route.path.removeprefix(f"{API}/").partition("/")[0]
        return tags.index(route.tag), ranks.get(segment, len(ranks)), route.path, _METHODS.index(route.method)

    return tuple(sorted(found, key=order))


def literal_first(listed: Sequence[Route]) -> list[Route]:
    """In the order for a router that takes the first match: `/documents/files` before `/documents/{id}`."""
    return sorted(listed, key=lambda route: [part.startswith("{") for part in route.path.split("/")])
