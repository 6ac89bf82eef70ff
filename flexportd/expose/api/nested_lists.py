"""What belongs to an object: lists of their own, such as `/api/v1/purchase-orders/{id}/lines`.

They follow from the filters: a list that may be asked for those of one container is also `/containers/{id}/legs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from flexportd.expose.api.resource_filters import named
from flexportd.expose.api.resources import Resource
from flexportd.expose.openapi.parameters import id_of, of_list
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import of_domain, page_of
from flexportd.expose.security import authorization

# These two lists are whole, and legs come in order of travel: `flexportd.expose.api.shipments`.
_OTHERWISE = {("shipments", "legs"), ("shipments", "containers")}


@dataclass(frozen=True)
class Children:
    """Those of one resource that belong to an object of another, by the filter that names it."""

    parent: Resource
    child: Resource
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

    async def index(self, request: web.Request) -> web.StreamResponse:
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


def children(resources: Sequence[Resource]) -> Iterator[Children]:
    """Every pair of resources of which one belongs to the other."""
    listed = [one for one in resources if one.domain.name != "shipments"]
    for parent in resources:
        name = named(parent.domain)
        for child in listed:
            asked = child.asking.table.asks.get(name)
            links = asked is not None and asked.takes == "id" and child is not parent
            if links and (parent.domain.name, child.domain.name) not in _OTHERWISE:
                yield Children(parent, child, name)


def routes(resources: Sequence[Resource]) -> Iterator[Route]:
    """What belongs to the objects of these resources."""
    for found in children(resources):
        parent, child = found.parent.domain, found.child.domain
        yield Route(
            method="GET",
            path=f"/api/v1/{parent.route}/{{id}}/{found.segment}",
            handler=found.index,
            name=f"list_{child.name}_of_{parent.one.replace(' ', '_')}",
            tag="shipments" if parent.name == "shipments" else "resources",
            summary=f"List the {child.name.replace('_', ' ')} of a {parent.one}",
            path_parameters=(id_of(parent),),
            query=of_list(found.rules, past=True),
            returns=(page_of(of_domain(child)),),
            problems=("cursor-expired",),
            for_audiences=authorization.is_seen(child.table) and authorization.is_seen(parent.table),
        )
