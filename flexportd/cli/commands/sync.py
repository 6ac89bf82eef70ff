"""`flexportd sync`: full and incremental syncs with Flexport."""

from collections.abc import Mapping
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import ago, count_of, format_duration, format_time, humanize, join_values, tally
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.progress import poll, show_progress


@click.group()
def sync() -> None:
    """Run syncs with Flexport and show their results."""


@sync.command("run")
@click.option("--wait", is_flag=True, help="Wait until the run ends; exit 1 unless it is complete.")
@daemon_command
def sync_run(daemon: DaemonClient, out: Output, *, wait: bool) -> int | None:
    """Start a full sync, or join the one that is running.

    With --wait, standard error shows the progress. Ctrl-C stops only the waiting: the sync continues.
    """
    reply = daemon.post("/sync/run")
    if not wait:
        out.show_line(reply, lambda found: f"Sync run {found['id']} is running.")
        return None
    reply = _wait_for_run(daemon, reply.document["id"])
    out.show(reply, lambda found: _show_run(out, found))
    return None if reply.document["state"] == "complete" else Exit.FAILED


def _wait_for_run(daemon: DaemonClient, run: str) -> DaemonResponse:
    with show_progress(f"The sync continues. Run `flexportd sync show {run}` to see its progress.") as progress:
        return poll(progress, lambda: daemon.get(f"/sync/runs/{quote_id(run)}"), _progress)


def _progress(reply: DaemonResponse) -> str | None:
    """The progress of a run: `4 of 18 lists, 21 pages, 1890 objects; reading shipments (500 of 1200)`."""
    if reply.document["state"] != "running":
        return None
    receipts = reply.document["results"]
    ended = sum(one["state"] not in ("waiting", "running") for one in receipts)
    pages, objects = (sum(one[name] for one in receipts) for name in ("requests", "objects"))
    reading = [
        f"{one['resource']} ({one['objects']} of {one['total']})" if one["total"] else str(one["resource"])
        for one in receipts
        if one["state"] == "running"
    ]
    return f"{ended} of {count_of(len(receipts), 'list')}, {count_of(pages, 'page')}, {count_of(objects, 'object')}" + (
        f"; reading {join_values(reading)}" if reading else ""
    )


@sync.command("status")
@daemon_command
def sync_status(daemon: DaemonClient, out: Output) -> None:
    """Show the last runs, the next run and the state of each list."""
    out.show(daemon.get("/sync"), lambda found: _show_status(out, found))


@sync.command("runs")
@click.option("--kind", type=NearestChoice(("full", "incremental")), help="Limit to this kind.")
@limit_option
@daemon_command
def sync_runs(daemon: DaemonClient, out: Output, **options: str | int | None) -> None:
    """List sync runs, newest first."""
    out.show_list(daemon.get("/sync/runs", **options), COMMAND_COLUMNS["sync runs"], "No runs yet.")


@sync.command("show")
@click.argument("run_id", metavar="RUN")
@daemon_command
def sync_show(daemon: DaemonClient, out: Output, run_id: str) -> None:
    """Show one run and its result for each list."""
    out.show(daemon.get(f"/sync/runs/{quote_id(run_id)}"), lambda found: _show_run(out, found))


@sync.command("pending-removals")
@click.argument("resource", metavar="RESOURCE")
@daemon_command
def sync_held(daemon: DaemonClient, out: Output, resource: str) -> None:
    """List missing objects that need review (see `sync accept`)."""
    reply = daemon.get("/sync/pending-removals", resource=resource)
    out.show_list(reply, (Column("id"),), f"Nothing to review for {resource}.")


