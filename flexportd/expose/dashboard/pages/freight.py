"""Routes of the pages for people, and the handlers of those about freight and the queue."""

from dataclasses import replace

from aiohttp import web
from multidict import MultiDict

from flexportd.core.resources.shipments import RESOURCE_TYPE
from flexportd.errors import ExpiredError, InvalidError, NotFoundError
from flexportd.expose.api.health import not_ready_reasons
from flexportd.expose.api.list_endpoint import authorized_params, bind_cursor
from flexportd.expose.api.shipments import LIST, visible_shipment_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CONTEXT
from flexportd.expose.dashboard.double_submit import SUBMIT_GUARD, DoubleSubmitGuard
from flexportd.expose.dashboard.page_handler import (
    cached_page,
    failure,
    form_field,
    html_errors,
    is_customer,
    page,
    redirect,
)
from flexportd.expose.dashboard.pages import operations, overview, queue, records, shipment, shipments
from flexportd.expose.dashboard.view.alerts import PageContext, StoredStatus
from flexportd.expose.dashboard.view.setup_hint import setup_hint
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.path_references import resolve_reference
from flexportd.http.problems import FAILURE_PAGE
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse

_LIST = replace(LIST, rules=shipments.RULES)


def add_routes(app: web.Application) -> None:
    """Pages and their forms."""
    app[FAILURE_PAGE] = failure
    app[SUBMIT_GUARD] = DoubleSubmitGuard()
    app.router.add_get("/", html_errors("overview", _overview, for_audiences=True))
    app.router.add_get("/shipments", html_errors("shipments", _shipments, for_audiences=True))
    app.router.add_get("/shipments/{id}", html_errors("shipments", _shipment, for_audiences=True))
    app.router.add_get("/queue", html_errors("queue", _queue))
    app.router.add_post("/queue/pause", html_errors("queue", _set_paused))
    app.router.add_post("/queue/resume", html_errors("queue", _set_paused))
    app.router.add_post("/queue/dead-letters/{id}/retry", html_errors("queue", _retry))
    app.router.add_post("/queue/dead-letters/{id}/discard", html_errors("queue", _discard))
    operations.add_routes(app)
    records.add_routes(app)


async def _overview(request: web.Request) -> web.StreamResponse:
    """`GET /`; a customer's first page is the list of shipments. Not kept: it shows the present state of the daemon."""
    parts = request.app[CONTEXT]
    query_params.parse_unique(request.query, ())
    if is_customer(request):
        return PreparedStreamResponse(PreparedResponse(303, b"", None, location="/shipments"))

    async def build() -> bytes:
        fault, upstream = parts.db.writer.fault, parts.upstream
        running = overview.RuntimeData(
            paused=parts.queue.paused,
            fault=fault.reason if fault else None,
            reasons=not_ready_reasons(parts),
            has_secrets=parts.display.has_secrets,
            domains=tuple(parts.registry),
            state=upstream.state() if upstream else None,
            refusals=parts.webhook_refusals(),
        )
        unread: list[str] = []

        def foretell(noted: StoredStatus) -> None:
            unread.extend(upstream.forecast(noted.lists)["never_synced"] if upstream else ())

        to_connect = setup_hint(parts.display, has_key=upstream is not None)

        def model(found: overview.OverviewData, look: PageContext) -> overview.OverviewPage:
            said = replace(running, unread=unread)
            return overview.overview_page(found, said, look, None if found.by_status else to_connect)

        return await page(request, "overview.html", lambda tx: overview.read(tx, parts.clock.now()), model, foretell)

    return await respond(request, build, (), HTML)


