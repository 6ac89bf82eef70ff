"""`flexportd why`: the chain of causes behind a state or an event."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import daemon_command
from flexportd.cli.commands.resources import DashIdCommand
from flexportd.cli.format import format_time
from flexportd.cli.output import Output


@click.command(cls=DashIdCommand)
@click.argument("kind")
@click.argument("key", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 100), help="Maximum number of changes (objects only).")
@daemon_command
def why(daemon: DaemonClient, out: Output, kind: str, key: str, limit: int | None) -> None:
    """Show how an object or event got its current state.

    KIND is event, shipment, leg, container, invoice or any other resource, such as `flexportd why shipment 910233`.
    """
    word = kind.strip().lower().replace(" ", "-").replace("_", "-")
    path = "events" if word in ("event", "events") else quote_id(word)
    reply = daemon.get(f"/why/{path}/{quote_id(key)}", limit=None if path == "events" else limit)
    out.show(reply, lambda found: _print_steps(out, found))


def _print_steps(out: Output, found: Any) -> None:
    for step in found["data"]:
        out.line(f"{format_time(step['at'])}  {step['text']}")
    if found["next"]:
        out.note("There are more rows. Use a higher --limit.")
    elif found["history_from"]:
        out.note(f"History before {format_time(found['history_from'])} is no longer kept.")
    elif not found["data"]:
        out.line("No recorded changes.")
