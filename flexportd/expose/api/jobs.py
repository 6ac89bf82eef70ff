"""Scheduled jobs: status, runs, pause and resume."""

from typing import Annotated, Literal, TypedDict

from aiohttp import web

from flexportd.core.json_types import Stamp, doc
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import JOBS
from flexportd.expose.openapi.router import route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.serialize import json_document

RunCause = Annotated[
    Literal["schedule", "start", "catch_up", "manual"],
    doc("What started it: the schedule, a start of the daemon, a missed run, or a person."),
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
    seconds: Annotated[float | None, doc("Null if the daemon stopped during the run.")]
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
    schedule: Annotated[str, doc("As text: every 15 min, daily at 02:15 UTC.")]
    paused: bool
    running: CurrentJobRun | None
    next_run_at: Annotated[Stamp | None, doc("When it next runs; null while it is paused.")]
    last_run: LastJobRun | None
    last_success_at: Stamp | None
    runs: int
    failures: int
    consecutive_failures: int
    skipped: Annotated[int, doc("Number of runs skipped because the previous one was still running.")]


class JobDetail(JobStatus):
    """A job with its last runs, newest first."""

    recent_runs: list[JobRunRecord]


@route("GET", "/jobs", returns=json_response(list_schema(JobStatus), "All jobs."))
async def list_jobs(request: web.Request) -> web.StreamResponse:
    """List scheduled jobs."""
    jobs = request.app[JOBS]
    return await respond_with(request, {"data": jobs.list_jobs(), "next": None, "as_of": jobs.as_of()})


@route("GET", "/jobs/{id}", returns=JobDetail)
async def get_job(request: web.Request) -> web.StreamResponse:
    """Get a job with its last runs."""
    jobs, name = request.app[JOBS], request.match_info["id"]
    return await respond(request, lambda: jobs.detail(name))


@route(
    "POST",
    "/jobs/{id}/run",
    returns=json_response(JobStatus, "The run has started.", 202, location="URL of the job."),
    scope="admin",
    problems=("conflict",),
)
async def run_job(request: web.Request) -> web.StreamResponse:
    """Run a job now.

    Works for paused jobs too. The run is `running.id`, and is also listed in `recent_runs`.
    """
    document = await request.app[JOBS].run_now(request.match_info["id"])
    return json_document(document, 202, location=str(request.rel_url.parent))


@route("POST", "/jobs/{id}/pause", returns=JobStatus, scope="admin")
async def pause_job(request: web.Request) -> web.StreamResponse:
    """Pause a job.

    The current run will finish. The job remains paused across restarts.
    """
    return await _set_paused(request, paused=True)


@route("POST", "/jobs/{id}/resume", returns=JobStatus, scope="admin")
async def resume_job(request: web.Request) -> web.StreamResponse:
    """Resume a job."""
    return await _set_paused(request, paused=False)


async def _set_paused(request: web.Request, *, paused: bool) -> web.StreamResponse:
    return await respond(request, lambda: request.app[JOBS].set_paused(request.match_info["id"], paused=paused))
