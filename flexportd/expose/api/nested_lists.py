"""What belongs to an object: lists of their own, such as `/api/v1/purchase-orders/{id}/lines`.

They follow from the filters: a list that may be asked for those of one container is also `/containers/{id}/legs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from flexportd.expose.api.resource_filters import param_name
from flexportd.expose.api.resources import ResourceEndpoints
from flexportd.expose.openapi.parameters import id_param, list_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import page_response, resource_schema
from flexportd.expose.security import authorization

# These two lists are whole, and legs come in order of travel: `flexportd.expose.api.shipments`.
_CUSTOM_LISTS = {("shipments", "legs"), ("shipments", "containers")}


@dataclass(frozen=True)
class NestedList:
    """Those of one resource that belong to an object of another, by the filter that names it."""

    parent: ResourceEndpoints
    child: ResourceEndpoints
    filter: str

    @property
    def segment(self) -> str:
        """The end of their URL: the name of the child without that of the parent."""
        found = self.child.domain.route.removeprefix(f"{self.filter.replace('_', '-')}-")
        return "lines" if found == "line-items" else found

    @property
    def rules(self) -> ListRules:
        """The child's, without the filter that the path sets."""
        rules = self.child.list.rules
        return replace(rules, filters={name: parse for name, parse in rules.filters.items() if name != self.filter})

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{parent}/{id}/{segment}`: the child's list, for this parent alone."""
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
    """Every pair of resources of which one belongs to the other."""
    listed = [one for one in resources if one.domain.name != "shipments"]
    for parent in resources:
        name = param_name(parent.domain)
        for child in listed:
            asked = child.definition.table.query_filters.get(name)
            links = asked is not None and asked.value_kind == "id" and child is not parent
            if links and (parent.domain.name, child.domain.name) not in _CUSTOM_LISTS:
                yield NestedList(parent, child, name)


def routes(resources: Sequence[ResourceEndpoints]) -> Iterator[Route]:
    """What belongs to the objects of these resources."""
    for found in nested_lists(resources):
        parent, child = found.parent.domain, found.child.domain
        yield Route(
            method="GET",
            path=f"/api/v1/{parent.route}/{{id}}/{found.segment}",
            handler=found.respond,
            name=f"list_{child.name}_of_{parent.label.replace(' ', '_')}",
            tag="shipments" if parent.name == "shipments" else "resources",
            summary=f"List the {child.name.replace('_', ' ')} of a {parent.label}",
            path_parameters=(id_param(parent),),
            query=list_params(found.rules, past=True),
            returns=(page_response(resource_schema(child)),),
            audience_allowed=authorization.is_visible_to_audience(child.table)
            and authorization.is_visible_to_audience(parent.table),
        )
