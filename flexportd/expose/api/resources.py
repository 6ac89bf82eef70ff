"""The routes of every resource: list, object, history, refresh, nested lists (`/purchase-orders/{id}/lines`), search.

Every list takes `updated_since`, `removed`, and a filter for each link, named after its target: the field `shipment_id`
gives `shipment`. `removed=false` leaves out what was deleted at Flexport, `removed=true` lists only that; without it
both are listed, so that a client that follows changes by `updated_since` sees removals too. A list with the filter
`container` is also `/containers/{id}/legs`.

Responses with values that depend on the current UTC day (`ResourceType.derived_values`) are not cached.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple, TypedDict

import msgspec
from aiohttp import web

from flexportd.core.exceptions.rules import first_estimate
from flexportd.core.history.as_of import AsOfList, check_includes, object_as_of
from flexportd.core.history.provenance import field_provenance
from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search import query
from flexportd.core.search.fields import KINDS
from flexportd.core.search.query import SearchResults
from flexportd.errors import FlexportdError, NotFoundError, not_found
from flexportd.expose import serialize
from flexportd.expose.api.list_endpoint import ListEndpoint, restrict_as_of
from flexportd.expose.api.shipments import LIST as SHIPMENT_LIST
from flexportd.expose.api.shipments import REMOVED, current_record, object_key
from flexportd.expose.api.shipments import TABLE as SHIPMENT_TABLE
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, READS, UPSTREAM, require_flexport
from flexportd.expose.openapi.parameters import (
    column_vocabulary,
    csv_of,
    filter_description,
    filter_param,
    id_param,
    integer,
    text,
)
from flexportd.expose.openapi.query_params import ListRules, list_params, object_params
from flexportd.expose.openapi.route import API, TAGS, Route
from flexportd.expose.openapi.router import param, route
from flexportd.expose.openapi.schemas import json_response, page_response, resource_schema
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import codec_of
from flexportd.http.problems import UPSTREAM_PROBLEMS
from flexportd.storage.queries.filters import Filter, key, since
from flexportd.storage.queries.table import Key, Table, instant
from flexportd.storage.repositories import changes
from flexportd.storage.transaction import Transaction

_COMMON_FILTERS = {"updated_since": since("as_of"), "removed": REMOVED}


class ListDefinition(NamedTuple):
    """The list of a resource: its table with all filters, and the rules of its parameters.

    `owners` are the resources through which an object belongs to a shipment; a change of theirs may move it to another.
    `tables` are those whose rows decide what is in the list: its own, its owners, and those that filters read.
    """

    table: Table
    rules: ListRules
    owners: tuple[str, ...]
    tables: tuple[str, ...]


def list_definition(domain: ResourceType, registry: Registry) -> ListDefinition:
    """The list of a resource."""
    filters = filters_of(domain, registry)
    sorts = {"updated_at": "as_of", **domain.table.sorts}
    table = replace(domain.table, sorts={column: column for column in sorts.values()}, filters=filters)
    targets = {param_name(other): other for other in registry}
    rules = ListRules(
        sorts=sorts,
        filters=filters,
        fields=serialize.field_names(table, domain.derived_value_names),
        includes=("raw",),
        text_keys=domain.ids != "integer",
        vocabularies={
            name: column_vocabulary(domain, table, name, one.column)
            for name, one in filters.items()
            if one.value_type == "words" and one.operator == "in"
        },
        filter_params={
            name: filter_param(name, one, target=targets.get(name))
            for name, one in filters.items()
            if one.value_type == "id"
        },
        past=True,
    )
    owners = tuple(name for _, name in domain.owners)
    read_by_filters = (other.name for other in registry if any(other.name in one.tables for one in filters.values()))
    return ListDefinition(table, rules, owners, tuple(dict.fromkeys((domain.name, *owners, *read_by_filters))))


def filters_of(domain: ResourceType, registry: Registry) -> dict[str, Filter]:
    """The filters of a resource's list by parameter: those of its table, and those that every list has."""
    targets = {f"{param_name(other)}_id": param_name(other) for other in registry}
    links = {targets[name]: key(name) for name in domain.table.names if name in targets}
    own = {name: one for name, one in domain.table.filters.items() if name not in _COMMON_FILTERS}
    return links | own | _COMMON_FILTERS


