"""The sync: what each list is worth, what each run did, and what waits for a person."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from flexportd.answers import Answer, EncodedResponse
from flexportd.clock import stamp
from flexportd.core.domain import Domain
from flexportd.errors import InvalidError, NotFoundError
from flexportd.expose import parameters
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.expose.parts import PARTS, Parts
from flexportd.expose.responding import respond
from flexportd.expose.upstream import needed
from flexportd.storage.session import Session
from flexportd.storage.sync import ListState, Receipt, Run

RUN_FIELDS = ("id", "kind", "cause", "state", "started_at", "ended_at", "reason")
_SHOWN_HELD = 1000
_DAY = timedelta(hours=24)


def run_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a document; its id is text."""
    return {name: row[name] for name in RUN_FIELDS} | {"id": str(row["id"])}


def receipt_document(receipt: Receipt, domain: Domain | None) -> dict[str, Any]:
    """The books of one resource; `closes` is null where Flexport does not say how much there is."""
    found = msgspec.structs.asdict(receipt)
    for name in ("run_id", "next_page", "first_total"):
        del found[name]
    skips: dict[str, int] = msgspec.json.decode(receipt.skips)
    found["skips"] = skips
    found["resource"] = domain.route if domain else receipt.resource
    distinct = receipt.objects - skips.get("repeated", 0)
    found["closes"] = None if receipt.total is None else receipt.total in (receipt.objects, distinct)
    return found


RUNS = ListView(
    rules=ListRules(
        sorts={"started_at": "id"},
        filters={
            "state": parameters.one_of("state", ("running", "complete", "held", "failed")),
            "kind": parameters.one_of("kind", ("full", "incremental")),
        },
        fields=RUN_FIELDS,
    ),
    read=lambda tx, page: tx.sync.runs(page),
    document=run_document,
    as_of=lambda tx: tx.events.newest()[0],
)

UNREADABLE = ListView(
    rules=ListRules(
        sorts={"last_seen_at": "id"},
        filters={"resource": parameters.equals("resource")},
        fields=("id", "resource", "resource_id", "error", "first_seen_at", "last_seen_at", "count"),
    ),
    read=lambda tx, page: tx.unreadable.page(page),
    document=dict,
    as_of=lambda tx: tx.events.newest()[0],
)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync`: the last runs, every list, the budget, and the length of the next full sync."""
    parameters.once(request.query, ())
    parts = request.app[PARTS]
    return await respond(request, lambda: document(parts))


async def document(parts: Parts) -> dict[str, Any]:
    """The state of the whole sync."""
    now = parts.clock.now()

    def read(tx: Session) -> dict[str, Any]:
        runs = {kind: tx.sync.running(kind) or tx.sync.last(kind) for kind in ("full", "incremental")}
        states, held, unreadable = tx.sync.list_states(), tx.sync.held_counts(), tx.unreadable.counts()
        return {
            "full": _run(parts, tx, runs["full"]),
            "incremental": _run(parts, tx, runs["incremental"]),
            "states": states,
            "resources": [_list(domain, states, held, unreadable) for domain in parts.registry],
            "budget": {"last_24_hours": tx.calls.since(stamp(now - _DAY)[:13])},
        }

    found = await parts.db.read(read)
    states, upstream = found.pop("states"), parts.upstream
    found["forecast"] = upstream.forecast(states) if upstream else None
    return {"configured": upstream is not None, **found, "flexport": upstream.state() if upstream else None}


def _run(parts: Parts, tx: Session, run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return run_document(msgspec.structs.asdict(run)) | {"receipts": _receipts(parts, tx, run.id)}


def _receipts(parts: Parts, tx: Session, run_id: int) -> list[dict[str, Any]]:
    domains = {domain.name: domain for domain in parts.registry}
    order = list(domains)
    found = sorted(
        tx.sync.receipts(run_id), key=lambda one: order.index(one.resource) if one.resource in order else len(order)
    )
    return [receipt_document(receipt, domains.get(receipt.resource)) for receipt in found]


def _list(
    domain: Domain, states: Mapping[str, ListState], held: Mapping[str, Any], unreadable: Mapping[str, int]
) -> dict[str, Any]:
    state = states.get(domain.name) or ListState(domain.name)
    return {
        "resource": domain.route,
        "as_of": state.floor,
        "complete_at": state.complete_at,
        "total": state.total,
        "requests": state.requests,
        "incremental_since": state.incremental_since,
        "filter_refused_at": state.filter_refused_at,
        "unavailable_at": state.unavailable_at,
        "unavailable_reason": state.unavailable_reason,
        "held": held.get(domain.name, (0, None))[0],
        "unreadable": unreadable.get(domain.name, 0),
    }


async def runs(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/runs`, newest first."""
    return await RUNS.respond(request)


async def show_run(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/runs/{id}`: one run with its receipts."""
    parameters.once(request.query, ())
    parts, text = request.app[PARTS], request.match_info["id"]

    async def build() -> dict[str, Any]:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
        found = await parts.db.read(lambda tx: _run(parts, tx, tx.sync.run(number)))
        if found is None:
            raise NotFoundError(f"there is no run {text[:50]!r} of the sync")
        return found

    return await respond(request, build)


async def unreadable(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/unreadable`: objects that Flexport sent and nobody here can read."""
    return await UNREADABLE.respond(request)


async def held(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/sync/held?resource=legs`: what a list lacks, and a person has to decide on."""
    given = parameters.once(request.query, ("resource",))
    parts = request.app[PARTS]
    domain = named(parts, given.get("resource"))

    async def build() -> dict[str, Any]:
        keys = await parts.db.read(lambda tx: tx.sync.held(domain.name, _SHOWN_HELD))
        return {"data": [{"resource": domain.route, "id": str(key)} for key in keys], "next": None, "as_of": None}

    return await respond(request, build)


async def run(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/sync/run`: begin a full sync, or join the one that runs; 202 with the run."""
    parameters.once(request.query, ())
    parts = request.app[PARTS]
    number = await needed(parts.upstream).begin_sync()
    found = await parts.db.read(lambda tx: _run(parts, tx, tx.sync.run(number)))
    location = f"{request.path.removesuffix('/run')}/runs/{number}"
    return EncodedResponse(Answer(202, msgspec.json.encode(found), cache_control="no-store", location=location))


async def accept(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/sync/accept` `{"resource": "legs"}`: what its list lacks is gone."""
    parameters.once(request.query, ())
    parts = request.app[PARTS]
    try:
        body = msgspec.json.decode(await request.read())
    except ValueError:
        raise InvalidError('the body must be JSON such as {"resource": "legs"}', "resource") from None
    name = body.get("resource") if isinstance(body, dict) else None
    domain = named(parts, name if isinstance(name, str) else None)
    removed = await needed(parts.upstream).accept(domain)

    async def build() -> dict[str, Any]:
        return {"resource": domain.route, "removed": removed}

    return await respond(request, build)


def named(parts: Parts, name: str | None) -> Domain:
    """The resource that a request names. Raises InvalidError."""
    for domain in parts.registry:
        if name in (domain.route, domain.name):
            return domain
    known = ", ".join(domain.route for domain in parts.registry)
    found = "missing" if name is None else f"{name[:50]!r}"
    raise InvalidError(f"resource is {found}; allowed are {known}", "resource")
