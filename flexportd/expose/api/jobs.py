"""The jobs: what runs by the clock, when, and what became of it."""

from typing import Any

import msgspec
from aiohttp import web

from flexportd.answers import Answer, EncodedResponse
from flexportd.expose import parameters
from flexportd.expose.board import JobBoard
from flexportd.expose.responding import respond

_JOBS: web.AppKey[JobBoard] = web.AppKey("jobs", JobBoard)


def add_routes(app: web.Application, board: JobBoard, prefix: str) -> None:
    """Serve this board under `prefix`, such as `/api/v1`."""
    app[_JOBS] = board
    app.router.add_get(f"{prefix}/jobs", index)
    app.router.add_get(f"{prefix}/jobs/{{id}}", show)
    app.router.add_post(f"{prefix}/jobs/{{id}}/run", run)
    app.router.add_post(f"{prefix}/jobs/{{id}}/pause", set_paused)
    app.router.add_post(f"{prefix}/jobs/{{id}}/resume", set_paused)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/jobs`: every job, when it is due and what became of its last run."""
    parameters.once(request.query, ())
    board = request.app[_JOBS]

    async def build() -> dict[str, Any]:
        return {"data": board.documents(), "next": None, "as_of": board.as_of()}

    return await respond(request, build)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/jobs/{id}`: one job with its last runs, newest first."""
    parameters.once(request.query, ())
    board, name = request.app[_JOBS], request.match_info["id"]
    return await respond(request, lambda: board.shown(name))


async def run(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/jobs/{id}/run`: 202 once the run has begun; `running.id` names it among `recent_runs`."""
    parameters.once(request.query, ())
    name = request.match_info["id"]
    document = await request.app[_JOBS].run_now(name)
    body = msgspec.json.encode(document)
    location = str(request.rel_url.parent)
    return EncodedResponse(Answer(202, body, cache_control="no-store", location=location))


async def set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/jobs/{id}/pause` and `/resume`; a run under way goes on to its end."""
    parameters.once(request.query, ())
    board, name = request.app[_JOBS], request.match_info["id"]
    paused = request.path.endswith("/pause")
    return await respond(request, lambda: board.set_paused(name, paused=paused))
