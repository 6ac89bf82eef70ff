"""Routes and handlers of the pages for people."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import MultiDict

from flexportd import __version__
from flexportd.answers import HTML, Answer, EncodedResponse
from flexportd.errors import ConflictError, FlexportdError, InvalidError, NotFoundError, UnavailableError
from flexportd.expose import parameters
from flexportd.expose.api.shipments import shipment_id
from flexportd.expose.api.status import reasons_against
from flexportd.expose.dashboard import assets, overview, queue, rendering, shipment, shipments
from flexportd.expose.dashboard.connecting import connecting
from flexportd.expose.dashboard.failures import failure_page
from flexportd.expose.dashboard.moments import Sight, zone_named
from flexportd.expose.parts import PARTS, Parts
from flexportd.expose.problems import FAILURE_PAGE, STATUS_OF
from flexportd.expose.responding import Build, respond
from flexportd.text import harmless

_TAGS = ("pages",)
_LATENESS_STAYS = 15 * 60  # seconds: in every zone a day begins at a quarter of an hour


def add_routes(app: web.Application) -> None:
    """Pages, their forms and their static files."""
    app[FAILURE_PAGE] = _failure
    rendering.environment()  # read and compile now, not in a request
    app.router.add_get("/", _friendly("overview", _overview))
    app.router.add_get("/shipments", _friendly("shipments", _shipments))
    app.router.add_get("/shipments/{id}", _friendly("shipments", _shipment))
    app.router.add_get("/queue", _friendly("queue", _queue))
    app.router.add_post("/queue/pause", _friendly("queue", _set_paused))
    app.router.add_post("/queue/resume", _friendly("queue", _set_paused))
    app.router.add_post("/queue/dead-letters/{id}/retry", _friendly("queue", _retry))
    app.router.add_post("/queue/dead-letters/{id}/discard", _friendly("queue", _discard))
    app.router.add_get("/static/{name}", assets.serve)


def _friendly(section: str, handler: Handler) -> Handler:
    """What a person did wrong, or what is not there, becomes a page; the unforeseen is left to the middleware."""

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (InvalidError, NotFoundError, ConflictError, UnavailableError) as error:
            return await _failed(request, error, section)

    return answered


async def _failure(request: web.Request, status: int, detail: str) -> bytes:
    """The page for what went wrong outside the handlers here: a path that leads nowhere, an unknown host, a bug."""
    return await _rendered(request, "failure.html", "", lambda: failure_page(status, detail, ""))


async def _failed(request: web.Request, error: FlexportdError, section: str) -> web.StreamResponse:
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    page = failure_page(status, str(error), section)
    body = await _rendered(request, "failure.html", section, lambda: page)
    headers = {"retry_after": str(error.retry_after)} if isinstance(error, UnavailableError) else {}
    answer = Answer(status, body, HTML, cache_control="no-store", **headers)
    return EncodedResponse(answer, close=not request.content.is_eof())


async def _rendered(request: web.Request, template: str, section: str, build: Callable[[], Any]) -> bytes:
    """Words and markup are made in a thread: they take milliseconds, and may read a time zone from disk."""
    shown = request.app[PARTS].shown
    frame = rendering.Frame(harmless(shown.title, 80), section, harmless(shown.timezone, 40), __version__)
    return await asyncio.to_thread(lambda: rendering.render(template, frame, build()))


def _sight(parts: Parts) -> Sight:
    now = parts.clock.now()
    return Sight(zone_named(parts.shown.timezone) or now.tzinfo, now)  # type: ignore[arg-type]  # the clock is aware


def _kept(request: web.Request, build: Callable[[], Awaitable[bytes]]) -> Build:
    """The page that `build` makes, kept until something is committed.

    Under a key that no path has: pages say how late things are, so that none may be answered with by path alone.
    """
    parts = request.app[PARTS]
    quarter = int(parts.clock.now().timestamp()) // _LATENESS_STAYS
    key = ("page", request.raw_path, quarter)

    async def kept() -> bytes:
        answer, epoch = parts.cache.get(key), parts.cache.epoch
        if answer is not None:
            return answer.body
        body = await build()
        parts.cache.put(key, Answer(200, body, HTML), _TAGS, epoch)
        return body

    return kept


async def _overview(request: web.Request) -> web.StreamResponse:
    """`GET /`. Not kept: it tells how the queue and the disk are at this moment."""
    parts = request.app[PARTS]
    parameters.once(request.query, ())

    async def build() -> bytes:
        found = await parts.db.read(lambda tx: overview.read(tx, parts.clock.now()))
        fault = parts.db.writer.fault
        running = overview.Running(
            paused=parts.queue.paused,
            fault=fault.reason if fault else None,
            reasons=reasons_against(parts),
            has_secrets=parts.shown.has_secrets,
        )
        to_connect = None if found.by_status else connecting(parts.shown)
        return await _rendered(
            request, "overview.html", "overview",
            lambda: overview.overview_page(found, running, _sight(parts), to_connect),
        )  # fmt: skip

    return await respond(request, build, (), HTML)


async def _shipments(request: web.Request) -> web.StreamResponse:
    """`GET /shipments`."""
    parts = request.app[PARTS]
    query = parameters.once(request.query, ("limit", "cursor", "sort", *shipments.FILTERS))
    asked = parameters.asked(MultiDict(shipments.given(query)), shipments.RULES, parts.shown)

    async def build() -> bytes:
        found, is_any = await parts.db.read(lambda tx: shipments.read(tx, asked))
        about = (_sight(parts), None if is_any else connecting(parts.shown))
        return await _rendered(
            request, "shipments.html", "shipments", lambda: shipments.shipments_page(found, asked, query, about)
        )

    return await respond(request, _kept(request, build), (), HTML)


async def _shipment(request: web.Request) -> web.StreamResponse:
    """`GET /shipments/{id}`."""
    parts, number = request.app[PARTS], shipment_id(request)
    parameters.once(request.query, ())

    async def build() -> bytes:
        dossier = await parts.db.read(lambda tx: shipment.read(tx, parts.mirror, number))
        if dossier is None:
            raise NotFoundError(f"there is no shipment {number} here")
        return await _rendered(
            request, "shipment.html", "shipments", lambda: shipment.shipment_page(dossier, _sight(parts))
        )

    return await respond(request, _kept(request, build), (), HTML)


async def _queue(request: web.Request) -> web.StreamResponse:
    """`GET /queue`. Not kept: it is about this moment."""
    parts = request.app[PARTS]
    query = parameters.once(request.query, ("limit", "cursor", "discarded", "done"))
    listed = {"discarded": "false", **{name: value for name, value in query.items() if name != "done"}}
    asked = parameters.asked(MultiDict(listed), queue.RULES, parts.shown)

    async def build() -> bytes:
        found = await parts.db.read(lambda tx: queue.read(tx, asked))
        about = (_sight(parts), parts.queue.paused)
        return await _rendered(request, "queue.html", "queue", lambda: queue.queue_page(found, asked, query, about))

    return await respond(request, build, (), HTML)


async def _set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /queue/pause`, `/queue/resume`."""
    paused = request.path.endswith("/pause")
    await request.app[PARTS].queue.set_paused(paused=paused)
    return _back("paused" if paused else "resumed")


async def _retry(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/retry`."""
    number = _letter_id(request)
    if not await request.app[PARTS].queue.retry([number]):
        raise NotFoundError(f"there is no dead letter {number}; it may have been tried again already")
    return _back("retried")


async def _discard(request: web.Request) -> web.StreamResponse:
    """`POST /queue/dead-letters/{id}/discard`, with the reason in the field `why`."""
    number = _letter_id(request)
    why = (await request.post()).get("why", "")
    if not isinstance(why, str) or len(why) > 500:
        raise InvalidError("why has more than 500 characters; a sentence is enough", "why")
    await request.app[PARTS].queue.discard(number, "dashboard", why.strip() or "no reason given")
    return _back("discarded")


def _letter_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFoundError(f"there is no dead letter {text[:50]!r}")
    return int(text)


def _back(done: str) -> web.StreamResponse:
    """To the queue, as a GET: loading the page again repeats nothing."""
    return EncodedResponse(Answer(303, b"", None, location=f"/queue?done={done}", cache_control="no-store"))
