"""A job as the API shows it."""

from typing import Any

from flexportd.jobs.job import Job
from flexportd.storage.repositories.jobs import JobRunRow, JobState


def serialize_job(job: Job, state: JobState, running: JobRunRow | None) -> dict[str, Any]:
    """A job; `running` is the run under way or null, `last_run` the last that has ended or null."""
    return {
        "id": job.name,
        "title": job.title,
        "schedule": str(job.schedule),
        "paused": state.paused,
        "running": None if running is None else _under_way(running),
        "next_run_at": state.next_due_at,
        "last_run": None if state.last_ended_at is None else _last(state),
        "last_success_at": state.last_success_at,
        "runs": state.runs,
        "failures": state.failures,
        "consecutive_failures": state.consecutive_failures,
        "skipped": state.skipped,
    }


def serialize_run(run: JobRunRow) -> dict[str, Any]:
    """One run of a job; while it is under way it has neither end nor outcome."""
    return {
        "id": str(run.id),
        "cause": run.cause,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": run.seconds,
        "outcome": run.outcome,
        "message": run.message,
    }


def _under_way(run: JobRunRow) -> dict[str, Any]:
    return {"id": str(run.id), "since": run.started_at, "cause": run.cause}


def _last(state: JobState) -> dict[str, Any]:
    return {
        "started_at": state.last_started_at,
        "ended_at": state.last_ended_at,
        "seconds": state.last_seconds,
        "outcome": state.last_outcome,
        "message": state.last_message,
    }
