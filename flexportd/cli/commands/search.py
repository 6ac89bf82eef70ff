"""`flexportd search`: objects by any reference, or part of one."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.command import daemon_command
from flexportd.cli.format import format_time, humanize
from flexportd.cli.output import Column, Output

_KINDS = (
    "shipment, container, bill, po, sku, booking, commercial_invoice, customs_entry, document, leg, company, contact, "
    "location, port or invoice"
)

_HEADINGS = {"sku": "SKU", "po": "Purchase order", "bill": "Bill of lading"}  # by kind; others: the kind itself


@click.command()
@click.argument("words", metavar="TEXT...", nargs=-1, required=True)
@click.option("--kind", metavar="WORDS", help=f"Limit to these kinds, separated by commas: {_KINDS}.")
@click.option("--limit", type=click.IntRange(1, 50), help="Maximum number of matches per kind (default: 5).")
@daemon_command
def search(daemon: DaemonClient, out: Output, words: tuple[str, ...], **options: str | int | None) -> None:
    """Find objects by their references, or parts of them.

    References are numbers of containers, bills, POs, SKUs, invoices and bookings, and names. Shipments are also found
    by vessel, voyage, IMO number, flight, carrier, port, place and party. Case, spaces and dashes are ignored. All
    words must match, in any order. A label before a number selects the kind: PO 4471.
    """
    out.show(daemon.get("/search", q=" ".join(words), **options), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, Any]) -> None:
    columns = (
        Column("resource", lambda row: humanize(row["resource"]), priority=1),
        Column("id", priority=2),
        Column("name", lambda row: row["title"], narrows=True, priority=3),
        Column("matched", lambda row: f"{row['field']}: {row['value']}", narrows=True, priority=4),
        Column("match", priority=6),
        Column("deleted", lambda row: format_time(row["removed_at"]), priority=5),
    )
    for group in found["data"]:
        out.heading(_HEADINGS.get(group["kind"]) or humanize(group["kind"]).capitalize())
        out.table(group["hits"], columns)
    if not found["data"]:
        out.line("No matches.")
    if any(group["has_more"] for group in found["data"]):
        out.note("There are more matches. Use a longer text or a higher --limit.")
    if not found["complete"]:
        out.note("The search index is still being built; results may be incomplete.")
