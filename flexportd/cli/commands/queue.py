"""`flexportd queue`: the queue of items to apply."""

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.format import count_of, format_duration
from flexportd.cli.output import Output


@click.group()
def queue() -> None:
    """List, pause or resume the queue."""


@queue.command("list")
@click.option("--state", type=NearestChoice(["ready", "leased"]), help="Limit to this state.")
@limit_option
@daemon_command
def queue_list(daemon: DaemonClient, out: Output, **options: str | int | None) -> None:
    """List waiting and running items, newest first."""
    out.show_list(
        daemon.get("/queue/items", **options),
        COMMAND_COLUMNS["queue items"],
        "No matches." if options["state"] else "Queue is empty.",
    )


@queue.command("stats")
@daemon_command
def queue_stats(daemon: DaemonClient, out: Output) -> None:
    """Show the number of items in each state and the oldest age."""
    out.show(daemon.get("/queue"), lambda document: out.facts(_facts(document)))


def _facts(document: dict[str, object]) -> list[tuple[str, object]]:
    oldest = document["oldest_seconds"]
    pairs: list[tuple[str, object]] = []
    for state in ("ready", "leased", "dead"):
        seconds = oldest.get(state) if isinstance(oldest, dict) else None
        pairs.append((state, f"{document[state]}" + (f" (oldest {format_duration(seconds)})" if seconds else "")))
    return [*pairs, ("paused", document["paused"])]


@queue.command()
@daemon_command
def pause(daemon: DaemonClient, out: Output) -> None:
    """Pause the queue.

    Webhooks are still stored. The pause is kept across restarts.
    """
    reply = daemon.post("/queue/pause")
    out.show_line(reply, lambda found: f"Queue paused; {count_of(found['ready'], 'item')} waiting.")


@queue.command()
@daemon_command
def resume(daemon: DaemonClient, out: Output) -> None:
    """Resume the queue."""
    reply = daemon.post("/queue/resume")
    out.show_line(reply, lambda found: f"Queue resumed; {count_of(found['ready'], 'item')} waiting.")