def param_name(domain: ResourceType) -> str:
    """One object of a resource as a parameter: `purchase_order`."""
    return domain.label.replace(" ", "_")


_NOT_FOUND_AT_FLEXPORT = "flexport-not-found"  # the slug of Flexport's own 404


INCLUDES = ("raw", "why")
"""The values of `include` for one object."""


async def object_document(request: web.Request, domain: ResourceType, key: Key) -> dict[str, Any]:
    """One object by `as_of` (then with `known_at`), `fields` and `include`. Raises NotFoundError, InvalidError."""
    db = request.app[DB]
    at, fields, included = param(request, "as_of"), param(request, "fields"), param(request, "include", ())
    authorization.check_includes(request, included)
    if at is None:
        return await db.read(lambda tx: _current_document(request, tx, (domain, key), fields, included))
    check_includes(included)
    now = request.app[CLOCK].stamp()

    def past(tx: Transaction) -> dict[str, Any]:
        record = request.app[READS].get(tx, domain, key)
        since = "" if record is None else authorization.visible_since(request, tx, domain, record).changed_at
        if at < since:
            named = key if isinstance(key, int) else repr(key[:50])
            raise NotFoundError(f"{domain.label} {named} was not known before {since}")
        row = object_as_of(tx, domain, key, at, now)
        document = serialize.serialize_resource(domain, row, date.fromisoformat(at[:10]))
        first = _first_arrival(request, tx, domain, row, at) if fields is None else {}
        return {**serialize.select_fields(document, fields), **first, "known_at": at}

    return await db.read(past)


def _current_document(
    request: web.Request,
    tx: Transaction,
    named: tuple[ResourceType, Key],
    fields: Sequence[str] | None,
    included: Sequence[str],
) -> dict[str, Any]:
    domain, key = named
    record = request.app[READS].get(tx, domain, key)
    if record is None:
        raise not_found(domain.label, key)
    row = serialize.record_row(record, *(("raw",) if "raw" in included else ()))
    (row,) = serialize.with_related(domain, tx, [row])
    document = serialize.serialize_resource(domain, row, request.app[CLOCK].now().date())
    document = serialize.select_fields(document, None if fields is None else (*fields, *included))
    if fields is None:
        document |= _first_arrival(request, tx, domain, {**record.fields, "id": record.id})
    if "why" in included:
        causes = field_provenance(tx, domain, record, authorization.visible_since(request, tx, domain, record))
        if authorization.audience_of(request) is not None:  # numbers of sync runs count the runs for all
            causes = {name: cause and msgspec.structs.replace(cause, run_id=None) for name, cause in causes.items()}
        document["why"] = causes
    return document


def _first_arrival(
    request: web.Request, tx: Transaction, domain: ResourceType, row: Mapping[str, Any], until: str | None = None
) -> dict[str, Any]:
    """The first estimated arrival up to a time on our clock; not for limited keys, which see a part of the history."""
    if domain is not shipments.RESOURCE_TYPE or authorization.audience_of(request) is not None:
        return {}
    first, days = first_estimate(tx.exceptions.date_changes(int(row["id"]), until), row)
    return {
        "first_estimated_arrival_at": instant(first) if first else None,
        "first_estimated_arrival_date": first[:10] if first else None,
        "arrival_slip_days": days,
    }


