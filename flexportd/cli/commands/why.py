"""`flexportd why`: the chain of causes behind a state or an event."""

from typing import Any

import click

from flexportd.cli.client import Control, segment
from flexportd.cli.command import asks
from flexportd.cli.commands.resources import OfOne
from flexportd.cli.format import minute
from flexportd.cli.output import Output


@click.command(cls=OfOne)
@click.argument("kind")
@click.argument("key", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 100), help="Maximum number of changes (objects only).")
@asks
def why(daemon: Control, out: Output, kind: str, key: str, limit: int | None) -> None:
    """Show how an object or event got its current state.

    KIND is event, shipment, leg, container, invoice or any other resource, such as `flexportd why shipment 910233`.
    """
    word = kind.strip().lower().replace(" ", "-").replace("_", "-")
    path = "events" if word in ("event", "events") else segment(word)
    reply = daemon.get(f"/why/{path}/{segment(key)}", limit=None if path == "events" else limit)
    out.shown(reply, lambda found: _tell(out, found))


def _tell(out: Output, found: Any) -> None:
    for step in found["data"]:
        out.line(f"{minute(step['at'])}  {step['text']}")
    if found["next"]:
        out.note("There are more rows. Use a higher --limit.")
    elif found["history_from"]:
        out.note(f"History before {minute(found['history_from'])} is no longer kept.")
    elif not found["data"]:
        out.line("No recorded changes.")