async def _shipments(request: web.Request) -> web.StreamResponse:
    """`GET /shipments`."""
    parts = request.app[CONTEXT]
    query = query_params.parse_unique(request.query, ("limit", "cursor", "sort", *shipments.FILTERS))
    try:
        asked = await authorized_params(request, MultiDict(shipments.normalise_form(query)), _LIST)
    except ExpiredError:
        raise
    except InvalidError as error:
        return await _invalid_filters(request, query, str(error))

    async def build() -> bytes:
        to_connect = None if is_customer(request) else setup_hint(parts.display, has_key=parts.upstream is not None)

        def model(found: shipments.ShipmentsData, look: PageContext) -> shipments.ShipmentsPage:
            return shipments.shipments_page(found, asked, query, (look.view, None if found.is_any else to_connect))

        return await page(request, "shipments.html", lambda tx: shipments.read(tx, asked), model)

    # The index comes a moment after what it is made of, so a search is not kept.
    return await respond(request, build if query.get("q") else cached_page(request, build), (), HTML)


async def _invalid_filters(request: web.Request, query: dict[str, str], problem: str) -> web.StreamResponse:
    """The list of shipments for filters that cannot be used: 400, with the form as it was sent."""
    made = lambda _, look: shipments.invalid_filters_page(query, problem, look.view)  # noqa: E731
    return PreparedStreamResponse(
        PreparedResponse(400, await page(request, "shipments.html", lambda _: None, made), HTML)
    )


async def _shipment(request: web.Request) -> web.StreamResponse:
    """`GET /shipments/{id}`; by another reference: the way to it."""
    try:
        number = await visible_shipment_id(request)
    except NotFoundError:
        key = await resolve_reference(request, RESOURCE_TYPE, request.match_info["id"])
        if key is None:
            raise
        return PreparedStreamResponse(PreparedResponse(303, b"", None, location=f"/shipments/{key}"))
    query_params.parse_unique(
        request.query, ()
    )  # after the look-up: what is another's and what does not exist answer alike

    def model(dossier: shipment.ShipmentData | None, look: PageContext) -> shipment.ShipmentPage:
        if dossier is None:
            raise NotFoundError(f"there is no shipment {number}")
        return shipment.shipment_page(dossier, look.view)

    async def build() -> bytes:
        return await page(request, "shipment.html", lambda tx: shipment.read(request, tx, number), model)

    return await respond(request, cached_page(request, build), (), HTML)


async def _queue(request: web.Request) -> web.StreamResponse:
    """`GET /queue`. Not kept: it is about this moment."""
    parts = request.app[CONTEXT]
    query = query_params.parse_unique(request.query, ("limit", "cursor", "discarded", "done"))
    listed = {"discarded": "false", **{name: value for name, value in query.items() if name != "done"}}
    asked = await bind_cursor(request, query_params.parse_list_params(MultiDict(listed), queue.RULES, parts.display))

    def model(found: queue.QueueData, look: PageContext) -> queue.QueuePage:
        return queue.queue_page(found, asked, query, (look.view, parts.queue.paused))

    async def build() -> bytes:
        return await page(request, "queue.html", lambda tx: queue.read(tx, asked), model)

    return await respond(request, build, (), HTML)


async def _set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /queue/pause`, `/queue/resume`."""
    paused = request.path.endswith("/pause")
    await request.app[CONTEXT].queue.set_paused(paused=paused)
    return redirect("/queue", "paused" if paused else "resumed")


async def _retry(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/retry`."""
    number = _dead_letter_id(request)

    async def retry() -> None:
        if not await request.app[CONTEXT].queue.retry([number]):
            raise NotFoundError(f"there is no dead letter {number}; it may already have been retried")

    await request.app[SUBMIT_GUARD].once(request, retry)
    return redirect("/queue", "retried")


async def _discard(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/discard`, with the reason in the field `why`."""
    number = _dead_letter_id(request)
    why = await form_field(request, "why", 500)
    if why is None:
        raise InvalidError("The reason is longer than 500 characters", "why")
    reason, queue = why.strip() or "no reason given", request.app[CONTEXT].queue
    await request.app[SUBMIT_GUARD].once(request, lambda: queue.discard(number, "dashboard", reason), reason)
    return redirect("/queue", "discarded")


def _dead_letter_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)
