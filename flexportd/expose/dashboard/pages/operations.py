"""Handlers of the pages about the mirror and the daemon: sync, gaps, system, and their buttons."""

from typing import Any

from aiohttp import web
from multidict import MultiDict

from flexportd import __version__
from flexportd.errors import InvalidError
from flexportd.expose.api.exceptions import admitted, shown_number
from flexportd.expose.api.gaps import OUTAGES
from flexportd.expose.api.health import reasons_against, warnings
from flexportd.expose.api.list_endpoint import bound
from flexportd.expose.api.sync import named
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS, Parts
from flexportd.expose.dashboard.double_submit import PRESSES
from flexportd.expose.dashboard.page_handler import back, friendly, is_customer, page, sent
from flexportd.expose.dashboard.pages import exceptions, gaps, sync, system
from flexportd.expose.dashboard.view.alerts import Look, Noted
from flexportd.expose.flexport_interfaces import needed
from flexportd.expose.openapi import query_params
from flexportd.http.responses import HTML
from flexportd.storage.transaction import Session

_RESOURCE = 100  # characters of a resource's name


def add_routes(app: web.Application) -> None:
    """The pages and their forms."""
    app.router.add_get("/sync", friendly("sync", _sync))
    app.router.add_post("/sync/run", friendly("sync", _run_sync))
    app.router.add_post("/sync/accept", friendly("sync", _accept))
    app.router.add_get("/gaps", friendly("gaps", _gaps))
    app.router.add_get("/exceptions", friendly("exceptions", _exceptions, for_audiences=True))
    app.router.add_get("/system", friendly("system", _system))
    app.router.add_post("/system/jobs/{id}/run", friendly("system", _run_job))
    app.router.add_post("/system/jobs/{id}/pause", friendly("system", _set_job_paused))
    app.router.add_post("/system/jobs/{id}/resume", friendly("system", _set_job_paused))


async def _sync(request: web.Request) -> web.StreamResponse:
    """`GET /sync`. Not kept: it tells how far a run is."""
    parts = request.app[PARTS]
    query = query_params.once(request.query, ("done", "run"))
    run = query_params.integer("run", query["run"], 1, 2**63 - 1) if "run" in query else None

    async def build() -> bytes:
        upstream, jobs, domains = parts.upstream, parts.jobs.documents(), tuple(parts.registry)
        state, ahead = upstream.state() if upstream else None, dict[str, Any]()

        def foretell(noted: Noted) -> None:
            ahead.update(upstream.forecast(noted.lists) if upstream else {})

        def model(found: sync.Found, look: Look) -> sync.SyncPage:
            around = sync.given(domains, state, ahead or None, jobs)
            return sync.sync_page(found, around, query, look)

        return await page(request, "sync.html", lambda tx: sync.read(tx, parts.clock.now(), run), model, foretell)

    return await respond(request, build, (), HTML)


async def _run_sync(request: web.Request) -> web.StreamResponse:
    """`POST /sync/run`: begin a full sync, or join the one that runs."""
    await request.app[PRESSES].once(request, needed(request.app[PARTS].upstream).begin_sync)
    return back("/sync", "begun")


async def _accept(request: web.Request) -> web.StreamResponse:
    """`POST /sync/accept`, with the list in the field `resource`: what it lacks is gone."""
    parts = request.app[PARTS]
    name = await sent(request, "resource", _RESOURCE)
    if not name:
        raise InvalidError("resource is missing; name a list", "resource")
    upstream, resource = needed(parts.upstream), named(parts, name)
    await request.app[PRESSES].once(request, lambda: upstream.accept(resource), name)
    return back("/sync", "accepted")


async def _gaps(request: web.Request) -> web.StreamResponse:
    """`GET /gaps`. Not kept: how long webhooks have been missing grows by itself."""
    parts = request.app[PARTS]
    given = {"limit": str(gaps.MOST), **query_params.once(request.query, ("cursor",))}
    asked = await bound(request, query_params.asked(MultiDict(given), OUTAGES, parts.shown))
    has_key = parts.upstream is not None

    async def build() -> bytes:
        return await page(
            request,
            "gaps.html",
            lambda tx: gaps.read(tx, asked, parts.clock.now()),
            lambda found, look: gaps.gaps_page(found, look.noted, asked, look.sight, has_key=has_key),
        )

    return await respond(request, build, (), HTML)


async def _exceptions(request: web.Request) -> web.StreamResponse:
    """`GET /exceptions`. Not kept: it says how long each has stood."""
    parts = request.app[PARTS]
    query_params.once(request.query, ())
    allowed = await admitted(request, {})

    def read(tx: Session) -> exceptions.Found:
        if not is_customer(request):
            return exceptions.read(tx)
        return exceptions.read_some(tx, allowed, lambda number: shown_number(request, number))

    async def build() -> bytes:
        return await page(
            request,
            "exceptions.html",
            read,
            lambda found, look: exceptions.exceptions_page(found, look.sight, is_complete=parts.examiner.complete),
        )

    return await respond(request, build, (), HTML)


async def _system(request: web.Request) -> web.StreamResponse:
    """`GET /system`. Not kept: it is about this moment."""
    parts = request.app[PARTS]
    query = query_params.once(request.query, ("done",))

    async def build() -> bytes:
        daemon = _daemon(parts)
        return await page(
            request,
            "system.html",
            system.read,
            lambda found, look: system.system_page(found, daemon, query, look.sight),
        )

    return await respond(request, build, (), HTML)


def _daemon(parts: Parts) -> system.Daemon:
    fault, cache = parts.db.writer.fault, parts.cache
    return system.Daemon(
        version=__version__,
        started_at=parts.started_at,
        reasons=reasons_against(parts),
        warnings=warnings(parts),
        refusals=parts.webhook_refusals(),
        shown=parts.shown,
        jobs=parts.jobs.documents(),
        fault=fault.reason if fault else None,
        wal_bytes=parts.db.writer.wal_bytes(),
        memory=(cache.hits, cache.misses, cache.size),
        disk=cache.disk_stats(),
    )


async def _run_job(request: web.Request) -> web.StreamResponse:
    """`POST /system/jobs/{id}/run`."""
    jobs, name = request.app[PARTS].jobs, request.match_info["id"]
    await request.app[PRESSES].once(request, lambda: jobs.run_now(name))
    return back("/system", "started")


async def _set_job_paused(request: web.Request) -> web.StreamResponse:
    """`POST /system/jobs/{id}/pause`, `/resume`."""
    paused = request.path.endswith("/pause")
    await request.app[PARTS].jobs.set_paused(request.match_info["id"], paused=paused)
    return back("/system", "paused" if paused else "resumed")
