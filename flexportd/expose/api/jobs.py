"""The jobs: what runs by the clock, when, and what became of it."""

from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.expose.cached_response import respond
from flexportd.expose.context import JOBS
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse

RunCause = Annotated[
    Literal["schedule", "start", "catch_up", "manual"],
    Meta(description="What started it: the schedule, a start of the daemon, a missed run, or a person."),
]
RunOutcome = Literal["done", "failed", "cancelled", "timed_out", "interrupted"]


class CurrentJobRun(TypedDict):
    """The current run of a job."""

    id: str
    since: Stamp
    cause: RunCause


class LastJobRun(TypedDict):
    """The last completed run of a job."""

    started_at: Stamp | None
    ended_at: Stamp | None
    seconds: Annotated[float | None, Meta(description="Null if the daemon stopped during the run.")]
    outcome: RunOutcome | None
    message: str | None


class JobRunRecord(TypedDict):
    """A run of a job; while it is running, end and outcome are null."""

    id: str
    cause: RunCause
    started_at: Stamp
    ended_at: Stamp | None
    seconds: float | None
    outcome: RunOutcome | None
    message: str | None


class JobStatus(TypedDict):
    """A scheduled job: its next run and its last result. Its id is its name."""

    id: str
    title: str
    schedule: Annotated[str, Meta(description="As text: every 15 min, daily at 02:15 UTC.")]
    paused: bool
    running: CurrentJobRun | None
    next_run_at: Annotated[Stamp | None, Meta(description="When it next runs; null while it is paused.")]
    last_run: LastJobRun | None
    last_success_at: Stamp | None
    runs: int
    failures: int
    consecutive_failures: int
    skipped: Annotated[int, Meta(description="Number of runs skipped because the previous one was still running.")]


class JobDetail(JobStatus):
    """A job with its last runs, newest first."""

    recent_runs: list[JobRunRecord]


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/jobs`: every job, when it is due and what became of its last run."""
    board = request.app[JOBS]

    async def build() -> dict[str, Any]:
        return {"data": board.list_jobs(), "next": None, "as_of": board.as_of()}

    return await respond(request, build)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/jobs/{id}`: one job with its last runs, newest first."""
    board, name = request.app[JOBS], request.match_info["id"]
    return await respond(request, lambda: board.detail(name))


async def run(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/jobs/{id}/run`: 202 once the run has begun; `running.id` names it among `recent_runs`."""
    name = request.match_info["id"]
    document = await request.app[JOBS].run_now(name)
    body = msgspec.json.encode(document)
    location = str(request.rel_url.parent)
    return PreparedStreamResponse(PreparedResponse(202, body, location=location))


async def set_paused(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/jobs/{id}/pause` and `/resume`; a run under way goes on to its end."""
    board, name = request.app[JOBS], request.match_info["id"]
    paused = request.path.endswith("/pause")
    return await respond(request, lambda: board.set_paused(name, paused=paused))


_NAME = identifier("Name of the job.", example="full_sync")

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/jobs",
        handler=index,
        name="list_jobs",
        tag="operations",
        summary="List scheduled jobs",
        returns=(json_response(list_schema(JobStatus), "All jobs."),),
    ),
    Route(
        method="GET",
        path="/api/v1/jobs/{id}",
        handler=show,
        name="get_job",
        tag="operations",
        summary="Get a job with its last runs",
        path_parameters=(_NAME,),
        returns=(json_response(JobDetail, "The job."),),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{id}/run",
        handler=run,
        name="run_job",
        tag="operations",
        summary="Run a job now",
        description="Works for paused jobs too. The run is `running.id`, and is also listed in `recent_runs`.",
        scope="admin",
        path_parameters=(_NAME,),
        returns=(json_response(JobStatus, "The run has started.", 202, location="URL of the job."),),
        problems=("conflict",),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{id}/pause",
        handler=set_paused,
        name="pause_job",
        tag="operations",
        summary="Pause a job",
        description="The current run will finish. The job remains paused across restarts.",
        scope="admin",
        path_parameters=(_NAME,),
        returns=(json_response(JobStatus, "The paused job."),),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{id}/resume",
        handler=set_paused,
        name="resume_job",
        tag="operations",
        summary="Resume a job",
        scope="admin",
        path_parameters=(_NAME,),
        returns=(json_response(JobStatus, "The job."),),
    ),
)
