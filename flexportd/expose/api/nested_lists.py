"""Nested lists, such as `/api/v1/purchase-orders/{id}/lines`.

They follow from the filters: a list with the filter `container` is also `/containers/{id}/legs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from aiohttp import web

from flexportd.expose.api.resource_filters import param_name
from flexportd.expose.api.resources import ResourceEndpoints
from flexportd.expose.openapi.parameters import id_param
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import page_response, resource_schema
from flexportd.expose.security import authorization

# These two have no pages, and legs are in order of travel: `flexportd.expose.api.shipments`.
_CUSTOM_LISTS = {("shipments", "legs"), ("shipments", "containers")}


@dataclass(frozen=True)
class NestedList:
    """The list of one resource's objects that belong to an object of another, by the filter of that name."""

    parent: ResourceEndpoints
    child: ResourceEndpoints
    filter: str

    @property
    def segment(self) -> str:
        """The end of the URL: the name of the child without that of the parent."""
        segment = self.child.domain.route.removeprefix(f"{self.filter.replace('_', '-')}-")
        return "lines" if segment == "line-items" else segment

    @cached_property
    def rules(self) -> ListRules:
        """The child's rules without the filter that the path sets."""
        return self.child.list.rules.without(self.filter)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{parent}/{id}/{segment}`: the child's list for this parent."""
        key = self.parent.key(request)
        record = await self.parent.record(request, key)
        view = self.child.view(request)
        own = replace(
            view,
            rules=self.rules,
            as_of=lambda _: record.as_of,
            tags=view.tags and (*view.tags, (self.parent.domain.name, key)),
        )
        return await own.respond(request, {self.filter: (key,)})


def nested_lists(resources: Sequence[ResourceEndpoints]) -> Iterator[NestedList]:
    """Every pair of resources of which one has a filter for the other."""
    children = [one for one in resources if one.domain.name != "shipments"]
    for parent in resources:
        name = param_name(parent.domain)
        for child in children:
            link = child.definition.table.filters.get(name)
            links = link is not None and link.value_type == "id" and child is not parent
            if links and (parent.domain.name, child.domain.name) not in _CUSTOM_LISTS:
                yield NestedList(parent, child, name)


def routes(resources: Sequence[ResourceEndpoints]) -> Iterator[Route]:
    """The routes of nested lists."""
    for nested in nested_lists(resources):
        parent, child = nested.parent.domain, nested.child.domain
        yield Route(
            method="GET",
            path=f"/api/v1/{parent.route}/{{id}}/{nested.segment}",
            handler=nested.respond,
            name=f"list_{child.name}_of_{parent.label.replace(' ', '_')}",
            tag="shipments" if parent.name == "shipments" else "resources",
            summary=f"List the {child.name.replace('_', ' ')} of a {parent.label}",
            path_parameters=(id_param(parent),),
            query=list_params(nested.rules),
            returns=(page_response(resource_schema(child)),),
            audience_allowed=authorization.is_visible_to_audience(child.table)
            and authorization.is_visible_to_audience(parent.table),
        )
