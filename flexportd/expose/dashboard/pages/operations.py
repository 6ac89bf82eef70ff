"""Handlers of the pages about the mirror and the daemon: sync, gaps, system, and their buttons."""

from typing import Any

from aiohttp import web
from multidict import MultiDict

from flexportd import __version__
from flexportd.errors import InvalidError
from flexportd.expose.api.exceptions import authorize_list, public_id
from flexportd.expose.api.gaps import OUTAGES
from flexportd.expose.api.health import not_ready_reasons, warnings
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.api.sync import resource_by_name
from flexportd.expose.cached_response import respond
from flexportd.expose.context import (
    CACHE,
    CLOCK,
    DB,
    DISPLAY,
    EXCEPTION_WORKER,
    JOBS,
    REGISTRY,
    SERVER_INFO,
    UPSTREAM,
    WEBHOOK_REFUSALS,
)
from flexportd.expose.dashboard.double_submit import SUBMIT_GUARD
from flexportd.expose.dashboard.page_handler import form_field, html_errors, is_customer, page, redirect
from flexportd.expose.dashboard.pages import exceptions, gaps, sync, system
from flexportd.expose.dashboard.view.alerts import PageContext, StoredStatus
from flexportd.expose.interfaces import require_flexport
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import parse_integer
from flexportd.http.responses import HTML
from flexportd.storage.transaction import Transaction

_MAX_NAME = 100  # characters of a resource's name


def add_routes(app: web.Application) -> None:
    """The pages and their forms."""
    app.router.add_get("/sync", html_errors("sync", _sync))
    app.router.add_post("/sync/run", html_errors("sync", _run_sync))
    app.router.add_post("/sync/accept", html_errors("sync", _accept))
    app.router.add_get("/gaps", html_errors("gaps", _gaps))
    app.router.add_get("/exceptions", html_errors("exceptions", _exceptions, for_audiences=True))
    app.router.add_get("/system", html_errors("system", _system))
    app.router.add_post("/system/jobs/{id}/run", html_errors("system", _run_job))
    app.router.add_post("/system/jobs/{id}/pause", html_errors("system", _set_job_paused))
    app.router.add_post("/system/jobs/{id}/resume", html_errors("system", _set_job_paused))


async def _sync(request: web.Request) -> web.StreamResponse:
    """`GET /sync`. Not kept: it tells how far a run is."""
    query = query_params.parse_unique(request.query, ("done", "run"))
    run = parse_integer("run", query["run"], 1, 2**63 - 1) if "run" in query else None

    async def build() -> bytes:
        upstream, jobs, registry = request.app[UPSTREAM], request.app[JOBS].list_jobs(), request.app[REGISTRY]
        state, ahead = upstream.state() if upstream else None, dict[str, Any]()

        def foretell(noted: StoredStatus) -> None:
            ahead.update(upstream.forecast(noted.lists) if upstream else {})

        def model(found: sync.SyncData, look: PageContext) -> sync.SyncPage:
            around = sync.sync_runtime(tuple(registry), state, ahead or None, jobs)
            return sync.sync_page(found, around, query, look)

        return await page(
            request, "sync.html", lambda tx: sync.read(tx, request.app[CLOCK].now(), run), model, foretell
        )

    return await respond(request, build, (), HTML)


async def _run_sync(request: web.Request) -> web.StreamResponse:
    """`POST /sync/run`: begin a full sync, or join the one that runs."""
    await request.app[SUBMIT_GUARD].once(request, require_flexport(request.app[UPSTREAM]).begin_sync)
    return redirect("/sync", "begun")


async def _accept(request: web.Request) -> web.StreamResponse:
    """`POST /sync/accept`, with the list in the field `resource`: what it lacks is gone."""
    name = await form_field(request, "resource", _MAX_NAME)
    if not name:
        raise InvalidError("resource is missing; name a list", "resource")
    upstream, resource = require_flexport(request.app[UPSTREAM]), resource_by_name(request.app, name)
    await request.app[SUBMIT_GUARD].once(request, lambda: upstream.confirm_removals(resource), name)
    return redirect("/sync", "accepted")


async def _gaps(request: web.Request) -> web.StreamResponse:
    """`GET /gaps`. Not kept: how long webhooks have been missing grows by itself."""
    given = {"limit": str(gaps.MOST), **query_params.parse_unique(request.query, ("cursor",))}
    asked = await bind_cursor(request, query_params.parse_list_params(MultiDict(given), OUTAGES, request.app[DISPLAY]))
    has_key = request.app[UPSTREAM] is not None

    async def build() -> bytes:
        return await page(
            request,
            "gaps.html",
            lambda tx: gaps.read(tx, asked, request.app[CLOCK].now()),
            lambda found, look: gaps.gaps_page(found, look.stored, asked, look.view, has_key=has_key),
        )

    return await respond(request, build, (), HTML)


async def _exceptions(request: web.Request) -> web.StreamResponse:
    """`GET /exceptions`. Not kept: it says how long each has stood."""
    query_params.parse_unique(request.query, ())
    allowed = await authorize_list(request, {})

    def read(tx: Transaction) -> exceptions.ExceptionsData:
        if not is_customer(request):
            return exceptions.read(tx)
        return exceptions.read_visible(tx, allowed, lambda number: public_id(request, number))

    async def build() -> bytes:
        return await page(
            request,
            "exceptions.html",
            read,
            lambda found, look: exceptions.exceptions_page(
                found, look.view, is_complete=request.app[EXCEPTION_WORKER].is_complete
            ),
        )

    return await respond(request, build, (), HTML)


async def _system(request: web.Request) -> web.StreamResponse:
    """`GET /system`. Not kept: it is about this moment."""
    query = query_params.parse_unique(request.query, ("done",))

    async def build() -> bytes:
        daemon = _system_runtime(request.app)
        return await page(
            request,
            "system.html",
            system.read,
            lambda found, look: system.system_page(found, daemon, query, look.view),
        )

    return await respond(request, build, (), HTML)


def _system_runtime(app: web.Application) -> system.SystemRuntime:
    fault, cache = app[DB].writer.fault, app[CACHE]
    return system.SystemRuntime(
        version=__version__,
        started_at=app[SERVER_INFO].started_at,
        reasons=not_ready_reasons(app),
        warnings=warnings(app),
        refusals=app[WEBHOOK_REFUSALS](),
        shown=app[DISPLAY],
        jobs=app[JOBS].list_jobs(),
        fault=fault.reason if fault else None,
        wal_bytes=app[DB].writer.wal_bytes(),
        memory=(cache.hits, cache.misses, cache.size),
        disk=cache.disk_stats(),
    )


async def _run_job(request: web.Request) -> web.StreamResponse:
    """`POST /system/jobs/{id}/run`."""
    jobs, name = request.app[JOBS], request.match_info["id"]
    await request.app[SUBMIT_GUARD].once(request, lambda: jobs.run_now(name))
    return redirect("/system", "started")


async def _set_job_paused(request: web.Request) -> web.StreamResponse:
    """`POST /system/jobs/{id}/pause`, `/resume`."""
    paused = request.path.endswith("/pause")
    await request.app[JOBS].set_paused(request.match_info["id"], paused=paused)
    return redirect("/system", "paused" if paused else "resumed")
