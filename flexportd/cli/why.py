"""`flexportd why`: the chain of causes behind a state or an event."""

from typing import Any

import click

from flexportd.cli.asking import asks
from flexportd.cli.client import Control, segment
from flexportd.cli.output import Output
from flexportd.cli.resources import OfOne
from flexportd.cli.words import minute


@click.command(cls=OfOne)
@click.argument("kind")
@click.argument("key", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 100), help="How many causes at most; only of objects.")
@asks
def why(daemon: Control, out: Output, kind: str, key: str, limit: int | None) -> None:
    """Tell why something is as it is: what came when, and what that changed.

    KIND is event, shipment, leg, container, invoice or any other resource: `flexportd why shipment 910233`.
    """
    word = kind.strip().lower().replace(" ", "-").replace("_", "-")
    path = "events" if word in ("event", "events") else segment(word)
    reply = daemon.get(f"/why/{path}/{segment(key)}", limit=None if path == "events" else limit)
    out.shown(reply, lambda found: _tell(out, found))


def _tell(out: Output, found: Any) -> None:
    for step in found["data"]:
        out.line(f"{minute(step['at'])}  {step['text']}")
    if found["next"]:
        out.note("There are more: a higher --limit shows them.")
    elif found["history_from"]:
        out.note(f"What was known before {minute(found['history_from'])} is no longer kept.")
    elif not found["data"]:
        out.line("Nothing is known of how it came to be.")
