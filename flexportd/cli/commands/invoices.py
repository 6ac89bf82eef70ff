"""`flexportd invoices file`: commercial invoices for customs."""

from pathlib import Path

import click

from flexportd.cli.body_files import read_body_file
from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import daemon_command
from flexportd.cli.output import Output
from flexportd.cli.write_command import WriteOptions, send, write_options


def add_to(group: click.Group) -> None:
    """Add the command to the group `invoices`."""
    group.add_command(file_invoice)


@click.command("file")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--update", metavar="ID", help="Change this commercial invoice; its lines are replaced as a whole.")
@daemon_command
@write_options
def file_invoice(
    daemon: DaemonClient, out: Output, path: Path, *, update: str | None, options: WriteOptions
) -> int | None:
    """File a commercial invoice, the seller's for the goods.

    FILE has the body of Flexport's POST /commercial_invoices as JSON; - is standard input. The totals must add up.
    """
    body = read_body_file(path)
    if update is None:
        return send(daemon, out, "POST", "/commercial-invoices", body, options=options)
    return send(daemon, out, "PATCH", f"/commercial-invoices/{quote_id(update)}", body, options=options)
