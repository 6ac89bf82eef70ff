"""`flexportd search`: any reference, or a part of one."""

from typing import Any

import click

from flexportd.cli.asking import asks
from flexportd.cli.client import Control
from flexportd.cli.output import Column, Output, by_importance
from flexportd.cli.words import minute, plain

_KINDS = (
    "shipment, container, bill, po, sku, booking, commercial_invoice, customs_entry, document, leg, company, contact, "
    "location, port or invoice"
)


@click.command()
@click.argument("text")
@click.option("--kind", metavar="WORDS", help=f"Only these, commas between them: {_KINDS}.")
@click.option("--limit", type=click.IntRange(1, 50), help="How many of each kind at most; 5 if not given.")
@asks
def search(daemon: Control, out: Output, text: str, **options: str | int | None) -> None:
    """Find what a reference belongs to: a container, bill, PO, SKU, invoice, booking, name, or a part of one.

    Capitals, blanks and dashes do not matter.
    """
    out.shown(daemon.get("/search", q=text, **options), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, Any]) -> None:
    columns = by_importance(
        (
            Column("what", lambda row: plain(row["resource"])),
            Column("id", lambda row: row["id"]),
            Column("called", lambda row: row["title"], narrows=True),
            Column("matched", lambda row: f"{row['field']}: {row['value']}", narrows=True),
            Column("match", lambda row: row["match"]),
            Column("gone", lambda row: minute(row["removed_at"])),
        ),
        "what, id, called, matched, gone, match",
    )
    for group in found["data"]:
        out.heading(plain(group["kind"]))
        out.table(group["hits"], columns)
    if not found["data"]:
        out.line("Nothing is known by that.")
    if any(group["more"] for group in found["data"]):
        out.note("There are more: a longer text, or a higher --limit, shows them.")
    if not found["complete"]:
        out.note("The search index is still being made: not everything is in it yet.")
