"""`flexportd gaps`: webhook outages, and the events that polling recovered."""

from collections import Counter
from typing import Any

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.command import daemon_command, limit_option
from flexportd.cli.format import format_duration, format_time, tally
from flexportd.cli.output import Column, Output, Row

NOTHING = "No gaps. Every polled event had already arrived by webhook."


@click.command()
@limit_option
@daemon_command
def gaps(daemon: DaemonClient, out: Output, **options: int | None) -> None:
    """Show webhook outages and the events recovered by polling."""
    out.show(daemon.get("/gaps", **options), lambda document: _show(out, document))


def _show(out: Output, found: dict[str, Any]) -> None:
    out.line(found["health"]["summary"])
    out.line()
    if not found["data"]:
        detection = found["health"]["detection"]
        out.line(NOTHING if detection["state"] == "working" else f"No known gaps. {detection['summary']}.")
        return
    columns = (
        Column("since", lambda row: format_time(row["since"]) or "start", priority=1),
        Column("until", lambda row: format_time(row["until"]) or "now", priority=2),
        Column("duration", lambda row: format_duration(row["seconds"]), right=True, priority=5),
        Column("events", right=True, priority=3),
        Column("types", lambda row: _types(row["by_type"]), narrows=True, priority=6),
        Column("recovered", _repaired, priority=4),
    )
    out.table(found["data"], columns)
    if found["next"]:
        out.note("There are more rows. Use a higher --limit.")


def _types(by_type: dict[str, int]) -> str:
    """The types by their names: their prefix is always the same."""
    named = Counter[str]()
    for name, count in by_type.items():
        named[name.rpartition("#")[2] or "(none)"] += count
    return tally(named)


def _repaired(row: Row) -> str:
    rest = tally({"waiting": row["pending"], "dead": row["dead"], "later by webhook": row["late"]})
    return f"{row['recovered']} of {row['events']}" + ("" if rest == "none" else f" ({rest})")
