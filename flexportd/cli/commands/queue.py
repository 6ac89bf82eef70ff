"""`flexportd queue`: the queue of items to apply."""

import click

from flexportd.cli.client import Control
from flexportd.cli.command import NearestChoice, asks, lists
from flexportd.cli.format import ago, plural, span
from flexportd.cli.output import Column, Output, by_importance


@click.group()
def queue() -> None:
    """List, pause or resume the queue."""


@queue.command("list")
@click.option("--state", type=NearestChoice(["ready", "leased"]), help="Limit to this state.")
@lists
@asks
def queue_list(daemon: Control, out: Output, **options: str | int | None) -> None:
    """List waiting and running items, newest first."""
    columns = by_importance(
        (
            Column("item", lambda row: row["id"], right=True),
            Column("state", lambda row: row["state"], coloured=True),
            Column("event", lambda row: row["event_type"], narrows=True),
            Column("queued", lambda row: ago(row["enqueued_at"], out.now())),
            Column("due", lambda row: ago(row["ready_at"], out.now())),
            Column("attempts", lambda row: row["attempts"], right=True),
            Column("last error", lambda row: row["error"], narrows=True),
        ),
        "item, state, event, due, last error, attempts, queued",
    )
    out.listed(daemon.get("/queue/items", **options), columns, "No matches." if options["state"] else "Queue is empty.")


@queue.command("stats")
@asks
def queue_stats(daemon: Control, out: Output) -> None:
    """Show the number of items in each state and the oldest age."""
    out.shown(daemon.get("/queue"), lambda document: out.facts(_facts(document)))


def _facts(document: dict[str, object]) -> list[tuple[str, object]]:
    oldest = document["oldest_seconds"]
    pairs: list[tuple[str, object]] = []
    for state in ("ready", "leased", "dead"):
        seconds = oldest.get(state) if isinstance(oldest, dict) else None
        pairs.append((state, f"{document[state]}" + (f" (oldest {span(seconds)})" if seconds else "")))
    return [*pairs, ("paused", document["paused"])]


@queue.command()
@asks
def pause(daemon: Control, out: Output) -> None:
    """Pause the queue.

    Webhooks are still stored. The pause is kept across restarts.
    """
    out.shown(
        daemon.post("/queue/pause"), lambda found: out.line(f"Queue paused; {plural(found['ready'], 'item')} waiting.")
    )


@queue.command()
@asks
def resume(daemon: Control, out: Output) -> None:
    """Resume the queue."""
    out.shown(
        daemon.post("/queue/resume"),
        lambda found: out.line(f"Queue resumed; {plural(found['ready'], 'item')} waiting."),
    )
