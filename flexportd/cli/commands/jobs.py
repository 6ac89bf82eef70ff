"""`flexportd jobs`: scheduled jobs."""

import time
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import daemon_command
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import ago, format_duration, format_time, humanize
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.progress import poll, show_progress


@click.group()
def jobs() -> None:
    """List, run, pause or resume scheduled jobs."""


@jobs.command("list")
@daemon_command
def jobs_list(daemon: DaemonClient, out: Output) -> None:
    """List jobs with their next run and last outcome."""
    columns = (
        Column("job", lambda row: row["id"], priority=1),
        Column("schedule", priority=6),
        Column("next run", lambda row: _next_run(out, row), priority=3),
        Column("last run", lambda row: ago((row["last_run"] or {}).get("ended_at"), out.now()), priority=4),
        Column("outcome", lambda row: humanize((row["last_run"] or {}).get("outcome")), coloured=True, priority=2),
        Column("message", lambda row: (row["last_run"] or {}).get("message"), narrows=True, priority=5),
    )
    out.show_list(daemon.get("/jobs"), columns, "No jobs.")


@jobs.command()
@click.argument("job_id", metavar="ID")
@daemon_command
def show(daemon: DaemonClient, out: Output, job_id: str) -> None:
    """Show one job and its recent runs."""
    out.show(daemon.get(f"/jobs/{quote_id(job_id)}"), lambda found: _show(out, found))


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until the run ends; exit 1 unless it succeeds.")
@daemon_command
def run(daemon: DaemonClient, out: Output, job_id: str, *, wait: bool) -> int | None:
    """Run a job now, even if it is paused."""
    reply = daemon.post(f"/jobs/{quote_id(job_id)}/run")
    if not wait:
        out.show_line(reply, lambda found: f"Job {found['id']} started.")
        return None
    reply, ended = _wait(daemon, job_id, reply.document["running"]["id"])
    out.show_line(reply, lambda found: f"{found['id']}: {_outcome_text(ended)}")
    return None if ended["outcome"] == "done" else Exit.FAILED


@jobs.command()
@click.argument("job_id", metavar="ID")
@daemon_command
def pause(daemon: DaemonClient, out: Output, job_id: str) -> None:
    """Pause a job.

    The current run will finish. The pause is kept across restarts.
    """
    out.show_line(
        daemon.post(f"/jobs/{quote_id(job_id)}/pause"), lambda found: f"Job {found['id']} paused.{_finish_note(found)}"
    )


@jobs.command()
@click.argument("job_id", metavar="ID")
@daemon_command
def resume(daemon: DaemonClient, out: Output, job_id: str) -> None:
    """Resume a paused job."""
    reply = daemon.post(f"/jobs/{quote_id(job_id)}/resume")
    out.show_line(reply, lambda found: f"Job {found['id']} resumed. Next run: {_next_run(out, found)}.")


def _wait(daemon: DaemonClient, job_id: str, run_id: str) -> tuple[DaemonResponse, dict[str, Any]]:
    started = time.monotonic()

    def run_of(reply: DaemonResponse) -> dict[str, Any]:
        # After many later runs it is no longer kept.
        lost = {"outcome": "unknown", "message": "the outcome is no longer recorded", "seconds": None}
        return next((run for run in reply.document["recent_runs"] if run["id"] == run_id), lost)

    def progress_text(reply: DaemonResponse) -> str | None:
        elapsed = format_duration(time.monotonic() - started)
        return None if run_of(reply)["outcome"] else f"{job_id}: running for {elapsed}"

    with show_progress(f"The job continues. Run `flexportd jobs show {job_id}` to see its outcome.") as progress:
        reply = poll(progress, lambda: daemon.get(f"/jobs/{quote_id(job_id)}"), progress_text)
    return reply, run_of(reply)


def _show(out: Output, found: dict[str, Any]) -> None:
    now, running = out.now(), found["running"]
    out.facts(
        [
            ("job", found["id"]),
            ("purpose", found["title"]),
            ("schedule", found["schedule"]),
            ("running since", running and f"{format_time(running['since'])}, {ago(running['since'], now)}"),
            ("next run", _next_run(out, found)),
            ("last success", ago(found["last_success_at"], now)),
            ("runs", f"{found['runs']} ({found['failures']} failed)"),
            ("consecutive failures", found["consecutive_failures"] or None),
            ("skipped", f"{found['skipped']} (the previous run was still active)" if found["skipped"] else None),
        ]
    )
    if found["recent_runs"]:
        out.heading("Recent runs")
        out.table(found["recent_runs"], _RUN_COLUMNS)


def _finish_note(found: dict[str, Any]) -> str:
    return " The current run will finish." if found["running"] else ""


def _next_run(out: Output, row: dict[str, Any] | Any) -> str:
    if row["running"]:
        return "running"
    return "paused" if row["paused"] else ago(row["next_run_at"], out.now())


def _duration(run: dict[str, Any] | Any) -> str:
    seconds = run["seconds"]
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else format_duration(seconds)


def _outcome_text(run: dict[str, Any]) -> str:
    took = f" after {_duration(run)}" if run["seconds"] is not None else ""
    return f"{humanize(run['outcome'])}{took}" + (f": {run['message']}" if run["message"] else "")


_RUN_COLUMNS = (
    Column("started", lambda run: format_time(run["started_at"]), priority=1),
    Column("trigger", lambda run: humanize(run["cause"]), priority=5),
    Column("duration", _duration, right=True, priority=4),
    Column("outcome", lambda run: humanize(run["outcome"]) or "running", coloured=True, priority=2),
    Column("message", narrows=True, priority=3),
)
