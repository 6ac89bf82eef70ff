"""Routes of the pages for people, and the handlers of those about freight and the queue."""

from dataclasses import replace

from aiohttp import web
from multidict import MultiDict

from flexportd.core.resources.shipments import DOMAIN
from flexportd.errors import ExpiredError, InvalidError, NotFoundError
from flexportd.expose.api.health import reasons_against
from flexportd.expose.api.list_endpoint import bound, list_request
from flexportd.expose.api.shipments import LIST, seen_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.dashboard.double_submit import PRESSES, Presses
from flexportd.expose.dashboard.page_handler import back, failure, friendly, is_customer, kept, page, sent
from flexportd.expose.dashboard.pages import operations, overview, queue, records, shipment, shipments
from flexportd.expose.dashboard.view.alerts import Look, Noted
from flexportd.expose.dashboard.view.setup_hint import connecting
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.path_references import referred
from flexportd.http.problems import FAILURE_PAGE
from flexportd.http.responses import HTML, Answer, EncodedResponse

_LIST = replace(LIST, rules=shipments.RULES)


def add_routes(app: web.Application) -> None:
    """Pages and their forms."""
    app[FAILURE_PAGE] = failure
    app[PRESSES] = Presses()
    app.router.add_get("/", friendly("overview", _overview, for_audiences=True))
    app.router.add_get("/shipments", friendly("shipments", _shipments, for_audiences=True))
    app.router.add_get("/shipments/{id}", friendly("shipments", _shipment, for_audiences=True))
    app.router.add_get("/queue", friendly("queue", _queue))
    app.router.add_post("/queue/pause", friendly("queue", _set_paused))
    app.router.add_post("/queue/resume", friendly("queue", _set_paused))
    app.router.add_post("/queue/dead-letters/{id}/retry", friendly("queue", _retry))
    app.router.add_post("/queue/dead-letters/{id}/discard", friendly("queue", _discard))
    operations.add_routes(app)
    records.add_routes(app)


async def _overview(request: web.Request) -> web.StreamResponse:
    """`GET /`; a customer's first page is the list of shipments. Not kept: it shows the present state of the daemon."""
    parts = request.app[PARTS]
    query_params.once(request.query, ())
    if is_customer(request):
        return EncodedResponse(Answer(303, b"", None, location="/shipments"))

    async def build() -> bytes:
        fault, upstream = parts.db.writer.fault, parts.upstream
        running = overview.Running(
            paused=parts.queue.paused,
            fault=fault.reason if fault else None,
            reasons=reasons_against(parts),
            has_secrets=parts.shown.has_secrets,
            domains=tuple(parts.registry),
            state=upstream.state() if upstream else None,
            refusals=parts.webhook_refusals(),
        )
        unread: list[str] = []

        def foretell(noted: Noted) -> None:
            unread.extend(upstream.forecast(noted.lists)["never_synced"] if upstream else ())

        to_connect = connecting(parts.shown, has_key=upstream is not None)

        def model(found: overview.Found, look: Look) -> overview.OverviewPage:
            said = replace(running, unread=unread)
            return overview.overview_page(found, said, look, None if found.by_status else to_connect)

        return await page(request, "overview.html", lambda tx: overview.read(tx, parts.clock.now()), model, foretell)

    return await respond(request, build, (), HTML)


async def _shipments(request: web.Request) -> web.StreamResponse:
    """`GET /shipments`."""
    parts = request.app[PARTS]
    query = query_params.once(request.query, ("limit", "cursor", "sort", *shipments.FILTERS))
    try:
        asked = await list_request(request, MultiDict(shipments.given(query)), _LIST)
    except ExpiredError:
        raise
    except InvalidError as error:
        return await _unanswered(request, query, str(error))

    async def build() -> bytes:
        to_connect = None if is_customer(request) else connecting(parts.shown, has_key=parts.upstream is not None)

        def model(found: shipments.Found, look: Look) -> shipments.ShipmentsPage:
            return shipments.shipments_page(found, asked, query, (look.sight, None if found.is_any else to_connect))

        return await page(request, "shipments.html", lambda tx: shipments.read(tx, asked), model)

    # The index comes a moment after what it is made of, so a search is not kept.
    return await respond(request, build if query.get("q") else kept(request, build), (), HTML)


async def _unanswered(request: web.Request, query: dict[str, str], problem: str) -> web.StreamResponse:
    """The list of shipments for filters that cannot be used: 400, with the form as it was sent."""
    made = lambda _, look: shipments.unanswered_page(query, problem, look.sight)  # noqa: E731
    return EncodedResponse(Answer(400, await page(request, "shipments.html", lambda _: None, made), HTML))


async def _shipment(request: web.Request) -> web.StreamResponse:
    """`GET /shipments/{id}`; by another reference: the way to it."""
    try:
        number = await seen_id(request)
    except NotFoundError:
        key = await referred(request, DOMAIN, request.match_info["id"])
        if key is None:
            raise
        return EncodedResponse(Answer(303, b"", None, location=f"/shipments/{key}"))
    query_params.once(request.query, ())  # after the look-up: what is another's and what does not exist answer alike

    def model(dossier: shipment.Dossier | None, look: Look) -> shipment.ShipmentPage:
        if dossier is None:
            raise NotFoundError(f"there is no shipment {number}")
        return shipment.shipment_page(dossier, look.sight)

    async def build() -> bytes:
        return await page(request, "shipment.html", lambda tx: shipment.read(request, tx, number), model)

    return await respond(request, kept(request, build), (), HTML)


async def _queue(request: web.Request) -> web.StreamResponse:
    """`GET /queue`. Not kept: it is about this moment."""
    parts = request.app[PARTS]
    query = query_params.once(request.query, ("limit", "cursor", "discarded", "done"))
    listed = {"discarded": "false", **{name: value for name, value in query.items() if name != "done"}}
    asked = await bound(request, query_params.asked(MultiDict(listed), queue.RULES, parts.shown))

    def model(found: queue.Found, look: Look) -> queue.QueuePage:
        return queue.queue_page(found, asked, query, (look.sight, parts.queue.paused))

    async def build() -> bytes:
        return await page(request, "queue.html", lambda tx: queue.read(tx, asked), model)

    return await respond(request, build, (), HTML)


async def _set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /queue/pause`, `/queue/resume`."""
    paused = request.path.endswith("/pause")
    await request.app[PARTS].queue.set_paused(paused=paused)
    return back("/queue", "paused" if paused else "resumed")


async def _retry(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/retry`."""
    number = _letter_id(request)

    async def retry() -> None:
        if not await request.app[PARTS].queue.retry([number]):
            raise NotFoundError(f"there is no dead letter {number}; it may already have been retried")

    await request.app[PRESSES].once(request, retry)
    return back("/queue", "retried")


async def _discard(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/discard`, with the reason in the field `why`."""
    number = _letter_id(request)
    why = await sent(request, "why", 500)
    if why is None:
        raise InvalidError("The reason is longer than 500 characters", "why")
    reason, queue = why.strip() or "no reason given", request.app[PARTS].queue
    await request.app[PRESSES].once(request, lambda: queue.discard(number, "dashboard", reason), reason)
    return back("/queue", "discarded")


def _letter_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)