@sync.command("accept")
@click.argument("resource", metavar="RESOURCE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@daemon_command
def sync_accept(daemon: DaemonClient, out: Output, resource: str, *, yes: bool) -> None:
    """Mark objects that are missing from a list as removed."""
    if not yes:
        waiting = len(daemon.get("/sync/pending-removals", resource=resource).document["data"])
        if waiting:
            click.confirm(f"Mark {count_of(waiting, 'object')} of {resource} as removed?", abort=True, err=True)
    reply = daemon.post("/sync/pending-removals/accept", {"resource": resource})
    out.show_line(
        reply, lambda found: f"{count_of(found['removed'], 'object')} of {found['resource']} marked as removed."
    )


@sync.command("unreadable")
@limit_option
@daemon_command
def sync_unreadable(daemon: DaemonClient, out: Output, **options: int | None) -> None:
    """List objects that could not be parsed."""
    out.show_list(daemon.get("/sync/unreadable", **options), COMMAND_COLUMNS["unreadable"], "No unreadable objects.")


def _show_run(out: Output, found: dict[str, Any]) -> None:
    ended = f", ended {format_time(found['ended_at'])}" if found["ended_at"] else ""
    out.line(
        f"Run {found['id']} ({found['kind']}): {found['state']}, started {format_time(found['started_at'])}{ended}"
    )
    if found["reason"]:
        out.line(found["reason"])
    out.table(found["results"], _RECEIPT_COLUMNS)
    for receipt in found["results"]:
        if receipt["skipped_by_reason"]:
            out.line(f"{receipt['resource']}: skipped {tally(receipt['skipped_by_reason'])}")
    reasons: dict[str, list[str]] = {}
    for receipt in found["results"]:
        if receipt["reason"] and receipt["state"] != "complete":
            reasons.setdefault(receipt["reason"], []).append(receipt["resource"])
    for reason, resources in reasons.items():
        out.line(f"{', '.join(resources)}: {reason}")


def _total(receipt: Mapping[str, Any]) -> str:
    """The total at Flexport; `?` if it is not reported, `!` if the counts do not add up."""
    if receipt["total"] is None:
        return "?" if receipt["objects"] else ""
    return (
        f"{receipt['total']}"
        if receipt["balanced"] or receipt["state"] in ("running", "waiting")
        else (f"{receipt['total']}!")
    )


_RECEIPT_COLUMNS = (
    Column("resource", priority=1),
    Column("state", coloured=True, priority=2),
    Column("total", _total, right=True, priority=3),
    Column("unchanged", right=True, priority=9),
    Column("changed", right=True, priority=5),
    Column("new", right=True, priority=6),
    Column("skipped", right=True, priority=10),
    Column("failed", right=True, priority=4),
    Column("missing", right=True, priority=7),
    Column("removed", right=True, priority=8),
)


def _show_status(out: Output, found: dict[str, Any]) -> None:
    if not found["configured"]:
        out.line("Sync is off: no Flexport API credentials are configured ([flexport] api_key).")
    now, full, ahead = out.now(), found["full"], found["forecast"]
    budget = found["api_calls"]["last_24_hours"]
    out.facts(
        [
            ("full sync", _run(full, now)),
            ("incremental", _run(found["incremental"], now)),
            ("next full sync", _forecast(ahead)),
            ("API calls, last 24 h", tally({name: sums["calls"] for name, sums in budget.items()})),
            ("shipment details", _details(found["shipment_details"])),
            ("Flexport", _client(found["flexport"])),
        ]
    )
    columns = (
        Column("resource", priority=1),
        Column("objects", lambda row: row["total"], right=True, priority=2),
        Column("complete", lambda row: ago(row["complete_at"], now), priority=3),
        Column(
            "incremental",
            lambda row: ago(row["incremental_until"], now) if row["incremental_until"] else "",
            priority=7,
        ),
        Column("to review", lambda row: row["pending_removals"] or "", right=True, priority=4),
        Column("unreadable", lambda row: row["unreadable"] or "", right=True, priority=5),
        Column("note", lambda row: row["unavailable_reason"] or "", narrows=True, priority=6),
    )
    out.table(found["resources"], columns)


def _run(run: dict[str, Any] | None, now: Any) -> str:
    if run is None:
        return "never"
    age = ago(run["ended_at"], now) if run["ended_at"] else f"since {format_time(run['started_at'])}"
    return f"{humanize(run['state'])} {age}" + (f": {run['reason']}" if run["reason"] else "")


def _details(found: Mapping[str, Any]) -> str:
    if found["lists_complete"] and not found["pending"]:
        return "not needed: lists are complete"
    return f"{found['fetched']:,} fetched, {found['pending']:,} to fetch"


def _forecast(ahead: dict[str, Any] | None) -> str:
    if ahead is None:
        return ""
    unread = f"; {count_of(len(ahead['never_synced']), 'list')} not read yet" if ahead["never_synced"] else ""
    return f"about {format_duration(max(ahead['seconds'], 1))}, {count_of(ahead['requests'], 'request')}{unread}"


def _client(state: dict[str, Any] | None) -> str:
    if state is None:
        return ""
    breaker = state["breaker"]
    why = f": {breaker['reason']}" if breaker.get("reason") else ""
    return "reachable" if breaker["state"] == "closed" else f"unavailable (circuit {humanize(breaker['state'])}){why}"
