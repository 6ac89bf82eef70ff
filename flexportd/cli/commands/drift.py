"""`flexportd drift`: undocumented fields, values and objects of Flexport's API."""

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.output import Output

KINDS = ("field", "value", "shape", "object", "event_type", "response")


@click.command()
@click.option("--kind", type=NearestChoice(KINDS), help="Limit to this kind.")
@click.option("--object", metavar="NAME", help="Limit to this object, such as /shipment.")
@limit_option
@daemon_command
def drift(daemon: DaemonClient, out: Output, **options: str | int | None) -> None:
    """Show undocumented API fields, values and objects.

    Lists what Flexport sends beyond its published API, with the first example and the number of objects and events.
    All of this data is kept.
    """
    nothing = "No matches." if options["kind"] or options["object"] else "No undocumented fields, values or objects."
    out.show_list(daemon.get("/drift", **options), COMMAND_COLUMNS["drift"], nothing)