class ResourceEndpoints:
    """The routes of one resource."""

    def __init__(self, domain: ResourceType, registry: Registry) -> None:
        self.domain = domain
        self.definition = definition = list_definition(domain, registry)
        if domain is shipments.RESOURCE_TYPE:
            self.list, self.table = SHIPMENT_LIST, SHIPMENT_TABLE
            return
        self.table = table = definition.table
        self.list = ListEndpoint(
            rules=definition.rules,
            read=lambda tx, page: serialize.with_related(domain, tx, tx.resources.page(table, page)),
            document=self._document(date.min),  # `view` sets the day if values depend on it
            as_of=lambda tx: tx.resources.newest_as_of(table),
            tags=() if domain.derived_values else definition.tables,
            hidden_sort_columns=tuple(column for column in table.sorts if column not in table.shown),
            as_of_view=lambda at, now: AsOfList(domain, table, at, now),
            authorize=self._authorize,
            csv_table=table if domain.derived_values is None else None,
        )

    async def _authorize(self, request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        return authorization.list_filters(request, self.table)

    def routes(self) -> Iterator[Route]:
        """The routes of this resource."""
        one, several = self.domain.label, self.domain.name.replace("_", " ")
        model, name = resource_schema(self.domain), one.replace(" ", "_")
        route = functools.partial(
            Route,
            tag=self.domain.name if self.domain.name in TAGS else "resources",
            audience_allowed=authorization.is_visible_to_audience(self.domain.table),
        )
        path = f"{API}/{self.domain.route}"
        of_object = functools.partial(route, path_parameters=(id_param(self.domain),))
        yield route(
            method="GET",
            path=path,
            handler=self.index,
            name=f"list_{self.domain.name}",
            summary=f"List {several}, last changed first",
            query=list_params(self.list.rules),
            returns=(page_response(model),),
        )
        yield of_object(
            method="GET",
            path=f"{path}/{{id}}",
            handler=self.show,
            name=f"get_{name}",
            summary=f"Get a {one}",
            description="Objects removed at Flexport are still returned, with `removed_at`.",
            query=object_params(self.list.rules.fields, INCLUDES),
            returns=(json_response(model, f"The {one}."),),
        )
        yield of_object(
            method="GET",
            path=f"{path}/{{id}}/history",
            handler=self.history,
            name=f"list_{name}_history",
            summary=f"List the changes of a {one}, newest first",
            query=list_params(HISTORY.rules),
            returns=(page_response(ChangeRecord),),
        )
        yield of_object(
            method="POST",
            path=f"{path}/{{id}}/refresh",
            handler=self.refresh,
            name=f"refresh_{name}",
            summary=f"Refresh a {one} from Flexport",
            scope="write",
            query=object_params(self.list.rules.fields, ("raw",), past=False),
            returns=(json_response(model, f"The {one}, with the outcome in `refresh`."),),
            problems=UPSTREAM_PROBLEMS,
            audience_allowed=False,
        )

    def view(self, request: web.Request) -> ListEndpoint:
        """The list with the values of the requested day, today or that of `as_of`."""
        if self.domain.derived_values is None:
            return self.list
        at = param(request, "as_of")
        today = request.app[CLOCK].now().date()
        return replace(self.list, document=self._document(today if at is None else date.fromisoformat(at[:10])))

    def _document(self, today: date) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda row: serialize.serialize_resource(self.domain, row, today)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}`."""
        return await restrict_as_of(request, self.view(request), self.table).respond(request)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}`."""
        key = object_key(request, self.domain)
        await authorization.check_access(request, self.domain, key)

        tags = () if self.domain.derived_values else ((self.domain.name, key), *self.definition.owners)
        return await respond(request, lambda: object_document(request, self.domain, key), tags)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{route}/{id}/history`: one entry per changed field."""
        record = await current_record(request, self.domain)
        view, codec = replace(HISTORY, as_of=lambda _: record.as_of), codec_of(request)
        if codec is not None:  # sequence numbers count rows of all objects
            view = replace(
                view, document=lambda row: _change({**row, "id": codec.encode_number(row["id"]), "run_id": None})
            )
        return await view.respond(request, {"resource": (self.domain.name, str(record.id))})

    async def refresh(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/{route}/{id}/refresh`; `refresh` is `new`, `changed`, `unchanged` or `removed`."""
        key = object_key(request, self.domain)
        await authorization.check_access(request, self.domain, key)
        fields, includes = param(request, "fields"), param(request, "include", ())
        try:
            outcome = await require_flexport(request.app[UPSTREAM]).refresh(self.domain, key)
        except FlexportdError as error:
            if error.slug != _NOT_FOUND_AT_FLEXPORT:
                raise
            outcome = "unchanged"  # already removed, or unknown
        record = await current_record(request, self.domain)
        today = request.app[CLOCK].now().date()
        row = serialize.record_row(record, *includes)
        (row,) = await request.app[DB].read(lambda tx: serialize.with_related(self.domain, tx, [row]))
        document = serialize.serialize_resource(self.domain, row, today)
        shown = serialize.select_fields(document, None if fields is None else (*fields, *includes))
        return serialize.json_document(shown | {"refresh": outcome})


class ChangeRecord(TypedDict):
    """A changed field and its cause: an event or a sync run."""

    id: int
    field: str
    old: Any
    new: Any
    as_of: str | None
    changed_at: str
    source: str
    event_id: str | None
    run_id: str | None


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    old, new = (None if row[name] is None else serialize.raw_json(row[name]) for name in ("old", "new"))
    run_id = None if row["run_id"] is None else str(row["run_id"])
    as_of = row["as_of"] or None
    return serialize.serialize_fields(ChangeRecord, row, id=row["id"], old=old, new=new, as_of=as_of, run_id=run_id)


HISTORY = ListEndpoint.of(
    ChangeRecord,
    {"id": "id"},
    changes.LISTING.filters,
    read=lambda tx, page: tx.changes.page(page),
    document=_change,
    as_of=lambda _: None,
    authorize=authorization.authorize_history,
    written_at="changed_at",
)


@functools.lru_cache(maxsize=8)
def resources(registry: Registry) -> Mapping[str, ResourceEndpoints]:
    """The endpoints of every resource, by its name."""
    return {domain.name: ResourceEndpoints(domain, registry) for domain in registry}


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

    @functools.cached_property
    def rules(self) -> ListRules:
        """The child's rules without the filter that the path sets."""
        return self.child.list.rules.without(self.filter)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/{parent}/{id}/{segment}`: the child's list for this parent."""
        record = await current_record(request, self.parent.domain)
        view = self.child.view(request)
        own = replace(
            view,
            rules=self.rules,
            as_of=lambda _: record.as_of,
            tags=view.tags and (*view.tags, (self.parent.domain.name, record.id)),
        )
        return await own.respond(request, {self.filter: (record.id,)})


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


def nested_routes(resources: Sequence[ResourceEndpoints]) -> Iterator[Route]:
    """The nested_routes of nested lists."""
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


def cli_specs(registry: Registry) -> dict[str, Any]:
    """The sort orders and filters of each list, from which the options of CLI commands are made."""
    specs: dict[str, Any] = {}
    for domain in registry:
        if domain.name == "shipments":
            continue  # their commands are written by hand
        rules = list_definition(domain, registry).rules
        filters = [
            (name, one.value_type, f"Limit to those {one.description}, or exclude them.")
            if one.value_type == "boolean"
            else (name, one.value_type, filter_description(name, one))
            for name, one in rules.public_filters.items()
        ]
        specs[domain.route] = {"label": domain.label, "sorts": list(rules.sorts), "filters": filters}
    return specs


_DEFAULT_LIMIT, _MAX_LIMIT = 5, 50  # of each kind


@route(
    "GET",
    "/search",
    returns=SearchResults,
    query=(
        text(
            "q",
            "The text to find. One or two characters match only the beginning of a reference, except in Chinese "
            "and Japanese, where two characters match anywhere. The first eight words count.",
            required=True,
            example="MSCU",
        ),
        csv_of("kind", KINDS, "Limit to these kinds (comma-separated)."),
        integer("limit", 1, _MAX_LIMIT, "Maximum number of results per kind.", _DEFAULT_LIMIT),
    ),
    audience_allowed=True,
)
async def search(request: web.Request) -> web.StreamResponse:
    """Search all objects by reference.

    Searches shipment names, FLEX ids, containers, bills, POs, SKUs, invoices, bookings, companies, and finds
    shipments by vessel, voyage, IMO number, flight, carrier, SCAC, port, place and party. Matches parts of a
    reference; ignores case, spaces and dashes. All words must match, in any order, in one object or in a shipment
    and its objects. A label before a number (`PO 4471`, `container MSCU1234567`, `B/L EXA1`) selects the kind.
    """
    audience = authorization.audience_of(request)
    terms, limit = param(request, "q"), param(request, "limit", _DEFAULT_LIMIT)
    kinds = param(request, "kind")

    results = await request.app[DB].read(
        lambda tx: query.search(tx, terms, kinds=kinds, limit=limit, audience=audience)
    )
    return await respond_with(request, results)


if __name__ == "__main__":
    lines = (f"{json.dumps(route)}: {json.dumps(spec)}" for route, spec in cli_specs(Registry()).items())
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
